"""Measures what refining without labels adds to a chosen prompt, and to no prompt.

  python -m examples.study.refinement build/study

Run it after `python -m examples.study build/study`. For every pair of models, it takes
the prompt that was chosen for the target at the end of the source's tuning, and an
untuned prompt, and tunes both to the source's answers on the same 32 unlabeled inputs.
It prints the mean and the worst accuracy on the test split, in percent, after so many
steps of at most 20.
"""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import statistics
from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from examples.study import models
from examples.study.__main__ import LENGTHS, TASKS
from prompt_tuning_recycling.choosing import refinement, teacher, unlabeled
from prompt_tuning_recycling.initial_prompts import SampledVocabulary
from prompt_tuning_recycling.prompts import load_prompt
from prompt_tuning_recycling.standalone.prompted import PromptedModel
from prompt_tuning_recycling.sweep import configuration
from prompt_tuning_recycling.sweep.configuration import Configuration
from prompt_tuning_recycling.sweep.plan import Plan, by_cell, chosen_output

CHOICE = "chosen"
STEPS = (0, 1, 2, 3, 5, 10, 20)


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.study.refinement",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("study", type=pathlib.Path, help="the study's folder")
    study = parser.parse_args().study
    print("| prompts | from | " + " | ".join(f"{n} steps" for n in STEPS) + " |")
    print("|---|---|" + "---|" * len(STEPS))
    for length in LENGTHS:
        found: dict[str, dict[int, list[float]]] = defaultdict(
            lambda: defaultdict(list)
        )
        for task in TASKS:
            sweep = configuration.load(study / f"{task}-{length}.json")
            for start, curve in _curves(sweep, length):
                for steps, accuracy in curve.items():
                    found[start][steps].append(accuracy)
        for start, curves in found.items():
            cells = [
                f"{statistics.fmean(curves[steps]):.1f}, {min(curves[steps]):.1f}"
                for steps in STEPS
            ]
            print(f"| {length} vectors | {start} | " + " | ".join(cells) + " |")


def _curves(sweep: Configuration, length: int) -> list[tuple[str, dict[int, float]]]:
    """Returns, for each start and pair, steps -> accuracy."""
    inputs = unlabeled.read(sweep.task_name, lengths=models.TOKENS)
    loaded = {
        name: models.load(checkpoint, length)
        for name, checkpoint in sweep.pretrained.items()
    }
    last = max(sweep.steps or ())
    curves = []
    for cell, of_methods in by_cell(Plan(sweep).items()).items():
        if cell.step != last or cell.run != sweep.runs[0]:
            continue
        tuned = next(iter(of_methods.values())).prompt_from
        source, target = loaded[cell.source], loaded[cell.target]
        (name,) = target.shapes
        taught = teacher.teach(
            source,
            {name: load_prompt(tuned).array},
            inputs,
            models.TOKENS["targets"],
            {},
        )
        chosen = load_prompt(chosen_output(sweep, CHOICE, cell)).array
        untuned = SampledVocabulary(seed=0).make(target.checkpoint, length).array
        for start, array in (("the chosen prompt", chosen), ("sampled words", untuned)):
            curve = {
                steps: models.accuracy(
                    target,
                    _refined(target, {name: array}, inputs, taught, steps),
                    sweep.task_name,
                )
                for steps in STEPS
            }
            curves.append((start, curve))
    return curves


def _refined(
    target: PromptedModel,
    prompts: Mapping[str, np.ndarray],
    inputs: unlabeled.Unlabeled,
    taught: teacher.Teacher,
    steps: int,
) -> Mapping[str, np.ndarray]:
    settings = dataclasses.replace(refinement.Refinement(), steps=steps)
    found = refinement.refine(target, prompts, inputs, taught.probabilities, settings)
    return found.prompts


if __name__ == "__main__":
    main()
