"""T5X's checkpoints from before Orbax, which include all released T5 1.1 models.

A step folder holds `checkpoint`, a msgpack of the whole state with references to the
large arrays, and beside it one zarr folder per large array
(`target.decoder.logits_dense.kernel/`).
Format: t5x/checkpoints.py.
"""

from __future__ import annotations

import numpy as np
import tensorstore as ts
from etils import epath

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.models.formats import state_file, tensorstores

_OPTIMIZER = "optimizer/"


class LegacyCheckpoint(tensorstores.TensorstoreCheckpoint):
    """A step that T5X saved before Orbax: arrays are inlined or in zarr folders."""

    format = "T5X legacy"

    def __init__(self, path: epath.PathLike) -> None:
        """Opens a step folder.

        Raises:
          RecyclingError: its `checkpoint` is missing or damaged.
        """
        super().__init__(path)
        leaves = state_file.leaves(self.path / state_file.NAME)
        # Older versions of T5X kept the train state in an optimizer, under this key.
        inside = {
            name.removeprefix(_OPTIMIZER): value
            for name, value in leaves.items()
            if name.startswith(_OPTIMIZER)
        }
        self._parameters = inside or leaves
        self._store = tensorstores.open_store(tensorstores.kvstore_spec(self.path))
        self._arrays: dict[str, ts.TensorStore | np.ndarray] = {}

    @property
    def refers_to_orbax(self) -> bool:
        """Whether Orbax wrote the state file, with placeholders for the arrays."""
        return any(map(state_file.is_placeholder, self._parameters.values()))

    def keys(self) -> list[str]:
        return sorted(self._parameters)

    def _identity_files(self) -> list[epath.Path]:
        return [self.path / state_file.NAME]

    def _array_folder(self, name: str) -> epath.Path | None:
        if not state_file.is_elsewhere(self._parameters.get(name)):
            return None
        return self.path / name.replace("/", ".")

    def _array(self, name: str) -> ts.TensorStore | np.ndarray:
        if name not in self._parameters:
            raise self._missing(name)
        if name not in self._arrays:
            self._arrays[name] = self._open(name)
        return self._arrays[name]

    def _open(self, name: str) -> ts.TensorStore | np.ndarray:
        value = self._parameters[name]
        if not state_file.is_elsewhere(value):
            return np.asarray(value)
        # The stored spec may name a driver that no public tensorstore has (gfile), or a
        # path from the time of writing, so the folder beside the state file is used.
        folder = name.replace("/", ".")
        array = tensorstores.open_array(self._store, folder)
        if array is None:
            raise RecyclingError(
                f"{self.path}: parameter {name} belongs to it, but its folder "
                f"{folder}/ is missing or has no .zarray. Copy the checkpoint again, "
                "all its folders included."
            )
        return array
