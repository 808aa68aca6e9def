"""Prompts of PEFT in T5X, by the folder of their adapter."""

import json

import numpy as np
from t5x_results import exported_prompt, kept_prompt

from prompt_tuning_recycling import load_prompt

from ..adapters import of_encoder, write_adapter

TASKS = {"peft_type": "MULTITASK_PROMPT_TUNING", "num_tasks": 2, "num_ranks": 1}


def test_recycled_from_an_adapter_that_names_its_model(
    start, recycle, t5x_written, tmp_path
):
    """Task 1 leaves the shared prompt as it is."""
    source = t5x_written / "prompt_orbax"
    prompt = load_prompt(source).array
    tensors = {
        **of_encoder(prompt),
        "prefix_task_cols": np.ones((2, 2 * len(prompt), 1), np.float32),
        "prefix_task_rows": np.ones((2, 1, prompt.shape[1]), np.float32),
    }
    tensors["prefix_task_rows"][0] = 2
    adapter = write_adapter(
        tmp_path / "adapter",
        tensors,
        len(prompt),
        base_model_name_or_path=str(source),
        **TASKS,
    )
    given = {"RECYCLE_FROM": str(adapter), "PROMPT_TASK": 1}
    folder = tmp_path / "run"
    start("eval", folder=folder, **given).must_work()
    np.testing.assert_array_equal(kept_prompt(folder), recycle())
    record = json.loads((folder / "recycled_prompt/prompt.npy.json").read_text())
    assert record["prompt"]["path"] == str(adapter)
    assert record["prompt"]["part"]["task"] == 1
    other = start("eval", folder=folder, **{**given, "PROMPT_TASK": 0})
    assert other.wait() not in (0, None)
    assert "prompt_task 1, but now prompt_task is 0" in other.output


def test_an_adapters_prompt_unchanged(start, tmp_path, recycle):
    prompt = recycle()
    adapter = write_adapter(tmp_path / "adapter", of_encoder(prompt), len(prompt))
    run = start(
        "train",
        files=["target_prompt.gin", "prompts/from_file.gin"],
        PROMPT_FILE=str(adapter),
    )
    run.must_work()
    np.testing.assert_array_equal(exported_prompt(run.folder, 40), prompt)
