"""Seqio's evaluator after an error of its loggers."""

import errno
import functools
import os

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import seqio

from prompt_tuning_recycling.evaluation.results import metrics_of

from ..conftest import IMPORTABLE


def test_an_evaluator_can_be_used_again_after_a_full_disk(monkeypatch):
    monkeypatch.syspath_prepend(IMPORTABLE)
    import review_tasks  # noqa: F401

    errors = iter([OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))])

    def log(**results):
        if error := next(errors, None):
            raise error

    evaluator = seqio.Evaluator(
        mixture_or_task_name="review_decoded",
        feature_converter=seqio.EncDecFeatureConverter(pack=False),
        eval_split="test",
        sequence_length={"inputs": 8, "targets": 4},
        logger_cls=[lambda output_dir: log],
        log_dir="unused",
    )

    def predict(dataset):
        examples = dataset.as_numpy_iterator()
        return [(number, one["decoder_target_tokens"]) for number, one in examples]

    evaluate = functools.partial(
        evaluator.evaluate,
        compute_metrics=True,
        step=1,
        predict_fn=predict,
        score_fn=None,
        predict_with_aux_fn=None,
    )
    future, _ = evaluate()
    with pytest.raises(OSError, match="No space left"):
        metrics_of(evaluator, future)
    future, _ = evaluate()
    assert list(metrics_of(evaluator, future)) == ["review_decoded"]
