"""Seqio's loggers. Each evaluation is written whole or not at all."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import seqio
from etils import epath

from prompt_tuning_recycling.evaluation import metrics_file
from prompt_tuning_recycling.evaluation.gin_file import write_config
from prompt_tuning_recycling.files import as_path, is_remote, sync
from prompt_tuning_recycling.files.staging import Staged, scratch_folder
from prompt_tuning_recycling.files.temporary import replace_folder, temporary_folder


class Loggers:
    """Seqio's loggers, which write each evaluation to its own folder."""

    def __init__(self, classes: Sequence[Callable[..., Any]]) -> None:
        """Takes the classes of seqio's loggers."""
        self._classes = classes
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
          RecyclingError: or one of `files.storage_errors`; it cannot be written.
        """
        final = as_path(metrics_file.metrics_folder(output_dir))
        if is_remote(final):
            with scratch_folder() as local:
                write_config(output_dir)
                with self._logging(local, prompt):
                    yield
                if not is_done():
                    metrics_file.remove(final)
                    Staged(final, local).publish([metrics_file.METRICS])
            return
        final.parent.mkdir(parents=True, exist_ok=True)
        with temporary_folder(final) as temporary:
            write_config(output_dir)
            with self._logging(epath.Path(temporary), prompt):
                yield
            replace_folder(temporary, final)
            sync(final.parent)

    @contextlib.contextmanager
    def _logging(self, folder: epath.Path, prompt: str | None) -> Iterator[None]:
        self._current = [cls(output_dir=os.fspath(folder)) for cls in self._classes]
        try:
            yield
        finally:
            self._current = []
        if prompt is not None:
            metrics_file.write_prompt(folder, prompt)
