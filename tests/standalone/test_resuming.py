"""A run that goes on is the run that was started, and the only one in its folder."""

import shutil

import pytest

from prompt_tuning_recycling import run_folder

# Each starts a run of the host.
pytestmark = pytest.mark.slow

FIRST = 1600


@pytest.fixture
def declared(tuned, models, recycling):
    """The macros of a run that starts from a recycled prompt."""
    return {
        "INITIAL_CHECKPOINT_PATH": str(models / "target-1"),
        "RECYCLE_FROM": str(tuned),
        "TRAIN_STEPS_RELATIVE": 2,
        **recycling,
    }


OTHER_STARTS = [
    ({"SOURCE_PROMPT": "/dev/null/absent/p.npy"}, "source_prompt"),
    ({"SOURCE_CHECKPOINT": "/dev/null/absent/checkpoint_3"}, "source_checkpoint"),
    ({"TARGET_CHECKPOINT": "/dev/null/absent/checkpoint_3"}, "target_checkpoint"),
    ({"RECYCLER": "lin-comb"}, "recycler"),
    ({"NUM_WORDS": 299}, "num_words"),
    ({"WORD_OFFSET": 21}, "word_offset"),
    ({"WORD_LIST": None}, "word_list"),
    ({"INITIAL_CHECKPOINT_PATH": "{models}/target-2"}, "initial_checkpoint"),
    ({"RANDOM_SEED": 1}, "seed"),
]


def test_it_is_not_started_with_something_else(tune, declared, models, folder, steps):
    tune(folder, "recycle_init.gin", **declared)
    before = {path: path.read_bytes() for path in folder.glob("*") if path.is_file()}
    assert {path.name for path in before} >= {"config.gin", "run_start.json"}
    for change, setting in OTHER_STARTS:
        change = {
            name: value.format(models=models) if isinstance(value, str) else value
            for name, value in change.items()
        }
        changed = {**declared, "TRAIN_STEPS_RELATIVE": 4, **change}
        result = tune(folder, "recycle_init.gin", fails=True, **changed)
        (line,) = result.error.splitlines()
        assert f"but now {setting} is" in line
        assert "choose another MODEL_DIR" in line
        # What is written there still says what happened.
        assert {path: path.read_bytes() for path in before} == before
        assert steps(folder) == [FIRST + 2]


def test_nor_with_another_kind_of_prompt(tune, declared, folder, tmp_path):
    tune(folder, "recycle_init.gin", **declared)
    start = declared["INITIAL_CHECKPOINT_PATH"]
    result = tune(folder, fails=True, INITIAL_CHECKPOINT_PATH=start)
    assert "with kind 'Recycled', but now kind is 'RandomUniform'" in result.error
    result = tune(
        folder,
        "prompts/from_sampled_vocab.gin",
        fails=True,
        INITIAL_CHECKPOINT_PATH=start,
    )
    assert "but now kind is 'SampledVocabulary'" in result.error


@pytest.mark.thorough
def test_the_same_under_another_spelling_is_the_same(
    tune, declared, folder, tmp_path, monkeypatch
):
    tune(folder, "recycle_init.gin", **declared)
    (tmp_path / "link").symlink_to(tmp_path / "tuned")
    monkeypatch.chdir(tmp_path)
    for other in ("tuned", "./tuned/", "link", f"{tmp_path}/tuned/checkpoint_1606"):
        again = {**declared, "RECYCLE_FROM": other}
        result = tune(folder, "recycle_init.gin", **again)
        assert "nothing to train: the run has ended in" in result.out


@pytest.mark.thorough
def test_what_does_not_concern_its_start_may_change(tune, declared, folder, steps):
    tune(folder, "recycle_init.gin", **declared)
    tune(
        folder,
        "recycle_init.gin",
        **{**declared, "TRAIN_STEPS_RELATIVE": 4},
        EVAL_PERIOD=1,
        LEARNING_RATE=0.1,
    )
    assert steps(folder) == [FIRST + 4]


@pytest.mark.thorough
def test_before_its_first_checkpoint_a_run_may_be_started_otherwise(
    tune, folder, models, steps
):
    tune(folder, TRAIN_STEPS_RELATIVE=2)
    shutil.rmtree(folder / f"checkpoint_{FIRST + 2}")
    other = str(models / "target-1")
    tune(folder, TRAIN_STEPS_RELATIVE=2, INITIAL_CHECKPOINT_PATH=other)
    tune(folder, TRAIN_STEPS_RELATIVE=4, INITIAL_CHECKPOINT_PATH=other)
    assert steps(folder) == [FIRST + 4]


def test_a_second_run_in_the_same_folder_is_refused(tune, folder, metrics):
    with run_folder.held(folder):
        result = tune(folder, fails=True)
    assert f"another run is at work in {folder}" in result.error
    assert not (folder / "inference_eval").exists()
    tune(folder, EVAL_PERIOD=3)
    assert [step for step, _ in metrics(folder)] == [FIRST + 3, FIRST + 6]
