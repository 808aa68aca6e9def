"""seqio tasks and mixtures as batches of numpy arrays."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import gin
import numpy as np
import seqio

from prompt_tuning_recycling.errors import RecyclingError, did_you_mean

if TYPE_CHECKING:
    import tensorflow as tf

NumberedBatch: TypeAlias = tuple[np.ndarray, dict[str, np.ndarray]]
"""The examples' numbers, and their features."""


@gin.register(module="prompt_tuning_recycling.standalone.data")
@dataclasses.dataclass(frozen=True)
class DatasetConfig:
    """Which data to read, and how. The names are those of T5X's `DatasetConfig`.

    Attributes:
      mixture_or_task_name: the name of a seqio task or mixture.
      task_feature_lengths: feature -> how many tokens to cut it at. None stands for
        the longest that occurs, and only evaluation allows it.
      split: the task's split.
      batch_size: how many examples are in a batch.
      shuffle: whether to read the examples in random order.
      seed: the seed of the shuffling.
      use_cached: whether to read what seqio cached earlier.
      module: a module to import first, which registers the task.
    """

    mixture_or_task_name: str
    task_feature_lengths: Mapping[str, int] | None = None
    split: str = "validation"
    batch_size: int = 32
    shuffle: bool = False
    seed: int | None = 0
    use_cached: bool = False
    module: str | None = None

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise RecyclingError(
                f"BATCH_SIZE: expected 1 or more, found {self.batch_size}."
            )

    def task_or_mixture(self) -> Any:
        """Returns the seqio task or mixture.

        Raises:
          RecyclingError: there is no task or mixture of that name, it has no such
            split, or its module cannot be imported.
        """
        if self.module:
            try:
                importlib.import_module(self.module)
            except ImportError as error:
                raise RecyclingError(
                    f"MIXTURE_OR_TASK_MODULE: cannot import {self.module!r}: {error}. "
                    "Expected a Python module, dots instead of slashes, that can be "
                    "imported from this folder or is installed."
                ) from error
        name = self.mixture_or_task_name
        known = [*seqio.TaskRegistry.names(), *seqio.MixtureRegistry.names()]
        if name not in known:
            raise RecyclingError(
                f"there is no task or mixture {name!r}."
                + did_you_mean(name, known)
                + " Does MIXTURE_OR_TASK_MODULE name the module that registers it? The "
                "paper's tasks are in prompt_tuning_recycling.tasks.paper, and "
                "tasks/from_files.gin makes a task of your own files."
            )
        found = seqio.get_mixture_or_task(name)
        if self.split not in found.splits:
            raise RecyclingError(
                f"the task {name} has no split {self.split!r}."
                + did_you_mean(self.split, found.splits)
            )
        return found


def check_lengths(lengths: Mapping[str, int] | None) -> None:
    """Raises RecyclingError unless both features have a length to be cut at."""
    missing = [name for name in ("inputs", "targets") if name not in (lengths or ())]
    if missing:
        found = "is not set" if lengths is None else f"has no {missing[0]}"
        raise RecyclingError(
            f"TASK_FEATURE_LENGTHS {found}. Expected tokens per feature, as in "
            "--gin.TASK_FEATURE_LENGTHS=\"{'inputs': 128, 'targets': 8}\"."
        )


def training_batches(
    config: DatasetConfig, first: int = 0
) -> Iterator[dict[str, np.ndarray]]:
    """Yields an endless stream of batches, the same for the same configuration.

    Args:
      config: which data to read.
      first: how many batches to skip at the beginning. A resumed run skips those that
        it has trained on.

    Raises:
      RecyclingError: there is no such task, or its features have no lengths.
    """
    config.task_or_mixture()
    check_lengths(config.task_feature_lengths)
    dataset = seqio.get_dataset(
        config.mixture_or_task_name,
        task_feature_lengths=config.task_feature_lengths,
        dataset_split=config.split,
        shuffle=config.shuffle,
        num_epochs=None,
        feature_converter=seqio.EncDecFeatureConverter(pack=False),
        use_cached=config.use_cached,
        seed=config.seed,
    )
    dataset = dataset.skip(first * config.batch_size)
    dataset = dataset.batch(config.batch_size, drop_remainder=True)
    return iter(dataset.with_options(_deterministic()).prefetch(4).as_numpy_iterator())


def enumerated_batches(
    dataset: tf.data.Dataset, batch_size: int
) -> Iterator[NumberedBatch]:
    """Yields the examples' numbers and features in batches of one size. The last batch
    is filled up with copies of its first example, which have no numbers.
    """
    for numbers, batch in dataset.batch(batch_size).as_numpy_iterator():
        missing = batch_size - len(numbers)
        if missing:
            batch = {
                name: np.concatenate([array, array[:1].repeat(missing, axis=0)])
                for name, array in batch.items()
            }
        yield numbers, batch


def _deterministic() -> Any:
    import tensorflow as tf

    options = tf.data.Options()
    options.deterministic = True
    return options
