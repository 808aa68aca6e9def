"""The initial prompt that the gin files declare, as a Flax initializer for other
packages' prompt modules: `prompts.Prompt.prompt_init = @initializers.recycled()`.

T5X calls initializers many times, always inside a trace, even when the parameter was
restored. So this one only stages a call to the host, which runs when the value is
really needed, and makes the prompt once per process.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import gin
import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from prompt_tuning_recycling import initial_prompts
from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.kept_prompts import Keeping, make_prompts
from prompt_tuning_recycling.models import open_model
from prompt_tuning_recycling.models.layouts.t5x import PROMPT

if TYPE_CHECKING:
    from jaxtyping import Float

Initializer: TypeAlias = Callable[..., jax.Array]

logger = logging.getLogger(__name__)

_made: dict[str, np.ndarray] = {}
_making = threading.Lock()


@gin.register(module="prompt_tuning_recycling.t5x_host.initializers")
def recycled(
    target_checkpoint: epath.PathLike | None = None,
    output_dir: epath.PathLike | None = None,
) -> Initializer:
    """Returns an initializer whose value is the prompt that the gin files declare,
    as `recycle_init.gin` does.

    Args:
      target_checkpoint: the model that the prompt is for.
      output_dir: the run's folder, which keeps a recycled prompt and its record; None
        to keep neither.

    Raises:
      RecyclingError: nothing is declared. JAX raises later errors, with the message of
        the RecyclingError in them.
    """
    kind = initial_prompts.initial_prompt()
    if kind is None or target_checkpoint is None:
        missing = "a prompt" if kind is None else "recycled.target_checkpoint"
        raise RecyclingError(
            f"initializers.recycled: {missing} is not declared. Add "
            "--gin_file=recycle_init.gin and recycle_as_initializer.gin."
        )

    def initialize(
        key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32
    ) -> Float[jax.Array, "length width"]:
        """Returns the prompt; `key` is not used.

        Args:
          key: the kind of prompt and its seed decide what is random instead.
          shape: the prompt's shape, [length, width].
          dtype: the prompt's dtype.
        """
        del key
        shape = tuple(shape)

        def on_host() -> np.ndarray:
            prompt = _make_once(kind, target_checkpoint, output_dir, shape)
            return prompt.astype(dtype)

        return jax.pure_callback(on_host, jax.ShapeDtypeStruct(shape, dtype))

    return initialize


def _make_once(
    kind: initial_prompts.InitialPrompt,
    target_checkpoint: epath.PathLike,
    output_dir: epath.PathLike | None,
    shape: tuple[int, ...],
) -> np.ndarray:
    wanted = repr((kind, str(target_checkpoint), shape))
    with _making:
        if wanted not in _made:
            made = make_prompts(
                {PROMPT: kind},
                {PROMPT: shape},
                open_model(target_checkpoint),
                None if output_dir is None else Keeping(output_dir),
            )
            _made[wanted] = made[PROMPT]
        return _made[wanted]
