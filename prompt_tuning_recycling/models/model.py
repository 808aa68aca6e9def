"""A model on disk that is opened but not loaded."""

from __future__ import annotations

import contextlib
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
from prompt_tuning_recycling.models.parts import Part
from prompt_tuning_recycling.models.vocabularies import Vocabulary

if TYPE_CHECKING:
    from jaxtyping import Float, Int


@dataclasses.dataclass(frozen=True, eq=False)
class StoredArray:
    """Embeddings, a prompt or another weight in a checkpoint, not read yet.

    Attributes:
      checkpoint: the checkpoint that holds it.
      name: its name in the checkpoint.
      scale: the factor that the model multiplies it by before use; `read` and `take`
        multiply by it too.
      transposed: whether it is the transpose of the matrix that is stored.
      part: what the model uses of it, if not all; nothing else is read.
    """

    checkpoint: Checkpoint
    name: str
    scale: float = 1.0
    transposed: bool = False
    part: Part | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape.

        Raises:
          RecyclingError: the checkpoint has no such parameter; the message names the
            nearest ones.
        """
        shape = self.checkpoint.shape(self.name)
        if self.part is not None:
            return (self.part.rows, *shape[1:])
        return shape[::-1] if self.transposed else shape

    @property
    def dtype(self) -> np.dtype:
        """The dtype that it is stored in: float16, bfloat16, float32 or float64.

        Raises:
          RecyclingError: as `shape`, or it is stored in another dtype, because whole
            numbers are not embeddings.
        """
        dtype = self.checkpoint.dtype(self.name)
        check_floating(dtype, str(self))
        return dtype

    def read(self) -> Float[np.ndarray, ...]:
        """Returns the whole array, in the dtype that it is stored in.

        Raises:
          RecyclingError: as `dtype`, or it cannot be read completely.
        """
        dtype = self.dtype
        if self.part is not None:
            return self.part.read(self.checkpoint, self.name)
        stored = self.checkpoint.read(self.name)
        return self._scaled(stored.T if self.transposed else stored, dtype)

    def take(
        self, rows: Int[np.ndarray, rows] | Sequence[int]
    ) -> Float[np.ndarray, "rows ..."]:
        """Returns some rows, in the order requested and in the dtype they are stored
        in. Only the chunks that hold those rows are read; if it is transposed or a
        part, all of it.

        Raises:
          RecyclingError: as `read`, or a row is outside the array.
        """
        dtype = self.dtype
        if self.transposed or self.part is not None:
            return self.read()[np.asarray(rows, np.int64)]
        return self._scaled(self.checkpoint.take(self.name, rows), dtype)

    def origin(
        self, used: Float[np.ndarray, ...], fingerprint: str | None = None
    ) -> dict[str, Any]:
        """Returns where it comes from, for records; JSON-compatible.

        Args:
          used: the part of it that was read.
          fingerprint: the checkpoint's when it was read; see `Checkpoint.unchanged`.
        """
        path = os.fspath(self.checkpoint.path)
        is_local = self.checkpoint.is_stored and not is_remote(path)
        return {
            "path": os.path.abspath(path) if is_local else path,
            "format": self.checkpoint.format,
            "fingerprint": fingerprint or self.checkpoint.fingerprint(self.name),
            "name": self.name,
            **({} if self.scale == 1 else {"scale": self.scale}),
            "shape": list(self.shape),
            **self._described_part(),
            "dtype": str(used.dtype),
            "used_sha256": digest(used),
        }

    def unchanged(self) -> contextlib.AbstractContextManager[str]:
        """Checks that its checkpoint is not written again while the body reads; see
        `Checkpoint.unchanged`.
        """
        return self.checkpoint.unchanged(self.name)

    def _described_part(self) -> dict[str, Any]:
        if self.part is None:
            return {}
        stored_rows = self.checkpoint.shape(self.name)[0]
        return {"part": self.part.described(stored_rows)}

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
    """A model on disk. `open_model` makes one; it reads nothing until it is asked to.

    Attributes:
      checkpoint: its arrays, in any format.
      layout: the meaning of their names.
      embedding_name: the embedding table's name, if it is not the layout's.
      vocabulary_file: its SentencePiece file or `tokenizer.json`, if that is not beside
        the checkpoint.
    """

    checkpoint: Checkpoint
    layout: layouts.Layout
    embedding_name: str | None = None
    vocabulary_file: epath.PathLike | None = None

    @property
    def path(self) -> epath.Path:
        """The opened file or folder; for a `MODEL_DIR`, the folder of the step."""
        return self.checkpoint.path

    @functools.cached_property
    def embeddings(self) -> StoredArray:
        """The token embedding table, [vocabulary, width]. Its rows are read in the
        space of the prompts, that is, multiplied by the layout's scale.

        Raises:
          RecyclingError: there is no table, or it is not a matrix of floats.
        """
        name = self.embedding_name or self.layout.embeddings(self.checkpoint)
        table = StoredArray(self.checkpoint, name)
        check_floating(self.checkpoint.dtype(name), str(table))
        if len(table.shape) != 2 or 0 in table.shape:
            raise RecyclingError(
                f"{self.path}: expected {name} to be a table [vocabulary, width], "
                f"found shape {list(table.shape)}."
            )
        # Models multiply in the dtype of the table, to which the factor is rounded.
        scale = np.asarray(self.layout.scale(table.shape[1]), table.dtype)
        return dataclasses.replace(table, scale=float(scale))

    def unchanged(self) -> contextlib.AbstractContextManager[str]:
        """Checks that the model is not written again while the body reads it; see
        `Checkpoint.unchanged`.
        """
        if self.has_embeddings:
            return self.embeddings.unchanged()
        return self.checkpoint.unchanged(next(iter(self.checkpoint.keys()), ""))

    @property
    def has_embeddings(self) -> bool:
        """Whether it holds an embedding table of that name."""
        try:
            name = self.embedding_name or self.layout.embeddings(self.checkpoint)
        except RecyclingError:
            return False
        return name in self.checkpoint.keys()

    @property
    def site(self) -> str | None:
        """Where its prompt is: `encoder` in an encoder-decoder, `decoder` in a decoder;
        None if that is not known.
        """
        return self.layout.site(self.checkpoint)

    @functools.cached_property
    def base(self) -> Model:
        """The model that holds the embeddings: this one itself; of an adapter, the one
        that it was tuned on.

        Raises:
          RecyclingError: it is an adapter whose model is not in a folder.
        """
        path = self.layout.base()
        if path is None:
            return self
        return open_model(
            path, embedding_name=self.embedding_name, vocabulary=self.vocabulary_file
        )

    @functools.cached_property
    def prompts(self) -> Mapping[str, StoredArray]:
        """The checkpoint's prompts, by their sites (`encoder`)."""
        return {
            site: StoredArray(self.checkpoint, name, part=self.layout.part(name))
            for site, name in self.layout.prompts(self.checkpoint).items()
        }

    @functools.cached_property
    def parameters(self) -> Mapping[str, StoredArray]:
        """All parameters, prompts included, by the names that `network` gives them."""
        return {
            name: StoredArray(
                self.checkpoint, stored.name, stored.scale, stored.transposed
            )
            for name, stored in self.layout.parameters(self.checkpoint).items()
        }

    @property
    def network_sizes(self) -> Mapping[str, Any] | None:
        """What its own configuration says about `network.T5Config`, by the names of its
        attributes; None if it has no configuration.

        Raises:
          RecyclingError: `network` cannot be this model.
        """
        return self.layout.network_sizes(self.checkpoint)

    @functools.cached_property
    def step(self) -> int:
        """The number of steps that it was trained for; 0 if that is not known.

        Raises:
          RecyclingError: what is stored is no whole number.
        """
        name = self.layout.step(self.checkpoint)
        if name is None:
            return 0
        stored = self.checkpoint.read(name)
        # T5X sometimes stores it as a float.
        is_number = stored.size == 1 and stored.dtype.kind in "iuf"
        if not is_number or not float(stored.item()).is_integer() or stored.item() < 0:
            raise RecyclingError(
                f"{self.path}: expected the step, {name}, to be a whole number, found "
                f"{str(stored)[:60]} of dtype {stored.dtype}. Copy the checkpoint "
                "again."
            )
        return int(stored.item())

    @functools.cached_property
    def vocabulary(self) -> Vocabulary | None:
        """The vocabulary in its file, which was given or is beside the checkpoint; None
        if there is none.

        Raises:
          RecyclingError: the file that was given cannot be read.
        """
        file = self.vocabulary_file
        if file is None and self.checkpoint.is_stored:
            file = vocabularies.beside(self.path)
        return None if file is None else Vocabulary(file)


