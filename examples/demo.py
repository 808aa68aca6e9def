"""Recycles one prompt between two small models and prints the report.

The "models" are embedding tables in checkpoints: both see the same hidden meaning of
each word through a random projection of their own, with noise, at different widths.
So there is a map to be learned, and none that is perfect. The source's prompt is
made of four words; in the target the same words should come out nearest.

    python examples/demo.py FOLDER
"""

from __future__ import annotations

import pathlib
import shlex
import sys

import numpy as np
import orbax.checkpoint as ocp

from prompt_tuning_recycling import Words, command_line, run_recycle, save_prompt
from prompt_tuning_recycling.checkpoints import EMBEDDING

VOCABULARY_SIZE = 32128
MEANING, SOURCE_WIDTH, TARGET_WIDTH = 48, 64, 96
NOISE = 0.5
PROMPT_WORDS = ("movie", "brilliant", "actor", "funny")
PROMPT_NORM = 30.0


def main(folder: pathlib.Path) -> int:
    """Makes both checkpoints and the prompt, then runs the command line."""
    rng = np.random.default_rng(0)
    meaning = rng.normal(size=(VOCABULARY_SIZE, MEANING))
    tables = {
        name: seen_by_a_model(rng, meaning, width)
        for name, width in (("source", SOURCE_WIDTH), ("target", TARGET_WIDTH))
    }
    for name, table in tables.items():
        save_checkpoint(folder / name / "checkpoint_1000", table)
    save_prompt(tuned_prompt(rng, tables["source"]), folder / "prompt.npy")

    print(
        f"Made two models of widths {SOURCE_WIDTH} and {TARGET_WIDTH} in {folder}, and "
        f"a prompt for the first, made of the words {', '.join(PROMPT_WORDS)}.\n"
        "Recycled for the second, these should be the nearest words to its vectors."
    )
    for recycler in ("v2v-lin", "v2v-nn"):
        arguments = [
            f"--source_model={folder / 'source'}",
            f"--target_model={folder / 'target'}",
            f"--prompt_path={folder / 'prompt.npy'}",
            f"--output_path={folder / f'recycled-{recycler}.npy'}",
            f"--recycler={recycler}",
            "--report",
        ]
        print(f"\n$ prompt-recycling run_recycle {shlex.join(arguments)}", flush=True)
        code = command_line.run(run_recycle.main, arguments)
        if code:
            return code
    return 0


def seen_by_a_model(
    rng: np.random.Generator, meaning: np.ndarray, width: int
) -> np.ndarray:
    """Embeddings float32 [vocabulary, width] of words with these meanings."""
    projection = rng.normal(size=(meaning.shape[1], width)) / np.sqrt(meaning.shape[1])
    noise = NOISE * rng.normal(size=(len(meaning), width))
    return (meaning @ projection + noise).astype(np.float32)


def tuned_prompt(rng: np.random.Generator, table: np.ndarray) -> np.ndarray:
    """A prompt [length, width]: each vector one word, far longer and with noise."""
    words = Words.from_list()
    index_of = {words.pieces[int(index)]: int(index) for index in words.rows}
    vectors = table[[index_of[word] for word in PROMPT_WORDS]]
    vectors = vectors + 0.3 * rng.normal(size=vectors.shape)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (PROMPT_NORM * vectors / norms).astype(np.float32)


def save_checkpoint(step: pathlib.Path, table: np.ndarray) -> None:
    """Writes a table as T5X does through Orbax, in `checkpoint_N/state/`."""
    tree: dict = {}
    node = tree
    *parents, leaf = EMBEDDING.split("/")
    for parent in parents:
        node = node.setdefault(parent, {})
    node[leaf] = table
    with ocp.PyTreeCheckpointer() as checkpointer:
        checkpointer.save(step.resolve() / "state", tree, force=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} FOLDER")
    sys.exit(main(pathlib.Path(sys.argv[1])))
