"""No output takes the place of an input or of another output, however it is spelled."""

import hashlib
import os
import pathlib

import numpy as np
import pytest

from prompt_tuning_recycling import Prompt, RecyclingError, run_recycle
from prompt_tuning_recycling.files.guard import check_apart
from prompt_tuning_recycling.models import open_checkpoint, read_places
from prompt_tuning_recycling.prompts import prompt as prompt_files
from prompt_tuning_recycling.words import filter_vocabulary

from ..conftest import train_vocabulary

EMBEDDING = "target/token_embedder/embedding"


def contents(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def vocabulary(tmp_path):
    path = tmp_path / "tiny.model"
    text = "the movie was great and the film was terrible"
    train_vocabulary(path, [text] * 20, 40)
    return path


@pytest.fixture
def everything(files, tmp_path, vocabulary, write_legacy, target_table, monkeypatch):
    """The flags of a run, and beside its files others that lead to them."""
    monkeypatch.chdir(tmp_path)
    for name, to in (
        ("link.npy", "prompt.npy"),
        ("link-to-link", "link.npy"),
        ("here", "."),
        ("step", "target/checkpoint_9"),
    ):
        (tmp_path / name).symlink_to(to)
    os.link(tmp_path / "prompt.npy", tmp_path / "hard.npy")
    # A checkpoint whose parts are links into a store, as download tools lay it out.
    blobs = write_legacy(tmp_path / "blobs", {EMBEDDING: target_table})
    linked = tmp_path / "linked" / "checkpoint_1"
    linked.mkdir(parents=True)
    for part in blobs.iterdir():
        (linked / part.name).symlink_to(part)
    return {**files, "vocabulary": str(vocabulary)}


# What is given instead, relative to the folder of all the files; and the names in the
# message: the output's, then the input's.
LOST = {
    "the prompt": ({"output_path": "prompt.npy"}, "output_path", "prompt_path"),
    "the prompt by its whole path": (
        {"output_path": "{d}/prompt.npy"},
        "output_path",
        "prompt_path",
    ),
    "the prompt, ./": ({"output_path": "./out/../prompt.npy"}, "output_path", "prompt"),
    "the prompt through a link": ({"output_path": "link.npy"}, "output_path", "prompt"),
    "the prompt through two links": (
        {"output_path": "link-to-link"},
        "output_path",
        "prompt_path",
    ),
    "the prompt through a folder's link": (
        {"output_path": "here/here/prompt.npy"},
        "output_path",
        "prompt_path",
    ),
    "the prompt, a hard link": ({"output_path": "hard.npy"}, "output_path", "prompt"),
    "a link that the prompt is given by": (
        {"prompt_path": "link-to-link", "output_path": "link.npy"},
        "output_path",
        "prompt_path",
    ),
    "the prompt by the recycler": (
        {"save_recycler": "prompt.npy"},
        "save_recycler",
        "prompt_path",
    ),
    "the prompt by the record": (
        {"prompt_path": "x.npy.json", "output_path": "x.npy"},
        "record beside --output_path",
        "prompt_path",
    ),
    "the prompt's record": (
        {"output_path": "prompt.npy.json"},
        "output_path",
        "record beside --prompt_path",
    ),
    "the word list": ({"output_path": "words.json"}, "output_path", "filtered_word"),
    "the word list by the record": (
        {"output_path": "words"},
        "record beside --output_path",
        "filtered_word",
    ),
    "the word list by the recycler": (
        {"save_recycler": "words.json"},
        "save_recycler",
        "filtered_word",
    ),
    "the vocabulary": ({"output_path": "tiny.model"}, "output_path", "vocabulary"),
    "a model that is a numpy file": (
        {"source_model": "table.npy", "output_path": "table.npy"},
        "output_path",
        "source_model",
    ),
    "a checkpoint's state": (
        {"output_path": "target/checkpoint_9/checkpoint"},
        "output_path",
        "target_model",
    ),
    "a new file in a step": (
        {"output_path": "target/checkpoint_9/recycled.npy"},
        "output_path",
        "target_model",
    ),
    "a new folder in a step": (
        {"save_recycler": "source/checkpoint_7/state/new/map"},
        "save_recycler",
        "source_model",
    ),
    "a step through a link": ({"output_path": "step/new"}, "output_path", "target"),
    "a step given by a link": (
        {"target_model": "step", "output_path": "target/checkpoint_9/new"},
        "output_path",
        "target_model",
    ),
    "a step, /": (
        {"target_model": "target/checkpoint_9//", "output_path": "step/new"},
        "output_path",
        "target_model",
    ),
    "a step given by its file": (
        {"target_model": "target/checkpoint_9/checkpoint", "output_path": "step/new"},
        "output_path",
        "target_model",
    ),
    "a step given by its state": (
        {
            "source_model": "source/checkpoint_7/state",
            "output_path": "source/checkpoint_7/checkpoint",
        },
        "output_path",
        "source_model",
    ),
    "a step that is not the newest": (
        {"output_path": "target/checkpoint_3/new"},
        "output_path",
        "target_model",
    ),
    "what a step links to": (
        {"target_model": "linked", "output_path": "blobs/checkpoint"},
        "output_path",
        "target_model",
    ),
    "in a folder that a step links to": (
        {
            "target_model": "linked",
            "output_path": "blobs/target.token_embedder.embedding/0.1",
        },
        "output_path",
        "target_model",
    ),
    "a hard link to a checkpoint's chunk": (
        {"output_path": "chunk"},
        "output_path",
        "target_model",
    ),
    "the recycler by the prompt": (
        {"save_recycler": "out/recycled"},
        "output_path",
        "save_recycler",
    ),
    "the recycler by the record": (
        {"save_recycler": "out/../out/recycled.json"},
        "record beside --output_path",
        "save_recycler",
    ),
    "the recycler by the prompt, in other case": (
        {"save_recycler": "out/RECYCLED"},
        "output_path",
        "save_recycler",
    ),
    "the recycler below the prompt": (
        {"save_recycler": "out/recycled/map"},
        "output_path",
        "save_recycler",
    ),
}


@pytest.mark.parametrize("case", LOST)
def test_run_recycle_destroys_nothing(run, everything, tmp_path, capsys, case):
    change, output, lost = LOST[case]
    np.save(tmp_path / "table.npy", open_checkpoint("source").read(EMBEDDING))
    (tmp_path / "x.npy.json").write_bytes((tmp_path / "prompt.npy").read_bytes())
    (tmp_path / "prompt.npy.json").write_text("{}")
    (tmp_path / "target" / "checkpoint_3").mkdir()
    os.link(
        tmp_path / "target/checkpoint_9/target.token_embedder.embedding/0.0",
        tmp_path / "chunk",
    )
    before = contents(tmp_path)
    change = {name: path.format(d=tmp_path) for name, path in change.items()}
    assert run(run_recycle.main, {**everything, **change}) == 1
    message = capsys.readouterr().err
    assert contents(tmp_path) == before
    assert output in message
    assert lost in message
    assert message.count("\n") == 1


@pytest.mark.parametrize(
    "output",
    [
        "source/recycled.npy",
        "target/prompts/recycled.npy",
        "out/prompt.npy",
        "prompt.npy2",
        "prompt",
    ],
)
def test_beside_what_is_read_there_is_room(run, everything, output, tmp_path):
    before = contents(tmp_path)
    assert run(run_recycle.main, {**everything, "output_path": output}) == 0
    after = contents(tmp_path)
    assert {name: after[name] for name in before} == before
    assert prompt_files.load_record(tmp_path / output)


def test_an_earlier_output_and_its_recycler_are_replaced(run, everything):
    flags = {**everything, "save_recycler": "out/map"}
    for _ in range(2):
        assert run(run_recycle.main, flags) == 0


@pytest.mark.parametrize(
    ("change", "lost"),
    [
        ({"output_path": "tiny.model"}, "--vocabulary"),
        ({"output_path": "here/tiny.model"}, "--vocabulary"),
        ({"output_path": "words.json", "compare_with": "words.json"}, "--compare_with"),
        (
            {"output_path": "words.json/", "compare_with": "words.json"},
            "--compare_with",
        ),
    ],
)
def test_filter_vocabulary_destroys_nothing(
    run, everything, tmp_path, capsys, change, lost
):
    before = contents(tmp_path)
    flags = {"vocabulary": everything["vocabulary"], **change}
    assert run(filter_vocabulary.main, flags) == 1
    assert contents(tmp_path) == before
    message = capsys.readouterr().err
    assert "--output_path" in message
    assert lost in message


# A run's folder against what the run reads, as hosts ask. `m` is the MODEL_DIR of the
# model to start from.
@pytest.mark.parametrize(
    ("added_to", "replaced", "fits"),
    [
        ("m", None, True),  # Evaluation beside the steps, or a run that goes on.
        ("m/eval", None, True),
        ("elsewhere/run", None, True),
        ("m/checkpoint_9", None, False),
        ("m/checkpoint_9/eval", None, False),
        ("m/checkpoint_9.tmp-17/eval", None, False),
        ("elsewhere", "m", False),
        ("elsewhere", "elsewhere/recycled_prompt", True),
        ("elsewhere", "m/checkpoint_9", False),
        (".", "prompts", False),
        ("prompts", None, True),
        ("prompts/recycled_prompt/prompt.npy", None, False),
    ],
)
def test_a_folder_that_a_run_writes_to(
    tmp_path, write_legacy, target_table, monkeypatch, added_to, replaced, fits
):
    monkeypatch.chdir(tmp_path)
    write_legacy(tmp_path / "m" / "checkpoint_9", {EMBEDDING: target_table})
    (tmp_path / "m" / "checkpoint_9.tmp-17").mkdir()
    (tmp_path / "elsewhere").mkdir()
    Prompt(np.ones((2, 3))).save("prompts/recycled_prompt/prompt.npy")
    inputs = {
        "INITIAL_CHECKPOINT_PATH": read_places("m"),
        "SOURCE_PROMPT": "prompts/recycled_prompt/prompt.npy",
        "TARGET_CHECKPOINT": None,
    }
    try:
        check_apart(inputs, {"the prompt's folder": replaced}, {"MODEL_DIR": added_to})
    except RecyclingError as error:
        assert not fits
        assert "INITIAL_CHECKPOINT_PATH" in str(error) or "SOURCE_PROMPT" in str(error)
    else:
        assert fits


@pytest.mark.parametrize(
    ("output", "fits"),
    [
        ("gs://b/model/checkpoint_5", False),
        ("gs://b/model/checkpoint_5/", False),
        ("gs://b/model/./checkpoint_5//x", False),
        ("gs://b/model/checkpoint_50", True),
        ("gs://b/model", True),
        ("gs://b2/model/checkpoint_5", True),
        ("model/checkpoint_5", True),
    ],
)
def test_object_stores_are_compared_as_texts(output, fits):
    inputs = {"--source_model": "gs://b/model/checkpoint_5"}
    if fits:
        check_apart(inputs, {}, {"MODEL_DIR": output})
    else:
        with pytest.raises(RecyclingError, match="MODEL_DIR .* --source_model"):
            check_apart(inputs, {}, {"MODEL_DIR": output})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("prompt.npy", ["prompt.npy"]),
        ("target/checkpoint_9", ["target/checkpoint_9"]),
        ("target/checkpoint_9/checkpoint", ["target/checkpoint_9"]),
        ("target", ["target/checkpoint_9"]),
        ("source/checkpoint_7/state", ["source/checkpoint_7"]),
        (".", []),
        ("nowhere", ["nowhere"]),
    ],
)
def test_what_a_checkpoint_is_made_of(files, tmp_path, monkeypatch, given, expected):
    monkeypatch.chdir(tmp_path)
    assert read_places(given) == [pathlib.Path(path) for path in expected]


def test_a_numpy_file_is_no_step_whatever_it_is_called(tmp_path):
    path = tmp_path / "checkpoint"
    Prompt(np.ones((2, 3))).save(path)
    assert read_places(path) == [path]
