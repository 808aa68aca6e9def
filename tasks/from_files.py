"""Tasks from your own files, registered by gin without any Python.

    --gin_file=tasks/from_files.gin
    --gin.TASK_NAME="'reviews'"
    --gin.TASK_FILES="{'train': 'train.tsv', 'validation': 'dev.tsv'}"
    --gin.VERBALIZERS="('negative', 'positive')"

`text_files.read_examples` describes the files. The name becomes the name of a mixture:

| task | splits | |
|---|---|---|
| `<name>_generation` | all | generates a target; accurate if it equals any of them |
| `<name>_rank_classification`, if there are choices | all but train | ranks them |

so training uses the right answers only, and evaluation uses both tasks.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import gin
import seqio
from etils import epath

from prompt_tuning_recycling.errors import RecyclingError, did_you_mean
from prompt_tuning_recycling.files import as_path
from prompt_tuning_recycling.tasks import (
    classification,
    features,
    metrics,
    postprocessors,
    preprocessors,
    rank_classification,
)
from prompt_tuning_recycling.tasks.text_files import Example, read_examples

if TYPE_CHECKING:
    import tensorflow as tf

GENERATION, RANKING = "generation", "rank_classification"


@dataclasses.dataclass(frozen=True)
class _Files:
    """The files with the examples, and the texts of their labels."""

    paths: tuple[tuple[str, tuple[str, ...]], ...]
    verbalizers: tuple[tuple[str, str], ...] | None

    def dataset(
        self, split: str, shuffle_files: bool, seed: int | None = None
    ) -> tf.data.Dataset:
        return _dataset(self._examples(split))

    def ranked_dataset(
        self, split: str, shuffle_files: bool, seed: int | None = None
    ) -> tf.data.Dataset:
        examples = self._examples(split)
        for example in examples:
            if not example.choices:
                raise RecyclingError(
                    f"{example.place}: there are no choices to rank, but other lines "
                    "have choices."
                )
        return _dataset(examples)

    def evaluated_splits(self) -> list[str]:
        """All splits but train, whose wrong choices must not be learned."""
        return [split for split, _ in self.paths if split != "train"]

    def ranked(self) -> bool:
        """Whether there are choices: without verbalizers, the first line decides."""
        splits = self.evaluated_splits()
        if self.verbalizers or not splits:
            return bool(splits)
        return bool(read_examples(dict(self.paths)[splits[0]][0])[0].choices)

    def _examples(self, split: str) -> list[Example]:
        examples = [
            self._verbalized(example)
            for path in dict(self.paths)[split]
            for example in read_examples(path)
        ]
        pieces = functools.cache(_pieces(features.vocabulary()))
        if self.verbalizers:
            _check_apart([text for _, text in self.verbalizers], "VERBALIZERS", pieces)
        for example in examples:
            _check_apart(example.choices or (), f"{example.place}: choices", pieces)
        return examples

    def _verbalized(self, example: Example) -> Example:
        targets, choices = example.targets, example.choices
        if self.verbalizers:
            texts = dict(self.verbalizers)
            for target in targets:
                if target not in texts:
                    raise RecyclingError(
                        f"{example.place}: VERBALIZERS has no text for the label "
                        f"{target!r}." + did_you_mean(target, texts)
                    )
            targets = tuple(texts[target] for target in targets)
            choices = choices or tuple(texts.values())
        if choices is not None and not set(targets) & set(choices):
            raise RecyclingError(
                f"{example.place}: expected a target that is one of the choices, found "
                f"{', '.join(targets)} and the choices {', '.join(choices)}."
            )
        return dataclasses.replace(example, targets=targets, choices=choices)


def _pieces(vocabulary: seqio.Vocabulary) -> Callable[[str], tuple[int, ...]]:
    return lambda text: tuple(vocabulary.encode(text))


def _spaced(text: str) -> str:
    """Removes spaces as a vocabulary does: none at the ends, single ones between."""
    return " ".join(text.split())


def _check_apart(
    texts: Sequence[str], what: str, key: Callable[[str], Hashable]
) -> None:
    """Refuses texts that the model sees as the same, since their scores are equal."""
    seen: dict[Hashable, str] = {}
    for text in texts:
        if (known := key(text)) in seen:
            raise RecyclingError(
                f"{what}: {seen[known]!r} and {text!r} are the same to the model, "
                f"{known!r}, so their scores cannot differ. Choose texts that differ "
                "in the model's vocabulary."
            )
        seen[known] = text


def _dataset(examples: Sequence[Example]) -> tf.data.Dataset:
    import tensorflow as tf

    text, texts = tf.TensorSpec([], tf.string), tf.TensorSpec([None], tf.string)
    return tf.data.Dataset.from_generator(
        functools.partial(_records, examples),
        output_signature={
            "inputs": text,
            "answers": texts,
            "choices": texts,
            "correct": tf.TensorSpec([None], tf.bool),
            "number": tf.TensorSpec([], tf.int64),
        },
    )


def _records(examples: Sequence[Example]) -> Iterator[dict[str, Any]]:
    for number, example in enumerate(examples):
        choices = example.choices or ()
        yield {
            "inputs": example.inputs,
            "answers": list(example.targets),
            "choices": list(choices),
            "correct": [choice in example.targets for choice in choices],
            "number": number,
        }


class _Source(seqio.FunctionDataSource):
    """A seqio source that remembers the files that it reads."""

    def __init__(
        self, files: _Files, read: Callable[..., tf.data.Dataset], splits: Sequence[str]
    ) -> None:
        super().__init__(read, splits=splits)
        self.files = files


# A host locks its gin configuration before it imports this module.
with gin.unlock_config():

    @gin.configurable(module="prompt_tuning_recycling.tasks.from_files")
    def mixture(
        name: str,
        files: Mapping[str, epath.PathLike | Sequence[epath.PathLike]],
        verbalizers: Sequence[str] | Mapping[str, str] | None = None,
        evaluate_by: str | None = None,
    ) -> str:
        """Registers the tasks and the mixture, unless they are already registered.

        Args:
          name: the mixture's name.
          files: split -> one file or several, relative to the current folder.
          verbalizers: the text of each label: a sequence if the labels are 0, 1, ...,
            else label -> text. They are the choices for lines without choices. None if
            the files contain the texts.
          evaluate_by: `generation` or `rank_classification` to evaluate by that one
            only; None for both.

        Returns:
          The name.

        Raises:
          RecyclingError: a file is missing, something else has the name, there are no
            choices to rank, or two labels have the same text.
        """
        source = _Files(_paths(files), _texts(verbalizers))
        if evaluate_by not in (None, GENERATION, RANKING):
            raise RecyclingError(
                f"TASK_EVALUATION: expected {GENERATION!r}, {RANKING!r} or None, found "
                f"{evaluate_by!r}."
            )
        if name in (*seqio.MixtureRegistry.names(), *seqio.TaskRegistry.names()):
            _check_same(name, source)
            return name
        ranked = source.ranked()
        if evaluate_by == RANKING and not ranked:
            raise RecyclingError(
                f"{name}: there are no choices to rank. Expected VERBALIZERS, or "
                "choices in the files, and a split other than train."
            )
        tasks = [_add_generation(name, source, evaluate_by != RANKING)]
        if ranked and evaluate_by != GENERATION:
            tasks.append(_add_ranking(name, source))
        seqio.MixtureRegistry.add(name, tasks, default_rate=1)
        return name


def _add_generation(name: str, files: _Files, evaluated: bool) -> str:
    name = f"{name}_{GENERATION}"
    features.add_task(
        name,
        source=_Source(files, files.dataset, [split for split, _ in files.paths]),
        preprocessors=[preprocessors.one_per_answer, *classification.TOKENIZE],
        postprocess_fn=functools.partial(
            postprocessors.all_answers, number=("number",)
        ),
        metric_fns=[metrics.exact_match] if evaluated else [],
    )
    return name


def _add_ranking(name: str, files: _Files) -> str:
    name = f"{name}_{RANKING}"
    features.add_task(
        name,
        source=_Source(files, files.ranked_dataset, files.evaluated_splits()),
        preprocessors=[rank_classification.one_per_choice, *classification.TOKENIZE],
        postprocess_fn=rank_classification.keep_ranking,
        metric_fns=rank_classification.METRICS,
    )
    return name


def _check_same(name: str, files: _Files) -> None:
    """Allows repeated calls: gin registers the task each time its name is used."""
    sources = [
        task.source for task in seqio.get_subtasks(seqio.get_mixture_or_task(name))
    ]
    if not any(isinstance(it, _Source) and it.files == files for it in sources):
        raise RecyclingError(
            f"TASK_NAME: there is another task or mixture {name!r}. Choose a "
            "different name."
        )


def _paths(
    files: Mapping[str, epath.PathLike | Sequence[epath.PathLike]],
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    if not isinstance(files, Mapping) or not files:
        raise RecyclingError(
            "TASK_FILES: expected a file for each split, as in --gin.TASK_FILES="
            f"\"{{'train': 'train.tsv', 'validation': 'dev.tsv'}}\", found {files!r}."
        )
    paths = []
    for split, given in files.items():
        several = [given] if isinstance(given, str | os.PathLike) else list(given)
        for path in several:
            if not as_path(path).is_file():
                raise RecyclingError(
                    f"TASK_FILES: there is no file {path} for the split {split}."
                )
        paths.append((split, tuple(map(str, several))))
    return tuple(paths)


def _texts(
    verbalizers: Sequence[str] | Mapping[str, str] | None,
) -> tuple[tuple[str, str], ...] | None:
    if verbalizers is None:
        return None
    expected = (
        "VERBALIZERS: expected the texts of two or more labels, as in "
        f"--gin.VERBALIZERS=\"('negative', 'positive')\", found {verbalizers!r}."
    )
    if isinstance(verbalizers, str) or not isinstance(verbalizers, Mapping | Sequence):
        raise RecyclingError(expected)
    given = (
        list(verbalizers.items())
        if isinstance(verbalizers, Mapping)
        else list(enumerate(verbalizers))
    )
    if len(given) < 2 or not all(_is_text(part) for pair in given for part in pair):
        raise RecyclingError(expected)
    labels = [str(label) for label, _ in given]
    if len(set(labels)) < len(labels):
        raise RecyclingError(
            f"VERBALIZERS: a label is there twice, found {verbalizers!r}. Labels are "
            "compared as text, so 1 and '1' are the same."
        )
    texts = [str(text) for _, text in given]
    _check_apart(texts, "VERBALIZERS", _spaced)
    return tuple(zip(labels, texts, strict=True))


def _is_text(value: object) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)
