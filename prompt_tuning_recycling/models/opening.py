"""Opens checkpoints of all formats.

The content of the file or folder determines its format; its name does not.
"""

from __future__ import annotations

import os

from etils import epath

from prompt_tuning_recycling.errors import RecyclingError, did_you_mean
from prompt_tuning_recycling.files import (
    as_path,
    is_folder,
    is_remote,
    looking_once,
    names,
    read_part,
    reason,
    storage_errors,
)
from prompt_tuning_recycling.models import adapter_config
from prompt_tuning_recycling.models.formats import (
    foreign,
    numpy_file,
    orbax,
    safetensors,
    state_file,
)
from prompt_tuning_recycling.models.formats.base import Checkpoint
from prompt_tuning_recycling.models.formats.legacy import LegacyCheckpoint
from prompt_tuning_recycling.models.formats.numpy_file import NumpyFile
from prompt_tuning_recycling.models.formats.orbax import OrbaxCheckpoint
from prompt_tuning_recycling.models.formats.safetensors import SafetensorsCheckpoint
from prompt_tuning_recycling.models.steps import (
    STEP_FOLDER,
    incomplete_steps,
    newest_step,
    steps,
)

_EXPECTED = (
    "a T5X checkpoint folder (checkpoint_N, in today's Orbax format or the older "
    "one), the MODEL_DIR that holds such folders, a folder or file of safetensors (a "
    "model, or an adapter of PEFT), or a numpy file"
)


@looking_once()
def open_checkpoint(path: epath.PathLike) -> Checkpoint:
    """Opens a checkpoint of any supported format, without reading its arrays.

    Args:
      path: a step folder (`checkpoint_N`) that T5X wrote, through Orbax or in the
        legacy format; a `MODEL_DIR`, for its newest complete step; a folder of
        safetensors, one of its files or its index; or a numpy file. It is local
        (absolute or relative), `gs://` or `s3://`.

    Raises:
      RecyclingError: the path does not exist, is none of these, or is damaged.
    """
    if not os.fspath(path):
        raise RecyclingError(f"the checkpoint's path is empty; expected {_EXPECTED}.")
    path = as_path(path)
    try:
        if is_folder(path):
            return _open_folder(path)
        if _exists(path):
            return _open_file(path)
    except storage_errors() as error:
        raise _unreadable(path, error) from error
    raise RecyclingError(
        f"{path} does not exist; expected {_EXPECTED}.{_nearest(path)}"
    )


@looking_once()
def read_places(path: epath.PathLike) -> list[epath.Path]:
    """Returns the files and folders that belong to the checkpoint at `path`, which no
    output may touch; see `files.guard.check_apart`.

    For a `MODEL_DIR`, these are all its steps, complete or not, but not the folder
    itself, because people put prompts beside the steps. For a step, or a part of one
    that `open_checkpoint` accepts in its place (`checkpoint`, `state/`), it is the
    whole step. For a folder of safetensors or its index, it is the folder; for an
    adapter, the folder of its model, too. For any other file, it is that file. A folder
    without a checkpoint has none.

    Raises:
      RecyclingError: the path cannot be read.
    """
    path = as_path(path)
    try:
        # The parent of anything else need not be a folder that can be listed.
        if path.name in orbax.INSIDE and orbax.state_folder(path.parent) == path:
            return [path.parent]
        if is_folder(path):
            held = names(path)
            if state_file.NAME in held or orbax.state_folder(path):
                return [path]
            if safetensors.is_model(held):
                return _of_model_and_base(path)
            return [path / name for name in names(path) if STEP_FOLDER.match(name)]
        if path.name == state_file.NAME and path.exists():
            is_numpy = _first_bytes(path).startswith(numpy_file.MAGIC)
            return [path if is_numpy else path.parent]
        if path.name in (safetensors.FILE, safetensors.INDEX, safetensors.ADAPTER):
            return _of_model_and_base(path.parent)
    except storage_errors() as error:
        raise _unreadable(path, error) from error
    return [path]


def _of_model_and_base(folder: epath.Path) -> list[epath.Path]:
    """Returns a folder of safetensors and, of an adapter, its model's, which is read in
    its place where no other is given.
    """
    base = adapter_config.base_of(folder)
    return [folder] if base is None else [folder, base]


def _exists(path: epath.Path) -> bool:
    """Like `Path.exists`, but raises an error if permission to look is missing."""
    if is_remote(path):
        return path.exists()
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _unreadable(path: epath.Path, error: Exception) -> RecyclingError:
    return RecyclingError(
        f"cannot read {path}: {reason(error)}. Check its permissions and the disk or "
        "bucket that holds it."
    )


def _open_folder(path: epath.Path) -> Checkpoint:
    # Orbax comes first, because until 2024 it also put a state file beside its arrays.
    if orbax.state_folder(path) is not None:
        return OrbaxCheckpoint(path)
    held = sorted(names(path))
    if state_file.NAME in held:
        return _open_file(path / state_file.NAME)
    if safetensors.is_model(held):
        return SafetensorsCheckpoint(path)
    found = newest_step(path)
    if found is not None:
        return _open_folder(found)
    incomplete = "".join(f" {why}." for why in incomplete_steps(path)[:1])
    raise RecyclingError(
        f"{path} is not a checkpoint and holds no complete one; expected {_EXPECTED}. "
        f"It holds {', '.join(held[:5]) or 'nothing'}"
        f"{', ...' if len(held) > 5 else ''}.{incomplete}"
        f"{_meant_inside(path, held) or foreign.advice_for_folder(held)}"
    )


def _open_file(path: epath.Path) -> Checkpoint:
    start = _first_bytes(path)
    if start.startswith(numpy_file.MAGIC):
        return NumpyFile(path)
    if (what := foreign.what_it_is(start)) is not None:
        raise RecyclingError(f"{path} is {what} Expected {_EXPECTED}.")
    if safetensors.is_file(path.name, start):
        return SafetensorsCheckpoint(path)
    if path.name == state_file.NAME:
        return _of_state_file(path.parent)
    raise RecyclingError(f"{path} is of no known format; expected {_EXPECTED}.")


def _of_state_file(folder: epath.Path) -> Checkpoint:
    if orbax.state_folder(folder) == folder:
        return OrbaxCheckpoint(folder)
    checkpoint = LegacyCheckpoint(folder)
    return OrbaxCheckpoint(folder) if checkpoint.refers_to_orbax else checkpoint


def _nearest(path: epath.Path) -> str:
    parent = path.parent
    try:
        if not is_folder(parent):
            return f" There is no folder {parent} either."
        found, held = steps(parent), names(parent)
    except storage_errors(RecyclingError) as error:
        return f" The folder {parent} cannot be listed: {reason(error)}."
    if found:
        return f" Steps there: {', '.join(folder.name for folder in found.values())}."
    return did_you_mean(path.name, held)


def _meant_inside(folder: epath.Path, held: list[str]) -> str:
    """Suggests a file in a folder of exports, which hold
    `checkpoint_N/encoder.prompt.prompt.prompt`.
    """
    inside = [folder / name for name in held[-1:]]
    inside += [
        child for folder in inside if folder.is_dir() for child in folder.iterdir()
    ]
    for path in inside:
        if not path.is_dir() and _first_bytes(path).startswith(numpy_file.MAGIC):
            return f" Did you mean the numpy file {path}?"
    return ""


def _first_bytes(path: epath.Path) -> bytes:
    return read_part(path, 0, foreign.START_BYTES)
