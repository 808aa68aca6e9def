"""`recycle_prompt`: two embedding tables, a prompt, words and a recycler in; the
prompt for the target model, and a report of how it came about, out.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from etils import epath

from prompt_tuning_recycling import model_pair
from prompt_tuning_recycling.checkpoints import (
    EMBEDDING,
    ArrayInMemory,
    Checkpoint,
    open_checkpoint,
)
from prompt_tuning_recycling.prompts import find_prompt, load_prompt
from prompt_tuning_recycling.recyclers import FittedRecycler, Recycler, make
from prompt_tuning_recycling.words import Words

if TYPE_CHECKING:
    from jaxtyping import Float

    ArrayOrCheckpoint: TypeAlias = epath.PathLike | Checkpoint | np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class RecycledPrompt:
    """A prompt carried over to another model.

    Attributes:
      array: float32 [length, target_dim].
      report: how it came about and how far to trust it, JSON-compatible; what is
        written beside the prompt as its provenance (docs/provenance.md).
      fitted: the map that was applied; applies to further prompts, and is saved.
    """

    array: Float[np.ndarray, "length target_dim"]
    report: Mapping[str, Any]
    fitted: FittedRecycler


def recycle_prompt(
    source: ArrayOrCheckpoint,
    target: ArrayOrCheckpoint,
    prompt: ArrayOrCheckpoint | None = None,
    *,
    words: Words | None = None,
    recycler: str | Recycler = "v2v-lin",
    embedding: str = EMBEDDING,
    prompt_name: str | None = None,
) -> RecycledPrompt:
    """Carries a prompt that was tuned on the source model over to the target model.

    Args:
      source: the model the prompt was tuned on: a checkpoint, a path to one (see
        `open_checkpoint`), or its embedding table [vocabulary, source_dim].
      target: the model the prompt is wanted for, likewise.
      prompt: a numpy file, a checkpoint, a path, or an array [length, source_dim];
        by default the prompt inside `source`.
      words: the vocabulary rows to fit on; by default entries 1000 to 5000 of the
        package's English list for the T5 vocabulary.
      recycler: a recycler, or its name.
      embedding: the embedding table's name in the checkpoints.
      prompt_name: the prompt's name in its checkpoint; see `load_prompt`.

    Returns:
      The recycled prompt, float32 [length, target_dim], its report and the map.

    Raises:
      RecyclingError: anything given cannot be used; says what and why.
    """
    started = time.monotonic()
    recycler = make(recycler)
    words = words if words is not None else Words.from_list()
    source = _opened(source)
    target = _opened(target)
    prompt_from = source if prompt is None else _opened(prompt)
    prompt_name = prompt_name or find_prompt(prompt_from)
    model_pair.check_tables(source, target, embedding)
    model_pair.check_width(source, embedding, prompt_from, prompt_name)

    tuned = load_prompt(prompt_from, prompt_name)
    (pair,) = model_pair.read_pairs(source, target, [words], embedding)
    read = time.monotonic()

    fitted, residual = pair.fit(recycler)
    recycled = fitted.apply(tuned)
    done = time.monotonic()

    fit_report = pair.fit_report(fitted, residual)
    report = {
        **pair.prompt_report(fit_report, prompt_from, prompt_name, tuned, recycled),
        "seconds": {
            "read": round(read - started, 3),
            "fit_and_apply": round(done - read, 3),
        },
    }
    return RecycledPrompt(recycled, report, fitted)


def _opened(origin: ArrayOrCheckpoint) -> Checkpoint:
    if isinstance(origin, Checkpoint):
        return origin
    if isinstance(origin, (str, os.PathLike)):
        return open_checkpoint(origin)
    return ArrayInMemory(np.asarray(origin))
