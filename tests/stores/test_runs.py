"""Programs of the standalone host whose folders are on object stores: what they write,
that a killed run goes on to the same end, and two jobs on one manifest.

With STORES=all, the campaign whose counts docs/reliability.md has; otherwise a part.
"""

import dataclasses
import io
import itertools
import json
import os
import random
import signal
import threading

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from prompt_tuning_recycling.evaluation import manifest
from prompt_tuning_recycling.evaluation.manifest import Evaluation
from prompt_tuning_recycling.files import as_path
from prompt_tuning_recycling.models import open_checkpoint, open_model
from prompt_tuning_recycling.models.steps import steps

from ..conftest import DEMO_MODELS, write_tiny_model
from .proxy import Fault

pytestmark = pytest.mark.slow

ALL = os.environ.get("STORES") == "all"
KILLS = int(os.environ.get("STORES_KILLS", "20")) if ALL else 1
FIRST, STEPS, PERIOD = 1600, 4, 2
EVALUATIONS = 6
NUMBERS = itertools.count()


@pytest.fixture
def tiny(tmp_path):
    return write_tiny_model(tmp_path / "tiny_prompt.gin", 5)


@pytest.fixture
def start(tiny, store, start_program):
    """Starts programs as separate processes."""

    def start(program, run, **macros):
        macros = {
            "MIXTURE_OR_TASK_MODULE": "tiny_tasks",
            "TASK_FEATURE_LENGTHS": {"inputs": 6, "targets": 2},
            "BATCH_SIZE": 16,
            **macros,
        }
        arguments = [
            f"--gin_file={tiny}",
            *(f"--gin_file={file}" for file in run),
            *(f"--gin.{name}={value!r}" for name, value in macros.items()),
        ]
        return start_program(f"prompt_tuning_recycling.standalone.{program}", arguments)

    return start


@pytest.fixture
def tune(start, store):
    def tune(model_dir, **macros):
        return start(
            "train",
            ["runs/standalone/prompt_finetune.gin"],
            **{
                "MIXTURE_OR_TASK_NAME": "tiny_train",
                "EVAL_MIXTURE_OR_TASK_NAME": "tiny_ranked",
                "INITIAL_CHECKPOINT_PATH": str(DEMO_MODELS / "source"),
                "MODEL_DIR": model_dir,
                "TRAIN_STEPS_RELATIVE": STEPS,
                "CHECKPOINT_PERIOD": PERIOD,
                "EVAL_PERIOD": PERIOD,
                "LOG_PERIOD": 1,
                **macros,
            },
        )

    return tune


def works(program):
    """Returns what it has printed."""
    ended = program.end()
    assert ended.code == 0, ended.error
    return ended.out


@pytest.mark.thorough
def test_killed_at_any_write_it_ends_like_an_undisturbed_run(
    tune, start, store, tmp_path
):
    works(tune(store.url("whole"), KEEP_CHECKPOINTS=None))
    writes = len(store.proxy.writes())
    whole = Folder(store, "whole")
    assert whole.steps() == [FIRST + PERIOD, FIRST + STEPS]
    assert whole.measured()[-1]["step"] == FIRST + STEPS
    assert whole.losses(tmp_path / "whole") == list(range(FIRST + 1, FIRST + STEPS + 1))
    rng = random.Random(store.scheme)
    run, reached = "run-0", []
    for kill in range(KILLS):
        # The first in the middle of the last checkpoint.
        number = rng.randrange(writes) if kill else writes * 4 // 5
        killed = kill_at(store, lambda run=run: tune(store.url(run)), number, rng)
        folder = Folder(store, run)
        reached.append(folder.assert_nothing_is_half_written(whole, tmp_path))
        if not killed:
            assert reached[-1] == FIRST + STEPS
            run = f"run-{kill + 1}"
    works(tune(store.url(run)))
    folder = Folder(store, run)
    assert folder.assert_nothing_is_half_written(whole, tmp_path) == FIRST + STEPS
    # The old step is gone.
    assert folder.steps() == [FIRST + STEPS]
    assert not folder.names(f"/checkpoint_{FIRST + PERIOD}/state")
    assert folder.measured()[-1] == whole.measured()[-1]
    # TensorBoard shows every step, from the files of the killed runs and of the last.
    assert set(folder.losses(tmp_path / "again")) == set(
        range(FIRST + 1, FIRST + STEPS + 1)
    )


def kill_at(store, start, number, rng):
    """Kills a run when its N-th write reaches the store; every other time the store
    does it even so. Returns whether the run came so far.
    """
    running, seen, lock = [], 0, threading.Lock()
    carried_out = rng.random() < 0.5

    def fault(request):
        nonlocal seen
        if not request.may_change or not running:
            return None
        with lock:
            seen += 1
        if seen <= number:
            return None
        if seen == number + 1:
            os.kill(running[0].process.pid, signal.SIGKILL)
            return Fault(status=500, reset=True, carried_out=carried_out)
        # What other threads had asked for by then.
        return Fault(status=500, reset=True)

    store.proxy.fault = fault
    running.append(start())
    ended = running[0].end()
    store.proxy.reset()
    assert ended.code in (0, -signal.SIGKILL), ended.error
    return ended.code != 0


