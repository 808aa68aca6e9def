"""Two jobs at once that evaluate the prompts of one manifest on a store."""

import concurrent.futures
import contextlib
import threading

import numpy as np
import pytest
import seqio

from prompt_tuning_recycling.evaluation import manifest
from prompt_tuning_recycling.evaluation.job import ManifestJob
from prompt_tuning_recycling.evaluation.manifest import Evaluation
from prompt_tuning_recycling.files import as_path
from prompt_tuning_recycling.prompts import Prompt

from ..conftest import IMPORTABLE, thorough
from ..evaluation.host import Target

pytestmark = pytest.mark.slow
COUNT = 6


@pytest.fixture
def start(store, monkeypatch):
    """Starts a job in a thread; its future gives how many evaluations it did."""
    monkeypatch.syspath_prepend(IMPORTABLE)
    import tiny_tasks  # noqa: F401

    task = seqio.get_mixture_or_task("tiny_generated")

    def work(meeting):
        job = ManifestJob(store.url("manifest.json"), task, "test")
        # Each waits until the other is at work on one of its own.
        target = Target(task.name, lambda: meeting.wait(30))
        try:
            return job.run(target, target.loggers, None)
        finally:
            meeting.abort()

    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        yield lambda meeting: threads.submit(work, meeting)


class Meeting:
    """Where two jobs wait for each other, until one has ended."""

    def __init__(self):
        self._barrier = threading.Barrier(2)

    def wait(self, seconds):
        with contextlib.suppress(threading.BrokenBarrierError):
            self._barrier.wait(seconds)

    def abort(self):
        self._barrier.abort()


@pytest.mark.parametrize("store", [thorough("gs"), "s3"], indirect=True)
def test_each_prompt_has_one_result_and_the_work_is_shared(store, start):
    listed = []
    for number in range(COUNT):
        path = store.url(f"prompts/{number}")
        Prompt(np.full((2, 3), number, np.float32)).save(path)
        listed.append(Evaluation(store.url(f"out/{number}"), prompt=path))
    manifest.write(as_path(store.url("manifest.json")), listed)
    meeting = Meeting()
    jobs = [start(meeting) for _ in range(2)]
    done = [job.result() for job in jobs]
    for number in range(COUNT):
        metrics = f"out/{number}/inference_eval/tiny_generated-metrics.jsonl"
        found = store.read(metrics).decode()
        assert found == f'{{"step": 1, "accuracy": {float(number)}}}\n'
    assert len(store.names("out")) == 3 * COUNT
    assert min(done) > 0 and COUNT <= sum(done) < 2 * COUNT, done
    # A prompt that was tuned again is evaluated again, and its old result replaced.
    Prompt(np.full((2, 3), 99, np.float32)).save(store.url("prompts/0"))
    alone = Meeting()
    alone.abort()
    assert start(alone).result() == 1
    metrics = "out/0/inference_eval/tiny_generated-metrics.jsonl"
    assert store.read(metrics).decode() == '{"step": 1, "accuracy": 99.0}\n'
