"""Faults while each kind of file is written to a store: a fault that passes is
overcome; any other is one line, and readers see what was there before, or what is
written now, or nothing, and never a part. The next attempt writes what an undisturbed
one would.

With STORES=all, each fault comes at each request (at every N-th with STORES_EVERY=N);
otherwise a few of them do.
"""

import collections
import functools
import itertools
import json
import os
import pathlib

import jax.numpy as jnp
import numpy as np
import pytest
import seqio

from prompt_tuning_recycling import RecyclingError, load_prompt, run_folder
from prompt_tuning_recycling.evaluation import metrics_file, scores_file
from prompt_tuning_recycling.evaluation.loggers import Loggers
from prompt_tuning_recycling.evaluation.scores_file import Scores
from prompt_tuning_recycling.files import as_path, check_folder_writable, write_folder
from prompt_tuning_recycling.files.staging import staged
from prompt_tuning_recycling.maps import Linear, load_map, save_map
from prompt_tuning_recycling.prompts import Prompt
from prompt_tuning_recycling.prompts.export import export_prompts
from prompt_tuning_recycling.prompts.prompt import load_record
from prompt_tuning_recycling.standalone import steps

from ..conftest import thorough
from .proxy import Fault

ALL = os.environ.get("STORES") == "all"
EVERY = int(os.environ.get("STORES_EVERY", "1"))

PASSING = {
    "500": Fault(status=500),
    "503": Fault(status=503, headers={"Retry-After": "1"}),
    "429": Fault(status=429),
    "reset before": Fault(status=500, reset=True),
    "answer lost": Fault(reset=True),
}
LASTING = {"403": Fault(status=403)}
FAULTS = {**PASSING, **LASTING}

SITES = ("encoder", "decoder")


def array(version):
    return np.full((3, 4), version, np.float32)


class Writer:
    """Writes version 0 or 1 to a folder, and says which of them a reader sees there:
    None if it sees that there is nothing to use.
    """

    def write(self, folder, version):
        raise NotImplementedError

    def read(self, folder):
        raise NotImplementedError


class APrompt(Writer):
    def write(self, folder, version):
        Prompt(array(version), record={"version": version}).save(folder / "prompt.npy")

    def read(self, folder):
        if not (folder / "prompt.npy").exists():
            return None
        found = load_prompt(folder / "prompt.npy").array
        try:
            record = load_record(folder / "prompt.npy")
        except RecyclingError as error:
            # The record comes first. It is seen to be of another prompt.
            assert "does not belong" in str(error)
            return int(found[0, 0])
        assert record["version"] == found[0, 0]
        return record["version"]


class AnAdapter(Writer):
    """A folder of files, the last of which makes it what it is."""

    def write(self, folder, version):
        files = {"weights": b"%d" % version, "record": b"%d" % version}
        write_folder(folder / "adapter", {**files, "config": b"%d" % version})

    def read(self, folder):
        inside = folder / "adapter"
        if not (inside / "config").exists():
            return None
        (version,) = {
            int((inside / name).read_bytes())
            for name in ("weights", "record", "config")
        }
        return version


class AnExport(Writer):
    def write(self, folder, version):
        export_prompts(
            folder, 5, {f"{s}/prompt/prompt/prompt": array(version) for s in SITES}
        )

    def read(self, folder):
        # Of several prompts, each is whole, and the last is written last.
        inside, versions = folder / "numpy_checkpoints/checkpoint_5", []
        for site in SITES:
            path = inside / f"{site}.prompt.prompt.prompt"
            there = load_prompt(path).array if path.exists() else np.full((1, 1), -1)
            assert (there == there[0, 0]).all()
            versions.append(int(there[0, 0]))
        assert versions == sorted(versions, reverse=True)
        return None if versions[-1] < 0 else versions[-1]


class TheStart(Writer):
    def write(self, folder, version):
        run_folder.write_start(folder, run_folder.Start(version, None, {}))

    def read(self, folder):
        start = run_folder.read_start(folder)
        return None if start is None else start.step


