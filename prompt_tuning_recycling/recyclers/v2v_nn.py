"""`v2v-nn`: a small network between vocabularies."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from prompt_tuning_recycling.accelerators import check_platform
from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.maps import Network
from prompt_tuning_recycling.recyclers import checks, registry
from prompt_tuning_recycling.recyclers.base import Fit, Recycler
from prompt_tuning_recycling.words import WordEmbeddings

# JAX takes most of a second to load, and only this recycler needs it.
if TYPE_CHECKING:
    import jax
    from jaxtyping import Float

    Params = dict[str, jax.Array]

logger = logging.getLogger(__name__)


@registry.register
@dataclasses.dataclass(frozen=True)
class VocabToVocabMLP(Recycler):
    """A network trained to turn the source's embeddings into the target's.

    Adam trains Dense(hidden_scale · target_dim) → ReLU → Dense(target_dim), which
    starts with LeCun-normal weights and zero biases, to minimize the mean of ½(y − t)²
    over words and dimensions. Each epoch goes through the words in a new order. Its
    last batch is smaller if the batch size does not divide the number of words. An
    epoch's loss is the mean over its words. An epoch is one compiled program on JAX's
    default device, in float32, which JAX's persistent cache can keep. The same seed on
    the same device and versions gives the same bits, whatever JAX's configuration.

    A prompt with much larger norms than the word embeddings (tuned prompts often have
    norms larger by orders of magnitude) lies outside what the network was trained on.
    Look at the norms in the record, and compare the result with that of `v2v-lin`.

    Lester et al. 2022 (v2v-nn), https://arxiv.org/abs/2208.05577.

    Attributes:
      hidden_scale: width of the hidden layer as a multiple of the target's width.
      batch_size: words per step; all words if there are fewer.
      learning_rate: Adam's learning rate.
      epochs: number of passes over the words.
      seed: seed of the initial weights and of the order of the words.
    """

    name = "v2v-nn"
    aliases = ("jax-nn",)

    hidden_scale: int = 4
    batch_size: int = 50
    learning_rate: float = 3e-4
    epochs: int = 25
    seed: int = 0

    def __post_init__(self) -> None:
        for field in ("hidden_scale", "batch_size", "epochs"):
            checks.check_whole(field, getattr(self, field))
        checks.check_positive("learning_rate", self.learning_rate)
        if not isinstance(self.seed, int) or not 0 <= self.seed < 2**32:
            raise RecyclingError(
                "expected seed to be a whole number from 0 to 2**32 - 1, got "
                f"{self.seed}."
            )

    def learn(self, source: WordEmbeddings, target: WordEmbeddings) -> Fit:
        import jax

        check_platform()
        words, width = target.array.shape
        with _same_bits():
            params, epoch_losses = _train(
                jax.random.key(self.seed, impl="threefry2x32"),
                source.array.astype(np.float32),
                target.array.astype(np.float32),
                self.learning_rate,
                hidden=self.hidden_scale * width,
                batch_size=min(self.batch_size, words),
                epochs=self.epochs,
            )
        arrays = {name: np.asarray(value) for name, value in params.items()}
        losses = np.asarray(epoch_losses).tolist()
        if not all(np.isfinite(value).all() for value in (losses, *arrays.values())):
            raise RecyclingError(
                f"the training of {self.name} diverged. Lower learning_rate (it is "
                f"{self.learning_rate})."
            )
        logger.info("%s: loss %.6g after %d epochs", self.name, losses[-1], self.epochs)
        diagnostics = {
            "training_loss_by_epoch": losses,
            "training_loss": losses[-1],
            "device": next(iter(epoch_losses.devices())).device_kind,
        }
        return Fit(Network(**arrays), diagnostics)


@contextlib.contextmanager
def _same_bits() -> Iterator[None]:
    """Makes JAX compute the same bits whatever the environment and the caller set."""
    import jax

    with (
        # On accelerators, matrix products default to less precision than float32, which
        # is too coarse for a regression.
        jax.default_matmul_precision("highest"),
        jax.enable_x64(False),
        jax.threefry_partitionable(True),
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
    ):
        yield


def _train(
    key: jax.Array,
    source: Float[np.ndarray, "words source_dim"],
    target: Float[np.ndarray, "words target_dim"],
    learning_rate: float,
    *,
    hidden: int,
    batch_size: int,
    epochs: int,
) -> tuple[Params, jax.Array]:
    """Returns the network's parameters and the mean loss of each epoch [epochs]."""
    import jax

    start, run_epoch = _trainer(
        len(source), source.shape[1], target.shape[1], learning_rate, hidden, batch_size
    )
    source, target = jax.device_put((source, target))
    init_key, order_key = jax.random.split(key)
    state = start(init_key)
    losses = []
    for done, epoch_key in enumerate(jax.random.split(order_key, epochs), start=1):
        state, loss = run_epoch(state, epoch_key, source, target)
        losses.append(loss)
        if done % max(1, epochs // 5) == 0 and done < epochs:
            logger.info("v2v-nn: epoch %d of %d, loss %.6g", done, epochs, loss)
    params, _ = state
    return params, jax.numpy.stack(losses)


@functools.cache
def _trainer(
    words: int,
    source_dim: int,
    target_dim: int,
    learning_rate: float,
    hidden: int,
    batch_size: int,
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Returns two compiled functions, which pairs of models with the same sizes share:
    of a key, the parameters and the optimizer's state that training starts from; and of
    these, an epoch's key and both embeddings, what they are after it and its mean loss.
    """
    import jax
    import jax.numpy as jnp
    import optax

    steps = math.ceil(words / batch_size)
    # A scan needs batches of one shape, so the last one is filled up with words that do
    # not count.
    counts = (np.arange(steps * batch_size) < words).reshape(steps, batch_size)
    optimizer = optax.adam(learning_rate)

    def loss(params: Params, x: jax.Array, y: jax.Array, counts: Any) -> jax.Array:
        layer = jax.nn.relu(x @ params["hidden_kernel"] + params["hidden_bias"])
        prediction = layer @ params["output_kernel"] + params["output_bias"]
        return jnp.mean(optax.l2_loss(prediction, y).mean(axis=1), where=counts)

    @jax.jit
    def start(key: jax.Array) -> Any:
        params = _initial(key, source_dim, hidden, target_dim)
        return params, optimizer.init(params)

    @functools.partial(jax.jit, donate_argnums=0)
    def run_epoch(
        carry: Any, key: jax.Array, source: jax.Array, target: jax.Array
    ) -> Any:
        def step(carry: Any, batch_and_counts: Any) -> Any:
            params, state = carry
            batch, counts = batch_and_counts
            value, gradient = jax.value_and_grad(loss)(
                params, source[batch], target[batch], counts
            )
            updates, state = optimizer.update(gradient, state)
            return (optax.apply_updates(params, updates), state), value

        order = jnp.resize(jax.random.permutation(key, words), counts.shape)
        carry, values = jax.lax.scan(step, carry, (order, counts))
        return carry, jnp.sum(values * counts.sum(axis=1)) / words

    return start, run_epoch


def _initial(key: jax.Array, source_dim: int, hidden: int, target_dim: int) -> Params:
    import jax
    import jax.numpy as jnp

    hidden_key, output_key = jax.random.split(key)
    lecun_normal = jax.nn.initializers.lecun_normal()
    return {
        "hidden_kernel": lecun_normal(hidden_key, (source_dim, hidden), jnp.float32),
        "hidden_bias": jnp.zeros(hidden),
        "output_kernel": lecun_normal(output_key, (hidden, target_dim), jnp.float32),
        "output_bias": jnp.zeros(target_dim),
    }
