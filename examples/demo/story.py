"""What the demo does: its stages, with their commands and the trials to read."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterable, Iterator

from examples.demo import commands
from examples.demo.commands import GIN, MODELS, Command
from prompt_tuning_recycling.evaluation import manifest
from prompt_tuning_recycling.evaluation.manifest import Evaluation

TASKS = ("sentiment", "topic")
SEEDS = (0, 1)
SOURCE = "source"
TARGETS = ("target-1", "target-2", "wide")
PAPER = ("v2v-lin", "lin-comb", "v2v-nn")
RECYCLERS = (*PAPER, "soft-nearest", "procrustes", "relative", "sparse", "local")
RANDOM_PROMPTS = 10
# Steps of its tuning at which a prompt is recycled to see what longer tuning brings.
# The last step is recycled anyway.
SOURCE_STEPS = (0, 10)
# Steps of tuning on a target, and how many lie between evaluations.
TARGET_TUNING_STEPS = 10
TARGET_EVAL_PERIOD = 2
# Steps of pre-training, before any prompt is tuned.
PRETRAINING_STEPS = 1600

NO_PROMPT = "no prompt"
UNTUNED = "the untuned prompt"
COPIED = "the source's prompt, copied"
RANDOM = "a random prompt"
CHOSEN = "chosen without labels"
INSTRUCTION = "instruction in words"
TUNED = "prompt tuned on the target"
ON_SOURCE = "prompt tuned on the source"
FURTHER = "chosen prompt, tuned further"
BY_STEP = "recycled after so many steps"

BASELINES = (NO_PROMPT, UNTUNED, COPIED, RANDOM)
REFERENCES = (INSTRUCTION, TUNED)

_WORDS = f"{GIN}/words.gin"
_RECYCLE = f"{GIN}/recycle.gin"
_FROM_FILE = "prompts/from_file.gin"


@dataclasses.dataclass(frozen=True)
class Trial:
    """A run whose accuracy is read, and what it means.

    Attributes:
      method: what the model is given: a recycler's name, or one of the names above.
      task: the task.
      model: the model that is evaluated.
      output: the folder that holds the accuracy.
      seed: the prompt's seed, if there are several prompts.
      step: the step of tuning at which the source's prompt was recycled.
    """

    method: str
    task: str
    model: str
    output: pathlib.Path
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
class Job:
    """A command, with the trials that it evaluates.

    Attributes:
      command: the command.
      trials: what can be read when it is done.
      prepare: what to do before it runs.
    """

    command: Command
    trials: tuple[Trial, ...] = ()
    prepare: Callable[[], None] = lambda: None


@dataclasses.dataclass(frozen=True)
class Stage:
    """Jobs that depend only on jobs of earlier stages."""

    title: str
    jobs: tuple[Job, ...]


def stages(output: pathlib.Path) -> list[Stage]:
    """Returns the story's stages; their commands write below `output`."""
    return [
        Stage(
            "Tune prompts on the source model, which itself stays unchanged",
            tuple(_source_prompts(output)),
        ),
        Stage(
            "Recycle them to three other models in several ways, and choose one of the "
            "results on 32 texts without labels",
            tuple(_choices(output)),
        ),
        Stage(
            "Evaluate them all, and the baselines, in one job for each task and model",
            (*_evaluations(output), *_untuned(output)),
        ),
        Stage(
            "Evaluate what is possible: an instruction in words, or a prompt tuned on "
            "the target",
            tuple(_references(output)),
        ),
        Stage(
            "Tune further on the target, from a chosen prompt",
            tuple(_further(output)),
        ),
        Stage(
            "Recycle earlier steps of the source's prompt to see how long to tune it",
            tuple(_by_step(output)),
        ),
    ]


def _source_run(output: pathlib.Path, task: str, seed: int) -> pathlib.Path:
    return output / "source" / f"{task}-{seed}"


def _choice(output: pathlib.Path, task: str, target: str, seed: int) -> pathlib.Path:
    return output / "choices" / f"{task}-{target}-{seed}"


def _chosen(output: pathlib.Path, task: str, target: str, seed: int) -> pathlib.Path:
    return _choice(output, task, target, seed) / "chosen" / "prompt.npy"


def _job(
    method: str,
    task: str,
    model: str,
    command: Command,
    seed: int | None = None,
    step: int | None = None,
) -> Job:
    """A command that evaluates one thing."""
    return Job(command, (Trial(method, task, model, command.output, seed, step),))


def _source_prompts(output: pathlib.Path) -> Iterator[Job]:
    for task in TASKS:
        for seed in SEEDS:
            command = commands.tune(
                SOURCE,
                task,
                _source_run(output, task, seed),
                _WORDS,
                PROMPT_SEED=seed,
                RANDOM_SEED=seed,
            )
            yield _job(ON_SOURCE, task, SOURCE, command, seed)


