"""A model that is loaded once and gets one prompt after another."""

import dataclasses
import importlib

import numpy as np
import pytest

from prompt_tuning_recycling import RecyclingError
from prompt_tuning_recycling.choosing import unlabeled
from prompt_tuning_recycling.models import open_model
from prompt_tuning_recycling.network import T5Config, Transformer
from prompt_tuning_recycling.standalone import parameters
from prompt_tuning_recycling.standalone.model import EncoderDecoder
from prompt_tuning_recycling.standalone.prompted import PromptedModel, source_model

from ..conftest import thorough

# Each compiles a network.
pytestmark = pytest.mark.slow

SITE = "encoder/prompt/prompt/prompt"
LENGTH = 5


@pytest.fixture
def tasks(importable):
    return importlib.import_module("tiny_tasks")


@pytest.fixture
def load(tasks, models):
    """Loads one of the demo's models."""

    def load(name, batch_size=8):
        like = EncoderDecoder(Transformer(T5Config()), tasks.VOCABULARY)
        return source_model(like, open_model(models / name), LENGTH, batch_size)

    return load


@pytest.fixture
def read(tasks):
    def read(name="tiny_ranked", number=5):
        lengths = {"inputs": 6, "targets": 2}
        return unlabeled.read(name, number, lengths=lengths)

    return read


@pytest.fixture
def prompts(rng):
    """A prompt of words' size."""
    return {SITE: (0.03 * rng.normal(size=(LENGTH, 64))).astype(np.float32)}


def test_a_choice_is_scored_as_the_model_scores_it(load, read, prompts):
    model, inputs = load("target-1"), read()
    found = model.score(prompts, inputs)
    nested = parameters.nested(model.parameters(prompts))
    expected = [
        float(model.model.score(nested, {k: v[None] for k, v in example.items()})[0])
        for _, example in inputs.dataset().as_numpy_iterator()
    ]
    assert len(found) == 10
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_scores_depend_on_the_prompt(load, read, prompts):
    model, inputs = load("target-1"), read()
    one = model.score(prompts, inputs)
    other = model.score({SITE: prompts[SITE][::-1] * 3}, inputs)
    assert not np.allclose(one, other)
    # The model keeps nothing of a prompt.
    assert model.score(prompts, inputs) == one


@pytest.mark.thorough
def test_examples_that_fill_up_a_batch_do_not_count(load, read, prompts):
    inputs = read()
    scores = [load("target-1", size).score(prompts, inputs) for size in (4, 10, 32)]
    np.testing.assert_allclose(scores[1:], [scores[0]] * 2, rtol=1e-4)


@pytest.mark.thorough
def test_answers_end_with_eos(load, read, prompts):
    inputs = read("tiny_train", 9)
    answers = load("source").answer(prompts, inputs, 4)
    assert len(answers) == 9
    assert all(1 <= len(answer) <= 4 for answer in answers)
    assert all(answer[-1] == 1 or len(answer) == 4 for answer in answers)


@pytest.mark.parametrize("batch_size", [thorough(4), 32])
def test_the_gradient_is_that_of_finite_differences(load, read, prompts, batch_size):
    """Along some directions; the last batch is filled up in both cases."""
    model, inputs = load("target-1", batch_size), read()
    rng = np.random.default_rng(1)
    weights = rng.normal(size=10).astype(np.float32)
    gradient = model.gradient(prompts, inputs, weights)[SITE]

    def slope(direction):
        """By four points, since networks bend much between two."""
        steps = np.array([-2, -1, 1, 2])
        totals = [
            weights @ model.score({SITE: prompts[SITE] + step * direction}, inputs)
            for step in steps.astype(np.float32)
        ]
        return float(np.dot(totals, [1, -8, 8, -1]) / 12)

    for _ in range(3):
        direction = 1e-3 * rng.normal(size=gradient.shape).astype(np.float32)
        expected = float((gradient * direction).sum())
        assert slope(direction) == pytest.approx(expected, rel=0.02, abs=2e-4)
    assert gradient.dtype == np.float32
    assert np.abs(gradient).max() > 0


@pytest.mark.parametrize("name", ["source", "wide"])
def test_a_source_of_another_width_is_loaded_by_its_own_sizes(load, name, models):
    model = load(name)
    width = open_model(models / name).embeddings.shape[1]
    assert model.shapes == {SITE: (LENGTH, width)}


def test_a_checkpoint_that_holds_a_prompt_is_refused(tasks, tmp_path, write_orbax):
    config = T5Config(
        vocab_size=640,
        emb_dim=8,
        num_heads=2,
        num_encoder_layers=1,
        num_decoder_layers=1,
        head_dim=4,
        mlp_dim=16,
        prompt_length=3,
    )
    arrays = {
        f"target/{name}": np.zeros(shape, np.float32)
        for name, shape in parameters.shapes(Transformer(config)).items()
    }
    write_orbax(tmp_path / "tuned/checkpoint_1", arrays)
    model = EncoderDecoder(Transformer(config), tasks.VOCABULARY)
    with pytest.raises(RecyclingError, match=r"holds a prompt, encoder/.* \[3, 8"):
        PromptedModel(model, open_model(tmp_path / "tuned"), 4)
    # A source may hold one.
    source = open_model(tmp_path / "tuned")
    like = dataclasses.replace(model, module=Transformer(T5Config()))
    assert source_model(like, source, 3, 4).shapes == {SITE: (3, 8)}
