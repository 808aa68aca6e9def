"""Decoding: turns a function that gives the next token's logits into sequences."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import gin
import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int

    NextLogits: TypeAlias = Callable[
        [Int[Array, "rows 1"], Any], tuple[Float[Array, "rows vocab"], Any]
    ]

_MODULE = "prompt_tuning_recycling.standalone.decoding"
_NEVER = -1.0e7


class Decoder(abc.ABC):
    """A way of decoding. Subclasses are frozen dataclasses; their fields are their
    gin parameters.

    Attributes:
      num_decodes: how many sequences are followed at a time for each example.
    """

    num_decodes: int

    @abc.abstractmethod
    def decode(
        self, next_logits: NextLogits, cache: Any, batch: int, length: int, eos_id: int
    ) -> tuple[Int[Array, "batch length"], Float[Array, " batch"]]:
        """Returns each example's best sequence and its score. A sequence that is
        shorter than `length` ends with `eos_id`, followed by zeros.

        Args:
          next_logits: takes each row's latest token (0 at first) and the cache;
            returns the next token's logits and the new cache. Row
            `i * num_decodes + j` is sequence j of example i.
          cache: a pytree of scalars, and of arrays whose first axis is the rows.
          batch: the number of examples.
          length: the most tokens in a sequence, including `eos_id`.
          eos_id: the token that ends a sequence.
        """


@gin.register(module=_MODULE)
@dataclasses.dataclass(frozen=True)
class Greedy(Decoder):
    """Takes the likeliest token at each step. The score is the log-likelihood."""

    @property
    def num_decodes(self) -> int:  # type: ignore[override]
        return 1

    def decode(
        self, next_logits: NextLogits, cache: Any, batch: int, length: int, eos_id: int
    ) -> tuple[Int[Array, "batch length"], Float[Array, " batch"]]:
        def step(carry: tuple[Any, ...], _: None) -> tuple[Any, jax.Array]:
            token, done, score, cache = carry
            logits, cache = next_logits(token[:, None], cache)
            log_probabilities = jax.nn.log_softmax(logits)
            token = jnp.where(done, 0, log_probabilities.argmax(axis=-1))
            gained = jnp.take_along_axis(log_probabilities, token[:, None], 1)[:, 0]
            score += jnp.where(done, 0.0, gained)
            return (token, done | (token == eos_id), score, cache), token

        start = (
            jnp.zeros(batch, jnp.int32),
            jnp.zeros(batch, bool),
            jnp.zeros(batch, jnp.float32),
            cache,
        )
        (_, _, score, _), tokens = jax.lax.scan(step, start, length=length)
        return tokens.T, score


@gin.register(module=_MODULE)
@dataclasses.dataclass(frozen=True)
class BeamSearch(Decoder):
    """Beam search with the length penalty of Wu et al. 2016 (arXiv 1609.08144, eq.
    14): log-likelihood / ((5 + length) / 6)^alpha. T5X's default, with one beam.

    Attributes:
      num_decodes: the number of beams.
      alpha: the strength of the penalty; 0 for none.
    """

    num_decodes: int = 1
    alpha: float = 0.6

    def decode(
        self, next_logits: NextLogits, cache: Any, batch: int, length: int, eos_id: int
    ) -> tuple[Int[Array, "batch length"], Float[Array, " batch"]]:
        beams = self.num_decodes
        start = (
            # The sequences being extended and their scores; at first one per example.
            jnp.zeros((batch, beams, length), jnp.int32),
            jnp.tile(jnp.array([0.0] + [_NEVER] * (beams - 1)), (batch, 1)),
            # The best sequences that have ended, and their scores.
            jnp.zeros((batch, beams, length), jnp.int32),
            jnp.full((batch, beams), _NEVER),
            cache,
            jnp.zeros((), jnp.int32),
        )

        def unfinished(state: tuple[Any, ...]) -> jax.Array:
            _, live_scores, _, ended_scores, _, index = state
            # The divisor grows with the length, so no live sequence can score better.
            reachable = live_scores.max(axis=1) / self._penalty(length)
            return (index < length) & ~jnp.all(ended_scores.min(axis=1) > reachable)

        def step(state: tuple[Any, ...]) -> tuple[Any, ...]:
            live, live_scores, ended, ended_scores, cache, index = state
            before = jnp.where(index == 0, 0, live[:, :, index - 1])
            logits, cache = next_logits(before.reshape(-1, 1), cache)
            log_probabilities = jax.nn.log_softmax(logits).reshape(batch, beams, -1)
            vocabulary = log_probabilities.shape[-1]
            scores = live_scores[:, :, None] + log_probabilities
            # Twice the beams: even if half of them end, enough are left to extend.
            scores, chosen = jax.lax.top_k(scores.reshape(batch, -1), 2 * beams)
            parents, tokens = chosen // vocabulary, chosen % vocabulary
            extended = _of(live, parents).at[:, :, index].set(tokens)
            ends = tokens == eos_id

            live_scores, kept = jax.lax.top_k(jnp.where(ends, _NEVER, scores), beams)
            live = _of(extended, kept)
            cache = _reordered(cache, _of(parents, kept), batch, beams)

            penalized = jnp.where(ends, scores / self._penalty(index + 1), _NEVER)
            every = jnp.concatenate([ended, extended], axis=1)
            every_score = jnp.concatenate([ended_scores, penalized], axis=1)
            ended_scores, kept = jax.lax.top_k(every_score, beams)
            return live, live_scores, _of(every, kept), ended_scores, cache, index + 1

        state = jax.lax.while_loop(unfinished, step, start)
        live, live_scores, ended, ended_scores, _, _ = state
        # If none of an example's sequences has ended, the likeliest one is taken.
        has_ended = ended_scores[:, 0] > _NEVER
        tokens = jnp.where(has_ended[:, None], ended[:, 0], live[:, 0])
        return tokens, jnp.where(has_ended, ended_scores[:, 0], live_scores[:, 0])

    def _penalty(self, length: int | jax.Array) -> Any:
        return ((5.0 + length) / 6.0) ** self.alpha


def _of(array: jax.Array, indices: Int[Array, "batch chosen"]) -> jax.Array:
    """Picks along axis 1, by each example's own indices."""
    indices = indices.reshape(*indices.shape, *[1] * (array.ndim - 2))
    return jnp.take_along_axis(array, indices, axis=1)


def _reordered(
    cache: Any, parents: Int[Array, "batch beams"], batch: int, beams: int
) -> Any:
    def reorder(array: jax.Array) -> jax.Array:
        if not array.ndim:
            return array
        by_beam = array.reshape(batch, beams, *array.shape[1:])
        return _of(by_beam, parents).reshape(array.shape)

    return jax.tree.map(reorder, cache)
