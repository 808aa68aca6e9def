"""The parameters of a model on their way into another format."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from prompt_tuning_recycling.models import Model, StoredArray
from prompt_tuning_recycling.models.formats.writing import Unwritten
from prompt_tuning_recycling.models.layouts.hugging_face.t5_made import (
    EMBEDDING,
    OUTPUT,
)
from prompt_tuning_recycling.network import T5Config, Transformer
from prompt_tuning_recycling.standalone import parameters

_ROWS_AT_ONCE = 4096


def check(config: T5Config, found: Mapping[str, StoredArray], where: str) -> None:
    """Raises RecyclingError unless these are all the parameters of that network, and
    no others.
    """
    expected = parameters.shapes(Transformer(config))
    shapes = {name: array.shape for name, array in found.items()}
    hint = " Expected the parameters of a T5 model, all of them and no others."
    parameters.check_shapes(expected, shapes, where, hint)


def is_its_table(model: Model) -> bool:
    """Whether the output layer of a model is its embedding table, number for number."""
    table, output = model.parameters[EMBEDDING], model.parameters[OUTPUT]
    if output.dtype != table.dtype:
        return False
    if output.name == table.name:
        return True
    # Compared as stored: bits, without a factor.
    rows = dataclasses.replace(output, scale=1.0).read().T
    read = table.read()
    return all(
        np.array_equal(_bits(read[first:after]), _bits(rows[first:after]))
        for first in range(0, len(read), _ROWS_AT_ONCE)
        for after in (first + _ROWS_AT_ONCE,)
    )


def unwritten(
    array: StoredArray, name: str, dtype: np.dtype | None, *, transposed: bool = False
) -> Unwritten:
    """Returns how to write a parameter.

    Args:
      array: the parameter.
      name: its new name.
      dtype: its new dtype; None to keep its own.
      transposed: whether to write its transpose.
    """
    wanted = array.dtype.newbyteorder("<") if dtype is None else dtype

    def read() -> np.ndarray:
        found = array.read().astype(wanted, copy=False)
        return found.T if transposed else found

    shape = array.shape[::-1] if transposed else array.shape
    return Unwritten(name, shape, wanted, read)


def _bits(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).view(np.uint8)
