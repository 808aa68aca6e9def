"""The model: its loss, its gradients, scores and predictions."""

import dataclasses
import types

import jax
import numpy as np
import pytest

from prompt_tuning_recycling import RecyclingError, network
from prompt_tuning_recycling.standalone import decoding, parameters
from prompt_tuning_recycling.standalone.model import EncoderDecoder

from ..conftest import thorough

pytestmark = pytest.mark.slow

VOCABULARY = 40
CONFIG = network.T5Config(
    vocab_size=VOCABULARY,
    emb_dim=12,
    num_heads=2,
    num_encoder_layers=1,
    num_decoder_layers=1,
    head_dim=5,
    mlp_dim=20,
    prompt_length=3,
)
PROMPT = "encoder/prompt/prompt/prompt"
TARGETS = np.array([[11, 12, 1, 0], [21, 22, 23, 1]], np.int32)
BATCH = {
    "encoder_input_tokens": np.array([[7, 8, 1, 0], [4, 5, 6, 1]], np.int32),
    "decoder_input_tokens": np.pad(TARGETS, ((0, 0), (1, 0)))[:, :-1],
    "decoder_target_tokens": TARGETS,
    "decoder_loss_weights": (TARGETS > 0).astype(np.int32),
}
KEY = jax.random.key(0)


@pytest.fixture
def params(rng):
    shapes = parameters.shapes(network.Transformer(CONFIG))
    return {
        name: (0.5 * rng.normal(size=shape)).astype(np.float32)
        for name, shape in shapes.items()
    }


def model_of(config=CONFIG, **options):
    vocabulary = types.SimpleNamespace(eos_id=1)
    return EncoderDecoder(network.Transformer(config), vocabulary, **options)


def logits_of(params):
    module = network.Transformer(CONFIG)
    logits = jax.jit(lambda *batch: module.apply(*batch, enable_dropout=False))(
        {"params": parameters.nested(params)},
        BATCH["encoder_input_tokens"],
        BATCH["decoder_input_tokens"],
        TARGETS,
    )
    return np.asarray(logits, np.float64)


def loss_of(params, model, trained=(PROMPT,)):
    ours = {name: params[name] for name in trained}
    others = {name: params[name] for name in params if name not in ours}
    return model.gradients(ours, others, BATCH, KEY)


def plain_loss(logits, z_loss=0.0, smoothing=0.0):
    """Summed over the targets that are not padding, in float64."""
    loss = 0.0
    for example, position in np.argwhere(TARGETS > 0):
        row = logits[example, position]
        log_z = np.log(np.sum(np.exp(row)))
        wanted = np.full(VOCABULARY, smoothing / (VOCABULARY - 1))
        wanted[TARGETS[example, position]] = 1 - smoothing
        loss -= np.sum(wanted * (row - log_z))
        if smoothing:
            loss += np.sum(wanted * np.log(wanted))
        loss += z_loss * log_z**2
    return loss


@pytest.mark.slow
@pytest.mark.parametrize(
    ("z_loss", "smoothing", "factor", "divisor"),
    [
        thorough(0.0, 0.0, None, 1),
        thorough(0.1, 0.0, 5.0, 5),
        thorough(0.0, 0.2, "NUM_REAL_TARGET_TOKENS", 7),
        (0.1, 0.2, "NUM_REAL_TARGET_TOKENS", 7),
    ],
)
def test_the_loss_is_that_of_the_plain_computation(
    params, z_loss, smoothing, factor, divisor
):
    model = model_of(
        z_loss=z_loss, label_smoothing=smoothing, loss_normalizing_factor=factor
    )
    _, sums = loss_of(params, model)
    logits = logits_of(params)
    expected = plain_loss(logits, z_loss, smoothing) / divisor
    assert float(sums["loss"]) == pytest.approx(expected, rel=1e-5)
    # What is reported does not depend on how the loss is formed.
    assert float(sums["cross_entropy"]) == pytest.approx(plain_loss(logits), rel=1e-5)
    assert float(sums["tokens"]) == 7
    correct = (logits.argmax(axis=-1) == TARGETS) & (TARGETS > 0)
    assert float(sums["correct"]) == correct.sum()


@pytest.mark.slow
def test_only_the_trained_parameters_have_gradients(params):
    gradients, _ = loss_of(params, model_of())
    assert gradients.keys() == {PROMPT}
    assert gradients[PROMPT].shape == (3, 12)


def test_the_prompts_gradient_is_the_slope_of_the_loss(params, rng):
    model = model_of()
    gradients, _ = loss_of(params, model)
    direction = rng.normal(size=(3, 12))

    def loss(step):
        moved = {**params, PROMPT: (params[PROMPT] + step * direction)}
        return float(loss_of(moved, model)[1]["loss"])

    slope = (loss(1e-2) - loss(-1e-2)) / 2e-2
    assert np.sum(gradients[PROMPT] * direction) == pytest.approx(slope, rel=2e-2)


@pytest.mark.slow
@pytest.mark.thorough
def test_dropout_follows_its_key(params):
    model = model_of(dataclasses.replace(CONFIG, dropout_rate=0.3))
    losses = [
        float(model.gradients({PROMPT: params[PROMPT]}, rest, BATCH, key)[1]["loss"])
        for rest in [{name: params[name] for name in params if name != PROMPT}]
        for key in (KEY, KEY, jax.random.key(1))
    ]
    assert losses[0] == losses[1] != losses[2]


def test_an_unknown_normalizing_factor_is_reported():
    with pytest.raises(RecyclingError, match="expected a number, None or"):
        model_of(loss_normalizing_factor="AVERAGE")


def test_a_score_is_the_targets_log_likelihood(params):
    logits = logits_of(params)
    log_probabilities = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    expected = [
        sum(
            log_probabilities[example, position, token]
            for position, token in enumerate(TARGETS[example])
            if token > 0
        )
        for example in range(2)
    ]
    found = model_of().score(parameters.nested(params), BATCH)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(
    "decoder", [decoding.Greedy(), thorough(decoding.BeamSearch(4))]
)
def test_the_score_of_a_prediction_is_that_of_its_tokens(params, decoder):
    if isinstance(decoder, decoding.BeamSearch):
        decoder = dataclasses.replace(decoder, alpha=0.0)
    model = model_of(decoder=decoder)
    nested = parameters.nested(params)
    # As long as the batch's targets.
    tokens, scores = model.predict(nested, BATCH)
    assert tokens.shape == TARGETS.shape
    tokens = np.asarray(tokens)
    decoded = {
        **BATCH,
        "decoder_target_tokens": tokens,
        "decoder_input_tokens": np.pad(tokens, ((0, 0), (1, 0)))[:, :-1],
        "decoder_loss_weights": (tokens > 0).astype(np.int32),
    }
    np.testing.assert_allclose(model.score(nested, decoded), scores, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.thorough
def test_more_beams_find_nothing_less_likely(params):
    nested = parameters.nested(params)
    scores = [
        model_of(decoder=decoding.BeamSearch(beams, alpha=0.0)).predict(nested, BATCH)[
            1
        ]
        for beams in (1, 8)
    ]
    assert (scores[1] >= scores[0] - 1e-5).all()
