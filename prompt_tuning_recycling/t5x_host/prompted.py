"""A model that T5X keeps in memory and that gets one prompt after another."""

from __future__ import annotations

import copy
import dataclasses
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from flax import linen as nn
from flax import traverse_util
from t5x import models, partitioning, utils

from prompt_tuning_recycling import contract
from prompt_tuning_recycling.choosing.unlabeled import Unlabeled, until_eos
from prompt_tuning_recycling.errors import RecyclingError, did_you_mean
from prompt_tuning_recycling.models import Model, open_model
from prompt_tuning_recycling.network import T5Config, resized, without_prompt
from prompt_tuning_recycling.prompts.export import PROMPT_REGEX, matches
from prompt_tuning_recycling.t5x_host.matching import check_network
from prompt_tuning_recycling.t5x_host.states import (
    flat,
    initializer_of,
    restored,
    shapes_of,
    with_params,
)

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    Prompts = Mapping[str, Float[np.ndarray, "length width"]]


class PromptedModel:
    """A model whose parameters are restored once, without a prompt.

    Attributes:
      checkpoint: the model on disk.
      model: the network as T5X uses it, with a prompt.
      axes: T5X's axes of the train state with prompts.
      shapes: name -> shape [length, width] of each of the model's prompts.
    """

    def __init__(
        self,
        model: models.BaseTransformerModel,
        restore_cfg: utils.RestoreCheckpointConfig,
        partitioner: partitioning.BasePartitioner,
        batch_size: int,
        patterns: Sequence[str] = PROMPT_REGEX,
        *,
        ignore_prompts: bool = False,
    ) -> None:
        """Restores the model.

        Args:
          model: any network whose prompts are parameters, and how it decodes.
          restore_cfg: the model's checkpoint, and how to restore it.
          partitioner: T5X's partitioner.
          batch_size: how many examples are scored at once.
          patterns: regular expressions for the names of the parameters that are
            prompts.
          ignore_prompts: whether the checkpoint may hold prompts, which are not used.

        Raises:
          RecyclingError: the checkpoint holds a prompt or belongs to another network,
            or the model has no prompt.
        """
        self.checkpoint = open_model(restore_cfg.path)
        self.model = model
        self._partitioner = partitioner
        self._batch_size = batch_size
        initializer = initializer_of(model, partitioner, batch_size)
        self.axes = initializer.train_state_axes
        expected = shapes_of(initializer)
        self.shapes: contract.Shapes = {
            name: shape for name, shape in expected.items() if matches(name, patterns)
        }
        if not self.shapes:
            raise RecyclingError(
                f"none of the model's parameters matches {list(patterns)}, so there is "
                "no place for a prompt. Use a model file that ends in _prompt."
                + did_you_mean("encoder/prompt/prompt/prompt", expected)
            )
        stored = self.checkpoint.parameters
        if not ignore_prompts:
            held = {
                name: array.shape
                for name, array in stored.items()
                if matches(name, patterns)
            }
            contract.prompts_to_make({}, held, None, None, str(self.checkpoint.path))
        rest = {
            name: shape for name, shape in expected.items() if name not in self.shapes
        }
        check_network(self.checkpoint, stored, rest)
        self._state = restored(
            initializer, restore_cfg, partitioner, self.shapes, patterns
        )

    @functools.cached_property
    def without_prompt(self) -> models.BaseTransformerModel:
        """The network without a prompt, as T5X uses it.

        Raises:
          RecyclingError: the network cannot be built without one.
        """
        module = self.model.module
        try:
            return _with_module(self.model, without_prompt(module))
        except RecyclingError as error:
            raise RecyclingError(
                f"{type(module).__name__} cannot be built without its prompt here. "
                "Evaluate it with t5x.eval and the model file that has none, and leave "
                "it out of the manifest (in a sweep: baselines, no_prompt false)."
            ) from error

    @functools.cached_property
    def axes_without_prompt(self) -> Any:
        """T5X's axes of the train state without prompts."""
        initializer = initializer_of(
            self.without_prompt, self._partitioner, self._batch_size
        )
        return initializer.train_state_axes

    def state(self, prompts: Prompts) -> Any:
        """Returns T5X's train state with these prompts, by name, or with none."""
        if not prompts:
            return self._state
        params, axes = flat(self._state.params), flat(self.axes.params)
        for name, prompt in prompts.items():
            sharding = jax.sharding.NamedSharding(self._partitioner.mesh, axes[name])
            params[name] = jax.make_array_from_callback(
                prompt.shape, sharding, prompt.__getitem__
            )
        return with_params(self._state, params)

    def score(self, prompts: Prompts, unlabeled: Unlabeled) -> list[float]:
        """Returns the log-likelihood of each choice; see `ScoredModel.score`."""
        found = self._infer(self.model.score_batch, prompts, unlabeled)
        return [float(score) for score in found]

    def answer(
        self, prompts: Prompts, unlabeled: Unlabeled, length: int
    ) -> Sequence[Int[np.ndarray, " tokens"]]:
        """Returns what the model answers; see `ScoredModel.answer`."""
        found = self._infer(self.model.predict_batch, prompts, unlabeled, length)
        eos_id = self.model.output_vocabulary.eos_id
        return [until_eos(tokens, eos_id) for tokens in found]

    def gradient(
        self,
        prompts: Prompts,
        unlabeled: Unlabeled,
        weights: Float[np.ndarray, " scores"],
    ) -> Prompts:
        """Returns the gradient of the weighted scores; see `ScoredModel.gradient`.

        Raises:
          RecyclingError: there are several processes.
        """
        if jax.process_count() > 1:
            raise RecyclingError(
                "REFINE_STEPS: a prompt is refined in one process, found "
                f"{jax.process_count()}. Choose without refinement, or use the devices "
                "of one host."
            )
        rest = flat(self._state.params)
        total = {name: np.zeros(array.shape) for name, array in prompts.items()}
        dataset = unlabeled.dataset(None, self.model.FEATURE_CONVERTER_CLS)
        batches = dataset.batch(self._batch_size).as_numpy_iterator()
        for numbers, batch in batches:
            found = self._gradient(dict(prompts), rest, batch, weights[numbers])
            for name, gradient in found.items():
                total[name] += np.asarray(gradient, np.float64)
        return {name: array.astype(np.float32) for name, array in total.items()}

    def _infer(
        self,
        step: Callable[..., Any],
        prompts: Prompts,
        unlabeled: Unlabeled,
        length: int | None = None,
    ) -> list[Any]:
        """Runs T5X's inference, which gathers the results of all processes."""
        dataset = self._dataset(unlabeled, length)
        numbered = self._infer_fn(step)(
            dataset, self.state(prompts), jax.random.PRNGKey(0)
        )
        return [result for _, result in sorted(numbered, key=lambda pair: pair[0])]

    @functools.cache  # noqa: B019 (a job has one or two models)
    def _dataset(self, unlabeled: Unlabeled, length: int | None) -> Any:
        """The inputs, which are prepared only once."""
        converter_cls = self.model.FEATURE_CONVERTER_CLS
        return unlabeled.dataset(length, converter_cls).cache()

    @functools.cache  # noqa: B019 (each step compiles once)
    def _infer_fn(self, step: Callable[..., Any]) -> Callable[..., Any]:
        return utils.get_infer_fn(step, self._batch_size, self.axes, self._partitioner)

    @functools.cached_property
    def _gradient(self) -> Callable[..., Mapping[str, jax.Array]]:
        def total(prompts: Any, rest: Any, batch: Any, weights: Any) -> jax.Array:
            params = traverse_util.unflatten_dict({**rest, **prompts}, sep="/")
            return jax.numpy.sum(weights * self.model.score_batch(params, batch))

        return jax.jit(jax.grad(total))


