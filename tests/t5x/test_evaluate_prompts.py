"""`evaluate_prompts` in T5X: what separate jobs of `t5x.eval` would have written."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from prompt_tuning_recycling.evaluation import manifest, scores_file
from prompt_tuning_recycling.evaluation.manifest import Evaluation
from prompt_tuning_recycling.evaluation.scores_file import Drawing
from prompt_tuning_recycling.gin_path import gin_path

HERE = pathlib.Path(__file__).resolve().parent
LENGTH, WIDTH = 8, 24


@pytest.fixture
def run(tmp_path, shared_data):
    """Runs a program of T5X's kind on the target that T5X wrote."""

    def run(module, files, **macros):
        settings = {
            "INITIAL_CHECKPOINT_PATH": str(
                shared_data / "t5x_written/target_orbax/checkpoint_40"
            ),
            "MIXTURE_OR_TASK_NAME": "even_or_odd",
            "MIXTURE_OR_TASK_MODULE": "t5x_test_tasks",
            "TASK_FEATURE_LENGTHS": {"inputs": 16, "targets": 4},
            "BATCH_SIZE": 8,
            "VOCABULARY_FILE": str(shared_data / "t5_vocab.model"),
            **macros,
        }
        return subprocess.run(
            [
                sys.executable,
                "-m",
                module,
                f"--gin_search_paths={gin_path()},{HERE / 'gin'}",
                *(f"--gin_file={file}" for file in files),
                *(f"--gin.{name}={value!r}" for name, value in settings.items()),
            ],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(
                    [str(HERE / "importable"), os.environ.get("PYTHONPATH", "")]
                ),
                "PROMPT_RECYCLING_DATA": str(shared_data),
                "JAX_PLATFORMS": "cpu",
            },
        )

    return run


def evaluate_prompts(run, tmp_path, listed, unlabeled=(), host="t5x", **macros):
    manifest.write(tmp_path / "manifest.json", listed, unlabeled)
    package = "t5x_host" if host == "t5x" else host
    return run(
        f"prompt_tuning_recycling.{package}.evaluate_prompts",
        ["target_prompt.gin", f"runs/{host}/evaluate_prompts.gin"],
        PROMPT_MANIFEST=str(tmp_path / "manifest.json"),
        **macros,
    )


def test_what_separate_jobs_would_have_written(run, tmp_path):
    rng = np.random.default_rng(0)
    with (tmp_path / "prompt").open("wb") as file:
        np.save(file, 3 * rng.normal(size=(LENGTH, WIDTH)).astype(np.float32))
    with (tmp_path / "short").open("wb") as file:
        np.save(file, np.ones((LENGTH - 1, WIDTH), np.float32))
    listed = [
        Evaluation("together/none", no_prompt=True),
        Evaluation("together/random", random_prompt=3),
        Evaluation("together/prompt", prompt="prompt"),
        Evaluation("together/short", prompt="short"),
    ]
    result = evaluate_prompts(run, tmp_path, listed)
    assert result.returncode == 1
    assert "has 7 vectors, but the model expects 8" in result.stderr
    assert "1 of 4 evaluations failed" in result.stderr
    assert "3 of 4: together/prompt: even_or_odd: accuracy" in result.stdout
    eval_gin = "runs/t5x/prompt_eval.gin"
    for name, files, macros in (
        ("none", ["target.gin", eval_gin], {}),
        (
            "random",
            ["target_prompt.gin", eval_gin, "prompts/from_sampled_vocab.gin"],
            {"PROMPT_SEED": 3},
        ),
        (
            "prompt",
            ["target_prompt.gin", eval_gin, "prompts/from_file.gin"],
            {"PROMPT_FILE": "prompt"},
        ),
    ):
        alone = run("t5x.eval", files, EVAL_OUTPUT_DIR=f"alone/{name}", **macros)
        assert alone.returncode == 0, alone.stderr[-2000:]
        written = list((tmp_path / "alone" / name / "inference_eval").glob("*.jsonl"))
        assert len(written) == 2
        for path in written:
            together = tmp_path / "together" / name / "inference_eval" / path.name
            assert together.read_bytes() == path.read_bytes(), (name, path.name)
    # Once more: the one that is missing, and mended.
    with (tmp_path / "short").open("wb") as file:
        np.save(file, np.ones((LENGTH, WIDTH), np.float32))
    result = evaluate_prompts(run, tmp_path, listed)
    assert result.returncode == 0, result.stderr[-2000:]
    assert "3 of 4 were evaluated before" in result.stdout
    assert "1 of 1: together/short" in result.stdout


def test_prompts_are_scored_as_in_the_standalone_host(run, tmp_path):
    rng = np.random.default_rng(1)
    for name in ("evaluated", "teacher"):
        with (tmp_path / name).open("wb") as file:
            np.save(file, 3 * rng.normal(size=(LENGTH, WIDTH)).astype(np.float32))
    drawing = Drawing(12, "train", 5)
    macros = {"MIXTURE_OR_TASK_NAME": "even_or_odd_ranked"}
    for host in ("t5x", "standalone"):
        listed = [
            Evaluation(f"{host}/evaluated", prompt="evaluated"),
            Evaluation(f"{host}/teacher", prompt="teacher", scores_only=True),
        ]
        result = evaluate_prompts(run, tmp_path, listed, [drawing], host, **macros)
        assert result.returncode == 0, result.stderr[-2000:]
        assert "2 of 2: " in result.stdout
        assert not (tmp_path / host / "teacher/inference_eval").exists()
    for name in ("evaluated", "teacher"):
        ours, theirs = (
            scores_file.read(scores_file.place(str(tmp_path / host / name), drawing))
            for host in ("t5x", "standalone")
        )
        assert (ours.digest, ours.origin) == (theirs.digest, theirs.origin)
        assert ours.has_same_choices and ours.sizes == [2] * 12
        np.testing.assert_allclose(ours.rows, theirs.rows, rtol=1e-4, atol=1e-4)
