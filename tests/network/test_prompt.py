"""What a prompt changes, and the same network without it."""

import dataclasses

import numpy as np
import pytest
from flax import linen as nn

from prompt_tuning_recycling import RecyclingError, network
from prompt_tuning_recycling.standalone import parameters

from .conftest import (
    CONFIG,
    INPUTS,
    LENGTH,
    PROMPT,
    TARGETS,
    encode,
    flat,
    logits_of,
    unflat,
    variables_of,
)


def test_a_prompt_is_as_if_its_vectors_were_tokens_before_the_input():
    variables = variables_of(CONFIG)
    params = flat(variables)
    # Rows of the table that no token of the texts has.
    rows = np.arange(37, 37 + LENGTH)
    params["token_embedder/embedding"][rows] = params.pop(PROMPT)
    inputs = np.concatenate([np.tile(rows, (2, 1)), INPUTS], axis=1)
    without = dataclasses.replace(CONFIG, prompt_length=0)
    expected = logits_of(without, unflat(params), inputs)
    np.testing.assert_array_equal(logits_of(CONFIG, variables), expected)


def test_a_prompt_adds_its_positions_to_what_is_encoded():
    encoded = encode(CONFIG, variables_of(CONFIG))
    assert encoded.shape == (2, LENGTH + 6, 12)


def test_each_vector_of_the_prompt_counts():
    variables = variables_of(CONFIG)
    before = logits_of(CONFIG, variables)
    for position in range(LENGTH):
        params = flat(variables)
        params[PROMPT] = params[PROMPT].copy()
        params[PROMPT][position] += 1.0
        difference = abs(logits_of(CONFIG, unflat(params)) - before)
        # For both examples, at every target that is not padding.
        assert (difference.max(axis=-1)[TARGETS > 0] > 1e-3).all()


def test_packing_is_refused_where_there_is_a_prompt():
    with pytest.raises(ValueError, match="share one prompt: set pack = False"):
        logits_of(CONFIG, variables_of(CONFIG), inputs_of=np.ones_like(INPUTS))


def test_without_its_prompt_the_network_lacks_that_one_parameter():
    module = network.Transformer(CONFIG)
    without = network.without_prompt(module)
    assert isinstance(without, network.Transformer)
    assert without.config == dataclasses.replace(CONFIG, prompt_length=0)
    removed = parameters.shapes(module).items() - parameters.shapes(without).items()
    assert dict(removed) == {PROMPT: (LENGTH, 12)}
    assert module.config == CONFIG


@pytest.mark.parametrize(
    "module",
    [network.Transformer(dataclasses.replace(CONFIG, prompt_length=0)), nn.Dense(3)],
    ids=["no prompt", "another network"],
)
def test_there_has_to_be_a_prompt_to_remove(module):
    message = "no prompt of this package's network.*file whose name ends in _prompt"
    with pytest.raises(RecyclingError, match=message):
        network.without_prompt(module)
