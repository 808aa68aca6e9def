"""Adapters that PEFT wrote: which of their numbers are the prompt, and what is none."""

import shutil

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from prompt_tuning_recycling import RecyclingError, load_prompt, open_model
from prompt_tuning_recycling.models import read_places

from ...adapters import CONFIG, WEIGHTS, of_encoder, of_tasks, write_adapter

MULTITASK = {"peft_type": "MULTITASK_PROMPT_TUNING", "num_tasks": 3, "num_ranks": 2}


def stored(folder):
    return safetensors.numpy.load((folder / WEIGHTS).read_bytes())


@pytest.mark.parametrize("kind", ["prompt_tuning", "p_tuning"])
def test_the_first_half_is_the_encoders(shared_data, kind):
    folder = shared_data / f"hf_written/peft_t5_{kind}"
    prompt = load_prompt(folder)
    both = stored(folder)["prompt_embeddings"]
    assert both.shape == (12, 16)
    np.testing.assert_array_equal(prompt.array, both[:6])
    assert prompt.site == "encoder"
    part = prompt.record["part"]
    assert (part["rows"], part["stored_rows"]) == (6, 12)
    assert "before the encoder's inputs" in part["note"]
    assert prompt.record["shape"] == [6, 16]


def test_a_decoders_prompt_is_all_that_is_stored(shared_data):
    folder = shared_data / "hf_written/peft_llama_prompt_tuning"
    prompt = load_prompt(folder)
    np.testing.assert_array_equal(prompt.array, stored(folder)["prompt_embeddings"])
    assert prompt.site == "decoder"
    assert "part" not in prompt.record


@pytest.mark.parametrize("task", [0, 1, 2])
def test_a_tasks_prompt_is_the_shared_one_times_its_factors(shared_data, task):
    folder = shared_data / "hf_written/peft_t5_multitask"
    prompt = load_prompt(open_model(folder, task=task))
    arrays = stored(folder)
    factors = arrays["prefix_task_cols"][task] @ arrays["prefix_task_rows"][task]
    expected = (arrays["prompt_embeddings"] * factors)[:6]
    np.testing.assert_allclose(prompt.array, expected, rtol=1e-5, atol=1e-6)
    assert prompt.record["part"]["task"] == task
    assert "before the decoder's" in prompt.record["part"]["note"]


def test_a_task_of_a_decoder(tmp_path, rng):
    arrays = of_tasks(rng, 5, 4)
    decoder = {"task_type": "CAUSAL_LM", "num_transformer_submodules": None}
    folder = write_adapter(tmp_path / "a", arrays, 5, **MULTITASK, **decoder)
    prompt = load_prompt(open_model(folder, task=2))
    factors = arrays["prefix_task_cols"][2] @ arrays["prefix_task_rows"][2]
    np.testing.assert_allclose(
        prompt.array, arrays["prompt_embeddings"] * factors, rtol=1e-5, atol=1e-6
    )
    assert prompt.record["part"] == {"rows": 5, "stored_rows": 5, "task": 2}


def test_an_opened_model_takes_a_task_too(tmp_path, rng):
    folder = write_adapter(tmp_path / "a", of_tasks(rng, 10, 4), 5, **MULTITASK)
    one, other = (
        load_prompt(open_model(open_model(folder), task=task)).array for task in (0, 1)
    )
    assert not np.allclose(one, other)
    again = open_model(open_model(folder, task=1))
    np.testing.assert_array_equal(load_prompt(again).array, other)


def test_a_task_has_to_be_given(tmp_path, rng):
    folder = write_adapter(tmp_path / "a", of_tasks(rng, 10, 4), 5, **MULTITASK)
    for name in (None, "prompt_embeddings"):
        with pytest.raises(RecyclingError, match="3 tasks.*--task=0 to --task=2.*gin"):
            load_prompt(folder, name)


@pytest.mark.parametrize("task", [-1, 3])
def test_a_task_that_there_is_not(tmp_path, rng, task):
    folder = write_adapter(tmp_path / "a", of_tasks(rng, 10, 4), 5, **MULTITASK)
    with pytest.raises(RecyclingError, match=f"tasks 0 to 2, but task {task} was"):
        open_model(folder, task=task)


def test_a_task_where_there_are_none(tmp_path, prompt, write_orbax, source_table):
    np.save(tmp_path / "prompt.npy", prompt)
    places = [
        tmp_path / "prompt.npy",
        write_adapter(tmp_path / "a", of_encoder(prompt), len(prompt)),
        write_orbax(
            tmp_path / "checkpoint_1",
            {"target/token_embedder/embedding": source_table},
        ),
    ]
    for place in places:
        with pytest.raises(RecyclingError, match="no prompts of several tasks.*Leave"):
            open_model(place, task=0)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32])
