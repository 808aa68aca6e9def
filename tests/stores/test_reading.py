"""Which steps on object stores are taken, that nothing stale is seen, and how much is
read.
"""

import json

import numpy as np
import pytest

from prompt_tuning_recycling import RecyclingError
from prompt_tuning_recycling.files import as_path
from prompt_tuning_recycling.models import open_model

from ..conftest import EMBEDDING, thorough
from .conftest import safetensors_model

MARK, METADATA = "commit_success.txt", "_CHECKPOINT_METADATA"


@pytest.fixture
def upload_step(store, tmp_path, write_orbax, source_table):
    """Puts a step there, whose table is the source's plus its number."""

    def upload(number):
        arrays = {EMBEDDING: source_table + number}
        local = write_orbax(tmp_path / f"checkpoint_{number}", arrays)
        return store.upload(local, f"run/checkpoint_{number}")

    return upload


def test_a_step_without_a_mark(store, upload_step, caplog, source_table):
    url, model_dir = upload_step(20), store.url("run")
    with pytest.raises(
        RecyclingError, match=f"checkpoint_20 lacks {MARK}, .* own path"
    ):
        open_model(model_dir)
    # By its own path it is taken.
    found = open_model(url).embeddings.take([3, 1])
    np.testing.assert_array_equal(found, source_table[[3, 1]] + 20)
    # An older one that is whole is taken, and it is said that it is not the newest.
    as_path(f"{upload_step(10)}/{MARK}").write_bytes(b"")
    assert open_model(model_dir).path.name == "checkpoint_10"
    assert "taking" in caplog.text and "checkpoint_20 lacks" in caplog.text
    # Orbax says so too, while it writes.
    for content, taken in (
        ({"init_timestamp_nsecs": 1}, "checkpoint_10"),
        ({"init_timestamp_nsecs": 1, "commit_timestamp_nsecs": 2}, "checkpoint_20"),
    ):
        as_path(f"{url}/{METADATA}").write_bytes(json.dumps(content).encode())
        assert open_model(model_dir).path.name == taken


@pytest.mark.parametrize("store", [thorough("gs"), "s3"], indirect=True)
def test_steps_that_t5x_wrote(store, shared_data):
    for name in ("target_orbax", "target_legacy"):
        local = shared_data / "t5x_written" / name
        url = store.upload(local, name)
        for path in (url, f"{url}/checkpoint_40"):
            model = open_model(path)
            np.testing.assert_array_equal(
                model.embeddings.take([5, 30000]),
                open_model(local).embeddings.take([5, 30000]),
            )
            assert model.step == 40


def test_nothing_stale_is_seen(store, upload_step):
    model_dir = store.url("run")
    for number in (1, 2):
        as_path(f"{upload_step(number)}/{MARK}").write_bytes(b"")
        assert open_model(model_dir).path.name == f"checkpoint_{number}"
    place = as_path(store.url("run/note"))
    assert not place.exists()
    store.files.pipe_file(f"{store.bucket}/run/note", b"1")
    assert place.exists() and place.read_bytes() == b"1"
    store.files.pipe_file(f"{store.bucket}/run/note", b"2")
    assert place.read_bytes() == b"2" and place.stat().length == 1
    store.files.rm(f"{store.bucket}/run", recursive=True)
    assert not place.exists() and not as_path(model_dir).is_dir()


ROWS = np.array([5, 7, 1050, 1999])


@pytest.mark.parametrize(
    ("form", "most"), [("legacy", 3 * 25_600), ("safetensors", 1024)]
)
def test_only_what_holds_the_rows_is_read(
    store, form, most, write_legacy, tmp_path, rng
):
    table = rng.normal(size=(2000, 64)).astype(np.float32)
    if form == "legacy":
        options = {"chunk_rows": 100, "compressor": None}
        write_legacy(tmp_path / "model", {EMBEDDING: table}, **options)
    else:
        safetensors_model(tmp_path / "model", table)
    embeddings = open_model(store.upload(tmp_path / "model", "model")).embeddings
    store.proxy.reset()
    np.testing.assert_array_equal(embeddings.take(ROWS), table[ROWS])
    # The chunks, or the rows themselves and what is between the first two.
    assert store.proxy.fetched() <= most + 1024
    assert len(store.proxy.exchanges) <= 4


def test_a_folder_of_many_steps_takes_few_requests(
    store, write_legacy, tmp_path, source_table
):
    for number in range(10):
        write_legacy(tmp_path / f"run/checkpoint_{number}", {EMBEDDING: source_table})
    url = store.upload(tmp_path / "run", "run")
    store.proxy.reset()
    assert open_model(url).path.name == "checkpoint_9"
    assert len(store.proxy.exchanges) <= 12
