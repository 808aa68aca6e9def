"""What is in folders and files that are there, gone, or of the other kind."""

import pytest

from prompt_tuning_recycling.files import as_path, contents


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "b" / "c").mkdir(parents=True)
    (tmp_path / "b" / "c" / "two").write_bytes(b"01")
    (tmp_path / "b" / "one").write_bytes(b"0")
    (tmp_path / "a").write_bytes(b"0123456789")
    return as_path(tmp_path)


def test_names(folder):
    assert contents.names(folder) == {"a", "b"}
    assert contents.names(folder / "gone") == set()
    assert contents.names(folder / "a") == set()


def test_folders(folder):
    assert contents.is_folder(folder / "b")
    assert not contents.is_folder(folder / "a")
    assert not contents.is_folder(folder / "gone")


def test_a_part_ends_with_the_file(folder):
    assert contents.read_part(folder / "a", 2, 5) == b"234"
    assert contents.read_part(folder / "a", 8, 50) == b"89"
    assert contents.read_part(folder / "a", 20, 50) == b""
    with pytest.raises(FileNotFoundError):
        contents.read_part(folder / "gone", 0, 1)


def test_sizes_of_all_files_below(folder):
    found = contents.file_sizes(folder)
    expected = {"a": 10, "b/c/two": 2, "b/one": 1}
    assert {str(p.relative_to(folder)): n for p, n in found.items()} == expected
    assert list(found) == sorted(found)
    assert contents.file_sizes(folder / "gone") == {}


def test_folders_on_a_disk_are_listed_anew(folder):
    with contents.looking_once():
        assert contents.names(folder) == {"a", "b"}
        (folder / "new").write_bytes(b"")
        assert contents.names(folder) == {"a", "b", "new"}
