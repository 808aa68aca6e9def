"""T5X's train, eval and infer start from a recycled prompt."""

import itertools

import numpy as np
import pytest

from t5x_results import exported_prompt, kept_prompt, metrics, stored_prompt

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
        itertools.product(("train", "eval", "infer"), PAIRS), WAYS
    )
]


@pytest.mark.parametrize("program, source, target, recycler, way", CASES)
def test_our_network(
    start, t5x_written, recycle, program, source, target, recycler, way
):
    files, flags = chosen(recycler, way)
    run = start(
        program,
        *flags,
        files=["target_prompt.gin", "recycle_init.gin", *files],
        RECYCLE_FROM=str(t5x_written / source),
        INITIAL_CHECKPOINT_PATH=str(t5x_written / target / "checkpoint_40"),
    ).must_work()
    expected = recycle(source, target, recycler)
    np.testing.assert_array_equal(kept_prompt(run.folder), expected)
    check(program, run.folder, expected)


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
