"""Checks that JAX can compute on the platform it was told to use."""

from __future__ import annotations

import os

from prompt_tuning_recycling.errors import RecyclingError


def check_platform() -> None:
    """Raises RecyclingError if JAX finds no device of the platform that it was told to
    use, for example with `JAX_PLATFORMS=cuda` on a machine without a GPU.

    Call it before the work, because JAX itself looks only when it first computes.
    """
    import jax  # Linear recyclers do not need it.

    try:
        jax.devices()
    # Without a GPU, JAX raises an AssertionError that has no message.
    except (RuntimeError, AssertionError) as error:
        names = ("JAX_PLATFORMS", "JAX_PLATFORM_NAME")
        told = [f"{name}={os.environ[name]}" for name in names if os.environ.get(name)]
        raise RecyclingError(
            f"JAX finds no device to compute on{f' ({error})' if str(error) else ''}. "
            f"It was told to use {' and '.join(told) or 'what it finds'}: unset that, "
            "or set JAX_PLATFORMS=cpu."
        ) from error
