"""A sweep small enough to be done in every test: real models, prompts and words."""

from __future__ import annotations

import json
import pathlib
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ..conftest import train_vocabulary

MODELS = {"Seed 0": 12, "Seed 1": 12, "Large": 20}
INITS = ("rand-init", "class-init")
RUNS = ("run 1", "run 2")
STEPS = (5, 10)
UNTUNED_STEP = 0


@pytest.fixture(scope="session")
def same_folder(tmp_path_factory) -> Callable[[], pathlib.Path]:
    """Gives one folder, empty, to one test after another, as its `tmp_path`."""
    folder = tmp_path_factory.mktemp("same")

    def same_folder() -> pathlib.Path:
        shutil.rmtree(folder)
        folder.mkdir()
        return folder

    return same_folder


@pytest.fixture
def make_once(tmp_path, same_folder) -> Callable[[str, Callable[[], None]], None]:
    """Fills the same folder: the first time by a function, then with a copy of what was
    made.
    """

    def make_once(name: str, make: Callable[[], None]) -> None:
        kept = tmp_path.with_name(f"{tmp_path.name}-{name}")
        if kept.exists():
            shutil.copytree(kept, same_folder(), dirs_exist_ok=True)
        else:
            make()
            shutil.copytree(tmp_path, kept)

    return make_once


@pytest.fixture
def content(tmp_path, rng, word_list) -> dict[str, Any]:
    """A configuration's content, whose models and prompts are there."""
    shared = rng.normal(size=(384, 10))
    pretrained = {}
    prompts: dict[str, Any] = {}
    for model, width in MODELS.items():
        path = tmp_path / "models" / f"{model}.npy"
        path.parent.mkdir(exist_ok=True)
        table = shared @ rng.normal(size=(10, width)) + rng.normal(size=(384, width))
        np.save(path, table.astype(np.float32))
        pretrained[model] = str(path)
        for init in INITS:
            for run in RUNS:
                model_dir = tmp_path / "tuned" / model / init / run
                prompts.setdefault(model, {}).setdefault(init, {})[run] = str(model_dir)
                for step in (UNTUNED_STEP, *STEPS):
                    write_prompt(model_dir, step, rng.normal(size=(5, width)))
    return {
        "root_dir": str(tmp_path / "sweep"),
        "dataset": "toy",
        "task_name": "toy_task",
        "clobber": False,
        "steps": list(STEPS),
        "load_embeddings": {
            "default": {
                "word_list_path": str(word_list),
                "num_words": 200,
                "word_offset": 10,
            }
        },
        "recycling_methods": {
            "jax-nn": {"__init__": {"hidden_scale": 2}, "fit": {"epochs": 2}},
            "tf-lstsq": {},
            "linear-combination": {},
        },
        "pretrained": pretrained,
        "prompts": prompts,
        "baselines": {"random_prompts": 2, "untuned_step": UNTUNED_STEP},
    }


@pytest.fixture
def write_config(tmp_path) -> Callable[[Any], str]:
    """Writes a configuration; returns its path."""

    def write(content: Any) -> str:
        path = tmp_path / "config.json"
        path.write_text(json.dumps(content, indent=2))
        return str(path)

    return write


@pytest.fixture
def config(content, write_config) -> str:
    return write_config(content)


def write_prompt(model_dir, step: int, prompt) -> pathlib.Path:
    """Writes a prompt as a tuning run exports it."""
    path = pathlib.Path(model_dir, "numpy_checkpoints", f"checkpoint_{step}")
    path.mkdir(parents=True, exist_ok=True)
    with (path / "encoder.prompt.prompt.prompt").open("wb") as file:
        np.save(file, np.asarray(prompt, np.float32))
    return path / "encoder.prompt.prompt.prompt"


def write_metrics(output_dir, task: str, *records: dict[str, Any]) -> None:
    """Writes metrics as seqio's JSONLogger does."""
    path = pathlib.Path(output_dir, "inference_eval", f"{task}-metrics.jsonl")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def tree(folder) -> dict[str, bytes]:
    """Every file's content below a folder, by its relative path; timings left out,
    and what commands tell each other.
    """
    found = {}
    for path in sorted(pathlib.Path(folder).rglob("*")):
        name = str(path.relative_to(folder))
        if not path.is_file() or name.startswith(".sweep"):
            continue
        content = path.read_bytes()
        if "learned-recyclers" in name and name.endswith(".json"):
            record = json.loads(content)
            assert record.pop("seconds")
            content = json.dumps(record).encode()
        found[name] = content
    return found


@pytest.fixture(scope="session")
def vocabulary(tmp_path_factory) -> pathlib.Path:
    """A small SentencePiece model."""
    path = tmp_path_factory.mktemp("vocabulary") / "pieces.model"
    train_vocabulary(path, ["the film is good", "the film is bad"] * 20, 25)
    return path
