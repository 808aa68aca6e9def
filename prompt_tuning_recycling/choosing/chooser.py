"""The chooser, which gin files declare for both hosts: it recycles a prompt in several
ways, and keeps the one whose answers on unlabeled inputs are best.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import gin
import numpy as np
import seqio
from etils import epath

from prompt_tuning_recycling import contract, recyclers
from prompt_tuning_recycling.choosing import candidates, choice, unlabeled
from prompt_tuning_recycling.choosing import teacher as teachers
from prompt_tuning_recycling.choosing.chosen import ChosenPrompt
from prompt_tuning_recycling.choosing.refinement import Refined, Refinement, refine
from prompt_tuning_recycling.choosing.scored import ScoredModel
from prompt_tuning_recycling.choosing.teacher import Teacher
from prompt_tuning_recycling.choosing.unlabeled import Unlabeled
from prompt_tuning_recycling.errors import RecyclingError, did_you_mean
from prompt_tuning_recycling.files import canonical
from prompt_tuning_recycling.initial_prompts import Recycled, SampledVocabulary
from prompt_tuning_recycling.models import Model, open_model
from prompt_tuning_recycling.prompts import Prompt, load_prompt

if TYPE_CHECKING:
    from prompt_tuning_recycling.choosing.candidates import Once

# How many tokens a teacher's answer has at most if TASK_FEATURE_LENGTHS does not say.
_ANSWER_LENGTH = 32


def _alone(make: Callable[[], Any]) -> Any:
    return make()


@gin.register(module="prompt_tuning_recycling.choosing.chooser")
@dataclasses.dataclass(frozen=True)
class Chooser:
    """What to choose among, and on which inputs.

    Attributes:
      recycled: the prompt to recycle, and the words; its own recycler is not used.
      task_name: a seqio task or mixture, whose inputs are read without their labels.
      candidates: the recyclers to choose among, or their names.
      number: how many inputs; all of them if the split has fewer.
      split: the split that the inputs are drawn from.
      task_module: a module to import first, which registers the task.
      task_feature_lengths: feature -> how many tokens to cut it at; None for no limit.
        That of `targets` also limits a teacher's answers, to 32 tokens if it is not
        given.
      use_cached: whether to read what seqio cached earlier.
      seed: the seed of the drawing of inputs.
      use_teacher: whether the source model with its own prompt judges the answers.
      teacher_scores: the file of a teacher's answers, for a source model that cannot
        run in this job.
      refinement: how to refine the chosen prompt.

    Raises:
      RecyclingError: there are no candidates, one is unknown or there twice, or a
        prompt is to be refined without a teacher.
    """

    recycled: Recycled
    task_name: str
    candidates: Sequence[str | recyclers.Recycler] = recyclers.PORTFOLIO
    number: int = 32
    split: str = "train"
    task_module: str | None = None
    task_feature_lengths: Mapping[str, int] | None = None
    use_cached: bool = False
    seed: int = 0
    use_teacher: bool = True
    teacher_scores: epath.PathLike | None = None
    refinement: Refinement = dataclasses.field(default_factory=Refinement)

    def __post_init__(self) -> None:
        candidates.named(self.candidates)
        if self.refinement.steps and not self._teaches:
            raise RecyclingError(
                "REFINE_STEPS needs a teacher. Set USE_TEACHER = True, give "
                "TEACHER_SCORES, or set REFINE_STEPS = 0."
            )

    @property
    def _teaches(self) -> bool:
        return self.use_teacher or self.teacher_scores is not None

    def declared(self) -> dict[str, Any]:
        """Returns what is declared, JSON-compatible; see `InitialPrompt.declared`. It
        is the same for a job of its own and for a run that chooses as it starts, so
        that such a run can take the prompt of the job.
        """
        recycled = self.recycled.declared()
        recycled.pop("recycler")
        named = candidates.named(self.candidates)
        scores = self.teacher_scores
        lengths = self.task_feature_lengths
        return {
            **recycled,
            "kind": "Chosen",
            "candidates": [
                {"name": name, "parameters": one.parameters()}
                for name, one in named.items()
            ],
            "task_name": self.task_name,
            "number": self.number,
            "split": self.split,
            "task_feature_lengths": None if lengths is None else dict(lengths),
            "seed": self.seed,
            "use_teacher": self.use_teacher,
            "teacher_scores": None if scores is None else canonical(scores),
            "refinement": dataclasses.asdict(self.refinement),
        }

    def read_inputs(self) -> Unlabeled:
        """Reads the unlabeled inputs, without looking at their labels.

        Raises:
          RecyclingError: as `unlabeled.read`, or there is no such task.
        """
        if self.task_module:
            try:
                importlib.import_module(self.task_module)
            except ImportError as error:
                raise RecyclingError(
                    f"MIXTURE_OR_TASK_MODULE: cannot import {self.task_module!r}: "
                    f"{error}."
                ) from error
        known = [*seqio.TaskRegistry.names(), *seqio.MixtureRegistry.names()]
        if self.task_name not in known:
            raise RecyclingError(
                f"there is no task or mixture {self.task_name!r}."
                + did_you_mean(self.task_name, known)
            )
        return unlabeled.read(
            self.task_name,
            self.number,
            self.split,
            lengths=self.task_feature_lengths,
            use_cached=self.use_cached,
            seed=self.seed,
        )

    def teach(
        self,
        inputs: Unlabeled,
        load_source: Callable[[Model, int], ScoredModel],
    ) -> Teacher:
        """Asks the source model, with its own prompt, for its answers.

        Args:
          inputs: the unlabeled inputs.
          load_source: loads a source model, given its checkpoint and how many vectors
            its prompt has.

        Raises:
          RecyclingError: there is no source, or its prompt does not fit it.
        """
        lengths = self.task_feature_lengths or {}
        taught = []
        for checkpoint, prompt_from in self.recycled.sources():
            holds_prompt = open_model(prompt_from, task=self.recycled.prompt_task)
            prompt = load_prompt(holds_prompt, self.recycled.prompt_name)
            array = np.asarray(prompt.array, np.float32)
            model = load_source(open_model(checkpoint).base, len(array))
            parameter, shape = _only_prompt(model)
            contract.check_shape(parameter, array.shape, shape, str(prompt_from))
            taught.append(
                teachers.teach(
                    model,
                    {parameter: array},
                    inputs,
                    lengths.get("targets", _ANSWER_LENGTH),
                    {"source": str(checkpoint), "prompt": prompt.record},
                )
            )
            # Only one model is in memory at a time.
            del model
        return teachers.mean(taught)

    def choose(
        self,
        target: Model,
        load_target: Callable[[], ScoredModel],
        load_source: Callable[[Model, int], ScoredModel],
        once: Once = _alone,
    ) -> ChosenPrompt:
        """Chooses a prompt for a model.

        Args:
          target: the model that the prompt is for, without a prompt of its own.
          load_target: loads that model.
          load_source: loads a source model, for the teacher; see `teach`.
          once: runs a function on one process and returns its result on all of them.

        Raises:
          RecyclingError: anything declared cannot be used.
        """
        # What costs little is checked before anything large is read.
        self.recycled.sources()
        _check_without_prompt(target)
        inputs = self.read_inputs()
        if not self._teaches:
            choice.check_without_teacher(inputs)
        teacher = None
        if self.teacher_scores is not None:
            teacher = teachers.load(self.teacher_scores, inputs)
        elif self.use_teacher:
            self._check_teachers(target)
            teacher = self.teach(inputs, load_source)
        judged = inputs
        if teacher is not None and teacher.answers is not None:
            judged = inputs.with_answers(teacher.answers)
        model = load_target()
        parameter, (length, _) = _only_prompt(model)
        made = candidates.made_once(
            lambda: candidates.recycle(self.recycled, self.candidates, target, length),
            once,
        )
        chosen = choice.choose(made.prompts, parameter, model, judged, teacher)
        # Every process has the same scores; still, one decides for all.
        names = list(made.prompts)
        best = names[int(once(lambda: np.array(names.index(chosen.chosen))))]
        chosen = dataclasses.replace(chosen, chosen=best)
        prompt = made.prompts[best]
        refined = untuned = None
        if self.refinement.steps:
            refined, untuned = self._refine(
                prompt, parameter, target, model, judged, teacher
            )
            prompt = dataclasses.replace(prompt, array=refined.prompts[parameter])
        how = choice.record_of(chosen, inputs, teacher, made.left_out, refined, untuned)
        record = {**prompt.record, "choice": how, "declared": self.declared()}
        return ChosenPrompt(
            dataclasses.replace(prompt, record=record),
            made.prompts,
            chosen,
            inputs,
            teacher,
        )

    def _check_teachers(self, target: Model) -> None:
        """Raises RecyclingError if a source cannot read the target's inputs."""
        for source in self.recycled.of_other_vocabularies(target):
            raise RecyclingError(
                f"the source model {source.path} has another vocabulary than the "
                f"target {target.path}, so it cannot read the inputs, which are the "
                "target's pieces, to judge the answers. Set USE_TEACHER = False."
            )

    def _refine(
        self,
        prompt: Prompt,
        parameter: str,
        target: Model,
        model: ScoredModel,
        judged: Unlabeled,
        teacher: Teacher | None,
    ) -> tuple[Refined, Refined]:
        """Refines the chosen prompt, and an untuned one to compare it with."""
        q = None if teacher is None else teacher.probabilities
        array = np.asarray(prompt.array, np.float32)
        named = self.recycled.target(target)
        sampled = SampledVocabulary().make(named, len(array)).array
        one, other = (
            refine(model, {parameter: start}, judged, q, self.refinement)
            for start in (array, sampled)
        )
        return one, other


def _check_without_prompt(target: Model) -> None:
    if target.prompts:
        raise RecyclingError(
            f"{target.path} already holds a prompt, "
            f"{next(iter(target.prompts.values())).name}, but a choice is for a model "
            "without one. Set INITIAL_CHECKPOINT_PATH to the model before prompt "
            "tuning."
        )


def _only_prompt(model: ScoredModel) -> tuple[str, tuple[int, ...]]:
    if len(model.shapes) != 1:
        raise RecyclingError(
            "a choice is for a model with one prompt, found "
            f"{', '.join(model.shapes) or 'none'}. Use a model file that ends in "
            "_prompt."
        )
    ((parameter, shape),) = model.shapes.items()
    return parameter, shape
