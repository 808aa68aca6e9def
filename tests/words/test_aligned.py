"""Two models may keep a word in different rows: each side of a pair has its own."""

import numpy as np
import pytest

from prompt_tuning_recycling import AlignedWords, RecyclingError, Words, recycle_prompt


@pytest.fixture
def shuffled(rng, target_table):
    """The target with its vocabulary in another order, and where each word went."""
    places = rng.permutation(len(target_table))
    table = np.empty_like(target_table)
    table[places] = target_table
    return table, places


def nearest(recycled):
    return [piece for found in recycled.record["nearest_pieces"] for piece in found]


def test_words_at_other_rows_of_the_target(
    source_table, target_table, prompt, shuffled
):
    table, places = shuffled
    rows, held_out = np.arange(50, 250), np.arange(300, 340)
    names = [f"word {row}" for row in range(384)]
    same = Words(
        AlignedWords(rows, rows, names[50:250]),
        AlignedWords(held_out, held_out, names[300:340]),
    )
    other = Words(
        AlignedWords(rows, places[rows], names[50:250]),
        AlignedWords(held_out, places[held_out], names[300:340]),
    )
    expected = recycle_prompt(source_table, target_table, prompt, words=same)
    found = recycle_prompt(source_table, table, prompt, words=other)
    np.testing.assert_array_equal(found.array, expected.array)
    assert found.record["residual"] == expected.record["residual"]
    for one, other in zip(nearest(found), nearest(expected), strict=True):
        row = other.pop("row")
        assert one.pop("row") == [row, places[row]]
        assert one == other
    digests = [one.record["words"]["rows_sha256"] for one in (found, expected)]
    assert digests[0] != digests[1]


def test_held_out_words_that_either_side_lacks_are_left_out(
    source_table, target_table, prompt
):
    rows = np.arange(100)
    held_out = AlignedWords(
        np.array([200, 201, 9999]), np.array([9999, 201, 202]), [None] * 3
    )
    words = Words(AlignedWords.of_one_vocabulary(rows), held_out)
    recycled = recycle_prompt(source_table, target_table, prompt, words=words)
    assert recycled.record["words"]["held_out"] == 1


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_row_cannot_be_negative(side):
    rows = {"source_rows": np.array([1, 2]), "target_rows": np.array([1, 2])}
    rows[f"{side}_rows"] = np.array([1, -2])
    with pytest.raises(RecyclingError, match="cannot be negative, but -2"):
        AlignedWords(**rows, pieces=["a", "b"])
