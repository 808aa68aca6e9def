"""Choosing a prompt, in a job of its own and as the start of another run."""

import importlib
import json
import pathlib
import shutil
from xml.etree import ElementTree

import numpy as np
import pytest

from prompt_tuning_recycling import recyclers
from prompt_tuning_recycling.models import open_model
from prompt_tuning_recycling.prompts.prompt import load_record

from ..conftest import thorough
from .conftest import TASK

# Most start a run of the host.
pytestmark = pytest.mark.slow

EMBEDDING = "target/token_embedder/embedding"
PROMPT = "target/encoder/prompt/prompt/prompt"


def record_of(folder):
    return load_record(folder / "chosen/prompt.npy")


def bits(folder):
    return (pathlib.Path(folder) / "chosen/prompt.npy").read_bytes()


def without_seconds(choice):
    candidates = {
        name: {key: value for key, value in values.items() if key != "seconds"}
        for name, values in choice["candidates"].items()
    }
    return {**choice, "candidates": candidates}


# In a job of its own


def test_it_writes_a_prompt_its_record_and_a_picture(choose, folder):
    result = choose()
    assert sorted(file.name for file in (folder / "chosen").iterdir()) == [
        "candidates",
        "choice.svg",
        "prompt.npy",
        "prompt.npy.json",
        "teacher.json",
    ]
    assert np.load(folder / "chosen/prompt.npy").shape == (5, 64)
    ElementTree.parse(folder / "chosen/choice.svg")
    first, second, last = result.out.splitlines()
    assert first.split() == ["v2v-lin", "agreement", first.split()[2], "chosen"]
    assert second.split()[:2] == ["lin-comb", "agreement"]
    assert last == f"wrote {folder}/chosen/prompt.npy"


def test_the_record_says_how_it_was_made_and_why_it_was_chosen(chosen, choosing):
    record = record_of(chosen)
    assert record["recycler"]["name"] == "v2v-lin"
    assert record["words"]["num_words"] == 300
    choice = record["choice"]
    assert choice["chosen"] == "v2v-lin"
    assert choice["criterion"] == "agreement"
    assert list(choice["candidates"]) == ["v2v-lin", "lin-comb"]
    # They are the same map, and this one works.
    worth = [one["agreement"] for one in choice["candidates"].values()]
    assert worth[0] == pytest.approx(worth[1], abs=1e-4)
    assert worth[0] > 0.7
    assert choice["unlabeled"]["task"] == "tiny_ranked"
    assert choice["unlabeled"]["split"] == "train"
    assert choice["unlabeled"]["inputs"] == 16
    assert choice["teacher"]["source"] == choosing["SOURCE_CHECKPOINT"]
    assert choice["teacher"]["prompt"]["path"] == choosing["SOURCE_PROMPT"]
    assert record["declared"]["kind"] == "Chosen"


def test_the_same_choice_gives_the_same_files(chosen, choose, tmp_path):
    choose(CHOOSE_OUTPUT_DIR=str(tmp_path / "again"))
    for name in ("prompt.npy", "choice.svg", "teacher.json"):
        once, again = (base / "chosen" / name for base in (chosen, tmp_path / "again"))
        assert once.read_bytes() == again.read_bytes(), name


@pytest.mark.parametrize("use_teacher", [True, thorough(False)])
def test_labels_are_not_read(choose, folder, tmp_path, monkeypatch, use_teacher):
    choose(USE_TEACHER=use_teacher)
    tasks = importlib.import_module("tiny_tasks")
    reviews = tasks.reviews
    monkeypatch.setattr(
        tasks, "reviews", lambda split: (reviews(split)[0], reviews(split)[1][::-1])
    )
    other = tmp_path / "scrambled"
    choose(USE_TEACHER=use_teacher, CHOOSE_OUTPUT_DIR=str(other))
    assert bits(other) == bits(folder)
    before, after = (without_seconds(record_of(f)["choice"]) for f in (folder, other))
    assert before == after


def test_without_a_teacher(choose, folder):
    result = choose(USE_TEACHER=False)
    choice = record_of(folder)["choice"]
    assert choice["criterion"] == "information"
    assert choice["teacher"] is None
    assert not (folder / "chosen/teacher.json").exists()
    assert "information" in result.out


class Reference(str):
    """A value that is written without quotes."""

    __repr__ = str.__str__


