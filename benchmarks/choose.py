"""Times a choice among recyclers against evaluating each one's prompt.

    PYTHONPATH=. python benchmarks/choose.py SOURCE_RUN [--runs 3]

SOURCE_RUN is a prompt that the demo tuned on its source model, such as
build/demo/source/sentiment-0. Compared are one `standalone.choose` over all of the
portfolio with 32 inputs, and one `standalone.eval` on 256 inputs for each recycler of
the portfolio, which is what a user with labels would run instead. Both are whole
processes on the demo's model target-1. Printed are the medians, the ratio, and the
seconds for each candidate that the choice itself reports.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

from examples.demo import commands
from examples.demo.commands import GIN, Command
from prompt_tuning_recycling import recyclers

TARGET, TASK = "target-1", "sentiment"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source_run")
    parser.add_argument("--runs", type=int, default=3)
    flags = parser.parse_args()
    choosing, evaluating, scoring = [], [], []
    for number in range(flags.runs + 1):
        with tempfile.TemporaryDirectory() as folder:
            output = pathlib.Path(folder)
            choice = commands.choose(
                TARGET,
                TASK,
                output / "choice",
                RECYCLE_FROM=flags.source_run,
                CANDIDATES=recyclers.PORTFOLIO,
            )
            evaluations = [
                commands.evaluate(
                    TARGET,
                    TASK,
                    output / name,
                    f"{GIN}/recycle.gin",
                    RECYCLE_FROM=flags.source_run,
                    RECYCLER=name,
                )
                for name in recyclers.PORTFOLIO
            ]
            seconds = seconds_of(choice), sum(map(seconds_of, evaluations))
            record = output / "choice" / "chosen" / "prompt.npy.json"
            candidates = json.loads(record.read_text())["choice"]["candidates"]
        if number:  # The first pair warms the disk cache.
            choosing.append(seconds[0])
            evaluating.append(seconds[1])
            # The first candidate's time includes the compilation.
            found = [one["seconds"] for one in candidates.values()][1:]
            scoring.append(statistics.fmean(found))
    ratio = statistics.median(a / b for a, b in zip(choosing, evaluating, strict=True))
    count = len(recyclers.PORTFOLIO)
    print(
        f"choose {statistics.median(choosing):.1f} s, {count} evals "
        f"{statistics.median(evaluating):.1f} s: ratio {ratio:.2f}; scoring "
        f"{statistics.median(scoring):.3f} s for each candidate after the first, one "
        f"eval {statistics.median(evaluating) / count:.1f} s"
    )


def seconds_of(command: Command) -> float:
    """Returns how long a command takes as a process of its own."""
    module = f"prompt_tuning_recycling.standalone.{command.program}"
    started = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", module, *command.arguments()],
        check=True,
        capture_output=True,
    )
    return time.monotonic() - started


if __name__ == "__main__":
    main()
