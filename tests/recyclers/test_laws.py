"""Laws of the recyclers that have a formula; each says for which it holds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prompt_tuning_recycling import load_map, recyclers, save_map

FORMULA = [name for name in recyclers.names() if name != "v2v-nn"]
BETWEEN_WIDTHS = [name for name in FORMULA if name != "copy"]
OTHER_PARAMETERS = {
    "soft-nearest": {"rescale": True},
    "mean": {"recyclers": ("soft-nearest", "sparse", "local")},
}


def mapped(name, source, target, prompt, **parameters):
    return recyclers.make(name, **parameters).fit(source, target).map.apply(prompt)


def assert_close(one, other):
    scale = np.abs(other).max()
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6 * scale)


def rotation(rng, width):
    return np.linalg.qr(rng.normal(size=(width, width)))[0]


def tables(rng, words=60, source_dim=7, target_dim=7):
    source = rng.normal(size=(words, source_dim)) + 0.3
    target = source @ rng.normal(size=(source_dim, target_dim))
    return source, target + 0.3 * rng.normal(size=target.shape)


@pytest.mark.parametrize("name", BETWEEN_WIDTHS)
@pytest.mark.parametrize("widths", [(12, 20), (20, 12), (3, 40), (40, 3), (1, 5)])
@pytest.mark.parametrize("words", [2, 3, 30, 300])
def test_any_widths_and_any_number_of_words(rng, name, widths, words):
    source, target = tables(rng, words, *widths)
    prompt = rng.normal(size=(4, widths[0]))
    recycled = mapped(name, source, target, prompt)
    assert recycled.shape == (4, widths[1])
    assert recycled.dtype == np.float32


@pytest.mark.parametrize("name", FORMULA)
def test_prompts_of_one_vector(rng, name):
    source, target = tables(rng)
    prompt = rng.normal(size=(5, 7))
    fitted = recyclers.make(name).fit(source, target).map
    for number in range(5):
        alone = fitted.apply(prompt[[number]])
        assert_close(alone, fitted.apply(prompt)[[number]])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(FORMULA))
def test_the_order_of_words_does_not_matter(seed, name):
    rng = np.random.default_rng(seed)
    source, target = tables(rng)
    prompt, order = rng.normal(size=(3, 7)), rng.permutation(60)
    assert_close(
        mapped(name, source[order], target[order], prompt),
        mapped(name, source, target, prompt),
    )


@pytest.mark.parametrize("name", ["soft-nearest", "sparse", "local", "relative"])
@pytest.mark.parametrize("seed", range(5))
def test_nor_does_it_among_words_that_are_equally_near(name, seed):
    """Words of one direction and of the opposite, which the target tells apart."""
    rng = np.random.default_rng(seed)
    source, _ = tables(rng, 20)
    source = np.concatenate([source, source, 2 * source, -source])
    target = rng.normal(size=(80, 5))
    prompt = source[:6] + 0.1 * rng.normal(size=(6, 7))
    expected = mapped(name, source, target, prompt)
    for _ in range(4):
        order = rng.permutation(80)
        assert_close(mapped(name, source[order], target[order], prompt), expected)
    # One vector by itself goes through other machine code, but to the same words.
    assert_close(mapped(name, source, target, prompt[:1]), expected[:1])


@pytest.mark.parametrize("name", ["procrustes", "relative", "sparse", "v2v-lin"])
def test_words_that_all_occur_twice_change_nothing(rng, name):
    source, target = tables(rng)
    prompt = rng.normal(size=(3, 7))
    assert_close(
        mapped(name, np.tile(source, (2, 1)), np.tile(target, (2, 1)), prompt),
        mapped(name, source, target, prompt),
    )


@pytest.mark.parametrize("name", [name for name in FORMULA if name != "copy"])
def test_turning_the_target_turns_the_prompt(rng, name):
    source, target = tables(rng)
    prompt, turn = rng.normal(size=(3, 7)), rotation(rng, 7)
    assert_close(
        mapped(name, source, target @ turn, prompt),
        mapped(name, source, target, prompt) @ turn,
    )


@pytest.mark.parametrize("name", BETWEEN_WIDTHS)
def test_turning_and_scaling_the_source_with_its_prompt_changes_nothing(rng, name):
    source, target = tables(rng)
    prompt, turn = rng.normal(size=(3, 7)), 37 * rotation(rng, 7)
    assert_close(
        mapped(name, source @ turn, target, prompt @ turn),
        mapped(name, source, target, prompt),
    )


@pytest.mark.parametrize("name", BETWEEN_WIDTHS)
def test_scaling_the_target_scales_the_prompt(rng, name):
    source, target = tables(rng)
    prompt = rng.normal(size=(3, 7))
    assert_close(
        mapped(name, source, 50 * target, prompt),
        50 * mapped(name, source, target, prompt),
    )


HOMOGENEOUS = ["v2v-lin", "lin-comb", "procrustes", "relative", "sparse", "copy"]


@pytest.mark.parametrize("name", FORMULA)
def test_prompts_a_hundred_times_longer_than_words(rng, name):
    source, target = tables(rng)
    prompt = rng.normal(size=(3, 7))
    short, long = (mapped(name, source, target, p) for p in (prompt, 100 * prompt))
    assert np.isfinite(long).all()
    if name in HOMOGENEOUS or name == "mean":
        assert_close(long, 100 * short)
    if name == "soft-nearest":
        longest = np.linalg.norm(target, axis=1).max()
        assert np.linalg.norm(long, axis=1).max() <= longest


@pytest.mark.parametrize("name", FORMULA)
def test_zero_vectors_stay_zero_but_where_they_are_near_words(rng, name):
    source, target = tables(rng)
    prompt = rng.normal(size=(3, 7))
    prompt[1] = 0
    recycled = mapped(name, source, target, prompt)
    if name == "soft-nearest":
        assert recycled[1].any()
        rescaled = mapped(name, source, target, prompt, rescale=True)
        assert not rescaled[1].any()
    else:
        assert not recycled[1].any()
    assert recycled[[0, 2]].any(axis=1).all()


@pytest.mark.parametrize("name", FORMULA)
def test_words_of_zeros(rng, name):
    """Most of them: not even the median length is above zero."""
    source, target = tables(rng)
    source[10:], target[15:] = 0, 0
    recycled = mapped(name, source, target, rng.normal(size=(3, 7)))
    assert np.isfinite(recycled).all()
    assert recycled.any()


@pytest.mark.parametrize("name", FORMULA)
def test_words_of_lower_rank(rng, name):
    source, _ = tables(rng, 60, 3)
    source = source @ rng.normal(size=(3, 12))
    target = rng.normal(size=(60, 12))
    prompt = rng.normal(size=(3, 12))
    recycled = mapped(name, source, target, prompt)
    assert np.abs(recycled).max() < 100
    order = rng.permutation(60)
    assert_close(mapped(name, source[order], target[order], prompt), recycled)


@pytest.mark.parametrize("name", ["copy", "procrustes", "v2v-lin", "lin-comb"])
def test_to_itself_is_the_identity(source_table, prompt, name):
    recycled = mapped(name, source_table, source_table, prompt)
    np.testing.assert_allclose(recycled, prompt, rtol=1e-6)


def test_a_mean_of_identities_is_the_identity(source_table, prompt):
    recycled = mapped(
        "mean", source_table, source_table, prompt, recyclers=("copy", "procrustes")
    )
    np.testing.assert_allclose(recycled, prompt, rtol=1e-6)


@pytest.mark.parametrize("name", ["relative", "local", "soft-nearest"])
def test_to_itself_others_only_come_close_or_less(source_table, prompt, name):
    """The ridge turns vectors a little; nearness keeps the side they lie on."""
    recycled = mapped(name, source_table, source_table, prompt)
    cosines = np.sum(recycled * prompt, axis=1) / (
        np.linalg.norm(recycled, axis=1) * np.linalg.norm(prompt, axis=1)
    )
    assert cosines.min() > {"relative": 0.99, "local": 0.95, "soft-nearest": 0.8}[name]


@pytest.mark.parametrize("parameters", [{}, OTHER_PARAMETERS])
@pytest.mark.parametrize("name", FORMULA)
def test_a_loaded_map_computes_the_same_bits(tmp_path, rng, name, parameters):
    source, target = tables(rng)
    recycler = recyclers.make(name, **parameters.get(name, {}))
    fitted = recycler.fit(source, target).map
    save_map(fitted, tmp_path / "map")
    loaded = load_map(tmp_path / "map")
    prompts = rng.normal(size=(3, 4, 7))
    np.testing.assert_array_equal(loaded.apply(prompts), fitted.apply(prompts))
    save_map(loaded, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "map").read_bytes()


@pytest.mark.parametrize("name", FORMULA)
def test_a_long_prompt_has_the_same_bits_in_every_stack(rng, name):
    """Longer than what is mapped at once."""
    source, target = tables(rng)
    prompts = rng.normal(size=(3, 300, 7)).astype(np.float32)
    fitted = recyclers.make(name).fit(source, target).map
    together = fitted.apply(prompts)
    for chosen in ([0], [2, 1]):
        np.testing.assert_array_equal(fitted.apply(prompts[chosen]), together[chosen])
    swapped = np.asfortranarray(prompts[[1]])
    np.testing.assert_array_equal(fitted.apply(swapped), together[[1]])
    assert fitted.apply(prompts[:0]).shape == (0, 300, 7)
