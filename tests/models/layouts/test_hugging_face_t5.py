"""Whole T5 models that transformers wrote, in this package's network."""

import json

import flax.traverse_util
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from prompt_tuning_recycling import RecyclingError, network, open_model
from prompt_tuning_recycling.standalone import parameters

from ...conftest import thorough

PROMPT = "encoder/prompt/prompt/prompt"
CONFIG = {
    "model_type": "t5",
    "vocab_size": 40,
    "d_model": 12,
    "d_kv": 5,
    "d_ff": 20,
    "num_layers": 2,
    "num_decoder_layers": 1,
    "num_heads": 3,
    "feed_forward_proj": "gated-gelu",
    "tie_word_embeddings": False,
}


def network_of(model, **options):
    return network.Transformer(network.T5Config(**{**model.network_sizes, **options}))


def loaded(model):
    return {name: array.read() for name, array in model.parameters.items()}


def logits(module, params, inputs, shifted):
    nested = flax.traverse_util.unflatten_dict(params, sep="/")
    return module.apply(
        {"params": nested}, inputs, shifted, np.ones_like(shifted), enable_dropout=False
    )


@pytest.fixture
def written(shared_data):
    return shared_data / "hf_written"


@pytest.fixture
def expected(written):
    return lambda name: np.load(written / "expected" / f"{name}.npy")


@pytest.mark.parametrize(
    "name",
    [thorough("t5_v1_0_tied"), thorough("t5_v1_1_source"), "t5_v1_1_target_sharded"],
)
def test_logits_are_those_of_transformers(written, expected, name):
    model = open_model(written / name)
    module = network_of(model)
    parameters.check_shapes(
        parameters.shapes(module),
        {key: array.shape for key, array in model.parameters.items()},
        name,
    )
    inputs = expected("encoder_input_tokens"), expected("decoder_input_tokens")
    found = logits(module, loaded(model), *inputs)
    np.testing.assert_allclose(found, expected(f"{name}-logits"), atol=1e-4)


def test_logits_with_a_prompt_are_those_of_peft(written, expected):
    adapter = written / "peft_t5_prompt_tuning/adapter_model.safetensors"
    # PEFT saves a prompt for the encoder and one for the decoder, and uses the first.
    prompt = safetensors.numpy.load_file(adapter)["prompt_embeddings"][:6]
    model = open_model(written / "t5_v1_1_source")
    module = network_of(model, prompt_length=6)
    inputs = expected("encoder_input_tokens"), expected("decoder_input_tokens")
    found = logits(module, {**loaded(model), PROMPT: prompt}, *inputs)
    wanted = expected("peft_t5_prompt_tuning-logits")
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_a_model_in_bfloat16_is_read_as_such(written):
    model = open_model(written / "t5_v1_1_bfloat16")
    shapes = parameters.shapes(network_of(model))
    assert {key: array.shape for key, array in model.parameters.items()} == shapes
    assert {array.dtype for array in loaded(model).values()} == {
        np.dtype(ml_dtypes.bfloat16)
    }


@pytest.fixture
def tensors(rng):
    """A whole model, by the names that transformers gives them."""

    def linear(outputs, inputs):
        return rng.normal(size=(outputs, inputs)).astype(np.float32)

    made = {"shared.weight": linear(40, 12), "lm_head.weight": linear(40, 12)}
    for stack, blocks, names in (
        ("encoder", 2, ["SelfAttention", "DenseReluDense"]),
        ("decoder", 1, ["SelfAttention", "EncDecAttention", "DenseReluDense"]),
    ):
        made[f"{stack}.final_layer_norm.weight"] = linear(1, 12)[0]
        for block in range(blocks):
            for number, name in enumerate(names):
                layer = f"{stack}.block.{block}.layer.{number}"
                made[f"{layer}.layer_norm.weight"] = linear(1, 12)[0]
                shapes = {"q": (15, 12), "k": (15, 12), "v": (15, 12), "o": (12, 15)}
                if name == "DenseReluDense":
                    shapes = {"wi_0": (20, 12), "wi_1": (20, 12), "wo": (12, 20)}
                for part, shape in shapes.items():
                    made[f"{layer}.{name}.{part}.weight"] = linear(*shape)
        bias = f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        made[bias] = linear(32, 3)
    return made


@pytest.fixture
def save(tmp_path, tensors):
    def save(config=CONFIG, without=(), **more):
        kept = {n: a for n, a in {**tensors, **more}.items() if n not in without}
        safetensors.numpy.save_file(kept, tmp_path / "model.safetensors")
        (tmp_path / "config.json").write_text(json.dumps(config))
        return open_model(tmp_path)

    return save


def test_parameters_are_the_networks(save, tensors):
    model = save()
    shapes = parameters.shapes(network_of(model))
    assert {key: array.shape for key, array in model.parameters.items()} == shapes
    query = model.parameters["decoder/layers_0/self_attention/query/kernel"]
    stored = tensors["decoder.block.0.layer.0.SelfAttention.q.weight"]
    np.testing.assert_array_equal(query.read(), stored.T)
    np.testing.assert_array_equal(query.take([3, 1]), stored.T[[3, 1]])


