"""Recycles a prompt in several ways and keeps the one that works best on the target.

It compares the answers to unlabeled inputs with those of the source model.

  python -m prompt_tuning_recycling.standalone.choose \\
    --gin_file=...

The flags, gin files and macros are T5X's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prompt_tuning_recycling.standalone import gin_command_line


def _load() -> Callable[[], object]:
    from prompt_tuning_recycling.standalone.choosing import choose

    return choose


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns its exit code."""
    return gin_command_line.run("choose", __doc__, _load, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
