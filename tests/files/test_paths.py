"""Paths as a user gives them."""

import os
import pathlib

import pytest
from etils import epath

from prompt_tuning_recycling import RecyclingError, files
from prompt_tuning_recycling.files import as_path, stores


@pytest.mark.parametrize(
    ("path", "remote"), [("gs://b/x", True), ("/a/b", False), ("a:b", False)]
)
def test_tells_object_stores_from_disks(path, remote):
    assert files.is_remote(path) is remote


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


def test_google_s_store_without_its_library_goes_through_tensorflow(monkeypatch):
    pytest.importorskip("tensorflow")
    monkeypatch.setattr(stores, "LIBRARIES", {"gs": "no_such_library"})
    monkeypatch.delenv("EPATH_USE_TF", raising=False)
    path = as_path("gs://bucket/x")
    assert path == epath.Path("gs://bucket/x")
    assert not isinstance(path, stores.StorePath)
    # epath asks TensorFlow no more once one of the two libraries is there.
    for value in ("false", "False", "0"):
        monkeypatch.setenv("EPATH_USE_TF", value)
        with pytest.raises(RecyclingError, match=r"prompt_tuning_recycling\[gs\]"):
            as_path("gs://bucket/x")