def test_a_prompt_that_fails_is_not_chosen(choose, folder):
    """v2v-nn, trained for one epoch, maps the prompt next to nothing."""
    result = choose(
        CANDIDATES=Reference("(@recyclers.VocabToVocabMLP(), 'v2v-lin')"),
        **{"recyclers.VocabToVocabMLP.epochs": 1},
    )
    choice = record_of(folder)["choice"]
    assert choice["chosen"] == "v2v-lin"
    worth = {name: one["agreement"] for name, one in choice["candidates"].items()}
    assert worth["v2v-nn"] < worth["v2v-lin"] - 0.1
    assert "chosen" in result.out.splitlines()[1]


@pytest.mark.thorough
def test_a_source_of_another_width_teaches_in_the_same_job(
    choose, folder, models, tmp_path
):
    """Its sizes are read from its checkpoint. Copying needs equal widths."""
    pieces = [9, 10, 11, 12, 13]
    wide = open_model(models / "wide").embeddings.take(pieces)
    np.save(tmp_path / "wide.npy", wide.astype(np.float32))
    choose(
        SOURCE_CHECKPOINT=str(models / "wide"),
        SOURCE_PROMPT=str(tmp_path / "wide.npy"),
        CANDIDATES=("copy", "v2v-lin", "relative"),
    )
    choice = record_of(folder)["choice"]
    assert choice["criterion"] == "agreement"
    assert list(choice["left_out"]) == ["copy"]
    assert list(choice["candidates"]) == ["v2v-lin", "relative"]
    assert np.load(folder / "chosen/prompt.npy").shape == (5, 64)
    assert choice["teacher"]["prompt"]["shape"] == list(wide.shape)


@pytest.mark.thorough
def test_the_checkpoint_that_holds_both_model_and_prompt(
    chosen, choose, tmp_path, models, choosing, write_orbax
):
    """RECYCLE_FROM, as after prompt tuning."""
    source = open_model(models / "source")
    arrays = {
        f"target/{name}": array.read() for name, array in source.parameters.items()
    }
    arrays[PROMPT] = np.load(choosing["SOURCE_PROMPT"])
    write_orbax(tmp_path / "both/checkpoint_7", arrays)
    together = {
        "RECYCLE_FROM": str(tmp_path / "both"),
        "CHOOSE_OUTPUT_DIR": str(tmp_path / "again"),
    }
    for name in ("SOURCE_CHECKPOINT", "SOURCE_PROMPT"):
        together[name] = together["RECYCLE_FROM"]
    choose(**together)
    assert bits(tmp_path / "again") == bits(chosen)


def test_by_default_it_chooses_among_the_portfolio(
    start, tiny, models, choosing, folder
):
    del choosing["CANDIDATES"]
    result = start(
        "choose",
        [tiny, "runs/standalone/choose.gin"],
        **{
            **TASK,
            **choosing,
            "MIXTURE_OR_TASK_NAME": "tiny_ranked",
            "INITIAL_CHECKPOINT_PATH": str(models / "target-1"),
            "CHOOSE_OUTPUT_DIR": str(folder),
        },
    )
    assert result.code == 0, result.error
    choice = record_of(folder)["choice"]
    assert tuple(choice["candidates"]) == recyclers.PORTFOLIO
    assert choice["left_out"] == {}
    worth = {name: one["agreement"] for name, one in choice["candidates"].items()}
    assert choice["chosen"] == max(worth, key=worth.get)


# Tasks


@pytest.mark.thorough
def test_a_task_without_choices_is_judged_by_the_teachers_answers(choose, folder):
    choose(MIXTURE_OR_TASK_NAME="tiny_train")
    choice = record_of(folder)["choice"]
    assert choice["criterion"] == "likelihood"
    assert choice["candidates"]["v2v-lin"]["likelihood"] > 0.5
    teacher = json.loads((folder / "chosen/teacher.json").read_text())
    assert len(teacher["answers"]) == 16
    # Good and bad, as the source answers.
    assert {tuple(answer) for answer in teacher["answers"]} == {(53, 1), (54, 1)}


@pytest.mark.thorough
def test_answers_can_be_used_again(choose, folder, tmp_path):
    choose(MIXTURE_OR_TASK_NAME="tiny_train")
    choose(
        MIXTURE_OR_TASK_NAME="tiny_train",
        TEACHER_SCORES=str(folder / "chosen/teacher.json"),
        CHOOSE_OUTPUT_DIR=str(tmp_path / "again"),
    )
    assert bits(tmp_path / "again") == bits(folder)


