"""SST-2: whether a sentence of a film review is negative or positive.

Socher et al. 2013, as part of GLUE (Wang et al. 2018, https://arxiv.org/abs/1804.07461).

| task | split | from TFDS |
|---|---|---|
| `pr:glue_sst2_v200_train` | train, validation | `train[:-1000]`, `train[-1000:]` |
| `pr:glue_sst2_v200_test`, generation | validation | validation |
| `pr:glue_sst2_v200_test_rc`, rank classification | validation | validation |

Mixtures: `pr:glue_sst2_v200` has all three, `pr:glue_sst2_v200_eval` has the last two.
"""

from __future__ import annotations

import functools

import seqio

from prompt_tuning_recycling.tasks import classification, preprocessors, sources

VERBALIZERS = ("negative", "positive")
_NAME = "pr:glue_sst2_v200"
_TFDS = "glue/sst2:2.0.0"
_TEXT = (
    functools.partial(preprocessors.named_fields, fields=("sentence",)),
    functools.partial(preprocessors.label_as_text, verbalizers=VERBALIZERS),
)

classification.add_generation(
    f"{_NAME}_train",
    sources.TfdsSource(
        _TFDS, {"train": "train[:-1000]", "validation": "train[-1000:]"}
    ),
    _TEXT,
    VERBALIZERS,
)
classification.add_generation(
    f"{_NAME}_test", sources.TfdsSource(_TFDS, ["validation"]), _TEXT, VERBALIZERS
)
classification.add_ranking(
    f"{_NAME}_test_rc", sources.TfdsSource(_TFDS, ["validation"]), _TEXT, VERBALIZERS
)
seqio.MixtureRegistry.add(
    _NAME, [f"{_NAME}_{part}" for part in ("train", "test", "test_rc")], default_rate=1
)
seqio.MixtureRegistry.add(
    f"{_NAME}_eval", [f"{_NAME}_{part}" for part in ("test_rc", "test")], default_rate=1
)
