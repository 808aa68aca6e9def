"""Maps are kept in safetensors files."""

import dataclasses

import numpy as np
import pytest
import safetensors.numpy

from prompt_tuning_recycling import RecyclingError, load_map, maps, save_map


@pytest.fixture
def arrays(rng):
    return {
        "hidden_kernel": rng.normal(size=(3, 5)).astype(np.float32),
        "hidden_bias": rng.normal(size=5).astype(np.float32),
        "output_kernel": rng.normal(size=(5, 2)).astype(np.float32),
        "output_bias": rng.normal(size=2).astype(np.float32),
    }


def test_the_same_map_is_the_same_file(tmp_path, arrays):
    for number in range(5):
        path = tmp_path / f"{number}.safetensors"
        save_map(maps.Network(**arrays), path, {"recycler": {"name": "v2v-nn"}})
    files = {path.read_bytes() for path in tmp_path.iterdir()}
    assert len(files) == 1
    # As the library itself reads it.
    read = safetensors.numpy.load(files.pop())
    assert read.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)


def test_a_map_of_ones_own_is_read_again(tmp_path, rng):
    @dataclasses.dataclass(frozen=True, eq=False)
    class Shift(maps.Map):
        kind = "shift"
        shift: np.ndarray

        @property
        def source_dim(self):
            return len(self.shift)

        def _apply(self, vectors):
            return vectors + self.shift

    save_map(Shift(rng.normal(size=4)), tmp_path / "map")
    loaded = load_map(tmp_path / "map")
    assert isinstance(loaded, Shift)
    assert loaded.apply(np.zeros((2, 4))).shape == (2, 4)


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "No such file"), (b"short", "expected a safetensors file")],
)
def test_what_is_no_such_file(tmp_path, content, message):
    path = tmp_path / "map"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RecyclingError, match=message):
        load_map(path)


def test_other_safetensors(tmp_path):
    safetensors.numpy.save_file({"a": np.zeros(3)}, tmp_path / "model.safetensors")
    with pytest.raises(RecyclingError, match="but not of a map"):
        load_map(tmp_path / "model.safetensors")


@pytest.mark.parametrize(
    ("kind", "arrays"),
    [("unheard-of", {"matrix": np.eye(2)}), ("linear", {"other": np.eye(2)})],
)
def test_a_kind_that_is_not_known(tmp_path, kind, arrays):
    metadata = {"format": "prompt_tuning_recycling/map/1", "kind": kind}
    safetensors.numpy.save_file(arrays, tmp_path / "map", metadata)
    with pytest.raises(RecyclingError, match=f"not a map of a known kind.*'{kind}'"):
        load_map(tmp_path / "map")
