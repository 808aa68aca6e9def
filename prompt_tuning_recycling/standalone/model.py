"""The model: a network with its vocabulary, its loss, scores and predictions."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import gin
import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import traverse_util

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.standalone.decoding import BeamSearch, Decoder

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int

Batch: TypeAlias = Mapping[str, Any]
"""Features of seqio's EncDecFeatureConverter: encoder_input_tokens [batch, inputs],
decoder_{input,target}_tokens and decoder_loss_weights [batch, targets]."""

PER_TOKEN = "NUM_REAL_TARGET_TOKENS"  # noqa: S105 (T5X's name for it)


@gin.register(module="prompt_tuning_recycling.standalone.model")
@dataclasses.dataclass(frozen=True, eq=False)
class EncoderDecoder:
    """A network with its loss and its decoding. It corresponds to T5X's
    `EncoderDecoderModel`, and uses its names.

    Attributes:
      module: the network, such as `network.Transformer`.
      vocabulary: the seqio vocabulary of inputs and outputs.
      decoder: how predictions are decoded.
      z_loss: the weight of log(Z)², which keeps the softmax's normalizer near 1.
      label_smoothing: the share of probability that the loss wants on the other tokens.
        As in T5X, the lowest possible loss is still 0.
      loss_normalizing_factor: what the summed loss is divided by: a number, None for
        1, or NUM_REAL_TARGET_TOKENS for the mean over the tokens of a batch.
    """

    module: nn.Module
    vocabulary: Any
    decoder: Decoder = dataclasses.field(default_factory=BeamSearch)
    z_loss: float = 1e-4
    label_smoothing: float = 0.0
    loss_normalizing_factor: float | str | None = PER_TOKEN

    def __post_init__(self) -> None:
        factor = self.loss_normalizing_factor
        if isinstance(factor, str) and factor != PER_TOKEN:
            raise RecyclingError(
                f"LOSS_NORMALIZING_FACTOR: expected a number, None or {PER_TOKEN!r}, "
                f"found {factor!r}."
            )

    def gradients(
        self,
        trained: Mapping[str, jax.Array],
        frozen: Mapping[str, jax.Array],
        batch: Batch,
        dropout_key: jax.Array,
    ) -> tuple[dict[str, jax.Array], dict[str, Float[Array, ""]]]:
        """Returns the gradients of the loss, and the batch's sums for reports.

        Args:
          trained: name, with slashes -> a parameter to train.
          frozen: the other parameters.
          batch: the examples.
          dropout_key: decides what is dropped.

        Returns:
          The gradients of the trained parameters; and `loss`, which is minimized,
          together with `cross_entropy` (nats) and `correct`, summed over the `tokens`.
        """
        settings = (self.z_loss, self.label_smoothing, self.loss_normalizing_factor)
        return _gradients(self.module, settings, trained, frozen, batch, dropout_key)

    def score(self, params: Any, batch: Batch) -> Float[Array, " batch"]:
        """Returns the targets' log-likelihoods, in nats, summed over their tokens."""
        return _score(self.module, params, batch)

    def score_gradients(
        self,
        prompts: Mapping[str, jax.Array],
        rest: Mapping[str, jax.Array],
        batch: Batch,
        weights: Any,
    ) -> dict[str, jax.Array]:
        """Returns the gradients, by the prompts, of the scores' weighted sum.

        Args:
          prompts: name, with slashes -> prompt.
          rest: the other parameters.
          batch: the examples.
          weights: float32 [batch], the weight of each example's score.
        """
        return _score_gradients(self.module, prompts, rest, batch, weights)

    def predict(
        self, params: Any, batch: Batch
    ) -> tuple[Int[Array, "batch targets"], Float[Array, " batch"]]:
        """Returns decoded tokens, in the shape of the batch's targets, and scores."""
        eos_id = self.vocabulary.eos_id
        return _predict(self.module, self.decoder, eos_id, params, batch)


# Modules can be hashed and compared, so equal models share what is compiled here.
@functools.partial(jax.jit, static_argnums=(0, 1))
def _gradients(
    module: nn.Module,
    settings: tuple[float, float, float | str | None],
    trained: Mapping[str, jax.Array],
    frozen: Mapping[str, jax.Array],
    batch: Batch,
    dropout_key: jax.Array,
) -> tuple[dict[str, jax.Array], dict[str, Float[Array, ""]]]:
    def loss(trained: Mapping[str, jax.Array]) -> tuple[jax.Array, dict]:
        params = traverse_util.unflatten_dict({**frozen, **trained}, sep="/")
        return _loss(settings, _logits(module, params, batch, dropout_key), batch)

    gradients, sums = jax.grad(loss, has_aux=True)(trained)
    return gradients, sums