@dataclasses.dataclass(frozen=True)
class Folder:
    """A run's folder in a bucket."""

    store: object
    name: str

    def names(self, part=""):
        return [name for name in self.store.names(self.name) if part in name]

    def steps(self):
        """By the package's rule. Orbax looks only for the last of the marks, so to it a
        step is complete later, and gone earlier.
        """
        folder = as_path(self.store.url(self.name))
        ours = list(steps(folder)) if self.names() else []
        marked = {
            int(name.split("/")[1].removeprefix("checkpoint_"))
            for name in self.names("/commit_success.txt")
            if name.count("/") == 2
        }
        assert marked <= set(ours)
        return ours

    def measured(self):
        (name,) = self.names("tiny_ranked-metrics.jsonl") or [None]
        text = self.store.read(name).decode() if name else ""
        assert text.endswith("\n") or not text
        return [json.loads(line) for line in text.splitlines()]

    def losses(self, local):
        """The steps whose losses TensorBoard reads."""
        local.mkdir(parents=True)
        for name in self.names("/train/events"):
            (local / os.path.basename(name)).write_bytes(self.store.read(name))
        found = EventAccumulator(str(local), {"tensors": 0})
        found.Reload()
        if "loss" not in found.Tags()["tensors"]:
            return []
        return [event.step for event in found.Tensors("loss")]

    def assert_nothing_is_half_written(self, whole, tmp_path):
        """All there is equals the undisturbed run's, to the bit. Returns the step."""
        for name in self.names("numpy_checkpoints/"):
            twin = name.replace(self.name, whole.name, 1)
            assert self.store.read(name) == self.store.read(twin)
        for line in self.measured():
            assert line in whole.measured()
        for name in self.names("run_start.json"):
            assert json.loads(self.store.read(name))["step"] == FIRST
        found = self.losses(tmp_path / f"events-{next(NUMBERS)}")
        reached = max(self.steps(), default=FIRST)
        # The logs up to a step are there before it is.
        assert set(range(FIRST + 1, reached + 1)) <= set(found)
        for step in self.steps():
            ours, theirs = (
                open_checkpoint(self.store.url(f"{folder}/checkpoint_{step}"))
                for folder in (self.name, whole.name)
            )
            assert ours.keys() == theirs.keys()
            for name in ours.keys():
                np.testing.assert_array_equal(ours.read(name), theirs.read(name))
        return reached


@pytest.fixture
def listed(store):
    """A manifest's evaluations, all in the bucket: prompts of the model's own words."""
    table = open_model(DEMO_MODELS / "source").embeddings.read()
    rng = np.random.default_rng(0)
    found = [Evaluation(store.url("out/none"), no_prompt=True)]
    for number in range(1, EVALUATIONS):
        prompt = table[rng.integers(3, 500, 5)].astype(np.float32)
        with store.files.open(f"{store.bucket}/prompt-{number}", "wb") as file:
            np.save(file, prompt)
        found.append(
            Evaluation(store.url(f"out/{number}"), prompt=store.url(f"prompt-{number}"))
        )
    return found


@pytest.fixture
def evaluate_prompts(start, store):
    def evaluate_prompts(name):
        return start(
            "evaluate_prompts",
            ["runs/standalone/evaluate_prompts.gin"],
            PROMPT_MANIFEST=store.url(name),
            INITIAL_CHECKPOINT_PATH=str(DEMO_MODELS / "source"),
            MIXTURE_OR_TASK_NAME="tiny_ranked",
        )

    return evaluate_prompts


def results(store, folder):
    """What was evaluated: name -> content, without TensorBoard's events."""
    return {
        name.removeprefix(f"{folder}/"): store.read(name)
        for name in store.names(folder)
        if "tfevents" not in name and "config.gin" not in name
    }


@pytest.mark.skipif(not ALL, reason="takes a minute")
def test_two_jobs_on_one_manifest(store, evaluate_prompts, listed):
    manifest.write(as_path(store.url("manifest.json")), listed)
    jobs = [evaluate_prompts("manifest.json") for _ in range(2)]
    texts = [works(job) for job in jobs]
    together = results(store, "out")
    # Each has one line of metrics.
    metrics = {name: text for name, text in together.items() if "metrics" in name}
    assert len(metrics) == len(listed)
    assert all(text.count(b"\n") == 1 for text in metrics.values())
    # One job alone writes the same.
    store.files.rm(f"{store.bucket}/out", recursive=True)
    works(evaluate_prompts("manifest.json"))
    assert results(store, "out") == together
    done = [text.count("tiny_ranked: ") for text in texts]
    assert len(listed) <= sum(done) < 2 * len(listed), texts


