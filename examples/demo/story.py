"""What the demo does: its stages, and the trials in each stage."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterator

from examples.demo.commands import GIN, MODELS, Command, evaluate, tune

TASKS = ("sentiment", "topic")
SEEDS = (0, 1, 2)
SOURCE = "source"
TARGETS = ("target-1", "target-2", "wide")
RECYCLERS = ("v2v-lin", "lin-comb", "v2v-nn")
RANDOM_PROMPTS = 10
# Steps of its tuning at which a prompt is recycled to see what longer tuning brings.
# The last step is recycled anyway.
SOURCE_STEPS = (0, 10, 20, 50)
# Steps of tuning on a target, with an evaluation after each.
TARGET_TUNING_STEPS = 25
# Steps of pre-training, before any prompt is tuned.
PRETRAINING_STEPS = 1600

NO_PROMPT = "no prompt"
UNTUNED = "the untuned prompt"
COPIED = "the source's prompt, copied"
RANDOM = "a random prompt"
INSTRUCTION = "instruction in words"
TUNED = "prompt tuned on the target"
ON_SOURCE = "prompt tuned on the source"
FURTHER = "recycled prompt, tuned further"
BY_STEP = "recycled after so many steps"

BASELINES = (NO_PROMPT, UNTUNED, COPIED, RANDOM)
REFERENCES = (INSTRUCTION, TUNED)

_WORDS = f"{GIN}/words.gin"
_ANY_WORDS = f"{GIN}/any_words.gin"
_RECYCLE = f"{GIN}/recycle.gin"


@dataclasses.dataclass(frozen=True)
class Trial:
    """One command, and what its accuracy means.

    Attributes:
      method: what the model is given: a recycler's name, or one of the names above.
      task: the task.
      model: the model that is evaluated.
      command: the command.
      seed: the prompt's seed, if there are several prompts.
      step: the step of tuning at which the source's prompt was recycled.
    """

    method: str
    task: str
    model: str
    command: Command
    seed: int | None = None
    step: int | None = None

    @property
    def title(self) -> str:
        """One line that says what is evaluated."""
        parts = [self.task, self.model, self.method]
        if self.seed is not None:
            parts.append(f"seed {self.seed}")
        if self.step is not None:
            parts.append(f"step {self.step}")
        return ", ".join(parts)


@dataclasses.dataclass(frozen=True)
class Stage:
    """Trials that depend only on trials of earlier stages."""

    title: str
    trials: tuple[Trial, ...]


def stages(output: pathlib.Path) -> list[Stage]:
    """Returns the story's stages; their commands write below `output`."""
    return [
        Stage(
            "Tune prompts on the source model, which itself stays unchanged",
            tuple(_source_prompts(output)),
        ),
        Stage(
            "Recycle them to three other models, and evaluate them without more tuning",
            tuple(_recycled(output)),
        ),
        Stage("Evaluate the baselines", tuple(_baselines(output))),
        Stage(
            "Evaluate what is possible: an instruction in words, or a prompt tuned on "
            "the target",
            tuple(_references(output)),
        ),
        Stage(
            "Tune further on the target, from a recycled prompt",
            tuple(_further(output)),
        ),
        Stage(
            "Recycle earlier steps of the source's prompt to see how long to tune it",
            tuple(_by_step(output)),
        ),
    ]


def _source_run(output: pathlib.Path, task: str, seed: int) -> pathlib.Path:
    return output / "source" / f"{task}-{seed}"


def _source_prompts(output: pathlib.Path) -> Iterator[Trial]:
    for task in TASKS:
        for seed in SEEDS:
            command = tune(
                SOURCE,
                task,
                _source_run(output, task, seed),
                _WORDS,
                PROMPT_SEED=seed,
                RANDOM_SEED=seed,
            )
            yield Trial(ON_SOURCE, task, SOURCE, command, seed)


def _recycled(output: pathlib.Path) -> Iterator[Trial]:
    for task in TASKS:
        for target in TARGETS:
            for recycler in RECYCLERS:
                for seed in SEEDS:
                    command = evaluate(
                        target,
                        task,
                        output / "recycled" / f"{task}-{target}-{recycler}-{seed}",
                        _RECYCLE,
                        RECYCLE_FROM=str(_source_run(output, task, seed)),
                        RECYCLER=recycler,
                    )
                    yield Trial(recycler, task, target, command, seed)


def _baselines(output: pathlib.Path) -> Iterator[Trial]:
    for task in TASKS:
        for target in TARGETS:
            folder = output / "baselines" / f"{task}-{target}"
            command = evaluate(target, task, folder / "no-prompt")
            yield Trial(NO_PROMPT, task, target, command)
            for seed in SEEDS:
                command = evaluate(
                    target, task, folder / f"untuned-{seed}", _WORDS, PROMPT_SEED=seed
                )
                yield Trial(UNTUNED, task, target, command, seed)
                if target == "wide":
                    continue
                command = evaluate(
                    target,
                    task,
                    folder / f"copied-{seed}",
                    "prompts/from_file.gin",
                    PROMPT_FILE=str(_source_run(output, task, seed)),
                )
                yield Trial(COPIED, task, target, command, seed)
            for seed in range(RANDOM_PROMPTS):
                command = evaluate(
                    target,
                    task,
                    folder / f"random-{seed}",
                    _ANY_WORDS,
                    PROMPT_SEED=seed,
                )
                yield Trial(RANDOM, task, target, command, seed)


def _references(output: pathlib.Path) -> Iterator[Trial]:
    for task in TASKS:
        for target in TARGETS:
            folder = output / "references" / f"{task}-{target}"
            command = evaluate(target, f"{task}_instructed", folder / "instructed")
            yield Trial(INSTRUCTION, task, target, command)
            command = _tune_on_target(target, task, folder / "tuned", _WORDS)
            yield Trial(TUNED, task, target, command)


def _further(output: pathlib.Path) -> Iterator[Trial]:
    for task in TASKS:
        for target in TARGETS:
            command = _tune_on_target(
                target,
                task,
                output / "further" / f"{task}-{target}",
                _RECYCLE,
                RECYCLE_FROM=str(_source_run(output, task, SEEDS[0])),
            )
            yield Trial(FURTHER, task, target, command)


def _by_step(output: pathlib.Path) -> Iterator[Trial]:
    for task in TASKS:
        for target in TARGETS:
            for step in SOURCE_STEPS:
                exports = _source_run(output, task, SEEDS[0]) / "numpy_checkpoints"
                export = exports / f"checkpoint_{PRETRAINING_STEPS + step}"
                command = evaluate(
                    target,
                    task,
                    output / "by-step" / f"{task}-{target}-{step}",
                    _RECYCLE,
                    SOURCE_CHECKPOINT=f"{MODELS}/{SOURCE}",
                    SOURCE_PROMPT=str(export / "encoder.prompt.prompt.prompt"),
                )
                yield Trial(BY_STEP, task, target, command, step=step)


def _tune_on_target(
    target: str, task: str, output: pathlib.Path, start: str, **settings: object
) -> Command:
    return tune(
        target,
        task,
        output,
        start,
        TRAIN_STEPS_RELATIVE=TARGET_TUNING_STEPS,
        EVAL_PERIOD=1,
        **settings,
    )
