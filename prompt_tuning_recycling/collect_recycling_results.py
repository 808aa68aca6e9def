"""Collect the results of a sweep in tables.

  python -m prompt_tuning_recycling.collect_recycling_results --config=sweep.json

Writes training-<dataset>.tsv (the tuning runs), recycling-<dataset>.tsv (the recycled
prompts) and baselines-<dataset>.tsv to the sweep's folder, in the order of the
sweep's configuration, and says which results are missing. Where the sweep chooses among
recycled prompts, it makes the choice and writes the chosen prompts, too.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence

from prompt_tuning_recycling import command_line
from prompt_tuning_recycling.files import write_atomically
from prompt_tuning_recycling.sweep import (
    choices,
    configuration,
    layout,
    results,
    tables,
)

logger = logging.getLogger(__name__)

_MOST_SHOWN = 20


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line.

    Raises:
      RecyclingError: the configuration cannot be used.
    """
    flags = _parser().parse_args(arguments)
    sweep = configuration.load(flags.config)
    metrics = flags.metric or ["accuracy"]
    with results.collecting(sweep):
        _collect(sweep, metrics, flags)


def _collect(
    sweep: configuration.Configuration,
    metrics: Sequence[str],
    flags: argparse.Namespace,
) -> None:
    found = results.read(
        sweep, metrics, training=flags.training, evaluation=flags.evaluation
    )
    missing = [*found.missing, *choices.keep(found.chosen)]
    for gap in missing[:_MOST_SHOWN]:
        logger.warning("missing: %s", gap)
    if len(missing) > _MOST_SHOWN:
        logger.warning("missing: %d more", len(missing) - _MOST_SHOWN)
    written = {}
    if flags.training:
        written["training"] = tables.training(found, metrics)
    if flags.evaluation:
        written["recycling"] = tables.recycling(found, metrics)
        written["baselines"] = tables.baselines(found, metrics)
    for kind, text in written.items():
        path = layout.table(sweep.root_dir, kind, sweep.dataset)
        write_atomically(path, text.encode())
        print(f"wrote {path} ({text.count(chr(10)) - 1} rows)")
    for name in dict.fromkeys(one.choice.name for one in found.chosen):
        count = sum(one.choice.name == name for one in found.chosen)
        print(f"{name}: {count} prompts chosen")
    print(f"{len(missing)} results are missing")


def _parser() -> argparse.ArgumentParser:
    parser = command_line.parser(
        "collect_recycling_results", "--config=FILE [flags]", __doc__
    )
    parser.add_argument("--config", required=True, help="the sweep, a JSON file")
    for name, of in (
        ("training", "the tuning runs"),
        ("evaluation", "recycled prompts and baselines"),
    ):
        parser.add_argument(
            f"--{name}",
            type=command_line.boolean,
            nargs="?",
            const=True,
            default=True,
            metavar="BOOL",
            help=f"whether to collect the results of {of}",
        )
        parser.add_argument(
            f"--no{name}", action="store_false", dest=name, help=argparse.SUPPRESS
        )
    parser.add_argument(
        "--metric",
        action="append",
        help="a metric to collect (default: accuracy, in the column Acc); may be "
        "given several times",
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(command_line.run(main))
