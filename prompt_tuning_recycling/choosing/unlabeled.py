"""Inputs of a task without their labels: what prompts are scored on to choose one."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import seqio

from prompt_tuning_recycling.errors import RecyclingError

if TYPE_CHECKING:
    import tensorflow as tf
    from jaxtyping import Int

    Tokens = Int[np.ndarray, " tokens"]

logger = logging.getLogger(__name__)

# How many inputs are read for each one that is drawn, so that the choice does not hang
# on the first lines of a file that may be sorted.
_READ_PER_DRAWN = 64
# A label set counts as the task's own if this many examples have it.
_SAME_CHOICES = 16
# Examples that TensorFlow hands over at once.
_BATCH = 256
_RANKING = "ranking"
# The lengths are those of the data; checking them would take half of the time.
_CONVERTER = functools.partial(seqio.EncDecFeatureConverter, apply_length_check=False)


@dataclasses.dataclass(frozen=True, eq=False)
class Unlabeled:
    """Inputs, each with the texts that a model is to rank.

    Attributes:
      inputs: token ids of each input, with EOS.
      choices: token ids of each input's choices, with EOS; in a task without choices,
        they are empty until `with_answers` fills in the teacher's answers.
      features: the task's features, for batches.
      origin: where the inputs come from, JSON-compatible.
    """

    inputs: Sequence[Tokens]
    choices: Sequence[Sequence[Tokens]]
    features: Mapping[str, seqio.Feature]
    origin: Mapping[str, Any]

    @property
    def has_choices(self) -> bool:
        """Whether there is something to rank."""
        return all(self.choices)

    @property
    def has_same_choices(self) -> bool:
        """Whether all inputs rank the same texts, in the same order."""
        return all(_equal(choices, self.choices[0]) for choices in self.choices)

    @property
    def sizes(self) -> list[int]:
        """How many choices each input has."""
        return [len(choices) for choices in self.choices]

    @property
    def digest(self) -> str:
        """SHA-256 of all tokens, as hexadecimal digits. It tells whether scores belong
        to these inputs.
        """
        found = hashlib.sha256()
        for tokens, choices in zip(self.inputs, self.choices, strict=True):
            for part in (tokens, *choices):
                found.update(np.asarray(part, "<i8").tobytes() + b"|")
            found.update(b"\n")
        return found.hexdigest()

    def with_answers(self, answers: Sequence[Tokens]) -> Unlabeled:
        """Returns the same inputs with one text for each: what the teacher answers."""
        return dataclasses.replace(self, choices=[(answer,) for answer in answers])

    def tokens(self) -> list[int]:
        """Returns how many tokens each text has that is ranked, input by input."""
        return [len(choice) for choices in self.choices for choice in choices]

    def dataset(
        self,
        answer_length: int | None = None,
        converter_cls: Callable[..., Any] = _CONVERTER,
    ) -> tf.data.Dataset:
        """Returns numbered examples for a model: (number, features), one for each
        choice of each input. All have the same lengths.

        Args:
          answer_length: if given, one example for each input, with room for an answer
            of so many tokens instead of a choice.
          converter_cls: seqio's class that makes the model's features.
        """
        import tensorflow as tf

        if answer_length is None:
            pairs = [
                (tokens, choice)
                for tokens, choices in zip(self.inputs, self.choices, strict=True)
                for choice in choices
            ]
        else:
            empty = np.ones(answer_length, np.int32)
            pairs = [(tokens, empty) for tokens in self.inputs]
        lengths = {
            "inputs": max(len(tokens) for tokens, _ in pairs),
            "targets": max(len(tokens) for _, tokens in pairs),
        }
        one = tf.RaggedTensor.from_row_splits
        columns = {
            name: one(
                np.concatenate(rows).astype(np.int32),
                np.cumsum([0, *map(len, rows)]).astype(np.int64),
            )
            for name, rows in zip(lengths, zip(*pairs, strict=True), strict=True)
        }
        plain = tf.data.Dataset.from_tensor_slices(columns).map(
            lambda row: {name: tf.ensure_shape(row[name], [None]) for name in lengths}
        )
        converted = converter_cls(pack=False)(plain, task_feature_lengths=lengths)
        return converted.apply(
            tf.data.experimental.assert_cardinality(len(pairs))
        ).enumerate()


def read(
    task_name: str,
    number: int = 32,
    split: str = "train",
    *,
    lengths: Mapping[str, int] | None = None,
    use_cached: bool = False,
    seed: int = 0,
) -> Unlabeled:
    """Draws inputs of a task, without looking at their labels.

    The texts to rank are those of the task's rank classification. If that has no such
    split, but ranks the same texts for all inputs, the inputs are those of another task
    of the mixture.

    Args:
      task_name: a seqio task or mixture.
      number: how many inputs; all if the split has fewer.
      split: the split to draw them from.
      lengths: feature -> how many tokens to cut it at; None for no limit.
      use_cached: whether to read what seqio cached earlier.
      seed: the seed of the drawing.

    Raises:
      RecyclingError: no task has such a split, or it is empty.
    """
    tasks = seqio.get_subtasks(seqio.get_mixture_or_task(task_name))
    with_split = [task for task in tasks if split in task.splits]
    if not with_split:
        known = dict.fromkeys(name for task in tasks for name in task.splits)
        raise RecyclingError(
            f"UNLABELED_SPLIT: {task_name} has no split {split!r}. Expected one of "
            f"{', '.join(known)}."
        )

    def dataset(task: seqio.Task, of_split: str) -> tf.data.Dataset:
        return task.get_dataset(
            sequence_length=lengths,
            split=of_split,
            shuffle=False,
            use_cached=use_cached,
        )

    datasets = {task.name: dataset(task, split) for task in with_split}
    ranking = [task for task in with_split if _ranks(datasets[task.name])]
    task = (ranking or with_split)[0]
    if ranking:
        pairs = _grouped(datasets[task.name])
    else:
        choices = _choices_of_all(
            dataset(one, each) for one in tasks for each in one.splits
        )
        examples = _examples(datasets[task.name], ["inputs"])
        pairs = ((inputs, choices) for (inputs,) in examples)
    # An input counts once, although some tasks make an example of each right answer.
    different = {
        pair[0].tobytes(): pair
        for pair in itertools.islice(pairs, _READ_PER_DRAWN * number)
    }
    found = list(different.values())
    if not found:
        raise RecyclingError(f"the split {split!r} of {task.name} has no inputs.")
    if len(found) < number:
        logger.warning(
            "warning: %s has only %d inputs in the split %s; expected %d.",
            task.name,
            len(found),
            split,
            number,
        )
    rng = np.random.default_rng(seed)
    rows = rng.choice(len(found), min(number, len(found)), replace=False)
    drawn = [found[row] for row in sorted(rows.tolist())]
    return Unlabeled(
        [tokens for tokens, _ in drawn],
        [choices for _, choices in drawn],
        task.output_features,
        {
            "task": task.name,
            "split": split,
            "inputs": len(drawn),
            "seed": seed,
            "choices": max(len(choices) for _, choices in drawn),
        },
    )


def until_eos(tokens: Int[np.ndarray, " tokens"], eos_id: int) -> np.ndarray:
    """Returns tokens up to the first EOS, with it; one EOS if there are none."""
    tokens = np.asarray(tokens, np.int32)
    ends = np.flatnonzero(tokens == eos_id)
    kept = tokens[: ends[0] + 1] if len(ends) else tokens[tokens != 0]
    return kept if len(kept) else np.array([eos_id], np.int32)


def _ranks(dataset: tf.data.Dataset) -> bool:
    return _RANKING in dataset.element_spec


def _grouped(dataset: tf.data.Dataset) -> Iterator[tuple[Tokens, list[Tokens]]]:
    """Yields each input with its choices. Of `ranking` (see tasks/rank_classification),
    only the choice's number and the count are used, not whether it is right.
    """
    choices: list[Tokens] = []
    columns = ["inputs", "targets", _RANKING]
    for inputs, targets, ranking in _examples(dataset, columns):
        _, choice, _, count = (int(part) for part in ranking)
        choices = [*choices, targets] if choice else [targets]
        if len(choices) == count:
            yield inputs, choices


def _examples(
    dataset: tf.data.Dataset, features: Sequence[str]
) -> Iterator[tuple[np.ndarray, ...]]:
    """Yields some features of each example. They are read in batches: TensorFlow takes
    longer to hand over an example than to make it.
    """
    rows = dataset.map(lambda example: tuple(example[name] for name in features))
    for batch in rows.ragged_batch(_BATCH):
        yield from zip(*(column.numpy() for column in batch), strict=True)


def _choices_of_all(datasets: Iterable[tf.data.Dataset]) -> list[Tokens]:
    """Returns the texts that one of the datasets ranks for every input; none if they
    differ, or if no dataset ranks.
    """
    for dataset in filter(_ranks, datasets):
        groups = itertools.islice(_grouped(dataset), _SAME_CHOICES)
        sets = [choices for _, choices in groups]
        if sets and all(_equal(choices, sets[0]) for choices in sets):
            return sets[0]
    return []


def _equal(one: Sequence[Tokens], other: Sequence[Tokens]) -> bool:
    return len(one) == len(other) and all(map(np.array_equal, one, other))
