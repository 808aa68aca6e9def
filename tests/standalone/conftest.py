"""Fixtures: command lines of the standalone host, on the demo's models."""

import dataclasses
import importlib
import json
import os
import pathlib
import shutil

import numpy as np
import pytest
import sentencepiece
import tensorflow as tf

from prompt_tuning_recycling.models import open_model

from ..conftest import DEMO_MODELS, IMPORTABLE, write_tiny_model

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """The tests' tasks, where a user's would be: in the folder one works in."""
    monkeypatch.syspath_prepend(IMPORTABLE)


@pytest.fixture
def tiny(tmp_path):
    """A model file with a prompt of 5."""
    return write_tiny_model(tmp_path / "tiny_prompt.gin", 5)


@pytest.fixture
def tiny_without(tmp_path):
    """A model file without a prompt."""
    return write_tiny_model(tmp_path / "tiny.gin", 0)


@pytest.fixture
def models():
    """The demo's models: source, target-1, target-2, wide."""
    return DEMO_MODELS


@pytest.fixture
def source(tmp_path):
    """A copy of the source model, to be changed or deleted."""
    return pathlib.Path(shutil.copytree(DEMO_MODELS / "source", tmp_path / "source"))


@dataclasses.dataclass(frozen=True)
class Result:
    """How a command line ended."""

    code: int
    out: str
    error: str


@pytest.fixture
def start(capfd):
    """Runs a program in this process, as from the shell."""

    def start(program, files, *others, **macros) -> Result:
        module = f"prompt_tuning_recycling.standalone.{program}"
        main = importlib.import_module(module).main
        arguments = flags(files, *others, **macros)
        capfd.readouterr()
        try:
            # A seventh of the time would go into rewriting seqio's functions, which do
            # not need it.
            code = tf.autograph.experimental.do_not_convert(main)(arguments)
        except SystemExit as stop:  # argparse, on a flag that it cannot parse.
            code = int(stop.code or 0)
        written = capfd.readouterr()
        return Result(code, written.out, written.err)

    return start


def flags(files, *others, **macros):
    return [
        *(f"--gin_file={file}" for file in files),
        *others,
        *(f"--gin.{name}={value!r}" for name, value in macros.items()),
    ]


LENGTHS = {"inputs": 6, "targets": 2}
TASK = {
    "MIXTURE_OR_TASK_MODULE": "tiny_tasks",
    "TASK_FEATURE_LENGTHS": LENGTHS,
}


@pytest.fixture
def tune(start, tiny, models):
    """Tunes a prompt; it must work unless a failure is expected. It is evaluated only
    where a test asks for it, which saves half of the time.
    """

    def tune(model_dir, *files, fails=False, model=tiny, **macros) -> Result:
        result = start(
            "train",
            [model, "runs/standalone/prompt_finetune.gin", *files],
            **{
                **TASK,
                "MIXTURE_OR_TASK_NAME": "tiny_train",
                "EVAL_MIXTURE_OR_TASK_NAME": "tiny_ranked",
                "INITIAL_CHECKPOINT_PATH": str(models / "source"),
                "MODEL_DIR": str(model_dir),
                "TRAIN_STEPS_RELATIVE": 6,
                "BATCH_SIZE": 16,
                "CHECKPOINT_PERIOD": 2,
                "EVAL_PERIOD": 0,
                "LOG_PERIOD": 1,
                **macros,
            },
        )
        assert (result.code != 0) == fails, result.error
        return result

    return tune


@pytest.fixture(scope="session")
def tuned_once(tmp_path_factory):
    """Where the prompt that `tuned` copies has been tuned, once it has."""
    return tmp_path_factory.mktemp("tuned") / "run"


@pytest.fixture
def tuned(tune, tuned_once, tmp_path):
    """The folder of a prompt tuned on the source model, to be changed or deleted, which
    was evaluated every three steps.
    """
    if not tuned_once.exists():
        tune(tmp_path / "whole", EVAL_PERIOD=3)
        (tmp_path / "whole").rename(tuned_once)
    return pathlib.Path(shutil.copytree(tuned_once, tmp_path / "tuned"))


