"""The demo's commands: what is run, with which gin files, on how many processes."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import io
import json
import multiprocessing
import os
import pathlib
import shlex
from collections.abc import Iterable, Iterator

GIN = "examples/demo/gin"
MODELS = "examples/demo/models"


@dataclasses.dataclass(frozen=True)
class Command:
    """A run of `standalone.train` or `standalone.eval`.

    Attributes:
      program: which of them.
      gin_files: in their order.
      settings: gin's macros, Python values.
    """

    program: str
    gin_files: tuple[str, ...]
    settings: tuple[tuple[str, object], ...]

    @property
    def output(self) -> pathlib.Path:
        """The run's folder."""
        settings = dict(self.settings)
        return pathlib.Path(
            str(settings.get("MODEL_DIR") or settings.get("EVAL_OUTPUT_DIR"))
        )

    def arguments(self) -> list[str]:
        """The command line's flags."""
        files = [f"--gin_file={file}" for file in self.gin_files]
        return files + [f"--gin.{name}={value!r}" for name, value in self.settings]

    def __str__(self) -> str:
        program = f"python -m prompt_tuning_recycling.standalone.{self.program}"
        return f"{program} {shlex.join(self.arguments())}"

    def accuracies(self) -> list[tuple[int, float]]:
        """The steps and accuracies (percent) that the run has written."""
        (file,) = (self.output / "inference_eval").glob("*-metrics.jsonl")
        lines = map(json.loads, file.read_text().splitlines())
        return [(line["step"], line["accuracy"]) for line in lines]

    def accuracy(self) -> float:
        """The last of them."""
        return self.accuracies()[-1][1]


def tune(model: str, task: str, output: pathlib.Path, *start: str, **more: object):
    """A command that tunes a prompt for a model, from what the gin files say."""
    return Command(
        "train",
        (f"{GIN}/{_size(model)}_prompt.gin", f"{GIN}/tune.gin", *start),
        (
            ("INITIAL_CHECKPOINT_PATH", f"{MODELS}/{model}"),
            ("MIXTURE_OR_TASK_NAME", f"demo_{task}_train"),
            ("EVAL_MIXTURE_OR_TASK_NAME", f"demo_{task}"),
            ("MODEL_DIR", str(output)),
            *more.items(),
        ),
    )


def evaluate(
    model: str | pathlib.Path,
    task: str,
    output: pathlib.Path,
    *start: str,
    prompt: bool = True,
    **more: object,
) -> Command:
    """A command that evaluates a model, with the prompt that the gin files declare."""
    network = _size(str(model)) + ("_prompt" if prompt else "")
    checkpoint = str(model) if isinstance(model, pathlib.Path) else f"{MODELS}/{model}"
    return Command(
        "eval",
        (f"{GIN}/{network}.gin", f"{GIN}/eval.gin", *start),
        (
            ("INITIAL_CHECKPOINT_PATH", checkpoint),
            ("MIXTURE_OR_TASK_NAME", f"demo_{task}"),
            ("EVAL_OUTPUT_DIR", str(output)),
            *more.items(),
        ),
    )


def _size(model: str) -> str:
    return "wide" if model == "wide" else "tiny"


class Runner:
    """Runs commands in a few processes that stay, so that each imports and compiles
    only once; a command in a process of its own does the same, later.
    """

    def __init__(self, log: pathlib.Path) -> None:
        """Starts the processes; `log` is to hold all commands as a shell script."""
        self._log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("# The demo's commands, in the order in which they were done.\n")
        self._pool = concurrent.futures.ProcessPoolExecutor(
            max_workers=min(4, os.cpu_count() or 1),
            mp_context=multiprocessing.get_context("spawn"),
        )

    def run(self, commands: Iterable[Command]) -> Iterator[Command]:
        """Runs commands that do not depend on each other; yields each when it is done.

        Raises:
          RuntimeError: one failed; says which and what it wrote.
        """
        futures = {self._pool.submit(_run, command): command for command in commands}
        for future in concurrent.futures.as_completed(futures):
            command = futures[future]
            code, text = future.result()
            if code:
                self._pool.shutdown(cancel_futures=True)
                raise RuntimeError(f"{command}\nfailed:\n{text}")
            with self._log.open("a") as log:
                log.write(f"{command}\n")
            yield command


def _run(command: Command) -> tuple[int, str]:
    from prompt_tuning_recycling.standalone import eval as evaluating
    from prompt_tuning_recycling.standalone import train

    program = {"train": train, "eval": evaluating}[command.program]
    written = io.StringIO()
    with contextlib.redirect_stdout(written), contextlib.redirect_stderr(written):
        code = program.main(command.arguments())
    return code, written.getvalue()
