"""What of a manifest counts as evaluated, whatever the host."""

import contextlib
import os

import pytest

from prompt_tuning_recycling import RecyclingError, run_folder
from prompt_tuning_recycling.evaluation import manifest
from prompt_tuning_recycling.evaluation.manifest import Evaluation
from prompt_tuning_recycling.files import holding

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import seqio

from prompt_tuning_recycling.evaluation.job import ManifestJob

from ..conftest import IMPORTABLE


@pytest.fixture
def job(tmp_path, monkeypatch):
    """Makes a job of two evaluations; the tasks are the tests' own."""
    monkeypatch.syspath_prepend(IMPORTABLE)
    import review_tasks  # noqa: F401

    listed = [
        Evaluation(str(tmp_path / "a"), no_prompt=True),
        Evaluation(str(tmp_path / "b"), random_prompt=0),
    ]
    manifest.write(tmp_path / "m.json", listed)

    def make(task, split="test"):
        return ManifestJob(tmp_path / "m.json", seqio.get_mixture_or_task(task), split)

    return make


def log(folder, task, metrics):
    """Writes metrics as an evaluation does. Returns the file."""
    (folder / "inference_eval").mkdir(parents=True, exist_ok=True)
    values = {name: seqio.metrics.Scalar(value) for name, value in metrics.items()}
    logger = seqio.JSONLogger(str(folder / "inference_eval"), write_n_results=0)
    logger(task, 1600, values, None, None, None)
    return folder / "inference_eval" / f"{task}-metrics.jsonl"


@pytest.mark.parametrize(
    ("task", "split"),
    [
        ("review_silent", "test"),
        ("review_none", "test"),
        ("review_decoded", "train"),
        ("review_both", "tset"),
    ],
)
def test_a_task_without_metrics_is_not_finished(job, task, split):
    with pytest.raises(RecyclingError, match=f"{task} has no metrics for .*{split}"):
        job(task, split)


def test_what_a_task_writes_nothing_of_is_not_waited_for(job, tmp_path):
    """Of a mixture, a task that lacks the split."""
    assert len(job("review_partly").missing) == 2
    log(tmp_path / "a", "review_decoded", {"accuracy": 50.0})
    assert [entry.random_prompt for entry in job("review_partly").missing] == [0]


def test_every_task_of_a_mixture_is_waited_for(job, tmp_path):
    log(tmp_path / "a", "review_decoded", {"accuracy": 50.0})
    assert len(job("review_both").missing) == 2
    log(tmp_path / "a", "review_ranked", {"accuracy": float("nan")})
    assert [entry.random_prompt for entry in job("review_both").missing] == [0]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: b"\n",
        lambda data: data[:-1],
        lambda data: data[:20],
        lambda data: data + data[:20],
        lambda data: b'{"step": 1600}\n',
        lambda data: b"\0" * len(data),
        lambda data: b"[]\n",
    ],
)
def test_a_file_that_is_not_whole_is_not_done(job, tmp_path, damage):
    path = log(tmp_path / "a", "review_decoded", {"accuracy": 50.0})
    assert len(job("review_decoded").missing) == 1
    path.write_bytes(damage(path.read_bytes()))
    assert len(job("review_decoded").missing) == 2


# Jobs that share a manifest


def test_what_another_run_evaluates_comes_last(job, tmp_path):
    """In its folder may be any run, a job of another manifest, too."""
    a, b = (tmp_path / name for name in "ab")
    with contextlib.ExitStack() as stack:
        place = a / holding.LOCK
        stack.enter_context(holding.held(place, "a run is at work", "Wait."))
        shared = job("review_decoded")._shared_out()
        entry, _ = next(shared)
        assert entry.output_dir == str(b)
        with pytest.raises(holding.BusyError, match="another run"):
            stack.enter_context(run_folder.held(b))
        stack.close()
        # It is done by the other, or not.
        assert [entry.output_dir for entry, _ in shared] == [str(a)]
