"""Writes all that the road needs before its first command: a vocabulary, texts, and gin
files.

  python make_data.py FOLDER

| file | what |
|---|---|
| `vocabulary.model`, `words.json` | a piece for each word of `examples/demo` |
| `pretraining-*.tsv` | questions about reviews, and their answers |
| `topics-*.tsv` | reviews without a question, and their topics, to tune a prompt on |
| `*.gin` | copies of those in `gin/` |
"""

from __future__ import annotations

import pathlib
import random
import shutil
import sys
from collections.abc import Iterable

HERE = pathlib.Path(__file__).resolve().parent
# Only for the language and its vocabulary, which import nothing of the package.
sys.path.insert(0, str(HERE.parents[1]))

from examples.demo import language, vocabulary  # noqa: E402

ASKED = "topic"
SEEDS = {"train": 1, "validation": 2, "test": 3}
PRETRAINING = {"train": 100_000, "validation": 512}
TOPICS = {"train": 4096, "validation": 256, "test": 512}


def main(folder: pathlib.Path) -> None:
    """Writes everything to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in sorted((HERE / "gin").glob("*.gin")):
        shutil.copy(file, folder)
    vocabulary.make(folder / "vocabulary.model")
    for split, count in PRETRAINING.items():
        examples = language.pretraining(SEEDS[split], count)
        _write(folder / f"pretraining-{split}.tsv", examples)
    for split, count in TOPICS.items():
        rng = random.Random(SEEDS[split])
        examples = (language.labeled(rng, ASKED) for _ in range(count))
        choices = language.ATTRIBUTES[ASKED].labels
        _write(folder / f"topics-{split}.tsv", examples, choices)


def _write(
    path: pathlib.Path,
    examples: Iterable[language.Example],
    choices: tuple[str, ...] = (),
) -> None:
    columns = ["inputs", "targets", *(["choices"] if choices else [])]
    rest = ["|".join(choices)] if choices else []
    lines = ["\t".join([*example, *rest]) for example in examples]
    path.write_text("\n".join(["\t".join(columns), *lines]) + "\n")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
