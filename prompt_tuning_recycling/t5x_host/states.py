"""T5X's train states without an optimizer, whose prompts can be replaced."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import flax
import numpy as np
from flax import traverse_util
from t5x import models, partitioning, state_utils, utils

from prompt_tuning_recycling import contract
from prompt_tuning_recycling.models.layouts.t5x import PARAMETERS
from prompt_tuning_recycling.prompts.export import matches

# The parameters' shapes do not depend on the lengths of the inputs.
_INPUT_LENGTH = 8


@dataclasses.dataclass(frozen=True)
class _PromptsOfZeros:
    """A T5X restore transformation. In place of a checkpoint's prompts, if it has any,
    it puts zeros in the shapes that the model expects.
    """

    shapes: contract.Shapes
    patterns: Sequence[str]

    def __call__(
        self,
        checkpoint_state: Mapping[str, Any],
        train_state: Mapping[str, Any],
        *,
        is_resuming: bool = False,
    ) -> Mapping[str, Any]:
        del train_state, is_resuming
        state = state_utils.flatten_state_dict(checkpoint_state)
        kept = {
            name: leaf
            for name, leaf in state.items()
            if not matches(name.removeprefix(PARAMETERS), self.patterns)
        }
        zeros = {
            PARAMETERS + name: np.zeros(shape, np.float32)
            for name, shape in self.shapes.items()
        }
        return traverse_util.unflatten_dict({**kept, **zeros}, sep="/")


def initializer_of(
    model: models.BaseTransformerModel,
    partitioner: partitioning.BasePartitioner,
    batch_size: int,
) -> utils.TrainStateInitializer:
    """Returns what T5X needs to restore a model's parameters."""
    features = ("encoder_input_tokens", "decoder_input_tokens", "decoder_target_tokens")
    return utils.TrainStateInitializer(
        optimizer_def=None,
        init_fn=model.get_initial_variables,
        input_shapes=dict.fromkeys(features, (batch_size, _INPUT_LENGTH)),
        partitioner=partitioner,
    )


def shapes_of(initializer: utils.TrainStateInitializer) -> contract.Shapes:
    """Returns name -> shape of each of the model's parameters."""
    params = flat(initializer.global_train_state_shape.params)
    return {name: tuple(leaf.shape) for name, leaf in params.items()}


def restored(
    initializer: utils.TrainStateInitializer,
    restore_cfg: utils.RestoreCheckpointConfig,
    partitioner: partitioning.BasePartitioner,
    prompts: contract.Shapes,
    patterns: Sequence[str],
) -> Any:
    """Returns the train state of a checkpoint, without its optimizer's state and its
    prompts.

    Args:
      initializer: that of the model, with its prompts.
      restore_cfg: the checkpoint, and how to restore it.
      partitioner: T5X's partitioner.
      prompts: name -> shape of each of the model's prompts.
      patterns: regular expressions for the names of the checkpoint's prompts.
    """
    restore_cfg = dataclasses.replace(
        restore_cfg,
        strict=False,
        assignment_map=None,
        fallback_to_scratch=False,
        state_transformation_fns=[_PromptsOfZeros(prompts, patterns)],
    )
    restore_cfg, paths = utils.get_first_valid_restore_config_and_paths([restore_cfg])
    state, _ = utils.create_checkpoint_manager_and_restore(
        initializer, partitioner, restore_cfg, paths[0], None, use_orbax=True
    )
    params = flat(state.params)
    return with_params(
        state, {name: params[name] for name in params if name not in prompts}
    )


def with_params(state: Any, params: Mapping[str, Any]) -> Any:
    """Returns a train state with these parameters, by name."""
    nested = traverse_util.unflatten_dict(params, sep="/")
    if isinstance(state.params, flax.core.FrozenDict):
        nested = flax.core.freeze(nested)
    return state.replace(params=nested)


def flat(params: Any) -> dict[str, Any]:
    """Returns nested parameters by name."""
    return traverse_util.flatten_dict(flax.core.unfreeze(params), sep="/")
