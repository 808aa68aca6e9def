"""What people will write that cannot work: each stops before the model is built, with
one message that says what to do."""

import re
import shutil

import numpy as np
import pytest

LIST = "((r'^.*prompt.*$', None),)"


@pytest.fixture
def refused(start):
    """The message with which a run stops."""

    def refused(*flags, **macros):
        run = start("infer", *flags, **macros)
        code = run.wait()
        assert code not in (0, None), run.output[-3000:]
        found = re.findall(r"RecyclingError: (.*)", run.output)
        assert found, run.output[-3000:]
        print(found[-1])  # Shown by pytest -rP.
        return found[-1]

    return refused


def test_no_recycle_from(refused):
    message = refused(RECYCLE_FROM=None)
    assert "RECYCLE_FROM is not set" in message


def test_a_source_that_is_not_there(refused):
    message = refused(RECYCLE_FROM="/dev/null/absent/checkpoint_50")
    assert "/dev/null/absent/checkpoint_50 does not exist" in message


def test_a_prompt_of_another_length(refused):
    message = refused(PROMPT_LENGTH=10)
    assert "has 8 vectors, but the model expects 10" in message
    assert "--gin.PROMPT_LENGTH=8" in message


def test_a_model_file_of_another_width(refused):
    files = ["models/t5_1_1_tiny_prompt.gin", "recycle_init.gin"]
    message = refused(files=files, PROMPT_LENGTH=8)
    assert "[32128, 24]" in message
    assert "[32128, 64]" in message
    assert "--gin_file=models/" in message


def test_a_source_without_a_prompt(refused, t5x_written):
    message = refused(RECYCLE_FROM=str(t5x_written / "target_legacy"))
    assert "target_legacy" in message
    assert "prompt" in message


def test_models_of_different_vocabularies(refused, tmp_path):
    """T5's words are rows of another model's table that mean something else."""
    np.save(tmp_path / "table.npy", np.ones((4000, 16), np.float32))
    np.save(tmp_path / "prompt.npy", np.ones((8, 16), np.float32))
    message = refused(
        SOURCE_CHECKPOINT=str(tmp_path / "table.npy"),
        SOURCE_PROMPT=str(tmp_path / "prompt.npy"),
    )
    assert "vocabular" in message
    assert "4000" in message


@pytest.mark.parametrize("left_on", [False, True], ids=["", "assignment-map-left-on"])
def test_a_target_that_holds_a_prompt(refused, t5x_written, tmp_path, left_on):
    """Also where prompt-tuning's assignment_map hides it from us."""
    flag = f"--gin.utils.RestoreCheckpointConfig.assignment_map={LIST}"
    message = refused(
        *([flag] if left_on else []),
        files=["source_prompt.gin", "recycle_init.gin"],
        INITIAL_CHECKPOINT_PATH=str(t5x_written / "prompt_orbax/checkpoint_50"),
    )
    assert "already holds a prompt" in message
    assert "leave out recycle_init.gin" in message
    assert "INITIAL_CHECKPOINT_PATH" in message


def test_a_model_file_without_a_prompt(refused):
    message = refused(files=["target.gin", "recycle_init.gin"])
    assert "the model has none" in message
    assert "_prompt" in message


def test_a_tuned_checkpoint_and_a_model_file_without_a_prompt(refused, t5x_written):
    message = refused(
        files=["source.gin"],
        INITIAL_CHECKPOINT_PATH=str(t5x_written / "prompt_legacy/checkpoint_50"),
    )
    assert "holds a prompt" in message
    assert "_prompt" in message


def test_no_prompt_anywhere(refused):
    message = refused(files=["target_prompt.gin"])
    assert "Say where it comes from: recycle_init.gin" in message


def test_a_recycle_from_without_its_file(refused):
    """The run would start from another prompt."""
    message = refused(files=["target_prompt.gin"], RECYCLE_FROM="/source")
    assert "RECYCLE_FROM is set, but nothing uses it" in message
    assert "--gin_file=recycle_init.gin" in message


