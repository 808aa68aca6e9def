"""Evaluation of many prompts on one model, which is loaded and compiled once."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import filelock
import gin
import jax.numpy as jnp
import seqio
from etils import epath

from prompt_tuning_recycling.checkpoints import Checkpoint, open_checkpoint
from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import as_path, is_remote, sync
from prompt_tuning_recycling.initial_prompts import (
    FromFile,
    InitialPrompt,
    SampledVocabulary,
)
from prompt_tuning_recycling.prompt_export import matches
from prompt_tuning_recycling.standalone import parameters
from prompt_tuning_recycling.standalone.data import DatasetConfig
from prompt_tuning_recycling.standalone.evaluation import (
    Evaluation,
    metric_lines,
    write_config,
)
from prompt_tuning_recycling.standalone.model import EncoderDecoder
from prompt_tuning_recycling.sweep import manifest as manifests

logger = logging.getLogger(__name__)

_FOLDER = "inference_eval"


@gin.configurable(module="prompt_tuning_recycling.standalone.prompt_evaluation")
def evaluate_prompts(
    model: EncoderDecoder,
    dataset: DatasetConfig,
    checkpoint_path: epath.PathLike,
    manifest: epath.PathLike,
    random_prompt: Callable[..., InitialPrompt] = SampledVocabulary,
    evaluator_cls: Callable[..., seqio.Evaluator] = seqio.Evaluator,
    logger_cls: Sequence[Callable[..., seqio.Logger]] = (
        seqio.TensorBoardLogger,
        seqio.JSONLogger,
    ),
) -> int:
    """Evaluates what a manifest lists, as far as it has not been, and writes what a
    separate `standalone.eval` would have written for each. Several such jobs on one
    manifest share the work; one that fails is reported, and the rest done.

    Args:
      model: the network, with a prompt, and how it decodes.
      dataset: the task or mixture.
      checkpoint_path: the model without a prompt, of any format.
      manifest: see `sweep.manifest`.
      random_prompt: makes the random prompt of a `seed`.
      evaluator_cls: seqio's Evaluator.
      logger_cls: seqio's loggers, which write the metrics.

    Returns:
      How many were evaluated now.

    Raises:
      RecyclingError: anything given cannot be used, or an evaluation failed.
    """
    listed = manifests.read(manifest)
    task = dataset.task_or_mixture()
    names = [part.name for part in seqio.get_subtasks(task) if part.metric_fns]
    missing = [entry for entry in listed if not _is_done(entry.output_dir, names)]
    print(f"{len(listed) - len(missing)} of {len(listed)} were evaluated before")
    if not missing:
        return 0
    target = _Target(model, open_checkpoint(checkpoint_path), random_prompt)
    loggers = _Loggers(logger_cls)
    evaluation = Evaluation(
        model,
        dataset,
        "",
        functools.partial(evaluator_cls, logger_cls=[loggers.of_evaluator]),
        repeated=True,
    )
    done, failed = 0, []
    for entry in _shared_out(missing, os.fspath(manifest), names):
        try:
            with loggers.writing_to(entry.output_dir):
                metrics = evaluation.run(*target.parameters(entry))
        except RecyclingError as error:
            logger.error("failed: %s: %s", entry.output_dir, error)
            failed.append(entry)
            continue
        done += 1
        for line in metric_lines(metrics):
            print(f"{done} of {len(missing)}: {entry.output_dir}: {line}", flush=True)
    if failed:
        raise RecyclingError(
            f"{len(failed)} of {len(listed)} evaluations failed, listed above; the "
            "rest is done. Once they are mended, the same command does what is missing."
        )
    return done


class _Target:
    """The model, in memory once, with whatever prompt."""

    def __init__(
        self,
        model: EncoderDecoder,
        checkpoint: Checkpoint,
        random_prompt: Callable[..., InitialPrompt],
    ) -> None:
        self._with_prompt = model
        self._without_prompt = dataclasses.replace(model, module=_without(model))
        self._checkpoint = checkpoint
        self._random_prompt = random_prompt
        self._shapes = {
            name: shape
            for name, shape in parameters.shapes(model.module).items()
            if matches(name)
        }
        self._rest = parameters.load(checkpoint, self._without_prompt.module, "")
        self._step = parameters.step_of(checkpoint)

    def parameters(
        self, entry: manifests.Evaluation
    ) -> tuple[parameters.Parameters, int, EncoderDecoder]:
        """Returns the parameters to evaluate, their step, and their network."""
        if entry.no_prompt:
            return self._rest, self._step, self._without_prompt
        if entry.prompt is not None:
            kind: InitialPrompt = FromFile(entry.prompt)
        else:
            kind = self._random_prompt(seed=entry.random_prompt)
        prompts = {
            name: jnp.asarray(kind.make(self._checkpoint, length)[0])
            for name, (length, _) in self._shapes.items()
        }
        return {**self._rest, **prompts}, self._step, self._with_prompt


def _without(model: EncoderDecoder) -> Any:
    config: Any = getattr(model.module, "config", None)
    if not getattr(config, "prompt_length", 0):
        raise RecyclingError(
            "the model has no prompt, so there is no place for those to be evaluated. "
            "Use a model file that ends in _prompt, such as "
            "models/t5_1_1_base_prompt.gin."
        )
    return model.module.clone(config=dataclasses.replace(config, prompt_length=0))


class _Loggers:
    """Seqio's loggers, for one evaluation after the other into folders of their own."""

    def __init__(self, classes: Sequence[Callable[..., seqio.Logger]]) -> None:
        self._classes = classes
        self._current: list[seqio.Logger] = []

    def of_evaluator(self, output_dir: str) -> Callable[..., None]:
        """Returns the one logger that the evaluator knows of."""
        del output_dir

        def log(**results: Any) -> None:
            for current in self._current:
                current(**results)

        return log

    @contextlib.contextmanager
    def writing_to(self, output_dir: str) -> Iterator[None]:
        """What is logged within is there, whole, when it ends without an error."""
        final = as_path(output_dir) / _FOLDER
        # An object store has no rename; its objects appear whole, one by one.
        temporary = final if is_remote(final) else final.with_name(f"tmp.{_FOLDER}")
        for left_behind in (temporary, final):
            if left_behind.exists():
                left_behind.rmtree()
        temporary.mkdir(parents=True)
        write_config(output_dir)
        self._current = [cls(output_dir=os.fspath(temporary)) for cls in self._classes]
        yield
        self._current = []
        if temporary != final:
            temporary.rename(final)
            sync(final.parent)


def _is_done(output_dir: str, tasks: Sequence[str]) -> bool:
    folder = as_path(output_dir) / _FOLDER
    return all((folder / f"{task}-metrics.jsonl").exists() for task in tasks)


def _shared_out(
    missing: Sequence[manifests.Evaluation], manifest: str, tasks: Sequence[str]
) -> Iterator[manifests.Evaluation]:
    """Yields those that no other job on this file system has done or is doing; the
    system lets go of a job's locks when it ends, however it does.
    """
    if is_remote(manifest):
        yield from missing
        return
    locks = as_path(f"{manifest}.locks")
    locks.mkdir(exist_ok=True)
    left = list(enumerate(missing))
    # First what is free, then what another job may have been stopped at.
    for wait in (False, True):
        taken = []
        for number, entry in left:
            name = hashlib.sha256(entry.output_dir.encode()).hexdigest()
            lock = filelock.FileLock(os.fspath(locks / name))
            try:
                held = lock.acquire(blocking=wait)
            except filelock.Timeout:
                taken.append((number, entry))
                continue
            with held:
                if not _is_done(entry.output_dir, tasks):
                    yield entry
        left = taken
