"""Maps that form their matrices when they need them are the maps of these matrices."""

import numpy as np
import pytest

from prompt_tuning_recycling import load_map, maps, recyclers, save_map

WORDS, SOURCE_DIM, TARGET_DIM = 30, 40, 7


@pytest.fixture(params=["v2v-lin", "lin-comb"])
def fitted(request, rng):
    source = rng.normal(size=(WORDS, SOURCE_DIM))
    target = rng.normal(size=(WORDS, TARGET_DIM))
    return recyclers.make(request.param).fit(source, target).map


def formed(map_):
    """The arrays that a map has formed."""
    return {"matrix", "_matrix", "source_pseudo_inverse"} & vars(map_).keys()


def test_a_prompt_does_not_form_the_map(fitted, rng):
    assert fitted.apply(rng.normal(size=(5, SOURCE_DIM))).shape == (5, TARGET_DIM)
    assert fitted.approximate(rng.normal(size=(900, SOURCE_DIM))).shape[0] == 900
    assert not formed(fitted)
    fitted.apply(rng.normal(size=(2, 5, SOURCE_DIM)))
    assert formed(fitted)


def test_a_prompt_has_the_same_bits_before_and_after(fitted, rng):
    prompt = rng.normal(size=(5, SOURCE_DIM))
    before = fitted.apply(prompt)
    together = fitted.apply(prompt[None])
    np.testing.assert_array_equal(fitted.apply(prompt), before)
    np.testing.assert_allclose(together[0], before, rtol=1e-6, atol=1e-6)


def test_a_file_holds_the_formed_map(fitted, rng, tmp_path):
    save_map(fitted, tmp_path / "map")
    loaded = load_map(tmp_path / "map")
    assert type(loaded) in (maps.Linear, maps.Combination)
    stack = rng.normal(size=(2, 5, SOURCE_DIM))
    np.testing.assert_array_equal(loaded.apply(stack), fitted.apply(stack))
    prompt = rng.normal(size=(50, SOURCE_DIM))
    np.testing.assert_allclose(
        loaded.apply(prompt), fitted.apply(prompt), rtol=1e-6, atol=1e-6
    )


def test_a_rough_image_is_right_to_six_digits(fitted, rng):
    vectors = rng.normal(size=(90, SOURCE_DIM)).astype(np.float32)
    exact = fitted.apply(vectors)
    error = np.linalg.norm(fitted.approximate(vectors) - exact)
    assert error < 1e-6 * np.linalg.norm(exact)
