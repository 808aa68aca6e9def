"""A model on disk, opened and not loaded."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from etils import epath

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import is_remote
from prompt_tuning_recycling.models import layouts, vocabularies
from prompt_tuning_recycling.models.floats import check_floating, digest
from prompt_tuning_recycling.models.formats.base import Checkpoint
from prompt_tuning_recycling.models.formats.numpy_file import ArrayInMemory
from prompt_tuning_recycling.models.opening import open_checkpoint

if TYPE_CHECKING:
    from jaxtyping import Float, Int


@dataclasses.dataclass(frozen=True, eq=False)
class StoredArray:
    """Embeddings, a prompt or another weight in a checkpoint, not read yet.

    Attributes:
      checkpoint: what holds it.
      name: its name there.
      scale: what the model multiplies it by before use, so what `read` and `take`
        multiply it by.
    """

    checkpoint: Checkpoint
    name: str
    scale: float = 1.0

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape.

        Raises:
          RecyclingError: the checkpoint has no such parameter; names the nearest ones.
        """
        return self.checkpoint.shape(self.name)

    @property
    def dtype(self) -> np.dtype:
        """The dtype that it is stored in: float16, bfloat16, float32 or float64.

        Raises:
          RecyclingError: as `shape`, and where it is stored as other numbers: whole
            numbers are no embeddings.
        """
        dtype = self.checkpoint.dtype(self.name)
        check_floating(dtype, str(self))
        return dtype

    def read(self) -> Float[np.ndarray, ...]:
        """Returns it whole, in the dtype that it is stored in.

        Raises:
          RecyclingError: as `dtype`, and where it cannot be read whole.
        """
        dtype = self.dtype
        return self._scaled(self.checkpoint.read(self.name), dtype)

    def take(
        self, rows: Int[np.ndarray, rows] | Sequence[int]
    ) -> Float[np.ndarray, "rows ..."]:
        """Returns some rows, in the order asked for and the dtype they are stored in.
        Only the chunks that hold those rows are read.

        Raises:
          RecyclingError: as `read`, and for a row outside of it.
        """
        dtype = self.dtype
        return self._scaled(self.checkpoint.take(self.name, rows), dtype)

    def origin(self, used: Float[np.ndarray, ...]) -> dict[str, Any]:
        """Returns where it comes from, for records, JSON-compatible.

        Args:
          used: what was read of it.
        """
        path = os.fspath(self.checkpoint.path)
        is_local = self.checkpoint.is_stored and not is_remote(path)
        return {
            "path": os.path.abspath(path) if is_local else path,
            "format": self.checkpoint.format,
            "fingerprint": self.checkpoint.fingerprint(),
            "name": self.name,
            "shape": list(self.shape),
            "dtype": str(used.dtype),
            "used_sha256": digest(used),
        }

    def _scaled(
        self, array: Float[np.ndarray, ...], dtype: np.dtype
    ) -> Float[np.ndarray, ...]:
        if self.scale == 1:
            return array
        return (array.astype(np.float32) * np.float32(self.scale)).astype(dtype)

    def __str__(self) -> str:
        return f"{self.name} of {self.checkpoint.path}"


@dataclasses.dataclass(frozen=True, eq=False)
class Model:
    """A model on disk. Made by `open_model`; reads nothing until it is asked to.

    Attributes:
      checkpoint: its arrays, of whatever format.
      layout: what their names mean.
      embedding_name: the embedding table's name, where it is not the layout's.
      vocabulary_file: its SentencePiece file, where that does not lie beside it.
    """

    checkpoint: Checkpoint
    layout: layouts.Layout
    embedding_name: str | None = None
    vocabulary_file: epath.PathLike | None = None

    @property
    def path(self) -> epath.Path:
        """What was opened, after a `MODEL_DIR` was resolved to a step."""
        return self.checkpoint.path

    @functools.cached_property
    def embeddings(self) -> StoredArray:
        """The token embedding table, [vocabulary, width]; what is read of it is in the
        space in which prompts live.

        Raises:
          RecyclingError: there is none, or it is not a matrix of floats.
        """
        name = self.embedding_name or self.layout.embeddings(self.checkpoint)
        table = StoredArray(self.checkpoint, name)
        check_floating(self.checkpoint.dtype(name), str(table))
        if len(table.shape) != 2:
            raise RecyclingError(
                f"{self.path}: expected {name} to be a table [vocabulary, width], "
                f"found shape {list(table.shape)}."
            )
        return dataclasses.replace(table, scale=self.layout.scale(table.shape[1]))

    @functools.cached_property
    def prompts(self) -> Mapping[str, StoredArray]:
        """The prompts that the checkpoint holds, by their sites (`encoder`)."""
        return self._arrays(self.layout.prompts(self.checkpoint))

    @functools.cached_property
    def parameters(self) -> Mapping[str, StoredArray]:
        """All parameters, prompts included, by the names that `network` gives them."""
        return self._arrays(self.layout.parameters(self.checkpoint))

    @functools.cached_property
    def step(self) -> int:
        """The number of training steps behind it; 0 if it is not known."""
        name = self.layout.step(self.checkpoint)
        return 0 if name is None else int(self.checkpoint.read(name))

    @functools.cached_property
    def vocabulary(self) -> Any:
        """The `sentencepiece.SentencePieceProcessor` of its vocabulary, given or found
        beside the checkpoint; None if there is none.

        Raises:
          RecyclingError: the file is not a SentencePiece model.
        """
        file = self.vocabulary_file
        if file is None and self.checkpoint.is_stored:
            file = vocabularies.beside(self.path)
        return None if file is None else vocabularies.load_vocabulary(file)

    def _arrays(self, names: Mapping[str, str]) -> Mapping[str, StoredArray]:
        return {key: StoredArray(self.checkpoint, name) for key, name in names.items()}


Origin: TypeAlias = epath.PathLike | Model | np.ndarray
"""A model, a path to one, or one array: an embedding table or a prompt."""


def open_model(
    origin: Origin,
    *,
    embedding_name: str | None = None,
    vocabulary: epath.PathLike | None = None,
) -> Model:
    """Opens a model, or a prompt by itself, without reading its arrays.

    Its format and its layout are recognized by what is in it.

    Args:
      origin: a step folder (`checkpoint_N`) that T5X wrote, through Orbax or in the
        legacy format; a `MODEL_DIR`, which means its newest complete step; or a
        numpy file. Local (relative paths too), `gs://` or `s3://`. Or an array, which
        is a model of nothing else; or a model, which is returned as it is.
      embedding_name: the embedding table's name in the checkpoint, where it is not
        the usual one.
      vocabulary: the model's SentencePiece file, where it does not lie beside the
        checkpoint as `sentencepiece.model` or `spiece.model`.

    Raises:
      RecyclingError: nothing is there, it is none of these, or it is damaged.
    """
    if isinstance(origin, Model):
        return origin
    if isinstance(origin, np.ndarray):
        checkpoint: Checkpoint = ArrayInMemory(origin)
    else:
        checkpoint = open_checkpoint(origin)
    layout = layouts.recognize(checkpoint)
    return Model(checkpoint, layout, embedding_name, vocabulary)
