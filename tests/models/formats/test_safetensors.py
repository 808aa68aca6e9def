"""Tensors in safetensors files (safetensors.py, safetensors_header.py, foreign.py)."""

import json
import os
import pathlib
import pickle
import zipfile

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from prompt_tuning_recycling import RecyclingError
from prompt_tuning_recycling.models import open_checkpoint, read_places
from prompt_tuning_recycling.models.formats import safetensors as format_

TABLE, NORM = "model.embed_tokens.weight", "model.norm.weight"


@pytest.fixture
def arrays(source_table):
    return {
        TABLE: source_table,
        NORM: np.ones(12, np.float32),
        "half": source_table.astype(np.float16),
        "brain": source_table.astype(ml_dtypes.bfloat16),
        "ids": np.arange(7),
        "mask": np.ones((2, 3), bool),
        "scalar": np.asarray(3.5, np.float32),
        "empty": np.zeros((0, 4), np.float32),
    }


def write(folder, arrays, name=format_.FILE):
    folder.mkdir(parents=True, exist_ok=True)
    safetensors.numpy.save_file(arrays, folder / name, metadata={"format": "pt"})
    return folder


def write_shards(folder, shards):
    places = {}
    for number, arrays in enumerate(shards):
        name = f"model-{number}.safetensors"
        write(folder, arrays, name)
        places |= dict.fromkeys(arrays, name)
    text = json.dumps({"metadata": {"total_size": 1}, "weight_map": places})
    (folder / format_.INDEX).write_text(text)
    return folder


@pytest.fixture(params=["folder", "file", "renamed", "shards", "index"])
def path(request, tmp_path, arrays):
    """A model in each of the forms that can be opened."""
    folder = tmp_path / "model"
    if request.param in ("shards", "index"):
        items = list(arrays.items())
        write_shards(folder, [dict(items[:2]), dict(items[2:5]), dict(items[5:])])
        return folder / format_.INDEX if request.param == "index" else folder
    write(folder, arrays)
    if request.param == "renamed":
        return (folder / format_.FILE).rename(tmp_path / "anything")
    return folder / format_.FILE if request.param == "file" else folder


def test_names_and_reads_every_tensor(path, arrays):
    checkpoint = open_checkpoint(path)
    assert checkpoint.format == "safetensors"
    assert checkpoint.keys() == sorted(arrays)
    for name, array in arrays.items():
        read = checkpoint.read(name)
        assert read.dtype == checkpoint.dtype(name) == array.dtype
        assert read.shape == checkpoint.shape(name) == array.shape
        np.testing.assert_array_equal(read, array)


@pytest.mark.parametrize("name", [TABLE, "half", "brain"])
@pytest.mark.parametrize(
    "rows", [[5, 3, 300, 3], [0], [383], list(range(384)), [], [150, 120, 121, 122]]
)
def test_takes_rows_in_the_order_asked_for(path, arrays, name, rows):
    taken = open_checkpoint(path).take(name, rows)
    assert taken.dtype == arrays[name].dtype
    np.testing.assert_array_equal(taken, arrays[name][rows])


@pytest.mark.parametrize("at_once", [1, 7, 48, 1000])
def test_spans_are_read_in_parts(tmp_path, arrays, monkeypatch, at_once):
    monkeypatch.setattr(format_, "_AT_ONCE", at_once)
    checkpoint = open_checkpoint(write(tmp_path, arrays))
    np.testing.assert_array_equal(checkpoint.read(TABLE), arrays[TABLE])
    rows = [5, 6, 7, 300, 3]
    np.testing.assert_array_equal(checkpoint.take(TABLE, rows), arrays[TABLE][rows])


def test_rows_are_read_by_themselves(tmp_path, arrays, monkeypatch):
    checkpoint = open_checkpoint(write(tmp_path, arrays))
    asked = []
    request = checkpoint._request

    def counted(file, begin, end, batch=None):
        asked.append(end - begin)
        return request(file, begin, end, batch)

    monkeypatch.setattr(checkpoint, "_request", counted)
    checkpoint.take(TABLE, [9, 5, 6, 9])
    # Float32 rows of 12 numbers; two of them lie side by side.
    assert asked == [2 * 48, 48]