@pytest.fixture
def evaluate(start, models):
    """Evaluates; it must work unless a failure is expected."""

    def evaluate(model, *files, fails=False, **macros) -> Result:
        result = start(
            "eval",
            [model, "runs/standalone/eval.gin", *files],
            **{
                **TASK,
                "MIXTURE_OR_TASK_NAME": "tiny_ranked",
                "INITIAL_CHECKPOINT_PATH": str(models / "target-1"),
                **macros,
            },
        )
        assert (result.code != 0) == fails, result.error
        return result

    return evaluate


@pytest.fixture
def recycling(models):
    """Macros of recycle_init.gin."""
    return {
        "WORD_LIST": str(models / "words.json"),
        "NUM_WORDS": 300,
        "WORD_OFFSET": 20,
    }


@pytest.fixture
def metrics():
    """Reads what a run has measured: [(step, {name: value})]."""

    def metrics(folder, task="tiny_ranked"):
        path = pathlib.Path(folder) / f"inference_eval/{task}-metrics.jsonl"
        lines = map(json.loads, path.read_text().splitlines())
        return [(line.pop("step"), line) for line in lines]

    return metrics


@pytest.fixture
def exported():
    """Reads a run's prompt of a step: float32 [length, width]."""

    def exported(model_dir, step):
        folder = pathlib.Path(model_dir) / f"numpy_checkpoints/checkpoint_{step}"
        with (folder / "encoder.prompt.prompt.prompt").open("rb") as file:
            return np.load(file)

    return exported


@pytest.fixture
def steps():
    """The steps of a run whose checkpoints are there."""

    def steps(model_dir):
        folders = pathlib.Path(model_dir).glob("checkpoint_*")
        return sorted(
            int(folder.name.removeprefix("checkpoint_")) for folder in folders
        )

    return steps


@pytest.fixture
def folder(tmp_path):
    """A run's output folder."""
    return tmp_path / "run"


@pytest.fixture(scope="session")
def source_prompt(tmp_path_factory):
    """An instruction in the source's embeddings, as good as a tuned prompt."""
    text = "verdict judge good or bad"
    file = str(DEMO_MODELS / "vocabulary.model")
    pieces = sentencepiece.SentencePieceProcessor(model_file=file).encode(text)
    table = open_model(DEMO_MODELS / "source").embeddings
    path = tmp_path_factory.mktemp("prompt") / "source_prompt.npy"
    np.save(path, table.take(pieces).astype(np.float32))
    return path


@pytest.fixture
def choosing(models, recycling, source_prompt):
    """Macros of choosing.gin."""
    return {
        **recycling,
        "SOURCE_CHECKPOINT": str(models / "source"),
        "SOURCE_PROMPT": str(source_prompt),
        "CANDIDATES": ("v2v-lin", "lin-comb"),
        "NUM_UNLABELED": 16,
    }


@pytest.fixture
def choose(start, tiny, models, choosing, folder):
    """Chooses in a job of its own; it must work unless a failure is expected."""

    def choose(*files, fails=False, model=tiny, **macros) -> Result:
        result = start(
            "choose",
            [model, "runs/standalone/choose.gin", *files],
            **{
                **TASK,
                **choosing,
                "MIXTURE_OR_TASK_NAME": "tiny_ranked",
                "INITIAL_CHECKPOINT_PATH": str(models / "target-1"),
                "CHOOSE_OUTPUT_DIR": str(folder),
                **macros,
            },
        )
        assert (result.code != 0) == fails, result.error
        return result

    return choose


@pytest.fixture(scope="session")
def chosen_once(tmp_path_factory):
    """Where the choice that `chosen` copies has been made, once it has."""
    return tmp_path_factory.mktemp("chosen") / "run"


@pytest.fixture
def chosen(choose, chosen_once, folder):
    """`folder`, in which a prompt has been chosen as `choose` does by itself."""
    if not chosen_once.exists():
        choose(CHOOSE_OUTPUT_DIR=str(chosen_once))
    return pathlib.Path(shutil.copytree(chosen_once, folder))
