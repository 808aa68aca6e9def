"""The floating-point dtypes of embeddings and prompts, and their precision."""

from __future__ import annotations

import hashlib
import types
from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np

from prompt_tuning_recycling.errors import RecyclingError

if TYPE_CHECKING:
    from jaxtyping import Shaped

EPS = types.MappingProxyType(
    {
        name: float(ml_dtypes.finfo(name).eps)
        for name in ("float16", "bfloat16", "float32", "float64")
    }
)
"""The dtypes that can be read -> the distance from 1 to the next larger number.

Floats of eight bits or fewer are excluded: they mean little without their scales, which
are stored elsewhere.
"""


def check_floating(dtype: np.dtype, what: str) -> None:
    """Raises RecyclingError unless embeddings or prompts may be stored as `dtype`.

    Args:
      dtype: the dtype, in any byte order.
      what: what is stored in it, and where, for the message.
    """
    if dtype.name in EPS:
        return
    advice = "Did you mean another array?"
    if dtype.name == "uint16":
        advice = (
            "T5X once stored bfloat16 as uint16, and rejects such checkpoints today. "
            "If this is one of them, save array.view(ml_dtypes.bfloat16) and give "
            "that, or give the checkpoint after converting it to bfloat16."
        )
    elif dtype.itemsize == 1 and dtype.kind != "b":
        advice = "Give the model before quantization."
    raise RecyclingError(
        f"{what} cannot be used: expected floating-point numbers, found dtype {dtype}. "
        f"These dtypes can be read: {', '.join(EPS)}. {advice}"
    )


def digest(array: Shaped[np.ndarray, ...]) -> str:
    """Returns the SHA-256 of an array's bytes, in row-major order."""
    # As bytes, because hashlib does not take bfloat16.
    data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return hashlib.sha256(data.data).hexdigest()


def coarsest(*dtypes: np.dtype) -> np.dtype:
    """Returns the least precise of these floating-point dtypes."""
    return max(dtypes, key=lambda dtype: EPS[dtype.name])