def test_links_are_followed(tmp_path, arrays):
    blob = write(tmp_path / "blobs", arrays, "abc") / "abc"
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "snapshot" / format_.FILE).symlink_to(blob)
    assert open_checkpoint(tmp_path / "snapshot").keys() == sorted(arrays)


def test_an_unknown_name_and_a_row_outside(path):
    checkpoint = open_checkpoint(path)
    with pytest.raises(RecyclingError, match=f"embed_token.*Did you mean {TABLE}"):
        checkpoint.read("model.embed_token.weight")
    with pytest.raises(RecyclingError, match="row 384 of .* the rows 0 to 383"):
        checkpoint.take(TABLE, [3, 384])


def test_fingerprints(tmp_path, arrays):
    first = open_checkpoint(write(tmp_path / "a", arrays)).fingerprint(TABLE)
    assert open_checkpoint(write(tmp_path / "b", arrays)).fingerprint(TABLE) == first
    other = {**arrays, TABLE: arrays[TABLE] + 1}
    assert open_checkpoint(write(tmp_path / "c", other)).fingerprint(TABLE) != first
    longer = {**arrays, "more": np.zeros(3, np.float32)}
    assert open_checkpoint(write(tmp_path / "d", longer)).fingerprint(TABLE) != first


def test_what_no_output_may_touch(tmp_path, arrays):
    folder = write(tmp_path / "model", arrays)
    for path in (folder, folder / format_.FILE, folder / format_.INDEX):
        assert [pathlib.Path(place) for place in read_places(path)] == [folder]
    other = write(tmp_path, arrays, "other.safetensors") / "other.safetensors"
    assert [pathlib.Path(place) for place in read_places(other)] == [other]


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def file_of(header, data=bytes(8), length=None):
    """A file, whatever its header says."""
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    size = len(header) if length is None else length
    return size.to_bytes(8, "little") + header + data


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
DAMAGED = {
    "empty": (b"", "it has 0 bytes"),
    "short": (b"\x08\0\0", "it has 3 bytes"),
    "no_header": (file_of(b"", b""), "found the length 0"),
    "absurd_length": (file_of({}, length=1 << 62), "found the length 46116860184"),
    "length_beyond": (file_of({}, b"", length=3), "within a file of 10"),
    "not_json": (file_of(b'{"a": '), "is not JSON"),
    "not_utf8": (file_of(b'{"\xff": 1}'), "not UTF-8"),
    "a_list": (file_of([1]), "not a JSON object"),
    "a_name_twice": (
        file_of(f'{{"a": {json.dumps(entry())}, "a": 1}}'.encode()),
        "the key 'a' twice",
    ),
    "deep": (file_of(b"[" * 5000 + b"]" * 5000), "nested more deeply"),
    "no_entry": (file_of({"a": 3}), "tensor a lacks data_offsets, dtype, shape"),
    "no_offsets": (file_of({"a": {"dtype": "F32", "shape": [2]}}), "tensor a lacks"),
    "unknown_dtype": (file_of({"a": entry("F7")}), "unknown dtype 'F7'.*BF16"),
    "a_dtype_of_parts": (file_of({"a": entry(["F32"])}), r"unknown dtype \['F32'\]"),
    "negative_shape": (file_of({"a": entry(shape=[-2])}), r"the shape \[-2\]"),
    "a_shape_of_halves": (file_of({"a": entry(shape=[2.0])}), r"the shape \[2.0\]"),
    "a_shape_of_truths": (
        file_of({"a": entry(shape=[True], offsets=[0, 4])}),
        "the shape",
    ),
    "huge_shape": (file_of({"a": entry(shape=[1 << 62, 1 << 62])}), "takes 8507059"),
    "wrong_size": (file_of({"a": entry(shape=[3])}), "takes 12 bytes.*span 8"),
    "backwards": (file_of({"a": entry(offsets=[8, 0])}), r"the offsets \[8, 0\]"),
    "three_offsets": (file_of({"a": entry(offsets=[0, 8, 8])}), "the offsets"),
    "beyond_the_file": (
        file_of({"a": entry(shape=[4], offsets=[0, 16])}),
        "describes .* bytes, but the file has",
    ),
    "more_bytes": (file_of({"a": entry()}, bytes(9)), "describes .* but the file has"),
    "overlap": (
        file_of({"a": entry(), "b": entry(offsets=[4, 12])}, bytes(12)),
        "tensor b overlaps another",
    ),
    "gap": (
        file_of({"a": entry(), "b": entry(offsets=[12, 20])}, bytes(20)),
        "tensor b follows a gap",
    ),
    "pointer": (LFS, "a pointer of Git LFS.*git lfs pull"),
    "a_web_page": (b"<!DOCTYPE html><html></html>", "found the length"),
    "a_pickle": (pickle.dumps([1]), "a pickle, which is never loaded"),
}


