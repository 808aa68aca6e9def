"""The prompts that a run keeps: when it takes them, and when it makes them again."""

import json
import pathlib
import shutil

import numpy as np
import pytest

from prompt_tuning_recycling import RecyclingError, initial_prompts
from prompt_tuning_recycling.initial_prompts import (
    FromFile,
    RandomUniform,
    Recycled,
)
from prompt_tuning_recycling.kept_prompts import (
    Keeping,
    check_kept,
    is_outdated,
    make_prompts,
)
from prompt_tuning_recycling.models import open_model

EMBEDDING = "target/token_embedder/embedding"
ENCODER, DECODER = "encoder/prompt/prompt/prompt", "decoder/prompt/prompt/prompt"
SOURCE_DIM, TARGET_DIM, LENGTH = 12, 20, 5
ONE = {ENCODER: (LENGTH, TARGET_DIM)}
TWO = {**ONE, DECODER: (3, TARGET_DIM)}


@pytest.fixture
def target(files):
    return open_model(files["target_model"])


@pytest.fixture
def recycled(files):
    return Recycled(
        source_checkpoint=files["source_model"],
        source_prompt=files["prompt_path"],
        target_checkpoint=files["target_model"],
        word_list=files["filtered_word"],
        num_words=int(files["num_words"]),
        word_offset=int(files["word_offset"]),
    )


# Several prompts in one model


@pytest.fixture
def two_prompts(tmp_path, write_orbax, rng):
    """A source with two prompts: their names, and the checkpoint."""

    def write(name, width):
        prompts = {
            f"target/{ENCODER}": rng.normal(size=(LENGTH, width)).astype(np.float32),
            f"target/{DECODER}": rng.normal(size=(3, width)).astype(np.float32),
        }
        table = rng.normal(size=(384, width)).astype(np.float32)
        write_orbax(tmp_path / name, {EMBEDDING: table, **prompts})
        return tmp_path / name, prompts

    return write


def test_each_prompt_is_recycled_from_the_one_of_its_name(
    recycled, target, two_prompts, tmp_path
):
    source, prompts = two_prompts("two", SOURCE_DIM)
    kind = Recycled(
        **{**vars(recycled), "source_checkpoint": source, "source_prompt": source}
    )
    kinds = dict.fromkeys(TWO, kind)
    made = make_prompts(kinds, TWO, target, Keeping(tmp_path / "run"))
    for name in TWO:
        np.save(tmp_path / "alone.npy", prompts[f"target/{name}"])
        alone = Recycled(**{**vars(kind), "source_prompt": tmp_path / "alone.npy"})
        expected = alone.make(target, TWO[name][0]).array
        np.testing.assert_array_equal(made[name], expected)
    again = make_prompts(kinds, TWO, target, Keeping(tmp_path / "run"))
    for name in TWO:
        np.testing.assert_array_equal(again[name], made[name])
    kept = {path.name for path in (tmp_path / "run/recycled_prompt").glob("*.npy")}
    assert kept == {f"{name.replace('/', '.')}.npy" for name in TWO}


def test_each_prompt_is_taken_from_the_one_of_its_name(target, two_prompts):
    source, prompts = two_prompts("two", TARGET_DIM)
    made = make_prompts(dict.fromkeys(TWO, FromFile(source)), TWO, target)
    for name in TWO:
        np.testing.assert_array_equal(made[name], prompts[f"target/{name}"])


@pytest.mark.parametrize(
    "kind", [RandomUniform(seed=3), initial_prompts.SampledVocabulary(seed=3)]
)
def test_each_random_prompt_is_drawn_by_itself(target, kind):
    shapes = {ENCODER: (LENGTH, TARGET_DIM), DECODER: (LENGTH, TARGET_DIM)}
    made = make_prompts(dict.fromkeys(shapes, kind), shapes, target)
    assert (made[ENCODER] != made[DECODER]).any()
    alone = kind.make(target, LENGTH).array
    (only,) = make_prompts({ENCODER: kind}, ONE, target).values()
    np.testing.assert_array_equal(only, alone)


def test_one_prompt_is_not_enough_for_several(recycled, target, files):
    for kind in (recycled, FromFile(files["prompt_path"])):
        with pytest.raises(RecyclingError, match="the model has several prompts"):
            make_prompts(dict.fromkeys(TWO, kind), TWO, target)


# Shapes


