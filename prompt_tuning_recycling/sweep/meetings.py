"""Which of the paths that a command is about to write would meet: two in one place, one
inside another that is a file, or one where something is read.

Temporary files need no claims: the system gives each a name that is not taken.
"""

from __future__ import annotations

import dataclasses
import enum
import os
import posixpath
from collections.abc import Iterable
from typing import NamedTuple

from prompt_tuning_recycling.files import as_path, is_remote
from prompt_tuning_recycling.sweep.json_places import Place


class Name(NamedTuple):
    """A name that a path is composed of.

    Attributes:
      place: where it stands in a configuration.
      which: of several that stand there.
      role: its part in the path, where it may have several.
    """

    place: Place
    which: str = ""
    role: str = ""


class Use(enum.Enum):
    """How a path is used."""

    FOLDER = "holds what has claims of its own"
    FILE = "is written"
    REPLACED = "a folder that is replaced as a whole"
    READ = "is read, a file or a whole folder"


@dataclasses.dataclass(frozen=True)
class Claim:
    """That a path is used for something.

    Attributes:
      path: the path.
      use: how it is used.
      what: what it is, for messages.
      names: what the path was composed of.
    """

    path: str
    use: Use
    what: str
    names: tuple[Name, ...] = ()


def find(claims: Iterable[Claim]) -> list[tuple[Claim, Claim]]:
    """Returns every two claims that meet, but for those below others that do.

    Paths are compared as places, however they are spelled: `./`, a `/` at the end,
    relative or absolute, through links of folders. Letters are compared as they are,
    also where a file system does not tell capital letters apart.
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
    """Whether nothing that the lower claim is about may lie in the upper one."""
    if above.use is Use.READ:
        return below.use is not Use.READ
    return above.use in (Use.FILE, Use.REPLACED)


def _places(claim: Claim, folders: dict[str, str]) -> list[str]:
    """A path in the one spelling by which it is compared; two for a link that is read:
    what it leads to is to stay, and so is the link.
    """
    if is_remote(claim.path):
        scheme, _, rest = claim.path.partition("://")
        return [f"{scheme}://{posixpath.normpath(rest)}"]
    path = os.path.abspath(as_path(claim.path))
    if claim.use is Use.FOLDER:
        return [_resolved(path, folders)]
    folder, name = os.path.split(path)
    # A file that is written takes the place of a link of its name.
    itself = os.path.join(_resolved(folder, folders), name)
    if claim.use is not Use.READ:
        return [itself]
    return list(dict.fromkeys((itself, os.path.realpath(path))))


def _resolved(folder: str, known: dict[str, str]) -> str:
    if folder not in known:
        known[folder] = os.path.realpath(folder)
    return known[folder]
