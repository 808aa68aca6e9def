"""Embedding tables and prompts of other names than T5X's usual ones."""

import dataclasses
import json

import gin
import numpy as np
import pytest

from prompt_tuning_recycling import (
    RecyclingError,
    initial_prompts,
    macros,
    recycle_prompt,
    run_recycle,
)
from prompt_tuning_recycling.gin_path import gin_path
from prompt_tuning_recycling.models import open_model
from prompt_tuning_recycling.words import Words

USUAL = "target/token_embedder/embedding"
OF_A_DECODER = "target/decoder/token_embedder/embedding"
ODD_TABLE = "target/encoder/embedder/table"
ODD_PROMPT = "target/encoder/soft/vectors"
LENGTH, TARGET_DIM = 5, 20


@pytest.fixture
def decoder(write_any, tmp_path, source_table, prompt):
    """A source that is a decoder alone."""
    arrays = {OF_A_DECODER: source_table, "target/decoder/prompt/prompt/prompt": prompt}
    return write_any(tmp_path / "decoder", arrays)


@pytest.fixture
def odd(write_orbax, tmp_path, source_table, prompt):
    arrays = {ODD_TABLE: source_table, ODD_PROMPT: prompt}
    return write_orbax(tmp_path / "odd", arrays)


@pytest.fixture
def recycled(files, odd):
    return initial_prompts.Recycled(
        source_checkpoint=odd,
        word_list=files["filtered_word"],
        num_words=200,
        word_offset=10,
        source_embedding_name=ODD_TABLE,
        prompt_name=ODD_PROMPT,
    )


def expected(files):
    """Of the same arrays under their usual names."""
    return initial_prompts.Recycled(
        source_checkpoint=files["source_model"],
        source_prompt=files["prompt_path"],
        word_list=files["filtered_word"],
        num_words=200,
        word_offset=10,
    ).make(open_model(files["target_model"]), LENGTH)


def test_a_decoder_alone_is_found(decoder, source_table, prompt):
    model = open_model(decoder)
    assert model.embeddings.name == OF_A_DECODER
    np.testing.assert_array_equal(model.embeddings.read(), source_table)
    assert list(model.prompts) == ["decoder"]
    np.testing.assert_array_equal(model.prompts["decoder"].read(), prompt)


def test_the_encoder_decoders_table_comes_first(write_orbax, tmp_path, source_table):
    arrays = {OF_A_DECODER: source_table[:5], USUAL: source_table}
    model = open_model(write_orbax(tmp_path / "both", arrays))
    assert model.embeddings.name == USUAL
    assert open_model(model.path, embedding_name=OF_A_DECODER).embeddings.shape[0] == 5


def test_a_missing_table_is_reported_by_its_usual_name(write_orbax, tmp_path):
    model = open_model(write_orbax(tmp_path / "x", {"target/other": np.ones(3)}))
    assert not model.has_embeddings
    with pytest.raises(RecyclingError, match=USUAL):
        _ = model.embeddings


def test_a_decoders_prompt_is_recycled(decoder, files):
    target = open_model(files["target_model"])
    kind = dataclasses.replace(
        initial_prompts.Recycled(source_checkpoint=decoder),
        word_list=files["filtered_word"],
        num_words=200,
        word_offset=10,
    )
    made = kind.make(target, LENGTH)
    np.testing.assert_array_equal(made.array, expected(files).array)
    assert made.site == "decoder"


def test_names_lead_to_the_same_prompt(recycled, files):
    made = recycled.make(open_model(files["target_model"]), LENGTH)
    np.testing.assert_array_equal(made.array, expected(files).array)
    assert made.record["declared"]["prompt_name"] == ODD_PROMPT
    assert made.record["source"]["name"] == ODD_TABLE
    assert made.record["prompt"]["name"] == ODD_PROMPT