def test_sizes(save):
    assert save().network_sizes == {
        "vocab_size": 40,
        "emb_dim": 12,
        "num_heads": 3,
        "num_encoder_layers": 2,
        "num_decoder_layers": 1,
        "head_dim": 5,
        "mlp_dim": 20,
        "mlp_activations": ("gelu", "linear"),
        "logits_via_embedding": False,
    }


def without(*keys):
    return {key: value for key, value in CONFIG.items() if key not in keys}


@pytest.mark.parametrize(
    ("config", "attribute", "value"),
    [
        (without("num_decoder_layers"), "num_decoder_layers", 2),
        (without("feed_forward_proj"), "mlp_activations", ("relu",)),
        (
            {**without("feed_forward_proj"), "model_type": "mt5"},
            "mlp_activations",
            ("gelu", "linear"),
        ),
        (
            {**CONFIG, "feed_forward_proj": "gated-silu"},
            "mlp_activations",
            ("silu", "linear"),
        ),
    ],
)
def test_what_older_configurations_leave_out(save, config, attribute, value):
    assert save(config).network_sizes[attribute] == value


@pytest.mark.parametrize(
    ("changes", "stored", "divides"),
    [
        # FLAN and T5 1.1, as transformers 4 and 5 save them.
        ({"tie_word_embeddings": False}, True, False),
        ({"tie_word_embeddings": True, "scale_decoder_outputs": False}, True, False),
        ({"tie_word_embeddings": True, "scale_decoder_outputs": False}, False, False),
        # T5 1.0, whose configurations did not say it at first.
        ({"tie_word_embeddings": True}, False, True),
        ({"tie_word_embeddings": None}, False, True),
        ({"tie_word_embeddings": True, "scale_decoder_outputs": True}, False, True),
        # The same with a copy of the table.
        ({"tie_word_embeddings": True}, True, True),
        ({"model_type": "mt5", "tie_word_embeddings": False}, True, False),
        ({"model_type": "mt5", "tie_word_embeddings": True}, False, False),
    ],
)
def test_the_output_layer(save, tensors, changes, stored, divides):
    left_out = () if stored else ("lm_head.weight",)
    model = save({**CONFIG, **changes}, left_out)
    matrix = tensors["lm_head.weight" if stored else "shared.weight"].T
    if divides:
        matrix = matrix * 12**-0.5
    module = network_of(model)
    assert module.config.logits_via_embedding == (divides and not stored)
    params = loaded(model)
    assert parameters.shapes(module).keys() == params.keys()
    rng = np.random.default_rng(3)
    shifted = rng.integers(2, 40, (2, 4))
    found = logits(module, params, shifted, shifted)
    plain = network_of(model, logits_via_embedding=False)
    wanted = logits(
        plain, {**params, "decoder/logits_dense/kernel": matrix}, shifted, shifted
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_copies_of_the_table_are_one(save, tensors):
    table = tensors["shared.weight"]
    copies = {f"{stack}.embed_tokens.weight": table for stack in ("encoder", "decoder")}
    unused = (
        "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight",
        np.zeros((32, 3), np.float32),
    )
    model = save(**copies, **dict([unused]))
    assert parameters.shapes(network_of(model)).keys() == model.parameters.keys()


def test_a_tensor_that_the_network_lacks_keeps_its_name(save):
    name = "encoder.block.1.layer.0.SelfAttention.relative_attention_bias.weight"
    model = save(**{name: np.zeros((32, 3), np.float32)})
    assert set(model.parameters) - parameters.shapes(network_of(model)).keys() == {
        "encoder.block.1.layer.0.SelfAttention.relative_attention_bias.weight"
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"d_model": None}, "says d_model = None. Expected a whole number"),
        ({"num_heads": "3"}, "says num_heads = '3'"),
        ({"num_layers": 0}, "says num_layers = 0"),
        ({"num_decoder_layers": True}, "says num_decoder_layers = True"),
        ({"feed_forward_proj": "gelu"}, "feed_forward_proj = 'gelu'. Expected one of"),
        ({"feed_forward_proj": ["relu"]}, "feed_forward_proj = "),
        ({"relative_attention_num_buckets": 64}, "num_buckets = 64, but .* has 32"),
        ({"layer_norm_epsilon": 1e-5}, "layer_norm_epsilon = 1e-05, but .* 1e-06"),
        ({"model_type": "umt5"}, "position biases in every layer"),
    ],
)
def test_models_that_the_network_cannot_be(save, changes, message):
    model = save({**CONFIG, **changes})
    assert model.embeddings.shape == (40, 12)
    with pytest.raises(RecyclingError, match=message):
        _ = model.network_sizes
