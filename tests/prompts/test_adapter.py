"""Prompts that are written as adapters."""

import json
import os

import numpy as np
import pytest
import safetensors.numpy

from prompt_tuning_recycling import (
    Prompt,
    RecyclingError,
    load_prompt,
    open_model,
    save_adapter,
)
from prompt_tuning_recycling.prompts.prompt import load_record

from ..adapters import CONFIG, WEIGHTS, of_encoder, write_adapter

ENCODER_DECODER = "target/token_embedder/embedding"
DECODER = "target/decoder/token_embedder/embedding"
HUGGING_FACE = {
    "encoder": ("t5", "shared.weight"),
    "decoder": ("llama", "model.embed_tokens.weight"),
}
FILES = ["README.md", CONFIG, WEIGHTS, "prompt.json"]


@pytest.fixture
def target(tmp_path, source_table, write_orbax):
    """An encoder-decoder of T5X."""
    return write_orbax(tmp_path / "checkpoint_1", {ENCODER_DECODER: source_table})


def hugging_face_model(folder, site, table):
    model_type, name = HUGGING_FACE[site]
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    data = safetensors.numpy.save({name: table})
    (folder / "model.safetensors").write_bytes(data)
    return folder


def described(folder):
    return json.loads((folder / CONFIG).read_text())


def stored(folder):
    data = (folder / WEIGHTS).read_bytes()
    return safetensors.numpy.load(data)["prompt_embeddings"]


def test_an_encoders_prompt_is_stored_twice(tmp_path, prompt, target):
    save_adapter(Prompt(prompt), tmp_path / "a", target)
    both = stored(tmp_path / "a")
    np.testing.assert_array_equal(both, np.concatenate([prompt, prompt]))
    config = described(tmp_path / "a")
    assert config["task_type"] == "SEQ_2_SEQ_LM"
    assert config["num_transformer_submodules"] == 2
    assert (config["num_virtual_tokens"], config["token_dim"]) == prompt.shape


def test_a_decoders_prompt_is_stored_once(tmp_path, prompt, source_table, write_orbax):
    model = write_orbax(tmp_path / "checkpoint_1", {DECODER: source_table})
    save_adapter(Prompt(prompt), tmp_path / "a", model)
    np.testing.assert_array_equal(stored(tmp_path / "a"), prompt)
    config = described(tmp_path / "a")
    assert config["task_type"] == "CAUSAL_LM"
    assert config["num_transformer_submodules"] == 1


@pytest.mark.parametrize("site", HUGGING_FACE)
def test_it_names_a_model_that_transformers_loads(tmp_path, prompt, source_table, site):
    model = hugging_face_model(tmp_path / "model", site, source_table)
    save_adapter(Prompt(prompt), tmp_path / "a", os.path.relpath(model))
    assert described(tmp_path / "a")["base_model_name_or_path"] == str(model)
    found = open_model(tmp_path / "a")
    np.testing.assert_array_equal(load_prompt(found).array, prompt)
    assert load_prompt(found).site == site
    np.testing.assert_array_equal(found.base.embeddings.read(), source_table)
    card = (tmp_path / "a/README.md").read_text()
    assert f'\nbase_model: "{model}"\n' in card
    assert f'.from_pretrained("{model}")' in card


def test_it_names_no_other_model(tmp_path, prompt, target):
    save_adapter(Prompt(prompt), tmp_path / "a", target)
    assert described(tmp_path / "a")["base_model_name_or_path"] is None
    assert "base_model" not in (tmp_path / "a/README.md").read_text()


def test_read_again_it_is_the_same_prompt(tmp_path, prompt, target):
    save_adapter(Prompt(prompt), tmp_path / "a", target)
    np.testing.assert_array_equal(load_prompt(tmp_path / "a").array, prompt)


def test_its_record_is_in_the_folder(tmp_path, prompt, target):
    save_adapter(Prompt(prompt, record={"note": "▁über"}), tmp_path / "a", target)
    assert sorted(os.listdir(tmp_path / "a")) == sorted(FILES)
    assert load_record(tmp_path / "a")["note"] == "▁über"
    data = bytearray((tmp_path / "a" / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (tmp_path / "a" / WEIGHTS).write_bytes(data)
    with pytest.raises(RecyclingError, match="does not belong to"):
        load_record(tmp_path / "a")


def test_an_adapter_of_peft_has_no_record(tmp_path, prompt):
    folder = write_adapter(tmp_path / "a", of_encoder(prompt), len(prompt))
    with pytest.raises(RecyclingError, match="cannot read the record of"):
        load_record(folder)


def test_what_was_not_recycled_is_not_called_so(tmp_path, prompt, target):
    save_adapter(Prompt(prompt), tmp_path / "a", target)
    assert "recycl" not in (tmp_path / "a/README.md").read_text()


def test_a_table_does_not_tell_what_its_model_is(tmp_path, prompt, source_table):
    with pytest.raises(RecyclingError, match="not known whether.*Give the model's"):
        save_adapter(Prompt(prompt), tmp_path / "a", source_table)
    assert not (tmp_path / "a").exists()


def test_a_prompt_of_another_model(tmp_path, prompt, target):
    with pytest.raises(RecyclingError, match="width 11, but .* of width 12"):
        save_adapter(Prompt(prompt[:, :-1]), tmp_path / "a", target)
    assert not (tmp_path / "a").exists()


def test_its_own_adapters_are_replaced_and_nothing_else(tmp_path, prompt, target):
    save_adapter(Prompt(prompt), tmp_path / "a", target)
    save_adapter(Prompt(prompt + 1), tmp_path / "a", target)
    np.testing.assert_array_equal(load_prompt(tmp_path / "a").array, prompt + 1)
    (tmp_path / "a/notes.txt").write_text("mine")
    with pytest.raises(RecyclingError, match=r"holds notes\.txt, which would be lost"):
        save_adapter(Prompt(prompt), tmp_path / "a", target)
    np.testing.assert_array_equal(load_prompt(tmp_path / "a").array, prompt + 1)
    assert sorted(os.listdir(tmp_path)) == ["a", "checkpoint_1"]


def test_an_adapter_of_peft_is_not_replaced(tmp_path, prompt, target):
    folder = write_adapter(tmp_path / "a", of_encoder(prompt), len(prompt))
    with pytest.raises(RecyclingError, match=f"holds {WEIGHTS}, which would be lost"):
        save_adapter(Prompt(prompt + 1), folder, target)
    np.testing.assert_array_equal(load_prompt(folder).array, prompt)


def test_the_same_prompt_gives_the_same_bytes(tmp_path, prompt, target):
    for name in ("a", "b"):
        save_adapter(Prompt(prompt), tmp_path / name, target)
    for name in FILES:
        one, other = ((tmp_path / folder / name).read_bytes() for folder in "ab")
        assert one == other
