"""What a sweep evaluates on each target: baselines and recycled prompts."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterable

from prompt_tuning_recycling.evaluation.manifest import Evaluation
from prompt_tuning_recycling.sweep import layout
from prompt_tuning_recycling.sweep.configuration import Configuration
from prompt_tuning_recycling.sweep.plan import Cell, Item


class Kind(enum.Enum):
    """A kind of baseline."""

    NO_PROMPT = "no prompt"
    RANDOM = "random prompts"
    UNTUNED = "untuned prompts"


@dataclasses.dataclass(frozen=True)
class Group:
    """Baselines whose mean counts as one baseline.

    Attributes:
      kind: their kind.
      init: the initialization of untuned prompts, which are compared only with prompts
        of the same initialization; None for the other kinds.
    """

    kind: Kind
    init: str | None = None

    def __str__(self) -> str:
        return self.kind.value + (f", {self.init}" if self.init is not None else "")


@dataclasses.dataclass(frozen=True)
class Baseline:
    """A baseline on a target.

    Attributes:
      target: the model.
      group: the group whose mean it is part of.
      name: its name in tables, and the name of its folder: `no-prompt`,
        `random-<seed>`, or `untuned-<init>-<run>` for the prompt that the target's own
        tuning began with.
      evaluation: what to evaluate, and where its metrics go.
      run: the tuning run of an untuned prompt; None for the other kinds.
    """

    target: str
    group: Group
    name: str
    evaluation: Evaluation
    run: str | None = None


def of_target(
    configuration: Configuration, target: str, items: Iterable[Item]
) -> list[Evaluation]:
    """Returns a model's evaluations: baselines, prompts recycled for it, and its own
    prompts, if it is the teacher in a choice.
    """
    items = list(items)
    return [
        *(baseline.evaluation for baseline in baselines(configuration, target)),
        *(
            Evaluation(item.eval_dir, prompt=item.output)
            for item in items
            if item.target == target
        ),
        *(
            Evaluation(folder, prompt=prompt, scores_only=True)
            for folder, prompt in teachers(configuration, target, items).items()
        ),
    ]


def teachers(
    configuration: Configuration, model: str, items: Iterable[Item]
) -> dict[str, str]:
    """Returns folder of scores -> tuned prompt, for the prompts of a source model whose
    answers are the teacher's in a choice.
    """
    if not any(choice.teacher for choice in configuration.choices):
        return {}
    return {
        teacher_dir(configuration, item): item.prompt_from
        for item in items
        if item.source == model
    }


def teacher_dir(configuration: Configuration, of: Item | Cell) -> str:
    """Returns the folder of the scores of a source model with its own prompt."""
    root, dataset = configuration.root_dir, configuration.dataset
    return layout.teacher(root, dataset, of.source, of.init, of.run, of.step)


def baselines(configuration: Configuration, target: str) -> list[Baseline]:
    """Returns a target's baselines: no prompt, random prompts, untuned prompts."""
    wanted = configuration.baselines

    def place(name: str) -> str:
        return layout.baseline(
            configuration.root_dir, configuration.dataset, target, name
        )

    found = []
    if wanted.no_prompt:
        name = "no-prompt"
        evaluation = Evaluation(place(name), no_prompt=True)
        found.append(Baseline(target, Group(Kind.NO_PROMPT), name, evaluation))
    for seed in range(wanted.random_prompts):
        name = f"random-{seed}"
        evaluation = Evaluation(place(name), random_prompt=seed)
        found.append(Baseline(target, Group(Kind.RANDOM), name, evaluation))
    if wanted.untuned_step is not None:
        for init, runs in configuration.prompts[target].items():
            for run, model_dir in runs.items():
                name = layout.part(f"untuned-{init}-{run}")
                prompt = layout.export(
                    model_dir, wanted.untuned_step, configuration.prompt_file
                )
                evaluation = Evaluation(place(name), prompt=prompt)
                group = Group(Kind.UNTUNED, init)
                found.append(Baseline(target, group, name, evaluation, run))
    return found


def groups_for(configuration: Configuration, init: str) -> list[Group]:
    """Returns the baselines for prompts of an initialization."""
    wanted = configuration.baselines
    found = []
    if wanted.no_prompt:
        found.append(Group(Kind.NO_PROMPT))
    if wanted.random_prompts:
        found.append(Group(Kind.RANDOM))
    if wanted.untuned_step is not None:
        found.append(Group(Kind.UNTUNED, init))
    return found
