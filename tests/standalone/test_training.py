"""Training runs, from the command line to what they leave behind."""

import pathlib
import shutil

import numpy as np
import pytest

from prompt_tuning_recycling import load_prompt, run_recycle
from prompt_tuning_recycling.models import open_checkpoint

from ..conftest import thorough

# Each starts a run of the host.
pytestmark = pytest.mark.slow

FIRST = 1600
PROMPT = "target/encoder/prompt/prompt/prompt"


def parameters_of(model_dir):
    checkpoint = open_checkpoint(model_dir)
    return {
        name: checkpoint.read(name)
        for name in checkpoint.keys()
        if name.startswith("target/")
    }


def changed(before, after):
    return {
        name
        for name in after
        if name not in before or (before[name] != after[name]).any()
    }


def assert_same(ours, theirs):
    assert ours.keys() == theirs.keys()
    assert not changed(ours, theirs)


# Prompt tuning


def test_tuning_leaves_what_t5x_leaves(tune, folder, metrics, steps):
    result = tune(folder, EVAL_PERIOD=3, RUN_EVAL_BEFORE_TRAINING=True)
    assert steps(folder) == [FIRST + 6]
    assert [step for step, _ in metrics(folder)] == [FIRST, FIRST + 3, FIRST + 6]
    assert f"'{folder}'" in (folder / "config.gin").read_text()
    exports = {path.name for path in (folder / "numpy_checkpoints").iterdir()}
    assert exports == {f"checkpoint_{FIRST + done}" for done in (0, 2, 4, 6)}
    for events in ("train", "inference_eval/tiny_ranked"):
        assert list((folder / events).glob("events.out.tfevents.*"))
    accuracy = metrics(folder)[-1][1]["accuracy"]
    assert f"step {FIRST + 6}: tiny_ranked: accuracy {accuracy:.4g}" in result.out
    assert f"wrote {folder}/checkpoint_{FIRST + 6}" in result.out
    assert result.error == ""


def test_only_the_prompt_changes(tuned, models, exported):
    before = {
        name: array.astype(np.float32)
        for name, array in parameters_of(models / "source").items()
    }
    assert changed(before, parameters_of(tuned)) == {PROMPT}
    assert (exported(tuned, FIRST) != exported(tuned, FIRST + 6)).all()


def test_it_learns(tune, folder, metrics):
    tune(
        folder,
        TRAIN_STEPS_RELATIVE=60,
        CHECKPOINT_PERIOD=100,
        EVAL_PERIOD=100,
        RUN_EVAL_BEFORE_TRAINING=True,
    )
    (_, before), (_, after) = metrics(folder)
    assert before["accuracy"] <= 75
    assert after["accuracy"] >= 95


def test_the_same_command_twice_gives_the_same(tune, tuned, folder, metrics):
    tune(folder, EVAL_PERIOD=3)
    assert_same(parameters_of(folder), parameters_of(tuned))
    assert metrics(folder) == metrics(tuned)


@pytest.mark.thorough
def test_another_seed_gives_another_prompt(tune, tuned, folder, exported):
    tune(folder, RANDOM_SEED=1)
    for step in (FIRST, FIRST + 6):
        assert (exported(folder, step) != exported(tuned, step)).any()


def test_a_run_that_goes_on_gives_what_an_undisturbed_one_does(
    tune, tuned, folder, metrics, steps
):
    tune(folder, EVAL_PERIOD=3, TRAIN_STEPS_RELATIVE=4)
    assert steps(folder) == [FIRST + 4]
    tune(folder, EVAL_PERIOD=3)
    assert_same(parameters_of(folder), parameters_of(tuned))
    assert metrics(folder)[-1] == metrics(tuned)[-1]


@pytest.mark.thorough
def test_with_dropout_too(tune, tmp_path):
    tune(tmp_path / "whole", DROPOUT_RATE=0.2)
    tune(tmp_path / "parts", DROPOUT_RATE=0.2, TRAIN_STEPS_RELATIVE=4)
    tune(tmp_path / "parts", DROPOUT_RATE=0.2)
    assert_same(parameters_of(tmp_path / "parts"), parameters_of(tmp_path / "whole"))


