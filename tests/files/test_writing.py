"""Files are written whole, or not at all."""

import os

import pytest

from prompt_tuning_recycling import RecyclingError, files
from prompt_tuning_recycling.files import writing


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


def test_a_folder_without_permission(forbidden):
    folder, forbid = forbidden
    (folder / "closed").mkdir()
    files.check_writable(folder / "closed/file")
    forbid("closed", 0o555)
    with pytest.raises(RecyclingError, match="no permission to write to .*closed"):
        files.check_writable(folder / "closed/file")


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


def test_files_that_are_written_together_appear_in_their_order(tmp_path, monkeypatch):
    paths = [tmp_path / "b" / "second", tmp_path / "a" / "first", tmp_path / "third"]
    steps = []

    def observed(name):
        real = getattr(os, name)

        def call(*args):
            steps.append(name)
            if name == "replace":
                steps.append(str(args[1]))
            return real(*args)

        return call

    for name in ("fsync", "replace"):
        monkeypatch.setattr(os, name, observed(name))
    files.write_together({path: path.name.encode() for path in paths})
    assert [path.read_bytes() for path in paths] == [b"second", b"first", b"third"]
    assert steps[:3] == ["fsync"] * 3
    assert steps[4::2] == [str(path) for path in paths]
    assert [len(os.listdir(path.parent)) for path in paths] == [1, 1, 3]


@pytest.mark.parametrize("failing", ["fsync", "write"])
def test_of_files_written_together_none_is_new_if_one_fails(
    tmp_path, monkeypatch, failing
):
    for name in ("one", "two"):
        (tmp_path / name).write_bytes(b"old")
    if failing == "fsync":
        calls = iter([None, OSError(28, "No space left on device")])

        def full(*_):
            if error := next(calls):
                raise error

        monkeypatch.setattr(os, "fsync", full)
        new = {tmp_path / "one": b"new", tmp_path / "two": b"new"}
        message = f"cannot write {tmp_path / 'two'}: No space left"
    else:
        new = {tmp_path / "one": b"new", tmp_path / "one/below": b"new"}
        message = "is a file, not a folder"
    with pytest.raises(RecyclingError, match=message):
        files.write_together(new)
    assert [(tmp_path / n).read_bytes() for n in ("one", "two")] == [b"old", b"old"]
    assert sorted(os.listdir(tmp_path)) == ["one", "two"]


def test_renamed_in_order_until_one_fails(tmp_path):
    """A folder that comes into being meanwhile is in the second file's way."""
    (tmp_path / "two").mkdir()
    (tmp_path / "two/inside").touch()
    paths = [tmp_path / name for name in ("one", "two", "three")]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(writing, "check_writable", lambda path: None)
        with pytest.raises(RecyclingError, match=f"cannot write {paths[1]}"):
            files.write_together(dict.fromkeys(paths, b"new"))
    assert paths[0].read_bytes() == b"new"
    assert sorted(os.listdir(tmp_path)) == ["one", "two"]


def test_an_error_while_waiting_for_the_disk_names_the_file():
    # The system cannot do it for this file; its own error has no name.
    with pytest.raises(OSError) as error:
        files.sync("/dev/null")
    assert error.value.filename == "/dev/null"


@pytest.mark.parametrize("is_link", [False, True])
def test_an_interrupt_right_after_a_renaming(tmp_path, monkeypatch, is_link):
    one, two = tmp_path / "one", tmp_path / "two"
    if is_link:
        one.symlink_to("two")
    else:
        one.write_bytes(b"old")
    two.write_bytes(b"old")
    replace, calls = os.replace, []

    def interrupted(*names):
        replace(*names)
        calls.append(names)
        if len(calls) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        files.write_together({one: b"new", two: b"new"})
    assert (one.read_bytes(), two.read_bytes()) == (b"old", b"old")
    assert one.is_symlink() == is_link
    assert sorted(os.listdir(tmp_path)) == ["one", "two"]


def test_a_pipe_in_its_place_is_replaced(tmp_path):
    """It is not waited for."""
    os.mkfifo(tmp_path / "one")
    files.write_together({tmp_path / "one": b"new", tmp_path / "two": b"new"})
    assert (tmp_path / "one").read_bytes() == b"new"


def test_an_interrupt_right_after_the_last_renaming(tmp_path, monkeypatch):
    paths = [tmp_path / "one", tmp_path / "two"]
    for path in paths:
        path.write_bytes(b"old")
    replace = os.replace

    def interrupted(old, new):
        replace(old, new)
        if os.fspath(new) == str(paths[1]):
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        files.write_together(dict.fromkeys(paths, b"new"))
    assert [path.read_bytes() for path in paths] == [b"new", b"new"]
    assert sorted(os.listdir(tmp_path)) == ["one", "two"]


def test_an_absolute_path_in_a_deleted_folder(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    files.write_atomically(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"
