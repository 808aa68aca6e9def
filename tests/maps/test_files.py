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


def test_numbers_and_maps_inside_a_map(tmp_path, rng):
    source, target = rng.normal(size=(9, 4)), rng.normal(size=(9, 3))
    soft = maps.SoftNearest(source, target, 1 / 3, scale=0.1)
    plain = maps.SoftNearest(source, target, 1 / 3)
    directional = maps.Directional(rng.normal(size=(4, 3)), 1 / 7)
    mean = maps.Mean((soft, maps.Mean((directional,)), plain))
    save_map(mean, tmp_path / "map", {"recycler": {"name": "mean"}})
    loaded = load_map(tmp_path / "map")
    assert [type(one) for one in loaded.maps] == [type(one) for one in mean.maps]
    prompts = rng.normal(size=(2, 5, 4))
    np.testing.assert_array_equal(loaded.apply(prompts), mean.apply(prompts))
    assert loaded.maps[0].temperature == soft.temperature
    assert loaded.maps[1].maps[0].scale == directional.scale
    assert loaded.maps[2].scale is None
    stored = safetensors.numpy.load_file(tmp_path / "map")
    assert stored["maps.0.temperature"].shape == ()
    assert stored["maps.1.maps.0.matrix"].shape == (4, 3)


def test_many_maps_inside_a_map_keep_their_order(tmp_path):
    mean = maps.Mean(tuple(maps.Linear(np.full((1, 1), i)) for i in range(12)))
    save_map(mean, tmp_path / "map")
    loaded = load_map(tmp_path / "map")
    assert [one.matrix.item() for one in loaded.maps] == list(range(12))


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
    [
        ("unheard-of", {"matrix": np.eye(2)}),
        ("linear", {"other": np.eye(2)}),
        ("linear", {"matrix": np.eye(2), "other": np.eye(2)}),
        ("mean", {"maps.0.matrix": np.eye(2)}),
        ("linear", {"matrix.0.": np.eye(2)}),
    ],
)
def test_a_kind_that_is_not_known(tmp_path, kind, arrays):
    metadata = {"format": "prompt_tuning_recycling/map/1", "kind": kind}
    safetensors.numpy.save_file(arrays, tmp_path / "map", metadata)
    with pytest.raises(RecyclingError, match=f"not a map of a known kind.*'{kind}'"):
        load_map(tmp_path / "map")