class ACheckpoint(Writer):
    def write(self, folder, version):
        named = {
            "encoder/prompt/prompt/prompt": jnp.asarray(array(version)),
            "token_embedder/embedding": jnp.asarray(array(version)),
        }
        saver = steps.Saver(folder, 1)
        saver.save(version, named, {"m": array(version)})
        saver.close()

    def read(self, folder):
        model = steps.latest(folder)
        if model is None:
            return None
        checkpoint = model.checkpoint
        for name in checkpoint.keys():
            assert (checkpoint.read(name) == model.step).all()
        return model.step


class TheScores(Writer):
    def write(self, folder, version):
        rows = [np.full(2, version, np.float64)]
        scores_file.write(folder / "scores", Scores(rows, {}, "digest", True))

    def read(self, folder):
        if not (folder / "scores").exists():
            return None
        return int(scores_file.read(folder / "scores").rows[0][0])


class AMap(Writer):
    def write(self, folder, version):
        save_map(Linear(array(version)), folder / "map", {"version": str(version)})

    def read(self, folder):
        if not (folder / "map").exists():
            return None
        return int(load_map(folder / "map").matrix[0, 0])


class AnEvaluation(Writer):
    """What a job for a manifest writes for a prompt."""

    def write(self, folder, version):
        loggers = Loggers([functools.partial(seqio.JSONLogger, write_n_results=0)])
        metrics = {"accuracy": seqio.metrics.Scalar(float(version))}
        with loggers.writing_to(str(folder), str(version), lambda: False):
            for task in ("one", "other"):
                loggers.bound_to(_Evaluator)().log(task, metrics)

    def read(self, folder):
        try:
            found = {
                metrics_file.read(metrics_file.place(str(folder), task))[0]["accuracy"]
                for task in ("one", "other")
            }
        except RecyclingError as error:
            assert "not there" in str(error) or "not be found" in str(error), error
            return None
        assert found == {float(metrics_file.read_prompt(str(folder)))}
        return int(found.pop())


class TheLogs(Writer):
    """Files that only grow, such as events."""

    def write(self, folder, version):
        with staged(folder, ["last"]) as logs:
            for name in ("first", "last"):
                (logs.local / name).write_bytes(b"x" * (version + 1))
            logs.publish(["last"])

    def read(self, folder):
        sizes = [
            len((folder / name).read_bytes()) - 1 if (folder / name).exists() else -1
            for name in ("first", "last")
        ]
        assert sizes[0] >= sizes[1]
        return sizes[1] if sizes[1] >= 0 else None


class _Evaluator:
    def __init__(self, logger_cls):
        self._logger = logger_cls[0](output_dir="")

    def log(self, task, metrics):
        self._logger(
            task_name=task,
            step=1,
            metrics=metrics,
            dataset=None,
            inferences=None,
            targets=None,
        )


WRITERS = [
    APrompt(),
    AnAdapter(),
    AnExport(),
    TheStart(),
    ACheckpoint(),
    TheScores(),
    AMap(),
    AnEvaluation(),
    TheLogs(),
]
writers = pytest.mark.parametrize(
    "writer", WRITERS, ids=lambda writer: type(writer).__name__
)


def content(store, name):
    """The objects of a folder, but for names and times that differ each time."""
    return {
        one.removeprefix(name): store.read(one)
        for one in store.names(name)
        if "/checkpoint_" not in one
    }


@pytest.fixture
def attempt(store):
    """Writes version 1 over version 0 with a fault from request FIRST to LAST."""
    numbers = itertools.count()

    def attempt(writer, fault=None, first=0, last=10**9):
        name = f"folder-{next(numbers)}"
        folder = as_path(store.url(name))
        writer.write(folder, 0)
        assert writer.read(folder) == 0
        store.proxy.disturb(fault, first, last)
        error = None
        try:
            writer.write(folder, 1)
        except RecyclingError as found:
            error = str(found)
        count = len(store.proxy.exchanges)
        store.proxy.reset()
        return folder, name, error, count

    return attempt