def test_a_finished_run_only_evaluates(tune, tuned, metrics):
    before = parameters_of(tuned)
    result = tune(tuned, EVAL_PERIOD=3)
    assert_same(parameters_of(tuned), before)
    assert metrics(tuned)[-1] == metrics(tuned)[-2]
    assert "accuracy" in result.out


@pytest.mark.thorough
def test_a_run_stopped_before_an_evaluation_makes_up_for_it(tune, folder, metrics):
    tune(folder, TRAIN_STEPS_RELATIVE=2, EVAL_PERIOD=2)
    (folder / "inference_eval/tiny_ranked-metrics.jsonl").unlink()
    tune(folder, TRAIN_STEPS_RELATIVE=4, EVAL_PERIOD=2)
    assert [step for step, _ in metrics(folder)] == [FIRST + 2, FIRST + 4]


@pytest.mark.parametrize(("keep", "left"), [(2, [4, 6]), (0, [2, 4, 6])])
def test_as_many_checkpoints_as_wanted_are_kept(tune, folder, steps, keep, left):
    tune(folder, KEEP_CHECKPOINTS=keep)
    assert steps(folder) == [FIRST + done for done in left]


@pytest.mark.thorough
def test_without_evaluations_there_are_no_metrics(tune, folder, steps):
    # Nor does the task need any.
    tune(folder, EVAL_MIXTURE_OR_TASK_NAME="tiny_train")
    assert steps(folder) == [FIRST + 6]
    assert not list((folder / "inference_eval").glob("*.jsonl"))


def test_the_steps_of_the_initial_checkpoint_count(tune, folder, steps):
    tune(folder, TRAIN_STEPS=FIRST + 2, TRAIN_STEPS_RELATIVE=None)
    assert steps(folder) == [FIRST + 2]


@pytest.mark.thorough
def test_the_last_checkpoint_resumes_where_periods_do_not_meet(tune, folder, steps):
    tune(folder, CHECKPOINT_PERIOD=4)
    assert steps(folder) == [FIRST + 6]


# Recycling


@pytest.fixture
def flags_of_run_recycle(tuned, models, recycling, tmp_path):
    return {
        "source_model": str(tuned),
        "target_model": str(models / "target-1"),
        "prompt_path": str(tuned),
        "filtered_word": recycling["WORD_LIST"],
        "num_words": str(recycling["NUM_WORDS"]),
        "word_offset": str(recycling["WORD_OFFSET"]),
        "recycler": "v2v-lin",
        "output_path": str(tmp_path / "recycled"),
    }


@pytest.mark.parametrize(
    "recycler", ["v2v-lin", thorough("lin-comb"), thorough("v2v-nn")]
)
def test_a_run_starts_with_what_run_recycle_writes(
    tune,
    tuned,
    models,
    recycling,
    folder,
    run,
    flags_of_run_recycle,
    exported,
    recycler,
):
    flags = {**flags_of_run_recycle, "recycler": recycler}
    assert run(run_recycle.main, flags) == 0
    tune(
        folder,
        "recycle_init.gin",
        INITIAL_CHECKPOINT_PATH=str(models / "target-1"),
        RECYCLE_FROM=str(tuned),
        RECYCLER=recycler,
        TRAIN_STEPS_RELATIVE=2,
        **recycling,
    )
    written = pathlib.Path(flags["output_path"]).read_bytes()
    assert (folder / "recycled_prompt/prompt.npy").read_bytes() == written
    np.testing.assert_array_equal(
        exported(folder, FIRST), np.load(flags["output_path"])
    )


def test_it_is_recycled_once_and_not_at_all_when_the_run_goes_on(
    tune, tuned, models, recycling, folder, tmp_path
):
    macros = {
        "INITIAL_CHECKPOINT_PATH": str(models / "target-1"),
        "RECYCLE_FROM": str(tuned),
        **recycling,
    }
    result = tune(tmp_path / "whole", "recycle_init.gin", **macros)
    assert result.error.count("fitting v2v-lin") == 1
    tune(folder, "recycle_init.gin", **macros, TRAIN_STEPS_RELATIVE=4)
    record = (folder / "recycled_prompt/prompt.npy.json").read_bytes()
    shutil.rmtree(tuned)
    result = tune(folder, "recycle_init.gin", **macros)
    assert "fitting" not in result.error
    assert (folder / "recycled_prompt/prompt.npy.json").read_bytes() == record
    assert_same(parameters_of(folder), parameters_of(tmp_path / "whole"))


