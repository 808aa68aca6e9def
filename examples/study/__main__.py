"""Runs sweeps of the paper's shape on the demo's four tiny models, and sums them up.

  python -m examples.study build/study

There is a sweep for each of two tasks and two lengths of prompts. Each one tunes
prompts on every model, in two runs, and recycles them to each of the other models, at
four steps of the tuning, by every recycler. It evaluates them and the baselines,
chooses among them in several ways without labels, collects the results, and writes a
report. At the end, `evidence.md` in the output folder says what all sweeps together
show. Run it from the top of the checkout. If you stop it and start it again, it
continues where it stopped.
"""

from __future__ import annotations

import argparse
import pathlib
import shlex
import subprocess
import sys
import time
from collections.abc import Callable

from examples.demo import commands
from examples.demo.commands import Runner
from examples.study import evidence
from prompt_tuning_recycling.sweep import configuration, layout
from prompt_tuning_recycling.sweep.configuration import Configuration

TEMPLATE = pathlib.Path("examples/study/study.json")
TASKS = ("sentiment", "topic")
LENGTHS = (5, 20)
WORDS = f"{commands.GIN}/words.gin"
STEPS = 100
# The first steps of tuning, while the prompt is still a weak teacher, are exported more
# often.
FIRST_STEPS, OFTEN = 8, 2


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.study",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("output", type=pathlib.Path, help="the folder for all outputs")
    parser.add_argument("--workers", type=int, default=2, help="recycling processes")
    flags = parser.parse_args()
    started = time.monotonic()
    sweeps = {
        (task, length): write_config(flags.output, task, length)
        for task in TASKS
        for length in LENGTHS
    }
    runner = Runner(flags.output / "commands.sh")
    for (task, length), config in sweeps.items():
        print(f"\n{task}, prompts of {length} vectors", flush=True)
        run(config, task, length, runner, flags.workers)
    text = evidence.summary({key: str(config) for key, config in sweeps.items()})
    (flags.output / "evidence.md").write_text(text)
    print(f"\n{text}")
    minutes, seconds = divmod(round(time.monotonic() - started), 60)
    print(f"\nThis took {minutes} min {seconds} s.")


def write_config(output: pathlib.Path, task: str, length: int) -> pathlib.Path:
    """Writes the configuration of a sweep, and returns its path."""
    text = TEMPLATE.read_text()
    # The template is the sweep for one task and length.
    for old, new in (
        ("build/study/sentiment-5", str(output / f"{task}-{length}")),
        ("sentiment-5", f"{task}-{length}"),
        ("demo_sentiment", f"demo_{task}"),
    ):
        text = text.replace(old, new)
    path = output / f"{task}-{length}.json"
    output.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def run(
    config: pathlib.Path, task: str, length: int, runner: Runner, workers: int
) -> None:
    """Runs a sweep, from tuning to its report."""
    sweep = configuration.load(config, check_words=True)
    _timed("Tune prompts on every model", lambda: tune(sweep, task, length, runner))
    _timed(
        "Recycle them between all models",
        lambda: _run("recycle", f"--config={config}", f"--workers={workers}"),
    )
    _timed("Evaluate them and the baselines", lambda: evaluate(sweep, length, runner))
    _timed(
        "Choose among them, and collect the results",
        lambda: _run("collect_recycling_results", f"--config={config}"),
    )
    _timed("Write the report", lambda: _run("report", f"--config={config}"))


def tune(sweep: Configuration, task: str, length: int, runner: Runner) -> None:
    """Tunes every prompt that the configuration names, unless it exists."""
    wanted = [
        (model, seed, folder)
        for model, inits in sweep.prompts.items()
        for runs in inits.values()
        for seed, folder in enumerate(runs.values())
        if not all(
            pathlib.Path(layout.export(folder, step, sweep.prompt_file)).exists()
            for step in sweep.steps or ()
        )
    ]
    for steps, period in ((FIRST_STEPS, OFTEN), (STEPS, STEPS)):
        done = runner.run(
            commands.tune(
                model,
                task,
                pathlib.Path(folder),
                WORDS,
                PROMPT_LENGTH=length,
                PROMPT_SEED=seed,
                RANDOM_SEED=seed,
                TRAIN_STEPS_RELATIVE=steps,
                CHECKPOINT_PERIOD=period,
                EVAL_PERIOD=period,
            )
            for model, seed, folder in wanted
        )
        for command in done:
            step, accuracy = command.accuracies()[-1]
            print(f"  {accuracy:5.1f} % at step {step}  {command.output}", flush=True)


def evaluate(sweep: Configuration, length: int, runner: Runner) -> None:
    """Evaluates every manifest, one job for each model."""
    jobs = [
        commands.evaluate_prompts(
            model,
            sweep.task_name.removeprefix("demo_"),
            pathlib.Path(layout.manifest(sweep.root_dir, sweep.dataset, model)),
            PROMPT_LENGTH=length,
        )
        for model in sweep.pretrained
    ]
    for job in runner.run(jobs):
        print(f"  done: {dict(job.settings)['PROMPT_MANIFEST']}", flush=True)


def _run(module: str, *arguments: str) -> None:
    command = ["-m", f"prompt_tuning_recycling.{module}", *arguments]
    print(f"python {shlex.join(command)}", flush=True)
    subprocess.run([sys.executable, *command], check=True)


def _timed(title: str, stage: Callable[[], None]) -> None:
    print(f"\n{title}", flush=True)
    started = time.monotonic()
    stage()
    print(f"({time.monotonic() - started:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
