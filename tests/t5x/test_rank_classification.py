"""The same figures from T5X and the standalone host, for the same task and model."""

import json
import os
import pathlib
import random
import socket
import subprocess
import sys

import pytest

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
CHECKPOINT = CHECKOUT / "examples/demo/models/source/checkpoint_1600"
NAME = "choices_rank_classification"

# t5x.eval has no flags for several processes.
T5X = """
import runpy, sys
process, processes, port = map(int, sys.argv[1:4])
del sys.argv[1:4]
import jax
if processes > 1:
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"127.0.0.1:{port}", processes, process)
runpy.run_module("t5x.eval", run_name="__main__", alter_sys=True)
"""


@pytest.fixture(scope="module")
def choices(tmp_path_factory):
    """40 questions of the demo's language, one to four choices of one to three words,
    one or two of them right: 97 rows or so, whatever the batch.
    """
    sys.path.insert(0, str(CHECKOUT))
    from examples.demo import language

    sys.path.remove(str(CHECKOUT))
    rng = random.Random(4)
    words = [word for word in language.vocabulary() if word.isalpha()]
    path = tmp_path_factory.mktemp("choices") / "choices.jsonl"
    with path.open("w") as file:
        for _ in range(40):
            texts = [
                " ".join(rng.sample(words, rng.randint(1, 3)))
                for _ in range(rng.randint(1, 4))
            ]
            right = rng.sample(texts, rng.randint(1, min(2, len(texts))))
            inputs, _ = language.question(rng, "topic")
            record = {"inputs": inputs, "targets": right, "choices": texts}
            file.write(json.dumps(record) + "\n")
    return path


def start(program, run_file, data, out, *flags):
    macros = {
        "TASK_NAME": "choices",
        "TASK_FILES": {"validation": str(data)},
        "TASK_EVALUATION": "rank_classification",
        "INITIAL_CHECKPOINT_PATH": str(CHECKPOINT),
        "EVAL_OUTPUT_DIR": str(out),
        "EVAL_SPLIT": "validation",
        "TASK_FEATURE_LENGTHS": None,
        "BATCH_SIZE": 8,
    }
    files = ("examples/demo/gin/tiny.gin", run_file, "tasks/from_files.gin")
    return subprocess.Popen(
        [
            *(sys.executable, *program, *flags),
            *(f"--gin_file={file}" for file in files),
            *(f"--gin.{name}={value!r}" for name, value in macros.items()),
        ],
        cwd=CHECKOUT,
        env={**os.environ, "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(*processes):
    for process in processes:
        output, _ = process.communicate(timeout=500)
        assert process.returncode == 0, output[-3000:]


def results(out):
    folder = out / "inference_eval"
    metrics = json.loads((folder / f"{NAME}-metrics.jsonl").read_text())
    (rows,) = folder.glob(f"{NAME}-*1600.jsonl")
    return metrics, [json.loads(line) for line in rows.read_text().splitlines()]


@pytest.fixture(scope="module")
def standalone(choices, tmp_path_factory):
    out = tmp_path_factory.mktemp("standalone")
    program = ("-m", "prompt_tuning_recycling.standalone.eval")
    finish(start(program, "runs/standalone/eval.gin", choices, out))
    return results(out)


@pytest.mark.parametrize("processes", [1, 2])
def test_both_hosts_agree(choices, standalone, tmp_path, processes):
    """On two processes T5X gives each of them every second row."""
    import t5x

    from prompt_tuning_recycling.gin_path import gin_path

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folders = f"{gin_path()},{pathlib.Path(t5x.__file__).parents[1]}"
    finish(
        *(
            start(
                ("-c", T5X),
                "runs/t5x/prompt_eval.gin",
                choices,
                tmp_path / "out",
                *map(str, (process, processes, port)),
                f"--gin_search_paths={folders}",
            )
            for process in range(processes)
        )
    )
    metrics, rows = results(tmp_path / "out")
    expected_metrics, expected_rows = standalone
    assert metrics == expected_metrics
    # Neither all nor none, and normalization matters.
    assert 0 < metrics["accuracy"] < 100
    assert metrics["normed_accuracy"] != metrics["accuracy"]
    assert len(rows) == len(expected_rows)
    for row, expected in zip(rows, expected_rows, strict=True):
        assert row["target"] == expected["target"]
        assert row["score"] == pytest.approx(expected["score"], abs=1e-4)
