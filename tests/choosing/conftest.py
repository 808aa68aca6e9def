"""Fixtures: inputs of the tests' tasks, and a model small enough to compute by hand."""

import importlib

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from prompt_tuning_recycling.choosing import criteria, unlabeled
from prompt_tuning_recycling.choosing.unlabeled import Unlabeled

from ..conftest import IMPORTABLE

PARAMETER = "encoder/prompt/prompt/prompt"


@pytest.fixture
def tasks(monkeypatch):
    """The module of the tests' tasks."""
    monkeypatch.syspath_prepend(IMPORTABLE)
    return importlib.import_module("tiny_tasks")


@pytest.fixture
def read(tasks):
    """Reads inputs, cut as the tests' runs cut them."""

    def read(name, number=16, split="train", **options):
        lengths = {"inputs": 6, "targets": 2}
        return unlabeled.read(name, number, split, lengths=lengths, **options)

    return read


def inputs_of(choices, inputs=None):
    """Inputs with these choices: tokens of each choice, input by input."""
    count = len(choices)
    if inputs is None:
        inputs = [np.array([10 + row, 1]) for row in range(count)]
    as_arrays = [[np.asarray(choice) for choice in row] for row in choices]
    return Unlabeled(inputs, as_arrays, {}, {"task": "by_hand", "inputs": count})


class SmallModel:
    """A model of one softmax: the scores of an input's choices are the logarithms of
    softmax(F · mean(prompt)), where F are features of its own for each choice.

    Attributes:
      shapes: of its prompt, which has two vectors.
      loaded: how many prompts it has scored.
    """

    def __init__(self, sizes, width=4, seed=0):
        rng = np.random.default_rng(seed)
        self.features = [rng.normal(size=(size, width)) for size in sizes]
        self.shapes = {PARAMETER: (2, width)}
        self.loaded = 0

    def score(self, prompts, inputs):
        self.loaded += 1
        mean = np.asarray(prompts[PARAMETER], np.float64).mean(axis=0)
        return np.concatenate([log_softmax(f @ mean) for f in self.features]).tolist()

    def answer(self, prompts, inputs, length):
        scores = criteria.split(
            self.score(prompts, inputs), [len(f) for f in self.features]
        )
        return [np.array([5 + int(row.argmax()), 1])[:length] for row in scores]

    def gradient(self, prompts, inputs, weights):
        array = np.asarray(prompts[PARAMETER], np.float64)
        mean = array.mean(axis=0)
        total = np.zeros_like(mean)
        by_input = np.split(weights, np.cumsum([len(f) for f in self.features])[:-1])
        for features, of_input in zip(self.features, by_input, strict=True):
            p = softmax(features @ mean)
            total += (of_input - of_input.sum() * p) @ features
        gradient = np.tile(total / len(array), (len(array), 1))
        return {PARAMETER: gradient.astype(np.float32)}


@pytest.fixture
def small_model():
    """A model of two choices for each of six inputs."""
    return SmallModel([2] * 6)


@pytest.fixture
def six_inputs():
    """Six inputs with the same two choices."""
    return inputs_of([[[53, 1], [54, 1]]] * 6)
