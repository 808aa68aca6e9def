"""A run's folder: what is kept there, and what a run that goes on is compared with."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from prompt_tuning_recycling import RecyclingError, initial_prompts, run_folder
from prompt_tuning_recycling.initial_prompts import (
    FromFile,
    RandomUniform,
    Recycled,
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
    made = run_folder.make_prompts(kinds, TWO, target, tmp_path / "run")
    for name in TWO:
        np.save(tmp_path / "alone.npy", prompts[f"target/{name}"])
        alone = Recycled(**{**vars(kind), "source_prompt": tmp_path / "alone.npy"})
        expected = alone.make(target, TWO[name][0]).array
        np.testing.assert_array_equal(made[name], expected)
    again = run_folder.make_prompts(kinds, TWO, target, tmp_path / "run")
    for name in TWO:
        np.testing.assert_array_equal(again[name], made[name])
    kept = {path.name for path in (tmp_path / "run/recycled_prompt").glob("*.npy")}
    assert kept == {f"{name.replace('/', '.')}.npy" for name in TWO}


def test_each_prompt_is_taken_from_the_one_of_its_name(target, two_prompts):
    source, prompts = two_prompts("two", TARGET_DIM)
    made = run_folder.make_prompts(dict.fromkeys(TWO, FromFile(source)), TWO, target)
    for name in TWO:
        np.testing.assert_array_equal(made[name], prompts[f"target/{name}"])


@pytest.mark.parametrize(
    "kind", [RandomUniform(seed=3), initial_prompts.SampledVocabulary(seed=3)]
)
def test_each_random_prompt_is_drawn_by_itself(target, kind):
    shapes = {ENCODER: (LENGTH, TARGET_DIM), DECODER: (LENGTH, TARGET_DIM)}
    made = run_folder.make_prompts(dict.fromkeys(shapes, kind), shapes, target)
    assert (made[ENCODER] != made[DECODER]).any()
    alone = kind.make(target, LENGTH).array
    (only,) = run_folder.make_prompts({ENCODER: kind}, ONE, target).values()
    np.testing.assert_array_equal(only, alone)


def test_one_prompt_is_not_enough_for_several(recycled, target, files):
    for kind in (recycled, FromFile(files["prompt_path"])):
        with pytest.raises(RecyclingError, match="the model has several prompts"):
            run_folder.make_prompts(dict.fromkeys(TWO, kind), TWO, target)


# Shapes


def test_a_prompt_of_another_width_is_refused_before_it_is_kept(
    recycled, files, target, tmp_path
):
    """TARGET_CHECKPOINT and the model that the run starts from are two models."""
    elsewhere = Recycled(**{**vars(recycled), "target_checkpoint": None})
    source = open_model(files["source_model"])
    message = r"shape \[5, 12\], but the model expects \[5, 20\].*TARGET_CHECKPOINT"
    with pytest.raises(RecyclingError, match=message):
        run_folder.make_prompts({ENCODER: elsewhere}, ONE, source, tmp_path / "run")
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
    made = run_folder.make_prompts({ENCODER: recycled}, ONE, target, tmp_path / "run")
    path = getattr(recycled, field)
    other = spellings(path, tmp_path, monkeypatch)[how]
    again = Recycled(**{**vars(recycled), field: other})
    kept = run_folder.make_prompts({ENCODER: again}, ONE, target, tmp_path / "run")
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
        run_folder.make_prompts({ENCODER: first}, ONE, target, folder)
        run_folder.make_prompts({ENCODER: second}, ONE, target, folder)
    write_orbax(tmp_path / "tuned/checkpoint_9", {EMBEDDING: table})
    with pytest.raises(RecyclingError, match="source_checkpoint"):
        run_folder.make_prompts({ENCODER: by_dir}, ONE, target, tmp_path / "run-True")


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
    made = run_folder.make_prompts({ENCODER: several}, ONE, target, tmp_path / "run")
    path = getattr(several, field)[1]
    for other in spellings(path, tmp_path, monkeypatch).values():
        again = Recycled(**{**vars(several), field: (path, other)})
        kept = run_folder.make_prompts({ENCODER: again}, ONE, target, tmp_path / "run")
        np.testing.assert_array_equal(kept[ENCODER], made[ENCODER])


def test_another_list_is_another_prompt(several, recycled, target, tmp_path):
    run_folder.make_prompts({ENCODER: several}, ONE, target, tmp_path / "run")
    source = several.source_checkpoint[0]
    other = Recycled(**{**vars(several), "source_checkpoint": [source, "/other"]})
    message = f"source_checkpoint \\['{source}', '{source}'\\], but now .*'/other'\\]"
    with pytest.raises(RecyclingError, match=message):
        run_folder.check_kept(other, tmp_path / "run")
    with pytest.raises(RecyclingError, match="now source_checkpoint is '"):
        run_folder.check_kept(recycled, tmp_path / "run")


# The start of a training run


@pytest.fixture
def start(files):
    kinds = {ENCODER: FromFile(files["prompt_path"])}
    return run_folder.Start.of(40, files["target_model"], kinds, seed=1)


def test_a_start_is_read_back(start, tmp_path):
    assert run_folder.read_start(tmp_path) is None
    run_folder.write_start(tmp_path, start)
    assert run_folder.read_start(tmp_path) == start


def test_a_run_that_is_started_as_before_goes_on(start, files):
    start.check(files["target_model"], FromFile(files["prompt_path"]), None, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"checkpoint": "/other"}, "initial_checkpoint .* but now .*'/other'"),
        ({"checkpoint": None}, "initial_checkpoint .* but now .* None"),
        ({"declared": FromFile("/p.npy")}, "path .* but now path is '/p.npy'"),
        ({"declared": RandomUniform()}, "kind 'FromFile', but now .*'RandomUniform'"),
        ({"declared": None}, "kind 'FromFile', but now .*own prompt"),
        (
            {"declared": None, "default": RandomUniform()},
            "kind 'FromFile', but now .*'RandomUniform'",
        ),
        ({"seed": 2}, "seed 1, but now seed is 2"),
    ],
)
def test_a_run_that_is_started_otherwise_is_refused(start, files, change, message):
    now = {
        "checkpoint": files["target_model"],
        "declared": FromFile(files["prompt_path"]),
        "default": None,
        "seed": 1,
        **change,
    }
    with pytest.raises(RecyclingError, match=message) as error:
        start.check(**now)
    assert "choose another MODEL_DIR" in str(error.value)


def test_a_prompt_out_of_the_checkpoint_needs_no_default(files):
    start = run_folder.Start.of(40, files["target_model"], {})
    start.check(files["target_model"], None, RandomUniform(seed=5))
    with pytest.raises(RecyclingError, match="own prompt.*but now kind is 'Random"):
        start.check(files["target_model"], RandomUniform(seed=5), None)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "3",
        "{",
        '{"step": 3}',
        '{"format": "other"}',
        '{"format": "prompt_tuning_recycling/run/1", "step": 3}',
        '{"format": "prompt_tuning_recycling/run/1", "step": 3, '
        '"initial_checkpoint": null, "initial_prompt": []}',
    ],
)
def test_a_damaged_start_is_reported(start, tmp_path, content):
    run_folder.write_start(tmp_path, start)
    (tmp_path / "run_start.json").write_text(content)
    with pytest.raises(RecyclingError, match="cannot go on with the run"):
        run_folder.read_start(tmp_path)


def test_a_start_is_json_that_others_can_read(start, tmp_path, files):
    run_folder.write_start(tmp_path, start)
    record = json.loads((tmp_path / "run_start.json").read_text())
    assert record["step"] == 40
    assert record["initial_checkpoint"]["path"] == os.path.realpath(
        files["target_model"]
    )
    assert record["initial_prompt"][ENCODER]["kind"] == "FromFile"


# One run at a time

HOLD = """
import sys
from prompt_tuning_recycling import run_folder
with run_folder.held(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the run's folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "run")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_a_folder_is_held_by_one_process(holder, tmp_path):
    held = run_folder.held(tmp_path / "run")
    with pytest.raises(RecyclingError, match="another run is at work in"), held:
        pass


@pytest.mark.parametrize("how", ["terminate", "kill"])
def test_a_process_that_has_ended_holds_nothing(holder, tmp_path, how):
    getattr(holder, how)()
    holder.wait()
    with run_folder.held(tmp_path / "run"):
        pass


def test_a_folder_that_cannot_be_made_is_reported(tmp_path):
    (tmp_path / "file").touch()
    held = run_folder.held(tmp_path / "file/run")
    with pytest.raises(RecyclingError, match="cannot write to .*file/run"), held:
        pass
