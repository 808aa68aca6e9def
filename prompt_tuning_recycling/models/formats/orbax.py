"""T5X's current checkpoints, which Orbax writes.

A step folder `checkpoint_N/` keeps the train state in `state/`: one zarr array
(version 2 or 3) per parameter, named by its path with dots
(`target.decoder.logits_dense.kernel`), in folders or, by default, inside an OCDBT
database (`manifest.ocdbt`). `_METADATA` lists the tree. Before 2024, a msgpack,
`checkpoint`, also listed it and held the arrays that were saved as `aggregate`.
Each process writes its own database, `ocdbt.process_N/`. The last step of saving merges
them into the database whose manifest is above them.
Format: https://orbax.readthedocs.io, "Checkpoint format".
"""

from __future__ import annotations

import numpy as np
import tensorstore as ts
from etils import epath

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import names
from prompt_tuning_recycling.files.json_files import read_json
from prompt_tuning_recycling.models.formats import state_file, tensorstores

_MANIFEST = "manifest.ocdbt"
_COMMITTED = "commit_success.txt"
_STEP_DESCRIPTION = "_CHECKPOINT_METADATA"
MARKS = (_MANIFEST, "_METADATA")
INSIDE = ("state", "default", "items")
"""Names of the folder of arrays in a step: T5X's, and MaxText's two."""


def state_folder(path: epath.Path) -> epath.Path | None:
    """Returns the folder that holds the arrays: `path`, its `state/` (T5X), `default/`
    or `items/` (MaxText), or None.
    """
    here = names(path)
    inside = {path / name: names(path / name) for name in INSIDE if name in here}
    for folder, found in {path: here, **inside}.items():
        if found.intersection(MARKS) or _unmerged(found):
            return folder
    # A state file in one of these is Orbax's; in `path` itself it may be T5X's own.
    return next((one for one in inside if state_file.NAME in inside[one]), None)


def is_merged(folder: epath.Path) -> bool:
    """Whether saving merged the databases of all processes, its last step."""
    return not _unmerged(names(folder))


def is_marked(step: epath.Path) -> bool:
    """Whether a step says that it was saved completely.

    On gs://, where nothing can be renamed, Orbax writes `commit_success.txt` into a
    step last of all, and before it the time into `_CHECKPOINT_METADATA`. Elsewhere it
    renames the step, and writes both before that, the first one since 2026; so a step
    that was copied to a store has brought them along.
    """
    found = names(step)
    if _COMMITTED in found:
        return True
    if _STEP_DESCRIPTION not in found:
        return False
    metadata = read_json(step / _STEP_DESCRIPTION, "the step's description")
    return isinstance(metadata, dict) and bool(metadata.get("commit_timestamp_nsecs"))


def _unmerged(found: set[str]) -> list[str]:
    """Returns the databases of single processes if no manifest joins them.

    Args:
      found: the names of what is in the folder of the arrays.
    """
    if _MANIFEST in found:
        return []
    return sorted(name for name in found if name.startswith("ocdbt.process_"))


class OrbaxCheckpoint(tensorstores.TensorstoreCheckpoint):
    """A step that T5X saved through Orbax: OCDBT or not, zarr version 2 or 3."""

    format = "T5X/Orbax"

    def __init__(self, path: epath.PathLike) -> None:
        """Opens a step folder, or the `state/` inside it.

        Raises:
          RecyclingError: it is not one, its database is damaged, or it was not written
            completely.
        """
        super().__init__(path)
        folder = state_folder(self.path)
        found = names(self.path if folder is None else folder)
        if folder is None and state_file.NAME in found:
            folder = self.path
        if folder is None:
            raise RecyclingError(
                f"{path} is not an Orbax checkpoint: expected {' or '.join(MARKS)} in "
                "it or in its state/."
            )
        if parts := _unmerged(found):
            raise RecyclingError(
                f"{folder} was not saved completely: each process's part is there "
                f"({', '.join(parts[:3])}{', ...' if len(parts) > 3 else ''}), but "
                f"Orbax did not merge them, so {_MANIFEST} is missing. Give another "
                "step, or save this one again."
            )
        self._folder = folder
        self._opened_as = self._identity()
        leaves = {}
        if state_file.NAME in found:
            leaves = state_file.leaves(folder / state_file.NAME)
        self._inlined = {
            name: np.asarray(value)
            for name, value in leaves.items()
            if not state_file.is_elsewhere(value)
        }
        spec = tensorstores.kvstore_spec(folder)
        # A missing parameter gives the same error in an OCDBT database and in plain
        # folders, so the manifest decides between the two.
        self._is_database = _MANIFEST in found
        if self._is_database:
            spec = {"driver": "ocdbt", "base": spec}
        self._store = tensorstores.open_store(spec)
        self._arrays: dict[str, ts.TensorStore] = {}
        try:
            stored = tensorstores.stored_names(self._store)
        except tensorstores.STORAGE_ERRORS as error:
            raise tensorstores.unreadable(
                error, f"{folder}: the checkpoint's database is damaged"
            ) from error
        # Gemma's releases also have slashes in a parameter's stored name.
        self._stored = {name.replace(".", "/"): name for name in stored}
        for name in leaves:
            self._stored.setdefault(name, name.replace("/", "."))
        tensorstores.check_names(self._stored.values(), folder)

    def keys(self) -> list[str]:
        return sorted(self._stored)

    def _identity_files(self) -> list[epath.Path]:
        # This file has the time of writing; it is in the step or in its state/.
        times = [folder / _STEP_DESCRIPTION for folder in (self._folder, self.path)]
        return [
            *(self._folder / name for name in (*MARKS, state_file.NAME)),
            *times,
        ]

    def _array_folder(self, name: str) -> epath.Path | None:
        if self._is_database:
            return None
        return self._folder / self._stored_name(name)

    def _stored_name(self, name: str) -> str:
        return self._stored.get(name, name.replace("/", "."))

    def _array(self, name: str) -> ts.TensorStore | np.ndarray:
        if name in self._inlined:
            return self._inlined[name]
        if name not in self._arrays:
            array = tensorstores.open_array(
                self._store, self._stored_name(name), self._folder
            )
            if array is None and name in self._stored:
                raise RecyclingError(
                    f"{self.path}: parameter {name} belongs to it, but its array is "
                    "missing. Copy the checkpoint again, all its folders included."
                )
            if array is None:
                raise self._missing(name)
            self._arrays[name] = array
        return self._arrays[name]
