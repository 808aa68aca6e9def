import pytest

from prompt_tuning_recycling import Words, recycle_prompt, recyclers
from prompt_tuning_recycling.records import text as record_texts
from prompt_tuning_recycling.recyclers import VocabToVocabLinear


@pytest.mark.slow
@pytest.mark.parametrize("recycler", recyclers.names())
def test_says_what_a_user_asks(source_table, target_table, prompt, word_list, recycler):
    words = Words.from_list(word_list, num_words=200, word_offset=10)
    target = source_table + 0.1 if recycler == "copy" else target_table
    recycled = recycle_prompt(
        source_table, target, prompt, words=words, recycler=recycler
    )
    text = record_texts.record_text(recycled.record)
    for expected in (
        recycler,
        "200 fitted on, 100 held out",
        "Residual",
        "prompt after",
        "▁word",
    ):
        assert expected in text


def test_shows_warnings(source_table, target_table, prompt):
    words = Words.from_rows(range(8))
    recycled = recycle_prompt(source_table, target_table, prompt, words=words)
    text = record_texts.record_text(recycled.record)
    assert "minimum-norm solution" in text
    assert "Warning         8 words determine only part" in text
    assert "no words" in text


def test_shows_the_ridge_and_how_it_was_chosen(source_table, target_table, prompt):
    words = Words.from_rows(range(8))
    for ridge, shown in (
        (0.25, "ridge         0.25\n"),
        ("auto", "leave-one-out resid"),
    ):
        recycler = VocabToVocabLinear(ridge=ridge)
        recycled = recycle_prompt(
            source_table, target_table, prompt, words=words, recycler=recycler
        )
        text = record_texts.record_text(recycled.record)
        assert shown in text
        assert "condition" in text
        assert "rank " not in text


def test_a_prompt_by_itself(prompt):
    text = record_texts.prompt_text(prompt, "sst2.npy")
    assert "sst2.npy" in text
    assert "[5, 12], float32" in text


def test_a_long_prompt_is_cut(source_table, target_table, rng, word_list):
    words = Words.from_list(word_list, num_words=200, word_offset=10)
    prompt = rng.normal(size=(30, 12))
    recycled = recycle_prompt(source_table, target_table, prompt, words=words)
    assert "and 20 more" in record_texts.record_text(recycled.record)
