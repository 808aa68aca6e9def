"""Measures what T5X's start from a recycled prompt costs, at the top of the checkout.

    python benchmarks/t5x_startup.py [--size base] [--runs 3]

`t5x.infer`, as a whole process, scores one example on a T5 1.1 with random parameters:

- recycled: with recycle_init.gin (v2v-lin), from a source of the same width;
- file: with a prompt from a numpy file, by the same restore transformation;
- scratch: with upstream's way to add a prompt, an assignment_map that drops it and
  fallback_to_scratch, which initializes the whole model at random for the prompt.

They run in turn. The output is the medians of wall time and peak memory, and the
medians of each round's ratios. Needs T5X.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

from prompt_tuning_recycling import gin_path

HERE = pathlib.Path(__file__).resolve().parent
VOCABULARY = HERE.parent / "examples/demo/models/vocabulary.model"
LENGTH = 100
# Embedding, feed-forward, heads, layers: T5 1.1's (gin/models/sizes).
SIZES = {
    "small": (512, 1024, 6, 8),
    "base": (768, 2048, 12, 12),
    "large": (1024, 2816, 16, 24),
    "xl": (2048, 5120, 32, 24),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=SIZES, default="base")
    parser.add_argument("--runs", type=int, default=3)
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        # In a separate process, since a child's peak memory includes its parent's
        # memory at the fork.
        setup = multiprocessing.get_context("spawn").Process(
            target=write_inputs, args=(folder, flags.size)
        )
        setup.start()
        setup.join()
        if setup.exitcode:
            sys.exit("cannot write the models")
        rounds = []
        for number in range(flags.runs + 1):
            measured = {
                way: measure(command(way, flags.size, folder, number))
                for way in ("recycled", "file", "scratch")
            }
            if number:  # The first round warms the disk cache.
                rounds.append(measured)
    for index, unit in ((0, "seconds"), (1, "MB at the peak")):
        for other in ("file", "scratch"):
            ratio = statistics.median(
                measured["recycled"][index] / measured[other][index]
                for measured in rounds
            )
            ours, theirs = (
                statistics.median(measured[way][index] for measured in rounds)
                for way in ("recycled", other)
            )
            print(
                f"recycled {ours:.1f} {unit}, against {other} {theirs:.1f}: ratio "
                f"{ratio:.3f}"
            )
    print(
        json.dumps({"size": flags.size, "runs": flags.runs, "cpus": os.cpu_count()}),
    )


def write_inputs(folder: pathlib.Path, size: str) -> None:
    """Writes a target, and a source and prompts of the same width."""
    from prompt_tuning_recycling.network import T5Config, Transformer
    from prompt_tuning_recycling.standalone import parameters
    from prompt_tuning_recycling.standalone.steps import Saver

    width, mlp, heads, layers = SIZES[size]
    config = T5Config(
        vocab_size=32128,
        emb_dim=width,
        mlp_dim=mlp,
        num_heads=heads,
        head_dim=64,
        num_encoder_layers=layers,
        num_decoder_layers=layers,
        mlp_activations=("gelu", "linear"),
    )
    rng = np.random.default_rng(0)
    arrays = {
        name: 0.05 * rng.standard_normal(shape, np.float32)
        for name, shape in parameters.shapes(Transformer(config)).items()
    }
    saver = Saver(folder / "target", None)
    saver.save(1, arrays, {})
    saver.close()
    prompt = rng.standard_normal((LENGTH, width), np.float32)
    with (folder / "prompt.npy").open("wb") as file:
        np.save(file, prompt)
    table = "token_embedder/embedding"
    source = {
        table: arrays[table] + 0.05 * rng.standard_normal((32128, width), np.float32),
        "encoder/prompt/prompt/prompt": prompt,
    }
    saver = Saver(folder / "source", None)
    saver.save(1, source, {})
    saver.close()


def command(way: str, size: str, folder: pathlib.Path, number: int) -> list[str]:
    start = {
        "recycled": ["recycle_init.gin", f"--gin.RECYCLE_FROM='{folder}/source'"],
        "file": ["prompts/from_file.gin", f"--gin.PROMPT_FILE='{folder}/prompt.npy'"],
        "scratch": [],
    }[way]
    files = [
        f"models/t5_1_1_{size}_prompt.gin",
        *start[:1],
        "runs/t5x/prompt_infer.gin",
        *(["t5x_scratch.gin"] if way == "scratch" else []),
    ]
    return [
        sys.executable,
        "-m",
        "t5x.infer",
        f"--gin_search_paths={gin_path.gin_path()},{HERE}",
        *(f"--gin_file={file}" for file in files),
        *start[1:],
        f"--gin.INITIAL_CHECKPOINT_PATH='{folder}/target/checkpoint_1'",
        f"--gin.INFER_OUTPUT_DIR='{folder}/{way}-{number}'",
        f"--gin.VOCABULARY_FILE='{VOCABULARY}'",
        "--gin.MIXTURE_OR_TASK_MODULE='t5x_task'",
        "--gin.MIXTURE_OR_TASK_NAME='one_example'",
        "--gin.TASK_FEATURE_LENGTHS={'inputs': 16, 'targets': 4}",
        "--gin.BATCH_SIZE=1",
        "--gin.INFER_MODE='score'",
    ]


def measure(arguments: list[str]) -> tuple[float, float]:
    """Returns the wall seconds and peak MB of a command, which must succeed."""
    paths = [str(HERE), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "VOCABULARY": str(VOCABULARY),
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }
    with tempfile.TemporaryFile() as log:
        started = time.monotonic()
        process = subprocess.Popen(arguments, stdout=log, stderr=log, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            log.seek(0)
            sys.exit(f"{arguments} failed:\n{log.read().decode()[-4000:]}")
        return time.monotonic() - started, usage.ru_maxrss / 1024


if __name__ == "__main__":
    main()
