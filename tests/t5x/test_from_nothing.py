"""Every command of the script of examples/t5x works, in a folder elsewhere, with models
that are trained for two steps."""

import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
import t5x_program

from prompt_tuning_recycling.gin_path import gin_path

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
EXAMPLES = CHECKOUT / "examples/t5x"
SCRIPT = EXAMPLES / "from_nothing.sh"
# What the script says -> what is said here.
SHORTER = {
    r"TRAIN_STEPS=1500": "TRAIN_STEPS=2",
    r"TRAIN_STEPS_RELATIVE=\d+": "TRAIN_STEPS_RELATIVE=2",
    r"EVAL_PERIOD=\d+": "EVAL_PERIOD=2",
    r"checkpoint_1500": "checkpoint_2",
    r"checkpoint_1600": "checkpoint_4",
}


def commands(script):
    """The lines after the script's preparations, each with what continues it."""
    lines = script.partition("\nset -v\n")[2].replace("\\\n", "").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


@pytest.fixture(scope="module")
def folder(programs, tmp_path_factory):
    """What the shortened script leaves."""
    folder = tmp_path_factory.mktemp("from_nothing")
    script = SCRIPT.read_text()
    for pattern, shorter in SHORTER.items():
        script, count = re.subn(pattern, shorter, script)
        assert count, pattern
    known = {"gin": gin_path(), "examples": str(EXAMPLES), "PWD": str(folder)}
    for command in commands(script):
        for name, value in known.items():
            command = command.replace(f"${name}", value)
        command, _, log = command.partition(" 2> ")
        if command.startswith("python -m t5x."):
            module, *flags = shlex.split(command)[2:]
            arguments = (module, flags, str(folder / log), {}, folder)
            process = programs.Process(target=t5x_program.run, args=arguments)
            process.start()
            process.join(400)
            text = (folder / log).read_text()
            assert process.exitcode == 0, f"{command}\n{text[-4000:]}"
        else:
            command = re.sub(r"\bpython ", f"{sys.executable} -P ", command)
            where = {**os.environ, "examples": str(EXAMPLES)}
            subprocess.run(["bash", "-ec", command], cwd=folder, env=where, check=True)
    return folder


def accuracies(folder, name, task="topics"):
    path = folder / name / f"inference_eval/{task}_generation-metrics.jsonl"
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def test_every_command_of_the_script_works(folder):
    assert accuracies(folder, "source", "pretraining") == [2]
    assert accuracies(folder, "tuned") == [2, 4]
    assert accuracies(folder, "on-source") == [4]
    for name in ("recycled", "copied", "untuned"):
        assert accuracies(folder, name) == [2]
    assert accuracies(folder, "further") == [2, 4]


def test_the_same_prompt_is_evaluated_answers_and_is_tuned_further(folder):
    recycled = np.load(folder / "recycled/recycled_prompt/prompt.npy")
    assert recycled.shape == (5, 64)
    for name in ("answers", "further"):
        other = np.load(folder / name / "recycled_prompt/prompt.npy")
        np.testing.assert_array_equal(recycled, other)


def test_the_words_are_those_of_the_demo(folder):
    made = json.loads((folder / "words.json").read_text())
    shipped = json.loads((CHECKOUT / "examples/demo/models/words.json").read_text())
    assert made == shipped
