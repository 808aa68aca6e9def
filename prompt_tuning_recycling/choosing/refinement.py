"""Refines a prompt on unlabeled inputs, with a teacher: distillation into the prompt
alone. Labels are not needed, but gradients of the target model are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import log_softmax, softmax

from prompt_tuning_recycling.choosing import criteria
from prompt_tuning_recycling.choosing.scored import ScoredModel
from prompt_tuning_recycling.choosing.unlabeled import Unlabeled
from prompt_tuning_recycling.errors import RecyclingError

if TYPE_CHECKING:
    from jaxtyping import Float

    from prompt_tuning_recycling.choosing.criteria import Scores
    from prompt_tuning_recycling.choosing.scored import Prompts

# Refining stops after so many steps without a lower loss than before. One is too few,
# because Adam's first steps can overshoot.
_PATIENCE = 2


@dataclasses.dataclass(frozen=True)
class Refinement:
    """Steps of Adam on a prompt.

    The loss is −Σ_l q(l|x) log p(l|x), averaged over the inputs, where q are the
    teacher's probabilities. For a task without choices it is the negative
    log-likelihood of the teacher's answers per token.

    Attributes:
      steps: the most steps; 0 for no refinement.
      learning_rate: Adam's, as a share of the root mean square of the prompt's numbers.
    """

    steps: int = 0
    learning_rate: float = 0.1

    def __post_init__(self) -> None:
        if self.steps < 0 or not self.learning_rate > 0:
            raise RecyclingError(
                "expected REFINE_STEPS of at least 0 and REFINE_LEARNING_RATE above 0, "
                f"found {self.steps} and {self.learning_rate}."
            )


@dataclasses.dataclass(frozen=True, eq=False)
class Refined:
    """The outcome of a refinement.

    Attributes:
      prompts: the prompts with the lowest loss, float32.
      losses: the loss before each step and after the last one, in nats. They end with
        the last finite one.
    """

    prompts: Prompts
    losses: tuple[float, ...]

    @property
    def steps(self) -> int:
        """After how many steps the loss was lowest; 0 if no step lowered it."""
        return int(np.argmin(self.losses)) if self.losses else 0


def refine(
    model: ScoredModel,
    prompts: Prompts,
    unlabeled: Unlabeled,
    teacher: Scores | None,
    settings: Refinement,
) -> Refined:
    """Refines prompts. It stops early if the loss no longer falls or is not finite.

    Args:
      model: the target model.
      prompts: name -> prompt to start from, float32 [length, width].
      unlabeled: the inputs with their choices, or with the teacher's answers.
      teacher: the teacher's probabilities; None if the choices are its answers.
      settings: how many steps, and how large.
    """
    import optax

    size = np.sqrt(np.mean([np.mean(np.square(array)) for array in prompts.values()]))
    optimizer = optax.adam(settings.learning_rate * float(size))
    state: Any = optimizer.init(dict(prompts))
    current, best = dict(prompts), dict(prompts)
    losses: list[float] = []
    for step in range(settings.steps + 1):
        scores = model.score(current, unlabeled)
        if not np.isfinite(scores).all():
            break
        by_input = criteria.split(scores, unlabeled.sizes)
        loss, weights = _loss(by_input, teacher, unlabeled.tokens())
        losses.append(loss)
        lowest = int(np.argmin(losses))
        if lowest == step:
            best = current
        if step == settings.steps or step - lowest >= _PATIENCE:
            break
        gradient = model.gradient(current, unlabeled, weights)
        updates, state = optimizer.update(gradient, state)
        current = {
            name: np.asarray(array + np.asarray(updates[name]), np.float32)
            for name, array in current.items()
        }
    return Refined(best, tuple(losses))


def _loss(
    scores: Scores, teacher: Scores | None, tokens: Sequence[int]
) -> tuple[float, Float[np.ndarray, " scores"]]:
    """Returns the loss and its derivatives by the scores."""
    count = len(scores)
    if teacher is None:
        values, lengths = np.concatenate(scores), np.asarray(tokens)
        return float(-np.mean(values / lengths)), -1.0 / (count * lengths)
    pairs = list(zip(scores, teacher, strict=True))
    loss = -np.mean([q @ log_softmax(of_input) for of_input, q in pairs])
    weights = np.concatenate([softmax(of_input) - q for of_input, q in pairs]) / count
    return float(loss), weights
