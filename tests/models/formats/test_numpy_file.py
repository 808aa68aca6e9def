import ml_dtypes
import numpy as np
import pytest

from prompt_tuning_recycling import RecyclingError
from prompt_tuning_recycling.models import open_checkpoint
from prompt_tuning_recycling.models.formats.numpy_file import ArrayInMemory, NumpyFile


@pytest.mark.parametrize("name", ["table.npy", "encoder.prompt.prompt.prompt"])
def test_is_recognized_by_content(tmp_path, source_table, name):
    with (tmp_path / name).open("wb") as file:
        np.save(file, source_table)
    checkpoint = open_checkpoint(tmp_path / name)
    assert isinstance(checkpoint, NumpyFile)
    np.testing.assert_array_equal(checkpoint.read("any name"), source_table)
    np.testing.assert_array_equal(checkpoint.take("x", [4, 1]), source_table[[4, 1]])


def test_bfloat16(tmp_path, source_table):
    table = source_table.astype(ml_dtypes.bfloat16)
    np.save(tmp_path / "table.npy", table)
    read = open_checkpoint(tmp_path / "table.npy").read("embedding")
    assert read.dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(read, table)


def test_objects_are_never_loaded(tmp_path):
    np.save(tmp_path / "o.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(RecyclingError, match="not a numpy file of numbers"):
        open_checkpoint(tmp_path / "o.npy")


def test_text_is_not_numbers(tmp_path):
    np.save(tmp_path / "t.npy", np.array(["a", "b"]))
    with pytest.raises(RecyclingError, match="expected real numbers"):
        open_checkpoint(tmp_path / "t.npy")


def test_a_file_cut_short_is_reported(tmp_path, source_table):
    path = tmp_path / "table.npy"
    np.save(path, source_table)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RecyclingError, match="cut short"):
        open_checkpoint(path)


def test_an_array_in_memory_has_a_fingerprint_of_its_own(source_table):
    one, same, other = (ArrayInMemory(source_table + d) for d in (0, 0, 1))
    assert one.fingerprint("") == same.fingerprint("") != other.fingerprint("")


def test_the_folder_may_change_meanwhile(tmp_path, source_table, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("table.npy", source_table)
    opened = open_checkpoint("table.npy")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    np.testing.assert_array_equal(opened.read("x"), source_table)


def test_in_the_home_folder(tmp_path, source_table, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    np.save(tmp_path / "table.npy", source_table)
    np.testing.assert_array_equal(NumpyFile("~/table.npy").read("x"), source_table)


def test_a_file_that_is_removed_before_it_is_read(tmp_path, source_table):
    np.save(tmp_path / "table.npy", source_table)
    opened = open_checkpoint(tmp_path / "table.npy")
    (tmp_path / "table.npy").unlink()
    for read in (opened.read, lambda name: opened.take(name, [1])):
        with pytest.raises(RecyclingError, match=r"cannot read .*table.npy: No such"):
            read("x")
