"""The chooser: what gin files declare, on a model that a host provides."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest

from prompt_tuning_recycling import RecyclingError, recyclers
from prompt_tuning_recycling.choosing import teacher as teachers
from prompt_tuning_recycling.choosing.chooser import Chooser
from prompt_tuning_recycling.choosing.refinement import Refinement
from prompt_tuning_recycling.initial_prompts import Recycled
from prompt_tuning_recycling.models import open_model

from ..conftest import LENGTH, SOURCE_DIM, TARGET_DIM, train_vocabulary
from .conftest import PARAMETER, SmallModel

pytestmark = pytest.mark.slow

# Copying is for models of equal width only.
CANDIDATES = ("copy", "v2v-lin", "procrustes")


def model_of(width, length=LENGTH):
    model = SmallModel([2] * 6, width)
    model.shapes = {PARAMETER: (length, width)}
    return model


class Host:
    """Loads small models, and remembers in which order."""

    def __init__(self):
        self.loaded = []

    def target(self):
        self.loaded.append("target")
        return model_of(TARGET_DIM)

    def source(self, checkpoint, length):
        self.loaded.append((str(checkpoint.path), length))
        return model_of(SOURCE_DIM, length)


@pytest.fixture
def host():
    return Host()


@pytest.fixture
def recycled(files):
    return Recycled(
        source_checkpoint=files["source_model"],
        source_prompt=files["prompt_path"],
        word_list=files["filtered_word"],
        num_words=200,
        word_offset=10,
    )


@pytest.fixture
def chooser(recycled, tasks):
    return Chooser(
        recycled,
        "tiny_ranked",
        CANDIDATES,
        number=6,
        task_module="tiny_tasks",
        task_feature_lengths={"inputs": 6, "targets": 2},
    )


@pytest.fixture
def target(files):
    return open_model(files["target_model"])


def choose(chooser, target, host, **options):
    return chooser.choose(target, host.target, host.source, **options)


# What it does


def test_the_chosen_prompt_is_the_candidate_of_that_name(
    chooser, target, host, recycled
):
    chosen = choose(chooser, target, host)
    assert list(chosen.choice.values) == ["v2v-lin", "procrustes"]
    name = chosen.choice.chosen
    alone = dataclasses.replace(recycled, recycler=name).make(target, LENGTH)
    np.testing.assert_array_equal(chosen.prompt.array, alone.array)
    assert chosen.prompt.record["recycler"]["name"] == name


def test_the_teacher_is_loaded_first_with_the_length_of_its_prompt(
    chooser, target, host
):
    choose(chooser, target, host)
    (path, length), last = host.loaded
    assert path.endswith("source/checkpoint_7")
    assert length == LENGTH
    assert last == "target"


def test_without_a_teacher_only_the_target_is_loaded(chooser, target, host):
    alone = dataclasses.replace(chooser, use_teacher=False)
    chosen = choose(alone, target, host)
    assert host.loaded == ["target"]
    assert chosen.teacher is None
    assert chosen.choice.criterion == "information"


def test_a_candidate_that_cannot_be_made_is_recorded(chooser, target, host):
    record = choose(chooser, target, host).prompt.record
    assert list(record["choice"]["left_out"]) == ["copy"]
    assert "width" in record["choice"]["left_out"]["copy"]


def test_what_is_declared_is_recorded_with_the_prompt(chooser, target, host):
    record = choose(chooser, target, host).prompt.record
    assert record["declared"] == chooser.declared()
    assert json.loads(json.dumps(chooser.declared())) == chooser.declared()


def test_a_teachers_file_saves_loading_the_source(chooser, target, host, tmp_path):
    first = choose(chooser, target, host)
    first.save(tmp_path / "chosen")
    host.loaded.clear()
    by_file = dataclasses.replace(
        chooser, teacher_scores=tmp_path / "chosen/teacher.json"
    )
    second = choose(by_file, target, host)
    assert host.loaded == ["target"]
    assert second.choice.values == first.choice.values


def test_for_a_task_without_choices_the_teachers_answers_are_kept(
    chooser, target, host, tmp_path
):
    class Answering(SmallModel):
        """One whose likelihood of any answer depends on the prompt."""

        def score(self, prompts, inputs):
            assert inputs.sizes == [1] * 6
            mean = prompts[PARAMETER].mean(axis=0)
            return [-float(np.logaddexp(0, f[0] @ mean)) for f in self.features]

    host.target = lambda: with_shapes(Answering([2] * 6, TARGET_DIM), TARGET_DIM)
    open_ended = dataclasses.replace(chooser, task_name="tiny_train")
    chosen = choose(open_ended, target, host)
    assert chosen.choice.criterion == "likelihood"
    chosen.save(tmp_path / "chosen")
    # The file belongs to the inputs as they are read, so it can be used again.
    kept = teachers.load(tmp_path / "chosen/teacher.json", open_ended.read_inputs())
    assert len(kept.answers) == 6
    record = chosen.prompt.record["choice"]["unlabeled"]
    assert record["sha256"] == open_ended.read_inputs().digest


def with_shapes(model, width):
    model.shapes = {PARAMETER: (LENGTH, width)}
    return model


def test_several_sources_teach_together(chooser, target, host, recycled, monkeypatch):
    once = teachers.mean([choose(chooser, target, host).teacher])
    two = recycled.sources() * 2
    monkeypatch.setattr(Recycled, "sources", lambda self: two)
    found = choose(chooser, target, host).teacher
    np.testing.assert_allclose(
        np.stack(found.probabilities), np.stack(once.probabilities)
    )
    assert len(found.origin["mean_of"]) == 2


# Refinement


def test_a_refined_prompt_and_its_record(chooser, target, host):
    plain = choose(chooser, target, host)
    refining = dataclasses.replace(chooser, refinement=Refinement(5))
    chosen = choose(refining, target, host)
    record = chosen.prompt.record["choice"]["refined"]
    assert record["losses"][record["steps"]] == min(record["losses"])
    assert len(record["losses_from_an_untuned_prompt"]) >= 2
    assert (record["steps"] > 0) != np.array_equal(
        chosen.prompt.array, plain.prompt.array
    )
    assert "refined" not in plain.prompt.record["choice"]


# Several processes


def test_one_process_recycles_and_decides_for_all(chooser, target, host):
    """The second process sees only what the first one sends."""
    sent = []

    def first(make):
        sent.append(np.asarray(make()))
        return sent[-1]

    one = choose(chooser, target, host, once=first)
    received = iter(sent)
    other = choose(chooser, target, host, once=lambda make: next(received))
    assert next(received, None) is None
    assert other.choice.chosen == one.choice.chosen
    assert other.prompt.array.tobytes() == one.prompt.array.tobytes()
    assert other.prompt.record["recycled"] == one.prompt.record["recycled"]


def test_the_first_process_decides_even_if_another_one_disagrees(chooser, target, host):
    sent = []

    def first(make):
        sent.append(np.asarray(make()))
        return sent[-1]

    one = choose(chooser, target, host, once=first)
    other_name = ({"v2v-lin", "procrustes"} - {one.choice.chosen}).pop()
    received = iter([*sent[:-1], np.array(1 - int(sent[-1]))])
    other = choose(chooser, target, host, once=lambda make: next(received))
    assert other.choice.chosen == other_name
    assert other.prompt.record["choice"]["chosen"] == other_name


# Files


def test_it_saves_all_prompts_a_picture_and_the_teacher(
    chooser, target, host, tmp_path
):
    folder = tmp_path / "chosen"
    chosen = choose(chooser, target, host)
    chosen.save(folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        "candidates",
        "choice.svg",
        "prompt.npy",
        "prompt.npy.json",
        "teacher.json",
    ]
    np.testing.assert_array_equal(np.load(folder / "prompt.npy"), chosen.prompt.array)
    for name in ("v2v-lin", "procrustes"):
        kept = np.load(folder / f"candidates/{name}.npy")
        np.testing.assert_array_equal(kept, chosen.candidates[name].array)


def test_its_lines_mark_the_chosen_one(chooser, target, host):
    chosen = choose(chooser, target, host)
    lines = chosen.lines()
    assert [line.split()[0] for line in lines] == ["v2v-lin", "procrustes"]
    (marked,) = [line for line in lines if line.endswith("  chosen")]
    assert marked.split()[0] == chosen.choice.chosen
    value = chosen.choice.values[chosen.choice.chosen]["agreement"]
    assert f"{value:.4f}" in marked


# What is declared


def test_two_spellings_declare_the_same(chooser, recycled, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    other = dataclasses.replace(
        chooser,
        recycled=dataclasses.replace(recycled, source_checkpoint="source"),
        candidates=["copy", recyclers.VocabToVocabLinear(), "procrustes"],
    )
    mine, others = chooser.declared(), other.declared()
    # A step and the folder that it is in share one of their two paths.
    assert set(mine.pop("source_checkpoint").values()) & set(
        others.pop("source_checkpoint").values()
    )
    assert mine == others


def test_the_recycler_of_the_recycled_prompt_is_not_declared(chooser, recycled):
    other = dataclasses.replace(recycled, recycler="procrustes")
    assert dataclasses.replace(chooser, recycled=other).declared() == chooser.declared()
    assert "recycler" not in chooser.declared()


# Mistakes, which are found before anything is loaded


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"candidates": ()}, "CANDIDATES is empty"),
        ({"candidates": ("copy", "copy")}, "'copy' is there twice"),
        ({"candidates": ("coppy",)}, "no recycler 'coppy'. Did you mean copy"),
        (
            {"use_teacher": False, "refinement": Refinement(3)},
            "REFINE_STEPS needs a teacher",
        ),
    ],
)
def test_what_cannot_be_declared(chooser, changes, message):
    with pytest.raises(RecyclingError, match=message):
        dataclasses.replace(chooser, **changes)


def test_a_teachers_file_suffices_to_refine(chooser, tmp_path):
    dataclasses.replace(
        chooser,
        use_teacher=False,
        teacher_scores=tmp_path / "teacher.json",
        refinement=Refinement(3),
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recycled": Recycled()}, "RECYCLE_FROM is not set"),
        ({"task_name": "tiny_rank"}, "no task or mixture 'tiny_rank'. Did you mean"),
        ({"task_module": "tiny_taks"}, "cannot import 'tiny_taks'"),
        ({"split": "trian"}, "has no split 'trian'"),
        (
            {"teacher_scores": "/dev/null/absent.json"},
            "cannot read the teacher's scores",
        ),
        ({"task_name": "tiny_train", "use_teacher": False}, "no choices to rank"),
        ({"task_name": "tiny_ragged", "use_teacher": False}, "the same choices"),
        ({"task_name": "tiny_pairs", "use_teacher": False}, "the same choices"),
    ],
)
def test_what_is_wrong_is_said_before_a_model_is_loaded(
    chooser, target, host, changes, message
):
    with pytest.raises(RecyclingError, match=message):
        choose(dataclasses.replace(chooser, **changes), target, host)
    assert host.loaded == []


def test_a_source_of_another_vocabulary_cannot_teach(chooser, target, host, files):
    for name, text in (("source_model", "a film"), ("target_model", "the movie")):
        path = pathlib.Path(files[name], "spiece.model")
        train_vocabulary(path, [text] * 20, 20)
    with pytest.raises(RecyclingError, match="Set USE_TEACHER = False"):
        choose(chooser, target, host)
    assert host.loaded == []


def test_a_target_that_already_holds_a_prompt_is_refused(
    chooser, host, tmp_path, write_orbax, target_table
):
    arrays = {
        "target/token_embedder/embedding": target_table,
        f"target/{PARAMETER}": np.ones((3, TARGET_DIM), np.float32),
    }
    write_orbax(tmp_path / "tuned", arrays)
    with pytest.raises(RecyclingError, match="already holds a prompt, .*encoder/prom"):
        choose(chooser, open_model(tmp_path / "tuned"), host)
    assert host.loaded == []


def test_a_model_with_several_prompts_is_refused(chooser, target, host):
    model = model_of(TARGET_DIM)
    model.shapes["decoder/prompt/prompt/prompt"] = (LENGTH, TARGET_DIM)
    host.target = lambda: model
    with pytest.raises(RecyclingError, match="a model with one prompt, found encoder"):
        choose(chooser, target, host)


def test_a_prompt_that_does_not_fit_its_source_is_refused(chooser, target, host, files):
    np.save(files["prompt_path"], np.ones((LENGTH, SOURCE_DIM + 1), np.float32))
    with pytest.raises(RecyclingError, match=r"of shape \[5, 13\], but the model expe"):
        choose(chooser, target, host)
