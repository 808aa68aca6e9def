"""IMDB: whether a film review is negative or positive.

Maas et al. 2011, https://aclanthology.org/P11-1015. The review is the whole input. Each
pair of verbalizers, `0_1` and `negative_positive`, has its own tasks and mixtures:

| task `pr:imdb_v100_<verbalizers>_verbalizers_...` | split | from TFDS |
|---|---|---|
| `train` | train, validation | `train[:-1000]`, `train[-1000:]` |
| `test`, generation | validation | test |
| `test_rc`, rank classification | validation | test |

Mixtures: `pr:imdb_v100_<verbalizers>_verbalizers` has all three; the same name with
`_eval` at its end has the last two.
"""

from __future__ import annotations

import functools

import seqio

from prompt_tuning_recycling.tasks import classification, preprocessors, sources

VERBALIZERS = (("0", "1"), ("negative", "positive"))
_TFDS = "imdb_reviews/plain_text:1.0.0"


def _register(verbalizers: tuple[str, ...]) -> None:
    name = f"pr:imdb_v100_{'_'.join(verbalizers)}_verbalizers"
    text = (
        functools.partial(
            preprocessors.label_as_text, verbalizers=verbalizers, unlabeled="UNK"
        ),
        functools.partial(
            seqio.preprocessors.rekey, key_map={"inputs": "text", "targets": "targets"}
        ),
    )
    classification.add_generation(
        f"{name}_train",
        sources.TfdsSource(
            _TFDS, {"train": "train[:-1000]", "validation": "train[-1000:]"}
        ),
        text,
        verbalizers,
    )
    classification.add_generation(
        f"{name}_test",
        sources.TfdsSource(_TFDS, {"validation": "test"}),
        text,
        verbalizers,
    )
    classification.add_ranking(
        f"{name}_test_rc",
        sources.TfdsSource(_TFDS, {"validation": "test"}),
        text,
        verbalizers,
    )
    evaluation = [f"{name}_test", f"{name}_test_rc"]
    seqio.MixtureRegistry.add(name, [f"{name}_train", *evaluation], default_rate=1)
    seqio.MixtureRegistry.add(f"{name}_eval", evaluation, default_rate=1)


for _verbalizers in VERBALIZERS:
    _register(_verbalizers)
