"""T5X's networks with a prompt: their logits are those of T5X's own networks that are
given the prompt's vectors as the embeddings of made-up tokens.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

LENGTH, WIDTH, VOCABULARY = 5, 24, 200
SIZES = {
    "emb_dim": WIDTH,
    "num_heads": 2,
    "head_dim": 8,
    "mlp_dim": 32,
    "dropout_rate": 0.0,
}
PROMPT_TOKENS = np.arange(VOCABULARY, VOCABULARY + LENGTH)


@pytest.fixture
def decoder_only(decoder_only_sources, monkeypatch):
    import t5x.examples

    monkeypatch.setattr(
        t5x.examples, "__path__", [*t5x.examples.__path__, decoder_only_sources]
    )
    from prompt_tuning_recycling.t5x_host.networks import decoder_only

    return decoder_only


@pytest.fixture
def tokens():
    rng = np.random.default_rng(0)
    tokens = rng.integers(2, VOCABULARY, (3, 24)).astype(np.int32)
    tokens[1, 13:] = 0
    return tokens


def parameters(module, *tokens):
    """Random ones, with a prompt as large as the embeddings."""
    variables = jax.jit(lambda key: module.init(key, *tokens, enable_dropout=False))(
        jax.random.key(0)
    )
    flat = traverse_util.flatten_dict(variables["params"], sep="/")
    (name,) = (name for name in flat if "prompt" in name)
    prompt = np.random.default_rng(1).normal(size=(LENGTH, WIDTH)).astype(np.float32)
    assert flat[name].shape == prompt.shape
    return {**flat, name: prompt}, name


def by_hand(flat, name, table):
    """The parameters of the network without a prompt, whose vectors are the embeddings
    of additional tokens."""
    rest = {key: value for key, value in flat.items() if key != name}
    return {**rest, table: jnp.concatenate([flat[table], flat[name]])}


def nested(flat):
    return {"params": traverse_util.unflatten_dict(flat, sep="/")}


def before(tokens, ids=PROMPT_TOKENS):
    return np.concatenate([np.tile(ids, (len(tokens), 1)), tokens], 1).astype(np.int32)


def shifted(tokens):
    return np.pad(tokens, ((0, 0), (1, 0)))[:, :-1]


@pytest.mark.parametrize("scanned", [True, False])
@pytest.mark.parametrize("activations", [("gelu", "linear"), ("silu", "linear")])
def test_scalable_t5(tokens, scanned, activations):
    from t5x.examples.scalable_t5 import network

    from prompt_tuning_recycling.t5x_host.networks import scalable_t5

    def config(vocab_size, embeddings=False):
        return network.T5Config(
            vocab_size=vocab_size,
            num_encoder_layers=3,
            num_decoder_layers=2,
            mlp_activations=activations,
            scan_layers=scanned,
            logits_via_embedding=embeddings,
            **SIZES,
        )

    inputs, targets = tokens[:, :14], tokens[:, 10:]
    ours = scalable_t5.Transformer(config(VOCABULARY), prompt_length=LENGTH)
    flat, name = parameters(ours, inputs, targets, targets)
    assert name == "encoder/prompt/prompt/prompt"
    assert ours.scan_layers == scanned
    found = ours.apply(
        nested(flat), inputs, shifted(targets), targets, enable_dropout=False
    )
    # The output layer is T5X's own for the tokens that exist.
    theirs = network.Transformer(config(VOCABULARY + LENGTH))
    flat = by_hand(flat, name, "token_embedder/embedding")
    kernel = flat["decoder/logits_dense/kernel"]
    flat["decoder/logits_dense/kernel"] = jnp.pad(kernel, ((0, 0), (0, LENGTH)))
    expected = theirs.apply(
        nested(flat), before(inputs), shifted(targets), targets, enable_dropout=False
    )[..., :VOCABULARY]
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_scalable_t5_refuses_packed_examples(tokens):
    from t5x.examples.scalable_t5 import network

    from prompt_tuning_recycling.t5x_host.networks import scalable_t5

    sizes = {**SIZES, "num_encoder_layers": 1, "num_decoder_layers": 1}
    config = network.T5Config(vocab_size=VOCABULARY, **sizes)
    module = scalable_t5.Transformer(config, prompt_length=LENGTH)
    with pytest.raises(ValueError, match="set pack = False"):
        module.init(jax.random.key(0), tokens, tokens, tokens, tokens > 0)


def decoders(decoder_only, logits_via_embedding=False):
    network = decoder_only.network

    def config(vocab_size):
        return network.TransformerConfig(
            vocab_size=vocab_size,
            num_layers=2,
            mlp_activations=("gelu", "linear"),
            logits_via_embedding=logits_via_embedding,
            **SIZES,
        )

    ours = decoder_only.Decoder(config(VOCABULARY), prompt_length=LENGTH)
    theirs = network.DecoderWrapper(config(VOCABULARY + LENGTH))
    return ours, theirs


@pytest.mark.parametrize("prefix", [False, True], ids=["causal", "prefix"])
def test_decoder_only(decoder_only, tokens, prefix):
    """With shared embeddings, as in T5X's own model files."""
    ours, theirs = decoders(decoder_only, logits_via_embedding=True)
    flat, name = parameters(ours, tokens, tokens)
    assert name == "decoder/prompt/prompt/prompt"
    causal = (np.arange(24) < 7).astype(np.int32) * np.ones((3, 1), np.int32)
    attention = causal if prefix else None
    found = ours.apply(
        nested(flat),
        shifted(tokens),
        tokens,
        decoder_causal_attention=attention,
        enable_dropout=False,
    )
    ones = np.ones(LENGTH, np.int32)
    expected = theirs.apply(
        nested(by_hand(flat, name, "decoder/token_embedder/embedding")),
        before(shifted(tokens)),
        before(tokens, ones),
        decoder_causal_attention=before(attention, ones) if prefix else None,
        enable_dropout=False,
    )[:, LENGTH:, :VOCABULARY]
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_decoder_only_with_a_cache(decoder_only, tokens):
    """T5X predicts with the cache what is most likely without it."""
    from t5x import models

    class Vocabulary:
        eos_id = VOCABULARY + 1  # Never predicted.

    ours, _ = decoders(decoder_only)
    flat, _ = parameters(ours, tokens, tokens)
    lengths = np.array([6, 3, 9])
    inputs = np.where(np.arange(24) < lengths[:, None], tokens, 0)
    batch = {
        "decoder_input_tokens": shifted(inputs),
        "decoder_target_tokens": inputs,
        "decoder_causal_attention": (np.arange(24) <= lengths[:, None]).astype("int32"),
    }
    for bidirectional in (False, True):
        model = models.DecoderOnlyModel(
            ours, Vocabulary, None, inputs_bidirectional_attention=bidirectional
        )
        params = nested(flat)["params"]
        predicted = np.asarray(jax.jit(model.predict_batch)(params, batch))
        for row, length in enumerate(lengths):
            # Of the text with the answer, every answered token is the most likely.
            answer = predicted[row, : 24 - length]
            text = np.concatenate([inputs[row, :length], answer])[None]
            attention = batch["decoder_causal_attention"][row : row + 1]
            logits = ours.apply(
                {"params": params},
                shifted(text),
                np.ones_like(text),
                decoder_causal_attention=attention if bidirectional else None,
                enable_dropout=False,
            )
            best = np.asarray(logits)[0, length:].argmax(-1)
            np.testing.assert_array_equal(answer, best)
            assert len(set(answer.tolist())) > 1


