"""Unpacking stops at the last row that is needed."""

import ml_dtypes
import numpy as np
import pytest

from prompt_tuning_recycling.checkpoints import gzip_chunk

NAME = "target/table"


@pytest.fixture
def saved(tmp_path, write_legacy, source_table):
    def save(table=source_table, **options):
        step = write_legacy(tmp_path / "checkpoint_1", {NAME: table}, **options)
        return step / NAME.replace("/", ".")

    return save


@pytest.mark.parametrize("dtype", [np.float32, np.float64, ml_dtypes.bfloat16])
def test_takes_leading_rows(saved, source_table, dtype):
    table = source_table.astype(dtype)
    taken = gzip_chunk.take_leading_rows(saved(table), np.array([7, 0, 200]))
    assert taken.dtype == dtype
    np.testing.assert_array_equal(taken, table[[7, 0, 200]])


def test_takes_rows_of_a_later_chunk(saved, source_table):
    rows = np.array([110, 101])
    taken = gzip_chunk.take_leading_rows(saved(chunk_rows=100), rows)
    np.testing.assert_array_equal(taken, source_table[rows])


def test_does_not_look_at_what_follows(saved, source_table):
    folder = saved()
    chunk = folder / "0.0"
    data = bytearray(chunk.read_bytes())
    data[-2000:-8] = bytes(1992)
    chunk.write_bytes(data)
    taken = gzip_chunk.take_leading_rows(folder, np.array([1]))
    np.testing.assert_array_equal(taken, source_table[[1]])


@pytest.mark.parametrize(
    ("rows", "options"),
    [
        ([383], {}),
        ([], {}),
        ([0, 150], {"chunk_rows": 100}),
        ([0], {"compressor": None}),
        ([0], {"compressor": "zstd"}),
    ],
)
def test_leaves_the_rest_to_tensorstore(saved, rows, options):
    rows = np.array(rows, np.int64)
    assert gzip_chunk.take_leading_rows(saved(**options), rows) is None
