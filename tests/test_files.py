import os
import pathlib

import pytest
from etils import epath

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


@pytest.mark.parametrize(
    ("path", "remote"), [("gs://b/x", True), ("/a/b", False), ("a:b", False)]
)
def test_tells_object_stores_from_disks(path, remote):
    assert files.is_remote(path) is remote


@pytest.fixture
def home(tmp_path, monkeypatch):
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("~", "home"),
        ("~/", "home"),
        ("~/a/b.npy", "home/a/b.npy"),
        ("~//a", "home/a"),
        ("~root/a", pathlib.Path("~root/a").expanduser()),
        ("./~/a", "~/a"),
        ("./~name", "~name"),
        ("a/~name", "a/~name"),
        ("name~", "name~"),
        ("a/~", "a/~"),
        ("a~b/c", "a~b/c"),
        ("", "."),
    ],
)
def test_the_home_folder(home, given, expected):
    path = files.as_path(given)
    assert os.path.abspath(path) == str(home.parent / expected)
    # A path that came in once may come in again, on its way through the package.
    assert os.path.abspath(files.as_path(path)) == str(home.parent / expected)
    if not given.startswith("./"):  # pathlib leaves that out itself.
        path = files.as_path(epath.Path(given))
        assert os.path.abspath(path) == str(home.parent / expected)


def test_other_paths_stay_as_they_are(home):
    for given in ("a/b", "/a/b", "../a", "gs://b/~/a", "gs://b/~"):
        assert os.fspath(files.as_path(given)) == given


def test_writes_to_the_home_folder(home):
    files.write_atomically("~/a/file", b"bytes")
    assert (home / "a" / "file").read_bytes() == b"bytes"
    files.write_atomically("./~file", b"bytes")
    assert (home.parent / "~file").read_bytes() == b"bytes"
    assert sorted(os.listdir(home.parent)) == ["home", "~file"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("~no-such-user/a", "there is no user 'no-such-user'.* ./~no-such-user/a"),
        ("a\udcff/b", "expected a name in UTF-8"),
        ("gs://b/\udcff", "expected a name in UTF-8"),
        ("a\0b", "null character"),
    ],
)
def test_paths_that_are_none(path, message):
    with pytest.raises(RecyclingError, match=message):
        files.as_path(path)


def test_below_a_folder_whose_name_is_not_utf_8(tmp_path, monkeypatch):
    folder = os.fsencode(tmp_path) + b"/\xff"
    os.mkdir(folder)
    monkeypatch.chdir(os.fsdecode(folder))
    with pytest.raises(RecyclingError, match=r"udcff/a': expected a name in UTF-8"):
        files.as_path("a")


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
