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
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import seqio
from etils import epath

from prompt_tuning_recycling.choosing import criteria
from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.evaluation import metrics_file, scores_file
from prompt_tuning_recycling.evaluation.loggers import Loggers
from prompt_tuning_recycling.evaluation.manifest import Evaluation, read
from prompt_tuning_recycling.evaluation.progress import Progress
from prompt_tuning_recycling.evaluation.scores_file import Scores
from prompt_tuning_recycling.evaluation.target import Target, prompts_of, read_inputs
from prompt_tuning_recycling.files import (
    as_path,
    holding,
    is_remote,
    reason,
    storage_errors,
)
from prompt_tuning_recycling.files.temporary import remove_left_behind
from prompt_tuning_recycling.initial_prompts import InitialPrompt

logger = logging.getLogger(__name__)


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
            drawing: read_inputs(task, drawing, lengths, use_cached)
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
        left = self.missing
        if is_remote(self._manifest):
            # Jobs that see only what others have done rarely do the same thing then.
            left = random.sample(left, len(left))
        # First the free evaluations, then those that another job may not have finished.
        for wait in (False, True):
            taken = []
            for entry in left:
                try:
                    self._check_replaceable(entry)
                    with self._held(entry, wait):
                        if self._progress.is_done(entry):
                            continue
                        # The run that held it before may have been another one.
                        self._check_replaceable(entry)
                        lines = self._do(entry, target, loggers, random_prompt)
                except holding.BusyError:
                    taken.append(entry)
                    continue
                except storage_errors(RecyclingError) as error:
                    where = getattr(error, "filename", None)
                    told = f"{reason(error)} ({where})" if where else reason(error)
                    logger.error("failed: %s: %s", entry.output_dir, told)
                    logger.debug("failed", exc_info=True)
                    failed += 1
                    continue
                done += 1
                for line in lines:
                    print(
                        f"{done} of {len(self.missing)}: {entry.output_dir}: {line}",
                        flush=True,
                    )
            left = taken
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
        target: Target,
        loggers: Loggers,
        random_prompt: Callable[..., InitialPrompt],
    ) -> list[str]:
        """Does what is missing of an evaluation; returns what came of it as text."""
        # The prompt comes first, so that an unreadable one leaves no files.
        prompts = prompts_of(entry, target, random_prompt)
        lines = []
        if self._progress.is_evaluated(entry):
            # By a job that was killed before it had scored the prompt.
            _tidy([entry])
        else:
            is_done = functools.partial(self._progress.is_evaluated, entry)
            with loggers.writing_to(
                entry.output_dir, self._progress.digest(entry), is_done
            ):
                metrics = target.evaluate(prompts)
            lines += metrics_file.metric_lines(metrics)
        for drawing in self._progress.unscored(entry):
            inputs = self._inputs[drawing]
            rows = criteria.split(target.score(prompts, inputs), inputs.sizes)
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

    def _check_replaceable(self, entry: Evaluation) -> None:
        if not self._progress.is_evaluated(entry):
            metrics_file.check_replaceable(entry.output_dir)

    def _held(
        self, entry: Evaluation, wait: bool
    ) -> contextlib.AbstractContextManager[Any]:
        """Holds an evaluation against other jobs. The system releases what a job holds
        when it ends, even if it is killed. On object stores, which have no locks, jobs
        only see what others have done.
        """
        if is_remote(self._manifest) and is_remote(entry.output_dir):
            return contextlib.nullcontext()
        what = f"another job evaluates to {entry.output_dir}"
        return holding.held(self._lock(entry), what, "Wait until it ends.", wait=wait)

    def _lock(self, entry: Evaluation) -> epath.Path:
        """Returns an evaluation's lock: `run.lock` in its folder, which other runs use,
        too. For a folder on an object store, it is a file beside the manifest.
        """
        if not is_remote(entry.output_dir):
            return as_path(entry.output_dir) / holding.LOCK
        name = hashlib.sha256(entry.output_dir.encode()).hexdigest()
        return as_path(f"{self._manifest}.locks") / name


def _tidy(done: Iterable[Evaluation]) -> None:
    """Removes what killed jobs left beside evaluations that are whole."""
    folders = (metrics_file.metrics_folder(entry.output_dir) for entry in done)
    remove_left_behind(folder for folder in folders if not is_remote(folder))
