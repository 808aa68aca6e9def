"""Files are written whole, or not at all."""

import os

import pytest

from prompt_tuning_recycling import RecyclingError, files


def test_writes_exactly_that_name_and_makes_folders(tmp_path):
    path = tmp_path / "a" / "b" / "encoder.prompt.prompt.prompt"
    files.write_atomically(path, b"bytes")
    assert path.read_bytes() == b"bytes"
    assert os.listdir(path.parent) == [path.name]


def test_replaces_what_was_there(tmp_path):
    for content in (b"long content", b"new"):
        files.write_atomically(tmp_path / "file", content)
    assert (tmp_path / "file").read_bytes() == b"new"


def test_follows_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        files.write_atomically(tmp_path / "file", b"")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_a_write_that_fails_keeps_the_old_and_leaves_nothing(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RecyclingError, match="cannot write .*No space left on device"):
        files.write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize(
    ("place", "message"),
    [("folder", "is a folder"), ("file/below", "is a file, not a folder")],
)
def test_places_that_cannot_be_written(tmp_path, place, message):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(RecyclingError, match=message):
        files.check_writable(tmp_path / place)


def test_an_empty_path():
    with pytest.raises(RecyclingError, match="output path is empty"):
        files.check_writable("")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(RecyclingError, match="no permission"):
        files.check_writable(tmp_path / "file")


def test_writes_to_the_home_folder(home):
    files.write_atomically("~/a/file", b"bytes")
    assert (home / "a" / "file").read_bytes() == b"bytes"
    files.write_atomically("./~file", b"bytes")
    assert (home.parent / "~file").read_bytes() == b"bytes"
    assert sorted(os.listdir(home.parent)) == ["home", "~file"]


def test_in_a_folder_that_was_deleted(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(RecyclingError, match="the current folder was deleted"):
        files.check_writable("a")


def test_the_longest_name_that_a_disk_takes(tmp_path):
    path = tmp_path / ("a" * os.pathconf(tmp_path, "PC_NAME_MAX"))
    files.write_atomically(path, b"bytes")
    assert path.read_bytes() == b"bytes"
    with pytest.raises(RecyclingError, match="File name too long"):
        files.check_writable(f"{path}a")
