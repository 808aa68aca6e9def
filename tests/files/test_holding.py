"""One process at a time works on an output: where files can be locked, the second is
refused and told who is at work; elsewhere the newest takes over and the other stops.
"""

import errno
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading

import pytest

from prompt_tuning_recycling import RecyclingError
from prompt_tuning_recycling.files import check_store_writable, holding
from prompt_tuning_recycling.files.holding import BusyError, Holder, held, taken_over

SAYS = ("another run is at work", "Wait until it ends.")
HOLD = """
import sys
from prompt_tuning_recycling.files import holding
with holding.held(sys.argv[1], "a run is at work", "Wait."):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def start():
    """Starts processes that hold an output until they are told to end."""
    started = []

    def start(place):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(place)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def test_the_second_is_told_who_is_at_work_and_since_when(start, tmp_path):
    process = start(tmp_path / "new" / "run.lock")
    with pytest.raises(BusyError) as error, held(tmp_path / "new" / "run.lock", *SAYS):
        pass
    assert re.fullmatch(
        rf"another run is at work: process {process.pid} on "
        rf"{re.escape(socket.gethostname())} \(-c .*run\.lock\), since "
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\. Wait until it ends\.",
        str(error.value),
    )
    process.stdin.close()
    process.wait()
    # Nothing is left, not even the folder, which was made for it.
    assert os.listdir(tmp_path) == []


def test_what_a_killed_process_leaves_keeps_nobody_away(start, tmp_path):
    place = tmp_path / "run.lock"
    killed = start(place)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert json.loads(place.read_text())["process"] == killed.pid
    with held(place, *SAYS):
        assert json.loads(place.read_text())["process"] == os.getpid()
    assert not place.exists()


def test_the_details_of_a_killed_process_are_nobodys(start, tmp_path):
    """Between the locking of the file and the writing of who has locked it."""
    process = start(tmp_path / "run.lock")
    with subprocess.Popen(["true"]) as ended:
        pass
    left = Holder(socket.gethostname(), ended.pid, "gone", "long ago", "token")
    (tmp_path / "run.lock").write_bytes(left.to_bytes())
    with pytest.raises(BusyError) as error, held(tmp_path / "run.lock", *SAYS):
        pass
    assert str(error.value) == "another run is at work. Wait until it ends."
    assert process.poll() is None


def test_many_that_wait_take_turns(tmp_path):
    """Each removes the file, and none of the others holds a file that is gone."""
    inside, most, turns = [], [], []

    def work():
        for _ in range(20):
            with held(tmp_path / "made" / "x.lock", *SAYS, wait=True):
                inside.append(1)
                most.append(len(inside))
                turns.append(os.listdir(tmp_path / "made"))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 160
    assert turns == [["x.lock"]] * 160
    assert not list(tmp_path.rglob("*.lock"))


HOLDER = Holder("elsewhere", 7, "train", "long ago", "token").to_bytes()


@pytest.mark.parametrize(
    "left", [b"", b"\0" * 300, HOLDER[:1], HOLDER[:30], HOLDER[:60], HOLDER * 2]
)
def test_what_was_half_written_keeps_nobody_away(tmp_path, left):
    (tmp_path / "run.lock").write_bytes(left)
    with held(tmp_path / "run.lock", *SAYS):
        record = json.loads((tmp_path / "run.lock").read_text())
        assert record["process"] == os.getpid()


@pytest.mark.parametrize("content", ["a prompt", "[]", "{}", '{"format": 3}\n'])
def test_a_file_that_is_something_else_is_not_lost(tmp_path, content):
    place = tmp_path / "out.lock"
    place.write_text(content)
    with (
        pytest.raises(RecyclingError, match="found something else"),
        held(place, *SAYS),
    ):
        pass
    assert place.read_text() == content


@pytest.mark.parametrize(
    "kind", ["link", "dangling link", "hard link", "pipe", "folder"]
)
def test_what_was_planted_leads_nowhere(tmp_path, kind):
    victim, place = tmp_path / "victim", tmp_path / "run.lock"
    victim.write_text("precious")
    if kind == "link":
        place.symlink_to(victim)
    elif kind == "dangling link":
        place.symlink_to(tmp_path / "new")
    elif kind == "hard link":
        place.hardlink_to(victim)
    elif kind == "pipe":
        os.mkfifo(place)
    else:
        place.mkdir()
    holds = held(place, *SAYS)
    with pytest.raises(RecyclingError, match="cannot (lock|write to)"), holds:
        pass
    assert victim.read_text() == "precious"
    assert not (tmp_path / "new").exists()
    assert os.path.lexists(place)


# Where nothing can be locked


def test_the_newest_takes_over_and_the_other_stops(tmp_path, caplog):
    place = tmp_path / "run.lock"
    with taken_over(place, *SAYS) as first:
        first.check()
        assert not caplog.records
        with taken_over(place, *SAYS) as second:
            (record,) = caplog.records
            assert record.levelno == logging.WARNING
            assert f"process {os.getpid()} on {socket.gethostname()}" in caplog.text
            second.check()
            with pytest.raises(BusyError) as error:
                first.check()
            assert "has taken over: process" in str(error.value)
            assert "This one stops" in str(error.value)
            second.check()
        # The second has ended; what the first would write would still be a mixture.
        with pytest.raises(BusyError, match="has taken over"):
            first.check()
    assert not place.exists()


def test_the_one_that_was_stopped_leaves_the_newest_alone(tmp_path):
    place = tmp_path / "run.lock"
    with taken_over(place, *SAYS) as first:
        newest = taken_over(place, *SAYS)
        second = newest.__enter__()
    with pytest.raises(BusyError):
        first.check()
    second.check()
    newest.__exit__(None, None, None)
    assert not place.exists()


@pytest.mark.parametrize(
    "content", [b"", b"\xff", b"{}", b"[" * 9999, b'{"format": 1}', b"x" * 99999]
)
def test_what_is_no_holder_is_replaced(tmp_path, caplog, content):
    (tmp_path / "run.lock").write_bytes(content)
    with taken_over(tmp_path / "run.lock", *SAYS) as taken:
        taken.check()
        (tmp_path / "run.lock").write_bytes(content)
        with pytest.raises(BusyError):
            taken.check()
    assert not caplog.records


def test_an_object_store_is_not_locked(tmp_path, monkeypatch):
    """`held` chooses by the address; waiting holds nothing there."""
    monkeypatch.setattr(holding, "is_remote", lambda path: True)
    one, another = (held(tmp_path / "run.lock", *SAYS) for _ in range(2))
    with one as first, another, pytest.raises(BusyError):
        first.check()
    with held(tmp_path / "run.lock", *SAYS, wait=True) as waiting:
        assert not (tmp_path / "run.lock").exists()
        waiting.check()


def test_a_folder_inside_one_that_may_not_be_written_to(forbidden):
    """Such as a disk's."""
    folder, forbid = forbidden
    run = folder / "closed/run"
    run.mkdir(parents=True)
    run.chmod(0o777)
    forbid("closed", 0o555)
    check_store_writable(run)
    with held(run / "run.lock", "another run is at work", "Wait."):
        assert (run / "run.lock").exists()


def test_folders_are_not_left_if_the_file_cannot_be_made(tmp_path):
    place = tmp_path / "made" / "too" / ("x" * 300)
    with pytest.raises(RecyclingError, match="File name too long"), held(place, *SAYS):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["file", "link"])
def test_something_else_where_the_folder_would_be(tmp_path, kind):
    if kind == "file":
        (tmp_path / "made").touch()
    else:
        (tmp_path / "made").symlink_to("gone")
    place = tmp_path / "made" / "x.lock"
    with pytest.raises(RecyclingError, match="cannot write to"), held(place, *SAYS):
        pass
    assert os.path.lexists(tmp_path / "made")


def test_a_disk_without_locks(tmp_path, monkeypatch):
    def flock(descriptor, operation):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(holding.fcntl, "flock", flock)
    place = tmp_path / "made" / "x.lock"
    with pytest.raises(RecyclingError, match="has no locks"), held(place, *SAYS):
        pass


def test_where_no_file_can_be_made():
    if not os.path.isdir("/proc"):
        pytest.skip("there is no /proc, where a folder says that it is missing")
    with (
        pytest.raises(RecyclingError, match="no file can be made there"),
        held("/proc/x.lock", *SAYS),
    ):
        pass
