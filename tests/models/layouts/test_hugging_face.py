"""Which tensor is the embedding table, by `model_type` (layouts/hugging_face)."""

import json

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from prompt_tuning_recycling import RecyclingError, open_model, run_recycle

ROWS, WIDTH = 40, 24


@pytest.fixture
def table(rng):
    return rng.normal(size=(ROWS, WIDTH)).astype(np.float32)


@pytest.fixture
def save(tmp_path):
    """Writes a model's folder; a None as configuration leaves it out."""

    def save(config, tensors, name="model"):
        folder = tmp_path / name
        folder.mkdir()
        safetensors.numpy.save_file(tensors, folder / "model.safetensors")
        if config is not None:
            (folder / "config.json").write_text(json.dumps(config))
        return folder

    return save


OTHERS = {
    "model.layers.0.mlp.up_proj.weight": np.zeros((50, WIDTH), np.float32),
    "model.norm.weight": np.ones(WIDTH, np.float32),
}
LLAMA = "model.embed_tokens.weight"
IN_A_MODEL = "model.language_model.embed_tokens.weight"
BEFORE_5 = "language_model.model.embed_tokens.weight"


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ("llama", LLAMA),
        ("mistral", LLAMA),
        ("mixtral", LLAMA),
        ("qwen2", LLAMA),
        ("qwen2_vl", LLAMA),
        ("qwen3", LLAMA),
        ("gpt2", "transformer.wte.weight"),
        ("gpt2", "wte.weight"),
        ("gpt_neox", "gpt_neox.embed_in.weight"),
        ("opt", "model.decoder.embed_tokens.weight"),
        ("opt", "decoder.embed_tokens.weight"),
        ("t5", "shared.weight"),
        ("mt5", "shared.weight"),
        ("umt5", "shared.weight"),
        ("t5", "encoder.embed_tokens.weight"),
        ("t5", "decoder.embed_tokens.weight"),
        ({"model_type": "llava", "text_config": {"model_type": "llama"}}, BEFORE_5),
        ({"model_type": "llava", "text_config": {"model_type": "mistral"}}, IN_A_MODEL),
        (
            {"model_type": "qwen3_vl", "text_config": {"model_type": "qwen3_vl_text"}},
            IN_A_MODEL,
        ),
        (
            {"model_type": "instructblip", "text_config": {"model_type": "t5"}},
            "language_model.shared.weight",
        ),
    ],
)
def test_tables_that_are_used_as_they_are(save, table, config, name):
    config = {"model_type": config} if isinstance(config, str) else config
    model = open_model(save(config, {**OTHERS, name: table}))
    assert model.embeddings.name == name
    assert model.embeddings.scale == 1
    np.testing.assert_array_equal(model.embeddings.take([7, 2]), table[[7, 2]])


GEMMA = [
    ({"model_type": "gemma"}, LLAMA),
    ({"model_type": "gemma2"}, LLAMA),
    ({"model_type": "gemma3_text"}, LLAMA),
    ({"model_type": "gemma3", "text_config": {"model_type": "gemma3_text"}}, BEFORE_5),
    (
        {"model_type": "gemma3", "text_config": {"model_type": "gemma3_text"}},
        IN_A_MODEL,
    ),
    ({"model_type": "gemma3", "text_config": {"hidden_size": 24}}, IN_A_MODEL),
    ({"model_type": "paligemma", "text_config": {"model_type": "gemma2"}}, BEFORE_5),
]


@pytest.mark.parametrize(("config", "name"), GEMMA)
def test_gemma_multiplies_by_the_square_root_of_its_width(save, table, config, name):
    vision = {"model.vision_tower.patch_embed.weight": np.ones((3, 3), np.float32)}
    model = open_model(save(config, {**OTHERS, **vision, name: table}))
    rows = model.embeddings.take([7, 2])
    np.testing.assert_allclose(rows, table[[7, 2]] * 24**0.5, rtol=1e-6)
    assert model.embeddings.origin(rows)["scale"] == pytest.approx(24**0.5)


def test_the_factor_is_rounded_as_gemma_rounds_it(save, table):
    table = table.astype(ml_dtypes.bfloat16)
    model = open_model(save({"model_type": "gemma2"}, {LLAMA: table}))
    rows = model.embeddings.take([7, 2])
    # The square root of 24 is 4.899; bfloat16 has 4.90625 beside it, and 4.875.
    factor = ml_dtypes.bfloat16(4.90625)
    assert rows.dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(rows, table[[7, 2]] * factor)


def test_a_table_that_is_named_is_multiplied_all_the_same(save, table):
    folder = save({"model_type": "gemma"}, {"odd": table})
    model = open_model(folder, embedding_name="odd")
    np.testing.assert_allclose(model.embeddings.take([3]), table[[3]] * 24**0.5, 1e-6)


