"""Evaluation: predictions and scores on a task, judged by seqio's Evaluator."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import gin
import numpy as np
import seqio
from etils import epath

from prompt_tuning_recycling import run_folder
from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.evaluation.gin_file import write_config
from prompt_tuning_recycling.evaluation.metrics_file import (
    METRICS,
    check_no_links,
    metric_lines,
    metrics_folder,
)
from prompt_tuning_recycling.evaluation.results import metrics_of
from prompt_tuning_recycling.files import as_path, check_store_writable
from prompt_tuning_recycling.files.holding import Hold
from prompt_tuning_recycling.files.staging import Staged, staged
from prompt_tuning_recycling.models import open_model
from prompt_tuning_recycling.standalone import parameters
from prompt_tuning_recycling.standalone.data import (
    DatasetConfig,
    NumberedBatch,
    enumerated_batches,
)
from prompt_tuning_recycling.standalone.model import Batch, EncoderDecoder

if TYPE_CHECKING:
    import tensorflow as tf


@gin.configurable(module="prompt_tuning_recycling.standalone.evaluation")
def evaluate(
    model: EncoderDecoder,
    dataset: DatasetConfig,
    checkpoint_path: epath.PathLike,
    output_dir: epath.PathLike,
    evaluator_cls: Callable[..., seqio.Evaluator] = seqio.Evaluator,
) -> dict[str, dict[str, Any]]:
    """Evaluates a checkpoint and prints the metrics. A checkpoint without a prompt gets
    the one that the gin files declare.

    Args:
      model: the network and how it decodes.
      dataset: the task or mixture.
      checkpoint_path: a checkpoint of any format, or a `MODEL_DIR`.
      output_dir: gets `inference_eval/<task>-metrics.jsonl`, TensorBoard's events,
        `config.gin`, and `recycled_prompt/`.
      evaluator_cls: seqio's Evaluator with its loggers bound.

    Returns:
      The metrics of each task.

    Raises:
      RecyclingError: anything given cannot be used, or another run is at work in the
        folder.
    """
    # Quick checks come first.
    dataset.task_or_mixture()
    check_store_writable(output_dir)
    checkpoint = open_model(checkpoint_path)
    with (
        run_folder.held(output_dir, "EVAL_OUTPUT_DIR") as hold,
        evaluation_logs(output_dir, hold) as logs,
    ):
        loaded = parameters.load(checkpoint, model.module, output_dir)
        evaluation = Evaluation(model, dataset, logs, evaluator_cls)
        hold.check()
        write_config(output_dir)
        metrics = evaluation.run(loaded, checkpoint.step)
    for line in metric_lines(metrics):
        print(line, flush=True)
    return metrics


@contextlib.contextmanager
def evaluation_logs(output_dir: epath.PathLike, hold: Hold) -> Iterator[Staged]:
    """Gives the folder of metrics, `output_dir/inference_eval/`, to write to.

    Args:
      output_dir: the run's folder.
      hold: holds it.
    """
    folder = metrics_folder(os.fspath(as_path(output_dir)))
    with staged(folder, [METRICS], hold) as logs:
        # Seqio adds lines to them.
        logs.fetch(METRICS)
        yield logs


class Evaluation:
    """A task's examples, ready to evaluate one set of parameters after another."""

    def __init__(
        self,
        model: EncoderDecoder,
        dataset: DatasetConfig,
        logs: Staged | None,
        evaluator_cls: Callable[..., seqio.Evaluator] = seqio.Evaluator,
        repeated: bool = False,
    ) -> None:
        """Reads the task.

        Args:
          model: the network and how it decodes.
          dataset: the task or mixture.
          logs: gets the metrics; None if the evaluator's loggers write elsewhere.
          evaluator_cls: seqio's Evaluator with its loggers bound.
          repeated: whether there will be several evaluations. If so, the examples are
            prepared once and kept in memory.

        Raises:
          RecyclingError: there is no such task, it has no metrics, or a link is where
            they would be written.
        """
        dataset.task_or_mixture()
        if logs is not None:
            # Seqio writes files of known names there.
            check_no_links(os.fspath(logs.local))
        self._model = model
        self._batch_size = dataset.batch_size
        self._logs = logs
        self._kept: dict[int, list[NumberedBatch]] | None = {} if repeated else None
        self._evaluator = evaluator_cls(
            mixture_or_task_name=dataset.mixture_or_task_name,
            feature_converter=seqio.EncDecFeatureConverter(pack=False),
            eval_split=dataset.split,
            use_cached=dataset.use_cached,
            seed=dataset.seed,
            sequence_length=dataset.task_feature_lengths,
            log_dir="unused" if logs is None else os.fspath(logs.local),
        )
        if not self._evaluator.eval_tasks:
            raise RecyclingError(
                f"{dataset.mixture_or_task_name} has no metrics, so there is nothing "
                "to evaluate. Give its task metric_fns, or use infer instead."
            )

    def run(
        self,
        loaded: parameters.Parameters,
        step: int,
        model: EncoderDecoder | None = None,
    ) -> dict[str, dict[str, Any]]:
        """Evaluates parameters and writes the metrics; returns them by task.

        Args:
          loaded: the parameters.
          step: the number of training steps behind them.
          model: the network that the parameters belong to; None for this evaluation's
            own.

        Raises:
          RecyclingError: a metric cannot be computed on this task, or the metrics
            cannot be written.
        """
        model = model or self._model
        nested = parameters.nested(loaded)
        future, _ = self._evaluator.evaluate(
            compute_metrics=True,
            step=step,
            predict_fn=lambda dataset: [
                (number, tokens)
                for number, tokens, _ in predicted(
                    model, nested, self._batches(dataset)
                )
            ],
            predict_with_aux_fn=lambda dataset: predicted_with_scores(
                predicted(model, nested, self._batches(dataset))
            ),
            score_fn=lambda dataset: list(
                scored(model, nested, self._batches(dataset))
            ),
        )
        metrics = metrics_of(self._evaluator, future)
        if self._logs is not None:
            self._logs.publish([METRICS])
        return metrics

    def _batches(self, dataset: tf.data.Dataset) -> Iterable[NumberedBatch]:
        batches = enumerated_batches(dataset, self._batch_size)
        if self._kept is None:
            return batches
        # The evaluator passes the same datasets every time.
        if id(dataset) not in self._kept:
            self._kept[id(dataset)] = list(batches)
        return self._kept[id(dataset)]


