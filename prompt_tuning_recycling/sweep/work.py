"""Recycles the prompts of a pair of models that have not been recycled yet."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import threadpoolctl
from etils import epath

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import (
    as_path,
    holding,
    write_together,
)
from prompt_tuning_recycling.files.json_files import (
    DAMAGED,
    json_text,
    read_json,
    why_damaged,
)
from prompt_tuning_recycling.maps import Map, load_map
from prompt_tuning_recycling.maps.files import map_file
from prompt_tuning_recycling.models import Model, open_model
from prompt_tuning_recycling.prompts import Prompt, find_prompt, load_prompt
from prompt_tuning_recycling.prompts.prompt import load_record, record_path
from prompt_tuning_recycling.records.recorder import Recorder, check_of_fit
from prompt_tuning_recycling.recycling import check_width
from prompt_tuning_recycling.sweep import layout
from prompt_tuning_recycling.sweep.plan import Fit, Item, PairWork
from prompt_tuning_recycling.sweep.present import valid
from prompt_tuning_recycling.words import EmbeddedWords, read_embeddings

logger = logging.getLogger(__name__)

# How many prompts are mapped and written together, and how many such batches are at
# work. Their product limits the memory, however many prompts there are.
_BATCH = 4
_THREADS = 8
# Parts of a map's record that the records of its prompts leave out.
_OF_FILE = ("seconds", "file_sha256")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The outcome for a pair's prompts.

    Attributes:
      source, target: the models' names.
      recycled: prompts that were recycled now.
      present: prompts that existed before.
      fitted: paths of the maps that were fitted now.
      failed: outputs or runs that failed, and why.
      changes: why prompts that existed were recycled again, as texts for messages.
      seconds: how long the work took.
    """

    source: str
    target: str
    recycled: tuple[str, ...]
    present: tuple[str, ...]
    fitted: tuple[str, ...]
    failed: tuple[tuple[str, str], ...]
    changes: tuple[str, ...]
    seconds: float


