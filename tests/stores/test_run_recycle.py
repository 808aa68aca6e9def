"""`run_recycle` from and to object stores writes the bits that it writes from and to a
disk, whatever the formats.
"""

import hashlib
import pathlib

import pytest

from prompt_tuning_recycling import run_recycle
from prompt_tuning_recycling.prompts.prompt import load_record

from ..conftest import thorough


def recycled(run, flags, output):
    """Returns the digest of what is written, and its record without places."""
    assert run(run_recycle.main, {**flags, "output_path": output}) == 0
    record = load_record(output)
    for part in ("source", "target", "prompt"):
        record[part].pop("path")
    return record["file_sha256"], record["words"]["fitted"]


@pytest.mark.parametrize("store", [thorough("gs"), "s3"], indirect=True)
@pytest.mark.parametrize(
    "form",
    ["legacy", "orbax", thorough("orbax-zarr3"), "safetensors", thorough("numpy")],
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