def test_they_mean_what_run_recycles_flags_mean(
    recycled, files, odd, write_orbax, target_table, run, tmp_path
):
    target = write_orbax(tmp_path / "odd-target", {ODD_TABLE: target_table})
    flags = {
        **files,
        "source_model": str(odd),
        "target_model": str(target),
        "prompt_path": str(odd),
        "embedding_name": ODD_TABLE,
        "prompt_name": ODD_PROMPT,
    }
    assert run(run_recycle.main, flags) == 0
    named = dataclasses.replace(recycled, target_embedding_name=ODD_TABLE)
    written = np.load(files["output_path"])
    # The run's own model, and one that is named.
    for kind in (named, dataclasses.replace(named, target_checkpoint=target)):
        made = kind.make(open_model(target), LENGTH)
        np.testing.assert_array_equal(made.array, written)
    np.testing.assert_array_equal(written, expected(files).array)


def test_without_names_nothing_else_is_declared(files):
    kind = initial_prompts.Recycled(source_checkpoint=files["source_model"])
    assert not [name for name in kind.declared() if name.endswith("_name")]
    assert initial_prompts.FromFile("p.npy").declared().keys() == {"kind", "path"}


@pytest.mark.parametrize(
    "name", ["source_embedding_name", "target_embedding_name", "prompt_name"]
)
def test_names_are_declared(recycled, name):
    kind = dataclasses.replace(recycled, **{name: "some/name"})
    assert kind.declared()[name] == "some/name"
    assert json.dumps(kind.declared())


def test_wrong_names_are_reported(recycled, files):
    target = open_model(files["target_model"])
    for name in ("source_embedding_name", "prompt_name"):
        kind = dataclasses.replace(recycled, **{name: f"{ODD_TABLE}x"})
        with pytest.raises(RecyclingError, match=f"{ODD_TABLE}x"):
            kind.make(target, LENGTH)


def test_one_name_is_not_enough_for_several_prompts(recycled, files):
    target = open_model(files["target_model"])
    with pytest.raises(RecyclingError, match="PROMPT_NAME: the model has several"):
        recycled.make(target, LENGTH, "decoder")


def test_a_prompt_of_another_name_is_taken_as_it_is(
    odd, write_orbax, tmp_path, source_table, prompt
):
    """The target's table has another name, too."""
    kind = initial_prompts.FromFile(odd, prompt_name=ODD_PROMPT)
    for table in (ODD_TABLE, USUAL):
        target = open_model(
            write_orbax(tmp_path / table.replace("/", "."), {table: source_table})
        )
        np.testing.assert_array_equal(kind.make(target, LENGTH).array, prompt)
    assert kind.declared()["prompt_name"] == ODD_PROMPT


def test_the_public_function_takes_models_with_names(odd, files, target_table):
    made = recycle_prompt(
        open_model(odd, embedding_name=ODD_TABLE),
        target_table,
        words=Words.from_list(files["filtered_word"], 200, 10),
        prompt_name=ODD_PROMPT,
    )
    np.testing.assert_array_equal(made.array, expected(files).array)


@pytest.fixture
def declare():
    """Declares a prompt as gin files and flags do."""
    gin.clear_config()
    gin.add_config_file_search_path(gin_path())

    def declare(file, *lines):
        gin.parse_config([f"include '{file}'", *lines])
        return initial_prompts.initial_prompt()

    yield declare
    gin.clear_config()


def test_macros_give_the_names(declare):
    kind = declare(
        "recycle_init.gin",
        "INITIAL_CHECKPOINT_PATH = '/target'",
        "EMBEDDING_NAME = 'a'",
        "TARGET_EMBEDDING_NAME = 'b'",
        "PROMPT_NAME = 'c'",
    )
    names = kind.source_embedding_name, kind.target_embedding_name, kind.prompt_name
    assert names == ("a", "b", "c")


def test_a_macro_gives_the_name_of_an_unchanged_prompt(declare):
    kind = declare(
        "prompts/from_file.gin", "PROMPT_FILE = '/p'", "PROMPT_NAME = 'encoder'"
    )
    assert (kind.path, kind.prompt_name) == ("/p", "encoder")


@pytest.mark.parametrize("name", ["EMBEDDING_NAME", "PROMPT_NAME"])
def test_names_that_nothing_uses_are_reported(name):
    gin.clear_config()
    gin.parse_config(f"{name} = 'encoder'")
    with pytest.raises(RecyclingError, match="Add --gin_file=recycle_init.gin"):
        gin.finalize()
    gin.clear_config()
    assert macros.MACROS[name].allows("encoder")
    assert not macros.MACROS[name].allows(3)
