"""Recycle many prompts between many models: a sweep that one file describes.

  python -m prompt_tuning_recycling.recycle --config=sweep.json

For every pair of models, each method recycles each prompt of the source, at each step
of its tuning, for the target. Existing outputs are left alone, so a sweep that was
stopped continues where it stopped. If you run the same command several times at once,
the runs share the work. The command also writes a list of evaluations for each target,
for `evaluate_prompts`, and the paper's list of flags for separate jobs. docs/sweeps.md
describes the file and the folders.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import time
from collections.abc import Iterable, Sequence

from prompt_tuning_recycling import command_line
from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.evaluation import manifest
from prompt_tuning_recycling.files import write_atomically
from prompt_tuning_recycling.sweep import (
    cli_args,
    configuration,
    evaluations,
    layout,
    outputs,
)
from prompt_tuning_recycling.sweep.configuration import Configuration
from prompt_tuning_recycling.sweep.plan import PairWork, Plan
from prompt_tuning_recycling.sweep.work import Outcome, recycle_pair

logger = logging.getLogger(__name__)

_MOST_SHOWN = 20


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line.

    Raises:
      RecyclingError: the configuration cannot be used, or a part of the work failed;
        the rest was done.
    """
    flags = _parser().parse_args(arguments)
    if flags.workers < 1:
        raise RecyclingError(f"--workers: expected 1 or more, found {flags.workers}.")
    sweep = configuration.load(flags.config, check_words=flags.recycle)
    plan = Plan(sweep)
    pairs = plan.pairs()
    outputs.check(sweep, pairs)
    failed = [(folder, why) for pair in pairs for folder, why in pair.unlisted]
    if flags.recycle:
        failed = _recycle(sweep, pairs, flags)
    _write_lists(sweep, pairs)
    failed = list(dict.fromkeys(failed))
    for name, why in failed[:_MOST_SHOWN]:
        logger.error("failed: %s: %s", name, why)
    if len(failed) > _MOST_SHOWN:
        logger.error("failed: %d more", len(failed) - _MOST_SHOWN)
    if failed:
        raise RecyclingError(
            f"{len(failed)} failed, listed above; the rest is done. Fix the causes "
            "and run the same command again: it does only what is missing."
        )


def _recycle(
    sweep: Configuration, pairs: Iterable[PairWork], flags: argparse.Namespace
) -> list[tuple[str, str]]:
    # Only recycling needs Dask; writing the lists does not.
    try:
        from prompt_tuning_recycling.sweep.engine import Engine
    except ImportError as error:
        raise RecyclingError(
            f"{error}. Dask distributes the work of sweeps: run pip install "
            "'prompt_tuning_recycling[sweep]'"
        ) from error

    started = time.monotonic()
    engine = Engine(sweep.root_dir, flags.workers, flags.scheduler)
    outcomes: list[Outcome] = []
    pieces = {_key(pair): pair for pair in pairs}
    for _, outcome in engine.run(recycle_pair, pieces):
        outcomes.append(outcome)
        print(
            f"{outcome.source} -> {outcome.target}: {len(outcome.recycled)} recycled, "
            f"{len(outcome.present)} already there, {len(outcome.failed)} failed "
            f"({outcome.seconds:.1f} s; {len(outcomes)} of {len(pieces)} pairs)",
            flush=True,
        )
    for change in dict.fromkeys(text for one in outcomes for text in one.changes):
        logger.warning("warning: %s; what came from it was recycled again", change)
    recycled, present, fitted = (
        sum(len(getattr(outcome, name)) for outcome in outcomes)
        for name in ("recycled", "present", "fitted")
    )
    print(
        f"{recycled} prompts recycled by {fitted} newly learned maps, {present} "
        f"already there ({time.monotonic() - started:.1f} s)"
    )
    return [failure for outcome in outcomes for failure in outcome.failed]


def _key(pair: PairWork) -> str:
    """A key that commands share if they want the same work in the same folder."""
    wanted = hashlib.sha256(repr(pair).encode()).hexdigest()
    return f"recycle {pair.source} -> {pair.target} {wanted[:16]}"


def _write_lists(sweep: Configuration, pairs: Sequence[PairWork]) -> None:
    items = [item for pair in pairs for item in pair.items]
    path = layout.cli_args(sweep.root_dir, sweep.dataset)
    write_atomically(
        path, "".join(f"{line}\n" for line in cli_args.lines(items)).encode()
    )
    print(f"wrote {path} ({len(items)} lines)")
    for target in sweep.pretrained:
        path = layout.manifest(sweep.root_dir, sweep.dataset, target)
        listed = evaluations.of_target(sweep, target, items)
        manifest.write(path, listed, sweep.drawings)
        print(f"wrote {path} ({len(listed)} evaluations)")


def _parser() -> argparse.ArgumentParser:
    parser = command_line.parser("recycle", "--config=FILE [flags]", __doc__)
    parser.add_argument("--config", required=True, help="the sweep, a JSON file")
    parser.add_argument(
        "--recycle",
        type=command_line.boolean,
        nargs="?",
        const=True,
        default=True,
        metavar="BOOL",
        help="whether to recycle; --recycle=false and --norecycle only write the lists",
    )
    parser.add_argument(
        "--norecycle", action="store_false", dest="recycle", help=argparse.SUPPRESS
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        help="how many processes this command uses",
    )
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="a running Dask scheduler (tcp://host:8786, or its --scheduler-file) "
        "whose workers do the work instead, on any number of machines",
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(command_line.run(main))