@pytest.mark.thorough
def test_inputs_with_choices_of_their_own(choose, folder):
    choose(MIXTURE_OR_TASK_NAME="tiny_pairs")
    values = record_of(folder)["choice"]["candidates"]["v2v-lin"]
    assert set(values) == {"agreement", "seconds"}


@pytest.mark.thorough
def test_fewer_inputs_than_asked_for(choose, folder):
    result = choose(NUM_UNLABELED=1000)
    assert "has only 84 inputs in the split train; expected 1000" in result.error
    assert record_of(folder)["choice"]["unlabeled"]["inputs"] == 84


@pytest.mark.thorough
def test_another_task_and_split(choose, folder):
    choose(
        UNLABELED_TASK_NAME="tiny_generated",
        UNLABELED_SPLIT="validation",
        UNLABELED_SEED=3,
    )
    unlabeled = record_of(folder)["choice"]["unlabeled"]
    assert (unlabeled["task"], unlabeled["split"]) == ("tiny_generated", "validation")
    assert unlabeled["seed"] == 3


# A teacher in another job


@pytest.fixture
def teach(start, tiny, choosing, tmp_path):
    """Writes the source's answers to a file."""

    def teach(path, model=tiny, **macros):
        return start(
            "teach",
            [model, "runs/standalone/teach.gin"],
            **{
                **TASK,
                **choosing,
                "MIXTURE_OR_TASK_NAME": "tiny_ranked",
                "TEACHER_SCORES": str(path),
                **macros,
            },
        )

    return teach


@pytest.fixture
def taught(teach, tmp_path):
    path = tmp_path / "teacher.json"
    result = teach(path)
    assert (result.code, result.out) == (0, f"wrote {path}\n"), result.error
    return path


def test_a_teachers_file_leads_to_the_same_choice(chosen, choose, tmp_path, taught):
    alone = tmp_path / "alone"
    choose(TEACHER_SCORES=str(taught), CHOOSE_OUTPUT_DIR=str(alone))
    assert bits(alone) == bits(chosen)
    one, other = (record_of(where)["choice"] for where in (chosen, alone))
    assert other["teacher"]["path"] == str(taught)
    for choice in (one, other):
        choice.pop("teacher")
    assert without_seconds(one) == without_seconds(other)


def test_a_teachers_file_of_other_inputs_is_refused(choose, folder, taught):
    result = choose(TEACHER_SCORES=str(taught), UNLABELED_SEED=1, fails=True)
    (line,) = result.error.splitlines()
    assert f"{taught} belongs to other inputs" in line
    assert "seed 1" in line
    assert not folder.exists()


def test_a_teachers_file_does_not_replace_what_it_is_made_from(teach, choosing, source):
    before = sorted(source.rglob("*"))
    inside = source / "checkpoint_1600/teacher.json"
    for path in (choosing["SOURCE_PROMPT"], inside):
        result = teach(path, SOURCE_CHECKPOINT=str(source))
        assert result.code == 1
        (line,) = result.error.splitlines()
        assert "TEACHER_SCORES" in line
    assert np.load(choosing["SOURCE_PROMPT"]).shape == (5, 64)
    assert sorted(source.rglob("*")) == before


def test_a_teacher_with_a_model_file_of_another_length(teach, choosing, tmp_path):
    result = teach(tmp_path / "teacher.json", PROMPT_LENGTH=7)
    (line,) = result.error.splitlines()
    assert "Set --gin.PROMPT_LENGTH=5" in line
    assert not (tmp_path / "teacher.json").exists()


# Refinement


def test_a_chosen_prompt_is_refined(chosen, choose, tmp_path):
    refined = tmp_path / "refined"
    choose(REFINE_STEPS=4, CHOOSE_OUTPUT_DIR=str(refined))
    record = record_of(refined)["choice"]["refined"]
    losses = record["losses"]
    assert losses[record["steps"]] == min(losses)
    assert len(losses) <= 5
    # An untuned prompt starts from further away.
    assert record["losses_from_an_untuned_prompt"][0] > losses[0]
    assert (record["steps"] > 0) == (bits(refined) != bits(chosen))


@pytest.mark.thorough
def test_refining_for_a_task_without_choices(choose, folder):
    choose(REFINE_STEPS=2, MIXTURE_OR_TASK_NAME="tiny_train")
    losses = record_of(folder)["choice"]["refined"]["losses"]
    assert min(losses) <= losses[0]


# As the start of another run


@pytest.fixture
def evaluate_chosen(evaluate, tiny, choosing, folder):
    def evaluate_chosen(**macros):
        return evaluate(
            tiny,
            "choose_init.gin",
            **{**choosing, "EVAL_OUTPUT_DIR": str(folder), **macros},
        )

    return evaluate_chosen


