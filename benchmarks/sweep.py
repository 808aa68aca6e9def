"""Times a sweep's two stages, each against a way to do it without this package.

    python benchmarks/sweep.py recycle [--runs 3] [--methods jax-nn tf-lstsq ...]
    python benchmarks/sweep.py evaluate [--prompts 40] [--jobs 3]
    python benchmarks/sweep.py prompts --against CHECKOUT [--prompts 200] [--runs 5]

`recycle`: `python -m prompt_tuning_recycling.recycle` and the script plain_sweep.py, in
turn, recycle 504 prompts between two models of T5 Base's size by three methods.

`evaluate`: one job of `standalone.evaluate_prompts` evaluates prompts on one of the
demo's models, and jobs of `standalone.eval` evaluate one prompt each. Run it from the
top of the checkout.

`prompts`: what `recycle` does for each prompt, without what it does once: fitting maps
and reading models. It runs recycle_pair.py with this checkout and with another one, in
turn; `git worktree add` makes one of an earlier commit.

The first two time whole processes. The output is seconds per prompt, of wall time and
of all cores' processor time, and their ratios. On a machine that is busy with other
things, look at the processor time, with OPENBLAS_NUM_THREADS=1, since waiting threads
spin.
"""

from __future__ import annotations

import argparse
import importlib.resources
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

from benchmarks.run_recycle import LENGTH, WIDTH, write_checkpoint
from prompt_tuning_recycling.evaluation import manifest

STEPS = (1_102_000, 1_105_000, 1_110_000, 1_120_000)
INITS = ("rand-init", "class-init", "spot")
RUNS = tuple(f"run {number}" for number in range(1, 8))
METHODS = ("jax-nn", "tf-lstsq", "linear-combination")
MODELS = ("one", "two")
EXPORT = "numpy_checkpoints/checkpoint_{}/encoder.prompt.prompt.prompt"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    stages = parser.add_subparsers(dest="stage", required=True)
    stage = stages.add_parser("recycle")
    stage.add_argument("--runs", type=int, default=3)
    stage.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    stage = stages.add_parser("evaluate")
    stage.add_argument("--prompts", type=int, default=40)
    stage.add_argument("--jobs", type=int, default=3)
    stage = stages.add_parser("prompts")
    stage.add_argument("--against", required=True, metavar="CHECKOUT")
    stage.add_argument("--prompts", type=int, default=200)
    stage.add_argument("--runs", type=int, default=5)
    flags = parser.parse_args()
    if flags.stage == "prompts":
        compare(flags.against, flags.prompts, flags.runs)
        return
    with tempfile.TemporaryDirectory() as folder:
        if flags.stage == "recycle":
            recycle(pathlib.Path(folder), flags.methods, flags.runs)
        else:
            evaluate(pathlib.Path(folder), flags.prompts, flags.jobs)


