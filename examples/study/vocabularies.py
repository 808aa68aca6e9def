"""Measures what recycling between vocabularies costs.

  python -m examples.study.vocabularies build/vocabularies

Pre-trains two more tiny models on the demo's language, with pieces of BPE and of
Unigram; the demo's own models have a piece for each word. Then tunes prompts on each
kind of model and recycles them to the others, by the words that are one piece in both.
Takes half an hour on two cores. Run it from the top of the checkout. If you
stop it and start it again, it continues where it stopped.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import pathlib
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence

import sentencepiece

from examples.demo import commands, language
from examples.demo.commands import GIN, MODELS
from prompt_tuning_recycling import RecyclingError, Words, open_model
from prompt_tuning_recycling.evaluation import manifest, metrics_file
from prompt_tuning_recycling.evaluation.manifest import Evaluation
from prompt_tuning_recycling.prompts.prompt import load_record
from prompt_tuning_recycling.recycling import recycle_in_ways

TASKS = ("sentiment", "topic")
SEEDS = (0, 1)
# Kind -> pieces, and rows of the embedding tables.
TRAINED = {"bpe": (1150, 1280), "unigram": (640, 640)}
# Target -> sources. The first target has its source's vocabulary.
SOURCES = {
    "target-1": ("source",),
    "bpe": ("source", "unigram"),
    "unigram": ("source", "bpe"),
}
TARGETS = tuple(SOURCES)
MODELS_USED = ("source", *TARGETS)
RECYCLERS = ("v2v-lin", "procrustes", "relative", "sparse")
RANDOM_PROMPTS = 10
STEPS = 1600
# Words of several pieces make texts longer.
LENGTHS = "{'inputs': 56, 'targets': %d}"


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.study.vocabularies",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("output", type=pathlib.Path, help="the folder for all outputs")
    output = parser.parse_args().output
    for number, kind in enumerate(TRAINED):
        train_vocabulary(kind, vocabulary(kind, output))
        run(
            "train",
            kind,
            output,
            output / kind,
            [f"{GIN}/tiny.gin", f"{GIN}/pretrain.gin"],
            MODEL_DIR=str(output / kind),
            RANDOM_SEED=11 + number,
            LEARNING_RATE=1.2e-3,
            TRAIN_STEPS=STEPS,
            EVAL_PERIOD=STEPS,
            TASK_FEATURE_LENGTHS=LENGTHS % 36,
        )
    for task in TASKS:
        tuned = {model: tune(model, task, output) for model in MODELS_USED}
        for target in TARGETS:
            recycle_and_evaluate(task, target, tuned, output)
    print(table(output))


def train_vocabulary(kind: str, path: pathlib.Path) -> None:
    """Writes a SentencePiece model of the demo's language."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(" ".join(pair) for pair in language.pretraining(1, 30_000)),
        model_writer=model,
        model_type=kind,
        vocab_size=TRAINED[kind][0],
        hard_vocab_limit=False,
        character_coverage=1.0,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    path.write_bytes(model.getvalue())


def vocabulary(model: str, output: pathlib.Path) -> pathlib.Path:
    """Returns a model's vocabulary file, which lies beside a model trained here."""
    if model in TRAINED:
        return output / model / "spiece.model"
    return pathlib.Path(MODELS, "vocabulary.model")


def place(model: str, output: pathlib.Path) -> pathlib.Path:
    """Returns a model's MODEL_DIR."""
    return output / model if model in TRAINED else pathlib.Path(MODELS, model)


def tune(model: str, task: str, output: pathlib.Path) -> list[pathlib.Path]:
    """Tunes a prompt for each seed; returns the runs' folders."""
    runs = []
    for seed in SEEDS:
        folder = output / "tuned" / model / task / str(seed)
        run(
            "train",
            model,
            output,
            folder,
            [f"{GIN}/tiny_prompt.gin", f"{GIN}/tune.gin", f"{GIN}/words.gin"],
            INITIAL_CHECKPOINT_PATH=str(place(model, output)),
            MIXTURE_OR_TASK_NAME=f"demo_{task}_train",
            EVAL_MIXTURE_OR_TASK_NAME=f"demo_{task}",
            MODEL_DIR=str(folder),
            PROMPT_SEED=seed,
            RANDOM_SEED=seed,
            EVAL_PERIOD=100,
            CHECKPOINT_PERIOD=100,
            TASK_FEATURE_LENGTHS=LENGTHS % 4,
        )
        runs.append(folder)
    return runs


