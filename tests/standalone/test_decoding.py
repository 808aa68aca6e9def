"""Decoding, on a made-up language whose every sequence can be tried."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from prompt_tuning_recycling.standalone import decoding

from ..conftest import thorough

pytestmark = pytest.mark.slow

EOS, VOCABULARY, LENGTH, BATCH = 1, 5, 4, 6


@pytest.fixture
def tables(rng):
    """For each example the next token's logits after each beginning of a sequence."""
    return [
        {
            beginning: 2 * rng.normal(size=VOCABULARY).astype(np.float32)
            for length in range(LENGTH)
            for beginning in itertools.product(range(VOCABULARY), repeat=length)
        }
        for _ in range(BATCH)
    ]


def next_logits_of(tables, beams):
    """The language as a decoder sees it. The cache holds what each row has decoded,
    as a number in base VOCABULARY, and how much that is.
    """
    stacked = np.stack(
        [
            np.stack([table[beginning] for beginning in beginnings])
            for table in tables
            for beginnings in [sorted(table, key=lambda key: (len(key), key))]
        ]
    )
    # Where the beginnings of each length start among all.
    offsets = np.cumsum([0] + [VOCABULARY**length for length in range(LENGTH)])
    example = np.repeat(np.arange(len(tables)), beams)

    def next_logits(tokens, cache):
        index, code = cache["index"], cache["code"]
        code = jnp.where(index == 0, 0, code * VOCABULARY + tokens[:, 0])
        row = jnp.asarray(offsets)[index] + code
        logits = jnp.asarray(stacked)[example, row]
        return logits, {"index": index + 1, "code": code}

    cache = {
        "index": jnp.zeros((), jnp.int32),
        "code": jnp.zeros(len(tables) * beams, jnp.int32),
    }
    return next_logits, cache


def log_likelihood(table, sequence):
    total = 0.0
    for position, token in enumerate(sequence):
        logits = table[sequence[:position]].astype(np.float64)
        total += logits[token] - np.log(np.exp(logits).sum())
    return total


def ended_sequences():
    """Every sequence that ends within the length."""
    others = [token for token in range(VOCABULARY) if token != EOS]
    for length in range(LENGTH):
        for beginning in itertools.product(others, repeat=length):
            yield (*beginning, EOS)


def decode(decoder, tables):
    next_logits, cache = next_logits_of(tables, decoder.num_decodes)
    tokens, scores = decoder.decode(next_logits, cache, len(tables), LENGTH, EOS)
    return np.asarray(tokens), np.asarray(scores)


def padded(sequence):
    return [*sequence, *[0] * (LENGTH - len(sequence))]


@pytest.mark.parametrize("alpha", [0.0, 0.6, 2.0])
def test_with_enough_beams_the_best_of_all_sequences_is_found(tables, alpha):
    tokens, scores = decode(decoding.BeamSearch(VOCABULARY**LENGTH, alpha), tables)
    for example, table in enumerate(tables):
        score = {
            sequence: log_likelihood(table, sequence)
            / ((5 + len(sequence)) / 6) ** alpha
            for sequence in ended_sequences()
        }
        best = max(score, key=score.get)
        assert tokens[example].tolist() == padded(best)
        assert scores[example] == pytest.approx(score[best], rel=1e-4)


def plain_beam_search(table, beams, alpha):
    """One example, with lists."""
    live, ended = [((), 0.0)], []
    for _ in range(LENGTH):
        extended = sorted(
            (
                ((*sequence, token), log_likelihood(table, (*sequence, token)))
                for sequence, _ in live
                for token in range(VOCABULARY)
            ),
            key=lambda pair: -pair[1],
        )[: 2 * beams]
        penalty = ((5 + len(extended[0][0])) / 6) ** alpha
        ended += [(s, score / penalty) for s, score in extended if s[-1] == EOS]
        ended = sorted(ended, key=lambda pair: -pair[1])[:beams]
        live = [(s, score) for s, score in extended if s[-1] != EOS][:beams]
    return ended[0] if ended else live[0]


@pytest.mark.parametrize("beams", [thorough(1), thorough(2), 3])
@pytest.mark.parametrize("alpha", [thorough(0.0), 0.6])
def test_with_few_beams_it_is_the_search_done_with_lists(tables, beams, alpha):
    tokens, scores = decode(decoding.BeamSearch(beams, alpha), tables)
    for example, table in enumerate(tables):
        sequence, score = plain_beam_search(table, beams, alpha)
        assert tokens[example].tolist() == padded(sequence)
        assert scores[example] == pytest.approx(score, rel=1e-4)


def test_greedy_decoding_takes_the_likeliest_token_each_time(tables):
    tokens, scores = decode(decoding.Greedy(), tables)
    for example, table in enumerate(tables):
        sequence = ()
        while len(sequence) < LENGTH and EOS not in sequence:
            sequence = (*sequence, int(table[sequence].argmax()))
        assert tokens[example].tolist() == padded(sequence)
        expected = log_likelihood(table, sequence)
        assert scores[example] == pytest.approx(expected, rel=1e-4)


def deterministic(sequence):
    """A table that all but dictates a sequence."""
    return {
        beginning: np.where(
            np.arange(VOCABULARY)
            == (sequence[length] if beginning == sequence[:length] else 2),
            50.0,
            0.0,
        ).astype(np.float32)
        for length in range(LENGTH)
        for beginning in itertools.product(range(VOCABULARY), repeat=length)
    }


@pytest.mark.parametrize("decoder", [decoding.Greedy(), decoding.BeamSearch(1)])
@pytest.mark.parametrize("sequence", [(3, 4, EOS), (EOS,), (3, 4, 2, EOS)])
def test_one_beam_equals_greedy_where_the_model_is_sure(decoder, sequence):
    # Nothing is decided for it after the end.
    table = deterministic((*sequence, 2, 2, 2, 2)[:LENGTH])
    tokens, _ = decode(decoder, [table])
    assert tokens[0].tolist() == padded(sequence)


@pytest.mark.parametrize("decoder", [decoding.Greedy(), decoding.BeamSearch(2)])
def test_a_sequence_that_does_not_end_is_cut(decoder):
    never = {
        beginning: np.array([0, -1e9, 5, 1, 1], np.float32)
        for length in range(LENGTH)
        for beginning in itertools.product(range(VOCABULARY), repeat=length)
    }
    tokens, _ = decode(decoder, [never])
    assert tokens[0].tolist() == [2] * LENGTH