@pytest.mark.thorough
def test_a_run_stopped_before_its_first_checkpoint_needs_no_source_either(
    tune, tuned, models, recycling, folder, exported
):
    macros = {
        "INITIAL_CHECKPOINT_PATH": str(models / "target-1"),
        "RECYCLE_FROM": str(tuned),
        "TRAIN_STEPS_RELATIVE": 2,
        **recycling,
    }
    tune(folder, "recycle_init.gin", **macros)
    before = exported(folder, FIRST)
    shutil.rmtree(folder / f"checkpoint_{FIRST + 2}")
    shutil.rmtree(tuned)
    result = tune(folder, "recycle_init.gin", **macros)
    assert "taking the prompt that was made before" in result.error
    np.testing.assert_array_equal(exported(folder, FIRST), before)


def test_a_prompt_tuned_here_is_read_back(
    tune,
    evaluate,
    tiny,
    tuned,
    models,
    recycling,
    run,
    flags_of_run_recycle,
    tmp_path,
    exported,
):
    prompt = exported(tuned, FIRST + 6)
    np.testing.assert_array_equal(load_prompt(tuned).array, prompt)
    np.testing.assert_array_equal(open_checkpoint(tuned).read(PROMPT), prompt)
    # By run_recycle, from the run's folder and from its export.
    assert run(run_recycle.main, flags_of_run_recycle) == 0
    export = f"numpy_checkpoints/checkpoint_{FIRST + 6}/encoder.prompt.prompt.prompt"
    flags = {
        **flags_of_run_recycle,
        "source_model": str(models / "source"),
        "prompt_path": str(tuned / export),
        "output_path": str(tmp_path / "recycled-2"),
    }
    assert run(run_recycle.main, flags) == 0
    np.testing.assert_array_equal(
        np.load(flags_of_run_recycle["output_path"]), np.load(flags["output_path"])
    )
    # By another run.
    evaluate(
        tiny,
        "recycle_init.gin",
        RECYCLE_FROM=str(tuned),
        EVAL_OUTPUT_DIR=str(tmp_path / "eval"),
        **recycling,
    )
    np.testing.assert_array_equal(
        np.load(tmp_path / "eval/recycled_prompt/prompt.npy"),
        np.load(flags["output_path"]),
    )


def test_what_is_declared_must_not_change_while_a_run_goes_on(
    tune, tuned, models, recycling, folder
):
    macros = {
        "INITIAL_CHECKPOINT_PATH": str(models / "target-1"),
        "RECYCLE_FROM": str(tuned),
        "TRAIN_STEPS_RELATIVE": 2,
        **recycling,
    }
    tune(folder, "recycle_init.gin", **macros)
    shutil.rmtree(folder / f"checkpoint_{FIRST + 2}")
    macros["RECYCLER"] = "lin-comb"
    result = tune(folder, "recycle_init.gin", **macros, fails=True)
    assert "recycler" in result.error
    assert "Choose another output folder" in result.error


# All parameters


@pytest.fixture
def train_all(start, tiny_without):
    def train_all(run_file, model_dir, **macros):
        result = start(
            "train",
            [tiny_without, run_file],
            MIXTURE_OR_TASK_MODULE="tiny_tasks",
            TASK_FEATURE_LENGTHS={"inputs": 6, "targets": 2},
            MIXTURE_OR_TASK_NAME="tiny_generated",
            MODEL_DIR=str(model_dir),
            BATCH_SIZE=16,
            CHECKPOINT_PERIOD=2,
            EVAL_PERIOD=100,
            **macros,
        )
        assert result.code == 0, result.error

    return train_all


@pytest.mark.thorough
def test_fine_tuning_changes_every_parameter(train_all, folder, models, metrics):
    source = str(models / "source")
    train_all(
        "runs/standalone/finetune.gin",
        folder,
        INITIAL_CHECKPOINT_PATH=source,
        TRAIN_STEPS_RELATIVE=2,
    )
    before = parameters_of(models / "source")
    after = parameters_of(folder)
    # Biases of distances that do not occur in so short texts stay as they are.
    assert changed(before, after) == after.keys()
    assert [step for step, _ in metrics(folder, "tiny_generated")] == [FIRST + 2]
    assert not (folder / "numpy_checkpoints").exists()


