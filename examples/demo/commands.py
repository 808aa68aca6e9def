"""The demo's commands: runs of `standalone.train` and `standalone.eval`."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import importlib
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
    """A run of a program of the standalone host.

    Attributes:
      program: its module, such as `train` or `eval`.
      gin_files: the gin files, in order.
      settings: names and values of gin macros.
      output: the folder that the run writes to.
    """

    program: str
    gin_files: tuple[str, ...]
    settings: tuple[tuple[str, object], ...]
    output: pathlib.Path

    def arguments(self) -> list[str]:
        """Returns the command line's flags."""
        files = [f"--gin_file={file}" for file in self.gin_files]
        return files + [f"--gin.{name}={value!r}" for name, value in self.settings]

    def __str__(self) -> str:
        flags = [_quoted(flag) for flag in self.arguments()]
        program = f"python -m prompt_tuning_recycling.standalone.{self.program}"
        return " \\\n    ".join([program, *flags])

    def accuracies(self) -> list[tuple[int, float]]:
        """Returns the steps and accuracies (percent) that the run has written."""
        return accuracies(self.output)


def accuracies(folder: pathlib.Path) -> list[tuple[int, float]]:
    """Returns the steps and accuracies (percent) that were written to a folder."""
    (file,) = (folder / "inference_eval").glob("*-metrics.jsonl")
    lines = map(json.loads, file.read_text().splitlines())
    return [(line["step"], line["accuracy"]) for line in lines]


def tune(
    model: str, task: str, output: pathlib.Path, *start: str, **settings: object
) -> Command:
    """Returns a command that tunes a prompt for a model.

    Args:
      model: the frozen model's name.
      task: the task's name.
      output: the folder for the run.
      start: gin files that say what the prompt starts from.
      settings: gin macros.
    """
    places = {
        "MIXTURE_OR_TASK_NAME": f"demo_{task}_train",
        "EVAL_MIXTURE_OR_TASK_NAME": f"demo_{task}",
        "MODEL_DIR": str(output),
    }
    files = (_network(model, prompt=True), f"{GIN}/tune.gin", *start)
    return _command("train", files, model, output, {**places, **settings})


def evaluate(
    model: str, task: str, output: pathlib.Path, *start: str, **settings: object
) -> Command:
    """Returns a command that evaluates a model, with a prompt if `start` names gin
    files that declare a prompt. For the other arguments see `tune`.
    """
    places = {"MIXTURE_OR_TASK_NAME": f"demo_{task}", "EVAL_OUTPUT_DIR": str(output)}
    files = (_network(model, prompt=bool(start)), f"{GIN}/eval.gin", *start)
    return _command("eval", files, model, output, {**places, **settings})


def choose(model: str, task: str, output: pathlib.Path, **settings: object) -> Command:
    """Returns a command that recycles a prompt in several ways and chooses one. For the
    arguments see `tune`.
    """
    places = {"MIXTURE_OR_TASK_NAME": f"demo_{task}", "CHOOSE_OUTPUT_DIR": str(output)}
    files = (_network(model, prompt=True), f"{GIN}/choose.gin")
    return _command("choose", files, model, output, {**places, **settings})


def evaluate_prompts(
    model: str, task: str, manifest: pathlib.Path, *gin_files: str, **settings: object
) -> Command:
    """Returns a command that evaluates the prompts of a manifest on a model."""
    places = {"MIXTURE_OR_TASK_NAME": f"demo_{task}", "PROMPT_MANIFEST": str(manifest)}
    files = (_network(model, prompt=True), f"{GIN}/evaluate_prompts.gin", *gin_files)
    return _command(
        "evaluate_prompts", files, model, manifest.parent, {**places, **settings}
    )


def _command(
    program: str,
    gin_files: tuple[str, ...],
    model: str,
    output: pathlib.Path,
    settings: dict[str, object],
) -> Command:
    checkpoint = ("INITIAL_CHECKPOINT_PATH", f"{MODELS}/{model}")
    return Command(program, gin_files, (checkpoint, *settings.items()), output)


def _network(model: str, prompt: bool) -> str:
    size = "wide" if model == "wide" else "tiny"
    return f"{GIN}/{size}{'_prompt' if prompt else ''}.gin"


def _quoted(flag: str) -> str:
    """Quotes for a shell; double quotes around gin's single quotes are easy to read."""
    return f'"{flag}"' if "'" in flag and '"' not in flag else shlex.quote(flag)


class Runner:
    """Runs commands in a few long-lived processes, each of which imports and compiles
    only once. A command run by hand does the same, a few seconds slower.
    """

    def __init__(self, log: pathlib.Path) -> None:
        """Starts the processes; `log` will hold all commands, as a shell script."""
        self._log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("# The demo's commands, in the order in which they ran.\n")
        self._pool = concurrent.futures.ProcessPoolExecutor(
            max_workers=min(4, len(os.sched_getaffinity(0))),
            mp_context=multiprocessing.get_context("spawn"),
        )

    def run(self, commands: Iterable[Command]) -> Iterator[Command]:
        """Runs commands that do not depend on each other, and yields each in order when
        it is done.

        Raises:
          RuntimeError: a command failed; the message has the command and its output.
        """
        futures = [(self._pool.submit(_run, command), command) for command in commands]
        for future, command in futures:
            code, text = future.result()
            if code:
                self._pool.shutdown(cancel_futures=True)
                raise RuntimeError(f"this command failed:\n{command}\n{text}")
            with self._log.open("a") as log:
                log.write(f"\n{command}\n")
            yield command


def _run(command: Command) -> tuple[int, str]:
    import tensorflow as tf

    name = f"prompt_tuning_recycling.standalone.{command.program}"
    program = importlib.import_module(name)
    written = io.StringIO()
    with contextlib.redirect_stdout(written), contextlib.redirect_stderr(written):
        # TensorFlow need not rewrite the tasks' functions: none branches on a tensor.
        code = tf.autograph.experimental.do_not_convert(program.main)(
            command.arguments()
        )
    return code, written.getvalue()
