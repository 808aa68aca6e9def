"""Whether JAX can compute on what it was told to."""

from __future__ import annotations

import os

from prompt_tuning_recycling.errors import RecyclingError


def check_platform() -> None:
    """Raises RecyclingError if JAX finds no device of the platform that it was told to
    use, as with `JAX_PLATFORMS=cuda` on a machine without a GPU.

    To be called before the work: JAX itself looks when it first computes.
    """
    import jax  # Linear recyclers do without it.

    try:
        jax.devices()
    # An assertion, without a word, is what it has where no GPU is plugged in.
    except (RuntimeError, AssertionError) as error:
        names = ("JAX_PLATFORMS", "JAX_PLATFORM_NAME")
        told = [f"{name}={os.environ[name]}" for name in names if os.environ.get(name)]
        raise RecyclingError(
            f"JAX finds no device to compute on{f' ({error})' if str(error) else ''}. "
            f"It was told to use {' and '.join(told) or 'what it finds'}: unset that, "
            "or set JAX_PLATFORMS=cpu."
        ) from error
