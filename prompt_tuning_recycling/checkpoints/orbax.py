"""T5X's checkpoints of today, written through Orbax.

A step folder `checkpoint_N/` keeps the train state in `state/`: one zarr array
(version 2 or 3) per parameter, named by the path joined with dots
(`target.token_embedder.embedding`), either in folders or, the default, inside an
OCDBT database (`manifest.ocdbt`). `_METADATA` lists the tree.
Format: https://orbax.readthedocs.io, "Checkpoint format".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import tensorstore as ts
from etils import epath

from prompt_tuning_recycling.checkpoints import base, tensorstores
from prompt_tuning_recycling.errors import RecyclingError

if TYPE_CHECKING:
    from jaxtyping import Int, Shaped

MARKS = ("manifest.ocdbt", "_METADATA")


def state_folder(path: epath.Path) -> epath.Path | None:
    """Returns the folder that holds the arrays: `path`, its `state/`, or None."""
    for folder in (path, path / "state", path / "default"):
        if any((folder / mark).exists() for mark in MARKS):
            return folder
    return None


class OrbaxCheckpoint(base.Checkpoint):
    """A step that T5X saved through Orbax: OCDBT or not, zarr version 2 or 3."""

    format = "T5X/Orbax"

    def __init__(self, path: epath.PathLike) -> None:
        """Opens a step folder, or the `state/` inside it.

        Raises:
          RecyclingError: it is not one, or its database is damaged.
        """
        super().__init__(path)
        folder = state_folder(self.path)
        if folder is None:
            raise RecyclingError(
                f"{path} is not an Orbax checkpoint: expected {' or '.join(MARKS)} in "
                "it or in its state/."
            )
        self._folder = folder
        spec = tensorstores.kvstore_spec(folder)
        # An OCDBT database and plain folders fail alike when a parameter is
        # missing, so which of the two it is comes from the manifest.
        if (folder / "manifest.ocdbt").exists():
            spec = {"driver": "ocdbt", "base": spec}
        self._store = ts.KvStore.open(spec).result()
        self._arrays: dict[str, ts.TensorStore] = {}
        try:
            self._names = tensorstores.stored_names(self._store)
        except tensorstores.STORAGE_ERRORS as error:
            raise RecyclingError(
                f"{folder}: the checkpoint's database is damaged. Copy the checkpoint "
                f"again. (tensorstore: {error})"
            ) from error

    def keys(self) -> list[str]:
        return [name.replace(".", "/") for name in self._names]

    def shape(self, name: str) -> tuple[int, ...]:
        return self._array(name).shape

    def read(self, name: str) -> Shaped[np.ndarray, ...]:
        return tensorstores.read_array(self._array(name), f"{name} of {self.path}")

    def _take(
        self, name: str, rows: Int[np.ndarray, rows]
    ) -> Shaped[np.ndarray, "rows ..."]:
        return tensorstores.read_array(
            self._array(name), f"{name} of {self.path}", rows
        )

    def _identity_files(self) -> list[epath.Path]:
        # This one has the time of writing; it lies in the step or in its state/.
        times = [
            folder / "_CHECKPOINT_METADATA" for folder in (self._folder, self.path)
        ]
        return [*(self._folder / mark for mark in MARKS), *times]

    def _array(self, name: str) -> ts.TensorStore:
        if name not in self._arrays:
            array = tensorstores.open_array(self._store, name.replace("/", "."))
            if array is None:
                raise self._missing(name)
            self._arrays[name] = array
        return self._arrays[name]
