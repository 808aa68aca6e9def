"""A run's prompts as numpy files, where prompt-tuning puts them."""

import ml_dtypes
import numpy as np
import pytest

from prompt_tuning_recycling import RecyclingError, load_prompt
from prompt_tuning_recycling.prompts import export

NAME = "encoder/prompt/prompt/prompt"


@pytest.fixture
def exported(tmp_path):
    return tmp_path / "numpy_checkpoints/checkpoint_7/encoder.prompt.prompt.prompt"


def test_a_prompt_is_exported_as_prompt_tuning_does(tmp_path, prompt, exported):
    folder = export.export_prompts(tmp_path, 7, {NAME: prompt})
    assert folder == exported.parent
    with exported.open("rb") as file:
        np.testing.assert_array_equal(np.load(file), prompt)
    np.testing.assert_array_equal(load_prompt(exported).array, prompt)


def test_only_the_export_is_left(tmp_path, prompt, exported):
    export.export_prompts(tmp_path, 7, {NAME: prompt})
    assert list(exported.parent.parent.iterdir()) == [exported.parent]
    assert list(exported.parent.iterdir()) == [exported]


def test_every_prompt_is_a_file(tmp_path, prompt, exported):
    both = {NAME: prompt, "decoder/prompt/prompt/prompt": 2 * prompt}
    export.export_prompts(tmp_path, 7, both)
    other = exported.with_name("decoder.prompt.prompt.prompt")
    np.testing.assert_array_equal(load_prompt(other).array, 2 * prompt)


def test_it_is_float32(tmp_path, prompt, exported):
    export.export_prompts(tmp_path, 7, {NAME: prompt.astype(ml_dtypes.bfloat16)})
    assert load_prompt(exported).array.dtype == np.float32


def test_an_export_that_exists_is_replaced(tmp_path, prompt, exported):
    export.export_prompts(tmp_path, 7, {NAME: prompt, "old/prompt/x": prompt})
    export.export_prompts(tmp_path, 7, {NAME: 2 * prompt})
    np.testing.assert_array_equal(load_prompt(exported).array, 2 * prompt)
    assert list(exported.parent.iterdir()) == [exported]
    assert list(exported.parent.parent.iterdir()) == [exported.parent]


def test_a_disk_that_cannot_be_written_to_is_an_error_of_ours(tmp_path, prompt):
    (tmp_path / "numpy_checkpoints").write_bytes(b"")
    with pytest.raises(RecyclingError, match="cannot write"):
        export.export_prompts(tmp_path, 7, {NAME: prompt})


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("encoder/prompt/prompt/prompt", True),
        ("/encoder/prompt/prompt/prompt", True),
        ("encoder/layers_0/mlp/wo/kernel", False),
        ("encoder/prompt_norm/scale", False),
    ],
)
def test_which_parameters_are_a_prompts(name, expected):
    assert export.matches(name) is expected


def test_regular_expressions_match_the_whole_name():
    assert export.matches("encoder/x", [".*"])
    assert not export.matches("encoder/x", ["encoder"])