def test_decoder_only_refuses_packed_examples(decoder_only, tokens):
    ours, _ = decoders(decoder_only)
    with pytest.raises(ValueError, match="set pack = False"):
        ours.init(jax.random.key(0), tokens, tokens, tokens > 0)


@pytest.mark.parametrize("activations", [("silu", "linear"), ("swish", "linear")])
def test_a_gated_silu_is_a_parameter_of_our_network(tokens, activations):
    from t5x.examples.t5 import network as theirs

    from prompt_tuning_recycling import network as ours

    sizes = {
        **SIZES,
        "vocab_size": VOCABULARY,
        "num_encoder_layers": 2,
        "num_decoder_layers": 2,
        "mlp_activations": activations,
    }
    own = theirs.Transformer(theirs.T5Config(**sizes))
    inputs, targets = tokens[:, :14], tokens[:, 10:]
    arguments = inputs, shifted(targets), targets
    params = own.init(jax.random.key(0), *arguments, enable_dropout=False)["params"]
    expected, found, gelu = (
        module.apply({"params": params}, *arguments, enable_dropout=False)
        for module in (
            own,
            ours.Transformer(ours.T5Config(**sizes)),
            ours.Transformer(
                ours.T5Config(**{**sizes, "mlp_activations": ("gelu", "linear")})
            ),
        )
    )
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.abs(found - gelu).max() > 1e-3