Origin: TypeAlias = epath.PathLike | Model | np.ndarray
"""A model, a path to one, or a single array: an embedding table or a prompt."""


def open_model(
    origin: Origin,
    *,
    embedding_name: str | None = None,
    vocabulary: epath.PathLike | None = None,
    task: int | None = None,
) -> Model:
    """Opens a model, or a single prompt, without reading its arrays.

    Its content determines its format and its layout.

    Args:
      origin: a path, local (absolute or relative), `gs://` or `s3://`, to a step folder
        (`checkpoint_N`) that T5X wrote, through Orbax or in the legacy format; to a
        `MODEL_DIR`, for its newest complete step; to a folder of safetensors with its
        `config.json`, one of its files or its index; to the folder of an adapter
        that PEFT saved, for its prompt; or to a numpy file. An array becomes a model
        that holds nothing else. A model is returned unchanged, but for `task`.
      embedding_name: the embedding table's name in the checkpoint, if it is not the
        usual one.
      vocabulary: the model's SentencePiece file or `tokenizer.json`, if it is not
        beside the checkpoint as `sentencepiece.model`, `spiece.model`,
        `tokenizer.model` or `tokenizer.json`.
      task: which task's prompt to take, of an adapter whose prompt several tasks share.

    Raises:
      RecyclingError: the path does not exist, is none of these, or is damaged; or there
        is no such task.
    """
    if isinstance(origin, Model):
        model = origin
    else:
        is_array = isinstance(origin, np.ndarray)
        checkpoint = ArrayInMemory(origin) if is_array else open_checkpoint(origin)
        layout = layouts.recognize(checkpoint)
        model = Model(checkpoint, layout, embedding_name, vocabulary)
    if task is None:
        return model
    layout = model.layout.of_task(model.checkpoint, task)
    return dataclasses.replace(model, layout=layout)
