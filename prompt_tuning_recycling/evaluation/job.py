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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import seqio
from etils import epath

from prompt_tuning_recycling import contract
from prompt_tuning_recycling.choosing import criteria, unlabeled
from prompt_tuning_recycling.choosing.unlabeled import Unlabeled
from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.evaluation import metrics_file, scores_file
from prompt_tuning_recycling.evaluation.manifest import Evaluation, read
from prompt_tuning_recycling.evaluation.metrics_file import Metrics
from prompt_tuning_recycling.evaluation.scores_file import Drawing, Scores
from prompt_tuning_recycling.files import as_path, holding, is_remote, sync
from prompt_tuning_recycling.files.holding import Hold
from prompt_tuning_recycling.files.staging import Staged, temporary_folder
from prompt_tuning_recycling.files.temporary import replace_folder
from prompt_tuning_recycling.initial_prompts import FromFile, InitialPrompt
from prompt_tuning_recycling.kept_prompts import make_prompts
from prompt_tuning_recycling.models import Model, open_model
from prompt_tuning_recycling.prompts import find_prompt

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


class Loggers:
    """Seqio's loggers, which write each evaluation to its own folder."""

    def __init__(
        self,
        classes: Sequence[Callable[..., Any]],
        write_config: Callable[[str], None],
    ) -> None:
        """Takes the classes of seqio's loggers, and a function that writes the
        configuration to a folder.
        """
        self._classes = classes
        self._write_config = write_config
        self._current: list[Any] = []

    def bound_to(
        self, evaluator_cls: Callable[..., seqio.Evaluator]
    ) -> Callable[..., seqio.Evaluator]:
        """Returns a class of evaluators that log to these loggers, and only to them."""
        return functools.partial(evaluator_cls, logger_cls=[self._of_evaluator])

    def _of_evaluator(self, output_dir: str) -> Callable[..., None]:
        del output_dir

        def log(**results: Any) -> None:
            for current in self._current:
                current(**results)

        return log

    @contextlib.contextmanager
    def writing_to(
        self, output_dir: str, prompt: str | None, is_done: Callable[[], bool]
    ) -> Iterator[None]:
        """Writes what is logged inside the `with` to `output_dir` once it is whole,
        and the digest of the prompt that is evaluated.

        On an object store, which has no rename, the metrics themselves are the last to
        be written and the first to be removed. Nothing is written if another job has
        done the same by then.

        Raises:
          RecyclingError: something else than an earlier evaluation would be lost.
        """
        metrics_file.check_replaceable(output_dir)
        final, temporary = map(as_path, metrics_file.folders(output_dir))
        if is_remote(final):
            with temporary_folder() as local:
                self._write_config(output_dir)
                with self._logging(local, prompt):
                    yield
                if not is_done():
                    metrics_file.remove(final)
                    Staged(final, local).publish([metrics_file.METRICS])
            return
        if temporary.exists():
            temporary.rmtree()
        temporary.mkdir(parents=True)
        self._write_config(output_dir)
        with self._logging(temporary, prompt):
            yield
        replace_folder(temporary, final)
        sync(final.parent)
        if temporary.exists():
            temporary.rmtree()

    @contextlib.contextmanager
    def _logging(self, folder: epath.Path, prompt: str | None) -> Iterator[None]:
        self._current = [cls(output_dir=os.fspath(folder)) for cls in self._classes]
        yield
        self._current = []
        if prompt is not None:
            metrics_file.write_prompt(folder, prompt)


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
        self._tasks = [part.name for part in evaluated]
        self._content = read(manifest)
        self._digests: dict[epath.PathLike, str | None] = {}
        self.listed = self._content.evaluations
        self.missing = [entry for entry in self.listed if not self._is_done(entry)]
        _tidy(set(self.listed) - set(self.missing))
        done = len(self.listed) - len(self.missing)
        print(f"{done} of {len(self.listed)} were evaluated before", flush=True)
        unscored = {d for entry in self.missing for d in self._unscored(entry)}
        # Before the model is loaded, since the task may have no such split.
        self._inputs = {
            drawing: _read_inputs(task, drawing, lengths, use_cached)
            for drawing in self._content.unlabeled
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
        if not self._is_evaluated(entry):
            is_done = functools.partial(self._is_evaluated, entry)
            with loggers.writing_to(entry.output_dir, self._digest(entry), is_done):
                metrics = target.evaluate(prompts)
                hold.check()
            lines += metrics_file.metric_lines(metrics)
        for drawing in self._unscored(entry):
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
                    self._digest(entry),
                ),
            )
            lines.append(f"scored on {len(rows)} unlabeled inputs")
        return lines

    def _is_done(self, entry: Evaluation) -> bool:
        return self._is_evaluated(entry) and not self._unscored(entry)

    def _unscored(self, entry: Evaluation) -> list[Drawing]:
        """The inputs of which there is no complete file of the prompt's scores."""
        found = []
        for drawing in self._content.scored(entry):
            try:
                scores = scores_file.read(scores_file.place(entry.output_dir, drawing))
            except RecyclingError:
                found.append(drawing)
                continue
            if self._is_of_another(entry, scores.prompt):
                found.append(drawing)
        return found

    def _is_evaluated(self, entry: Evaluation) -> bool:
        """Whether the metrics files of all tasks exist and are complete, or none are
        asked for.
        """
        if entry.scores_only:
            return True
        for task in self._tasks:
            try:
                metrics_file.read(metrics_file.place(entry.output_dir, task))
            except RecyclingError:
                return False
        evaluated = metrics_file.read_prompt(entry.output_dir)
        return not self._is_of_another(entry, evaluated)

    def _is_of_another(self, entry: Evaluation, prompt: str | None) -> bool:
        """Whether results are of another prompt than the file has now."""
        now = self._digest(entry)
        return prompt is not None and now is not None and prompt != now

    def _digest(self, entry: Evaluation) -> str | None:
        """The digest of an evaluation's prompt; None if it is not in a file, or gone.
        The file is read once in a job.
        """
        if entry.prompt is None:
            return None
        if entry.prompt not in self._digests:
            self._digests[entry.prompt] = None
            with contextlib.suppress(RecyclingError):
                prompt = find_prompt(open_model(entry.prompt))
                digest = prompt.checkpoint.fingerprint(prompt.name)
                self._digests[entry.prompt] = digest
        return self._digests[entry.prompt]

    def _shared_out(self) -> Iterator[tuple[Evaluation, Hold]]:
        """Yields evaluations that no other job has done or is doing, each while it is
        held. The system releases what a job holds when it ends, even if it is killed.

        On an object store, which has no locks, jobs only see what others have done; by
        an order of its own, each rarely does what another is doing.
        """
        if is_remote(self._manifest):
            for entry in random.sample(self.missing, len(self.missing)):
                if not self._is_done(entry):
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
                    if not self._is_done(entry):
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