def _loss(
    settings: tuple[float, float, float | str | None],
    logits: Float[Array, "batch targets vocab"],
    batch: Batch,
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    z_loss, label_smoothing, normalizing_factor = settings
    targets, weights = _targets(batch)
    likelihood = _log_likelihood(logits, targets)
    cross_entropy = -likelihood
    if label_smoothing:
        vocabulary = logits.shape[-1]
        # optax spreads it over all tokens, including the right one.
        share = label_smoothing * vocabulary / (vocabulary - 1)
        wanted = optax.smooth_labels(jax.nn.one_hot(targets, vocabulary), share)
        least = jnp.sum(jax.scipy.special.entr(wanted), axis=-1)
        cross_entropy = optax.softmax_cross_entropy(logits, wanted) - least
    normalizer = jax.nn.logsumexp(logits, axis=-1)
    loss = jnp.sum((cross_entropy + z_loss * normalizer**2) * weights)
    tokens = weights.sum()
    if normalizing_factor == PER_TOKEN:
        loss /= tokens
    elif normalizing_factor is not None:
        loss /= float(normalizing_factor)
    return loss, {
        "loss": loss,
        "cross_entropy": -jnp.sum(likelihood * weights),
        "correct": jnp.sum((logits.argmax(axis=-1) == targets) * weights),
        "tokens": tokens,
    }


@functools.partial(jax.jit, static_argnums=0)
def _score(module: nn.Module, params: Any, batch: Batch) -> Float[Array, " batch"]:
    targets, weights = _targets(batch)
    log_likelihood = _log_likelihood(_logits(module, params, batch, None), targets)
    return jnp.sum(log_likelihood * weights, axis=-1)


@functools.partial(jax.jit, static_argnums=0)
def _score_gradients(
    module: nn.Module,
    prompts: Mapping[str, jax.Array],
    rest: Mapping[str, jax.Array],
    batch: Batch,
    weights: Float[Array, " batch"],
) -> dict[str, jax.Array]:
    def total(prompts: Mapping[str, jax.Array]) -> jax.Array:
        params = traverse_util.unflatten_dict({**rest, **prompts}, sep="/")
        return jnp.sum(weights * _score(module, params, batch))

    return jax.grad(total)(dict(prompts))


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _predict(
    module: nn.Module, decoder: Decoder, eos_id: int, params: Any, batch: Batch
) -> tuple[Int[Array, "batch targets"], Float[Array, " batch"]]:
    variables = {"params": params}
    beams = decoder.num_decodes
    inputs = batch["encoder_input_tokens"]
    encoded: Any = module.apply(
        variables, inputs, enable_dropout=False, method="encode"
    )
    encoded = jnp.repeat(encoded, beams, axis=0)
    inputs = jnp.repeat(inputs, beams, axis=0)
    count, length = batch["decoder_target_tokens"].shape
    empty = jnp.zeros((count * beams, length), jnp.int32)

    def decode(variables: Any, tokens: jax.Array) -> Any:
        return module.apply(
            variables,
            encoded,
            inputs,
            tokens,
            tokens,
            enable_dropout=False,
            decode=True,
            max_decode_length=length,
            mutable=["cache"],
            method="decode",
        )

    _, state = jax.eval_shape(lambda: decode(variables, empty))
    cache = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), state["cache"])

    def next_logits(tokens: jax.Array, cache: Any) -> tuple[jax.Array, Any]:
        logits, state = decode({**variables, "cache": cache}, tokens)
        return logits[:, 0], state["cache"]

    return decoder.decode(next_logits, cache, count, length, eos_id)


def _logits(
    module: nn.Module, params: Any, batch: Batch, dropout_key: jax.Array | None
) -> Float[Array, "batch targets vocab"]:
    logits: Any = module.apply(
        {"params": params},
        batch["encoder_input_tokens"],
        batch["decoder_input_tokens"],
        batch["decoder_target_tokens"],
        enable_dropout=dropout_key is not None,
        rngs=None if dropout_key is None else {"dropout": dropout_key},
    )
    return logits


def _targets(
    batch: Batch,
) -> tuple[Int[Array, "batch targets"], Float[Array, "batch targets"]]:
    weights = jnp.asarray(batch["decoder_loss_weights"], jnp.float32)
    return jnp.asarray(batch["decoder_target_tokens"]), weights


def _log_likelihood(
    logits: Float[Array, "batch targets vocab"], targets: Int[Array, "batch targets"]
) -> Float[Array, "batch targets"]:
    log_probabilities = jax.nn.log_softmax(logits)
    return jnp.take_along_axis(log_probabilities, targets[..., None], axis=-1)[..., 0]
