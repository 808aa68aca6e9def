"""Sixteen simulated devices: the examples in four parts, and the model in four."""

import numpy as np
import pytest
from t5x_results import exported_prompt, metrics, stored_prompt, witnessed

from prompt_tuning_recycling.models import open_checkpoint

SIXTEEN = {"XLA_FLAGS": "--xla_force_host_platform_device_count=16"}
MESH = (
    "--gin.partitioning.PjitPartitioner.num_partitions=None",
    "--gin.partitioning.PjitPartitioner.model_parallel_submesh=(1, 1, 1, 4)",
)


@pytest.fixture
def four_heads(t5x_written, write_orbax, tmp_path):
    """The target with four heads: a checkpoint whose arrays can be cut in four."""
    stored = open_checkpoint(t5x_written / "target_orbax/checkpoint_40")
    arrays = {
        name: stored.read(name)
        for name in stored.keys()
        if name.startswith("target/") or name == "state/step"
    }
    for name, array in arrays.items():
        if name.endswith("rel_embedding"):
            arrays[name] = np.concatenate([array, array])
    return write_orbax(tmp_path / "four_heads/checkpoint_40", arrays)


def test_train_and_eval(start, recycle, four_heads, tmp_path):
    common = {
        "files": ["four_heads_prompt.gin", "recycle_init.gin"],
        "INITIAL_CHECKPOINT_PATH": str(four_heads),
    }
    environment = {**SIXTEEN, "WITNESS": str(tmp_path / "train")}
    trained = start(
        "train",
        *MESH,
        **common,
        last="witness.gin",
        environment=environment,
        EVAL_PERIOD=0,
    ).must_work()
    noted = witnessed(tmp_path / "train")
    assert [int(rows) for rows in noted["rows"].values()] == [32128 // 4] * 16
    for step in (40, 41, 42):
        expected = recycle() if step == 40 else stored_prompt(trained.folder, step)
        prompts = noted[f"saved_{step}"]
        assert len(prompts) == 16
        for prompt in (*prompts.values(), exported_prompt(trained.folder, step)):
            np.testing.assert_array_equal(prompt, expected)

    environment = {**SIXTEEN, "WITNESS": str(tmp_path / "eval")}
    evaluated = start("eval", *MESH, **common, environment=environment).must_work()
    prompts = witnessed(tmp_path / "eval")["restored"]
    assert len(prompts) == 16
    for prompt in prompts.values():
        np.testing.assert_array_equal(prompt, recycle())
    # The same model on one device; the order of sums differs.
    alone = metrics(start("eval", **common).must_work().folder)
    assert metrics(evaluated.folder) == pytest.approx(alone, rel=1e-5)
