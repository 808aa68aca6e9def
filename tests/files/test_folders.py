"""Folders that are written whole or not at all."""

import os

import pytest

from prompt_tuning_recycling import RecyclingError
from prompt_tuning_recycling.files import (
    check_folder_writable,
    temporary,
    write_folder,
)

FILES = {"one": b"1", "other": b"2"}


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_with_the_folders_around_it(tmp_path):
    write_folder(tmp_path / "new/folder", FILES)
    assert content(tmp_path / "new/folder") == FILES
    assert os.listdir(tmp_path / "new") == ["folder"]


def test_others_can_read_it_as_they_can_read_any_folder(tmp_path):
    (tmp_path / "usual").mkdir()
    write_folder(tmp_path / "folder", FILES)
    modes = [os.stat(tmp_path / name).st_mode for name in ("usual", "folder")]
    assert modes[0] == modes[1]


def test_in_place_of_an_empty_one(tmp_path):
    (tmp_path / "folder").mkdir()
    write_folder(tmp_path / "folder", FILES)
    assert content(tmp_path / "folder") == FILES


def test_in_place_of_one_with_content(tmp_path):
    write_folder(tmp_path / "folder", {"old": b"0", "one": b"0"})
    write_folder(tmp_path / "folder", FILES)
    assert content(tmp_path / "folder") == FILES
    assert os.listdir(tmp_path) == ["folder"]


def test_through_a_link(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    write_folder(tmp_path / "link", FILES)
    assert (tmp_path / "link").is_symlink()
    assert content(tmp_path / "folder") == FILES


def test_what_cannot_be_written_leaves_the_old_one(tmp_path):
    write_folder(tmp_path / "folder", FILES)
    with pytest.raises(RecyclingError, match="cannot write"):
        write_folder(tmp_path / "folder", {"one": b"new", "x" * 300: b""})
    assert content(tmp_path / "folder") == FILES
    assert os.listdir(tmp_path) == ["folder"]


def test_where_names_cannot_be_exchanged(tmp_path, monkeypatch):
    monkeypatch.setattr(temporary, "_renameat2", lambda: None)
    write_folder(tmp_path / "folder", {"old": b"0"})
    write_folder(tmp_path / "folder", FILES)
    assert content(tmp_path / "folder") == FILES
    assert os.listdir(tmp_path) == ["folder"]


def test_there_a_renaming_that_fails_puts_the_old_one_back(tmp_path, monkeypatch):
    monkeypatch.setattr(temporary, "_renameat2", lambda: None)
    write_folder(tmp_path / "folder", FILES)
    rename, made = os.rename, []

    def fails_at_the_second(source, destination):
        made.append(destination)
        if len(made) == 2:
            raise OSError("no")
        rename(source, destination)

    monkeypatch.setattr(os, "rename", fails_at_the_second)
    with pytest.raises(RecyclingError, match="cannot write"):
        write_folder(tmp_path / "folder", {"one": b"new"})
    assert len(made) == 3
    assert content(tmp_path / "folder") == FILES
    assert os.listdir(tmp_path) == ["folder"]


@pytest.mark.parametrize(
    ("path", "message"),
    [("", "path is empty"), ("file", "it is a file"), ("file/in", "is a file, not a")],
)
def test_places_that_are_no_folder(tmp_path, path, message):
    (tmp_path / "file").write_bytes(b"")
    place = str(tmp_path / path) if path else ""
    for check in (check_folder_writable, lambda folder: write_folder(folder, FILES)):
        with pytest.raises(RecyclingError, match=message):
            check(place)
    assert os.listdir(tmp_path) == ["file"]
