"""Which prompt enters a model: every case, once, for both hosts."""

import pytest

from prompt_tuning_recycling import RecyclingError, contract
from prompt_tuning_recycling.initial_prompts import (
    RandomUniform,
    SampledVocabulary,
)

ENCODER, DECODER = "encoder/prompt/prompt/prompt", "decoder/prompt/prompt/prompt"
ONE = {ENCODER: (5, 12)}
BOTH = {ENCODER: (5, 12), DECODER: (3, 12)}
DECLARED, DEFAULT = RandomUniform(seed=1), SampledVocabulary(seed=2)


@pytest.mark.parametrize(
    ("expected", "stored", "declared", "default", "made"),
    [
        # Nothing to do: no prompts, or all of them are there.
        ({}, {}, None, None, {}),
        ({}, {}, None, DEFAULT, {}),
        (ONE, ONE, None, None, {}),
        (ONE, ONE, None, DEFAULT, {}),
        (BOTH, BOTH, None, None, {}),
        # Made: as declared, else by default, and only what is missing.
        (ONE, {}, DECLARED, None, {ENCODER: DECLARED}),
        (ONE, {}, DECLARED, DEFAULT, {ENCODER: DECLARED}),
        (ONE, {}, None, DEFAULT, {ENCODER: DEFAULT}),
        (BOTH, {}, DECLARED, None, {ENCODER: DECLARED, DECODER: DECLARED}),
        (BOTH, ONE, None, DEFAULT, {DECODER: DEFAULT}),
    ],
)
def test_what_is_made(expected, stored, declared, default, made):
    found = contract.prompts_to_make(expected, stored, declared, default, "/model")
    assert found == made


@pytest.mark.parametrize(
    ("expected", "stored", "declared", "default", "message"),
    [
        # Two prompts for one place.
        (ONE, ONE, DECLARED, None, "/model already holds a prompt, encoder/.*declare"),
        (BOTH, ONE, DECLARED, DEFAULT, "already holds .*RandomUniform.*INITIAL_CHECK"),
        # A prompt without a place.
        ({}, ONE, None, None, r"holds a prompt, encoder/.* \[5, 12\].*_LENGTH=5"),
        ({}, ONE, DECLARED, None, "the model has none there. Use .* ends in _prompt"),
        (ONE, BOTH, None, None, "holds a prompt, decoder/"),
        ({}, {}, DECLARED, None, "the model has none. Use a model file .* _prompt"),
        # A place without a prompt.
        (ONE, {}, None, None, "/model holds none. Say where it comes from: recycle_in"),
        (BOTH, ONE, None, None, "the model has a prompt, decoder/.*holds none"),
        # A prompt that does not fit its place.
        (ONE, {ENCODER: (4, 12)}, None, None, r"\[4, 12\].*expects \[5, 12\].*TH=4"),
        (ONE, {ENCODER: (5, 16)}, None, None, r"\[5, 16\].*model file"),
        (ONE, {ENCODER: (60,)}, None, None, r"\[60\].*model file"),
    ],
)
def test_what_is_refused(expected, stored, declared, default, message):
    with pytest.raises(RecyclingError, match=message):
        contract.prompts_to_make(expected, stored, declared, default, "/model")


NAMES = {"encoder/block/kernel": 1, ENCODER: 2, DECODER: 3}


@pytest.mark.parametrize(
    ("patterns", "trained"),
    [
        ([".*/prompt/.*"], [ENCODER, DECODER]),
        (["/encoder/.*"], ["encoder/block/kernel", ENCODER]),
        (["/decoder/.*", f"/{ENCODER}"], [ENCODER, DECODER]),
    ],
)
def test_what_is_trained(patterns, trained):
    assert contract.names_to_train(NAMES, patterns) == trained


@pytest.mark.parametrize("pattern", [".*/promt/.*", ENCODER])
def test_nothing_to_train(pattern):
    with pytest.raises(RecyclingError, match="nothing to train") as error:
        contract.names_to_train(NAMES, [pattern])
    assert str([pattern]) in str(error.value)
    assert f"Did you mean {ENCODER}" in str(error.value)


def test_a_fitting_shape_is_no_error():
    contract.check_shape(ENCODER, [5, 12], (5, 12), "/model")
