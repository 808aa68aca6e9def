"""Inference, from the command line to the file of predictions."""

import json
import pathlib

import pytest

# Each starts a run of the host.
pytestmark = pytest.mark.slow


@pytest.fixture
def infer(start, tiny_without, models, tmp_path):
    """Infers; returns the lines of the task's file."""

    def infer(mode="predict", *files, fails=False, **macros):
        result = start(
            "infer",
            [tiny_without, "runs/standalone/infer.gin", *files],
            **{
                "MIXTURE_OR_TASK_MODULE": "tiny_tasks",
                "MIXTURE_OR_TASK_NAME": "tiny_generated",
                "TASK_FEATURE_LENGTHS": {"inputs": 6, "targets": 2},
                "INITIAL_CHECKPOINT_PATH": str(models / "source"),
                "INFER_OUTPUT_DIR": str(tmp_path / "infer"),
                "INFER_MODE": mode,
                **macros,
            },
        )
        assert (result.code != 0) == fails, result.error
        if fails:
            return result.error
        path = pathlib.Path(result.out.splitlines()[0].removeprefix("wrote "))
        return [json.loads(line) for line in path.read_text().splitlines()]

    return infer


def test_predictions_are_texts_in_the_order_of_the_task(infer, tmp_path):
    lines = infer()
    assert (tmp_path / "infer/tiny_generated-predict.jsonl").is_file()
    assert len(lines) == 42
    first = lines[0]
    assert first.keys() == {"inputs", "prediction"}
    pretokenized = ("inputs_pretokenized", "pizza lovely")
    assert pretokenized in first["inputs"].items()
    assert all(isinstance(line["prediction"], str) for line in lines)


def test_scores_are_log_likelihoods(infer):
    lines = infer("score")
    assert all(line.keys() == {"inputs", "score"} for line in lines)
    assert all(line["score"] < 0 for line in lines)


def test_predictions_with_their_scores(infer):
    with_scores = infer("predict_with_aux")
    assert all(line["aux"]["scores"] < 0 for line in with_scores)
    texts = [line["prediction"] for line in infer()]
    assert [line["prediction"] for line in with_scores] == texts


@pytest.mark.thorough
def test_the_batch_size_does_not_matter(infer):
    assert infer(BATCH_SIZE=5) == infer(BATCH_SIZE=42)


@pytest.mark.thorough
def test_one_beam_predicts_what_greedy_decoding_does_or_ends_elsewhere(infer):
    """A beam is weighed by its length, and an ending need not be the likeliest."""
    greedy = infer("predict", "runs/standalone/decoding/greedy.gin")
    one = infer("predict", "runs/standalone/decoding/beam_search.gin", NUM_DECODES=1)
    texts = [
        (a["prediction"], b["prediction"]) for a, b in zip(one, greedy, strict=True)
    ]
    assert all(a.startswith(b) or b.startswith(a) for a, b in texts)
    assert sum(a == b for a, b in texts) >= 38


def test_each_task_of_a_mixture_has_a_file(infer, tmp_path):
    infer(MIXTURE_OR_TASK_NAME="tiny_both")
    names = {path.name for path in (tmp_path / "infer").glob("*.jsonl")}
    assert names == {"tiny_generated-predict.jsonl", "tiny_ranked-predict.jsonl"}


def test_a_recycled_prompt_is_used(infer, tuned, tiny, models, recycling, tmp_path):
    infer(
        "score",
        tiny,
        "recycle_init.gin",
        INITIAL_CHECKPOINT_PATH=str(models / "target-1"),
        RECYCLE_FROM=str(tuned),
        **recycling,
    )
    assert (tmp_path / "infer/recycled_prompt/prompt.npy").is_file()


@pytest.mark.parametrize(
    ("macros", "message"),
    [
        (
            {"mode": "predictions"},
            "expected one of 'predict', 'score', 'predict_with_aux'",
        ),
        ({"TASK_FEATURE_LENGTHS": None}, "TASK_FEATURE_LENGTHS is not set"),
        ({"INFER_SPLIT": "tset"}, "no split 'tset'"),
    ],
)
def test_what_cannot_be_is_reported(infer, macros, message):
    assert message in infer(fails=True, **macros)
