"""Fixtures: T5X's own programs on the checkpoints that T5X wrote."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import json
import multiprocessing
import os
import pathlib
import sys
import time
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

HERE = pathlib.Path(__file__).resolve().parent
# The tests' tasks, where a user's would be: in a folder on the path.
sys.path.insert(0, str(HERE / "importable"))

import t5x_program  # noqa: E402

from prompt_tuning_recycling import gin_path, run_recycle  # noqa: E402

TASK = {
    "MIXTURE_OR_TASK_MODULE": "t5x_test_tasks",
    "MIXTURE_OR_TASK_NAME": "even_or_odd",
    "TASK_FEATURE_LENGTHS": {"inputs": 16, "targets": 4},
    "BATCH_SIZE": 8,
}
FIRST = 40  # The target checkpoint's step.

PACKAGES = {"t5x": "t5x", "standalone": "prompt_tuning_recycling.standalone"}
OF_THIS_PACKAGE = ("choose", "teach", "evaluate_prompts")
OUTPUTS = {
    "train": "MODEL_DIR",
    "eval": "EVAL_OUTPUT_DIR",
    "infer": "INFER_OUTPUT_DIR",
    "choose": "CHOOSE_OUTPUT_DIR",
    "teach": "TEACHER_SCORES",
    "evaluate_prompts": "PROMPT_MANIFEST",
}
RUN_FILES = {
    "t5x": {
        "train": "runs/t5x/prompt_finetune.gin",
        "eval": "runs/t5x/prompt_eval.gin",
        "infer": "runs/t5x/prompt_infer.gin",
        "choose": "runs/t5x/choose.gin",
        "teach": "runs/t5x/teach.gin",
        "evaluate_prompts": "runs/t5x/evaluate_prompts.gin",
    },
    "standalone": {
        "train": "runs/standalone/prompt_finetune.gin",
        "eval": "runs/standalone/eval.gin",
        "infer": "runs/standalone/infer.gin",
        "choose": "runs/standalone/choose.gin",
    },
}
TRAINING = {
    "CHECKPOINT_PERIOD": 1,
    "EVAL_PERIOD": 2,
    "EVAL_STEPS": 1,
    "KEEP_CHECKPOINTS": None,
}


def pytest_collection_modifyitems(items):
    try:
        if importlib.util.find_spec("t5x.train"):
            return
    except ImportError:
        pass
    reason = "T5X cannot be imported here; docs/t5x.md says how to install it"
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=reason))


@dataclasses.dataclass(frozen=True)
class Run:
    """A program that was started."""

    process: Any
    log: pathlib.Path
    folder: pathlib.Path

    @property
    def output(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def wait(self, timeout: float = 400) -> int | None:
        """Its exit code; None if it had to be killed."""
        self.process.join(timeout)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
            return None
        return self.process.exitcode

    def must_work(self) -> Run:
        code = self.wait()
        assert code == 0, f"exit code {code}\n{self.output[-6000:]}"
        return self


@pytest.fixture(scope="session")
def t5x_written(shared_data):
    return shared_data / "t5x_written"


@pytest.fixture(scope="session")
def programs(shared_data, tmp_path_factory):
    """Where the programs are forked from."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_PLATFORMS", "cpu")
        patch.setenv("PROMPT_RECYCLING_DATA", str(shared_data))
        # Compiled once for all the processes.
        cache = os.environ.get("JAX_COMPILATION_CACHE_DIR")
        cache = cache or str(tmp_path_factory.mktemp("compiled"))
        patch.setenv("JAX_COMPILATION_CACHE_DIR", cache)
        patch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
        paths = [str(HERE / "importable"), os.environ.get("PYTHONPATH", "")]
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
        context = multiprocessing.get_context("forkserver")
        # Not t5x.train and the like themselves: those are run as __main__.
        context.set_forkserver_preload(
            ["t5x.models", "t5x.trainer", "t5x.checkpoints", "t5x_test_tasks"]
        )
        yield context