def recycle(folder: pathlib.Path, methods: list[str], runs: int) -> None:
    config = write_sweep(folder, methods)
    root = folder / "out"
    count = 2 * len(methods) * len(INITS) * len(RUNS) * len(STEPS)
    plain = pathlib.Path(__file__).with_name("plain_sweep.py")
    commands = {
        "recycle": ["-m", "prompt_tuning_recycling.recycle", f"--config={config}"],
        "the loop": [str(plain), str(config)],
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for _ in range(runs):
        for name, command in commands.items():
            shutil.rmtree(root, ignore_errors=True)
            times[name].append(timed(command, count))
            prompts = [p for p in root.rglob("recycled_from_*") if p.suffix == ""]
            assert len([p for p in prompts if p.is_file()]) == count
    print(f"{count} prompts by {', '.join(methods)}")
    summary(times, {"cpus": os.cpu_count(), "runs": runs})


def write_sweep(folder: pathlib.Path, methods: list[str]) -> pathlib.Path:
    """Writes two checkpoints, 84 prompts for each, and the configuration."""
    rng = np.random.default_rng(0)
    for model in MODELS:
        write_checkpoint(rng, str(folder / model))
    prompts = {
        model: {
            init: {run: f"{folder}/{model}-{init}-{run}" for run in RUNS}
            for init in INITS
        }
        for model in MODELS
    }
    for inits in prompts.values():
        for runs in inits.values():
            for place in runs.values():
                for step in STEPS:
                    path = pathlib.Path(place, EXPORT.format(step))
                    path.parent.mkdir(parents=True)
                    with path.open("wb") as file:
                        np.save(file, rng.normal(size=(LENGTH, WIDTH)).astype("f4"))
    package = importlib.resources.files("prompt_tuning_recycling")
    words = package.joinpath("words", "data", "english_words_t5.json")
    path = folder / "config.json"
    content = {
        "root_dir": str(folder / "out"),
        "dataset": "benchmark",
        "task_name": "none",
        "steps": STEPS,
        "load_embeddings": {
            "default": {
                "word_list_path": str(words),
                "num_words": 4000,
                "word_offset": 1000,
            }
        },
        "recycling_methods": {name: {} for name in methods},
        "pretrained": {model: str(folder / model) for model in MODELS},
        "prompts": prompts,
    }
    path.write_text(json.dumps(content))
    return path


def evaluate(folder: pathlib.Path, prompts: int, jobs: int) -> None:
    settings = {
        "INITIAL_CHECKPOINT_PATH": "examples/demo/models/target-1",
        "MIXTURE_OR_TASK_NAME": "demo_sentiment",
    }
    gin = ["examples/demo/gin/tiny_prompt.gin"]
    listed = [
        manifest.Evaluation(str(folder / f"together/{number}"), random_prompt=number)
        for number in range(prompts)
    ]
    manifest.write(folder / "manifest.json", listed)
    one_job = program(
        "evaluate_prompts",
        [*gin, "examples/demo/gin/evaluate_prompts.gin"],
        {**settings, "PROMPT_MANIFEST": str(folder / "manifest.json")},
    )
    times = {"evaluate_prompts": [timed(one_job, prompts)], "one job each": []}
    for number in range(jobs):
        separate = program(
            "eval",
            [*gin, "examples/demo/gin/eval.gin", "examples/demo/gin/any_words.gin"],
            {
                **settings,
                "EVAL_OUTPUT_DIR": str(folder / f"apart/{number}"),
                "PROMPT_SEED": number,
            },
        )
        times["one job each"].append(timed(separate))
        name = "inference_eval/demo_sentiment-metrics.jsonl"
        together, apart = (
            (folder / way / str(number) / name).read_text()
            for way in ("together", "apart")
        )
        assert together == apart
    print(f"{prompts} prompts in one job, {jobs} in separate jobs")
    summary(times, {"cpus": os.cpu_count(), "prompts": prompts, "jobs": jobs})


def compare(other: str, prompts: int, runs: int) -> None:
    here = pathlib.Path(__file__).parent
    command = [sys.executable, str(here / "recycle_pair.py"), f"--prompts={prompts}"]
    checkouts = {"this checkout": str(here.parent), other: other}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in checkouts}
    for _ in range(runs):
        for name, path in checkouts.items():
            places = os.pathsep.join(filter(None, [path, os.environ.get("PYTHONPATH")]))
            done = subprocess.run(
                command,
                env={**os.environ, "PYTHONPATH": places},
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                check=True,
            )
            found = json.loads(done.stdout)
            times[name].append((found["wall"], found["processor"]))
    threads = os.environ.get("OPENBLAS_NUM_THREADS", "not set")
    print(f"{prompts} prompts, OPENBLAS_NUM_THREADS {threads}")
    summary(times, {"cpus": os.cpu_count(), "runs": runs, "load": os.getloadavg()})


def program(name: str, files: list[str], settings: dict[str, object]) -> list[str]:
    return [
        "-m",
        f"prompt_tuning_recycling.standalone.{name}",
        *(f"--gin_file={file}" for file in files),
        *(f"--gin.{key}={value!r}" for key, value in settings.items()),
    ]


def timed(command: list[str], count: int = 1) -> tuple[float, float]:
    """Returns a program's wall and processor seconds, divided by `count`."""
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    message = process.stderr.read() if process.stderr else b""
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{command} failed:\n{message.decode()}")
    wall = time.monotonic() - started
    return wall / count, (usage.ru_utime + usage.ru_stime) / count


def summary(
    times: dict[str, list[tuple[float, float]]], facts: dict[str, object]
) -> None:
    for place, what in enumerate(("wall", "processor")):
        ours, other = (
            statistics.median(each[place] for each in values)
            for values in times.values()
        )
        first, second = times
        print(
            f"{what}: {first} {ours:.4f} seconds per prompt, {second} {other:.4f}: "
            f"ratio {ours / other:.3f}"
        )
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