@pytest.mark.thorough
def test_in_one_step_with_an_evaluation(
    chosen, evaluate, tiny, evaluate_chosen, metrics, tmp_path
):
    """The prompt is that of the job, bit for bit, and so are the metrics."""
    folder = tmp_path / "evaluation"
    result = evaluate_chosen(EVAL_OUTPUT_DIR=str(folder))
    assert "v2v-lin        agreement" in result.out
    assert bits(folder) == bits(chosen)
    again = tmp_path / "from_file"
    evaluate(
        tiny,
        "prompts/from_file.gin",
        PROMPT_FILE=str(chosen / "chosen/prompt.npy"),
        EVAL_OUTPUT_DIR=str(again),
    )
    assert metrics(folder) == metrics(again)
    assert metrics(folder)[0][1]["accuracy"] > 80


def test_a_restart_takes_the_kept_prompt(
    evaluate_chosen, folder, metrics, choosing, source
):
    macros = {"SOURCE_CHECKPOINT": str(source)}
    evaluate_chosen(**macros)
    before, measured = bits(folder), metrics(folder)
    shutil.rmtree(source)
    result = evaluate_chosen(**macros)
    assert "taking the prompt that was made before" in result.error
    assert bits(folder) == before
    assert metrics(folder)[-1] == measured[-1]


OTHER_SETTINGS = [
    ({"NUM_UNLABELED": 8}, "number 16, but now number is 8"),
    ({"UNLABELED_SPLIT": "test"}, "split 'train', but now split is 'test'"),
    ({"USE_TEACHER": False}, "use_teacher True, but now use_teacher is False"),
    ({"REFINE_STEPS": 2}, "refinement"),
    ({"CANDIDATES": ("v2v-lin",)}, "candidates"),
    ({"NUM_WORDS": 200}, "num_words 300, but now num_words is 200"),
]


def test_a_restart_with_other_settings_is_refused(chosen, evaluate_chosen):
    before = bits(chosen)
    for changed, named in OTHER_SETTINGS:
        result = evaluate_chosen(fails=True, **changed)
        (line,) = result.error.splitlines()
        assert named in line
        assert "holds a prompt that this run has made before" in line
        assert bits(chosen) == before


def test_a_run_takes_the_prompt_of_a_job_with_the_same_settings(
    chosen, evaluate_chosen
):
    before = bits(chosen)
    result = evaluate_chosen()
    assert "taking the prompt that was made before" in result.error
    assert bits(chosen) == before


@pytest.mark.thorough
def test_in_one_step_with_inference(start, tiny, models, choosing, chosen, tmp_path):
    folder = tmp_path / "inference"
    result = start(
        "infer",
        [tiny, "runs/standalone/infer.gin", "choose_init.gin"],
        **{
            **choosing,
            "MIXTURE_OR_TASK_MODULE": "tiny_tasks",
            "TASK_FEATURE_LENGTHS": {"inputs": 6, "targets": 2},
            "MIXTURE_OR_TASK_NAME": "tiny_ranked",
            "INITIAL_CHECKPOINT_PATH": str(models / "target-1"),
            "INFER_OUTPUT_DIR": str(folder),
            "INFER_MODE": "score",
        },
    )
    assert result.code == 0, result.error
    assert bits(folder) == bits(chosen)


def test_in_one_step_with_training(tune, models, choosing, folder, exported, choose):
    """Training starts from the prompt, and keeps it."""
    macros = {
        **choosing,
        "MIXTURE_OR_TASK_NAME": "tiny_apart",
        "INITIAL_CHECKPOINT_PATH": str(models / "target-1"),
        "TRAIN_STEPS_RELATIVE": 2,
    }
    tune(folder, "choose_init.gin", **macros)
    np.testing.assert_array_equal(
        exported(folder, 1600), np.load(folder / "chosen/prompt.npy")
    )
    assert not np.array_equal(exported(folder, 1602), exported(folder, 1600))
    choose(MIXTURE_OR_TASK_NAME="tiny_apart", CHOOSE_OUTPUT_DIR=str(folder / "job"))
    assert bits(folder) == bits(folder / "job")
    # A run that is resumed says so if it is told to start from something else.
    result = tune(folder, "choose_init.gin", **{**macros, "NUM_UNLABELED": 8}, fails=1)
    (line,) = result.error.splitlines()
    assert "number 16, but now number is 8" in line


