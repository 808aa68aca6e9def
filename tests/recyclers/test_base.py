"""Laws that every recycler obeys, and its closed form where it has one."""

import dataclasses

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prompt_tuning_recycling import RecyclingError, load_map, recyclers, save_map

FAST = {"v2v-nn": {"epochs": 3}}
LINEAR = ["v2v-lin", "lin-comb"]


def make(name, **parameters):
    return recyclers.make(name, **{**FAST.get(name, {}), **parameters})


@pytest.fixture(params=recyclers.names())
def recycler(request):
    return make(request.param)


@pytest.fixture
def target_table(request, target_table):
    """For `copy`, a target as wide as the source."""
    used = "recycler" in request.fixturenames
    copied = used and request.getfixturevalue("recycler").name == "copy"
    return target_table[:, :12] if copied else target_table


@pytest.fixture(params=LINEAR)
def linear(request):
    return make(request.param)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, ml_dtypes.bfloat16])
def test_shapes_and_float32_out(recycler, source_table, target_table, prompt, dtype):
    tables = (table.astype(dtype) for table in (source_table, target_table))
    recycled = recycler.fit(*tables).map.apply(prompt.astype(dtype))
    assert recycled.shape == (len(prompt), target_table.shape[1])
    assert recycled.dtype == np.float32


def test_fitting_leaves_its_input_alone(recycler, source_table, target_table):
    before = source_table.copy(), target_table.copy()
    recycler.fit(source_table, target_table)
    np.testing.assert_array_equal(before[0], source_table)
    np.testing.assert_array_equal(before[1], target_table)


def test_save_load_apply_is_apply(
    recycler, tmp_path, source_table, target_table, prompt
):
    fitted = recycler.fit(source_table, target_table).map
    save_map(fitted, tmp_path / "map.safetensors")
    loaded = load_map(tmp_path / "map.safetensors")
    assert loaded.kind == fitted.kind
    assert isinstance(fitted, type(loaded))
    np.testing.assert_array_equal(loaded.apply(prompt), fitted.apply(prompt))


def test_same_seed_same_bits(recycler, source_table, target_table, prompt):
    one, two = (
        recycler.fit(source_table, target_table).map.apply(prompt) for _ in "ab"
    )
    np.testing.assert_array_equal(one, two)


def test_each_prompt_vector_is_mapped_by_itself(
    recycler, source_table, target_table, prompt
):
    fitted = recycler.fit(source_table, target_table)
    np.testing.assert_allclose(
        fitted.map.apply(prompt[2:3]),
        fitted.map.apply(prompt)[2:3],
        rtol=1e-5,
        atol=1e-6,
    )


def test_many_prompts_at_once_as_each_by_itself(
    recycler, source_table, target_table, rng
):
    prompts = rng.normal(size=(7, 5, source_table.shape[1])).astype(np.float32)
    fitted = recycler.fit(source_table, target_table).map
    together = fitted.apply(prompts)
    assert together.dtype == np.float32
    for number, prompt in enumerate(prompts):
        np.testing.assert_allclose(together[number], fitted.apply(prompt), rtol=1e-5)
    # A sweep that was interrupted goes on with fewer prompts, and must not differ.
    for chosen in ([3], [6, 3, 0], range(1, 7)):
        some = fitted.apply(prompts[list(chosen)])
        np.testing.assert_array_equal(some, together[list(chosen)])


def test_many_prompts_are_checked_as_one_is(recycler, source_table, target_table):
    fitted = recycler.fit(source_table, target_table)
    with pytest.raises(RecyclingError, match="expected a prompt"):
        fitted.map.apply(np.ones((2, 5, source_table.shape[1] + 1)))
    with pytest.raises(RecyclingError, match="not finite"):
        fitted.map.apply(np.full((2, 5, source_table.shape[1]), np.nan))


def test_a_recycler_is_its_parameters(recycler):
    same = type(recycler)(**recycler.parameters())
    assert same == recycler
    with pytest.raises(dataclasses.FrozenInstanceError):
        recycler.name = "other"


def test_to_itself_is_the_identity(linear, source_table, prompt):
    recycled = linear.fit(source_table, source_table).map.apply(prompt)
    np.testing.assert_array_equal(recycled, prompt)


@pytest.mark.slow
def test_network_to_itself_comes_close(source_table):
    recycler = make("v2v-nn", epochs=400, learning_rate=1e-2)
    fitted = recycler.fit(source_table, source_table)
    words = source_table[:10]
    error = np.linalg.norm(fitted.map.apply(words) - words) / np.linalg.norm(words)
    assert error < 0.1


def test_a_linear_image_is_recovered(linear, rng, source_table, prompt):
    image = rng.normal(size=(source_table.shape[1], 20))
    recycled = linear.fit(source_table, source_table @ image).map.apply(prompt)
    np.testing.assert_allclose(recycled, prompt @ image, rtol=1e-6, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(LINEAR))
