"""`run_recycle` from and to object stores writes the bits that it writes from and to a
disk, whatever the formats.
"""

import hashlib
import json
import pathlib
import shutil

import numpy as np
import pytest
import safetensors.numpy

from prompt_tuning_recycling import run_recycle
from prompt_tuning_recycling.prompts.prompt import load_record

from ..adapters import write_adapter
from ..conftest import EMBEDDING, PROMPT


def finished(step: pathlib.Path) -> pathlib.Path:
    """Puts the mark into a step that Orbax puts into those that it saves as a whole."""
    (step / "commit_success.txt").write_text("")
    return step


def safetensors_model(folder, table):
    folder.mkdir(parents=True)
    safetensors.numpy.save_file({"shared.weight": table}, folder / "model.safetensors")
    config = {"model_type": "t5", "d_model": table.shape[1]}
    (folder / "config.json").write_text(json.dumps(config))


@pytest.fixture
def write_model(write_orbax, write_legacy):
    """Writes a model's embeddings, in one of the formats, and a prompt if given."""
    orbax = {
        "orbax": {},
        "orbax-folders": {"ocdbt": False},
        "orbax-zarr3": {"ocdbt": False, "zarr3": True},
        "orbax-ocdbt-zarr3": {"zarr3": True},
    }

    def write(form, folder, table, prompt=None):
        arrays = {EMBEDDING: table} | ({} if prompt is None else {PROMPT: prompt})
        if form == "numpy":
            folder.parent.mkdir(parents=True, exist_ok=True)
            np.save(folder.with_suffix(".npy"), table)
            return folder.with_suffix(".npy")
        if form == "safetensors":
            safetensors_model(folder, table)
        elif form == "legacy":
            write_legacy(folder / "checkpoint_7", arrays, chunk_rows=100)
        else:
            finished(write_orbax(folder / "checkpoint_7", arrays, **orbax[form]))
        return folder

    return write


def recycled(run, flags, output):
    """Returns the digest of what is written, and its record without places."""
    assert run(run_recycle.main, {**flags, "output_path": output}) == 0
    record = load_record(output)
    for part in ("source", "target", "prompt"):
        record[part].pop("path")
    return record["file_sha256"], record["words"]["fitted"]


@pytest.mark.parametrize(
    "form",
    [
        "legacy",
        "orbax",
        "orbax-folders",
        "orbax-zarr3",
        "orbax-ocdbt-zarr3",
        "safetensors",
        "numpy",
    ],
)
def test_every_format(
    store, form, run, files, write_model, tmp_path, source_table, target_table, prompt
):
    models = {
        "source_model": write_model(form, tmp_path / "a", source_table),
        "target_model": write_model(form, tmp_path / "b", target_table),
    }
    flags = {**files, **{name: str(path) for name, path in models.items()}}
    expected = recycled(run, flags, str(tmp_path / "local"))

    for name, path in models.items():
        flags[name] = store.upload(path, f"deep/er/{path.name}")
    for name in ("prompt_path", "filtered_word"):
        path = pathlib.Path(flags[name])
        flags[name] = store.upload(path, path.name)
    output = store.url("results/x/recycled")
    assert recycled(run, flags, output) == expected
    assert store.names("results") == [
        "results/x/recycled",
        "results/x/recycled.json",
    ]
    digest = hashlib.sha256(store.read("results/x/recycled")).hexdigest()
    assert digest == expected[0]
