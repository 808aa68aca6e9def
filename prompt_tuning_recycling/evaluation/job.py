"""A job that evaluates the prompts of a manifest. It does what is missing, shares the
work with other jobs, and writes each evaluation whole or not at all. The host provides
the model.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import os
import random
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Protocol

import seqio
from etils import epath

from prompt_tuning_recycling import contract
from prompt_tuning_recycling.choosing import criteria, unlabeled
from prompt_tuning_recycling.choosing.unlabeled import Unlabeled
from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.evaluation import metrics_file, scores_file
from prompt_tuning_recycling.evaluation.loggers import Loggers
from prompt_tuning_recycling.evaluation.manifest import Evaluation, read
from prompt_tuning_recycling.evaluation.metrics_file import Metrics
from prompt_tuning_recycling.evaluation.progress import Progress
from prompt_tuning_recycling.evaluation.scores_file import Drawing, Scores
from prompt_tuning_recycling.files import as_path, holding, is_remote
from prompt_tuning_recycling.files.holding import Hold
from prompt_tuning_recycling.initial_prompts import FromFile, InitialPrompt
from prompt_tuning_recycling.kept_prompts import make_prompts
from prompt_tuning_recycling.models import Model

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float

    Prompts = Mapping[str, Float[np.ndarray, "length width"]]

logger = logging.getLogger(__name__)


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


class ManifestJob:
    """The work of a job for a manifest.

    Attributes:
      listed: all evaluations of the manifest.
      missing: the evaluations of which something has not been done.
    """

    def __init__(
        self,
        manifest: epath.PathLike,
        task: seqio.Task | seqio.Mixture,
        split: str,
        *,
        lengths: Mapping[str, int] | None = None,
        use_cached: bool = False,
    ) -> None:
        """Reads a manifest and finds out what is missing.

        Args:
          manifest: the manifest's file.
          task: the task or mixture to evaluate on. The manifest's unlabeled inputs are
            drawn from it, too.
          split: the task's split.
          lengths: feature -> how many tokens of unlabeled inputs to keep; None for no
            limit.
          use_cached: whether unlabeled inputs are read from what seqio cached earlier.

        Raises:
          RecyclingError: the task has no metrics, or the manifest cannot be used.
        """
        # Seqio itself chooses the tasks to evaluate. A task without metrics, or without
        # that split, never writes metrics, so the job must not expect any.
        evaluated = seqio.evaluation.get_valid_eval_tasks(
            seqio.get_subtasks(task), split
        )
        if not evaluated:
            raise RecyclingError(
                f"{task.name} has no metrics for the split {split!r}, so nothing in "
                f"{os.fspath(manifest)} can be evaluated. Expected a task with "
                "metric_fns, or a mixture with such a task."
            )
        self._manifest = os.fspath(manifest)
        content = read(manifest)
        self._progress = Progress(content, [part.name for part in evaluated])
        self.listed = content.evaluations
        self.missing = [e for e in self.listed if not self._progress.is_done(e)]
        _tidy(set(self.listed) - set(self.missing))
        done = len(self.listed) - len(self.missing)
        print(f"{done} of {len(self.listed)} were evaluated before", flush=True)
        unscored = {d for entry in self.missing for d in self._progress.unscored(entry)}
        # Before the model is loaded, since the task may have no such split.
        self._inputs = {
            drawing: _read_inputs(task, drawing, lengths, use_cached)
            for drawing in content.unlabeled
            if drawing in unscored
        }

    def run(
        self,
        target: Target,
        loggers: Loggers,
        random_prompt: Callable[..., InitialPrompt],
    ) -> int:
        """Does the missing evaluations that no other job does, and prints their
        metrics.

        Args:
          target: the model, whose evaluator logs to `loggers`.
          loggers: the loggers that write each evaluation's metrics.
          random_prompt: makes the random prompt for a `seed`.

        Returns:
          How many evaluations were done.

        Raises:
          RecyclingError: some failed. Each was reported, and the rest was done.
        """
        done, failed = 0, 0
        for entry, hold in self._shared_out():
            try:
                lines = self._do(entry, hold, target, loggers, random_prompt)
            except holding.BusyError:
                raise
            except RecyclingError as error:
                logger.error("failed: %s: %s", entry.output_dir, error)
                failed += 1
                continue
            done += 1
            for line in lines:
                print(
                    f"{done} of {len(self.missing)}: {entry.output_dir}: {line}",
                    flush=True,
                )
        if failed:
            raise RecyclingError(
                f"{failed} of {len(self.listed)} evaluations failed, listed above; the "
                "rest is done. Fix what is wrong and run the same command again: it "
                "does only what is missing."
            )
        return done

    def _do(
        self,
        entry: Evaluation,
        hold: Hold,
        target: Target,
        loggers: Loggers,
        random_prompt: Callable[..., InitialPrompt],
    ) -> list[str]:
        """Does what is missing of an evaluation; returns what came of it as text."""
        # The prompt comes first, so that an unreadable one leaves no files.
        prompts = _prompts(entry, target, random_prompt)
        lines = []
        if not self._progress.is_evaluated(entry):
            is_done = functools.partial(self._progress.is_evaluated, entry)
            with loggers.writing_to(
                entry.output_dir, self._progress.digest(entry), is_done
            ):
                metrics = target.evaluate(prompts)
                hold.check()
            lines += metrics_file.metric_lines(metrics)
        for drawing in self._progress.unscored(entry):
            inputs = self._inputs[drawing]
            rows = criteria.split(target.score(prompts, inputs), inputs.sizes)
            hold.check()
            scores_file.write(
                scores_file.place(entry.output_dir, drawing),
                Scores(
                    rows,
                    inputs.origin,
                    inputs.digest,
                    inputs.has_same_choices,
                    self._progress.digest(entry),
                ),
            )
            lines.append(f"scored on {len(rows)} unlabeled inputs")
        return lines

    def _shared_out(self) -> Iterator[tuple[Evaluation, Hold]]:
        """Yields evaluations that no other job has done or is doing, each while it is
        held. The system releases what a job holds when it ends, even if it is killed.

        On an object store, which has no locks, jobs only see what others have done; by
        an order of its own, each rarely does what another is doing.
        """
        if is_remote(self._manifest):
            for entry in random.sample(self.missing, len(self.missing)):
                if not self._progress.is_done(entry):
                    yield entry, holding.SHARED
            return
        left = self.missing
        # First the free evaluations, then those that another job may not have finished.
        for wait in (False, True):
            taken = []
            for entry in left:
                place = self._lock(entry)
                what = f"another job evaluates to {entry.output_dir}"
                with contextlib.ExitStack() as stack:
                    try:
                        hold = stack.enter_context(
                            holding.held(place, what, "Wait until it ends.", wait=wait)
                        )
                    except holding.BusyError:
                        taken.append(entry)
                        continue
                    if not self._progress.is_done(entry):
                        yield entry, hold
            left = taken

    def _lock(self, entry: Evaluation) -> epath.Path:
        """The file by which an evaluation is held: the one of any other run in its
        folder, or, where nothing can be locked, one beside the manifest.
        """
        if not is_remote(entry.output_dir):
            return as_path(entry.output_dir) / holding.LOCK
        name = hashlib.sha256(entry.output_dir.encode()).hexdigest()
        return as_path(f"{self._manifest}.locks") / name


def _tidy(done: Iterable[Evaluation]) -> None:
    """Removes what a killed job left beside evaluations that are whole."""
    for entry in done:
        _, temporary = metrics_file.folders(entry.output_dir)
        if not is_remote(temporary) and os.path.exists(temporary):
            shutil.rmtree(temporary, ignore_errors=True)


def _prompts(
    entry: Evaluation, target: Target, random_prompt: Callable[..., InitialPrompt]
) -> Prompts:
    if entry.no_prompt:
        target.check_without_prompt()
        return {}
    if entry.prompt is not None:
        kind: InitialPrompt = FromFile(entry.prompt)
    else:
        kind = random_prompt(seed=entry.random_prompt)
    kinds = dict.fromkeys(target.shapes, kind)
    return make_prompts(kinds, target.shapes, target.model)


def _read_inputs(
    task: seqio.Task | seqio.Mixture,
    drawing: Drawing,
    lengths: Mapping[str, int] | None,
    use_cached: bool,
) -> Unlabeled:
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
