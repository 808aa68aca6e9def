"""Keeps outputs from replacing inputs. An input, such as a tuned prompt, can rarely be
made again, and a run that overwrote it would end without an error.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from etils import epath

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files.paths import as_path, is_remote

Paths: TypeAlias = epath.PathLike | Iterable[epath.PathLike] | None

# Identifies a file independently of its name: the device and inode of the part of the
# path that exists, then the names below it that do not exist yet.
_Key: TypeAlias = tuple[int | str, ...]


def check_apart(
    inputs: Mapping[str, Paths],
    replaced: Mapping[str, Paths],
    added_to: Mapping[str, Paths] | None = None,
) -> None:
    """Raises RecyclingError if writing the outputs would destroy an input or another
    output. Folders are listed; no file is read or written.

    No output may be an input, be inside one, or be one of the files inside it. An
    output that is replaced as a whole may also not contain an input, and it may not be
    or contain another output. Local paths are compared by the files they lead to, so
    `./`, links, hard links and, on a file system that ignores case, capital letters
    make no difference. Paths on object stores are compared as text.

    Args:
      inputs: what is read, keyed by the name that users know (`--prompt_path`,
        `INITIAL_CHECKPOINT_PATH`): files, folders with all their content, or None. For
        a checkpoint, give `models.read_places`, which protects the steps of a MODEL_DIR
        but allows new files beside them.
      replaced: what is written, with the same kind of keys: files, the records beside
        them, and folders that are replaced as a whole.
      added_to: folders that keep their content and get more, such as a MODEL_DIR.
    """
    whole = _named(replaced)
    outputs = [*whole, *_named(added_to or {})]
    for input_name, given in _named(inputs):
        held = set(_contents(given))
        for output_name, output in outputs:
            found = _touched(output, given, held)
            if found is None and (output_name, output) in whole:
                found = "holds" if _key(output) in _around(given) else None
            if found:
                raise RecyclingError(
                    f"{output_name} ({output}) {found} {input_name} ({given}), which "
                    f"would be lost. Choose another place for {output_name}."
                )
    for (one, first), (other, second) in itertools.combinations(whole, 2):
        # By folded names, because outputs that do not exist yet have no inodes.
        places = [_folded(path) for path in (first, second)]
        if places[0][-1] in places[1] or places[1][-1] in places[0]:
            raise RecyclingError(
                f"{one} ({first}) and {other} ({second}) are the same file, or one "
                "is inside the other, so only one of them would survive. Choose "
                f"another place for {other}."
            )


def _named(paths: Mapping[str, Paths]) -> list[tuple[str, epath.Path]]:
    return [
        (name, as_path(path))
        for name, given in paths.items()
        if given is not None
        for path in ([given] if isinstance(given, str | os.PathLike) else given)
    ]


def _touched(output: epath.Path, given: epath.Path, held: set[_Key]) -> str | None:
    if _key(output) == _key(given):
        return "is the same as"
    if _key(output) in held:
        return "is a part of"
    return "lies inside" if held & _around(output) else None


def _contents(path: epath.Path) -> Iterator[_Key]:
    """Yields the keys of a file, or of a folder and everything in it. Links are
    followed, but the content of a folder behind a link is not listed.
    """
    yield _key(path)
    # Object stores have no links, so a file there has only one name.
    if not is_remote(path) and path.is_dir():
        yield from _listed(os.fspath(path))


def _listed(folder: str) -> Iterator[_Key]:
    # A folder that cannot be listed cannot be read either; opening it will say so.
    with contextlib.suppress(PermissionError), os.scandir(folder) as entries:
        for entry in entries:
            # A dangling link leads to nothing that could be lost.
            with contextlib.suppress(OSError):
                found = entry.stat()
                yield found.st_dev, found.st_ino
            if entry.is_dir(follow_symlinks=False):
                yield from _listed(entry.path)


def _around(path: epath.Path) -> set[_Key]:
    """Returns the keys of all folders that contain a path, both as it is spelled and
    with its links resolved.
    """
    if is_remote(path):
        return {_key(folder) for folder in path.parents}
    absolute = epath.Path(os.path.abspath(path))
    real = epath.Path(os.path.realpath(path))
    return {_key(folder) for folder in (*absolute.parents, *real.parents)}


def _key(path: epath.Path) -> _Key:
    if is_remote(path):
        return (os.fspath(path),)
    existing = os.path.realpath(path)
    missing: list[str] = []
    while True:
        try:
            found = os.stat(existing)
        except OSError:
            existing, name = os.path.split(existing)
            if not name:
                raise
            missing.insert(0, name)
        else:
            return (found.st_dev, found.st_ino, *missing)


def _folded(path: epath.Path) -> list[_Key]:
    """Returns the keys of the folders that contain a path and, last, its own. Names
    that do not exist yet are folded, so that they differ only if every file system
    distinguishes them.
    """
    keys = [*_around(path), _key(path)]
    return [
        tuple(
            unicodedata.normalize("NFC", part).casefold()
            if isinstance(part, str)
            else part
            for part in key
        )
        for key in keys
    ]