@pytest.fixture(scope="session")
def command(shared_data, t5x_written, tmp_path_factory):
    """What follows `python -m`, to run a program of T5X's on the target with a prompt
    recycled for it; and the output folder."""
    search = f"{gin_path.gin_path()},{HERE / 'gin'}"

    def command(
        program,
        *flags,
        folder=None,
        files=("target_prompt.gin", "recycle_init.gin"),
        last=None,
        through=(),
        host="t5x",
        run_file=None,
        search_path=search,
        **macros,
    ) -> tuple[list[str], pathlib.Path]:
        folder = folder or tmp_path_factory.mktemp(program) / "run"
        run_file = RUN_FILES[host][program] if run_file is None else run_file
        package = PACKAGES[host]
        if host == "t5x" and program in OF_THIS_PACKAGE:
            package = "prompt_tuning_recycling.t5x_host"
        given = {
            **TASK,
            OUTPUTS[program]: str(folder),
            "INITIAL_CHECKPOINT_PATH": str(t5x_written / "target_orbax/checkpoint_40"),
            "VOCABULARY_FILE": str(shared_data / "t5_vocab.model"),
        }
        if program == "train":
            given |= {"TRAIN_STEPS": FIRST + 2, **TRAINING}
        if "recycle_init.gin" in files:
            given["RECYCLE_FROM"] = str(t5x_written / "prompt_orbax/checkpoint_50")
        given |= macros
        return [
            *(through or [f"{package}.{program}"]),
            f"--gin_search_paths={search_path}",
            *(f"--gin_file={file}" for file in (*files, run_file, last) if file),
            *flags,
            *(
                f"--gin.{name}={value!r}"
                for name, value in given.items()
                if value is not ...  # Takes back what is given by default.
            ),
        ], folder

    return command


@pytest.fixture(scope="session")
def start(programs, shared_data, command):
    """Starts what `command` says."""

    def start(program, *flags, environment=None, working_folder=None, **rest) -> Run:
        (module, *arguments), folder = command(program, *flags, **rest)
        environment = {"PROMPT_RECYCLING_DATA": str(shared_data), **(environment or {})}
        log = folder.parent / f"log-{time.monotonic_ns()}"
        process = programs.Process(
            target=t5x_program.run,
            args=(module, arguments, str(log), environment, working_folder),
        )
        process.start()
        return Run(process, log, folder)

    return start


@pytest.fixture(scope="session")
def decoder_only_sources():
    """The folder of T5X's examples in a checkout. What pip builds from one lacks
    decoder_only's Python files."""
    checkout = os.environ.get("T5X_CHECKOUT")
    if not checkout:
        where = importlib.metadata.distribution("t5x").read_text("direct_url.json")
        checkout = json.loads(where or "{}").get("url", "").removeprefix("file://")
    examples = pathlib.Path(checkout) / "t5x/examples"
    if not (examples / "decoder_only/network.py").is_file():
        pytest.skip("T5X_CHECKOUT does not name a checkout of T5X")
    return str(examples)


@pytest.fixture(scope="session")
def pretrained(start):
    """Checkpoints of T5X's own networks, which T5X trains from scratch."""
    made = {}

    def pretrained(model, environment=None) -> pathlib.Path:
        if model not in made:
            run = start(
                "train",
                files=[f"{model}.gin"],
                run_file="t5x/configs/runs/pretrain.gin",
                TRAIN_STEPS=2,
                RANDOM_SEED=len(made),
                USE_CACHED_TASKS=False,
                INITIAL_CHECKPOINT_PATH=...,
                environment=environment,
            )
            made[model] = run.must_work().folder / "checkpoint_2"
        return made[model]

    return pretrained


@pytest.fixture(scope="session")
def tuned(start, pretrained):
    """The checkpoint of such a model with a prompt that was tuned for two steps."""
    made = {}

    def tuned(model, environment=None) -> pathlib.Path:
        if model not in made:
            run = start(
                "train",
                files=[f"{model}_prompt.gin"],
                INITIAL_CHECKPOINT_PATH=str(pretrained(model, environment)),
                TRAIN_STEPS=4,
                environment=environment,
            )
            made[model] = run.must_work().folder / "checkpoint_4"
        return made[model]

    return tuned


@pytest.fixture(scope="session")
def recycle(t5x_written, tmp_path_factory):
    """What `run_recycle` writes: float32 [length, width]."""
    made = {}

    def recycle(source="prompt_orbax", target="target_orbax", recycler="v2v-lin"):
        asked = (source, target, recycler)
        if asked not in made:
            output = tmp_path_factory.mktemp("run_recycle") / "prompt"
            run_recycle.main(
                [
                    f"--source_model={t5x_written / source}",
                    f"--target_model={t5x_written / target}",
                    f"--prompt_path={t5x_written / source}",
                    f"--output_path={output}",
                    f"--recycler={recycler}",
                ]
            )
            made[asked] = np.load(output)
        return made[asked]

    return recycle
