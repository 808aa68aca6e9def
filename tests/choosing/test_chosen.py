"""A chosen prompt's files."""

import json

import numpy as np
import pytest

from prompt_tuning_recycling.choosing.choice import Choice
from prompt_tuning_recycling.choosing.chosen import FOLDER, ChosenPrompt
from prompt_tuning_recycling.prompts import Prompt, load_prompt


@pytest.fixture
def chosen(prompt):
    candidates = {"copy": Prompt(prompt), "sparse": Prompt(2 * prompt)}
    values = {"copy": {"information": 0.25}, "sparse": {"information": 0.5}}
    choice = Choice("sparse", "information", values, {"copy": 1.0, "sparse": 0.1})
    best = Prompt(2 * prompt, record={"choice": {"chosen": "sparse"}})
    return ChosenPrompt(best, candidates, choice, None, None)


def test_the_prompt_and_every_candidate_are_written(chosen, prompt, tmp_path, capsys):
    chosen.publish(tmp_path)
    folder = tmp_path / FOLDER
    np.testing.assert_array_equal(np.load(folder / "prompt.npy"), 2 * prompt)
    for name, array in (("copy", prompt), ("sparse", 2 * prompt)):
        found = load_prompt(folder / "candidates" / f"{name}.npy").array
        np.testing.assert_array_equal(found, array)
    record = json.loads((folder / "prompt.npy.json").read_text())
    assert record["choice"] == {"chosen": "sparse"}
    assert "sparse" in (folder / "choice.svg").read_text()
    assert capsys.readouterr().out.splitlines() == [
        "copy           information 0.2500",
        "sparse         information 0.5000  chosen",
        f"wrote {folder / 'prompt.npy'}",
    ]


def test_without_a_teacher_there_are_no_answers_of_one(chosen, tmp_path):
    chosen.save(tmp_path)
    assert not (tmp_path / "teacher.json").exists()
