"""What a job needs of a host: a model in memory. Also the prompts and inputs for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

import seqio

from prompt_tuning_recycling import contract
from prompt_tuning_recycling.choosing import unlabeled
from prompt_tuning_recycling.choosing.unlabeled import Unlabeled
from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.evaluation.manifest import Evaluation
from prompt_tuning_recycling.evaluation.metrics_file import Metrics
from prompt_tuning_recycling.evaluation.scores_file import Drawing
from prompt_tuning_recycling.initial_prompts import FromFile, InitialPrompt
from prompt_tuning_recycling.kept_prompts import make_prompts
from prompt_tuning_recycling.models import Model

if TYPE_CHECKING:
    from prompt_tuning_recycling.choosing.scored import Prompts


class Target(Protocol):
    """A model that a host keeps in memory and evaluates with one prompt after another.

    Attributes:
      model: the model without a prompt.
      shapes: name -> shape [length, width] of each of the model's prompts.
    """

    model: Model
    shapes: contract.Shapes

    def check_without_prompt(self) -> None:
        """Raises RecyclingError if it cannot be evaluated without a prompt."""

    def evaluate(self, prompts: Prompts) -> Metrics:
        """Evaluates the model and returns its metrics.

        Args:
          prompts: name -> prompt, float32; empty for the model without a prompt.
        """

    def score(self, prompts: Prompts, unlabeled: Unlabeled) -> list[float]:
        """Returns the log-likelihood of each choice of each input; see
        `choosing.scored.ScoredModel.score`. Only a manifest with unlabeled inputs needs
        it.
        """


def prompts_of(
    entry: Evaluation, target: Target, random_prompt: Callable[..., InitialPrompt]
) -> Prompts:
    """Returns the prompts that an evaluation is of, by name; none if it is of the model
    without a prompt.

    Raises:
      RecyclingError: a prompt cannot be read, or the model cannot do without one.
    """
    if entry.no_prompt:
        target.check_without_prompt()
        return {}
    if entry.prompt is not None:
        kind: InitialPrompt = FromFile(entry.prompt)
    else:
        kind = random_prompt(seed=entry.random_prompt)
    kinds = dict.fromkeys(target.shapes, kind)
    return make_prompts(kinds, target.shapes, target.model)


def read_inputs(
    task: seqio.Task | seqio.Mixture,
    drawing: Drawing,
    lengths: Mapping[str, int] | None,
    use_cached: bool,
) -> Unlabeled:
    """Returns the unlabeled inputs that a manifest draws from a task.

    Raises:
      RecyclingError: the task has no such split, or no choices to rank.
    """
    splits = {name for part in seqio.get_subtasks(task) for name in part.splits}
    if drawing.split not in splits:
        raise RecyclingError(
            f"{task.name} has no split {drawing.split!r}, from which the manifest "
            f"draws unlabeled inputs. Expected one of {', '.join(sorted(splits))}. Set "
            "split in the sweep's choice and write its lists again."
        )
    found = unlabeled.read(
        task.name,
        drawing.inputs,
        drawing.split,
        lengths=lengths,
        use_cached=use_cached,
        seed=drawing.seed,
    )
    if not found.has_choices:
        raise RecyclingError(
            f"{task.name} has no choices to rank, so prompts cannot be scored on "
            "unlabeled inputs. Expected a task by rank classification, or a mixture "
            "with one that ranks the same texts for all inputs. Or remove the choice "
            "from the sweep's recycling_methods and write its lists again."
        )
    return found
