"""Recycles all prompts of one pair of models, as far as they are not there yet."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import json
import logging
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from prompt_tuning_recycling.checkpoints import Checkpoint, open_checkpoint
from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import as_path, write_atomically
from prompt_tuning_recycling.files.json_files import read_json
from prompt_tuning_recycling.model_pair import ModelPair, check_width, read_pairs
from prompt_tuning_recycling.prompts import (
    find_prompt,
    load_prompt,
    provenance_path,
    save_prompt,
)
from prompt_tuning_recycling.recyclers import FittedRecycler
from prompt_tuning_recycling.recyclers.least_squares import decomposing_once
from prompt_tuning_recycling.sweep.plan import Fit, Item, PairWork

if TYPE_CHECKING:
    from jaxtyping import Float

logger = logging.getLogger(__name__)

# Prompts that are carried over at once, so that memory does not grow with their number.
_AT_ONCE = 32
_WRITERS = 8


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of a pair's prompts.

    Attributes:
      source, target: the models' names.
      recycled: prompts that were recycled now.
      present: prompts that were there already.
      fitted: paths of the maps that were fitted now.
      failed: what could not be done, and why; the name of an output, or of a run.
      seconds: it took.
    """

    source: str
    target: str
    recycled: tuple[str, ...]
    present: tuple[str, ...]
    fitted: tuple[str, ...]
    failed: tuple[tuple[str, str], ...]
    seconds: float


def recycle_pair(work: PairWork) -> Outcome:
    """Does what is missing of a pair's work; what fails is reported, and the rest done.

    A prompt that is written is whole, has its provenance, and is not touched again.
    """
    started = time.monotonic()
    present = [] if work.clobber else _present(work.items)
    log = _Log(failed=list(work.unlisted))
    missing = [
        dataclasses.replace(
            fit, items=tuple(item for item in fit.items if item.output not in present)
        )
        for fit in work.fits
    ]
    missing = [fit for fit in missing if fit.items]
    if missing:
        _recycle(work, missing, log)
    return Outcome(
        work.source,
        work.target,
        tuple(log.recycled),
        tuple(item.output for item in work.items if item.output in present),
        tuple(log.fitted),
        tuple(log.failed),
        time.monotonic() - started,
    )


@dataclasses.dataclass
class _Log:
    failed: list[tuple[str, str]]
    recycled: list[str] = dataclasses.field(default_factory=list)
    fitted: list[str] = dataclasses.field(default_factory=list)

    @contextlib.contextmanager
    def failing(self, items: Sequence[Item]) -> Iterator[None]:
        """An error within means that these items failed."""
        try:
            yield
        except RecyclingError as error:
            message = str(error)
        # A damaged file can make any library fail in its own way, and no failure of one
        # item may stop the others.
        except Exception as error:
            logger.debug("unexpected", exc_info=True)
            message = f"{type(error).__name__}: {error}"
        else:
            return
        done = set(self.recycled) | {name for name, _ in self.failed}
        self.failed += [(i.output, message) for i in items if i.output not in done]


def _present(items: Sequence[Item]) -> set[str]:
    """The outputs that are there. A prompt is written after its provenance."""
    names: dict[str, set[str]] = {}
    found = set()
    for item in items:
        folder = as_path(item.output).parent
        if str(folder) not in names:
            try:
                names[str(folder)] = {child.name for child in folder.iterdir()}
            except OSError:
                names[str(folder)] = set()
        name = as_path(item.output).name
        # Listings leave out names that end in `~`, as backups of an editor.
        if name in names[str(folder)] or (
            name.endswith("~") and as_path(item.output).exists()
        ):
            found.add(item.output)
    return found


def _recycle(work: PairWork, fits: Sequence[Fit], log: _Log) -> None:
    """Reads the pair once, then makes and applies one map after the other."""
    every = [item for fit in fits for item in fit.items]
    with log.failing(every):
        word_sets = list(dict.fromkeys(fit.words for fit in fits))
        source, target = (
            open_checkpoint(work.source_path),
            open_checkpoint(work.target_path),
        )
        words = [word_set.words() for word_set in word_sets]
        pairs = dict(
            zip(
                word_sets,
                read_pairs(source, target, words, work.embedding),
                strict=True,
            )
        )
        with decomposing_once():
            for fit in fits:
                with log.failing(fit.items):
                    _apply(pairs[fit.words], fit, work, log)