@pytest.mark.parametrize("name", DAMAGED)
@pytest.mark.parametrize("whole", [True, False], ids=["folder", "file"])
def test_damaged_files(tmp_path, name, whole):
    content, message = DAMAGED[name]
    path = tmp_path / format_.FILE
    path.write_bytes(content)
    with pytest.raises(RecyclingError, match=message) as raised:
        open_checkpoint(tmp_path if whole else path)
    assert "\n" not in str(raised.value)
    assert str(path) in str(raised.value)


def test_a_header_may_end_with_spaces(tmp_path):
    header = json.dumps({"a": entry()}).encode() + b"   "
    (tmp_path / format_.FILE).write_bytes(file_of(header))
    assert open_checkpoint(tmp_path).read("a").tolist() == [0, 0]


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ("[", "is not JSON"),
        ("[]", "has no weight_map"),
        ('{"weight_map": {}}', "has no weight_map"),
        (
            '{"weight_map": {"a": "../model-0.safetensors"}}',
            "file beside the index",
        ),
        ('{"weight_map": {"a": "/etc/passwd"}}', "file beside the index"),
        ('{"weight_map": {"a": ""}}', "file beside the index"),
        ('{"weight_map": {"a": ".."}}', "file beside the index"),
        ('{"weight_map": {"a": 3}}', "file beside the index"),
        ('{"weight_map": {"a": "model-9.safetensors"}}', "lacks model-9.safetensors"),
        ('{"weight_map": {"a": "model-0.safetensors"}}', "a is in model-0.*is not"),
    ],
)
def test_damaged_indices(tmp_path, arrays, index, message):
    write_shards(tmp_path, [arrays])
    (tmp_path / format_.INDEX).write_text(index)
    with pytest.raises(RecyclingError, match=message):
        open_checkpoint(tmp_path)


def test_a_shard_that_was_replaced_while_it_is_open(tmp_path, arrays):
    checkpoint = open_checkpoint(write(tmp_path, arrays))
    os.truncate(tmp_path / format_.FILE, 100)
    with pytest.raises(RecyclingError, match="cannot be read"):
        checkpoint.read(TABLE)
    (tmp_path / format_.FILE).unlink()
    with pytest.raises(RecyclingError, match="no longer there"):
        checkpoint.take(TABLE, [3])


def zipped(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", pickle.dumps([1]))


FOREIGN = {
    "pytorch_model.bin": (zipped, "a zip archive.*PyTorch.*save_pretrained"),
    "old.pt": (pickle.dumps([1]), "a pickle.*save_pretrained"),
    "tf_model.h5": (b"\x89HDF\r\n\x1a\n0000", "an HDF5 file.*save_pretrained"),
    "model.gguf": (b"GGUF\x03\0\0\0", "a GGUF file"),
    "pointer": (LFS, "a pointer of Git LFS"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_files(tmp_path, name):
    content, message = FOREIGN[name]
    path = tmp_path / name
    content(path) if callable(content) else path.write_bytes(content)
    with pytest.raises(RecyclingError, match=message):
        open_checkpoint(path)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "tf_model.h5", "model.pt"])
def test_a_folder_with_foreign_files(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(RecyclingError, match=f"{name} is not read. Save the model as"):
        open_checkpoint(tmp_path)


def test_a_folder_of_shards_without_an_index(tmp_path, arrays):
    write(tmp_path, arrays, "model-00001-of-00002.safetensors")
    with pytest.raises(RecyclingError, match="needs its index"):
        open_checkpoint(tmp_path)
