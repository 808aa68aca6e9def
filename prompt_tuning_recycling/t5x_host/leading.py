"""One job for a model that several processes hold together. Process 0 does the job: it
decides, reads and writes. Whenever it needs the model, the other processes run it too,
because each holds a part of the model or of the examples.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import jax
import numpy as np

from prompt_tuning_recycling import contract
from prompt_tuning_recycling.choosing.unlabeled import Unlabeled
from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.evaluation.metrics_file import Metrics
from prompt_tuning_recycling.files import storage_errors
from prompt_tuning_recycling.models import Model
from prompt_tuning_recycling.t5x_host.processes import from_process_zero

if TYPE_CHECKING:
    from prompt_tuning_recycling.choosing.scored import Prompts


class SharedTarget(Protocol):
    """A model that all processes hold.

    Attributes:
      model: the model without a prompt.
      shapes: name -> shape [length, width] of each of the model's prompts.
    """

    model: Model
    shapes: contract.Shapes

    def check_without_prompt(self) -> None:
        """Raises RecyclingError unless the model can be evaluated without a prompt."""

    def start(self, prompts: Prompts) -> Callable[[], Metrics]:
        """Runs the model on the task's examples, on all processes. Only process 0 calls
        what this returns, which computes the metrics and logs them.
        """

    def score(self, prompts: Prompts, unlabeled: Unlabeled) -> list[float]:
        """Returns the log-likelihood of each choice of each input, on all processes."""


class Leader:
    """The target of process 0's job; see `evaluation.target.Target`. Before it runs
    the model, it tells the other processes to do the same.

    Attributes:
      is_running: whether the processes are running the model. If an error leaves it
        true, they cannot be told anything more.
    """

    def __init__(self, target: SharedTarget) -> None:
        self._target = target
        self.model, self.shapes = target.model, target.shapes
        self.is_running = False

    def check_without_prompt(self) -> None:
        """Raises RecyclingError unless the model can be evaluated without a prompt."""
        self._target.check_without_prompt()

    def evaluate(self, prompts: Prompts) -> Metrics:
        """Evaluates the model and returns its metrics."""
        with self._all("evaluate", prompts):
            metrics = self._target.start(prompts)
        return metrics()

    def score(self, prompts: Prompts, unlabeled: Unlabeled) -> list[float]:
        """Returns the log-likelihood of each choice of each input."""
        with self._all("score", prompts, _plain(unlabeled)):
            return self._target.score(prompts, unlabeled)

    @contextlib.contextmanager
    def _all(
        self, what: str, prompts: Prompts, unlabeled: Mapping[str, Any] | None = None
    ) -> Iterator[None]:
        _send({"do": what, "unlabeled": unlabeled}, prompts)
        self.is_running = True
        try:
            yield
        except RecyclingError:
            # The others raise it too, and wait for what comes next.
            self.is_running = False
            raise
        except storage_errors() as error:
            if jax.process_count() > 1:
                # Another error, so that the job does not go on: the others are at work
                # on the model, and do not wait for what comes next.
                raise RuntimeError(
                    f"process 0 failed with {type(error).__name__}: {error}"
                ) from error
            self.is_running = False
            raise
        self.is_running = False


def lead(target: SharedTarget, job: Callable[[Leader], int]) -> int:
    """Does a job on process 0, with a model that all processes hold. Call it on all.

    Args:
      target: the model.
      job: called only on process 0.

    Returns:
      What `job` returns, on all processes.

    Raises:
      RecyclingError: `job` raised it. Every process raises it.
      RuntimeError: `job` failed with another error, which process 0 raises.
    """
    if jax.process_index() > 0:
        _follow(target)
        return int(from_process_zero(lambda: np.zeros(0)))
    leader = Leader(target)
    done, error = 0, None
    try:
        done = job(leader)
    except Exception as caught:
        if leader.is_running:
            raise
        error = caught
    _send({"do": "stop"}, {})

    def result() -> np.ndarray:
        if error is not None:
            raise error
        return np.array(done)

    return int(from_process_zero(result))


def _follow(target: SharedTarget) -> None:
    """Runs the model whenever process 0 does, until its job is done."""
    inputs: dict[str, Unlabeled] = {}
    while True:
        told, prompts = _received(b"")
        # Process 0 reports the error.
        with contextlib.suppress(RecyclingError):
            if told["do"] == "evaluate":
                target.start(prompts)
            elif told["do"] == "score":
                read = _unlabeled(told["unlabeled"])
                # The model prepares the same inputs only once.
                target.score(prompts, inputs.setdefault(read.digest, read))
            else:
                return


def _send(told: Mapping[str, Any], prompts: Prompts) -> None:
    if jax.process_count() == 1:
        return
    file = io.BytesIO()
    np.savez(file, *prompts.values(), told=json.dumps([told, *prompts]))
    _received(file.getvalue())


def _received(sent: bytes) -> tuple[Mapping[str, Any], Prompts]:
    data = from_process_zero(lambda: np.frombuffer(sent, np.uint8))
    with np.load(io.BytesIO(data.tobytes()), allow_pickle=False) as read:
        told, *names = json.loads(str(read["told"]))
        return told, {name: read[f"arr_{n}"] for n, name in enumerate(names)}


def _plain(unlabeled: Unlabeled) -> dict[str, Any]:
    """Returns inputs and their choices, JSON-compatible."""
    return {
        "inputs": [tokens.tolist() for tokens in unlabeled.inputs],
        "choices": [[c.tolist() for c in choices] for choices in unlabeled.choices],
        "origin": dict(unlabeled.origin),
    }


def _unlabeled(plain: Mapping[str, Any]) -> Unlabeled:
    def tokens(numbers: Sequence[int]) -> np.ndarray:
        return np.array(numbers, np.int32)

    return Unlabeled(
        [tokens(one) for one in plain["inputs"]],
        [[tokens(one) for one in choices] for choices in plain["choices"]],
        {},
        plain["origin"],
    )
