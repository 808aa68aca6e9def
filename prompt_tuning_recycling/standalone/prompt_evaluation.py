"""Evaluation of many prompts on one model, which is loaded and compiled once."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import gin
import jax.numpy as jnp
import seqio
from etils import epath

from prompt_tuning_recycling import run_folder
from prompt_tuning_recycling.checkpoints import Checkpoint, open_checkpoint, step_of
from prompt_tuning_recycling.initial_prompts import (
    FromFile,
    InitialPrompt,
    SampledVocabulary,
)
from prompt_tuning_recycling.network import without_prompt
from prompt_tuning_recycling.prompt_export import matches
from prompt_tuning_recycling.standalone import parameters
from prompt_tuning_recycling.standalone.data import DatasetConfig
from prompt_tuning_recycling.standalone.evaluation import Evaluation, write_config
from prompt_tuning_recycling.standalone.model import EncoderDecoder
from prompt_tuning_recycling.sweep import manifest as manifest_entry
from prompt_tuning_recycling.sweep.manifest_job import Loggers, ManifestJob


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
    """Evaluates what a manifest lists, as far as it has not been, and writes what a
    separate `standalone.eval` would have written for each. Several such jobs on one
    manifest share the work; one that fails is reported, and the rest done.

    Args:
      model: the network, with a prompt, and how it decodes.
      dataset: the task or mixture.
      checkpoint_path: the model without a prompt, of any format.
      manifest: see `sweep.manifest`.
      random_prompt: makes the random prompt of a `seed`.
      evaluator_cls: seqio's Evaluator.
      logger_cls: seqio's loggers, which write the metrics.

    Returns:
      How many were evaluated now.

    Raises:
      RecyclingError: anything given cannot be used, or an evaluation failed.
    """
    job = ManifestJob(manifest, dataset.task_or_mixture(), dataset.split)
    if not job.missing:
        return 0
    target = _Target(model, open_checkpoint(checkpoint_path), random_prompt)
    loggers = Loggers(logger_cls, write_config)
    evaluation = Evaluation(
        model,
        dataset,
        "",
        functools.partial(evaluator_cls, logger_cls=[loggers.of_evaluator]),
        repeated=True,
    )

    def evaluate(entry: manifest_entry.Evaluation) -> dict[str, dict[str, Any]]:
        # The prompt first: nothing is written for one that cannot be read.
        loaded = target.parameters(entry)
        with loggers.writing_to(entry.output_dir):
            return evaluation.run(*loaded)

    return job.run(evaluate)


class _Target:
    """The model, in memory once, with whatever prompt."""

    def __init__(
        self,
        model: EncoderDecoder,
        checkpoint: Checkpoint,
        random_prompt: Callable[..., InitialPrompt],
    ) -> None:
        self._with_prompt = model
        self._without_prompt = dataclasses.replace(
            model, module=without_prompt(model.module)
        )
        self._checkpoint = checkpoint
        self._random_prompt = random_prompt
        self._shapes = {
            name: shape
            for name, shape in parameters.shapes(model.module).items()
            if matches(name)
        }
        self._rest = parameters.load(checkpoint, self._without_prompt.module, "")
        self._step = step_of(checkpoint)

    def parameters(
        self, entry: manifest_entry.Evaluation
    ) -> tuple[parameters.Parameters, int, EncoderDecoder]:
        """Returns the parameters to evaluate, their step, and their network."""
        if entry.no_prompt:
            return self._rest, self._step, self._without_prompt
        if entry.prompt is not None:
            kind: InitialPrompt = FromFile(entry.prompt)
        else:
            kind = self._random_prompt(seed=entry.random_prompt)
        made = run_folder.make_prompts(
            dict.fromkeys(self._shapes, kind), self._shapes, self._checkpoint
        )
        prompts = {name: jnp.asarray(prompt) for name, prompt in made.items()}
        return {**self._rest, **prompts}, self._step, self._with_prompt
