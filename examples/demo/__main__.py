"""Tells the whole story of prompt recycling on tiny models.

It tunes prompts on one model and recycles them to three others: two with other seeds,
and one with another width. Then it evaluates them and compares them with baselines. Run
it from the top of the checkout. It writes `report.html`, the README's picture
(`accuracies.svg`), the commands that it ran (`commands.sh`), their results
(`results.json`), and a folder for each run.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import shutil
import time

from examples.demo import report, results, story
from examples.demo.commands import Command, Runner, accuracies


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.demo",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("output", type=pathlib.Path, help="a folder, emptied first")
    output = parser.parse_args().output
    if output.exists():
        if any(output.iterdir()) and not (output / "commands.sh").exists():
            parser.error(f"{output} is not empty and contains no earlier demo.")
        shutil.rmtree(output)
    run(output)


def run(output: pathlib.Path) -> list[results.Outcome]:
    """Runs all stages, prints their results, and writes the report."""
    started = time.monotonic()
    runner = Runner(output / "commands.sh")
    outcomes: list[results.Outcome] = []
    stages = story.stages(output)
    for number, stage in enumerate(stages, start=1):
        print(f"\n{number}. {stage.title}. The first of these commands:\n")
        print(f"{stage.jobs[0].command}\n", flush=True)
        for job in stage.jobs:
            job.prepare()
        done = runner.run([job.command for job in stage.jobs])
        for job, command in zip(stage.jobs, done, strict=True):
            if not job.trials:
                print(f"  done   {command.output}", flush=True)
            for trial in job.trials:
                outcome = results.Outcome(trial, tuple(accuracies(trial.output)))
                outcomes.append(outcome)
                print(f"  {outcome.accuracy:5.1f} %  {trial.title}", flush=True)
    examples = {
        stage.jobs[0].command.program: stage.jobs[0].command for stage in stages
    }
    _write(outcomes, examples, output)
    print(f"\n{results.table(outcomes)}\n")
    print(f"The report with pictures: {output / 'report.html'}")
    print(f"All commands, to run them again: {output / 'commands.sh'}")
    minutes, seconds = divmod(round(time.monotonic() - started), 60)
    print(f"This took {minutes} min {seconds} s.")
    return outcomes


def _write(
    outcomes: list[results.Outcome],
    examples: dict[str, Command],
    output: pathlib.Path,
) -> None:
    lines = [
        {
            "method": outcome.trial.method,
            "task": outcome.trial.task,
            "model": outcome.trial.model,
            "seed": outcome.trial.seed,
            "step": outcome.trial.step,
            "accuracy": outcome.curve,
            "output": str(outcome.trial.output),
        }
        for outcome in outcomes
    ]
    (output / "results.json").write_text(json.dumps(lines, indent=1) + "\n")
    (output / "report.html").write_text(report.page(outcomes, examples))
    report.save_svg(report.accuracies(outcomes), output / "accuracies.svg")


if __name__ == "__main__":
    main()