def _apply(pair: ModelPair, fit: Fit, work: PairWork, log: _Log) -> None:
    fitted, record = _fitted(pair, fit, work.clobber, log)
    loaded: dict[tuple[int, ...], list[_Tuned]] = {}
    for item in fit.items:
        with log.failing([item]):
            tuned = _Tuned.load(item, pair)
            loaded.setdefault(tuned.prompt.shape, []).append(tuned)
    # Writing is waiting, for the disk or the network.
    with concurrent.futures.ThreadPoolExecutor(_WRITERS) as writers:
        for same_shape in loaded.values():
            for first in range(0, len(same_shape), _AT_ONCE):
                batch = same_shape[first : first + _AT_ONCE]
                with log.failing([tuned.item for tuned in batch]):
                    recycled = fitted.apply_all(np.stack([t.prompt for t in batch]))
                    written = [
                        writers.submit(
                            save_prompt,
                            prompt,
                            tuned.item.output,
                            pair.prompt_report(
                                record,
                                tuned.read_from,
                                tuned.name,
                                tuned.prompt,
                                prompt,
                            ),
                        )
                        for tuned, prompt in zip(batch, recycled, strict=True)
                    ]
                    for tuned, future in zip(batch, written, strict=True):
                        with log.failing([tuned.item]):
                            future.result()
                            log.recycled.append(tuned.item.output)


@dataclasses.dataclass(frozen=True, eq=False)
class _Tuned:
    item: Item
    read_from: Checkpoint
    name: str
    prompt: Float[np.ndarray, "length source_dim"]

    @staticmethod
    def load(item: Item, pair: ModelPair) -> _Tuned:
        read_from = open_checkpoint(item.prompt_from)
        name = find_prompt(read_from)
        check_width(pair.source, pair.embedding, read_from, name)
        return _Tuned(item, read_from, name, load_prompt(read_from, name))


def _fitted(
    pair: ModelPair, fit: Fit, clobber: bool, log: _Log
) -> tuple[FittedRecycler, dict[str, Any]]:
    """Returns the map and its record, from disk if they are there."""
    if not clobber and as_path(fit.path).exists():
        return _loaded(pair, fit)
    started = time.monotonic()
    fitted, residual = pair.fit(fit.recycler)
    record = pair.fit_report(fitted, residual)
    timed = {**record, "seconds": {"fit": round(time.monotonic() - started, 3)}}
    text = json.dumps(timed, indent=2, ensure_ascii=False) + "\n"
    # First the record: a map that is there is never without one.
    write_atomically(provenance_path(fit.path), text.encode())
    fitted.save(fit.path)
    log.fitted.append(fit.path)
    return fitted, record


def _loaded(pair: ModelPair, fit: Fit) -> tuple[FittedRecycler, dict[str, Any]]:
    fitted = FittedRecycler.load(fit.path)
    beside = provenance_path(fit.path)
    try:
        record = read_json(beside, "the record")
        residual, words = record["residual"], record["words"]["rows_sha256"]
        rows = {role: record[role]["used_sha256"] for role in ("source", "target")}
    except (RecyclingError, KeyError, TypeError) as error:
        raise RecyclingError(
            f"{beside} is not the record of the fitted recycler {fit.path}: {error} "
            "Delete both to fit it again."
        ) from error
    now = pair.fit_report(fitted, residual)
    for what, then, asked in (
        ("the recycler", fitted.recycler.parameters(), fit.recycler.parameters()),
        ("the kind of recycler", fitted.recycler.name, fit.recycler.name),
        ("the words", words, now["words"]["rows_sha256"]),
        *(
            (f"the {role} model's rows", then, now[role]["used_sha256"])
            for role, then in rows.items()
        ),
    ):
        if then != asked:
            raise RecyclingError(
                f"{fit.path} was fitted before with other settings: {what} then "
                f"{then}, now {asked}. Set clobber to do it again, or choose another "
                "root_dir."
            )
    return fitted, {name: value for name, value in record.items() if name != "seconds"}