@pytest.mark.parametrize("where", ["flag", "file"])
def test_a_misspelt_macro(refused, tmp_path, where):
    if where == "flag":
        message = refused(RECYLCER="v2v-nn")
    else:
        (tmp_path / "mine.gin").write_text("RECYLCER = 'v2v-nn'\n")
        message = refused(last=str(tmp_path / "mine.gin"))
    assert "uses RECYLCER. Did you mean RECYCLER" in message


@pytest.mark.parametrize(
    ("name", "value"),
    [("BATCH_SIZE", "16"), ("PROMPT_LENGTH", "8"), ("TASK_FEATURE_LENGTHS", {"x": 3})],
)
def test_a_value_that_cannot_be(refused, name, value):
    assert f"{name}: expected " in refused(**{name: value})


def test_a_macro_that_has_no_place_here(refused):
    """The command line sets nothing in vain, even if another file has the macro."""
    assert "nothing in these gin files uses LEARNING_RATE" in refused(LEARNING_RATE=0.1)


def test_a_target_that_is_not_there(refused, t5x_written):
    folder = t5x_written / "target_orbax"
    message = refused(INITIAL_CHECKPOINT_PATH=str(folder / "checkpoint_41"))
    assert f"{folder}/checkpoint_41 does not exist" in message
    assert "Steps there: checkpoint_40" in message


def test_a_target_that_t5x_cannot_restore(refused, shared_data, tmp_path):
    np.save(tmp_path / "table.npy", np.ones((32128, 24), np.float32))
    for path in (tmp_path / "table.npy", shared_data / "hf_written/t5_v1_1_source"):
        message = refused(INITIAL_CHECKPOINT_PATH=str(path))
        assert f"T5X cannot restore a model from {path}" in message
        assert "prompt-recycling convert makes one" in message
    (tmp_path / "model.ckpt-7.index").touch()
    message = refused(INITIAL_CHECKPOINT_PATH=str(tmp_path / "model.ckpt-7"))
    assert "is a TensorFlow checkpoint" in message


def test_packed_data(refused):
    message = refused("--gin.utils.DatasetConfig.pack=True")
    assert "packed examples would share one prompt" in message


def test_data_that_is_not_cached(refused):
    message = refused(USE_CACHED_TASKS=True)
    assert "even_or_odd has not been cached" in message
    assert "--gin.USE_CACHED_TASKS=False" in message


def test_a_task_that_is_not_there(refused):
    message = refused(MIXTURE_OR_TASK_NAME="even_or_od")
    assert "no task or mixture 'even_or_od'. Did you mean even_or_odd" in message
    message = refused(MIXTURE_OR_TASK_MODULE="t5x_test_task")
    assert "cannot import 't5x_test_task'" in message


def test_an_unknown_recycler(refused):
    message = refused(RECYCLER="v2v-lim")
    assert "v2v-lin" in message


def test_a_word_list_that_is_not_there(refused):
    assert "/dev/null/absent/words.json" in refused(
        WORD_LIST="/dev/null/absent/words.json"
    )


def test_another_source_in_the_same_folder(start, refused, t5x_written, tmp_path):
    start("infer", folder=tmp_path / "run").must_work()
    for done in (tmp_path / "run").glob("*.jsonl*"):
        done.unlink()
    shutil.rmtree(tmp_path / "run" / "tmp", ignore_errors=True)
    config = (tmp_path / "run/config.gin").read_bytes()
    message = refused(
        folder=tmp_path / "run",
        RECYCLE_FROM=str(t5x_written / "prompt_legacy/checkpoint_50"),
    )
    assert "source_checkpoint" in message
    assert "Choose another output folder" in message
    # It still says what happened.
    assert (tmp_path / "run/config.gin").read_bytes() == config
