"""A job that evaluates a manifest: what of it is missing, shared with other jobs, each
evaluation whole or not there. How one is done is the host's matter.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import filelock
import seqio
from etils import epath

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import as_path, is_remote, sync
from prompt_tuning_recycling.sweep import layout, metrics_file
from prompt_tuning_recycling.sweep.manifest import Evaluation, read

logger = logging.getLogger(__name__)

Metrics = Mapping[str, Mapping[str, Any]]


class Loggers:
    """Seqio's loggers, for one evaluation after the other into folders of their own."""

    def __init__(
        self,
        classes: Sequence[Callable[..., Any]],
        write_config: Callable[[str], None],
    ) -> None:
        """Takes seqio's loggers, and what writes the configuration to a folder."""
        self._classes = classes
        self._write_config = write_config
        self._current: list[Any] = []

    def of_evaluator(self, output_dir: str) -> Callable[..., None]:
        """Returns the one logger that seqio's Evaluator is to know of."""
        del output_dir

        def log(**results: Any) -> None:
            for current in self._current:
                current(**results)

        return log

    @contextlib.contextmanager
    def writing_to(self, output_dir: str) -> Iterator[None]:
        """What is logged within is there, whole, when it ends without an error."""
        final, temporary = map(as_path, layout.evaluated(output_dir))
        if is_remote(final):
            # An object store has no rename; its objects appear whole, one by one.
            temporary = final
        for left_behind in (temporary, final):
            if left_behind.exists():
                left_behind.rmtree()
        temporary.mkdir(parents=True)
        self._write_config(output_dir)
        self._current = [cls(output_dir=os.fspath(temporary)) for cls in self._classes]
        yield
        self._current = []
        if temporary != final:
            temporary.rename(final)
            sync(final.parent)


class ManifestJob:
    """What a job has to do of a manifest.

    Attributes:
      listed: all that the manifest lists.
      missing: what of it has not been evaluated.
    """

    def __init__(
        self,
        manifest: epath.PathLike,
        task: seqio.Task | seqio.Mixture,
        split: str,
    ) -> None:
        """Reads a manifest, whose every evaluation writes metrics of a task.

        Args:
          manifest: its file.
          task: the task or mixture.
          split: of the task, on which it is evaluated.

        Raises:
          RecyclingError: the task has no metrics, or the manifest cannot be used.
        """
        # Seqio itself decides so what it evaluates: a task without metrics, or without
        # that split, writes nothing that could be waited for.
        evaluated = seqio.evaluation.get_valid_eval_tasks(
            seqio.get_subtasks(task), split
        )
        if not evaluated:
            raise RecyclingError(
                f"{task.name} has no metrics of the split {split!r}, so nothing of "
                f"{os.fspath(manifest)} can be evaluated. Expected a task with "
                "metric_fns, or a mixture with such a task."
            )
        self._manifest = os.fspath(manifest)
        self._tasks = [part.name for part in evaluated]
        self.listed = read(manifest)
        self.missing = [entry for entry in self.listed if not self._is_done(entry)]
        done = len(self.listed) - len(self.missing)
        print(f"{done} of {len(self.listed)} were evaluated before", flush=True)

    def run(
        self, evaluate: Callable[[Evaluation], Metrics], shared: bool = True
    ) -> int:
        """Evaluates what is missing, and prints its metrics; returns how many that
        were.

        Args:
          evaluate: does it; called by `Loggers.writing_to`, or something like it.
          shared: whether to share the work with other jobs on this file system.

        Raises:
          RecyclingError: some failed; each was reported, and the rest done.
        """
        done, failed = 0, 0
        for entry in self._shared_out() if shared else self.missing:
            try:
                metrics = evaluate(entry)
            except RecyclingError as error:
                logger.error("failed: %s: %s", entry.output_dir, error)
                failed += 1
                continue
            done += 1
            for line in _lines(metrics):
                print(
                    f"{done} of {len(self.missing)}: {entry.output_dir}: {line}",
                    flush=True,
                )
        if failed:
            raise RecyclingError(
                f"{failed} of {len(self.listed)} evaluations failed, listed above; the "
                "rest is done. Once they are mended, the same command does what is "
                "missing."
            )
        return done

    def _is_done(self, entry: Evaluation) -> bool:
        """Whether every task's metrics are there; half a file of them is not."""
        for task in self._tasks:
            try:
                metrics_file.read(layout.metrics(entry.output_dir, task))
            except RecyclingError:
                return False
        return True

    def _shared_out(self) -> Iterator[Evaluation]:
        """Yields those that no other job has done or is doing; the system lets go of a
        job's locks when it ends, however it does.
        """
        if is_remote(self._manifest):
            yield from self.missing
            return
        locks = as_path(f"{self._manifest}.locks")
        locks.mkdir(exist_ok=True)
        left = self.missing
        # First what is free, then what another job may have been stopped at.
        for wait in (False, True):
            taken = []
            for entry in left:
                name = hashlib.sha256(entry.output_dir.encode()).hexdigest()
                lock = filelock.FileLock(os.fspath(locks / name))
                try:
                    held = lock.acquire(blocking=wait)
                except filelock.Timeout:
                    taken.append(entry)
                    continue
                with held:
                    if not self._is_done(entry):
                        yield entry
            left = taken


def _lines(metrics: Metrics) -> list[str]:
    return [
        f"{task}: "
        + ", ".join(
            f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in values.items()
        )
        for task, values in metrics.items()
    ]
