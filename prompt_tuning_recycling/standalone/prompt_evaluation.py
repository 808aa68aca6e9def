"""Evaluates many prompts on one model, which is loaded and compiled once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import gin
import numpy as np
import seqio
from etils import epath

from prompt_tuning_recycling.choosing.unlabeled import Unlabeled
from prompt_tuning_recycling.evaluation.job import ManifestJob
from prompt_tuning_recycling.evaluation.loggers import Loggers
from prompt_tuning_recycling.evaluation.metrics_file import Metrics
from prompt_tuning_recycling.initial_prompts import (
    InitialPrompt,
    SampledVocabulary,
)
from prompt_tuning_recycling.models import Model, open_model
from prompt_tuning_recycling.standalone.data import DatasetConfig
from prompt_tuning_recycling.standalone.evaluation import Evaluation
from prompt_tuning_recycling.standalone.model import EncoderDecoder
from prompt_tuning_recycling.standalone.prompted import PromptedModel


@gin.configurable(module="prompt_tuning_recycling.standalone.prompt_evaluation")
def evaluate_prompts(
    model: EncoderDecoder,
    dataset: DatasetConfig,
    checkpoint_path: epath.PathLike,
    manifest: epath.PathLike,
    random_prompt: Callable[..., InitialPrompt] = SampledVocabulary,
    evaluator_cls: Callable[..., seqio.Evaluator] = seqio.Evaluator,
    logger_cls: Sequence[Callable[..., seqio.Logger]] = (
        seqio.TensorBoardLogger,
        seqio.JSONLogger,
    ),
) -> int:
    """Evaluates each entry of a manifest that has not been evaluated yet, and writes
    what a separate `standalone.eval` would have written for it. Several such jobs on
    one manifest share the work. An evaluation that fails is reported, and the others
    are done. Prompts in files are also scored on the manifest's unlabeled inputs.

    Args:
      model: the network, with a prompt, and how it decodes.
      dataset: the task or mixture.
      checkpoint_path: the model without a prompt, in any format.
      manifest: see `evaluation.manifest`.
      random_prompt: makes the random prompt for a `seed`.
      evaluator_cls: seqio's Evaluator.
      logger_cls: seqio's loggers, which write the metrics.

    Returns:
      How many evaluations were done.

    Raises:
      RecyclingError: anything given cannot be used, or an evaluation failed.
    """
    job = ManifestJob(
        manifest,
        dataset.task_or_mixture(),
        dataset.split,
        lengths=dataset.task_feature_lengths,
        use_cached=dataset.use_cached,
    )
    if not job.missing:
        return 0
    loggers = Loggers(logger_cls)
    target = _Target(
        model,
        open_model(checkpoint_path),
        dataset,
        loggers.bound_to(evaluator_cls),
    )
    return job.run(target, loggers, random_prompt)


class _Target:
    """The model, which is loaded once and evaluated with any prompt or without one."""

    def __init__(
        self,
        model: EncoderDecoder,
        checkpoint: Model,
        dataset: DatasetConfig,
        evaluator_cls: Callable[..., seqio.Evaluator],
    ) -> None:
        self._prompted = PromptedModel(model, checkpoint, dataset.batch_size)
        self.model = checkpoint
        self.shapes = self._prompted.shapes
        self._evaluation = Evaluation(
            model, dataset, None, evaluator_cls, repeated=True
        )

    def check_without_prompt(self) -> None:
        """The package's network can always do without one."""

    def evaluate(self, prompts: Mapping[str, np.ndarray]) -> Metrics:
        loaded = self._prompted.parameters(prompts)
        network = None if prompts else self._prompted.without_prompt
        return self._evaluation.run(loaded, self.model.step, network)

    def score(
        self, prompts: Mapping[str, np.ndarray], unlabeled: Unlabeled
    ) -> list[float]:
        return self._prompted.score(prompts, unlabeled)
