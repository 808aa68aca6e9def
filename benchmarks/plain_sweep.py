"""A sweep without this package: a loop over pairs, initializations, methods, runs and
steps, as in the paper's code.

    python benchmarks/plain_sweep.py CONFIG

Every map is fitted once and kept on disk. Besides the maps, prompts and methods share
only the embeddings. Needs TensorFlow, JAX, Flax and optax.
"""

import functools
import itertools
import json
import pathlib
import sys

import flax.linen as nn
import flax.serialization
import jax
import numpy as np
import optax
import tensorflow as tf
import tensorstore as ts

TABLE = "target.token_embedder.embedding/"
EXPORT = "numpy_checkpoints/checkpoint_{}/encoder.prompt.prompt.prompt"


class Network(nn.Module):
    """Two layers, as in the paper."""

    width: int

    @nn.compact
    def __call__(self, x):
        return nn.Dense(self.width)(nn.relu(nn.Dense(4 * self.width)(x)))


class Mlp:
    """v2v-nn."""

    def __init__(self, source, target):
        self.network = Network(target.shape[1])
        self.params = self.network.init(jax.random.PRNGKey(0), source[:1])

    def fit(self, source, target, batch=50, epochs=25):
        optimizer = optax.adam(3e-4)

        @jax.jit
        def step(params, state, x, y):
            def loss(params):
                return optax.l2_loss(self.network.apply(params, x), y).mean()

            updates, state = optimizer.update(jax.grad(loss)(params), state, params)
            return optax.apply_updates(params, updates), state

        state = optimizer.init(self.params)
        rng = np.random.default_rng(0)
        for _ in range(epochs):
            order = rng.permutation(len(source))
            for i in range(0, len(source), batch):
                rows = order[i : i + batch]
                self.params, state = step(
                    self.params, state, source[rows], target[rows]
                )

    def save(self, path):
        path.write_bytes(flax.serialization.to_bytes(self.params))

    def load(self, path):
        self.params = flax.serialization.from_bytes(self.params, path.read_bytes())

    def apply(self, prompt):
        return self.network.apply(self.params, prompt)


class Projection:
    """v2v-lin."""

    def __init__(self, source, target):
        del source, target

    def fit(self, source, target):
        self.matrix = tf.linalg.lstsq(source, target).numpy()

    def save(self, path):
        with path.open("wb") as file:
            np.save(file, self.matrix)

    def load(self, path):
        self.matrix = np.load(path)

    def apply(self, prompt):
        return prompt @ self.matrix


class Combination:
    """lin-comb, solved again for each prompt."""

    def __init__(self, source, target):
        self.source, self.target = source, target

    def fit(self, source, target):
        pass

    def save(self, path):
        pass

    def apply(self, prompt):
        return tf.transpose(tf.linalg.lstsq(self.source.T, prompt.T)) @ self.target


METHODS = {"jax-nn": Mlp, "tf-lstsq": Projection, "linear-combination": Combination}


@functools.cache
def embeddings(step, rows):
    kvstore = {"driver": "file", "path": f"{step}/{TABLE}"}
    table = ts.open({"driver": "zarr", "kvstore": kvstore}).result().read().result()
    return table[list(rows)]


config = json.loads(pathlib.Path(sys.argv[1]).read_text())
words = config["load_embeddings"]["default"]
listed = json.loads(pathlib.Path(words["word_list_path"]).read_text())
rows = tuple(map(int, listed))[words["word_offset"] :][: words["num_words"]]
root = pathlib.Path(config["root_dir"])
for a, b in itertools.permutations(config["pretrained"], 2):
    source, target = (embeddings(config["pretrained"][model], rows) for model in (a, b))
    for init, (method, make) in itertools.product(
        config["prompts"][a], METHODS.items()
    ):
        if method not in config["recycling_methods"]:
            continue
        recycler = make(source, target)
        path = root / method / "learned-recyclers" / f"{a}_to_{b}"
        if path.exists():
            recycler.load(path)
            print("loss", optax.l2_loss(recycler.apply(source), target).mean())
        else:
            recycler.fit(source, target)
            path.parent.mkdir(parents=True, exist_ok=True)
            recycler.save(path)
        for run, folder in config["prompts"][a][init].items():
            for step in config["steps"]:
                prompt = np.load(pathlib.Path(folder, EXPORT.format(step)))
                recycled = recycler.apply(prompt)
                name = f"recycled_from_{a}_at_{step}_to_{b}"
                out = root / method / config["dataset"] / init / run / name
                out.parent.mkdir(parents=True, exist_ok=True)
                with out.open("wb") as file:
                    np.save(file, np.asarray(recycled))
