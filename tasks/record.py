"""ReCoRD: which entity of a news text a query leaves out.

Zhang et al. 2018, https://arxiv.org/abs/1810.12885, as part of SuperGLUE (Wang et al.
2019, https://arxiv.org/abs/1905.00537). Several entities may be correct.

| task | split | from TFDS |
|---|---|---|
| `pr:super_glue_record_v102_training` | train, validation | `train[:-10000]`, `train[-10000:]` |
| `pr:super_glue_record_v102_test`, generation | validation | validation |
| `pr:super_glue_record_v102_rc`, rank classification of the entities | validation | validation |

Mixtures: `pr:super_glue_record_v102` has all three, `pr:super_glue_record_v102_eval` has
the last two.
"""  # noqa: E501

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING

import seqio

from prompt_tuning_recycling.tasks import (
    classification,
    features,
    metrics,
    postprocessors,
    preprocessors,
    rank_classification,
    sources,
)

if TYPE_CHECKING:
    import tensorflow as tf

_NAME = "pr:super_glue_record_v102"
_TFDS = "super_glue/record:1.0.2"


@seqio.map_over_dataset
def text(example: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Makes `inputs`: `query: ... entities: a, b passage: ...`.

    The passage's bullet points, which are lines after `@highlight`, become sentences.

    Args:
      example: a TFDS example with `passage`, `query`, `entities`, `answers` and `idx`.

    Returns:
      `inputs`, `answers` and `idx/...`; `choices` and `correct` for rank
      classification.
    """
    import tensorflow as tf

    highlight = "\n@highlight\n"
    passage = tf.strings.regex_replace(
        example["passage"], rf"([.?!\"']){highlight}", r"\1 "
    )
    passage = tf.strings.regex_replace(passage, highlight, ". ")
    entities = example["entities"]
    parts = [
        "query:",
        example["query"],
        "entities:",
        tf.strings.reduce_join(entities, separator=", "),
        "passage:",
        passage,
    ]
    is_answer = entities[:, None] == example["answers"][None, :]
    return {
        "inputs": tf.strings.join(parts, separator=" "),
        "answers": example["answers"],
        "choices": entities,
        "correct": tf.reduce_any(is_answer, axis=1),
        "idx/passage": example["idx"]["passage"],
        "idx/query": example["idx"]["query"],
    }


def _add_generation(name: str, source: seqio.DataSource) -> None:
    features.add_task(
        name,
        source=source,
        preprocessors=[
            text,
            preprocessors.one_per_answer,
            *classification.TOKENIZE,
        ],
        postprocess_fn=functools.partial(
            postprocessors.all_answers, number=("idx/passage", "idx/query")
        ),
        metric_fns=[metrics.squad],
    )


_add_generation(
    f"{_NAME}_training",
    sources.TfdsSource(
        _TFDS, {"train": "train[:-10000]", "validation": "train[-10000:]"}
    ),
)
_add_generation(f"{_NAME}_test", sources.TfdsSource(_TFDS, ["validation"]))
features.add_task(
    f"{_NAME}_rc",
    source=sources.TfdsSource(_TFDS, ["validation"]),
    preprocessors=[
        text,
        rank_classification.one_per_choice,
        *classification.TOKENIZE,
    ],
    postprocess_fn=rank_classification.keep_ranking,
    metric_fns=rank_classification.METRICS,
)
seqio.MixtureRegistry.add(
    _NAME, [f"{_NAME}_{part}" for part in ("training", "test", "rc")], default_rate=1
)
seqio.MixtureRegistry.add(
    f"{_NAME}_eval", [f"{_NAME}_{part}" for part in ("test", "rc")], default_rate=1
)