def test_numbers_are_read_as_they_are_stored(tmp_path, prompt, dtype):
    narrow = prompt.astype(dtype)
    folder = write_adapter(tmp_path / "a", of_encoder(narrow), len(prompt))
    found = load_prompt(folder)
    assert found.array.dtype == dtype
    np.testing.assert_array_equal(found.array, narrow)


def test_one_half_is_stored_where_the_description_says_so(tmp_path, prompt):
    folder = write_adapter(
        tmp_path / "a",
        {"prompt_embeddings": prompt},
        len(prompt),
        num_transformer_submodules=1,
    )
    found = load_prompt(folder)
    np.testing.assert_array_equal(found.array, prompt)
    assert "part" not in found.record


@pytest.mark.parametrize("key", ["token_dim", "num_transformer_submodules"])
def test_what_peft_takes_from_the_model_may_be_left_out(tmp_path, prompt, key):
    left_out = {key: None}
    folder = write_adapter(tmp_path / "a", of_encoder(prompt), len(prompt), **left_out)
    np.testing.assert_array_equal(load_prompt(folder).array, prompt)


def test_the_file_stands_for_its_folder(tmp_path, prompt):
    folder = write_adapter(tmp_path / "a", of_encoder(prompt), len(prompt))
    np.testing.assert_array_equal(load_prompt(folder / WEIGHTS).array, prompt)


def test_by_its_site_or_its_name(tmp_path, prompt):
    folder = write_adapter(tmp_path / "a", of_encoder(prompt), len(prompt))
    for name in ("encoder", "prompt_embeddings"):
        np.testing.assert_array_equal(load_prompt(folder, name).array, prompt)


def test_its_fingerprint_tells_every_change(tmp_path, rng):
    arrays = of_tasks(rng, 10, 4)
    first = write_adapter(tmp_path / "a", arrays, 5, **MULTITASK)

    def fingerprint(folder):
        return load_prompt(open_model(folder, task=1)).record["fingerprint"]

    same = shutil.copytree(first, tmp_path / "b")
    assert fingerprint(same) == fingerprint(first)
    for number, name in enumerate(arrays):
        other = {**arrays, name: arrays[name] + 1}
        folder = write_adapter(tmp_path / f"c{number}", other, 5, **MULTITASK)
        assert fingerprint(folder) != fingerprint(first)
    config = (first / CONFIG).read_text()
    (same / CONFIG).write_text(config.replace('"token_dim"', '"of": 1, "token_dim"'))
    assert fingerprint(same) != fingerprint(first)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("lora", "LORA, and it changes"),
        ("prefix_tuning", "PREFIX_TUNING, and it holds"),
    ],
)
def test_other_adapters_that_peft_wrote(shared_data, name, reason):
    with pytest.raises(RecyclingError, match=f"peft_type is {reason}"):
        open_model(shared_data / f"hf_written/peft_t5_{name}")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"peft_type": "IA3"}, "peft_type is IA3, and it changes the model's weights"),
        ({"peft_type": "ADALORA"}, "ADALORA, and it changes the model's weights"),
        ({"peft_type": "CARTRIDGE"}, "CARTRIDGE, and it holds keys and values"),
        ({"peft_type": "PREFIX_TUNING"}, "PREFIX_TUNING, and it holds keys and values"),
        ({"peft_type": "CPT"}, "CPT, and its vectors are corrections"),
        ({"peft_type": "NEXT_YEARS"}, "NEXT_YEARS, and this kind .* is not known"),
        ({"peft_type": None}, "peft_type is missing"),
        ({"peft_type": ["LORA"]}, r"peft_type is \['LORA'\]"),
        ({"task_type": "SEQ_CLS"}, "task_type is SEQ_CLS. Expected SEQ_2_SEQ_LM or C"),
        ({"task_type": None}, "task_type is missing"),
        ({"modules_to_save": ["score"]}, r"modules_to_save is \['score'\]"),
        ({"num_virtual_tokens": 4}, r"has the shape \[8, 12\], but it has \[10, 12\]"),
        ({"num_virtual_tokens": None}, "num_virtual_tokens .* found missing"),
        ({"num_virtual_tokens": "5"}, "num_virtual_tokens .* above 0, found 5"),
        ({"num_virtual_tokens": True}, "num_virtual_tokens .* above 0, found True"),
        ({"token_dim": 13}, r"has the shape \[10, 13\], but it has \[10, 12\]"),
        ({"token_dim": 0}, "token_dim .* above 0, found 0"),
        ({"num_transformer_submodules": 1}, r"has the shape \[5, 12\]"),
        ({"num_transformer_submodules": 3}, "num_transformer_submodules .* 1 or 2"),
        (
            {"task_type": "CAUSAL_LM"},
            "num_transformer_submodules .* to be 1 for CAUSAL_LM, found 2",
        ),
        (MULTITASK, "expected the tensor prefix_task_cols .*MULTITASK_PROMPT_TUNING"),
    ],
)
def test_descriptions_that_are_refused(tmp_path, prompt, change, message):
    folder = write_adapter(tmp_path / "a", of_encoder(prompt), len(prompt), **change)
    with pytest.raises(RecyclingError, match=message) as error:
        open_model(folder)
    assert str(folder) in str(error.value)
    assert "\n" not in str(error.value)