def source_model(
    like: models.BaseTransformerModel,
    restore_cfg: utils.RestoreCheckpointConfig,
    partitioner: partitioning.BasePartitioner,
    batch_size: int,
    checkpoint: Model,
    prompt_length: int,
) -> PromptedModel:
    """Restores a source model. That of this package's network may have other sizes than
    the target.

    Args:
      like: the target's network, whose other options the source shares.
      restore_cfg: how the target is restored.
      partitioner: T5X's partitioner.
      batch_size: as for `PromptedModel`.
      checkpoint: the source model, with or without its prompt.
      prompt_length: how many vectors its prompt has.

    Raises:
      RecyclingError: the sizes cannot be told from the checkpoint.
    """
    shapes = {name: array.shape for name, array in checkpoint.parameters.items()}
    expected = shapes_of(initializer_of(like, partitioner, batch_size))
    is_ours = isinstance(getattr(like.module, "config", None), T5Config)
    model = like
    if is_ours or _without_prompts(expected) != _without_prompts(shapes):
        module = resized(like.module, shapes, prompt_length, str(checkpoint.path))
        model = _with_module(like, module)
    return PromptedModel(
        model,
        restored_from(restore_cfg, checkpoint),
        partitioner,
        batch_size,
        ignore_prompts=True,
    )


def restored_from(
    restore_cfg: utils.RestoreCheckpointConfig, checkpoint: Model
) -> utils.RestoreCheckpointConfig:
    """Returns how to restore another checkpoint."""
    return dataclasses.replace(restore_cfg, path=os.fspath(checkpoint.path))


def _without_prompts(shapes: contract.Shapes) -> contract.Shapes:
    return {name: tuple(shape) for name, shape in shapes.items() if not matches(name)}


def _with_module(
    model: models.BaseTransformerModel, module: nn.Module
) -> models.BaseTransformerModel:
    other = copy.copy(model)
    other.module = module
    return other
