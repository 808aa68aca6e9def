"""Evaluates many prompts on one model in T5X, which loads and compiles it once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax
import gin
import jax
import numpy as np
import seqio
from etils import epath
from flax import traverse_util
from t5x import eval as t5x_eval
from t5x import gin_utils, models, partitioning, utils

from prompt_tuning_recycling import contract
from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.evaluation.job import Loggers, ManifestJob
from prompt_tuning_recycling.evaluation.metrics_file import Metrics
from prompt_tuning_recycling.initial_prompts import (
    InitialPrompt,
    SampledVocabulary,
)
from prompt_tuning_recycling.models import open_model
from prompt_tuning_recycling.network import without_prompt
from prompt_tuning_recycling.prompts.export import PROMPT_REGEX, matches


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
    done.

    Args:
      model: the network, with a prompt, and how it decodes.
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
    if jax.process_count() > 1:
        raise RecyclingError(
            f"evaluate_prompts runs in one process, found {jax.process_count()}. Use "
            "all devices of one host; several jobs on one manifest share the work."
        )
    if dataset_cfg.module:
        utils.import_module(dataset_cfg.module)
    task = seqio.get_mixture_or_task(dataset_cfg.mixture_or_task_name)
    job = ManifestJob(manifest, task, dataset_cfg.split)
    if not job.missing:
        return 0
    loggers = Loggers(logger_cls, _write_config)
    evaluator_cls = loggers.bound_to(inference_evaluator_cls)
    target = _Target(
        model, dataset_cfg, restore_checkpoint_cfg, partitioner, evaluator_cls, patterns
    )
    return job.run(target, loggers, random_prompt)


def _write_config(output_dir: str) -> None:
    gin_utils.summarize_gin_config(output_dir, None, 0)


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
        self.model = open_model(restore_cfg.path)
        self._partitioner = partitioner
        self._with = _Network(model, dataset_cfg, partitioner, evaluator_cls)
        self._without = _Network(
            _without_prompt(model), dataset_cfg, partitioner, evaluator_cls
        )
        shapes = traverse_util.flatten_dict(
            flax.core.unfreeze(self._with.initializer.global_train_state_shape.params),
            sep="/",
        )
        self.shapes: contract.Shapes = {
            name: leaf.shape for name, leaf in shapes.items() if matches(name, patterns)
        }
        # The optimizer's state is left out.
        restore_cfg.strict = False
        restore_cfg, paths = utils.get_first_valid_restore_config_and_paths(
            [restore_cfg]
        )
        self._state, _ = utils.create_checkpoint_manager_and_restore(
            self._without.initializer,
            partitioner,
            restore_cfg,
            paths[0],
            None,
            use_orbax=True,
        )

    def evaluate(self, prompts: Mapping[str, np.ndarray]) -> Metrics:
        if not prompts:
            return self._without.evaluate(self._state)
        params = traverse_util.flatten_dict(
            flax.core.unfreeze(self._state.params), sep="/"
        )
        axes = traverse_util.flatten_dict(
            flax.core.unfreeze(self._with.initializer.train_state_axes.params), sep="/"
        )
        for name, prompt in prompts.items():
            sharding = jax.sharding.NamedSharding(self._partitioner.mesh, axes[name])
            params[name] = jax.device_put(prompt, sharding)
        nested = traverse_util.unflatten_dict(params, sep="/")
        if isinstance(self._state.params, flax.core.FrozenDict):
            nested = flax.core.freeze(nested)
        return self._with.evaluate(self._state.replace(params=nested))


class _Network:
    """A network, and T5X's evaluator for it, which compiles it once."""

    def __init__(
        self,
        model: models.BaseTransformerModel,
        dataset_cfg: utils.DatasetConfig,
        partitioner: partitioning.BasePartitioner,
        evaluator_cls: Callable[..., seqio.Evaluator],
    ) -> None:
        self._evaluator = t5x_eval.InferenceEvaluator(
            # The loggers have folders of their own; T5X needs some name here.
            dataset_cfg,
            evaluator_cls,
            model,
            partitioner,
            log_dir="unused",
        )
        shapes = {
            name: (dataset_cfg.batch_size, *shape)
            for name, shape in self._evaluator.model_feature_shapes.items()
        }
        self.initializer = utils.TrainStateInitializer(
            optimizer_def=None,
            init_fn=model.get_initial_variables,
            input_shapes=shapes,
            partitioner=partitioner,
        )

    def evaluate(self, state: Any) -> Metrics:
        future = self._evaluator.evaluate(state, self.initializer.train_state_axes)
        return {task: dict(metrics) for task, metrics in future.result().items()}


def _without_prompt(model: models.BaseTransformerModel) -> models.BaseTransformerModel:
    promptless = copy.copy(model)
    promptless.module = without_prompt(model.module)
    return promptless
