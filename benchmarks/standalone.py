"""Times the standalone host on the demo's tiny models, from the top of the checkout.

    python benchmarks/standalone.py [--runs 5]

1. `eval` with a recycled prompt, as a whole process, from start to first metric.
2. A compiled step of prompt tuning, against the usual way to freeze a model, in which
   all parameters are differentiated and optax leaves the frozen ones unchanged.

The two ways of 2. run in turn and give the same prompt to within 2 %. The output is
medians, and the median of each pair's ratio.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import jax
import numpy as np
import optax

from examples.demo import commands
from prompt_tuning_recycling import open_model
from prompt_tuning_recycling.network import T5Config, Transformer
from prompt_tuning_recycling.prompts.export import matches
from prompt_tuning_recycling.standalone import parameters
from prompt_tuning_recycling.standalone.model import EncoderDecoder

STEPS = 100
SIZES = {"batch": 32, "inputs": 24, "targets": 2, "words": 640}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        seconds = time_to_first_metric(pathlib.Path(folder), runs)
    print(f"eval: {seconds:.1f} seconds from start to first metric")
    ours, usual, ratio = milliseconds_per_step(runs)
    print(
        f"prompt tuning: {ours:.1f} ms per step, against {usual:.1f} with all "
        f"parameters differentiated: ratio {ratio:.2f}"
    )
    print(json.dumps({"runs": runs, "steps": STEPS, "cpus": os.cpu_count(), **SIZES}))


def time_to_first_metric(folder: pathlib.Path, runs: int) -> float:
    source = commands.tune(
        "source", "sentiment", folder / "source", f"{commands.GIN}/words.gin"
    )
    run(source)
    measured = []
    for number in range(runs + 1):
        command = commands.evaluate(
            "wide",
            "sentiment",
            folder / str(number),
            f"{commands.GIN}/recycle.gin",
            RECYCLE_FROM=str(folder / "source"),
        )
        measured.append(run(command))
    return statistics.median(measured[1:])  # The first one warms the disk cache.


def run(command: commands.Command) -> float:
    """Returns the seconds until a command, which must succeed, prints a metric."""
    module = f"prompt_tuning_recycling.standalone.{command.program}"
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", module, *command.arguments()],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    seconds = 0.0
    for line in process.stdout:
        if "accuracy" in line and not seconds:
            seconds = time.monotonic() - started
    if process.wait() or not seconds:
        sys.exit(f"failed:\n{command}")
    return seconds


def milliseconds_per_step(runs: int) -> tuple[float, float, float]:
    config = T5Config(
        vocab_size=SIZES["words"],
        emb_dim=64,
        num_heads=4,
        head_dim=16,
        mlp_dim=128,
        num_encoder_layers=2,
        num_decoder_layers=2,
        prompt_length=5,
    )
    model = EncoderDecoder(Transformer(config), vocabulary=None)
    stored = open_model(f"{commands.MODELS}/source").parameters
    rng = np.random.default_rng(0)
    weights = {
        name: rng.uniform(-0.5, 0.5, shape).astype(np.float32)
        if matches(name)
        else np.asarray(stored[name].read(), np.float32)
        for name, shape in parameters.shapes(model.module).items()
    }
    tokens = rng.integers(3, 600, (SIZES["batch"], SIZES["inputs"]))
    targets = rng.integers(3, 600, (SIZES["batch"], SIZES["targets"]))
    batch = {
        "encoder_input_tokens": tokens,
        "decoder_input_tokens": np.pad(targets[:, :-1], ((0, 0), (1, 0))),
        "decoder_target_tokens": targets,
        "decoder_loss_weights": np.ones_like(targets),
    }
    prompt = {name: array for name, array in weights.items() if matches(name)}
    frozen = {name: array for name, array in weights.items() if name not in prompt}
    labels = {name: "tuned" if matches(name) else "frozen" for name in weights}
    masked = optax.multi_transform(
        {"tuned": optax.adam(0.02), "frozen": optax.set_to_zero()}, labels
    )
    tune = tuner(model, optax.adam(0.02), prompt, frozen, batch)
    tune_masked = tuner(model, masked, weights, {}, batch)
    (name,) = prompt
    first, second = tune()[1][name], tune_masked()[1][name]
    difference = np.linalg.norm(first - second) / np.linalg.norm(first)
    assert difference < 0.02, f"the two prompts differ by {difference:.3f}"
    pairs = [(tune()[0], tune_masked()[0]) for _ in range(runs)]
    ours, usual = (statistics.median(times) for times in zip(*pairs, strict=True))
    return ours, usual, statistics.median(a / b for a, b in pairs)


def tuner(
    model: EncoderDecoder,
    optimizer: optax.GradientTransformation,
    trained: dict[str, np.ndarray],
    frozen: dict[str, np.ndarray],
    batch: dict[str, np.ndarray],
) -> Callable[[], tuple[float, dict[str, jax.Array]]]:
    key = jax.random.key(0)

    @jax.jit
    def step(trained, state):
        gradients, _ = model.gradients(trained, frozen, batch, key)
        updates, state = optimizer.update(gradients, state, trained)
        return optax.apply_updates(trained, updates), state

    def tune() -> tuple[float, dict[str, jax.Array]]:
        """Returns the milliseconds per step, and the parameters after all steps."""
        now, state = trained, optimizer.init(trained)
        now, state = jax.block_until_ready(step(now, state))
        started = time.monotonic()
        for _ in range(STEPS):
            now, state = step(now, state)
        jax.block_until_ready(now)
        return 1000 * (time.monotonic() - started) / STEPS, now

    return tune


if __name__ == "__main__":
    main()