# Mistakes


MISTAKES = {
    "no source": (
        {"SOURCE_CHECKPOINT": None, "SOURCE_PROMPT": None},
        "there is nothing to recycle: RECYCLE_FROM is not set",
    ),
    "an unknown candidate": (
        {"CANDIDATES": ("v2v-lin", "procrustez")},
        "there is no recycler 'procrustez'",
    ),
    "a candidate twice": (
        {"CANDIDATES": ("v2v-lin", "lin-comb", "v2v-lin")},
        "CANDIDATES: 'v2v-lin' is there twice",
    ),
    "no candidate": ({"CANDIDATES": ()}, "CANDIDATES: expected a list of recyclers"),
    "a split misspelt": (
        {"UNLABELED_SPLIT": "trian"},
        "UNLABELED_SPLIT: tiny_ranked has no split 'trian'. Expected one of train",
    ),
    "a task misspelt": (
        {"UNLABELED_TASK_NAME": "tiny_rank"},
        "there is no task or mixture 'tiny_rank'. Did you mean tiny_ranked",
    ),
    "a module misspelt": (
        {"MIXTURE_OR_TASK_MODULE": "tiny_taks"},
        "MIXTURE_OR_TASK_MODULE: cannot import 'tiny_taks'",
    ),
    "no teacher's file": (
        {"TEACHER_SCORES": "/dev/null/absent/teacher.json"},
        "cannot read the teacher's scores /dev/null/absent/teacher.json",
    ),
    "refining without a teacher": (
        {"REFINE_STEPS": 3, "USE_TEACHER": False},
        "REFINE_STEPS needs a teacher. Set USE_TEACHER = True",
    ),
    "no choices and no teacher": (
        {"MIXTURE_OR_TASK_NAME": "tiny_train", "USE_TEACHER": False},
        "the task has no choices to rank, so a choice needs a teacher",
    ),
    "ragged choices and no teacher": (
        {"MIXTURE_OR_TASK_NAME": "tiny_ragged", "USE_TEACHER": False},
        "do not all have the same choices, so a choice needs a teacher",
    ),
    "another length": ({"PROMPT_LENGTH": 7}, "Set --gin.PROMPT_LENGTH=5"),
    "no inputs": ({"NUM_UNLABELED": 0}, "NUM_UNLABELED: expected a whole number of"),
}


@pytest.mark.parametrize(("macros", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_gives_one_line_and_leaves_nothing(choose, folder, macros, message):
    result = choose(fails=True, **macros)
    (line,) = result.error.splitlines()
    assert message in line
    assert not folder.exists()


def test_a_model_without_a_prompt(choose, folder, tiny_without):
    result = choose(model=tiny_without, fails=True)
    (line,) = result.error.splitlines()
    assert "Use a model file whose name ends in _prompt" in line
    assert not folder.exists()


def test_a_target_that_already_holds_a_prompt(choose, folder, tuned):
    result = choose(INITIAL_CHECKPOINT_PATH=str(tuned), fails=True)
    (line,) = result.error.splitlines()
    assert "already holds a prompt" in line
    assert "Set INITIAL_CHECKPOINT_PATH to the model before prompt tuning" in line
    assert not folder.exists()


def test_a_prompt_of_another_width_than_its_model(choose, folder, tmp_path):
    np.save(tmp_path / "narrow.npy", np.ones((5, 7), np.float32))
    result = choose(SOURCE_PROMPT=str(tmp_path / "narrow.npy"), fails=True)
    (line,) = result.error.splitlines()
    assert "of shape [5, 7]" in line
    assert not folder.exists()


@pytest.mark.parametrize("inside", ["", "chosen"])
def test_an_output_inside_the_source(choose, source, inside):
    before = sorted(source.rglob("*"))
    result = choose(
        fails=True,
        SOURCE_CHECKPOINT=str(source),
        CHOOSE_OUTPUT_DIR=str(source / "checkpoint_1600" / inside),
    )
    (line,) = result.error.splitlines()
    assert "CHOOSE_OUTPUT_DIR" in line
    assert "SOURCE_CHECKPOINT" in line
    assert sorted(source.rglob("*")) == before


def test_macros_of_a_choice_without_its_file(evaluate, tiny, folder):
    result = evaluate(
        tiny,
        "recycle_init.gin",
        fails=True,
        EVAL_OUTPUT_DIR=str(folder),
        NUM_UNLABELED=16,
    )
    (line,) = result.error.splitlines()
    assert "NUM_UNLABELED" in line