@pytest.mark.thorough
def test_pre_training_starts_from_nothing_and_goes_on(train_all, tmp_path, steps):
    macros = {"TRAIN_STEPS": 4, "WARMUP_STEPS": 2}
    run_file = "runs/standalone/pretrain.gin"
    train_all(run_file, tmp_path / "whole", **macros)
    assert steps(tmp_path / "whole") == [2, 4]
    shutil.copytree(tmp_path / "whole", tmp_path / "parts")
    shutil.rmtree(tmp_path / "parts/checkpoint_4")
    train_all(run_file, tmp_path / "parts", **macros)
    assert_same(parameters_of(tmp_path / "parts"), parameters_of(tmp_path / "whole"))


# What cannot be


@pytest.mark.parametrize(
    ("log_period", "message"),
    [(1, "the loss is no longer finite"), (100, "prompt are no longer finite")],
)
def test_a_run_that_diverges_stops_and_keeps_its_last_good_checkpoint(
    tune, tuned, steps, log_period, message
):
    macros = {"TRAIN_STEPS_RELATIVE": 10, "LEARNING_RATE": 1e39}
    result = tune(tuned, LOG_PERIOD=log_period, fails=True, **macros)
    assert message in result.error
    assert "Lower the learning rate" in result.error
    assert steps(tuned) == [FIRST + 6]
    assert np.isfinite(load_prompt(tuned).array).all()


@pytest.mark.parametrize(
    ("macros", "message"),
    [
        ({"TRAIN_STEPS_RELATIVE": None}, "neither TRAIN_STEPS nor"),
        (
            {"TRAIN_STEPS_RELATIVE": None, "TRAIN_STEPS": 100},
            "nothing to train: the initial checkpoint is at step 1600",
        ),
        ({"MIXTURE_OR_TASK_NAME": "tiny_trian"}, "no task or mixture 'tiny_trian'"),
        ({"MIXTURE_OR_TASK_MODULE": "tiny_task"}, "cannot import 'tiny_task'"),
        (
            {"BATCH_SIZE": 0},
            "BATCH_SIZE: expected a whole number of at least 1, found 0",
        ),
        ({"EVAL_SPLIT": "tset", "EVAL_PERIOD": 1}, "no split 'tset'"),
        ({"TASK_FEATURE_LENGTHS": None}, "TASK_FEATURE_LENGTHS is not set"),
        (
            {"TASK_FEATURE_LENGTHS": {"inputs": 6}},
            "TASK_FEATURE_LENGTHS has no targets",
        ),
        (
            {"INITIAL_CHECKPOINT_PATH": "/dev/null/absent"},
            "/dev/null/absent does not exist",
        ),
        (
            {"PROMPT_REGEX": [".*/no_prompt/.*"]},
            "none of the model's parameters matches",
        ),
    ],
)
def test_it_says_in_one_line_what_cannot_be(tune, folder, macros, message):
    result = tune(folder, fails=True, **macros)
    (line,) = result.error.splitlines()
    assert line.startswith("error: ")
    assert message in line


def test_a_run_beyond_its_end_is_reported(tune, tuned):
    result = tune(tuned, TRAIN_STEPS_RELATIVE=4, fails=True)
    assert f"the run is at step {FIRST + 6}, beyond TRAIN_STEPS" in result.error


def test_another_optimizer_than_before_is_reported(tune, tuned, tmp_path):
    adam = tmp_path / "adam.gin"
    adam.write_text(
        "from __gin__ import dynamic_registration\n"
        "import optax\n"
        "OPTIMIZER = @optax.adam()\n"
        "optax.adam.learning_rate = 0.1\n"
    )
    result = tune(tuned, adam, fails=True)
    assert "another optimizer" in result.error


def test_a_folder_of_another_run_is_reported(tune, tuned):
    (tuned / "run_start.json").unlink()
    result = tune(tuned, fails=True)
    assert "cannot go on with the run" in result.error
