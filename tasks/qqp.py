"""QQP: whether two questions asked on Quora are duplicates.

Part of GLUE (Wang et al. 2018, https://arxiv.org/abs/1804.07461). Each pair of
verbalizers (`not_duplicate_duplicate`, `0_1`, `unique_duplicate`, and
`not_spc_duplicate_duplicate`, where `_spc_` is a space) has its own tasks and mixtures:

| task `pr:glue_qqp_v200_<verbalizers>_verbalizers_...` | split | from TFDS |
|---|---|---|
| `training` | train, validation | `train[:-10000]`, `train[-10000:]` |
| `test`, generation | validation | validation |
| `rc`, rank classification | validation | validation |
| `rc_normed`, like `rc`, with `accuracy` and `f1` normalized by length | validation | validation |

`rc` also reports the normalized metrics, from the same inference pass, as
`normed_accuracy` and `normed_f1`; `rc_normed` is for configurations that name it.
Mixtures: `pr:glue_qqp_v200_<verbalizers>_verbalizers` has all four; the same name with
`_eval` at its end has all but `training`.
"""  # noqa: E501

from __future__ import annotations

import functools

import seqio

from prompt_tuning_recycling.tasks import (
    classification,
    metrics,
    preprocessors,
    rank_classification,
    sources,
)

VERBALIZERS = (
    ("not_duplicate", "duplicate"),
    ("0", "1"),
    ("unique", "duplicate"),
    ("not duplicate", "duplicate"),
)
_TFDS = "glue/qqp:2.0.0"


def _register(verbalizers: tuple[str, ...]) -> None:
    names = "_".join(text.replace(" ", "_spc_") for text in verbalizers)
    name = f"pr:glue_qqp_v200_{names}_verbalizers"
    text = (
        functools.partial(
            preprocessors.named_fields, fields=("question1", "question2")
        ),
        functools.partial(preprocessors.label_as_text, verbalizers=verbalizers),
    )
    classification.add_generation(
        f"{name}_training",
        sources.TfdsSource(
            _TFDS, {"train": "train[:-10000]", "validation": "train[-10000:]"}
        ),
        text,
        verbalizers,
        (metrics.f1, metrics.accuracy),
    )
    classification.add_generation(
        f"{name}_test",
        sources.TfdsSource(_TFDS, ["validation"]),
        text,
        verbalizers,
        (metrics.f1, metrics.accuracy),
    )
    classification.add_ranking(
        f"{name}_rc",
        sources.TfdsSource(_TFDS, ["validation"]),
        text,
        verbalizers,
        (*rank_classification.METRICS, *rank_classification.F1_METRICS),
    )
    classification.add_ranking(
        f"{name}_rc_normed",
        sources.TfdsSource(_TFDS, ["validation"]),
        text,
        verbalizers,
        (
            functools.partial(rank_classification.accuracy, by_length=True),
            functools.partial(rank_classification.f1, by_length=True),
        ),
    )
    evaluation = [f"{name}_rc", f"{name}_rc_normed", f"{name}_test"]
    seqio.MixtureRegistry.add(name, [*evaluation, f"{name}_training"], default_rate=1)
    seqio.MixtureRegistry.add(f"{name}_eval", evaluation, default_rate=1)


for _verbalizers in VERBALIZERS:
    _register(_verbalizers)
