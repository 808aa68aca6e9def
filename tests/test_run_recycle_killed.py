"""Killed while it writes: no output, or a whole one."""

import json
import pathlib
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

KILLS = 20


@pytest.fixture
def command(files, tmp_path, rng):
    # Long enough that the write takes a while: two megabytes, flushed to the disk.
    prompt = rng.normal(size=(20_000, 12)).astype(np.float32)
    np.save(tmp_path / "prompt.npy", prompt)
    return [sys.executable, "-m", "prompt_tuning_recycling.run_recycle"] + [
        f"--{name}={value}" for name, value in files.items()
    ]


def test_killed_at_random_moments_of_the_write(command, files):
    output = pathlib.Path(files["output_path"])
    rng = random.Random(0)
    seconds = time_of_the_write(command, output)
    for _ in range(KILLS):
        remove(output)
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_until_writing(process, output)
        time.sleep(rng.uniform(0, seconds))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert_nothing_or_whole(output)


def time_of_the_write(command, output):
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    wait_until_writing(process, output)
    started = time.monotonic()
    assert process.wait() == 0
    return time.monotonic() - started


def wait_until_writing(process, output):
    while process.poll() is None and not any(output.parent.glob(".*.tmp")):
        time.sleep(0.001)


def assert_nothing_or_whole(output):
    if output.exists():
        with output.open("rb") as file:
            assert np.load(file).shape == (20_000, 20)
        assert json.loads(pathlib.Path(f"{output}.json").read_text())["file_sha256"]


def remove(output):
    for file in output.parent.iterdir():
        file.unlink()
