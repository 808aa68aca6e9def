"""Files that are read whole."""

import os
import threading

import pytest

from prompt_tuning_recycling import RecyclingError, files


def test_a_file(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    assert files.read_whole(tmp_path / "file") == b"content"


def test_a_pipe_is_read_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=[b"content"])
    writer.start()
    assert files.read_whole(tmp_path / "pipe") == b"content"
    writer.join()


def test_a_file_that_grows_meanwhile(tmp_path, monkeypatch):
    path = files.as_path(tmp_path / "file")
    path.write_bytes(b"half")
    read = type(path).read_bytes

    def read_bytes(self):
        content = read(self)
        path.write_bytes(content + b".")
        return content

    monkeypatch.setattr(type(path), "read_bytes", read_bytes)
    with pytest.raises(RecyclingError, match="was changed while it was being read"):
        files.read_whole(path)
