"""The shim itself: what it counts, how calls fail, and that it misses none."""

import collections
import errno
import os
import re
import shutil
import signal
import subprocess
import sys

import pytest

from .disturbing import COUNT, CUT, FAULT, KILL, SHORT, Watched

# Watches itself, then does as the flags say.
ARMED = """
import ctypes, os, sys
shim, below, state, how, at, error = sys.argv[1:7]
ctypes.CDLL(shim).shim_arm(
    below.encode(), state.encode(), int(how), ctypes.c_long(int(at)), int(error))
sys.argv = sys.argv[6:]
"""
WRITER = """
out = os.path.join(below, "file")
try:
    file = os.open(out + ".tmp", os.O_WRONLY | os.O_CREAT)
    print(os.write(file, b"0123456789"))
    os.fsync(file)
    os.rename(out + ".tmp", out)
    os.mkdir(out + "s")
except OSError as error:
    print(os.strerror(error.errno))
with open(os.path.join(os.path.dirname(below), "elsewhere"), "wb") as file:
    file.write(b"0")
"""
CALLS = ["create", "write", "fsync", "rename", "mkdir"]


@pytest.fixture
def armed(shim, tmp_path):
    """Runs a program that is watched: how it ended, and what was counted."""
    (tmp_path / "out").mkdir()

    def armed(program, how=COUNT, at=0, error=0, arguments=(), before=()):
        watched = Watched(tmp_path / "state")
        command = [*before, sys.executable, "-c", ARMED + program, shim]
        order = [tmp_path / "out", watched.path, how, at, error]
        done = subprocess.run(
            [*command, *map(str, order), *arguments],
            env={**os.environ, "LD_PRELOAD": str(shim)},
            capture_output=True,
            text=True,
            check=False,
        )
        return done, watched.read()

    return armed


def test_calls_below_the_folder_are_counted_and_no_others(armed):
    done, watched = armed(WRITER)
    assert (done.returncode, done.stdout) == (0, "10\n")
    assert watched.calls == CALLS and not watched.reached


@pytest.mark.parametrize("number", range(1, 6))
def test_each_call_can_be_failed(armed, number):
    done, watched = armed(WRITER, FAULT, number, errno.EIO)
    assert done.stdout.splitlines()[-1] == os.strerror(errno.EIO)
    assert watched.calls == CALLS[:number] and watched.reached


def test_a_full_disk_stays_full(armed):
    again = "\ntry:\n    os.mkdir(out + 'z')\nexcept OSError as e: print(e.errno)\n"
    done, _ = armed(WRITER + again, FAULT, 2, errno.ENOSPC)
    assert done.stdout.splitlines()[-1] == str(errno.ENOSPC)
    done, _ = armed(WRITER + again, FAULT, 2, errno.EIO)
    assert done.stdout.splitlines() == [os.strerror(errno.EIO)]


def test_a_write_is_cut_short(armed, tmp_path):
    done, watched = armed(WRITER, SHORT, 1)
    assert done.stdout == "5\n" and watched.calls == ["write"]
    assert (tmp_path / "out/file").read_bytes() == b"01234"


def test_it_ends_before_a_call_or_in_it(armed, tmp_path):
    done, _ = armed(WRITER, KILL, 2)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "out/file.tmp").read_bytes() == b""
    done, _ = armed(WRITER, CUT, 2)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "out/file.tmp").read_bytes() == b"01234"
    done, _ = armed(WRITER, CUT, 4)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "out/file").exists()


# What strace calls them -> what the shim does. Opening to read is left out.
TRACED = {
    "write": "write",
    "pwrite64": "write",
    "writev": "write",
    "pwritev": "write",
    "pwritev2": "write",
    "splice": "write",
    "sendfile": "write",
    "copy_file_range": "write",
    "fsync": "fsync",
    "fdatasync": "fsync",
    "rename": "rename",
    "renameat": "rename",
    "renameat2": "rename",
    "mkdir": "mkdir",
    "mkdirat": "mkdir",
    "unlink": "unlink",
    "unlinkat": "unlink",
    "rmdir": "unlink",
    "link": "link",
    "linkat": "link",
    "symlink": "link",
    "symlinkat": "link",
    "ftruncate": "resize",
    "truncate": "resize",
    "fallocate": "resize",
}


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["run_recycle", "to_hugging_face", "to_t5x"])
def test_it_misses_no_call_that_strace_sees(armed, request, tmp_path, name):
    strace = shutil.which("strace")
    if strace is None or subprocess.run([strace, "true"], check=False).returncode:
        pytest.skip("strace is not here, or may not trace")
    writer = request.getfixturevalue(name)
    program = "import runpy; runpy.run_module(sys.argv.pop(1), run_name='__main__')"
    log = tmp_path / "strace.log"
    traced = ",".join(["openat", "openat2", "open", "creat", *TRACED])
    done, watched = armed(
        program,
        arguments=[writer.module, *writer.arguments],
        before=[strace, "-f", "-y", "-s0", "-o", str(log), "-e", f"trace={traced}"],
    )
    assert done.returncode == 0, done.stderr
    found = collections.Counter()
    for line in log.read_text().splitlines():
        match = re.match(r"\d+ +(\w+)\(", line)
        if match is None or str(tmp_path / "out") not in line:
            continue
        if match[1] in TRACED:
            found[TRACED[match[1]]] += 1
        elif "O_CREAT" in line or match[1] == "creat":
            found["create"] += 1
    counted = collections.Counter(watched.calls)
    del counted["open"], counted["chmod"]
    assert counted == found and sum(found.values()) > 5
