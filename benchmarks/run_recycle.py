"""Times `run_recycle --recycler=v2v-lin` as a whole process against another command.

    python benchmarks/run_recycle.py [--runs 5] [--width 768] [--against 'COMMAND']

The two checkpoints have T5's vocabulary (32128 x width, legacy format) and random
embeddings. A table of T5 Base's width, 768, is one gzipped chunk; wider ones are in
gzipped chunks of at most 64 MiB, as T5X writes them. The two commands run in turn. The
output is the medians of wall time and peak memory, and the median of each pair's ratio.
COMMAND may name {source}, {target}, {prompt}, {words} and {output}; by default it is
the script plain_least_squares.py beside this one. With --alone, nothing is compared.
"""

from __future__ import annotations

import argparse
import importlib.resources
import json
import multiprocessing
import os
import pathlib
import shlex
import statistics
import subprocess
import sys
import tempfile
import time

import msgpack
import numpy as np
import tensorstore as ts

VOCABULARY_SIZE, WIDTH, LENGTH = 32128, 768, 100
CHUNK_BYTES = 64 * 2**20
TABLE = "target.token_embedder.embedding"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--width", type=int, default=WIDTH)
    parser.add_argument("--alone", action="store_true")
    plain = pathlib.Path(__file__).with_name("plain_least_squares.py")
    parser.add_argument(
        "--against",
        default=f"{shlex.quote(sys.executable)} {shlex.quote(str(plain))} "
        "{source} {target} {prompt} {words} {output}",
    )
    flags = parser.parse_args()
    package = importlib.resources.files("prompt_tuning_recycling")
    with tempfile.TemporaryDirectory() as folder:
        places = {
            name: os.path.join(folder, name)
            for name in ("source", "target", "prompt", "output", "other_output")
        }
        words = str(package.joinpath("words", "data", "english_words_t5.json"))
        # In a process of its own: a child's peak memory counts its parent's from the
        # moment it was forked.
        setup = multiprocessing.get_context("spawn").Process(
            target=write_inputs, args=(places, flags.width)
        )
        setup.start()
        setup.join()
        ours = [
            sys.executable,
            "-m",
            "prompt_tuning_recycling.run_recycle",
            f"--source_model={places['source']}",
            f"--target_model={places['target']}",
            f"--prompt_path={places['prompt']}",
            f"--output_path={places['output']}",
            "--recycler=v2v-lin",
        ]
        named = {**places, "words": words, "output": places["other_output"]}
        other = [part.format(**named) for part in shlex.split(flags.against)]
        if flags.alone:
            report(ours, flags.runs)
        else:
            compare(ours, other, flags.runs)


def write_inputs(places: dict[str, str], width: int) -> None:
    rng = np.random.default_rng(0)
    for model in ("source", "target"):
        write_checkpoint(rng, places[model], width)
    with open(places["prompt"], "wb") as file:
        np.save(file, rng.normal(size=(LENGTH, width)).astype(np.float32))


def write_checkpoint(rng: np.random.Generator, step: str, width: int) -> None:
    table = rng.standard_normal((VOCABULARY_SIZE, width), np.float32)
    chunks = 1
    while width != WIDTH and table.nbytes / chunks > CHUNK_BYTES:
        chunks *= 2
    os.makedirs(step)
    spec = {
        "driver": "zarr",
        "kvstore": {"driver": "file", "path": f"{step}/{TABLE}/"},
        "metadata": {
            "shape": table.shape,
            "chunks": (VOCABULARY_SIZE // chunks, width),
            "dtype": "<f4",
            "compressor": {"id": "gzip", "level": 1},
        },
    }
    ts.open(spec, create=True).result().write(table).result()
    reference = {"driver": "zarr", "kvstore": {"driver": "gfile", "path": f"{TABLE}/"}}
    state = {"target": {"token_embedder": {"embedding": reference}}}
    with open(f"{step}/checkpoint", "wb") as file:
        file.write(msgpack.packb({"version": 3, "optimizer": state}))


def compare(ours: list[str], other: list[str], runs: int) -> None:
    measured = []
    for number in range(runs + 1):
        pair = measure(ours), measure(other)
        if number:  # The first pair warms the disk cache.
            measured.append(pair)
    for index, unit in ((0, "seconds"), (1, "MB at the peak")):
        a = [first[index] for first, _ in measured]
        b = [second[index] for _, second in measured]
        ratio = statistics.median(x / y for x, y in zip(a, b, strict=True))
        print(
            f"run_recycle {statistics.median(a):.2f} {unit}, against "
            f"{statistics.median(b):.2f}: ratio {ratio:.2f}"
        )
    print(json.dumps({"runs": runs, "cpus": os.cpu_count()}))


def report(command: list[str], runs: int) -> None:
    """Prints the medians of one command alone."""
    measured = [measure(command) for _ in range(runs + 1)][1:]
    wall, memory, busy = (statistics.median(of) for of in zip(*measured, strict=True))
    print(
        f"run_recycle {wall:.2f} seconds ({busy:.2f} of all processors), "
        f"{memory:.0f} MB at the peak"
    )
    print(json.dumps({"runs": runs, "cpus": os.cpu_count(), "load": os.getloadavg()}))


def measure(command: list[str]) -> tuple[float, float, float]:
    """Returns the wall seconds, peak MB and processor seconds of a command, which must
    succeed.
    """
    started = time.monotonic()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd="/"
    )
    assert process.stderr is not None
    message = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{shlex.join(command)} failed:\n{message.decode()}")
    processor = usage.ru_utime + usage.ru_stime
    return time.monotonic() - started, usage.ru_maxrss / 1024, processor


if __name__ == "__main__":
    main()