@pytest.fixture
def recycling(store):
    """A source's model and prompt in the bucket, and the words."""
    table = open_model(DEMO_MODELS / "source").embeddings.read()
    np.save(prompt := io.BytesIO(), table[[70, 80, 90, 100, 110]].astype(np.float32))
    store.files.pipe_file(f"{store.bucket}/tuned", prompt.getvalue())
    store.upload(DEMO_MODELS / "source/checkpoint_1600", "source/checkpoint_1600")
    store.upload(DEMO_MODELS / "target-1/checkpoint_1600", "target/checkpoint_1600")
    return {
        "SOURCE_CHECKPOINT": store.url("source"),
        "SOURCE_PROMPT": store.url("tuned"),
        "INITIAL_CHECKPOINT_PATH": store.url("target"),
        "MIXTURE_OR_TASK_NAME": "tiny_ranked",
        "WORD_LIST": store.upload(DEMO_MODELS / "words.json", "words.json"),
        "NUM_WORDS": 300,
        "WORD_OFFSET": 20,
    }


@pytest.mark.skipif(not ALL, reason="takes a minute")
def test_eval_of_a_recycled_prompt_that_is_kept(start, store, recycling, tmp_path):
    """The second run needs no source, and adds a line to the metrics."""
    files = ["recycle_init.gin", "runs/standalone/eval.gin"]
    works(start("eval", files, **recycling, EVAL_OUTPUT_DIR=store.url("out")))
    kept = store.read("out/recycled_prompt/prompt.npy")
    works(start("eval", files, **recycling, EVAL_OUTPUT_DIR=str(tmp_path / "out")))
    ours = {name for name in store.names("out") if "tfevents" not in name}
    assert ours == {
        str(path.relative_to(tmp_path))
        for path in (tmp_path / "out").rglob("*")
        if path.is_file() and "tfevents" not in path.name
    }
    for name in ours:
        if name.endswith((".jsonl", ".npy")):
            assert store.read(name) == (tmp_path / name).read_bytes(), name
    store.files.rm(f"{store.bucket}/tuned")
    store.files.rm(f"{store.bucket}/source", recursive=True)
    works(start("eval", files, **recycling, EVAL_OUTPUT_DIR=store.url("out")))
    assert store.read("out/recycled_prompt/prompt.npy") == kept
    metrics = store.read("out/inference_eval/tiny_ranked-metrics.jsonl").splitlines()
    assert len(metrics) == 2 and metrics[0] == metrics[1]


@pytest.mark.skipif(not ALL, reason="takes a minute")
def test_infer_choose_and_teach_write_what_they_write_to_a_disk(
    start, store, recycling, tmp_path
):
    choosing = {**recycling, "CANDIDATES": ("v2v-lin", "lin-comb"), "NUM_UNLABELED": 8}
    for where in (store.url, lambda name: str(tmp_path / name)):
        works(
            start(
                "infer",
                ["recycle_init.gin", "runs/standalone/infer.gin"],
                **recycling,
                INFER_OUTPUT_DIR=where("inferred"),
            )
        )
        works(
            start(
                "teach",
                ["runs/standalone/teach.gin"],
                **choosing,
                TEACHER_SCORES=where("teacher.json"),
            )
        )
        works(
            start(
                "choose",
                ["runs/standalone/choose.gin"],
                **choosing,
                CHOOSE_OUTPUT_DIR=where("chosen"),
            )
        )
    for name in (
        "inferred/tiny_ranked-predict.jsonl",
        "inferred/recycled_prompt/prompt.npy",
        "teacher.json",
        "chosen/chosen/prompt.npy",
        "chosen/chosen/choice.svg",
        "chosen/chosen/teacher.json",
        "chosen/chosen/candidates/lin-comb.npy",
    ):
        assert store.read(name) == (tmp_path / name).read_bytes(), name


@pytest.mark.skipif(not ALL, reason="takes a minute")
def test_a_bucket_that_is_missing_or_forbidden_is_said_before_the_work(
    tune, start, store, recycling
):
    missing = f"{store.scheme}://no-{store.bucket}/run"
    (line,) = lines(tune(missing))
    assert line.startswith(f"error: cannot write {missing}: there is no bucket"), line
    store.proxy.fault = lambda request: (
        Fault(status=403) if request.may_change else None
    )
    (line,) = lines(tune(store.url("run")))
    assert line.startswith("error: cannot write to "), line
    assert "Forbidden" in line or "403" in line
    assert store.url("run") in line


def lines(program):
    """What a program that failed has said, without a note on the test's credentials."""
    ended = program.end()
    assert ended.code == 1, ended.error
    text = ended.out + ended.error
    return [line for line in text.splitlines() if "google.auth" not in line]
