"""Choosing a prompt in T5X, in one process and in two, and starting from it."""

import json

import numpy as np
import pytest
from t5x_processes import SHARED_MODEL, start_both
from t5x_results import exported_prompt, witnessed

MODEL = ("target_prompt.gin",)
CHOICE = {
    "MIXTURE_OR_TASK_NAME": "even_or_odd_ranked",
    "CANDIDATES": ("v2v-lin", "procrustes", "soft-nearest"),
    "NUM_UNLABELED": 12,
}


@pytest.fixture(scope="module")
def choice(t5x_written):
    """Macros of a choice whose source is the model that T5X wrote."""
    return {**CHOICE, "RECYCLE_FROM": str(t5x_written / "prompt_orbax/checkpoint_50")}


@pytest.fixture(scope="module")
def chosen(start, choice):
    """The folder of a choice that T5X made."""
    return start("choose", files=MODEL, **choice).must_work().folder / "chosen"


def record(folder):
    return json.loads((folder / "prompt.npy.json").read_text())["choice"]


def values(folder):
    of = record(folder)["candidates"]
    return {name: [one["agreement"], one["information"]] for name, one in of.items()}


def same_choice(one, other):
    assert record(one)["chosen"] == record(other)["chosen"]
    for name, found in values(one).items():
        np.testing.assert_allclose(found, values(other)[name], rtol=1e-4, atol=1e-5)
    assert (one / "prompt.npy").read_bytes() == (other / "prompt.npy").read_bytes()


def test_it_chooses_as_the_standalone_host_does(start, choice, chosen):
    run = start("choose", files=MODEL, host="standalone", **choice).must_work()
    same_choice(chosen, run.folder / "chosen")
    assert len(set(map(tuple, values(chosen).values()))) == 3
    assert (chosen / "choice.svg").read_text().startswith("<?xml")


@pytest.mark.parametrize(
    ("flags", "rows"), [((), 32128), (SHARED_MODEL, 16064)], ids=["examples", "model"]
)
def test_two_processes_choose_the_same(start, choice, chosen, tmp_path, flags, rows):
    """Each has a part of the examples, or a part of the model."""
    witness = tmp_path / "witness"
    runs = start_both(
        start,
        "choose",
        *flags,
        files=MODEL,
        folder=tmp_path / "choice",
        environment={"WITNESS": str(witness)},
        **choice,
    )
    for run in runs:
        run.must_work()
    assert {int(found) for found in witnessed(witness)["rows"].values()} == {rows}
    same_choice(chosen, tmp_path / "choice" / "chosen")
    assert "  chosen" in runs[0].output
    assert "wrote" not in runs[1].output


def test_eval_and_train_start_from_the_chosen_prompt(start, chosen, tmp_path):
    prompt = np.load(chosen / "prompt.npy")
    files = ["target_prompt.gin", "prompts/from_file.gin"]
    witness = tmp_path / "witness"
    start(
        "eval",
        files=files,
        PROMPT_FILE=str(chosen / "prompt.npy"),
        environment={"WITNESS": str(witness)},
    ).must_work()
    for restored in witnessed(witness)["restored"].values():
        np.testing.assert_array_equal(restored, prompt)
    run = start("train", files=files, PROMPT_FILE=str(chosen / "prompt.npy"))
    np.testing.assert_array_equal(exported_prompt(run.must_work().folder, 40), prompt)


def test_two_processes_evaluate_the_chosen_prompt(start, chosen, tmp_path):
    witness = tmp_path / "witness"
    runs = start_both(
        start,
        "eval",
        files=["target_prompt.gin", "prompts/from_file.gin"],
        folder=tmp_path / "eval",
        PROMPT_FILE=str(chosen / "prompt.npy"),
        environment={"WITNESS": str(witness)},
    )
    for run in runs:
        run.must_work()
    for restored in witnessed(witness)["restored"].values():
        np.testing.assert_array_equal(restored, np.load(chosen / "prompt.npy"))


def test_a_teacher_may_answer_in_a_job_of_its_own(start, choice, chosen, tmp_path):
    scores = tmp_path / "teacher.json"
    start("teach", files=["source_prompt.gin"], folder=scores, **choice).must_work()
    alone, in_the_job = (
        json.loads(path.read_text())["probabilities"]
        for path in (scores, chosen / "teacher.json")
    )
    np.testing.assert_allclose(alone, in_the_job, atol=1e-5)
    run = start("choose", files=MODEL, TEACHER_SCORES=str(scores), **choice)
    same_choice(chosen, run.must_work().folder / "chosen")


def test_a_task_without_choices_has_the_teachers_answers(start, choice):
    macros = {**choice, "MIXTURE_OR_TASK_NAME": "even_or_odd"}
    one, other = (
        start("choose", files=MODEL, host=host, **macros).must_work().folder
        for host in ("t5x", "standalone")
    )
    found = [record(folder / "chosen") for folder in (one, other)]
    assert found[0]["criterion"] == found[1]["criterion"] == "likelihood"
    assert found[0]["chosen"] == found[1]["chosen"]


def test_it_refines_as_the_standalone_host_does(start, choice):
    one, other = (
        start("choose", files=MODEL, host=host, REFINE_STEPS=3, **choice)
        .must_work()
        .folder
        for host in ("t5x", "standalone")
    )
    losses = [record(folder / "chosen")["refined"]["losses"] for folder in (one, other)]
    assert min(losses[0]) < losses[0][0]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_t5x_does_not_choose_as_a_run_starts(start, choice):
    run = start("eval", files=["target_prompt.gin", "choose_init.gin"], **choice)
    assert run.wait() not in (0, None)
    assert "T5X chooses a prompt in a job of its own" in run.output
