"""What of a manifest counts as evaluated, whatever the host."""

import contextlib
import errno
import os

import pytest

from prompt_tuning_recycling import RecyclingError, run_folder
from prompt_tuning_recycling.evaluation import manifest
from prompt_tuning_recycling.evaluation.manifest import Evaluation
from prompt_tuning_recycling.files import holding
from prompt_tuning_recycling.files.temporary import temporary_folder
from prompt_tuning_recycling.initial_prompts import SampledVocabulary

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import seqio

from prompt_tuning_recycling.evaluation.job import ManifestJob

from ..conftest import IMPORTABLE
from .host import Target


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


def test_what_another_run_evaluates_comes_last(job, tmp_path, capsys):
    """In its folder may be any run, a job of another manifest, too."""
    a, b = (tmp_path / name for name in "ab")
    with contextlib.ExitStack() as stack:
        place = a / holding.LOCK
        stack.enter_context(holding.held(place, "a run is at work", "Wait."))

        def before():
            if capsys.readouterr().out.endswith("evaluated before\n"):
                with pytest.raises(holding.BusyError, match="another run"):
                    stack.enter_context(run_folder.held(b))
                # The other one is done, or not.
                stack.close()

        target = Target("review_decoded", before)
        made = job("review_decoded")
        assert made.run(target, target.loggers, SampledVocabulary) == 2
    assert f"2 of 2: {a}: review_decoded" in capsys.readouterr().out
    assert sorted(path.name for path in b.iterdir()) == ["config.gin", "inference_eval"]


def test_a_folder_that_became_another_runs_meanwhile(job, tmp_path, caplog):
    """While the job waits, a training run ends in it."""
    theirs = tmp_path / "a"
    with contextlib.ExitStack() as stack:
        stack.enter_context(run_folder.held(theirs))

        def before():
            for name in ("run_start.json", "config.gin", "inference_eval/x.jsonl"):
                (theirs / name).parent.mkdir(exist_ok=True)
                (theirs / name).write_text("precious")
            stack.close()

        target = Target("review_decoded", before)
        with pytest.raises(RecyclingError, match="1 of 2 evaluations failed"):
            job("review_decoded").run(target, target.loggers, SampledVocabulary)
    assert "it is the folder of a training run" in caplog.text
    assert (theirs / "inference_eval/x.jsonl").read_text() == "precious"
    assert (theirs / "config.gin").read_text() == "precious"


def test_an_evaluation_in_a_place_that_cannot_be_used_is_one_failure(
    job, tmp_path, caplog
):
    (tmp_path / "a").touch()
    target = Target("review_decoded")
    made = job("review_decoded")
    with pytest.raises(RecyclingError, match="1 of 2 evaluations failed"):
        made.run(target, target.loggers, SampledVocabulary)
    assert f"failed: {tmp_path / 'a'}: cannot write" in caplog.text
    assert job("review_decoded").missing == [
        Evaluation(str(tmp_path / "a"), no_prompt=True)
    ]


def test_a_disk_that_is_full_is_a_failure_of_one_evaluation(job, tmp_path, caplog):
    errors = iter([OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))])

    def before():
        if error := next(errors, None):
            raise error

    target = Target("review_decoded", before)
    with pytest.raises(RecyclingError, match="1 of 2 evaluations failed"):
        job("review_decoded").run(target, target.loggers, SampledVocabulary)
    assert f"failed: {tmp_path / 'a'}: No space left on device" in caplog.text
    assert not list((tmp_path / "a").glob(".*"))
    assert len(job("review_decoded").missing) == 1


def test_a_job_leaves_what_another_one_is_writing(job, tmp_path):
    log(tmp_path / "a", "review_decoded", {"accuracy": 50.0})
    with temporary_folder(tmp_path / "a" / "inference_eval") as writing:
        assert len(job("review_decoded").missing) == 1
        assert os.path.isdir(writing)


def test_a_folder_in_the_home_folder(tmp_path, monkeypatch):
    """It is found by every check, too."""
    monkeypatch.setenv("HOME", str(tmp_path))
    manifest.write(tmp_path / "m.json", [Evaluation("~/a", no_prompt=True)])
    (entry,) = manifest.read(tmp_path / "m.json").evaluations
    assert entry.output_dir == str(tmp_path / "a")