def test_factors_of_other_sizes(tmp_path, rng):
    arrays = of_tasks(rng, 10, 4)
    for number, change in enumerate(({"num_tasks": 4}, {"num_ranks": 3})):
        config = {**MULTITASK, **change}
        folder = write_adapter(tmp_path / str(number), arrays, 5, **config)
        with pytest.raises(RecyclingError, match="prefix_task_cols has the shape"):
            open_model(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "lacks adapter_config.json"),
        ("", "is not JSON"),
        ('{"peft_type": "PROMPT_TUNING"', "is not JSON"),
        ("[]", "expected a JSON object, found list"),
        ('{"peft_type": "LORA", "peft_type": "P_TUNING"}', "the key 'peft_type' twice"),
    ],
)
def test_a_description_that_cannot_be_read(tmp_path, prompt, content, message):
    folder = write_adapter(tmp_path / "a", of_encoder(prompt), len(prompt))
    (folder / CONFIG).unlink()
    if content is not None:
        (folder / CONFIG).write_text(content)
    with pytest.raises(RecyclingError, match=message):
        open_model(folder)


def test_tensors_that_are_no_prompt(tmp_path, prompt):
    folder = write_adapter(tmp_path / "a", {"lora_A": prompt}, len(prompt))
    with pytest.raises(RecyclingError, match="expected the tensor prompt_embeddings"):
        open_model(folder)
    folder = write_adapter(
        tmp_path / "b", {"prompt_embeddings": prompt[0]}, len(prompt), token_dim=None
    )
    with pytest.raises(RecyclingError, match=r"but it has \[12\]"):
        open_model(folder)


def test_an_adapter_without_safetensors(tmp_path, prompt):
    folder = write_adapter(tmp_path / "a", of_encoder(prompt), len(prompt))
    (folder / WEIGHTS).unlink()
    with pytest.raises(RecyclingError, match=f"{WEIGHTS}, which is missing. Copy"):
        open_model(folder)
    (folder / "adapter_model.bin").write_bytes(b"PK\x03\x04")
    with pytest.raises(RecyclingError, match="adapter_model.bin is not read. Save"):
        open_model(folder)


def test_a_file_that_is_cut_short(tmp_path, prompt):
    folder = write_adapter(tmp_path / "a", of_encoder(prompt), len(prompt))
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[:-1])
    with pytest.raises(RecyclingError, match="is not a safetensors file, or is damag"):
        open_model(folder)


def test_numbers_that_are_not_finite(tmp_path, prompt):
    prompt[2, 3] = np.nan
    folder = write_adapter(tmp_path / "a", of_encoder(prompt), len(prompt))
    with pytest.raises(RecyclingError, match="not finite, first in row 2"):
        load_prompt(folder)


def test_it_has_no_embeddings(tmp_path, prompt):
    folder = write_adapter(tmp_path / "a", of_encoder(prompt), len(prompt))
    model = open_model(folder)
    assert not model.has_embeddings
    with pytest.raises(RecyclingError, match="is an adapter.*no embedding table"):
        _ = model.embeddings


def test_its_model_is_followed_where_it_is_a_folder(
    tmp_path, prompt, source_table, write_orbax, monkeypatch
):
    write_orbax(
        tmp_path / "model/checkpoint_1",
        {"target/token_embedder/embedding": source_table},
    )
    monkeypatch.chdir(tmp_path)
    for number, base in enumerate((str(tmp_path / "model"), "model")):
        folder = write_adapter(
            tmp_path / f"a{number}",
            of_encoder(prompt),
            len(prompt),
            base_model_name_or_path=base,
        )
        table = open_model(folder).base.embeddings
        np.testing.assert_array_equal(table.read(), source_table)
        assert [place.name for place in read_places(folder)] == [folder.name, "model"]


@pytest.mark.parametrize(
    ("base", "named"),
    [
        (None, "names no model"),
        ("google/flan-t5-base", "names the model 'google/flan-t5-base'"),
        ("hf://models/t5", "names the model 'hf://models/t5'"),
        ("", "names no model"),
    ],
)
def test_a_model_that_is_no_folder_is_not_fetched(tmp_path, prompt, base, named):
    folder = write_adapter(
        tmp_path / "a", of_encoder(prompt), len(prompt), base_model_name_or_path=base
    )
    model = open_model(folder)
    np.testing.assert_array_equal(load_prompt(model).array, prompt)
    with pytest.raises(RecyclingError, match=f"{named}.*downloaded.*SOURCE_CHECKPOINT"):
        _ = model.base
    assert read_places(folder) == [folder]


def test_a_model_is_its_own_base(source_table):
    model = open_model(source_table)
    assert model.base is model
