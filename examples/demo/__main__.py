"""Tells the whole story of prompt recycling on tiny models:

  python -m examples.demo build/demo

Prompts are tuned on one model and carried over to three others, two of other seeds and
one of another width, then evaluated and compared with baselines. Run it from the top
of the checkout; it writes commands.sh, results.json and report.html.
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import sys
import time
from collections.abc import Iterable

from examples.demo import results
from examples.demo.steps import GIN, MODELS, Command, Runner, evaluate, tune

TASKS = ("sentiment", "topic")
SEEDS = (0, 1, 2)
SOURCE = "source"
TARGETS = ("target-1", "target-2", "wide")
RECYCLERS = ("v2v-lin", "lin-comb", "v2v-nn")
RANDOM_PROMPTS = 10
SOURCE_STEPS = (0, 20, 40, 60, 80)
PRETRAINING_STEPS = 1600

WORDS = f"{GIN}/words.gin"
RECYCLE = f"{GIN}/recycle.gin"


def main(output: pathlib.Path) -> None:
    """Runs every step and writes the report."""
    started = time.monotonic()
    if output.exists():
        shutil.rmtree(output)
    runner = Runner(output / "commands.sh")
    cells: list[dict[str, object]] = []

    def do(title: str, plan: dict[Command, dict[str, object]]) -> None:
        """Runs what a step of the story consists of and keeps its figures."""
        seconds = time.monotonic() - started
        print(f"\n[{seconds:.0f} s] {title}", flush=True)
        for command in runner.run(plan):
            curve = command.accuracies()
            print(f"$ {command}\n  accuracy {curve[-1][1]:.1f} %", flush=True)
            cells.append(
                {**plan[command], "accuracy": curve[-1][1], "curve": curve}
            )

    prompts = {
        (task, seed): output / "source" / f"{task}-{seed}"
        for task in TASKS
        for seed in SEEDS
    }
    do(
        "Tune prompts on the source model, which stays as it is.",
        {
            tune(SOURCE, task, folder, WORDS, PROMPT_SEED=seed, RANDOM_SEED=seed): {
                "kind": "source", "task": task, "seed": seed,
            }
            for (task, seed), folder in prompts.items()
        },
    )
    do(
        "Recycle them to the other models, and evaluate them there, untrained.",
        {
            evaluate(
                target, task, output / "recycled" / f"{task}-{seed}-{target}-{recycler}",
                RECYCLE, RECYCLE_FROM=str(folder), RECYCLER=recycler,
            ): {
                "kind": recycler, "task": task, "seed": seed, "target": target,
            }
            for (task, seed), folder in prompts.items()
            for target in TARGETS
            for recycler in RECYCLERS
        },
    )
    do("Baselines, none of which knows the task.", _baselines(output, prompts))
    do("What is possible: the task told in words, or a prompt tuned on the target.", {
        **{
            evaluate(
                target, f"{task}_instructed", output / "instructed" / f"{task}-{target}",
                prompt=False,
            ): {"kind": "instruction", "task": task, "target": target}
            for task in TASKS
            for target in TARGETS
        },
        **{
            tune(target, task, output / "tuned" / f"{task}-{target}", WORDS): {
                "kind": "tuned", "task": task, "target": target,
            }
            for task in TASKS
            for target in TARGETS
        },
    })
    do(
        "Tune further from a recycled prompt.",
        {
            tune(
                target, task, output / "further" / f"{task}-{target}", RECYCLE,
                RECYCLE_FROM=str(prompts[task, SEEDS[0]]),
            ): {"kind": "further", "task": task, "target": target}
            for task in TASKS
            for target in TARGETS
        },
    )
    do(
        "How long should the source's prompt be tuned? Recycle earlier steps of it.",
        {
            evaluate(
                target, task, output / "by-step" / f"{task}-{target}-{step}", RECYCLE,
                SOURCE_CHECKPOINT=f"{MODELS}/{SOURCE}",
                SOURCE_PROMPT=str(_exported(prompts[task, SEEDS[0]], step)),
            ): {"kind": "by step", "task": task, "target": target, "step": step}
            for task in TASKS
            for target in TARGETS
            for step in SOURCE_STEPS
        },
    )
    (output / "results.json").write_text(json.dumps(cells, indent=1) + "\n")
    print(results.table(cells))
    report = results.write_report(cells, output, time.monotonic() - started)
    print(f"\nThe report, with pictures: {report}")
    print(f"All commands: {output / 'commands.sh'}")


def _baselines(
    output: pathlib.Path, prompts: dict[tuple[str, int], pathlib.Path]
) -> dict[Command, dict[str, object]]:
    plan: dict[Command, dict[str, object]] = {}
    for task in TASKS:
        for target in TARGETS:
            where = {"task": task, "target": target}
            folder = output / "baselines" / f"{task}-{target}"
            without = evaluate(target, task, folder / "no-prompt", prompt=False)
            plan[without] = {"kind": "no prompt", **where}
            for seed in SEEDS:
                untuned = evaluate(
                    target, task, folder / f"untuned-{seed}", WORDS, PROMPT_SEED=seed
                )
                plan[untuned] = {"kind": "untuned", "seed": seed, **where}
                if target != "wide":
                    copied = evaluate(
                        target, task, folder / f"copied-{seed}",
                        "prompts/from_file.gin",
                        PROMPT_FILE=str(prompts[task, seed]),
                    )
                    plan[copied] = {"kind": "copied", "seed": seed, **where}
            for seed in range(RANDOM_PROMPTS):
                drawn = evaluate(
                    target, task, folder / f"random-{seed}", f"{GIN}/any_words.gin",
                    PROMPT_SEED=seed,
                )
                plan[drawn] = {"kind": "random", "seed": seed, **where}
    return plan


def _exported(run: pathlib.Path, step: int) -> pathlib.Path:
    folder = run / "numpy_checkpoints" / f"checkpoint_{PRETRAINING_STEPS + step}"
    return folder / "encoder.prompt.prompt.prompt"


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "build/demo"))
