import pickle

import numpy as np
import pytest

from prompt_tuning_recycling import RecyclingError
from prompt_tuning_recycling.files import stores
from prompt_tuning_recycling.models import open_checkpoint, opening, read_places

EMBEDDING = "target/token_embedder/embedding"


def test_nothing_there_lists_the_steps_that_are(tmp_path, write_legacy, source_table):
    write_legacy(tmp_path / "checkpoint_10", {EMBEDDING: source_table})
    with pytest.raises(RecyclingError, match="Steps there: checkpoint_10"):
        open_checkpoint(tmp_path / "checkpoint_11")


def test_nothing_there_not_even_a_folder(tmp_path):
    with pytest.raises(RecyclingError, match="does not exist.*no folder .*nowhere"):
        open_checkpoint(tmp_path / "nowhere" / "checkpoint_1")


def test_nothing_there_names_the_nearest(tmp_path):
    (tmp_path / "my_model").mkdir()
    with pytest.raises(RecyclingError, match="Did you mean my_model"):
        open_checkpoint(tmp_path / "my_modle")


@pytest.mark.parametrize(
    "given", ["numpy_checkpoints", "numpy_checkpoints/checkpoint_9"]
)
def test_a_folder_of_exported_prompts_points_to_the_prompt(tmp_path, prompt, given):
    exported = tmp_path / "numpy_checkpoints/checkpoint_9/encoder.prompt.prompt.prompt"
    exported.parent.mkdir(parents=True)
    with exported.open("wb") as file:
        np.save(file, prompt)
    with pytest.raises(RecyclingError, match=f"Did you mean the numpy file {exported}"):
        open_checkpoint(tmp_path / given)


def test_an_empty_path(tmp_path):
    with pytest.raises(RecyclingError, match="path is empty"):
        open_checkpoint("")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.pkl", pickle.dumps([1]), "a pickle, which is never loaded"),
        ("p.npy", pickle.dumps(np.zeros(3)), "a pickle, which is never loaded"),
        ("p.npz", b"PK\x03\x04rest", "a zip archive"),
        ("p.txt", b"hello", "of no known format"),
        ("empty", b"", "of no known format"),
        (
            "checkpoint",
            b'model_checkpoint_path: "model.ckpt-1"\n',
            "a TensorFlow checkpoint",
        ),
    ],
)
def test_other_files_are_refused_by_what_they_are(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RecyclingError, match=message):
        open_checkpoint(tmp_path / name)


def test_an_unknown_kind_of_address():
    with pytest.raises(RecyclingError, match="expected a local path.*found ftp://"):
        open_checkpoint("ftp://host/checkpoint_1")


def test_an_object_store_without_its_library(monkeypatch):
    monkeypatch.setattr(stores, "LIBRARIES", {"gs": "no_such_library"})
    monkeypatch.setenv("EPATH_USE_TF", "false")
    with pytest.raises(RecyclingError, match=r"prompt_tuning_recycling\[gs\]"):
        open_checkpoint("gs://bucket/checkpoint_1")


def test_a_disk_that_fails_is_reported(tmp_path, monkeypatch):
    path = tmp_path / "table.npy"
    np.save(path, np.zeros(3))

    def fails(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(opening, "_first_bytes", fails)
    with pytest.raises(RecyclingError, match="cannot read .*Permission denied"):
        open_checkpoint(path)


@pytest.mark.parametrize("given", ["model", "model/checkpoint_3", "model/no/such"])
def test_a_folder_that_may_not_be_looked_into(
    forbidden, write_orbax, source_table, given
):
    folder, forbid = forbidden
    write_orbax(folder / "model" / "checkpoint_3", {EMBEDDING: source_table})
    forbid("model")
    with pytest.raises(RecyclingError, match=f"{given}: Permission denied"):
        open_checkpoint(folder / given)


def test_an_older_step_does_not_stand_for_one_that_may_not_be_read(
    forbidden, write_orbax, source_table
):
    folder, forbid = forbidden
    for step in (3, 5):
        write_orbax(folder / f"model/checkpoint_{step}", {EMBEDDING: source_table})
    assert open_checkpoint(folder / "model").path.name == "checkpoint_5"
    forbid("model/checkpoint_5")
    with pytest.raises(RecyclingError, match="checkpoints in .*: Permission denied"):
        open_checkpoint(folder / "model")


def test_a_missing_name_beside_what_may_not_be_looked_into(
    forbidden, write_orbax, source_table
):
    folder, forbid = forbidden
    write_orbax(folder / "checkpoint_3", {EMBEDDING: source_table})
    forbid("checkpoint_3")
    with pytest.raises(RecyclingError, match="nowhere does not exist.*Permission"):
        open_checkpoint(folder / "nowhere")


def test_a_missing_name_in_a_folder_that_may_not_be_listed(forbidden):
    folder, forbid = forbidden
    (folder / "model").mkdir()
    forbid("model", 0o111)
    with pytest.raises(RecyclingError, match="nowhere does not exist.*Permission"):
        open_checkpoint(folder / "model" / "nowhere")


def test_a_prompt_in_a_folder_that_may_not_be_listed(forbidden, prompt):
    folder, forbid = forbidden
    (folder / "home").mkdir()
    path = folder / "home" / "prompt.npy"
    np.save(path, prompt)
    open_checkpoint(path)  # NumPy imports what it needs, which is root's.
    forbid("home", 0o111)
    assert open_checkpoint(path).shape("prompt") == prompt.shape
    assert read_places(path) == [path]
