"""T5X's train, eval and infer start from a recycled prompt."""

import itertools

import numpy as np
import pytest
from t5x_results import exported_prompt, kept_prompt, metrics, stored_prompt, witnessed

FIRST = 40
PAIRS = {
    f"{source}-to-{target}": (f"prompt_{source}", f"target_{target}")
    for source in ("orbax", "legacy")
    for target in ("orbax", "legacy")
}
FILES = {"v2v-lin": "v2v_lin", "v2v-nn": "v2v_nn", "lin-comb": "lin_comb"}
CLASSES = {
    "v2v-lin": "VocabToVocabLinear",
    "v2v-nn": "VocabToVocabMLP",
    "lin-comb": "LinearCombination",
}


def chosen(recycler, way):
    """Files and flags that choose a recycler."""
    if way == "file":
        return [f"recyclers/{FILES[recycler]}.gin"], []
    if way == "name":
        return [], [f"--gin.RECYCLER={recycler!r}"]
    return [], [f"--gin.RECYCLER=@recyclers.{CLASSES[recycler]}()"]


# Every pair and program; on the way, every recycler by every way of choosing it.
WAYS = itertools.cycle(itertools.product(FILES, ("file", "name", "reference")))
CASES = [
    pytest.param(program, *PAIRS[pair], *way, id=f"{program}-{pair}-{'-'.join(way)}")
    for (program, pair), way in zip(
        itertools.product(("train", "eval", "infer"), PAIRS), WAYS, strict=False
    )
]


@pytest.mark.parametrize("network", ["ours", "flaxformer"])
@pytest.mark.parametrize("program, source, target, recycler, way", CASES)
def test_from_a_recycled_prompt(
    start, t5x_written, recycle, network, program, source, target, recycler, way
):
    """With our network, and with prompt-tuning's model file."""
    files, flags = chosen(recycler, way)
    model = "target_prompt.gin" if network == "ours" else "flaxformer_target_prompt.gin"
    run = start(
        program,
        *flags,
        files=[model, "recycle_init.gin", *files],
        RECYCLE_FROM=str(t5x_written / source),
        INITIAL_CHECKPOINT_PATH=str(t5x_written / target / "checkpoint_40"),
    ).must_work()
    expected = recycle(source, target, recycler)
    np.testing.assert_array_equal(kept_prompt(run.folder), expected)
    check(program, run.folder, expected)


@pytest.mark.parametrize("program", ["eval", "infer"])
def test_as_an_initializer_of_prompt_tunings_prompt(
    start, t5x_written, recycle, tmp_path, program
):
    """With prompt-tuning's own run file, which reads the checkpoint but its prompt, and
    fills that in from scratch. (For train, see test_resuming.py.)"""
    run = start(
        program,
        files=[
            "flaxformer_target_prompt.gin",
            f"prompt_tuning/configs/runs/prompt_{program}.gin",
            "recycle_init.gin",
            "recycle_as_initializer.gin",
            "counted.gin",
        ],
        run_file="",
        environment={"WITNESS": str(tmp_path / "w"), "FITS": str(tmp_path / "fits")},
        RECYCLER="counted",
        PROMPT_FILE="unused",
        CHECKPOINT_PATH=str(t5x_written / "target_orbax/checkpoint_40"),
        BATCH_SIZE=...,
    ).must_work()
    (prompt,) = witnessed(tmp_path / "w")["restored"].values()
    # In float32 also under infer.gin: its bfloat16 is for what a checkpoint holds.
    np.testing.assert_array_equal(prompt, recycle())
    assert (tmp_path / "fits").read_text().count("\n") == 1
    check(program, run.folder, recycle())


def check(program, folder, expected):
    if program == "train":
        # T5X's first checkpoint, before any step.
        np.testing.assert_array_equal(stored_prompt(folder, FIRST), expected)
        for step in (FIRST, FIRST + 1, FIRST + 2):
            exported = exported_prompt(folder, step)
            np.testing.assert_array_equal(exported, stored_prompt(folder, step))
        assert np.abs(exported - expected).max() > 0.01  # It was tuned.
    if program == "eval":
        assert metrics(folder).keys() == {"accuracy", "log_likelihood"}
    if program == "infer":
        (predictions,) = folder.glob("*.jsonl-00000-of-00001")
        assert len(predictions.read_text().splitlines()) == 16
