"""Pre-trains from scratch the demo's four models, which the repository ships:

  python -m examples.pretrain --output=build/pretrained

Writes each as a checkpoint in T5X's layout, and makes the demo's vocabulary if it is
missing. Takes ten minutes on two cores. Run it from the top of the checkout.
"""

from __future__ import annotations

import argparse
import json
import pathlib

import sentencepiece

from examples.demo import language
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


def make_vocabulary(path: pathlib.Path) -> None:
    """Writes a SentencePiece model with a piece for each word of the language, and a
    list of these words beside it.
    """
    words = language.vocabulary()
    path.parent.mkdir(parents=True, exist_ok=True)
    # A tab becomes a space. Without any rule, SentencePiece warns on every load.
    rules = path.with_suffix(".rules")
    rules.write_text("9\t20\n")
    sentencepiece.SentencePieceTrainer.train(
        # Earlier words seem more frequent, which keeps the pieces in this order.
        sentence_iterator=iter(
            word
            for rank, word in enumerate(words)
            for _ in range(2 * len(words) - rank)
        ),
        model_prefix=str(path.with_suffix("")),
        model_type="word",
        vocab_size=len(words) + 3,
        character_coverage=1.0,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        normalization_rule_tsv=str(rules),
        minloglevel=2,
    )
    path.with_suffix(".vocab").unlink()
    rules.unlink()
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(path))
    listed = {rank: pieces.id_to_piece(rank) for rank in range(3, pieces.vocab_size())}
    text = json.dumps(listed, ensure_ascii=False, indent=0)
    path.with_name("words.json").write_text(text + "\n")


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
        make_vocabulary(VOCABULARY)
    for name in [flags.only] if flags.only else RECIPES:
        pretrain(name, flags.output)


if __name__ == "__main__":
    main()