def recycle_pair(work: PairWork) -> Outcome:
    """Does what is missing of a pair's work; reports failures and does the rest.

    A prompt that exists is complete. It is not written again, even without a record,
    unless the sweep clobbers, or the prompt that it was made from was tuned again.
    """
    started = time.monotonic()
    present: set[str] = set()
    changes: list[str] = []
    log = _Log(failed=list(work.unlisted))
    with log.failing(work.items):
        if not work.clobber:
            present, changes = valid(work.items)
        missing = [
            dataclasses.replace(
                fit, items=tuple(i for i in fit.items if i.output not in present)
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
        tuple(changes),
        time.monotonic() - started,
    )


@dataclasses.dataclass
class _Log:
    failed: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    recycled: list[str] = dataclasses.field(default_factory=list)
    fitted: list[str] = dataclasses.field(default_factory=list)

    @contextlib.contextmanager
    def failing(self, items: Sequence[Item]) -> Iterator[None]:
        """Reports these items as failed if the body raises an error."""
        try:
            yield
        except RecyclingError as error:
            message = str(error)
        # A damaged file can make a library raise any error, and the failure of one item
        # must not stop the others.
        except Exception as error:
            logger.debug("unexpected", exc_info=True)
            message = f"{type(error).__name__}: {error}"
        else:
            return
        done = set(self.recycled) | {name for name, _ in self.failed}
        self.failed += [(i.output, message) for i in items if i.output not in done]


def _recycle(work: PairWork, fits: Sequence[Fit], log: _Log) -> None:
    """Reads the pair once, then fits and applies one map after another."""
    every = [item for fit in fits for item in fit.items]
    with log.failing(every):
        word_sets = list(dict.fromkeys(fit.words for fit in fits))
        source, target = (
            open_model(path, embedding_name=work.embedding, vocabulary=vocabulary)
            for path, vocabulary in (
                (work.source_path, work.source_vocabulary),
                (work.target_path, work.target_vocabulary),
            )
        )
        words = [word_set.words() for word_set in word_sets]
        embedded = read_embeddings(source, target, words)
        pairs = {
            word_set: (one, Recorder(one))
            for word_set, one in zip(word_sets, embedded, strict=True)
        }
        for fit in fits:
            # Another command may do the same with other settings.
            with log.failing(fit.items), _held(fit):
                map_, record = _fitted(*pairs[fit.words], fit, work.clobber, log)
                _apply(map_, record, *pairs[fit.words], fit.items, log)


def _held(fit: Fit) -> contextlib.AbstractContextManager[holding.Hold]:
    """Holds a map and its prompts, after another process that works on them."""
    what = f"another process works on {fit.path}"
    return holding.held(layout.lock(fit.path), what, "Wait until it ends.", wait=True)


def _apply(
    map_: Map,
    record: Mapping[str, Any],
    embedded: EmbeddedWords,
    recorder: Recorder,
    items: Sequence[Item],
    log: _Log,
) -> None:
    """Recycles prompts, several of them at once."""

    def recycle(batch: Sequence[Item]) -> None:
        tuned = [_load(item, embedded.source) for item in batch]
        recycled = map_.apply(np.stack([prompt.array for prompt in tuned]))
        files: dict[epath.PathLike, bytes] = {}
        for item, prompt, array in zip(batch, tuned, recycled, strict=True):
            of_prompt = recorder.of_prompt(
                record, prompt.array, prompt.record, array, map_
            )
            files |= Prompt(array, prompt.site, of_prompt).files(item.output)
        write_together(files)

    def each_alone_if_one_fails(batch: Sequence[Item]) -> _Log:
        done = _Log()
        try:
            recycle(batch)
        # Nothing is lost: each item is tried alone, and reports its own error.
        except Exception:
            for item in batch:
                with done.failing([item]):
                    recycle([item])
                    done.recycled.append(item.output)
        else:
            done.recycled += [item.output for item in batch]
        return done

    batches = [items[at : at + _BATCH] for at in range(0, len(items), _BATCH)]
    # While some wait for the disk or the network, others use the processors. Products
    # that are shared among BLAS's own threads would only wait for each other.
    with (
        threadpoolctl.threadpool_limits(1, "blas"),
        concurrent.futures.ThreadPoolExecutor(_THREADS) as threads,
    ):
        for done in threads.map(each_alone_if_one_fails, batches):
            log.recycled += done.recycled
            log.failed += done.failed


def _load(item: Item, source: Model) -> Prompt:
    read_from = open_model(item.prompt_from)
    check_width(source, find_prompt(read_from))
    return load_prompt(read_from)


def _fitted(
    embedded: EmbeddedWords, recorder: Recorder, fit: Fit, clobber: bool, log: _Log
) -> tuple[Map, dict[str, Any]]:
    """Returns the map and its record, read from disk if they exist."""
    if not clobber and as_path(fit.path).exists():
        return _loaded(recorder, fit)
    started = time.monotonic()
    learned = fit.recycler.fit(*embedded.fitted)
    record = recorder.of_fit(fit.recycler, learned)
    data = map_file(learned.map, {"recycler": record["recycler"]})
    timed = {
        **record,
        "seconds": {"fit": round(time.monotonic() - started, 3)},
        "file_sha256": hashlib.sha256(data).hexdigest(),
    }
    # The record comes first, so that no map is ever without one.
    write_together({record_path(fit.path): json_text(timed).encode(), fit.path: data})
    log.fitted.append(fit.path)
    return learned.map, record


def _loaded(recorder: Recorder, fit: Fit) -> tuple[Map, dict[str, Any]]:
    map_ = load_map(fit.path)
    beside = record_path(fit.path)
    try:
        record = read_json(beside, "the record")
        # Earlier versions did not write it.
        if "file_sha256" in record:
            record = load_record(fit.path)
        then = _inputs(record)
        check_of_fit(record)
    except (RecyclingError, *DAMAGED) as error:
        found = f"{why_damaged(error)}."
        if isinstance(error, RecyclingError):
            found = str(error)
        raise RecyclingError(
            f"{beside} is not the record of the map {fit.path}: {found} Delete both to "
            "fit the map again."
        ) from error
    now = _inputs(json.loads(json.dumps(recorder.of_inputs(fit.recycler))))
    for what, asked in now.items():
        if then[what] != asked:
            raise RecyclingError(
                f"{fit.path} was fitted before with other settings: {what} then "
                f"{then[what]}, now {asked}. Set clobber to fit it again, or choose "
                "another root_dir."
            )
    return map_, {n: value for n, value in record.items() if n not in _OF_FILE}


def _inputs(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a map was learned from, keyed by the names that messages use."""
    return {
        "the recycler": record["recycler"]["parameters"],
        "the kind of recycler": record["recycler"]["name"],
        "the words": record["words"]["rows_sha256"],
        "the source model's rows": record["source"]["used_sha256"],
        "the target model's rows": record["target"]["used_sha256"],
    }
