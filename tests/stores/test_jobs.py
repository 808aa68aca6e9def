"""Two jobs at once that evaluate the prompts of one manifest on a store."""

import contextlib
import functools
import threading

import numpy as np
import pytest
import seqio

from prompt_tuning_recycling.evaluation import manifest
from prompt_tuning_recycling.evaluation.job import ManifestJob
from prompt_tuning_recycling.evaluation.loggers import Loggers
from prompt_tuning_recycling.evaluation.manifest import Evaluation
from prompt_tuning_recycling.files import as_path, write_atomically
from prompt_tuning_recycling.models import open_model
from prompt_tuning_recycling.prompts import Prompt

from ..conftest import IMPORTABLE

pytestmark = pytest.mark.slow
COUNT = 6


class Target:
    """A host's model whose metric is the first number of the prompt."""

    def __init__(self, loggers, meeting):
        self.model = open_model(np.ones((10, 3), np.float32))
        self.shapes = {"encoder/prompt/prompt/prompt": (2, 3)}
        self._log = loggers.bound_to(_Evaluator)().log
        self._meeting = meeting

    def check_without_prompt(self):
        pass

    def evaluate(self, prompts):
        # The other job is at work on one of its own.
        self._meeting.wait(30)
        (prompt,) = prompts.values()
        value = float(prompt[0, 0])
        self._log(
            task_name="tiny_generated",
            step=1,
            metrics={"accuracy": seqio.metrics.Scalar(value)},
            dataset=None,
            inferences=None,
            targets=None,
        )
        return {"tiny_generated": {"accuracy": value}}


class _Evaluator:
    def __init__(self, logger_cls):
        self.log = logger_cls[0]("")


def write_config(folder):
    write_atomically(as_path(folder) / "config.gin", b"MACRO = 1\n")


@pytest.fixture
def start(store, monkeypatch):
    """Starts a job in a thread; the list gets how many evaluations it did."""
    monkeypatch.syspath_prepend(IMPORTABLE)
    import tiny_tasks  # noqa: F401

    def start(meeting, done):
        def run():
            task = seqio.get_mixture_or_task("tiny_generated")
            job = ManifestJob(store.url("manifest.json"), task, "test")
            logger = functools.partial(seqio.JSONLogger, write_n_results=0)
            loggers = Loggers([logger], write_config)
            try:
                done.append(job.run(Target(loggers, meeting), loggers, None))
            finally:
                # The other one no longer waits for this one.
                meeting.abort()

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    return start


class Meeting:
    """Where two jobs wait for each other, until one has ended."""

    def __init__(self):
        self._barrier = threading.Barrier(2)

    def wait(self, seconds):
        with contextlib.suppress(threading.BrokenBarrierError):
            self._barrier.wait(seconds)

    def abort(self):
        self._barrier.abort()


def test_each_prompt_has_one_result_and_the_work_is_shared(store, start):
    listed = []
    for number in range(COUNT):
        path = store.url(f"prompts/{number}")
        Prompt(np.full((2, 3), number, np.float32)).save(path)
        listed.append(Evaluation(store.url(f"out/{number}"), prompt=path))
    manifest.write(as_path(store.url("manifest.json")), listed)
    meeting, done = Meeting(), []
    for thread in [start(meeting, done) for _ in range(2)]:
        thread.join()
    for number in range(COUNT):
        metrics = f"out/{number}/inference_eval/tiny_generated-metrics.jsonl"
        found = store.read(metrics).decode()
        assert found == f'{{"step": 1, "accuracy": {float(number)}}}\n'
    assert len(store.names("out")) == 3 * COUNT
    assert COUNT <= sum(done) < 2 * COUNT, done
    # A prompt that was tuned again is evaluated again, and its old result replaced.
    Prompt(np.full((2, 3), 99, np.float32)).save(store.url("prompts/0"))
    again = []
    start(Meeting(), again).join()
    assert again == [1]
    metrics = "out/0/inference_eval/tiny_generated-metrics.jsonl"
    assert store.read(metrics).decode() == '{"step": 1, "accuracy": 99.0}\n'
