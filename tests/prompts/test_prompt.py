import json

import ml_dtypes
import numpy as np
import pytest

from prompt_tuning_recycling import Prompt, RecyclingError, load_prompt
from prompt_tuning_recycling.models import open_model
from prompt_tuning_recycling.prompts import prompt as prompt_files

PROMPT = "target/encoder/prompt/prompt/prompt"


def test_out_of_a_checkpoint_of_any_format(tmp_path, write_any, prompt):
    write_any(tmp_path / "checkpoint_3", {PROMPT: prompt, "state/step": np.int32(3)})
    for source in (tmp_path, tmp_path / "checkpoint_3", open_model(tmp_path)):
        np.testing.assert_array_equal(load_prompt(source).array, prompt)


def test_the_only_parameter_called_prompt(tmp_path, write_orbax, prompt):
    name = "target/decoder/my_prompt/prompt"
    optimizer = "state/param_states/decoder/my_prompt/prompt"
    step = write_orbax(tmp_path / "checkpoint_3", {name: prompt, optimizer: prompt * 0})
    np.testing.assert_array_equal(load_prompt(step).array, prompt)


def test_several_prompts_must_be_told_apart(tmp_path, write_orbax, prompt):
    names = ["target/decoder/a/prompt", "target/decoder/b/prompt"]
    step = write_orbax(
        tmp_path / "checkpoint_3", {n: prompt + i for i, n in enumerate(names)}
    )
    with pytest.raises(RecyclingError, match="several prompts: .*/a/prompt.*/b/prompt"):
        load_prompt(step)
    np.testing.assert_array_equal(load_prompt(step, names[1]).array, prompt + 1)


def test_a_model_without_a_prompt(tmp_path, write_any, source_table):
    name = "target/token_embedder/embedding"
    step = write_any(tmp_path / "checkpoint_3", {name: source_table})
    with pytest.raises(RecyclingError, match="holds no prompt.*before prompt tuning"):
        load_prompt(step)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(5, np.float32), r"matrix \[length, width\], found shape \[5\]"),
        (np.zeros((1, 5, 3), np.float32), r"found shape \[1, 5, 3\]"),
        (np.zeros((0, 3), np.float32), r"found shape \[0, 3\]"),
        (np.zeros((5, 3), np.int32), "found dtype int32"),
        (np.array([[0, 1], [np.nan, 1]], np.float32), "not finite, first in row 1"),
        (np.array([[0, 1], [np.inf, 1]], ml_dtypes.bfloat16), "not finite"),
    ],
)
def test_what_is_not_a_prompt(tmp_path, array, message):
    np.save(tmp_path / "p.npy", array)
    with pytest.raises(RecyclingError, match=message):
        load_prompt(tmp_path / "p.npy")
    with pytest.raises(RecyclingError, match=message):
        Prompt(array).save(tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, ml_dtypes.bfloat16])
def test_saved_as_prompt_tuning_reads_it(tmp_path, prompt, dtype):
    path = tmp_path / "encoder.prompt.prompt.prompt"
    Prompt(prompt.astype(dtype), record={"note": "by hand"}).save(path)
    with path.open("rb") as file:
        read = np.load(file, allow_pickle=False)
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, prompt.astype(dtype).astype(np.float32))
    assert prompt_files.load_record(path)["note"] == "by hand"


def test_provenance_knows_its_prompt(tmp_path, prompt):
    Prompt(prompt).save(tmp_path / "p")
    other = prompt + 1
    with (tmp_path / "p").open("wb") as file:
        np.save(file, other)
    with pytest.raises(RecyclingError, match="does not belong to"):
        prompt_files.load_record(tmp_path / "p")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"cannot read the record of .*p\.json: No such file"),
        ("{", r"the record of .*p\.json is not JSON"),
        ("[1]", r"p\.json does not belong to"),
    ],
)
def test_provenance_that_cannot_be_read(tmp_path, prompt, content, message):
    Prompt(prompt).save(tmp_path / "p")
    beside = tmp_path / "p.json"
    beside.unlink() if content is None else beside.write_text(content)
    with pytest.raises(RecyclingError, match=message):
        prompt_files.load_record(tmp_path / "p")


def test_provenance_is_json_that_anyone_reads(tmp_path, prompt):
    Prompt(prompt, record={"piece": "▁über"}).save(tmp_path / "p")
    text = (tmp_path / "p.json").read_text("utf-8")
    assert "▁über" in text
    assert json.loads(text)["piece"] == "▁über"