def test_a_prompt_of_another_width_is_refused_before_it_is_kept(
    recycled, files, target, tmp_path
):
    """TARGET_CHECKPOINT and the model that the run starts from are two models."""
    elsewhere = Recycled(**{**vars(recycled), "target_checkpoint": None})
    source = open_model(files["source_model"])
    message = r"shape \[5, 12\], but the model expects \[5, 20\].*TARGET_CHECKPOINT"
    with pytest.raises(RecyclingError, match=message):
        make_prompts({ENCODER: elsewhere}, ONE, source, Keeping(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


# The same under another spelling


def spellings(path, tmp_path, monkeypatch):
    """The same file or folder, as one may write it."""
    path = pathlib.Path(path)
    monkeypatch.chdir(path.parent)
    monkeypatch.setenv("HOME", str(path.parent))
    link = tmp_path / f"link-to-{path.name}"
    link.symlink_to(path)
    return {
        "relative": path.name,
        "dotted": f"./{path.name}",
        "through-a-parent": f"{path.parent}/../{path.parent.name}/{path.name}",
        "trailing-slash": f"{path}/" if path.is_dir() else f"{path}",
        "link": str(link),
        "home": f"~/{path.name}",
    }


@pytest.mark.parametrize(
    "how",
    ["relative", "dotted", "through-a-parent", "trailing-slash", "link", "home"],
)
@pytest.mark.parametrize(
    "field", ["source_checkpoint", "source_prompt", "target_checkpoint", "word_list"]
)
def test_the_same_path_is_the_same(recycled, target, tmp_path, monkeypatch, field, how):
    made = make_prompts({ENCODER: recycled}, ONE, target, Keeping(tmp_path / "run"))
    path = getattr(recycled, field)
    other = spellings(path, tmp_path, monkeypatch)[how]
    again = Recycled(**{**vars(recycled), field: other})
    kept = make_prompts({ENCODER: again}, ONE, target, Keeping(tmp_path / "run"))
    np.testing.assert_array_equal(kept[ENCODER], made[ENCODER])


def test_a_model_dir_is_its_newest_step(recycled, target, tmp_path, write_orbax, rng):
    table = rng.normal(size=(384, SOURCE_DIM)).astype(np.float32)
    write_orbax(tmp_path / "tuned/checkpoint_7", {EMBEDDING: table})
    by_step = Recycled(
        **{**vars(recycled), "source_checkpoint": tmp_path / "tuned/checkpoint_7"}
    )
    by_dir = Recycled(**{**vars(recycled), "source_checkpoint": tmp_path / "tuned"})
    for first, second in ((by_step, by_dir), (by_dir, by_step)):
        folder = tmp_path / f"run-{first is by_step}"
        make_prompts({ENCODER: first}, ONE, target, Keeping(folder))
        make_prompts({ENCODER: second}, ONE, target, Keeping(folder))
    write_orbax(tmp_path / "tuned/checkpoint_9", {EMBEDDING: table})
    with pytest.raises(RecyclingError, match="source_checkpoint"):
        make_prompts({ENCODER: by_dir}, ONE, target, Keeping(tmp_path / "run-True"))


def test_no_source_prompt_is_the_sources_own(recycled, files):
    source = files["source_model"]
    named = Recycled(
        **{**vars(recycled), "source_checkpoint": source, "source_prompt": source}
    )
    unnamed = Recycled(**{**vars(named), "source_prompt": None})
    assert named.declared() == unnamed.declared()


def test_one_source_in_a_list_is_that_source(recycled):
    listed = Recycled(
        **{
            **vars(recycled),
            "source_checkpoint": [recycled.source_checkpoint],
            "source_prompt": (recycled.source_prompt,),
        }
    )
    assert listed.declared() == recycled.declared()


@pytest.fixture
def several(recycled, files):
    sources = [files["source_model"]] * 2
    prompts = [files["prompt_path"]] * 2
    return Recycled(
        **{**vars(recycled), "source_checkpoint": sources, "source_prompt": prompts}
    )


@pytest.mark.parametrize("field", ["source_checkpoint", "source_prompt"])
def test_the_same_paths_in_a_list_are_the_same(
    several, target, tmp_path, monkeypatch, field
):
    made = make_prompts({ENCODER: several}, ONE, target, Keeping(tmp_path / "run"))
    path = getattr(several, field)[1]
    for other in spellings(path, tmp_path, monkeypatch).values():
        again = Recycled(**{**vars(several), field: (path, other)})
        kept = make_prompts({ENCODER: again}, ONE, target, Keeping(tmp_path / "run"))
        np.testing.assert_array_equal(kept[ENCODER], made[ENCODER])


def test_another_list_is_another_prompt(several, recycled, target, tmp_path):
    make_prompts({ENCODER: several}, ONE, target, Keeping(tmp_path / "run"))
    source = several.source_checkpoint[0]
    other = Recycled(**{**vars(several), "source_checkpoint": [source, "/other"]})
    message = f"source_checkpoint \\['{source}', '{source}'\\], but now .*'/other'\\]"
    with pytest.raises(RecyclingError, match=message):
        check_kept(other, Keeping(tmp_path / "run"))
    with pytest.raises(RecyclingError, match="now source_checkpoint is '"):
        check_kept(recycled, Keeping(tmp_path / "run"))


# What a prompt was made from, and is no longer


@pytest.fixture
def restarted(target, tmp_path):
    """Makes the prompt in a run's folder, as often as it is called."""

    def make(kind, of=target, step=None):
        keeping = Keeping(tmp_path / "run", step)
        return make_prompts({ENCODER: kind}, ONE, of, keeping)[ENCODER]

    return make


def changed(kind, **fields):
    return Recycled(**{**vars(kind), **fields})


def test_a_newer_step_of_the_source_is_recycled_anew(
    recycled, target, restarted, tmp_path, write_orbax, rng, caplog
):
    def write(step):
        write_orbax(
            tmp_path / f"tuned/checkpoint_{step}",
            {
                EMBEDDING: rng.normal(size=(384, SOURCE_DIM)).astype(np.float32),
                f"target/{ENCODER}": rng.normal(size=(LENGTH, SOURCE_DIM)).astype("f4"),
            },
        )

    write(7)
    folder = tmp_path / "tuned"
    kind = changed(recycled, source_checkpoint=folder, source_prompt=folder)
    before = restarted(kind)
    np.testing.assert_array_equal(restarted(kind), before)
    assert "making the prompt again" not in caplog.text
    write(9)
    after = restarted(kind)
    np.testing.assert_array_equal(after, kind.make(target, LENGTH).array)
    assert np.abs(after - before).max() > 0.01
    assert "checkpoint_7 and is now" in caplog.text
    np.testing.assert_array_equal(
        np.load(tmp_path / "run/recycled_prompt/prompt.npy"), after
    )
    assert not is_outdated(kind, target, Keeping(tmp_path / "run"))


@pytest.mark.parametrize("several_sources", [False, True])
def test_a_prompt_that_was_tuned_anew_is_recycled_anew(
    recycled, several, target, restarted, caplog, several_sources
):
    kind = several if several_sources else recycled
    before = restarted(kind)
    np.save(recycled.source_prompt, 2 * np.load(recycled.source_prompt))
    assert is_outdated(
        kind, target, Keeping(pathlib.Path(recycled.source_prompt).parent / "run")
    )
    after = restarted(kind)
    np.testing.assert_array_equal(after, kind.make(target, LENGTH).array)
    assert (after != before).any()
    assert f"the tuned prompt {recycled.source_prompt} was written again" in caplog.text


@pytest.mark.parametrize("role", ["source", "target"])
def test_a_model_that_was_written_anew_is_read_anew(
    recycled, restarted, files, write_orbax, write_legacy, rng, role
):
    before = restarted(recycled)
    width = SOURCE_DIM if role == "source" else TARGET_DIM
    table = {EMBEDDING: rng.normal(size=(384, width)).astype(np.float32)}
    step = "checkpoint_7" if role == "source" else "checkpoint_9"
    folder = pathlib.Path(files[f"{role}_model"]) / step
    shutil.rmtree(folder)
    (write_orbax if role == "source" else write_legacy)(folder, table)
    model = open_model(files["target_model"])
    after = restarted(recycled, of=model)
    np.testing.assert_array_equal(after, recycled.make(model, LENGTH).array)
    assert np.abs(after - before).max() > 0.01


def test_a_word_list_of_other_words_is_read_anew(recycled, target, restarted, files):
    before = restarted(recycled)
    path = pathlib.Path(files["filtered_word"])
    words = json.loads(path.read_text())
    path.write_text(json.dumps(dict(reversed(words.items()))))
    after = restarted(recycled)
    np.testing.assert_array_equal(after, recycled.make(target, LENGTH).array)
    assert (after != before).any()


def test_nothing_is_made_again_when_the_source_is_gone(recycled, restarted, files):
    before = restarted(recycled)
    shutil.rmtree(files["source_model"])
    pathlib.Path(files["prompt_path"]).unlink()
    pathlib.Path(files["filtered_word"]).unlink()
    np.testing.assert_array_equal(restarted(recycled), before)


def test_a_model_dir_that_is_the_target_is_the_step_that_is_given(
    recycled, restarted, tmp_path, write_orbax, rng
):
    """Not its newest one. Each step keeps a prompt of its own."""
    steps = {}
    for step in (1, 2):
        table = rng.normal(size=(384, TARGET_DIM)).astype(np.float32)
        path = tmp_path / f"trained/checkpoint_{step}"
        write_orbax(path, {EMBEDDING: table})
        steps[path.name] = open_model(path)
    kind = changed(recycled, target_checkpoint=tmp_path / "trained")
    for _ in range(2):
        for name, model in steps.items():
            expected = changed(recycled, target_checkpoint=model.path)
            np.testing.assert_array_equal(
                restarted(kind, of=model, step=name),
                expected.make(model, LENGTH).array,
            )
    kept = sorted((tmp_path / "run/recycled_prompt").glob("*/prompt.npy"))
    assert [path.parent.name for path in kept] == list(steps)