def predicted(
    model: EncoderDecoder, nested: Any, batches: Iterable[NumberedBatch]
) -> Iterator[tuple[int, np.ndarray, float]]:
    """Yields each example's number, predicted tokens [targets] and their score."""

    def run(batch: Batch) -> tuple[Any, Any]:
        return model.predict(nested, batch)

    for numbers, (tokens, scores) in _each(run, batches):
        yield from zip(numbers, tokens, scores, strict=False)


def predicted_with_scores(
    predictions: Iterator[tuple[int, np.ndarray, float]],
) -> tuple[list[tuple[int, np.ndarray]], dict[str, list[float]]]:
    """Returns predictions and their scores in the form that seqio expects."""
    numbers, tokens, scores = zip(*predictions, strict=True)
    pairs = list(zip(numbers, tokens, strict=True))
    return pairs, {"scores": list(scores)}


def scored(
    model: EncoderDecoder, nested: Any, batches: Iterable[NumberedBatch]
) -> Iterator[tuple[int, float]]:
    """Yields each example's number and its targets' log-likelihood."""

    def run(batch: Batch) -> tuple[Any]:
        return (model.score(nested, batch),)

    for numbers, (scores,) in _each(run, batches):
        yield from zip(numbers, scores, strict=False)


def _each(
    run: Callable[[Batch], tuple[Any, ...]], batches: Iterable[NumberedBatch]
) -> Iterator[tuple[np.ndarray, tuple[np.ndarray, ...]]]:
    """The results of one batch are fetched while the device works on the next."""
    pending = None
    for numbers, batch in batches:
        results = run(batch)
        if pending is not None:
            yield pending[0], tuple(map(np.asarray, pending[1]))
        pending = numbers, results
    if pending is not None:
        yield pending[0], tuple(map(np.asarray, pending[1]))
