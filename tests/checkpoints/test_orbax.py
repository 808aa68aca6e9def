import pytest

from prompt_tuning_recycling import RecyclingError, open_checkpoint
from prompt_tuning_recycling.checkpoints import OrbaxCheckpoint

EMBEDDING = "target/token_embedder/embedding"


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
