"""A source whose embedding table and prompt have names of their own, in T5X."""

import json

import numpy as np
from t5x_results import exported_prompt, kept_prompt

from prompt_tuning_recycling import run_recycle
from prompt_tuning_recycling.models import open_checkpoint

TABLE = "target/encoder/embedder/table"
PROMPT = "target/encoder/soft/vectors"
USUAL = {
    "target/token_embedder/embedding": TABLE,
    "target/encoder/prompt/prompt/prompt": PROMPT,
}


def test_macros_name_them(start, recycle, t5x_written, write_orbax, tmp_path):
    usual = open_checkpoint(t5x_written / "prompt_orbax/checkpoint_50")
    arrays = {new: usual.read(old) for old, new in USUAL.items()}
    source = write_orbax(tmp_path / "source", arrays)
    names = {
        "RECYCLE_FROM": str(source),
        "SOURCE_EMBEDDING_NAME": TABLE,
        "PROMPT_NAME": PROMPT,
    }
    folder = tmp_path / "run"
    start("train", folder=folder, **names).must_work()
    np.testing.assert_array_equal(kept_prompt(folder), recycle())
    np.testing.assert_array_equal(exported_prompt(folder, 40), recycle())
    record = json.loads((folder / "recycled_prompt/prompt.npy.json").read_text())
    assert record["declared"]["source_embedding_name"] == TABLE
    assert "target_embedding_name" not in record["declared"]

    # What is kept was made from the prompt of that name.
    evaluated = tmp_path / "eval"
    start("eval", folder=evaluated, **names).must_work()
    other = start("eval", folder=evaluated, **{**names, "PROMPT_NAME": TABLE})
    assert other.wait() not in (0, None)
    assert f"prompt_name '{PROMPT}', but now prompt_name is '{TABLE}'" in other.output

    # The command line's flags mean the same.
    output = tmp_path / "prompt"
    target = open_checkpoint(t5x_written / "target_orbax/checkpoint_40")
    odd = write_orbax(
        tmp_path / "target", {TABLE: target.read("target/token_embedder/embedding")}
    )
    run_recycle.main(
        [
            f"--source_model={source}",
            f"--target_model={odd}",
            f"--prompt_path={source}",
            f"--output_path={output}",
            f"--embedding_name={TABLE}",
            f"--prompt_name={PROMPT}",
            "--recycler=v2v-lin",
        ]
    )
    np.testing.assert_array_equal(np.load(output), recycle())


def test_a_missing_name_is_reported(start):
    run = start("eval", EMBEDDING_NAME="target/token_embeder/embedding")
    assert run.wait() not in (0, None)
    assert "target/token_embedder/embedding" in run.output
