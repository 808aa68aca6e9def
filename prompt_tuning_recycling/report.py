"""Show the results of a sweep on one HTML page, with pictures, that needs no network.

  python -m prompt_tuning_recycling.report --config=sweep.json

Writes report-<dataset>.html to the sweep's folder; its links to prompts and their
records are relative to that folder. You can make it at any time; it says which results
are missing. Where the sweep chooses among recycled prompts, it makes the choice and
writes the chosen prompts, too.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence

from prompt_tuning_recycling import command_line
from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import write_atomically
from prompt_tuning_recycling.sweep import (
    choices,
    configuration,
    layout,
    results,
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line.

    Raises:
      RecyclingError: the configuration cannot be used, or matplotlib or jinja2 is
        missing.
    """
    flags = _parser().parse_args(arguments)
    try:
        from prompt_tuning_recycling.sweep.report import report
    except ImportError as error:
        raise RecyclingError(
            f"{error}. The report needs matplotlib and jinja2: run pip install "
            "'prompt_tuning_recycling[sweep]'"
        ) from error
    sweep = configuration.load(flags.config)
    with results.collecting(sweep):
        found = results.read(sweep, [flags.metric])
        # The page has links to them.
        gaps = choices.keep(found.chosen)
        found = dataclasses.replace(found, missing=(*found.missing, *gaps))
        path = layout.report(sweep.root_dir, sweep.dataset)
        write_atomically(path, report(sweep, found, flags.metric).encode())
    print(f"{len(found.missing)} results are missing")
    print(f"wrote {path}")


def _parser() -> argparse.ArgumentParser:
    parser = command_line.parser("report", "--config=FILE [flags]", __doc__)
    parser.add_argument("--config", required=True, help="the sweep, a JSON file")
    parser.add_argument(
        "--metric",
        default="accuracy",
        help="the metric that compares prompts; higher is better",
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(command_line.run(main))
