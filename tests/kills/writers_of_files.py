"""Fixtures: `run_recycle`, `convert`, exports and kept prompts, with small inputs."""

from __future__ import annotations

import json
import pathlib

import numpy as np
import pytest

from prompt_tuning_recycling.prompts import load_prompt

from ..conftest import DEMO_MODELS
from ..converting.conftest import made_tensors
from .disturbing import Writer, digest
from .readers import (
    arrays_of,
    as_flags,
    contents,
    inputs_of,
    prompt_and_record,
    with_records,
)

PACKAGE = "prompt_tuning_recycling"
WORDS = {"filtered_word": DEMO_MODELS / "words.json", "num_words": 300}


@pytest.fixture
def run_recycle(files, tmp_path):
    """A numpy file with its record, and the map."""
    out = tmp_path / "out"
    given = {**files, "save_recycler": str(out / "map")}

    def seen():
        return contents(out, "map") | with_records(out, "recycled")

    return Writer(
        f"{PACKAGE}.run_recycle",
        as_flags(given),
        out,
        inputs_of(files),
        seen,
        lambda run: run(as_flags({**given, "num_words": 100})),
    )


@pytest.fixture
def adapter(tmp_path, rng):
    """A prompt as an adapter of PEFT, in a folder."""
    np.save(tmp_path / "prompt.npy", rng.normal(size=(5, 64)).astype(np.float32))
    out = tmp_path / "out"
    given = {
        "source_model": DEMO_MODELS / "source",
        "target_model": DEMO_MODELS / "target-1",
        "prompt_path": tmp_path / "prompt.npy",
        "output_path": out / "adapter",
        "output_format": "peft",
        "recycler": "v2v-lin",
        **WORDS,
        "word_offset": 20,
    }

    def seen():
        folder = out / "adapter"
        if not folder.exists():
            return {}
        files = ("adapter_config.json", "adapter_model.safetensors")
        assert {*files, "README.md", "prompt.json"} == {
            path.name for path in folder.iterdir()
        }
        both = [*contents(folder, *files).values(), prompt_and_record(folder)]
        return {"the adapter": " ".join(both)}

    return Writer(
        f"{PACKAGE}.run_recycle",
        as_flags(given),
        out,
        inputs_of(given),
        seen,
        lambda run: run(as_flags({**given, "num_words": 100})),
    )


@pytest.fixture
def to_hugging_face(tmp_path):
    """A folder of safetensors in two files."""
    out = tmp_path / "out"
    given = {
        "from": DEMO_MODELS / "source",
        "to": out / "hf",
        "max_shard_size": "200kb",
    }

    def seen():
        if not (out / "hf").exists():
            return {}
        names = [path.name for path in (out / "hf").iterdir()]
        assert any(name.startswith("model-00002") for name in names)
        found = contents(out / "hf", *sorted(names))
        return {"the model": json.dumps(found)}

    return Writer(
        f"{PACKAGE}.convert",
        as_flags(given),
        out,
        [DEMO_MODELS / "source"],
        seen,
        replaces_nothing=True,
    )


@pytest.fixture
def to_t5x(tmp_path, save, rng):
    """A checkpoint of T5X."""
    out = tmp_path / "out"
    given = {"from": save(made_tensors(rng)), "to": out / "checkpoint_3"}

    def seen():
        step = out / "checkpoint_3"
        return {"the step": arrays_of(step)} if step.exists() else {}

    return Writer(
        f"{PACKAGE}.convert",
        as_flags(given),
        out,
        [given["from"]],
        seen,
        replaces_nothing=True,
    )


@pytest.fixture
def export(tmp_path):
    """Two prompts that a run exports together."""
    out = tmp_path / "out"

    def seen():
        folder = out / "numpy_checkpoints/checkpoint_7"
        if not folder.exists():
            return {}
        arrays = [load_prompt(path).array for path in sorted(folder.iterdir())]
        return {"the export": digest(np.stack(arrays).tobytes())}

    return Writer(
        "writing",
        ["export", str(out), "2"],
        out,
        [],
        seen,
        lambda run: run(["export", str(out), "1"]),
    )


@pytest.fixture
def kept_prompt(tmp_path, files, prompt):
    """A recycled prompt that a run keeps, and replaces when the source is another."""
    out = tmp_path / "out"
    path = pathlib.Path(files["prompt_path"])
    names = ("source_model", "prompt_path", "target_model", "filtered_word")
    arguments = ["keep", str(out), *(files[name] for name in names)]

    def earlier(run):
        np.save(path, 2 * prompt)
        run(arguments)
        np.save(path, prompt)

    return Writer(
        "writing",
        arguments,
        out,
        inputs_of(files),
        lambda: with_records(out, "recycled_prompt/prompt.npy"),
        earlier,
    )
