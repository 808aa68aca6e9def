"""Which pairs of paths would conflict."""

import os

import pytest

from prompt_tuning_recycling.files.meetings import Claim, Use, find


def met(*claims):
    """The pairs that meet, by their positions."""
    made = [Claim(os.fspath(path), use, "") for path, use in claims]
    return [(made.index(one), made.index(other)) for one, other in find(made)]


@pytest.mark.parametrize("other", ["a", "./a", "b/../a", "a/", "{here}/a", "link/a"])
def test_the_spelling_makes_no_difference(tmp_path, monkeypatch, other):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "b").mkdir()
    (tmp_path / "link").symlink_to(".")
    other = other.format(here=tmp_path)
    assert met(("a", Use.FILE), (other, Use.READ)) == [(0, 1)]
    assert met(("A", Use.FILE), (other, Use.READ)) == []


def test_on_an_object_store():
    claims = ("gs://bucket/a", Use.FILE), ("gs://bucket/b/../a", Use.READ)
    assert met(*claims) == [(0, 1)]
    assert met(("gs://bucket/a", Use.FILE), ("s3://bucket/a", Use.READ)) == []


def test_what_is_read_twice_does_not_meet(tmp_path):
    assert met((tmp_path / "a", Use.READ), (tmp_path / "a", Use.READ)) == []


# Whether something below a path of this use would conflict, by its own use.
@pytest.mark.parametrize(
    ("above", "below", "expected"),
    [
        (Use.FOLDER, Use.FILE, False),
        (Use.FILE, Use.FILE, True),
        (Use.FILE, Use.READ, True),
        (Use.REPLACED, Use.READ, True),
        (Use.READ, Use.FILE, True),
        (Use.READ, Use.READ, False),
    ],
)
def test_what_is_inside(tmp_path, above, below, expected):
    claims = (tmp_path / "a", above), (tmp_path / "a" / "b" / "c", below)
    assert met(*claims) == ([(0, 1)] if expected else [])


def test_a_link_that_is_read_stands_for_itself_and_what_it_leads_to(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    link = (tmp_path / "link", Use.READ)
    assert met(link, (tmp_path / "link", Use.FILE)) == [(0, 1)]
    assert met(link, (tmp_path / "file", Use.FILE)) == [(0, 1)]
    # What is written replaces the link and leaves the file alone.
    assert met((tmp_path / "link", Use.FILE), (tmp_path / "file", Use.READ)) == []


def test_below_a_meeting_nothing_more_is_reported(tmp_path):
    folder = tmp_path / "a"
    found = met((folder, Use.FILE), (folder, Use.READ), (folder / "b", Use.FILE))
    assert found == [(0, 1)]
