"""The same result without this package, in a short script.

    python benchmarks/plain_least_squares.py SOURCE TARGET PROMPT WORDS OUTPUT

Reads both whole tables through tensorstore and solves with numpy's least squares.
"""

import json
import sys

import numpy as np
import tensorstore as ts

TABLE = "target.token_embedder.embedding/"


def table(step: str) -> np.ndarray:
    """The embedding table of a step in the legacy format."""
    kvstore = {"driver": "file", "path": f"{step}/{TABLE}"}
    return ts.open({"driver": "zarr", "kvstore": kvstore}).result().read().result()


source, target, prompt, words, output = sys.argv[1:]
with open(words, encoding="utf-8") as file:
    rows = [int(index) for index in json.load(file)][1000:5000]
inputs, targets = (table(step)[rows].astype(np.float64) for step in (source, target))
linear_map = np.linalg.lstsq(inputs, targets)[0]
np.save(output, (np.load(prompt) @ linear_map).astype(np.float32))
