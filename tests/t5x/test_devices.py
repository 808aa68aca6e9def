"""Several devices in one process: the prompt is whole and the same on each. And what
infer's bfloat16 makes of it."""

import ml_dtypes
import numpy as np
import pytest
from t5x_results import exported_prompt, kept_prompt, metrics, stored_prompt, witnessed

FOUR = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4"}


@pytest.mark.parametrize("shares", [1, 2], ids=["data-parallel", "model-parallel"])
def test_train_and_eval_on_four_devices(start, recycle, tmp_path, shares):
    """The model in one share on each device, or in two."""
    # On CPUs T5X spreads the model over all devices, whatever num_partitions says.
    flags = [
        "--gin.partitioning.PjitPartitioner.num_partitions=None",
        "--gin.partitioning.PjitPartitioner.model_parallel_submesh="
        f"(1, 1, 1, {shares})",
    ]
    trained = start(
        "train",
        *flags,
        files=["target_prompt.gin", "recycle_init.gin"],
        last="witness.gin",
        environment={**FOUR, "WITNESS": str(tmp_path / "train")},
    ).must_work()
    noted = witnessed(tmp_path / "train")
    for step in (40, 41, 42):
        expected = recycle() if step == 40 else stored_prompt(trained.folder, step)
        prompts = noted[f"saved_{step}"]
        assert len(prompts) == 4
        for prompt in (*prompts.values(), exported_prompt(trained.folder, step)):
            np.testing.assert_array_equal(prompt, expected)

    environment = {**FOUR, "WITNESS": str(tmp_path / "eval")}
    evaluated = start("eval", *flags, environment=environment).must_work()
    prompts = witnessed(tmp_path / "eval")["restored"]
    assert len(prompts) == 4
    for prompt in prompts.values():
        np.testing.assert_array_equal(prompt, recycle())
    # The same model on one device; the order of sums differs.
    alone = metrics(start("eval").must_work().folder)
    assert metrics(evaluated.folder) == pytest.approx(alone, rel=1e-5)


def test_infer_restores_as_saved_and_in_bfloat16_if_told(start, recycle, tmp_path):
    for dtype in ("float32", "bfloat16"):
        folder = tmp_path / dtype
        macros = {} if dtype == "float32" else {"RESTORE_DTYPE": dtype}
        run = start("infer", environment={"WITNESS": str(folder)}, **macros)
        run.must_work()
        ((where, prompt),) = witnessed(folder)["restored"].items()
        assert where.endswith(dtype)
        expected = recycle()
        if dtype == "bfloat16":
            expected = expected.astype(ml_dtypes.bfloat16).astype(np.float32)
        np.testing.assert_array_equal(prompt, expected)
        # What was recycled is kept as it was.
        np.testing.assert_array_equal(kept_prompt(run.folder), recycle())
