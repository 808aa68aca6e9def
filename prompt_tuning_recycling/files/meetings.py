"""Finds paths that would conflict when a command writes them: two equal paths, a path
inside a file, or a path that replaces something that is read.

Temporary files need no claims, because the system gives each one an unused name.
"""

from __future__ import annotations

import dataclasses
import enum
import os
import posixpath
from collections.abc import Iterable
from typing import Any

from prompt_tuning_recycling.files.paths import as_path, is_remote


class Use(enum.Enum):
    """How a path is used."""

    FOLDER = "a folder whose content has claims of its own"
    FILE = "a file that is written"
    REPLACED = "a folder that is replaced as a whole"
    READ = "a file or a whole folder that is read"


@dataclasses.dataclass(frozen=True)
class Claim:
    """A path and its use.

    Attributes:
      path: the path.
      use: how it is used.
      what: a description for messages.
      names: the parts that the path was composed of, hashable; not used here.
    """

    path: str
    use: Use
    what: str
    names: tuple[Any, ...] = ()


def find(claims: Iterable[Claim]) -> list[tuple[Claim, Claim]]:
    """Returns the pairs of claims that meet, except pairs below others that meet. Of
    several claims on one place for the same use, only the first is compared with
    others, so that the time grows linearly with their number.

    The spelling of a path makes no difference: `./`, a `/` at the end, relative or
    absolute paths, links to folders. Capital letters do make a difference, even on a
    file system that ignores case.
    """
    folders: dict[str, str] = {}
    claims = list(dict.fromkeys(claims))
    places = [(place, claim) for claim in claims for place in _places(claim, folders)]
    by_place: dict[str, dict[Use, Claim]] = {}
    found: dict[tuple[Claim, Claim], None] = {}
    met = set()
    for place, claim in places:
        here = by_place.setdefault(place, {})
        for other in here.values():
            if not (other.use is claim.use is Use.READ):
                found[other, claim] = None
                met.add(place)
        here.setdefault(claim.use, claim)
    for place, claim in places:
        above = os.path.dirname(place)
        # Claims below a meeting meet for the same reason.
        while above != os.path.dirname(above) and above not in met:
            for other in by_place.get(above, {}).values():
                if _keeps_out(other, claim):
                    found[other, claim] = None
            above = os.path.dirname(above)
    return list(found)


def _keeps_out(above: Claim, below: Claim) -> bool:
    """Whether the upper claim forbids the lower claim inside its path."""
    if above.use is Use.READ:
        return below.use is not Use.READ
    return above.use in (Use.FILE, Use.REPLACED)


def _places(claim: Claim, folders: dict[str, str]) -> list[str]:
    """Returns the spellings by which a claim's path is compared. A link that is read
    has two, because neither the link nor its destination may be replaced.
    """
    if is_remote(claim.path):
        scheme, _, rest = claim.path.partition("://")
        return [f"{scheme}://{posixpath.normpath(rest)}"]
    path = os.path.abspath(as_path(claim.path))
    if claim.use is Use.FOLDER:
        return [_resolved(path, folders)]
    folder, name = os.path.split(path)
    # Writing a file replaces a link of the same name, not the link's destination.
    itself = os.path.join(_resolved(folder, folders), name)
    if claim.use is not Use.READ:
        return [itself]
    return list(dict.fromkeys((itself, os.path.realpath(path))))


def _resolved(folder: str, known: dict[str, str]) -> str:
    if folder not in known:
        known[folder] = os.path.realpath(folder)
    return known[folder]