def test_the_order_of_words_does_not_matter(seed, name):
    rng = np.random.default_rng(seed)
    source, target = rng.normal(size=(40, 7)), rng.normal(size=(40, 9))
    prompt, order = rng.normal(size=(3, 7)), rng.permutation(40)
    recycler = make(name)
    np.testing.assert_allclose(
        recycler.fit(source, target).map.apply(prompt),
        recycler.fit(source[order], target[order]).map.apply(prompt),
        rtol=1e-5,
        atol=1e-6,
    )


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 30), st.integers(1, 30))
def test_v2v_lin_is_lin_comb(seed, words, source_dim):
    rng = np.random.default_rng(seed)
    source, target = rng.normal(size=(words, source_dim)), rng.normal(size=(words, 6))
    prompt = rng.normal(size=(4, source_dim))
    one, other = (make(name).fit(source, target).map.apply(prompt) for name in LINEAR)
    scale = np.abs(one).max()
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6 * scale)


@pytest.mark.parametrize("words", [5, 12, 300])
def test_closed_form(linear, source_table, target_table, prompt, words):
    """Against an independent least squares: P · pinv(S) · T."""
    source, target = source_table[:words], target_table[:words]
    wide = [array.astype(np.float64) for array in (prompt, source, target)]
    expected = wide[0] @ np.linalg.pinv(wide[1], rcond=1e-14) @ wide[2]
    recycled = linear.fit(source, target).map.apply(prompt)
    np.testing.assert_allclose(recycled, expected, rtol=1e-5, atol=1e-5)


def test_words_must_match(recycler, source_table, target_table):
    with pytest.raises(RecyclingError, match="384 rows of the source and 383 of the"):
        recycler.fit(source_table, target_table[1:])


@pytest.mark.parametrize("whose", ["source", "target"])
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda table: np.where(table == table[3, 2], np.nan, table),
            "have numbers that are not finite, first for word 3 of",
        ),
        (
            lambda table: np.where(table == table[3, 2], np.inf, table),
            "have numbers that are not finite, first for word 3 of",
        ),
        (np.zeros_like, "are the same for all 384 words"),
        (
            lambda table: np.broadcast_to(table[0], table.shape),
            "are the same for all 384 words",
        ),
        (
            lambda table: table[:, 0],
            r"as a matrix \[words, width\], found shape \[384\]",
        ),
        (lambda table: table[:, :0], r"as a matrix .*, found shape \[384, 0\]"),
        (lambda table: table.astype(np.int32), "cannot be used.* found dtype int32"),
        (lambda table: table + 1j, "cannot be used.* found dtype complex64"),
    ],
)
def test_embeddings_that_cannot_be_used(
    recycler, source_table, target_table, whose, spoil, message
):
    tables = {"source": source_table, "target": target_table}
    tables[whose] = spoil(tables[whose])
    with pytest.raises(RecyclingError, match=f"the {whose}'s embeddings {message}"):
        recycler.fit(**tables)


def test_one_word_is_too_few(recycler, source_table, target_table):
    with pytest.raises(RecyclingError, match="at least 2 words, found 1"):
        recycler.fit(source_table[:1], target_table[:1])


@pytest.mark.parametrize("shape", [(12,), (5, 11), (1, 5, 13)])
def test_a_prompt_of_another_shape(recycler, source_table, target_table, shape):
    fitted = recycler.fit(source_table, target_table)
    with pytest.raises(RecyclingError, match=r"expected a prompt \[length, 12\]"):
        fitted.map.apply(np.zeros(shape, np.float32))


def test_a_prompt_that_is_not_finite(recycler, source_table, target_table, prompt):
    prompt[1, 1] = np.nan
    with pytest.raises(RecyclingError, match="prompt has numbers that are not finite"):
        recycler.fit(source_table, target_table).map.apply(prompt)


@pytest.mark.parametrize("dtype", [np.int32, np.bool_, np.complex64])
def test_a_prompt_of_other_numbers(recycler, source_table, target_table, prompt, dtype):
    fitted = recycler.fit(source_table, target_table)
    message = f"prompt cannot be used.* found dtype {np.dtype(dtype)}"
    with pytest.raises(RecyclingError, match=message):
        fitted.map.apply(prompt.astype(dtype))
    with pytest.raises(RecyclingError, match=message):
        fitted.map.apply(prompt[None].astype(dtype))


def test_a_map_that_overflows_says_so(linear, source_table, target_table, prompt):
    fitted = linear.fit(1e-30 * source_table.astype(np.float64), target_table)
    with pytest.raises(RecyclingError, match="blows it up"):
        fitted.map.apply(1e30 * prompt)
