"""Fixtures: what the programs of the standalone host write."""

from __future__ import annotations

import json
import pathlib

import numpy as np
import pytest
import sentencepiece

from prompt_tuning_recycling.evaluation import manifest, metrics_file
from prompt_tuning_recycling.evaluation.manifest import Evaluation
from prompt_tuning_recycling.evaluation.scores_file import Drawing
from prompt_tuning_recycling.models import open_checkpoint, open_model
from prompt_tuning_recycling.prompts import load_prompt

from ..conftest import DEMO_MODELS, IMPORTABLE, write_tiny_model
from ..standalone.conftest import TASK, flags
from .disturbing import Writer, digest
from .readers import (
    arrays_of,
    contents,
    measured,
    with_records,
)

STANDALONE = "prompt_tuning_recycling.standalone"


@pytest.fixture
def host(tmp_path, monkeypatch):
    """Arguments of its programs, from macros."""
    monkeypatch.syspath_prepend(IMPORTABLE)
    tiny = write_tiny_model(tmp_path / "tiny_prompt.gin", 5)

    def host(*gin_files, **macros):
        return flags([tiny, *gin_files], **{**TASK, **macros})

    return host


@pytest.fixture
def instruction(tmp_path):
    """A prompt that is an instruction in the source's embeddings."""
    pieces = sentencepiece.SentencePieceProcessor(
        model_file=str(DEMO_MODELS / "vocabulary.model")
    ).encode("verdict judge good or bad")
    table = open_model(DEMO_MODELS / "source").embeddings
    np.save(tmp_path / "instruction.npy", table.take(pieces).astype(np.float32))
    return tmp_path / "instruction.npy"


@pytest.fixture
def recycling(instruction):
    """Macros of a recycled prompt."""
    return {
        "WORD_LIST": str(DEMO_MODELS / "words.json"),
        "NUM_WORDS": 300,
        "WORD_OFFSET": 20,
        "SOURCE_CHECKPOINT": str(DEMO_MODELS / "source"),
        "SOURCE_PROMPT": str(instruction),
    }


@pytest.fixture
def train(host, tmp_path):
    """Tunes for four steps, with checkpoints, exports and evaluations."""
    out = tmp_path / "out"

    def arguments(steps=4, **macros):
        return host(
            "runs/standalone/prompt_finetune.gin",
            MIXTURE_OR_TASK_NAME="tiny_train",
            EVAL_MIXTURE_OR_TASK_NAME="tiny_ranked",
            INITIAL_CHECKPOINT_PATH=str(DEMO_MODELS / "source"),
            MODEL_DIR=str(out),
            TRAIN_STEPS_RELATIVE=steps,
            BATCH_SIZE=16,
            CHECKPOINT_PERIOD=2,
            EVAL_PERIOD=2,
            **macros,
        )

    def seen():
        found = contents(out, "config.gin", "run_start.json")
        steps = sorted(
            path for path in out.glob("checkpoint_*") if "." not in path.name
        )
        found |= {step.name: arrays_of(step) for step in steps}
        if steps:
            assert open_checkpoint(out).path.name == steps[-1].name
            found["a checkpoint"] = True
        for folder in out.glob("numpy_checkpoints/checkpoint_*"):
            (path,) = folder.iterdir()
            found[f"export {folder.name}"] = digest(load_prompt(path).array.tobytes())
        return found | measured(out, "tiny_ranked")

    return Writer(
        f"{STANDALONE}.train",
        arguments(),
        out,
        [DEMO_MODELS / "source"],
        seen,
        lambda run: run(arguments(2)),
        whole=arguments(KEEP_CHECKPOINTS=None),
        is_slow=True,
    )


@pytest.fixture
def evaluate(host, recycling, tmp_path):
    """Evaluates a recycled prompt, and keeps it."""
    out = tmp_path / "out"

    def seen():
        return (
            contents(out, "config.gin")
            | with_records(out, "recycled_prompt/prompt.npy")
            | measured(out, "tiny_ranked")
        )

    return Writer(
        f"{STANDALONE}.eval",
        host(
            "recycle_init.gin",
            "runs/standalone/eval.gin",
            MIXTURE_OR_TASK_NAME="tiny_ranked",
            INITIAL_CHECKPOINT_PATH=str(DEMO_MODELS / "target-1"),
            EVAL_OUTPUT_DIR=str(out),
            **recycling,
        ),
        out,
        [DEMO_MODELS / "target-1", pathlib.Path(recycling["SOURCE_PROMPT"])],
        seen,
        is_slow=True,
    )


@pytest.fixture
def evaluate_prompts(host, instruction, tmp_path):
    """Evaluates and scores the prompts of a manifest, of which one was tuned again."""
    out = tmp_path / "out"
    entries = [
        Evaluation(str(out / "none"), no_prompt=True),
        Evaluation(str(out / "tuned"), prompt=str(instruction)),
    ]
    arguments = host(
        "runs/standalone/evaluate_prompts.gin",
        MIXTURE_OR_TASK_NAME="tiny_ranked",
        INITIAL_CHECKPOINT_PATH=str(DEMO_MODELS / "source"),
        PROMPT_MANIFEST=str(out / "manifest.json"),
        BATCH_SIZE=16,
    )
    drawing = Drawing(8, "train", 0)
    # In the folder of outputs, since locks are beside it.
    manifest.write(out / "manifest.json", entries, [drawing])

    def earlier(run):
        now = instruction.read_bytes()
        np.save(instruction, -5 * np.load(instruction))
        run(arguments)
        instruction.write_bytes(now)

    def seen():
        found = contents(out, "manifest.json")
        for entry in entries:
            folder = pathlib.Path(entry.output_dir)
            of_task = measured(folder, "tiny_ranked")
            if (folder / "inference_eval").exists():
                text = json.dumps(of_task) + str(metrics_file.read_prompt(str(folder)))
                assert of_task
                found[f"{folder.name}: metrics"] = text
            scores = contents(folder / "unlabeled-scores", "train-8-0.json")
            found |= {f"{folder.name}: {name}": data for name, data in scores.items()}
        return found

    return Writer(
        f"{STANDALONE}.evaluate_prompts",
        arguments,
        out,
        [DEMO_MODELS / "source", instruction],
        seen,
        earlier,
        is_slow=True,
    )


@pytest.fixture
def choose(host, recycling, tmp_path, instruction):
    """Chooses a prompt, of two candidates."""
    out = tmp_path / "out"

    def arguments(number):
        return host(
            "runs/standalone/choose.gin",
            MIXTURE_OR_TASK_NAME="tiny_ranked",
            INITIAL_CHECKPOINT_PATH=str(DEMO_MODELS / "target-1"),
            CHOOSE_OUTPUT_DIR=str(out),
            CANDIDATES=("v2v-lin", "copy"),
            NUM_UNLABELED=number,
            **recycling,
        )

    def seen():
        chosen = out / "chosen"
        names = ["prompt.npy", "candidates/v2v-lin.npy", "candidates/copy.npy"]
        return (
            contents(out, "config.gin")
            | contents(chosen, "choice.svg", "teacher.json")
            | with_records(chosen, *names)
        )

    return Writer(
        f"{STANDALONE}.choose",
        arguments(16),
        out,
        [DEMO_MODELS / "target-1", instruction],
        seen,
        lambda run: run(arguments(8)),
        is_slow=True,
    )
