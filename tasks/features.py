"""The tasks' inputs and targets, in the model's vocabulary."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import gin
import seqio
from etils import epath

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import as_path, is_remote

T5_VOCABULARY = "gs://t5-data/vocabs/cc_all.32000.100extra/sentencepiece.model"

# A host locks its gin configuration before it imports a task's module.
with gin.unlock_config():

    @gin.configurable(module="prompt_tuning_recycling.tasks.features")
    def vocabulary_file(file: epath.PathLike) -> str:
        """Returns the path of a SentencePiece model, with `~` expanded for libraries
        that do not expand it; the model files pass `VOCABULARY_FILE`.

        Raises:
          RecyclingError: there is no such file on this machine.
        """
        path = as_path(file)
        if not is_remote(path) and not path.is_file():
            raise RecyclingError(
                f"there is no vocabulary {file}. Expected a SentencePiece model, as in "
                "--gin.VOCABULARY_FILE=\"'/data/sentencepiece.model'\"."
            )
        return os.fspath(path)

    @gin.configurable(module="prompt_tuning_recycling.tasks.features")
    def vocabulary(
        model_vocabulary: seqio.Vocabulary | None = None,
        file: epath.PathLike = T5_VOCABULARY,
        extra_ids: int = 0,
    ) -> seqio.Vocabulary:
        """Returns the vocabulary of the tasks' inputs and targets.

        `tasks/vocabulary.gin`, which the model files include, binds it to the model's
        vocabulary; a host like T5X refuses a task with a different vocabulary.

        Args:
          model_vocabulary: the model's vocabulary; if given, the rest is not used.
          file: a SentencePiece model.
          extra_ids: how many sentinels to add to those in the file: 100 for the file
            with T5's 32,000 pieces, 0 for the file named `100extra`.

        Raises:
          RecyclingError: there is no such file on this machine.
        """
        if model_vocabulary is not None:
            return model_vocabulary
        return seqio.SentencePieceVocabulary(vocabulary_file(file), extra_ids)


def features() -> dict[str, seqio.Feature]:
    """Returns the features that the encoder and the decoder read, with EOS."""
    return {
        "inputs": seqio.Feature(vocabulary(), required=False),
        "targets": seqio.Feature(vocabulary()),
    }


class Task(seqio.Task):
    """A task that looks up its vocabulary when it is used. A task is registered when
    its module is imported, perhaps before gin knows the vocabulary.
    """

    def __init__(self, name: str, **kwargs: Any) -> None:
        super().__init__(name, **{"output_features": {}, **kwargs})

    @property
    def output_features(self) -> Mapping[str, seqio.Feature]:
        return features()


def add_task(name: str, **kwargs: Any) -> seqio.Task:
    """Registers a task with these features; takes seqio's arguments."""
    return seqio.TaskRegistry.add(name, output_features={}, task_cls=Task, **kwargs)
