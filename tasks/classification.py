"""Registers tasks whose answer is one of a few classes. A task generates the class's
text, or ranks the texts of all classes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import seqio

from prompt_tuning_recycling.tasks import (
    features,
    metrics,
    postprocessors,
    preprocessors,
    rank_classification,
)

# A text that is cut to the task's feature length keeps its end of sequence.
TOKENIZE = (seqio.preprocessors.tokenize, seqio.preprocessors.append_eos_after_trim)


def add_generation(
    name: str,
    source: seqio.DataSource,
    text: Sequence[Callable[..., Any]],
    verbalizers: Sequence[str],
    metric_fns: Sequence[Callable[..., Any]] = (metrics.accuracy,),
) -> None:
    """Registers a task that generates the class's text.

    Args:
      name: the task's name.
      source: the source of its examples.
      text: preprocessors that make `inputs` and `targets` from the examples.
      verbalizers: the text of each class.
      metric_fns: metrics of class numbers.
    """
    features.add_task(
        name,
        source=source,
        preprocessors=[*text, *TOKENIZE],
        postprocess_fn=functools.partial(
            postprocessors.class_number, verbalizers=verbalizers
        ),
        metric_fns=metric_fns,
    )


def add_ranking(
    name: str,
    source: seqio.DataSource,
    text: Sequence[Callable[..., Any]],
    verbalizers: Sequence[str],
    metric_fns: Sequence[Callable[..., Any]] = rank_classification.METRICS,
) -> None:
    """Registers a task that ranks all classes' texts; see `add_generation`."""
    features.add_task(
        name,
        source=source,
        preprocessors=[
            *text,
            functools.partial(
                preprocessors.choices_from_verbalizers, verbalizers=verbalizers
            ),
            rank_classification.one_per_choice,
            *TOKENIZE,
        ],
        postprocess_fn=rank_classification.keep_ranking,
        metric_fns=metric_fns,
    )
