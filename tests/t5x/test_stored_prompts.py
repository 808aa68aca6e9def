"""A prompt that a checkpoint holds is never silently replaced, in whichever way another
one is declared, in any program and any format."""

import re

import numpy as np
import pytest

LIST = "((r'^.*prompt.*$', None),)"
INITIALIZER = {
    "train": "prompt_tuning/configs/runs/prompt_finetune.gin",
    "eval": "prompt_tuning/configs/runs/prompt_eval.gin",
    "infer": "prompt_tuning/configs/runs/prompt_infer.gin",
}
WAYS = ["recycle_init", "assignment_map", "from_file", "initializer"]


@pytest.fixture
def asked(t5x_written, shared_data, tmp_path):
    """Flags and settings of a run that starts from a tuned checkpoint, to which another
    prompt is declared."""

    def asked(way, program, tuned):
        np.save(tmp_path / "other.npy", np.ones((8, 16), np.float32))
        flags = []
        given = {
            "files": ["source_prompt.gin", "recycle_init.gin"],
            "INITIAL_CHECKPOINT_PATH": str(tuned),
        }
        if way == "assignment_map":
            flags = [f"--gin.utils.RestoreCheckpointConfig.assignment_map={LIST}"]
        if way == "from_file":
            given["files"] = ["source_prompt.gin", "prompts/from_file.gin"]
            given["PROMPT_FILE"] = str(tmp_path / "other.npy")
        if way == "initializer":
            given |= {
                "files": [
                    "flaxformer_target_prompt.gin",
                    "recycle_init.gin",
                    INITIALIZER[program],
                    "recycle_as_initializer.gin",
                ],
                "run_file": "runs/t5x/train_prompt_only.gin",
                "EMBED_DIM": 16,
            }
            if program == "train":
                given |= {
                    "USE_CACHED_TASKS": False,
                    "CHECKPOINT_PERIOD": ...,
                    "KEEP_CHECKPOINTS": ...,
                }
            else:
                given |= {
                    "run_file": "",
                    "CHECKPOINT_PATH": str(tuned),
                    "PROMPT_FILE": "",
                    "BATCH_SIZE": ...,
                }
        return flags, given

    return asked


@pytest.mark.parametrize("stored", ["prompt_orbax", "prompt_legacy"])
@pytest.mark.parametrize("program", ["train", "eval", "infer"])
@pytest.mark.parametrize("way", WAYS)
def test_it_is_refused(start, asked, t5x_written, tmp_path, way, program, stored):
    tuned = t5x_written / stored / "checkpoint_50"
    flags, given = asked(way, program, tuned)
    given["folder"] = tmp_path / "run"
    run = start(program, *flags, **given)
    assert run.wait() not in (0, None), run.output[-3000:]
    (message,) = re.findall("RecyclingError: (.*)", run.output)[-1:] or [run.output]
    assert f"{tuned} already holds a prompt" in message
    assert "leave out recycle_init.gin" in message
    assert not list((tmp_path / "run").glob("**/*.npy"))
    assert not list((tmp_path / "run").glob("checkpoint_*"))