def check(store, writer, attempted, expected, must_pass):
    folder, name, error, _ = attempted
    seen = writer.read(folder)
    if must_pass or error is None:
        assert error is None
        assert seen == 1
    else:
        assert "\n" not in error and "://" in error, error
        assert seen in (None, 0, 1)
        writer.write(folder, 1)
        assert writer.read(folder) == 1
    assert content(store, name) == expected
    return "as without it" if error is None else f"one line, {seen} seen"


def places(count, which):
    """The requests at which a fault begins."""
    if ALL and which == "once":
        return range(0, count, EVERY if count > 3 * EVERY else 1)
    if ALL:
        return sorted({0, count // 2})
    return [count // 2] if which == "once" else [count - 1]


KINDS = [(kind, "once") for kind in FAULTS] + [(kind, "on") for kind in FAULTS]
QUICK = {"gs": ("answer lost", "once"), "s3": ("403", "on")}


@pytest.mark.slow
@writers
@pytest.mark.parametrize(("kind", "which"), KINDS if ALL else QUICK.values())
def test_faults(store, writer, kind, which, attempt, capfd):
    if not ALL and QUICK[store.scheme] != (kind, which):
        pytest.skip("one store is enough here")
    *_, name, error, count = attempt(writer)
    assert error is None
    expected = content(store, name)
    counts = collections.Counter()
    for first in places(count, which):
        last = first if which == "once" else 10**9
        attempted = attempt(writer, FAULTS[kind], first, last)
        try:
            must_pass = kind in PASSING and which == "once"
            counts[check(store, writer, attempted, expected, must_pass)] += 1
        except AssertionError as found:
            raise AssertionError(f"at request {first} of {count}: {found}") from found
    assert "Traceback" not in capfd.readouterr().err
    folder = os.environ.get("STORES_COUNTS")
    if folder:
        path = f"write {which} {store.scheme} {type(writer).__name__} {kind}.json"
        pathlib.Path(folder, path).write_text(json.dumps(counts))


def test_a_bucket_that_is_missing_is_not_made(store):
    missing = as_path(f"{store.scheme}://no-{store.bucket}/run")
    with pytest.raises(RecyclingError, match="there is no bucket"):
        check_folder_writable(missing)
    for writer in WRITERS[:5]:
        with pytest.raises(RecyclingError, match="no-bucket"):
            writer.write(missing, 0)
    store.files.invalidate_cache()
    assert not store.files.exists(f"no-{store.bucket}")


def test_a_bucket_that_is_forbidden_is_seen_before_the_work(store):
    check_folder_writable(store.url("run"))
    assert not store.names("run")
    store.proxy.fault = lambda request: Fault(status=403)
    with pytest.raises(RecyclingError, match="(Forbidden|403).*Check that the bucket"):
        check_folder_writable(store.url("run"))


@pytest.mark.parametrize("store", [thorough("gs"), "s3"], indirect=True)
def test_a_step_without_its_marks_is_no_step(store):
    """Whichever of its other objects are there."""
    writer = ACheckpoint()
    folder = as_path(store.url("run"))
    store.proxy.reset()
    writer.write(folder, 1)
    marks = [f"run/checkpoint_1/{mark}" for mark in steps._MARKS]
    if store.scheme == "s3":  # gcsfs has the names in the bodies.
        exchanges = store.proxy.exchanges
        put = [one.request.path for one in exchanges if one.request.method == "PUT"]
        assert put[-3:] == [f"/{store.bucket}/{mark}" for mark in marks]
    whole = {name: store.read(name) for name in store.names("run")}
    others = [name for name in whole if name not in marks]
    assert len(others) > 3
    store.files.rm(f"{store.bucket}/run", recursive=True)
    for name in others:
        assert steps.latest(folder) is None
        store.files.pipe_file(f"{store.bucket}/{name}", whole[name])
    assert steps.latest(folder) is None
    # What was left of it is replaced, and an old step goes.
    writer.write(folder, 1)
    writer.write(folder, 2)
    assert writer.read(folder) == 2
    assert not [name for name in store.names("run") if "checkpoint_1" in name]
