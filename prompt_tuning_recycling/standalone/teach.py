"""Writes a source model's answers to unlabeled inputs to a file, for `choose`.

Use it if the source model cannot run in the same job as the target.

  python -m prompt_tuning_recycling.standalone.teach \\
    --gin_file=...

The flags, gin files and macros are T5X's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prompt_tuning_recycling.standalone import gin_command_line


def _load() -> Callable[[], object]:
    from prompt_tuning_recycling.standalone.choosing import teach

    return teach


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns its exit code."""
    return gin_command_line.run("teach", __doc__, _load, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
