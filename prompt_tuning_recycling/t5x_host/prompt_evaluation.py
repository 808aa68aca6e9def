"""Evaluates many prompts on one model in T5X, which loads and compiles it once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gin
import numpy as np
import seqio
from etils import epath
from t5x import eval as t5x_eval
from t5x import models, partitioning, utils

from prompt_tuning_recycling.choosing.unlabeled import Unlabeled
from prompt_tuning_recycling.evaluation.job import ManifestJob
from prompt_tuning_recycling.evaluation.loggers import Loggers
from prompt_tuning_recycling.evaluation.metrics_file import Metrics
from prompt_tuning_recycling.evaluation.results import metrics_of
from prompt_tuning_recycling.initial_prompts import (
    InitialPrompt,
    SampledVocabulary,
)
from prompt_tuning_recycling.prompts.export import PROMPT_REGEX
from prompt_tuning_recycling.t5x_host.leading import lead
from prompt_tuning_recycling.t5x_host.processes import from_process_zero
from prompt_tuning_recycling.t5x_host.prompted import PromptedModel


@gin.configurable(module="prompt_tuning_recycling.t5x_host.prompt_evaluation")
def evaluate_prompts(
    model: models.BaseTransformerModel,
    dataset_cfg: utils.DatasetConfig,
    restore_checkpoint_cfg: utils.RestoreCheckpointConfig,
    partitioner: partitioning.BasePartitioner,
    manifest: epath.PathLike,
    random_prompt: Callable[..., InitialPrompt] = SampledVocabulary,
    inference_evaluator_cls: Callable[..., seqio.Evaluator] = seqio.Evaluator,
    logger_cls: Sequence[Callable[..., seqio.Logger]] = (
        seqio.TensorBoardLogger,
        seqio.JSONLogger,
    ),
    patterns: Sequence[str] = PROMPT_REGEX,
) -> int:
    """Evaluates each entry of a manifest that has not been evaluated yet, and writes
    what a separate `t5x.eval` would have written for it. Several such jobs on one
    manifest share the work. An evaluation that fails is reported, and the others are
    done. Prompts in files are also scored on the manifest's unlabeled inputs.

    With several processes, process 0 shares the work with other jobs, reads prompts,
    and writes; all processes run the model.

    Args:
      model: any network whose prompts are parameters, and how it decodes.
      dataset_cfg: the task or mixture.
      restore_checkpoint_cfg: the model without a prompt.
      partitioner: T5X's partitioner.
      manifest: see `evaluation.manifest`.
      random_prompt: makes the random prompt for a `seed`.
      inference_evaluator_cls: seqio's Evaluator.
      logger_cls: seqio's loggers, which write the metrics.
      patterns: regular expressions for the names of the parameters that are prompts.

    Returns:
      How many evaluations were done.

    Raises:
      RecyclingError: anything given cannot be used, or an evaluation failed.
    """
    if dataset_cfg.module:
        utils.import_module(dataset_cfg.module)
    task = seqio.get_mixture_or_task(dataset_cfg.mixture_or_task_name)
    jobs: list[ManifestJob] = []

    def read_manifest() -> np.ndarray:
        jobs.append(
            ManifestJob(
                manifest,
                task,
                dataset_cfg.split,
                lengths=dataset_cfg.task_feature_lengths,
                use_cached=dataset_cfg.use_cached,
            )
        )
        return np.array(len(jobs[0].missing))

    if not from_process_zero(read_manifest):
        return 0
    loggers = Loggers(logger_cls)
    evaluator_cls = loggers.bound_to(inference_evaluator_cls)
    target = _Target(
        model, dataset_cfg, restore_checkpoint_cfg, partitioner, evaluator_cls, patterns
    )
    return lead(target, lambda leader: jobs[0].run(leader, loggers, random_prompt))


class _Target:
    """The model, which is loaded once and evaluated with any prompt or without one."""

    def __init__(
        self,
        model: models.BaseTransformerModel,
        dataset_cfg: utils.DatasetConfig,
        restore_cfg: utils.RestoreCheckpointConfig,
        partitioner: partitioning.BasePartitioner,
        evaluator_cls: Callable[..., seqio.Evaluator],
        patterns: Sequence[str],
    ) -> None:
        self._prompted = PromptedModel(
            model, restore_cfg, partitioner, dataset_cfg.batch_size, patterns
        )
        self.model = self._prompted.checkpoint
        self.shapes = self._prompted.shapes

        def evaluator(network: models.BaseTransformerModel) -> Any:
            # The loggers have folders of their own; T5X needs some name here.
            return t5x_eval.InferenceEvaluator(
                dataset_cfg, evaluator_cls, network, partitioner, log_dir="unused"
            )

        self._evaluator = evaluator
        self._with = evaluator(model), self._prompted.axes

    @functools.cached_property
    def _without(self) -> Any:
        axes = self._prompted.axes_without_prompt
        return self._evaluator(self._prompted.without_prompt), axes

    def check_without_prompt(self) -> None:
        _ = self._prompted.without_prompt

    def start(self, prompts: Mapping[str, np.ndarray]) -> Callable[[], Metrics]:
        evaluator, axes = self._with if prompts else self._without
        future = evaluator.evaluate(self._prompted.state(prompts), axes)
        return lambda: metrics_of(evaluator._seqio_evaluator, future)

    def score(
        self, prompts: Mapping[str, np.ndarray], unlabeled: Unlabeled
    ) -> list[float]:
        return self._prompted.score(prompts, unlabeled)
