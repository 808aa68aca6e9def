"""Evaluation, from the command line to the metrics' files."""

import json

import numpy as np
import pytest

# Each starts a run of the host.
pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "eval"


def test_it_writes_and_prints_the_metrics(evaluate, tiny_without, folder, metrics):
    result = evaluate(tiny_without, EVAL_OUTPUT_DIR=str(folder))
    ((step, values),) = metrics(folder)
    assert step == 1600
    assert result.out == f"tiny_ranked: accuracy {values['accuracy']:.4g}\n"
    assert result.error == ""
    assert list((folder / "inference_eval/tiny_ranked").glob("events.out.tfevents.*"))
    assert (folder / "config.gin").is_file()


def test_a_disk_that_cannot_be_written_to_is_one_line(evaluate, tiny_without, folder):
    folder.mkdir()
    (folder / "inference_eval").write_bytes(b"no folder")
    result = evaluate(tiny_without, fails=True, EVAL_OUTPUT_DIR=str(folder))
    # Absl shows what seqio logs, too.
    last = result.error.splitlines()[-1]
    assert last.startswith(f"error: cannot read or write {folder}")
    assert "Traceback" not in result.error


@pytest.mark.thorough
def test_a_mixture_is_evaluated_task_by_task(evaluate, tiny_without, folder, metrics):
    macros = {"EVAL_OUTPUT_DIR": str(folder), "MIXTURE_OR_TASK_NAME": "tiny_both"}
    result = evaluate(tiny_without, **macros)
    for task in ("tiny_ranked", "tiny_generated"):
        ((_, values),) = metrics(folder, task)
        assert f"{task}: accuracy {values['accuracy']:.4g}" in result.out


@pytest.mark.thorough
def test_the_batch_size_does_not_matter(evaluate, tiny_without, tmp_path):
    scores = []
    for size in (5, 64):
        folder = tmp_path / str(size)
        evaluate(tiny_without, EVAL_OUTPUT_DIR=str(folder), BATCH_SIZE=size)
        lines = (folder / "inference_eval/tiny_ranked-001600.jsonl").read_text()
        scores.append([json.loads(line)["score"] for line in lines.splitlines()])
    assert len(scores[0]) == 2 * 2 * 7 * 3
    np.testing.assert_allclose(*scores, rtol=1e-4)


@pytest.mark.thorough
def test_lengths_may_be_left_to_the_data(evaluate, tiny_without, tmp_path, metrics):
    evaluate(tiny_without, EVAL_OUTPUT_DIR=str(tmp_path / "a"))
    evaluate(
        tiny_without, EVAL_OUTPUT_DIR=str(tmp_path / "b"), TASK_FEATURE_LENGTHS=None
    )
    assert metrics(tmp_path / "a") == metrics(tmp_path / "b")


def test_a_tuned_checkpoint_gives_what_training_measured(
    tune, evaluate, tiny, folder, tmp_path, metrics
):
    tune(tmp_path / "run", EVAL_PERIOD=3)
    evaluate(
        tiny,
        INITIAL_CHECKPOINT_PATH=str(tmp_path / "run"),
        EVAL_OUTPUT_DIR=str(folder),
        EVAL_SPLIT="validation",
    )
    assert metrics(folder)[-1] == metrics(tmp_path / "run")[-1]


def test_checkpoint_path_is_t5xs_name_for_it(
    evaluate, tiny_without, folder, models, metrics, tmp_path
):
    evaluate(tiny_without, EVAL_OUTPUT_DIR=str(tmp_path / "a"))
    evaluate(
        tiny_without,
        CHECKPOINT_PATH=str(models / "target-1/checkpoint_1600"),
        INITIAL_CHECKPOINT_PATH="/dev/null/absent",
        EVAL_OUTPUT_DIR=str(folder),
    )
    assert metrics(folder) == metrics(tmp_path / "a")


def test_a_recycled_prompt_is_recorded_and_kept(
    tuned, evaluate, tiny, models, recycling, folder, tmp_path, metrics
):
    """From a model of another width."""
    wide = tmp_path / "wide_prompt.gin"
    sizes = ("emb_dim = 96", "num_heads = 6", "mlp_dim = 192")
    lines = [f"network.T5Config.{size}\n" for size in sizes]
    wide.write_text(tiny.read_text() + "".join(lines))
    macros = {
        "INITIAL_CHECKPOINT_PATH": str(models / "wide"),
        "RECYCLE_FROM": str(tuned),
        "EVAL_OUTPUT_DIR": str(folder),
        **recycling,
    }
    evaluate(wide, "recycle_init.gin", **macros)
    kept = folder / "recycled_prompt/prompt.npy"
    assert np.load(kept).shape == (5, 96)
    record = json.loads(kept.with_name("prompt.npy.json").read_text())
    assert record["source"]["path"] == str(tuned / "checkpoint_1606")
    assert record["target"]["path"] == str(models / "wide/checkpoint_1600")
    assert record["words"]["fitted"] == recycling["NUM_WORDS"]
    assert record["recycler"]["name"] == "v2v-lin"
    # Once more, from what was kept.
    result = evaluate(wide, "recycle_init.gin", **macros)
    assert "fitting" not in result.error
    assert metrics(folder)[0] == metrics(folder)[1]


def test_a_tuned_checkpoint_is_not_given_another_prompt(
    tuned, evaluate, tiny, recycling, folder, tmp_path
):
    result = evaluate(
        tiny,
        "recycle_init.gin",
        INITIAL_CHECKPOINT_PATH=str(tuned),
        RECYCLE_FROM=str(tuned),
        EVAL_OUTPUT_DIR=str(folder),
        fails=True,
        **recycling,
    )
    assert "already holds a prompt" in result.error
    assert not (folder / "recycled_prompt").exists()


def test_a_task_without_metrics_is_reported(evaluate, tiny_without, folder):
    macros = {"EVAL_OUTPUT_DIR": str(folder), "MIXTURE_OR_TASK_NAME": "tiny_train"}
    result = evaluate(tiny_without, fails=True, **macros)
    assert "tiny_train has no metrics" in result.error
