"""What eval and infer keep is what is asked for: they recycle anew where the source, or
the step that is restored, is another than before."""

import json
import shutil

import numpy as np
import pytest
from t5x_results import kept_prompt, metrics, witnessed

from prompt_tuning_recycling import recycle_prompt

ALL = "--gin.utils.RestoreCheckpointConfig.mode='all'"


@pytest.fixture
def source(t5x_written, tmp_path):
    """A MODEL_DIR to which steps can be added, and a prompt file."""
    shutil.copytree(
        t5x_written / "prompt_orbax/checkpoint_50", tmp_path / "source/checkpoint_50"
    )
    return tmp_path / "source"


def predictions(folder):
    (path,) = folder.glob("*.jsonl-00000-of-00001")
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("program", ["eval", "infer"])
def test_a_newer_step_is_recycled_anew(
    start, source, t5x_written, recycle, tmp_path, program
):
    def run(place):
        return start(
            program,
            folder=tmp_path / "run",
            RECYCLE_FROM=str(source),
            environment={"WITNESS": str(tmp_path / place)},
            **({"INFER_MODE": "score"} if program == "infer" else {}),
        ).must_work()

    first = run("first")
    np.testing.assert_array_equal(kept_prompt(first.folder), recycle())
    result = metrics if program == "eval" else predictions
    before = result(first.folder)
    # The other format's prompt is another one; T5X counts its steps on.
    shutil.copytree(
        t5x_written / "prompt_legacy/checkpoint_50", source / "checkpoint_60"
    )
    second = run("second")
    assert "making the prompt again, because" in second.output
    expected = recycle_prompt(
        source / "checkpoint_60", t5x_written / "target_orbax/checkpoint_40"
    ).array
    (restored,) = witnessed(tmp_path / "second")["restored"].values()
    np.testing.assert_array_equal(restored, expected)
    np.testing.assert_array_equal(kept_prompt(second.folder), expected)
    assert (expected != recycle()).any()
    assert result(second.folder) != before
    third = run("third")
    assert "making the prompt again" not in third.output


def test_a_prompt_file_that_was_tuned_anew_is_recycled_anew(start, source, tmp_path):
    prompt = tmp_path / "prompt.npy"
    rng = np.random.default_rng(0)
    kept = []
    for seed in range(2):
        np.save(prompt, rng.normal(size=(8, 16)).astype(np.float32))
        run = start(
            "infer",
            folder=tmp_path / "run",
            SOURCE_CHECKPOINT=str(source),
            SOURCE_PROMPT=str(prompt),
            RECYCLE_FROM=...,
        ).must_work()
        kept.append(kept_prompt(run.folder))
        again = "the tuned prompt" in run.output and "was written again" in run.output
        assert again == bool(seed)
    assert (kept[0] != kept[1]).any()


def test_all_steps_of_the_target_have_prompts_of_their_own(
    start, source, t5x_written, recycle, tmp_path
):
    for step, target in ((40, "target_orbax"), (60, "target_legacy")):
        shutil.copytree(
            t5x_written / target / "checkpoint_40",
            tmp_path / f"targets/checkpoint_{step}",
        )
    common = {
        "folder": tmp_path / "run",
        "INITIAL_CHECKPOINT_PATH": str(tmp_path / "targets"),
        "RECYCLE_FROM": str(source),
    }
    run = start("eval", ALL, **common).must_work()
    expected = {
        "checkpoint_40": recycle(target="target_orbax"),
        "checkpoint_60": recycle(target="target_legacy"),
    }
    kept = run.folder / "recycled_prompt"
    assert {path.parent.name for path in kept.glob("*/prompt.npy")} == set(expected)
    for step, prompt in expected.items():
        np.testing.assert_array_equal(np.load(kept / step / "prompt.npy"), prompt)
    (file,) = run.folder.glob("inference_eval/**/even_or_odd-metrics.jsonl")
    evaluated = len(file.read_text().splitlines())
    again = start("eval", ALL, **common).must_work()
    assert len(file.read_text().splitlines()) == evaluated, again.output[-3000:]
    # T5X notes which steps it has evaluated; with another prompt they are not.
    shutil.copytree(
        t5x_written / "prompt_legacy/checkpoint_50", source / "checkpoint_60"
    )
    anew = start("eval", ALL, **common).must_work()
    assert anew.output.count("making the prompt again") >= len(expected)
    assert len(file.read_text().splitlines()) == 2 * evaluated


def test_inference_is_done_again_with_another_prompt(start, t5x_written, tmp_path):
    """T5X would skip a task whose predictions are there, whatever made them."""
    rng = np.random.default_rng(0)
    made = []
    for _ in range(2):
        np.save(tmp_path / "prompt.npy", rng.normal(size=(8, 24)).astype(np.float32))
        for again in range(2):
            run = start(
                "infer",
                folder=tmp_path / "run",
                files=["target_prompt.gin", "prompts/from_file.gin"],
                PROMPT_FILE=str(tmp_path / "prompt.npy"),
                INFER_MODE="score",
            ).must_work()
            made.append(predictions(run.folder))
            assert ("are of another model or prompt" in run.output) == (
                len(made) == 3 and not again
            )
    assert made[0] == made[1]
    assert made[1] != made[2]
    assert made[2] == made[3]