def _choices(output: pathlib.Path) -> Iterator[Job]:
    for task in TASKS:
        for target in TARGETS:
            for seed in SEEDS:
                command = commands.choose(
                    target,
                    task,
                    _choice(output, task, target, seed),
                    RECYCLE_FROM=str(_source_run(output, task, seed)),
                )
                yield Job(command)


def _evaluations(output: pathlib.Path) -> Iterator[Job]:
    for task in TASKS:
        for target in TARGETS:
            folder = output / "evaluated" / f"{task}-{target}"
            yield _job_of_manifest(
                task, target, folder, _evaluated(output, folder, task, target)
            )


def _job_of_manifest(
    task: str,
    target: str,
    folder: pathlib.Path,
    pairs: Iterable[tuple[Trial, Evaluation]],
    *gin_files: str,
) -> Job:
    trials, evaluations = zip(*pairs, strict=True)
    listed = folder / "manifest.json"
    command = commands.evaluate_prompts(target, task, listed, *gin_files)
    return Job(command, trials, functools.partial(manifest.write, listed, evaluations))


def _evaluated(
    output: pathlib.Path, folder: pathlib.Path, task: str, target: str
) -> Iterator[tuple[Trial, Evaluation]]:
    """Yields what is evaluated on a target: recycled prompts and baselines."""
    place = folder / "no-prompt"
    yield Trial(NO_PROMPT, task, target, place), Evaluation(str(place), no_prompt=True)
    for seed in range(RANDOM_PROMPTS):
        yield _sampled(RANDOM, task, target, folder / f"random-{seed}", seed)
    for seed in SEEDS:
        chosen = _chosen(output, task, target, seed)
        prompts = {
            name: chosen.parent / "candidates" / f"{name}.npy" for name in RECYCLERS
        }
        # The wide model has no use for a prompt of another width.
        if target != "wide":
            prompts[COPIED] = chosen.parent / "candidates" / "copy.npy"
        prompts[CHOSEN] = chosen
        for method, prompt in prompts.items():
            place = folder / f"{prompt.stem}-{seed}"
            yield (
                Trial(method, task, target, place, seed),
                Evaluation(str(place), prompt=str(prompt)),
            )


def _untuned(output: pathlib.Path) -> Iterator[Job]:
    for task in TASKS:
        for target in TARGETS:
            folder = output / "untuned" / f"{task}-{target}"
            pairs = [
                _sampled(UNTUNED, task, target, folder / str(seed), seed)
                for seed in SEEDS
            ]
            yield _job_of_manifest(task, target, folder, pairs, _WORDS)


def _sampled(
    method: str, task: str, target: str, place: pathlib.Path, seed: int
) -> tuple[Trial, Evaluation]:
    """A prompt of sampled words; the job's gin files say which words there are."""
    return (
        Trial(method, task, target, place, seed),
        Evaluation(str(place), random_prompt=seed),
    )


def _references(output: pathlib.Path) -> Iterator[Job]:
    for task in TASKS:
        for target in TARGETS:
            folder = output / "references" / f"{task}-{target}"
            command = commands.evaluate(
                target, f"{task}_instructed", folder / "instructed"
            )
            yield _job(INSTRUCTION, task, target, command)
            command = _tune_on_target(target, task, folder / "tuned", _WORDS)
            yield _job(TUNED, task, target, command)


def _further(output: pathlib.Path) -> Iterator[Job]:
    for task in TASKS:
        for target in TARGETS:
            command = _tune_on_target(
                target,
                task,
                output / "further" / f"{task}-{target}",
                _FROM_FILE,
                PROMPT_FILE=str(_chosen(output, task, target, SEEDS[0])),
            )
            yield _job(FURTHER, task, target, command)


def _by_step(output: pathlib.Path) -> Iterator[Job]:
    for task in TASKS:
        for target in TARGETS:
            for step in SOURCE_STEPS:
                exports = _source_run(output, task, SEEDS[0]) / "numpy_checkpoints"
                export = exports / f"checkpoint_{PRETRAINING_STEPS + step}"
                command = commands.evaluate(
                    target,
                    task,
                    output / "by-step" / f"{task}-{target}-{step}",
                    _RECYCLE,
                    SOURCE_CHECKPOINT=f"{MODELS}/{SOURCE}",
                    SOURCE_PROMPT=str(export / "encoder.prompt.prompt.prompt"),
                )
                yield _job(BY_STEP, task, target, command, step=step)


def _tune_on_target(
    target: str, task: str, output: pathlib.Path, start: str, **settings: object
) -> Command:
    return commands.tune(
        target,
        task,
        output,
        start,
        TRAIN_STEPS_RELATIVE=TARGET_TUNING_STEPS,
        EVAL_PERIOD=TARGET_EVAL_PERIOD,
        **settings,
    )