def test_t5_is_known_by_its_names_alone(save, table):
    bias = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    tensors = {"shared.weight": table, bias: np.zeros((32, 4), np.float32)}
    model = open_model(save(None, tensors))
    assert model.embeddings.name == "shared.weight"
    assert model.network_sizes is None


@pytest.mark.parametrize("of_file", [True, False])
def test_the_configuration_lies_beside_a_file_too(save, table, of_file):
    folder = save({"model_type": "gemma"}, {LLAMA: table})
    model = open_model(folder / "model.safetensors" if of_file else folder)
    assert model.embeddings.scale == pytest.approx(24**0.5)


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"model_type": "bart"}, "config.json has the model_type 'bart'"),
        ({"model_type": ["llama"]}, r"the model_type \['llama'\]"),
        (None, "there is no config.json with a model_type"),
        ({}, "there is no config.json with a model_type"),
        ({"model_type": "llama"}, "model_type 'llama' expects embed_tokens.weight"),
        ({"model_type": "t5"}, "a T5 model expects shared.weight or"),
    ],
)
def test_an_unknown_table_says_what_was_found_and_what_to_do(save, table, config, why):
    folder = save(config, {**OTHERS, "model.embed.weight": table})
    model = open_model(folder)
    with pytest.raises(RecyclingError, match=why) as raised:
        _ = model.embeddings
    text = str(raised.value)
    found = "model.layers.0.mlp.up_proj.weight [50, 24], model.embed.weight [40, 24]"
    assert found in text
    assert "--source_embedding_name or --target_embedding_name" in text
    assert "SOURCE_EMBEDDING_NAME" in text
    assert not model.has_embeddings
    named = open_model(folder, embedding_name="model.embed.weight")
    np.testing.assert_array_equal(named.embeddings.take([9]), table[[9]])


def test_two_tables(save, table):
    names = ["talker.model.embed_tokens.weight", "thinker.model.embed_tokens.weight"]
    model = open_model(save({"model_type": "qwen2"}, dict.fromkeys(names, table)))
    with pytest.raises(RecyclingError, match="has 2 tables.*talker.*thinker.*Name the"):
        _ = model.embeddings


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "the configuration .*config.json is not JSON"),
        ("[1]", "config.json is not a model's configuration"),
        ("\xff", "model_type"),
    ],
)
def test_a_damaged_configuration(save, table, text, message):
    folder = save({}, {LLAMA: table})
    (folder / "config.json").write_bytes(text.encode("latin-1"))
    if text == "\xff":
        message = "expected UTF-8"
    with pytest.raises(RecyclingError, match=message):
        open_model(folder)


def test_each_side_names_its_table(save, rng, run, word_list, tmp_path):
    """A flag for one side does not change the other."""
    table = rng.normal(size=(384, 6)).astype(np.float32)
    source = save({"model_type": "odd"}, {"one": table}, "source")
    image = (table @ rng.normal(size=(6, 9))).astype(np.float32)
    target = save({"model_type": "llama"}, {LLAMA: image, "two": -image}, "target")
    np.save(tmp_path / "prompt.npy", table[:4])
    flags = {
        "source_model": str(source),
        "target_model": str(target),
        "prompt_path": str(tmp_path / "prompt.npy"),
        "output_path": str(tmp_path / "recycled.npy"),
        "filtered_word": str(word_list),
        "num_words": "200",
        "word_offset": "10",
        "recycler": "v2v-lin",
    }
    assert run(run_recycle.main, flags) != 0
    named = {**flags, "source_embedding_name": "one"}
    assert run(run_recycle.main, named) == 0
    np.testing.assert_allclose(np.load(flags["output_path"]), image[:4], atol=1e-4)
    assert run(run_recycle.main, {**named, "target_embedding_name": "two"}) == 0
    np.testing.assert_allclose(np.load(flags["output_path"]), -image[:4], atol=1e-4)


def test_models_that_transformers_wrote(shared_data):
    """Every table of the shared files, read by rows."""
    scales = {"gemma3_target": 24**0.5}
    names = {
        "gemma3_target": LLAMA,
        "llama_source": LLAMA,
        "gpt2_target": "transformer.wte.weight",
        "t5_v1_0_tied": "shared.weight",
        "t5_v1_1_bfloat16": "shared.weight",
        "t5_v1_1_source": "shared.weight",
        "t5_v1_1_target_sharded": "shared.weight",
    }
    for folder, name in names.items():
        model = open_model(shared_data / "hf_written" / folder)
        assert model.embeddings.name == name
        rows = model.embeddings.take([999, 3, 4])
        stored = next(
            tensors[name]
            for file in sorted(model.path.glob("*.safetensors"))
            if name in (tensors := safetensors.numpy.load_file(file))
        )
        assert rows.dtype == stored.dtype
        expected = stored[[999, 3, 4]].astype(np.float32) * scales.get(folder, 1)
        np.testing.assert_allclose(rows.astype(np.float32), expected, rtol=1e-6)
