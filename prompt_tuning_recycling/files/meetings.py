"""Finds paths that would get in each other's way when a command writes them: two that
are the same, one that lies inside a file, or one that replaces what is read.

Temporary files need no claims, because the system gives each an unused name.
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
    """A path, and what it is used for.

    Attributes:
      path: the path.
      use: how it is used.
      what: what it is, for messages.
      names: what the path was composed of; hashable, and of no meaning here.
    """

    path: str
    use: Use
    what: str
    names: tuple[Any, ...] = ()


def find(claims: Iterable[Claim]) -> list[tuple[Claim, Claim]]:
    """Returns every two claims that meet, except those below others that meet.

    The spelling of a path makes no difference: `./`, a `/` at the end, relative or
    absolute, through links to folders. Capital letters do, even on a file system that
    ignores case.
    """
    folders: dict[str, str] = {}
    claims = list(dict.fromkeys(claims))
    places = [(place, claim) for claim in claims for place in _places(claim, folders)]
    by_place: dict[str, list[Claim]] = {}
    for place, claim in places:
        by_place.setdefault(place, []).append(claim)
    found: dict[tuple[Claim, Claim], None] = {}
    met = set()
    for place, here in by_place.items():
        for number, claim in enumerate(here):
            for other in here[:number]:
                if not (other.use is claim.use is Use.READ):
                    found[other, claim] = None
                    met.add(place)
    for place, claim in places:
        above = os.path.dirname(place)
        # What lies below a meeting meets for the same reason.
        while above != os.path.dirname(above) and above not in met:
            for other in by_place.get(above, ()):
                if _keeps_out(other, claim):
                    found[other, claim] = None
            above = os.path.dirname(above)
    return list(found)


def _keeps_out(above: Claim, below: Claim) -> bool:
    """Whether the upper claim allows no path such as the lower one's inside its own."""
    if above.use is Use.READ:
        return below.use is not Use.READ
    return above.use in (Use.FILE, Use.REPLACED)


def _places(claim: Claim, folders: dict[str, str]) -> list[str]:
    """The spelling by which a claim's path is compared. A link that is read has two:
    neither the link nor what it leads to may be replaced.
    """
    if is_remote(claim.path):
        scheme, _, rest = claim.path.partition("://")
        return [f"{scheme}://{posixpath.normpath(rest)}"]
    path = os.path.abspath(as_path(claim.path))
    if claim.use is Use.FOLDER:
        return [_resolved(path, folders)]
    folder, name = os.path.split(path)
    # A file that is written replaces a link of the same name, not what it leads to.
    itself = os.path.join(_resolved(folder, folders), name)
    if claim.use is not Use.READ:
        return [itself]
    return list(dict.fromkeys((itself, os.path.realpath(path))))


def _resolved(folder: str, known: dict[str, str]) -> str:
    if folder not in known:
        known[folder] = os.path.realpath(folder)
    return known[folder]
