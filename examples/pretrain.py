"""Pre-trains from scratch the demo's four models, which the repository ships:

  python -m examples.pretrain --output=build/pretrained

Writes each as a checkpoint in T5X's layout, and makes the demo's vocabulary if it is
missing. Takes ten minutes on two cores. Run it from the top of the checkout.
"""

from __future__ import annotations

import argparse
import pathlib

from examples.demo import vocabulary
from prompt_tuning_recycling import open_model
from prompt_tuning_recycling.standalone import steps, train

VOCABULARY = pathlib.Path("examples/demo/models/vocabulary.model")
STEPS = 1600
# name -> gin file, seed, learning rate
RECIPES = {
    "source": ("tiny", 1, 1.2e-3),
    "target-1": ("tiny", 2, 1.2e-3),
    "target-2": ("tiny", 3, 1.2e-3),
    "wide": ("wide", 4, 1.0e-3),
}


def pretrain(name: str, output: pathlib.Path) -> None:
    """Trains a model and writes it without the optimizer's state."""
    model, seed, learning_rate = RECIPES[name]
    run = output / "runs" / name
    code = train.main(
        [
            f"--gin_file=examples/demo/gin/{model}.gin",
            "--gin_file=examples/demo/gin/pretrain.gin",
            f"--gin.MODEL_DIR='{run}'",
            f"--gin.RANDOM_SEED={seed}",
            f"--gin.LEARNING_RATE={learning_rate}",
            f"--gin.TRAIN_STEPS={STEPS}",
        ]
    )
    if code:
        raise SystemExit(code)
    trained = open_model(run)
    weights = {name: array.read() for name, array in trained.parameters.items()}
    saver = steps.Saver(output / name, keep=1, dtype="bfloat16")
    saver.save(STEPS, weights, optimizer_state={})
    saver.close()


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--only", choices=RECIPES, help="train only this model")
    flags = parser.parse_args()
    if not VOCABULARY.exists():
        vocabulary.make(VOCABULARY)
    for name in [flags.only] if flags.only else RECIPES:
        pretrain(name, flags.output)


if __name__ == "__main__":
    main()
