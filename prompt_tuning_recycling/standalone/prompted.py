"""A model that is kept in memory and gets one prompt after another."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np

from prompt_tuning_recycling import contract
from prompt_tuning_recycling.choosing.unlabeled import Unlabeled, until_eos
from prompt_tuning_recycling.models import Model
from prompt_tuning_recycling.network import resized, without_prompt
from prompt_tuning_recycling.prompts.export import matches
from prompt_tuning_recycling.standalone import parameters
from prompt_tuning_recycling.standalone.data import NumberedBatch, enumerated_batches
from prompt_tuning_recycling.standalone.evaluation import predicted, scored
from prompt_tuning_recycling.standalone.model import EncoderDecoder

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    Prompts = Mapping[str, Float[np.ndarray, "length width"]]


class PromptedModel:
    """A model whose parameters are loaded once, without a prompt.

    Attributes:
      checkpoint: the model on disk.
      shapes: name -> shape [length, width] of each of the model's prompts.
    """

    def __init__(
        self,
        model: EncoderDecoder,
        checkpoint: Model,
        batch_size: int,
        *,
        ignore_prompts: bool = False,
    ) -> None:
        """Loads the model.

        Args:
          model: the network, with a prompt, and how it decodes.
          checkpoint: the parameters.
          batch_size: how many examples are scored at once.
          ignore_prompts: whether the checkpoint may hold prompts, which are not used.

        Raises:
          RecyclingError: the checkpoint belongs to another network.
        """
        self.checkpoint = checkpoint
        self.model = model
        self.without_prompt = dataclasses.replace(
            model, module=without_prompt(model.module)
        )
        self.shapes: contract.Shapes = {
            name: shape
            for name, shape in parameters.shapes(model.module).items()
            if matches(name)
        }
        self._batch_size = batch_size
        self._kept: dict[tuple[Unlabeled, int | None], list[NumberedBatch]] = {}
        if not ignore_prompts:
            stored = {
                name: array.shape
                for name, array in checkpoint.parameters.items()
                if matches(name)
            }
            contract.prompts_to_make({}, stored, None, None, str(checkpoint.path))
        self._rest = parameters.load_rest(checkpoint, self.without_prompt.module)

    def parameters(self, prompts: Prompts) -> parameters.Parameters:
        """Returns the model's parameters with these prompts, by name."""
        loaded = {name: jnp.asarray(array) for name, array in prompts.items()}
        return {**self._rest, **loaded}

    def score(self, prompts: Prompts, unlabeled: Unlabeled) -> list[float]:
        """Returns the log-likelihood of each choice; see `ScoredModel.score`."""
        batches = self._batches(unlabeled)
        nested = parameters.nested(self.parameters(prompts))
        return [float(score) for _, score in scored(self.model, nested, batches)]

    def answer(
        self, prompts: Prompts, unlabeled: Unlabeled, length: int
    ) -> Sequence[Int[np.ndarray, " tokens"]]:
        """Returns what the model answers; see `ScoredModel.answer`."""
        batches = self._batches(unlabeled, length)
        nested = parameters.nested(self.parameters(prompts))
        eos_id = self.model.vocabulary.eos_id
        return [
            until_eos(tokens, eos_id)
            for _, tokens, _ in predicted(self.model, nested, batches)
        ]

    def gradient(
        self,
        prompts: Prompts,
        unlabeled: Unlabeled,
        weights: Float[np.ndarray, " scores"],
    ) -> Prompts:
        """Returns the gradient of the weighted scores; see `ScoredModel.gradient`."""
        loaded = {name: jnp.asarray(array) for name, array in prompts.items()}
        total = {name: np.zeros(array.shape) for name, array in prompts.items()}
        for numbers, batch in self._batches(unlabeled):
            # Examples that fill up the last batch do not count.
            of_batch = np.zeros(self._batch_size, np.float32)
            of_batch[: len(numbers)] = weights[numbers]
            found = self.model.score_gradients(loaded, self._rest, batch, of_batch)
            for name, gradient in found.items():
                total[name] += np.asarray(gradient, np.float64)
        return {name: array.astype(np.float32) for name, array in total.items()}

    def _batches(
        self, unlabeled: Unlabeled, length: int | None = None
    ) -> list[NumberedBatch]:
        """Returns the inputs as batches, which are prepared only once."""
        if (unlabeled, length) not in self._kept:
            dataset = unlabeled.dataset(length)
            self._kept[unlabeled, length] = list(
                enumerated_batches(dataset, self._batch_size)
            )
        return self._kept[unlabeled, length]


def source_model(
    like: EncoderDecoder, checkpoint: Model, prompt_length: int, batch_size: int
) -> PromptedModel:
    """Loads a source model, which may have other sizes than the target.

    Args:
      like: the target's network, whose other options the source shares.
      checkpoint: the source model, with or without its prompt.
      prompt_length: how many vectors its prompt has.
      batch_size: as for `PromptedModel`.

    Raises:
      RecyclingError: the sizes cannot be told from the checkpoint.
    """
    shapes = {name: array.shape for name, array in checkpoint.parameters.items()}
    module = resized(
        like.module,
        shapes,
        prompt_length,
        str(checkpoint.path),
        checkpoint.network_sizes,
    )
    return PromptedModel(
        dataclasses.replace(like, module=module),
        checkpoint,
        batch_size,
        ignore_prompts=True,
    )
