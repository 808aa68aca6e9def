"""Lets gin find its files where a folder `models/` or `runs/` lies on Python's path.

Gin first takes `models/x.gin` for a file of a package `models`. It fails with a
TypeError if there is a folder of that name that is not a package, for example where the
program is started. Importing this module repairs that.
"""

from __future__ import annotations

import importlib.util  # noqa: F401  (gin uses it without importing it)
from collections.abc import Callable

from gin import resource_reader


def _tolerant(parse: Callable[[str], str]) -> Callable[[str], str]:
    def tolerant(config_path: str) -> str:
        try:
            return parse(config_path)
        except TypeError as error:
            # Gin takes this for `there is no such package`, and looks elsewhere.
            raise ValueError(f"{config_path} is not in a package") from error

    return tolerant


resource_reader._parse_config_path = _tolerant(resource_reader._parse_config_path)
