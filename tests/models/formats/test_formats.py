"""What holds for a checkpoint of any format (base.py, orbax.py, legacy.py,
tensorstores.py)."""

import shutil

import ml_dtypes
import numpy as np
import pytest

from prompt_tuning_recycling import RecyclingError
from prompt_tuning_recycling.models import open_checkpoint
from prompt_tuning_recycling.models.formats import tensorstores

EMBEDDING = "target/token_embedder/embedding"
SCALE = "target/encoder/encoder_norm/scale"


@pytest.fixture
def arrays(source_table):
    return {
        EMBEDDING: source_table,
        SCALE: np.ones(12, np.float32),
        "state/step": np.asarray(7, np.int32),
        "state/loss_scale": np.float32(0.1),
        "state/count": np.int64(1 << 40),
    }


@pytest.fixture
def checkpoint(tmp_path, write_any, arrays):
    return open_checkpoint(write_any(tmp_path / "checkpoint_7", arrays))


def test_names_every_parameter(checkpoint, arrays):
    assert checkpoint.keys() == sorted(arrays)


def test_reads_every_parameter(checkpoint, arrays):
    for name, array in arrays.items():
        read = checkpoint.read(name)
        assert read.dtype == checkpoint.dtype(name) == array.dtype
        np.testing.assert_array_equal(read, array)
        assert checkpoint.shape(name) == array.shape


@pytest.mark.parametrize(
    "rows", [[5, 3, 300, 3], [0], [383], list(range(384)), [], [150, 120]]
)
def test_takes_rows_in_the_order_asked_for(checkpoint, source_table, rows):
    taken = checkpoint.take(EMBEDDING, rows)
    np.testing.assert_array_equal(taken, source_table[rows])


def test_large_arrays_are_read_if_they_are_stored(
    tmp_path, write_any, source_table, monkeypatch
):
    monkeypatch.setattr(tensorstores, "_LARGE", 1000)
    step = write_any(tmp_path / "checkpoint_1", {EMBEDDING: source_table})
    taken = open_checkpoint(step).take(EMBEDDING, [3])
    np.testing.assert_array_equal(taken, source_table[[3]])


def test_bfloat16_is_read_as_such(tmp_path, write_any, source_table):
    table = source_table.astype(ml_dtypes.bfloat16)
    step = write_any(tmp_path / "checkpoint_1", {EMBEDDING: table})
    checkpoint = open_checkpoint(step)
    assert checkpoint.read(EMBEDDING).dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(checkpoint.take(EMBEDDING, [9, 2]), table[[9, 2]])


def test_missing_parameter_names_the_nearest(checkpoint):
    with pytest.raises(
        RecyclingError, match=f"token_embeder.*Did you mean {EMBEDDING}"
    ):
        checkpoint.read("target/token_embeder/embedding")


@pytest.mark.parametrize("row", [-1, 384])
def test_row_outside_the_table(checkpoint, row):
    with pytest.raises(RecyclingError, match=f"row {row} of .* the rows 0 to 383"):
        checkpoint.take(EMBEDDING, [3, row])


def test_rows_must_be_whole_numbers(checkpoint):
    with pytest.raises(RecyclingError, match="whole numbers"):
        checkpoint.take(EMBEDDING, [0.5])


def test_a_scalar_has_no_rows(checkpoint):
    with pytest.raises(RecyclingError, match="scalar"):
        checkpoint.take("state/step", [0])


def test_fingerprint_tells_two_writings_apart(
    tmp_path, write_any, arrays, checkpoint, source_table
):
    again = open_checkpoint(checkpoint.path)
    before = checkpoint.fingerprint(EMBEDDING)
    assert again.fingerprint(EMBEDDING) == before
    table = source_table.copy()
    table[len(table) // 2] += 1
    for change in ({"state/step": np.asarray(8, np.int32)}, {EMBEDDING: table}):
        shutil.rmtree(tmp_path / "anew", ignore_errors=True)
        anew = open_checkpoint(write_any(tmp_path / "anew", {**arrays, **change}))
        assert anew.fingerprint(EMBEDDING) != before


def test_a_relative_path_works(checkpoint, source_table, monkeypatch):
    monkeypatch.chdir(checkpoint.path.parent)
    relative = open_checkpoint(checkpoint.path.name)
    np.testing.assert_array_equal(relative.read(EMBEDDING), source_table)
