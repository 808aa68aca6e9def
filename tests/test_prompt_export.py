"""A run's prompts as numpy files, where prompt-tuning puts them."""

import random
import subprocess
import sys
import time

import ml_dtypes
import numpy as np
import pytest

from prompt_tuning_recycling import load_prompt, prompt_export

NAME = "encoder/prompt/prompt/prompt"
KILLS = 20


@pytest.fixture
def exported(tmp_path):
    return tmp_path / "numpy_checkpoints/checkpoint_7/encoder.prompt.prompt.prompt"


def test_a_prompt_is_exported_as_prompt_tuning_does(tmp_path, prompt, exported):
    folder = prompt_export.export_prompts(tmp_path, 7, {NAME: prompt})
    assert folder == exported.parent
    with exported.open("rb") as file:
        np.testing.assert_array_equal(np.load(file), prompt)
    np.testing.assert_array_equal(load_prompt(exported), prompt)


def test_only_the_export_is_left(tmp_path, prompt, exported):
    prompt_export.export_prompts(tmp_path, 7, {NAME: prompt})
    assert list(exported.parent.parent.iterdir()) == [exported.parent]
    assert list(exported.parent.iterdir()) == [exported]


def test_every_prompt_is_a_file(tmp_path, prompt, exported):
    both = {NAME: prompt, "decoder/prompt/prompt/prompt": 2 * prompt}
    prompt_export.export_prompts(tmp_path, 7, both)
    other = exported.with_name("decoder.prompt.prompt.prompt")
    np.testing.assert_array_equal(load_prompt(other), 2 * prompt)


def test_it_is_float32(tmp_path, prompt, exported):
    prompt_export.export_prompts(tmp_path, 7, {NAME: prompt.astype(ml_dtypes.bfloat16)})
    assert load_prompt(exported).dtype == np.float32


def test_an_export_that_exists_is_replaced(tmp_path, prompt, exported):
    prompt_export.export_prompts(tmp_path, 7, {NAME: prompt, "old/prompt/x": prompt})
    prompt_export.export_prompts(tmp_path, 7, {NAME: 2 * prompt})
    np.testing.assert_array_equal(load_prompt(exported), 2 * prompt)
    assert list(exported.parent.iterdir()) == [exported]
    assert list(exported.parent.parent.iterdir()) == [exported.parent]


def test_what_an_earlier_export_left_behind_does_not_hinder(tmp_path, prompt, exported):
    half = exported.parent.with_name("tmp.checkpoint_7")
    half.mkdir(parents=True)
    (half / "half").write_bytes(b"")
    prompt_export.export_prompts(tmp_path, 7, {NAME: prompt})
    assert list(exported.parent.iterdir()) == [exported]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("encoder/prompt/prompt/prompt", True),
        ("/encoder/prompt/prompt/prompt", True),
        ("encoder/layers_0/mlp/wo/kernel", False),
        ("encoder/prompt_norm/scale", False),
    ],
)
def test_which_parameters_are_a_prompts(name, expected):
    assert prompt_export.matches(name) is expected


def test_regular_expressions_match_the_whole_name():
    assert prompt_export.matches("encoder/x", [".*"])
    assert not prompt_export.matches("encoder/x", ["encoder"])


WRITER = """
import sys
import numpy as np
from prompt_tuning_recycling import prompt_export

folder, name, first = sys.argv[1], sys.argv[2], int(sys.argv[3])
for number in range(first, first + 1000):
    array = np.full((500, 1000), number, np.float32)
    prompt_export.export_prompts(folder, 7, {name: array, "b": array})
    print("written", flush=True)
"""


def test_killed_at_random_moments_an_export_is_whole_or_not_there(tmp_path):
    rng = random.Random(0)
    seen = set()
    for kill in range(KILLS):
        command = [sys.executable, "-c", WRITER, tmp_path, NAME, str(1000 * kill)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            assert writer.stdout.readline()
            started = time.monotonic()
            assert writer.stdout.readline()
            seconds = time.monotonic() - started
            time.sleep(rng.uniform(0, 3 * seconds))
            writer.kill()
        folder = tmp_path / "numpy_checkpoints/checkpoint_7"
        if folder.exists():
            both = [np.load(file.open("rb")) for file in folder.iterdir()]
            assert [array.shape for array in both] == [(500, 1000)] * 2
            (number,) = {float(n) for array in both for n in np.unique(array)}
            assert 1000 * kill <= number < 1000 * (kill + 1)
            seen.add(number)
    assert len(seen) > KILLS // 4
