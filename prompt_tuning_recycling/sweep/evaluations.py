"""What a sweep evaluates on each target: baselines, and the prompts recycled for it."""

from __future__ import annotations

from collections.abc import Iterable

from prompt_tuning_recycling.sweep import layout
from prompt_tuning_recycling.sweep.configuration import Configuration
from prompt_tuning_recycling.sweep.manifest import Evaluation
from prompt_tuning_recycling.sweep.plan import Item

NO_PROMPT = "no-prompt"


def of_target(
    configuration: Configuration, target: str, items: Iterable[Item]
) -> list[Evaluation]:
    """Returns what is to be evaluated on a target: baselines, then recycled prompts."""
    return [
        *(evaluation for _, evaluation in baselines(configuration, target)),
        *(
            Evaluation(item.eval_dir, prompt=item.output)
            for item in items
            if item.target == target
        ),
    ]


def baselines(
    configuration: Configuration, target: str
) -> list[tuple[str, Evaluation]]:
    """Returns the names and evaluations of a target's baselines.

    `no-prompt`, `random-<seed>`, and `untuned-<init>-<run>`: what the tuning on the
    target itself began with.
    """
    wanted = configuration.baselines

    def place(name: str) -> str:
        return layout.baseline(
            configuration.root_dir, configuration.dataset, target, name
        )

    found = []
    if wanted.no_prompt:
        found.append((NO_PROMPT, Evaluation(place(NO_PROMPT), no_prompt=True)))
    for seed in range(wanted.random_prompts):
        name = f"random-{seed}"
        found.append((name, Evaluation(place(name), random_prompt=seed)))
    if wanted.untuned_step is not None:
        for init, runs in configuration.prompts[target].items():
            for run, model_dir in runs.items():
                name = untuned(init, run)
                prompt = layout.export(
                    model_dir, wanted.untuned_step, configuration.prompt_file
                )
                found.append((name, Evaluation(place(name), prompt=prompt)))
    return found


def untuned(init: str, run: str) -> str:
    """Returns the name of the baseline that a run of an initialisation began with."""
    return layout.part(f"untuned-{init}-{run}")
