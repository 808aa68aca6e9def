"""Runs a sweep of the paper's shape on the demo's four tiny models, from its
configuration to the report.

  python -m examples.study build/study

It tunes prompts on each model, from two initializations, in three runs. It recycles
them to each of the other models, at four steps of the tuning, by three recyclers (one
of them also with fewer words). It evaluates them and the baselines, collects the
results, and writes the report. Run it from the top of the checkout. If you stop it and
start it again, it continues where it stopped.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import shlex
import subprocess
import sys
import time
from collections.abc import Callable

from examples.demo import commands
from examples.demo.commands import Command, Runner
from prompt_tuning_recycling.sweep import configuration, layout
from prompt_tuning_recycling.sweep.configuration import Configuration

TEMPLATE = pathlib.Path("examples/study/sentiment.json")
# An initialization's name in the configuration, and its gin file.
STARTS = {
    "sampled words": f"{commands.GIN}/words.gin",
    "random": "prompts/random_uniform.gin",
}
STEPS = 100
EXPORTED_EVERY = 10


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
    config = write_config(flags.output)
    sweep = configuration.load(config, check_words=True)
    started = time.monotonic()
    runner = Runner(flags.output / "commands.sh")
    _timed("Tune prompts on every model", lambda: tune(sweep, runner))
    _timed(
        "Recycle them between all models",
        lambda: _run("recycle", f"--config={config}", f"--workers={flags.workers}"),
    )
    _timed(
        "Evaluate them and the baselines",
        lambda: evaluate(sweep, runner),
    )
    _timed(
        "Collect the results",
        lambda: _run("collect_recycling_results", f"--config={config}"),
    )
    _timed("Write the report", lambda: _run("report", f"--config={config}"))
    minutes, seconds = divmod(round(time.monotonic() - started), 60)
    print(f"\nThis took {minutes} min {seconds} s.")


def write_config(output: pathlib.Path) -> pathlib.Path:
    """Writes the configuration for an output folder, and returns its path."""
    content = json.loads(TEMPLATE.read_text())
    old, new = content["root_dir"], str(output)
    content["root_dir"] = new
    for model, inits in content["prompts"].items():
        for init, runs in inits.items():
            content["prompts"][model][init] = {
                run: folder.replace(old, new, 1) for run, folder in runs.items()
            }
    path = output / TEMPLATE.name
    output.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")
    return path


def tune(sweep: Configuration, runner: Runner) -> None:
    """Tunes every prompt that the configuration names, unless it exists."""
    wanted = []
    for model, inits in sweep.prompts.items():
        for init, runs in inits.items():
            for seed, folder in enumerate(runs.values()):
                last = layout.export(folder, max(sweep.steps or ()), sweep.prompt_file)
                if not pathlib.Path(last).exists():
                    wanted.append(_tuning(model, STARTS[init], seed, folder))
    for command in runner.run(wanted):
        step, accuracy = command.accuracies()[-1]
        print(f"  {accuracy:5.1f} % at step {step}  {command.output}", flush=True)


def _tuning(model: str, start: str, seed: int, folder: str) -> Command:
    return commands.tune(
        model,
        "sentiment",
        pathlib.Path(folder),
        start,
        PROMPT_SEED=seed,
        RANDOM_SEED=seed,
        TRAIN_STEPS_RELATIVE=STEPS,
        CHECKPOINT_PERIOD=EXPORTED_EVERY,
        EVAL_PERIOD=EXPORTED_EVERY,
    )


def evaluate(sweep: Configuration, runner: Runner) -> None:
    """Evaluates every manifest, one job for each model."""
    jobs = [
        Command(
            "evaluate_prompts",
            (
                f"{commands.GIN}/{'wide' if model == 'wide' else 'tiny'}_prompt.gin",
                f"{commands.GIN}/evaluate_prompts.gin",
            ),
            (
                ("INITIAL_CHECKPOINT_PATH", checkpoint),
                ("MIXTURE_OR_TASK_NAME", sweep.task_name),
                (
                    "PROMPT_MANIFEST",
                    layout.manifest(sweep.root_dir, sweep.dataset, model),
                ),
            ),
            pathlib.Path(sweep.root_dir),
        )
        for model, checkpoint in sweep.pretrained.items()
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
