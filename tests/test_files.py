import math
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


@pytest.mark.parametrize(
    ("path", "remote"), [("gs://b/x", True), ("/a/b", False), ("a:b", False)]
)
def test_tells_object_stores_from_disks(path, remote):
    assert files.is_remote(path) is remote


JSON_THAT_CANNOT_BE_USED = {
    "cut": (b'{"a": 1', "is not JSON"),
    "empty": (b"", "is not JSON"),
    "not UTF-8": (b'{"a": "\xff"}', "expected UTF-8, found another byte at 7"),
    "more digits than Python converts": (b"[" + 5000 * b"9" + b"]", "of 5000 digits"),
    "more digits than 64 bits hold": (b"[-" + 19 * b"1" + b"]", "of 19 digits"),
    "deeper than Python's scanner goes": (
        100_000 * b"[" + 100_000 * b"]",
        "nested more deeply than 100 levels",
    ),
    "deeper than anything is": (
        101 * b'{"a":' + b"1" + 101 * b"}",
        "nested more deeply than 100 levels",
    ),
    "half a character": (b'{"a": ["\\uD83D"]}', "half of a character"),
    "half a character in a key": (b'{"\\udc00": 1}', "half of a character"),
    "a key twice": (b'{"a": {"b": 1, "c": 2, "b": 3}}', "the key 'b' twice"),
}


@pytest.mark.parametrize("name", JSON_THAT_CANNOT_BE_USED)
def test_json_that_cannot_be_used_is_one_line_that_names_the_file(tmp_path, name):
    data, expected = JSON_THAT_CANNOT_BE_USED[name]
    path = tmp_path / "it.json"
    path.write_bytes(data)
    with pytest.raises(RecyclingError) as error:
        files.read_json(path, "the manifest")
    message = str(error.value)
    assert f"the manifest {path}" in message and expected in message
    assert "\n" not in message


@pytest.mark.parametrize("path", ["nowhere.json", "."])
def test_json_that_is_not_there(tmp_path, path):
    with pytest.raises(RecyclingError, match="cannot read the manifest .*: "):
        files.read_json(tmp_path / path, "the manifest")


def test_json_is_read_as_it_is(tmp_path):
    text = (
        '\ufeff{"a": [true, null, 1.5e3, -12, NaN, "\\ud83d\\ude00 \\\\ud83d"], "b": 1}'
    )
    (tmp_path / "it.json").write_text(text, encoding="utf-8")
    found = files.read_json(tmp_path / "it.json", "it")
    assert found.pop("b") == 1
    values = found["a"]
    assert math.isnan(values.pop(4))
    assert values == [True, None, 1500.0, -12, "\N{GRINNING FACE} \\ud83d"]
    limits = 100 * "[" + 18 * "9" + 100 * "]"
    assert files.parse_json(limits, "it")
