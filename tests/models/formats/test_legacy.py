import flax.serialization
import msgpack
import numpy as np
import pytest

from prompt_tuning_recycling import RecyclingError
from prompt_tuning_recycling.models import open_checkpoint
from prompt_tuning_recycling.models.formats.legacy import LegacyCheckpoint

EMBEDDING = "target/token_embedder/embedding"


@pytest.fixture
def step(tmp_path, write_legacy, source_table):
    return write_legacy(tmp_path / "checkpoint_1", {EMBEDDING: source_table})


def test_the_state_file_itself_can_be_given(step, source_table):
    checkpoint = open_checkpoint(step / "checkpoint")
    np.testing.assert_array_equal(checkpoint.read(EMBEDDING), source_table)


def test_empty_optimizer_states_are_not_parameters(step):
    state = {"optimizer": {"target": {}, "state": {"m": None}}}
    (step / "checkpoint").write_bytes(msgpack.packb(state))
    assert LegacyCheckpoint(step).keys() == []


@pytest.mark.parametrize("keep", [0, 1, 20, -3])
def test_a_state_file_cut_short_is_reported(step, keep):
    state = step / "checkpoint"
    state.write_bytes(state.read_bytes()[:keep])
    with pytest.raises(RecyclingError, match="known format|not the msgpack|damaged"):
        LegacyCheckpoint(step).read(EMBEDDING)


@pytest.mark.parametrize(
    "value", [3, 0.5, True, 1 + 2j, np.complex64(1j), np.float32(0.1), np.bool_(True)]
)
def test_every_number_that_flax_writes_is_read(step, source_table, value):
    state = {"optimizer": {"target": {"a": source_table}, "state": {"x": value}}}
    data = flax.serialization.msgpack_serialize(state)
    (step / "checkpoint").write_bytes(data)
    read = open_checkpoint(step).read("state/x")
    assert read.shape == ()
    assert read == value
    assert read.dtype == np.asarray(value).dtype


def test_an_array_in_pieces_is_one_parameter(tmp_path, write_legacy, source_table):
    written = {EMBEDDING: source_table, "target/norm/scale": source_table[0]}
    step = write_legacy(
        tmp_path / "checkpoint_2", written, inlined=tuple(written), largest=100
    )
    assert b"__msgpack_chunked_array__" in (step / "checkpoint").read_bytes()
    assert open_checkpoint(step).keys() == sorted(written)


def test_a_state_file_of_something_else_is_reported(step):
    (step / "checkpoint").write_bytes(msgpack.packb([1, 2]))
    with pytest.raises(RecyclingError, match="expected a dictionary, found list"):
        open_checkpoint(step)


def test_an_inlined_object_array_is_refused(step):
    array = msgpack.ExtType(1, msgpack.packb([[1], "object", b"12345678"]))
    state = {"optimizer": {"target": {"a": array}}}
    (step / "checkpoint").write_bytes(msgpack.packb(state))
    with pytest.raises(RecyclingError, match="not a parameter"):
        open_checkpoint(step)


def test_a_missing_folder_is_reported(step):
    folder = step / EMBEDDING.replace("/", ".")
    folder.rename(step / "elsewhere")
    with pytest.raises(RecyclingError, match=f"folder {folder.name}/ is missing"):
        open_checkpoint(step).read(EMBEDDING)


@pytest.mark.parametrize("rows", [[0], [383], None])
def test_a_missing_chunk_is_an_error_not_zeros(step, rows):
    (step / EMBEDDING.replace("/", ".") / "0.0").unlink()
    checkpoint = open_checkpoint(step)
    with pytest.raises(RecyclingError, match="missing or damaged"):
        checkpoint.read(EMBEDDING) if rows is None else checkpoint.take(EMBEDDING, rows)


@pytest.mark.parametrize("keep", [0, 3, 100, -30])
@pytest.mark.parametrize("rows", [[0], [383]])
@pytest.mark.parametrize("compressor", ["gzip", "zstd", None])
def test_a_chunk_cut_short_is_reported(
    tmp_path, write_legacy, source_table, keep, rows, compressor
):
    step = write_legacy(
        tmp_path / "checkpoint_2", {EMBEDDING: source_table}, compressor=compressor
    )
    chunk = step / EMBEDDING.replace("/", ".") / "0.0"
    chunk.write_bytes(chunk.read_bytes()[:keep])
    with pytest.raises(RecyclingError, match="damaged"):
        open_checkpoint(step).take(EMBEDDING, rows)


@pytest.mark.parametrize("rows", [range(20), range(350, 384)])
@pytest.mark.parametrize("decimals", [1, 9], ids=["compressible", "random"])
def test_a_flipped_bit_in_a_gzipped_chunk_never_changes_a_number(
    tmp_path, write_legacy, source_table, rows, decimals
):
    """Gzip, which T5X wrote, has a checksum; a flip in its header may be harmless."""
    table = source_table.round(decimals)
    step = write_legacy(tmp_path / "checkpoint_2", {EMBEDDING: table})
    chunk = step / EMBEDDING.replace("/", ".") / "0.0"
    data = chunk.read_bytes()
    noticed = []
    flipped = [*range(160), *range(160, 8 * len(data), 331)]
    for bit in flipped:
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        chunk.write_bytes(damaged)
        try:
            taken = open_checkpoint(step).take(EMBEDDING, rows)
        except RecyclingError:
            noticed.append(bit)
        else:
            np.testing.assert_array_equal(taken, table[rows])
    assert len(noticed) > 0.6 * len(flipped)
