"""No output in the place of an input: what is read, such as a tuned prompt, is seldom
made again, and a run that writes over it ends as if nothing had happened.
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
from prompt_tuning_recycling.files import as_path, is_remote

Paths: TypeAlias = epath.PathLike | Iterable[epath.PathLike] | None

# What tells files apart, whatever they are called: device and number of one that
# exists, followed by the names that do not yet exist in it.
_Key: TypeAlias = tuple[int | str, ...]


def check_apart(
    inputs: Mapping[str, Paths],
    replaced: Mapping[str, Paths],
    added_to: Mapping[str, Paths] | None = None,
) -> None:
    """Raises RecyclingError if writing the outputs would destroy an input or another
    output. Nothing is written or read but the names in folders.

    No output may be an input, lie inside one, or be one of the files inside it; an
    output that is replaced as a whole may not hold an input either, nor be or hold
    another output. Files are compared, not texts: `./`, links, hard links and another
    case, where the file system folds it, lead to the same file. Object stores' paths
    are compared as texts.

    Args:
      inputs: what is read, by the name that a user knows it by (`--prompt_path`,
        `INITIAL_CHECKPOINT_PATH`): files, folders with all that is in them, or None.
        Of a checkpoint, give `checkpoints.read_places`: of a MODEL_DIR it protects the
        steps, and new files beside them stay possible.
      replaced: what is written, likewise: files, the records beside them, and folders
        that are made anew.
      added_to: folders that keep what is in them and get more, as a MODEL_DIR.
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
        # Folded: files that exist nowhere yet cannot be compared as files.
        places = [_folded(path) for path in (first, second)]
        if places[0][-1] in places[1] or places[1][-1] in places[0]:
            raise RecyclingError(
                f"{one} ({first}) and {other} ({second}) are the same file, or one "
                "lies inside the other, so only one of them would be left. Choose "
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
    """The keys of a file, or of a folder and all in it. Links count as what they lead
    to, and a folder that one leads to as a whole.
    """
    yield _key(path)
    # Object stores have neither links nor other names for a file.
    if not is_remote(path) and path.is_dir():
        yield from _listed(os.fspath(path))


def _listed(folder: str) -> Iterator[_Key]:
    # What cannot be listed cannot be read either; opening it says so.
    with contextlib.suppress(PermissionError), os.scandir(folder) as entries:
        for entry in entries:
            # A link that leads nowhere leads to nothing that could be lost.
            with contextlib.suppress(OSError):
                found = entry.stat()
                yield found.st_dev, found.st_ino
            if entry.is_dir(follow_symlinks=False):
                yield from _listed(entry.path)


def _around(path: epath.Path) -> set[_Key]:
    """The keys of all folders that a path lies in: those it is written with, and those
    that it leads to through links.
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
    """The keys of the folders that a path lies in and its own, last, all names that do
    not exist yet without what some file systems do not tell apart.
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
