import shutil

import numpy as np
import pytest

from prompt_tuning_recycling import RecyclingError
from prompt_tuning_recycling.models import open_checkpoint
from prompt_tuning_recycling.models.formats.orbax import OrbaxCheckpoint

EMBEDDING = "target/token_embedder/embedding"
SCALE = "target/encoder/encoder_norm/scale"


def test_the_state_folder_itself_can_be_given(tmp_path, write_orbax, source_table):
    step = write_orbax(tmp_path / "checkpoint_1", {EMBEDDING: source_table})
    assert open_checkpoint(step / "state").shape(EMBEDDING) == source_table.shape


def test_a_folder_without_arrays_is_refused(tmp_path):
    with pytest.raises(RecyclingError, match="expected manifest.ocdbt"):
        OrbaxCheckpoint(tmp_path)


def test_a_damaged_database_is_reported(tmp_path, write_orbax, source_table):
    step = write_orbax(tmp_path / "checkpoint_1", {EMBEDDING: source_table})
    manifest = step / "state" / "manifest.ocdbt"
    manifest.write_bytes(manifest.read_bytes()[:-8])
    with pytest.raises(RecyclingError, match="database is damaged"):
        open_checkpoint(step)


@pytest.mark.parametrize("zarr3", [False, True])
def test_a_missing_chunk_is_an_error_not_zeros(
    tmp_path, write_orbax, source_table, zarr3
):
    step = write_orbax(
        tmp_path / "checkpoint_1", {EMBEDDING: source_table}, ocdbt=False, zarr3=zarr3
    )
    folder = step / "state" / EMBEDDING.replace("/", ".")
    chunk = folder / ("c/0/0" if zarr3 else "0.0")
    chunk.unlink()
    with pytest.raises(RecyclingError, match="missing or damaged"):
        open_checkpoint(step).take(EMBEDDING, [0])


def test_only_the_chunks_that_are_needed_are_read(tmp_path, write_orbax, source_table):
    step = write_orbax(
        tmp_path / "checkpoint_1",
        {EMBEDDING: source_table},
        ocdbt=False,
        chunk_rows=96,
    )
    folder = step / "state" / EMBEDDING.replace("/", ".")
    chunks = sorted(file for file in folder.iterdir() if file.name != ".zarray")
    assert len(chunks) > 1
    chunks[-1].unlink()
    taken = open_checkpoint(step).take(EMBEDDING, [5, 2])
    assert (taken == source_table[[5, 2]]).all()


@pytest.mark.parametrize("folder", ["", "state", "default"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"metadata": False},
        {"ocdbt": False},
        {"ocdbt": False, "metadata": False},
        {"aggregated": (SCALE,)},
        {"aggregated": (SCALE,), "ocdbt": False, "metadata": False},
    ],
)
def test_a_state_file_beside_the_arrays(
    tmp_path, write_orbax, source_table, folder, options
):
    """As Orbax wrote it until 2024; alone it looks like T5X's own before Orbax."""
    arrays = {EMBEDDING: source_table, SCALE: np.ones(12, np.float32)}
    step = write_orbax(
        tmp_path / "model" / "checkpoint_1",
        arrays,
        folder=folder,
        state_file=True,
        **options,
    )
    for given in (step.parent, step, step / folder, step / folder / "checkpoint"):
        checkpoint = open_checkpoint(given)
        assert isinstance(checkpoint, OrbaxCheckpoint)
        assert checkpoint.keys() == sorted(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(checkpoint.read(name), array)
            np.testing.assert_array_equal(checkpoint.take(name, [3]), array[[3]])


def test_a_state_file_may_have_an_optimizer_of_its_own(tmp_path, write_orbax, rng):
    """Only T5X's own state files keep everything under that key."""
    arrays = {name: rng.normal(size=(3, 2)) for name in ("params/w", "optimizer/m")}
    step = write_orbax(tmp_path / "step", arrays, state_file=True)
    checkpoint = open_checkpoint(step)
    assert checkpoint.keys() == sorted(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(checkpoint.read(name), array)


def test_an_array_that_only_its_placeholder_is_left_of(
    tmp_path, write_orbax, source_table
):
    arrays = {EMBEDDING: source_table, SCALE: np.ones(12, np.float32)}
    step = write_orbax(tmp_path / "step", arrays, ocdbt=False, state_file=True)
    shutil.rmtree(step / "state" / SCALE.replace("/", "."))
    with pytest.raises(RecyclingError, match=f"{SCALE} belongs to it, but .* missing"):
        open_checkpoint(step).read(SCALE)


@pytest.mark.parametrize("folder", ["", "state", "default"])
@pytest.mark.parametrize("state_file", [True, False])
@pytest.mark.parametrize("metadata", [True, False])
def test_a_step_that_was_never_merged(
    tmp_path, write_orbax, source_table, folder, state_file, metadata
):
    """What a process leaves behind that was stopped before Orbax's last act."""
    arrays = {EMBEDDING: source_table}
    model = tmp_path / "model"
    options = {"folder": folder, "state_file": state_file}
    done = write_orbax(model / "checkpoint_1", arrays, **options)
    step = write_orbax(model / "checkpoint_2", arrays, metadata=metadata, **options)
    (step / folder / "manifest.ocdbt").unlink()
    shutil.rmtree(step / folder / "d")
    assert open_checkpoint(model).path == done
    message = r"not saved completely.*ocdbt\.process_0.*manifest\.ocdbt is missing"
    with pytest.raises(RecyclingError, match=message):
        open_checkpoint(step)
    shutil.rmtree(done)
    with pytest.raises(RecyclingError, match="holds no complete one.*checkpoint_2"):
        open_checkpoint(model)
