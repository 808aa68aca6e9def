"""T5X's decoder_only with a recycled prompt before its tokens."""

import json
import os

import numpy as np
import pytest
from t5x_results import exported_prompt, kept_prompt, metrics, stored_prompt

from prompt_tuning_recycling import recycle_prompt, run_recycle

FILES = ["decoder_only_prompt.gin", "recycle_init.gin"]
PROMPT = "target/decoder/prompt/prompt/prompt"
FIRST = 2


@pytest.fixture(scope="module")
def environment(decoder_only_sources):
    return {"T5X_EXAMPLES": decoder_only_sources}


@pytest.fixture(scope="module")
def source(tuned, environment):
    return tuned("decoder_only_source", environment)


@pytest.fixture(scope="module")
def target(pretrained, environment):
    return pretrained("decoder_only", environment)


@pytest.fixture(scope="module")
def run(start, source, target, environment):
    def run(program, **rest):
        return start(
            program,
            **{
                "files": FILES,
                "INITIAL_CHECKPOINT_PATH": str(target),
                "RECYCLE_FROM": str(source),
                "environment": environment,
                **({"TRAIN_STEPS": FIRST + 2} if program == "train" else {}),
                **rest,
            },
        )

    return run


def test_the_command_line_finds_table_and_prompt(source, target, tmp_path):
    run_recycle.main(
        [
            f"--source_model={source}",
            f"--target_model={target}",
            f"--prompt_path={source}",
            f"--output_path={tmp_path / 'prompt'}",
            "--recycler=v2v-lin",
        ]
    )
    recycled = recycle_prompt(source, target)
    np.testing.assert_array_equal(np.load(tmp_path / "prompt"), recycled.array)
    record = json.loads((tmp_path / "prompt.json").read_text())
    assert record["target"]["name"] == "target/decoder/token_embedder/embedding"
    assert record["prompt"]["name"] == PROMPT


def test_train_resume_and_evaluate(run, start, source, target, environment, tmp_path):
    expected = recycle_prompt(source, target).array
    folder = tmp_path / "run"
    run("train", folder=folder).must_work()
    np.testing.assert_array_equal(kept_prompt(folder), expected)
    np.testing.assert_array_equal(stored_prompt(folder, FIRST, PROMPT), expected)
    tuned = stored_prompt(folder, FIRST + 2, PROMPT)
    assert np.abs(tuned - expected).max() > 0.01
    run("train", folder=folder, TRAIN_STEPS=FIRST + 3).must_work()
    last = stored_prompt(folder, FIRST + 3, PROMPT)
    assert np.abs(last - tuned).max() > 0.01
    np.testing.assert_array_equal(exported_prompt(folder, FIRST + 3, "decoder"), last)
    evaluated = start(
        "eval",
        files=["decoder_only_prompt.gin"],
        INITIAL_CHECKPOINT_PATH=str(folder / f"checkpoint_{FIRST + 3}"),
        environment=environment,
    ).must_work()
    assert metrics(evaluated.folder).keys() == {"accuracy", "log_likelihood"}


def test_evaluate_and_infer_with_a_recycled_prompt(run, source, target):
    expected = recycle_prompt(source, target).array
    folder = run("eval").must_work().folder
    np.testing.assert_array_equal(kept_prompt(folder), expected)
    assert metrics(folder).keys() == {"accuracy", "log_likelihood"}
    folder = run("infer", INFER_MODE="score").must_work().folder
    np.testing.assert_array_equal(kept_prompt(folder), expected)
    (scores,) = folder.glob("*.jsonl-00000-of-00001")
    assert len(scores.read_text().splitlines()) == 16


def test_a_tuned_prompt_is_not_replaced(run, source):
    refused = run("eval", INITIAL_CHECKPOINT_PATH=str(source), RECYCLE_FROM=str(source))
    assert refused.wait() not in (0, None)
    assert "already holds a prompt" in refused.output


def test_a_t5x_without_it_is_reported(start, target, environment):
    import t5x.examples

    folders = [f"{path}/decoder_only/network.py" for path in t5x.examples.__path__]
    if any(map(os.path.exists, folders)):
        pytest.skip("this T5X has decoder_only's Python files")
    run = start(
        "eval",
        files=["models/decoder_only_base_prompt.gin"],
        INITIAL_CHECKPOINT_PATH=str(target),
    )
    assert run.wait() not in (0, None)
    assert "Clone T5X's repository and install it from there" in run.output