def recycle_and_evaluate(
    task: str,
    target: str,
    tuned: Mapping[str, Sequence[pathlib.Path]],
    output: pathlib.Path,
) -> None:
    """Recycles the prompts of all sources to a target and evaluates them, with random
    prompts beside them.
    """
    words = Words.from_list(
        f"{MODELS}/words.json", num_words=None, word_offset=0, allow_few=True
    )
    folder = output / "evaluated" / task / target
    evaluations = [
        Evaluation(str(folder / f"random-{seed}"), random_prompt=seed)
        for seed in range(RANDOM_PROMPTS)
    ]
    for source in SOURCES[target]:
        models = [
            open_model(place(one, output), vocabulary=vocabulary(one, output))
            for one in (source, target)
        ]
        for seed, run_of_seed in zip(SEEDS, tuned[source], strict=True):
            made = recycle_in_ways(
                *models, open_model(run_of_seed), words=words, ways=RECYCLERS
            )
            for name, prompt in zip(RECYCLERS, made, strict=True):
                if isinstance(prompt, RecyclingError):
                    raise prompt
                at = folder / f"{source}-{name}-{seed}"
                prompt.save(at / "prompt.npy")
                evaluations.append(Evaluation(str(at), str(at / "prompt.npy")))
    manifest.write(folder / "manifest.json", evaluations)
    run(
        "evaluate_prompts",
        target,
        output,
        folder,
        [f"{GIN}/tiny_prompt.gin", f"{GIN}/evaluate_prompts.gin"],
        INITIAL_CHECKPOINT_PATH=str(place(target, output)),
        MIXTURE_OR_TASK_NAME=f"demo_{task}",
        PROMPT_MANIFEST=str(folder / "manifest.json"),
        TASK_FEATURE_LENGTHS=LENGTHS % 4,
    )


def table(output: pathlib.Path) -> str:
    """Returns a table of mean accuracies."""
    heads = ["task", "from", "to", "words", *RECYCLERS, "random", "tuned"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for task in TASKS:
        for target in TARGETS:
            folder = output / "evaluated" / task / target
            random = mean(
                _accuracy(folder / f"random-{seed}", task)
                for seed in range(RANDOM_PROMPTS)
            )
            tuned = mean(
                commands.accuracies(output / "tuned" / target / task / str(seed))[-1][1]
                for seed in SEEDS
            )
            for source in SOURCES[target]:
                record = load_record(folder / f"{source}-{RECYCLERS[0]}-0/prompt.npy")
                found = [
                    mean(
                        _accuracy(folder / f"{source}-{name}-{seed}", task)
                        for seed in SEEDS
                    )
                    for name in RECYCLERS
                ]
                cells = [task, source, target, str(record["words"]["fitted"])]
                lines.append(f"| {' | '.join([*cells, *found, random, tuned])} |")
    return "\n".join(lines)


def mean(accuracies: Iterable[float]) -> str:
    """Returns the mean of percentages, as text."""
    return f"{statistics.fmean(accuracies):.1f}"


def _accuracy(folder: pathlib.Path, task: str) -> float:
    path = metrics_file.place(str(folder), f"demo_{task}")
    lines = pathlib.Path(path).read_text().splitlines()
    return json.loads(lines[-1])["accuracy"]


def run(
    program: str,
    model: str,
    output: pathlib.Path,
    folder: pathlib.Path,
    gin_files: Sequence[str],
    **settings: object,
) -> None:
    """Runs a program of the standalone host with a model's vocabulary, once."""
    done = folder / "done"
    if done.exists():
        return
    flags = [f"--gin_file={file}" for file in gin_files]
    file = str(vocabulary(model, output))
    if model in TRAINED:
        settings["VOCABULARY_FILE"] = file
        flags.append(f"--gin.network.T5Config.vocab_size={TRAINED[model][1]}")
    for name, value in settings.items():
        text = value if name == "TASK_FEATURE_LENGTHS" else repr(value)
        flags.append(f"--gin.{name}={text}")
    module = f"prompt_tuning_recycling.standalone.{program}"
    subprocess.run(
        [sys.executable, "-m", module, *flags],
        env={**os.environ, "DEMO_VOCABULARY": file},
        check=True,
    )
    done.touch()


if __name__ == "__main__":
    main()
