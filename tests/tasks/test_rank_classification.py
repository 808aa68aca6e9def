"""Rank classification on constructed scores, and as seqio hands them over."""

import functools
import logging

import numpy as np
import pytest
import seqio
import tensorflow as tf

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.tasks import rank_classification
from prompt_tuning_recycling.tasks.rank_classification import Choice

from ..conftest import thorough

pytestmark = pytest.mark.slow

normed_accuracy = functools.partial(
    rank_classification.accuracy, by_length=True, prefix="normed_"
)


def choices(example, correct, tokens=None):
    """One example's choices; `correct` has a letter for each: r right, w wrong."""
    tokens = tokens or [2] * len(correct)
    return [
        Choice(example, number, letter == "r", len(correct), length)
        for number, (letter, length) in enumerate(zip(correct, tokens, strict=True))
    ]


def test_the_likeliest_choice_is_the_answer():
    targets = [*choices(1, "rw"), *choices(2, "rw")]
    scores = [-1.0, -2.0, -2.0, -1.0]
    assert rank_classification.accuracy(targets, scores) == {"accuracy": 50.0}


@pytest.mark.parametrize(("correct", "expected"), [("rww", 100.0), ("wrr", 0.0)])
def test_of_equally_likely_choices_the_first_one_counts(correct, expected):
    targets = choices(1, correct)
    accuracy = rank_classification.accuracy(targets, [-1.0, -1.0, -1.0])
    assert accuracy == {"accuracy": expected}


def test_a_tie_below_the_best_does_not_matter():
    targets = choices(1, "wwr")
    accuracy = rank_classification.accuracy(targets, [-5.0, -5.0, -1.0])
    assert accuracy == {"accuracy": 100.0}


def test_normalisation_divides_by_the_choices_tokens():
    # -6 over 6 tokens is likelier a token than -4 over 2.
    targets = choices(1, "rw", tokens=[6, 2])
    scores = [-6.0, -4.0]
    assert rank_classification.accuracy(targets, scores) == {"accuracy": 0.0}
    assert normed_accuracy(targets, scores) == {"normed_accuracy": 100.0}


def test_a_tie_after_normalisation_goes_to_the_first():
    targets = choices(1, "wr", tokens=[2, 4])
    assert normed_accuracy(targets, [-1.0, -2.0]) == {"normed_accuracy": 0.0}


@pytest.mark.parametrize("best", [0, 1, 2, 3])
def test_any_right_choice_is_right(best):
    scores = np.full(4, -3.0)
    scores[best] = -1.0
    accuracy = rank_classification.accuracy(choices(1, "wrwr"), scores)
    assert accuracy == {"accuracy": 100.0 * (best in (1, 3))}


def test_one_choice_is_its_examples_answer():
    targets = [*choices(1, "r"), *choices(2, "w")]
    scores = [-9.0, -0.1]
    assert rank_classification.accuracy(targets, scores) == {"accuracy": 50.0}


def test_an_example_without_a_right_choice_counts_as_wrong():
    targets = [*choices(1, "ww"), *choices(2, "rw")]
    accuracy = rank_classification.accuracy(targets, [-1.0, -2.0, -1.0, -2.0])
    assert accuracy == {"accuracy": 50.0}


def test_examples_have_different_numbers_of_choices():
    targets = [*choices(1, "rwww"), *choices(2, "wr"), *choices(3, "wwr")]
    scores = [-1.0, -2.0, -2.0, -2.0, -2.0, -1.0, -1.0, -2.0, -3.0]
    accuracy = rank_classification.accuracy(targets, scores)["accuracy"]
    assert accuracy == pytest.approx(200 / 3)


def test_the_order_of_the_rows_does_not_matter(rng):
    targets = [*choices(5, "wrw"), *choices(3, "rw"), *choices(9, "wwwr")]
    scores = np.array([-3.0, -1.0, -2.0, -7.0, -8.0, -1.0, -2.0, -3.0, -4.0])
    expected = rank_classification.accuracy(targets, scores)
    for _ in range(20):
        order = rng.permutation(len(targets))
        shuffled = [targets[row] for row in order]
        assert rank_classification.accuracy(shuffled, scores[order]) == expected


def test_two_examples_the_same_in_all_stay_two():
    # As two hosts that each number their own share of the data may send them.
    targets = [*choices(1, "rw"), *choices(1, "rw"), *choices(2, "wr")]
    scores = [-1.0, -2.0, -1.0, -2.0, -1.0, -2.0]
    accuracy = rank_classification.accuracy(targets, scores)["accuracy"]
    assert accuracy == pytest.approx(200 / 3)


def test_a_score_that_is_not_a_number_counts_as_wrong(caplog):
    targets = [*choices(1, "rw"), *choices(2, "rw")]
    scores = [float("nan"), -2.0, -1.0, -2.0]
    logger = "prompt_tuning_recycling.tasks.rank_classification"
    with caplog.at_level(logging.WARNING, logger=logger):
        accuracy = rank_classification.accuracy(targets, scores)
    assert accuracy == {"accuracy": 50.0}
    assert "1 of 2 examples have a score that is not a number" in caplog.text


def alike(example, correct, ids):
    """Choices with a letter each for whether it is right, and for its tokens."""
    return [
        choice._replace(ids=(ord(letter), 1))
        for choice, letter in zip(choices(example, correct), ids, strict=True)
    ]


@pytest.mark.parametrize(
    ("correct", "ids", "right"),
    [
        ("rw", "aa", False),
        ("wr", "aa", False),
        ("rr", "aa", False),
        ("rww", "aba", False),
        ("rww", "abb", True),
        ("rrw", "aab", True),
        ("rw", "ab", True),
        ("r", "a", True),
    ],
)
@pytest.mark.parametrize("metric", [rank_classification.accuracy, normed_accuracy])
def test_choices_that_are_the_same_to_the_model(caplog, metric, correct, ids, right):
    """A right one that has a wrong one's tokens is no answer; all alike are none."""
    targets = [*alike(1, correct, ids), *alike(2, "rw", "ab")]
    scores = [-1.0, *[-2.0] * (len(correct) - 1), -1.0, -2.0]
    if correct.startswith("w"):
        scores[:2] = [-2.0, -1.0]
    logger = "prompt_tuning_recycling.tasks.rank_classification"
    with caplog.at_level(logging.WARNING, logger=logger):
        (value,) = metric(targets, scores).values()
    assert value == (100.0 if right else 50.0)
    said = "1 of 2 examples have a right choice with the same tokens" in caplog.text
    assert said != right


def test_a_task_whose_choices_are_all_the_same_to_the_model():
    targets = [*alike(1, "rw", "aa"), *alike(2, "wr", "bb")]
    for metric in (*rank_classification.METRICS, *rank_classification.F1_METRICS):
        with pytest.raises(RecyclingError, match="in every example .* same tokens"):
            metric(targets, [-1.0, -2.0, -1.0, -2.0])


def test_choices_cut_to_the_same_tokens(ranking_task, caplog):
    """To EOS alone: only the example with one choice has an answer."""

    def score(dataset):
        return [(n, -float(n)) for n, _ in dataset.as_numpy_iterator()]

    metrics = evaluate(ranking_task, score, {"inputs": 8, "targets": 1})
    assert metrics["accuracy"] == pytest.approx(100 / 3)
    assert "2 of 3 examples have a right choice with the same tokens" in caplog.text


def test_scores_may_come_with_what_was_computed_on_the_way():
    targets = choices(1, "wr")
    scores = np.array([-2.0, -1.0], np.float32)
    pair = (scores, {"decoder": {"token_scores": (np.zeros((2, 3)),)}})
    assert rank_classification.accuracy(targets, pair) == {"accuracy": 100.0}


def test_f1_is_of_the_second_choice():
    # Positives: examples 1, 2, 3. Found: 1, 4. So one true, one false, two missed.
    targets = [
        *choices(1, "wr"),
        *choices(2, "wr"),
        *choices(3, "wr"),
        *choices(4, "rw"),
    ]
    scores = [-2.0, -1.0, -1.0, -2.0, -1.0, -2.0, -2.0, -1.0]
    assert rank_classification.f1(targets, scores)["f1"] == pytest.approx(
        100 * 2 * 1 / (2 * 1 + 1 + 2)
    )


def test_f1_normalized():
    targets = [*choices(1, "wr", tokens=[2, 6]), *choices(2, "rw", tokens=[2, 6])]
    scores = [-4.0, -6.0, -1.0, -6.0]
    assert rank_classification.f1(targets, scores) == {"f1": 0.0}
    normed = functools.partial(
        rank_classification.f1, by_length=True, prefix="normed_"
    )(targets, scores)
    assert normed == {"normed_f1": 100.0}


def test_f1_leaves_out_examples_without_a_label():
    targets = [*choices(1, "wr"), *choices(2, "ww")]
    found = rank_classification.f1(targets, [-2.0, -1.0, -2.0, -1.0])
    assert found == {"f1": 100.0}


def test_f1_needs_two_choices():
    with pytest.raises(RecyclingError, match="expected two choices .* found 3 with 1"):
        rank_classification.f1(choices(1, "wrw"), [-1.0, -1.0, -1.0])


def test_missing_choices_are_an_error():
    targets = choices(1, "wrw")
    with pytest.raises(RecyclingError, match=r"scores of \[0, 2\] for an .* 3 choices"):
        rank_classification.accuracy([targets[0], targets[2]], [-1.0, -2.0])


def test_examples_cut_off_in_the_middle_are_left_out():
    # EVALUATOR_NUM_EXAMPLES counts rows, not examples.
    targets = [*choices(1, "rw"), *choices(2, "wr")[:1]]
    accuracy = rank_classification.accuracy(targets, [-1.0, -2.0, -1.0])
    assert accuracy == {"accuracy": 100.0}


def test_too_few_rows_for_one_example():
    with pytest.raises(RecyclingError, match="alone has 4 choices"):
        rank_classification.accuracy(choices(1, "rwww")[:2], [-1.0, -2.0])


def test_no_examples():
    with pytest.raises(RecyclingError, match="there are no examples"):
        rank_classification.accuracy([], [])


def test_too_few_scores():
    with pytest.raises(RecyclingError, match="each of 2 choices, found 1"):
        rank_classification.accuracy(choices(1, "rw"), [-1.0])


def rows(*examples):
    """What `one_per_choice` makes of examples (inputs, choices, correct)."""

    def generate():
        for inputs, texts, correct in examples:
            yield {"inputs": inputs, "choices": texts, "correct": correct}

    dataset = tf.data.Dataset.from_generator(
        generate,
        output_signature={
            "inputs": tf.TensorSpec([], tf.string),
            "choices": tf.TensorSpec([None], tf.string),
            "correct": tf.TensorSpec([None], tf.bool),
        },
    )
    return dataset, rank_classification.one_per_choice(dataset)


EXAMPLES = [
    ("one", ["a", "b c", "d"], [False, True, True]),
    ("two", ["a"], [True]),
    ("one", ["a", "b c", "d"], [False, True, True]),
]


def test_one_example_of_each_choice():
    _, dataset = rows(*EXAMPLES)
    found = list(dataset.as_numpy_iterator())
    assert [(row["inputs"].decode(), row["targets"].decode()) for row in found] == [
        ("one", "a"),
        ("one", "b c"),
        ("one", "d"),
        ("two", "a"),
        ("one", "a"),
        ("one", "b c"),
        ("one", "d"),
    ]
    assert [tuple(row["ranking"][1:]) for row in found] == [
        (0, 0, 3),
        (1, 1, 3),
        (2, 1, 3),
        (0, 1, 1),
        (0, 0, 3),
        (1, 1, 3),
        (2, 1, 3),
    ]
    keys = [row["ranking"][0] for row in found]
    assert len({*keys[:3]}) == len({*keys[4:]}) == 1
    assert len({*keys}) == 3


def test_no_choices_are_an_error():
    _, dataset = rows(("one", [], []))
    with pytest.raises(tf.errors.InvalidArgumentError, match="no choices"):
        list(dataset.as_numpy_iterator())


def test_numbers_stay_unique_when_hosts_read_a_share_each():
    """Every host numbers its own examples from 0."""
    examples = [
        (
            f"text {n % 7}",
            ["a", "b", "c"][: 1 + n % 3],
            [True, False, False][: 1 + n % 3],
        )
        for n in range(40)
    ]
    dataset, whole = rows(*examples)
    expected = list(whole.as_numpy_iterator())
    shared = []
    for host in range(4):
        share = rank_classification.one_per_choice(dataset.shard(4, host))
        shared.extend(share.as_numpy_iterator())
    results = []
    for found in (expected, shared):
        targets = [
            rank_classification.keep_ranking(
                "", example={**row, "targets": list(row["targets"])}, is_target=True
            )
            for row in found
        ]
        # What a model would: the same text, the same score.
        scores = [
            -float(sum(row["inputs"]) % 5 + 3 * sum(row["targets"]) % 4)
            for row in found
        ]
        grouped = rank_classification._examples(targets)
        assert len(grouped) == 40
        for example in grouped:
            assert len({found[row]["inputs"] for row in example}) == 1
        results.append(rank_classification.accuracy(targets, scores))
    assert results[0] == results[1]


def test_a_prediction_stays_as_it_is():
    assert rank_classification.keep_ranking("text", example={}) == "text"


@pytest.fixture
def ranking_task(demo_vocabulary):
    """A task of three examples: three choices, one, and two."""
    vocabulary = seqio.SentencePieceVocabulary(demo_vocabulary)
    name = "ranking_of_constructed_scores"

    def dataset(split, shuffle_files, seed=None):
        return rows(
            ("good", ["good", "bad good", "bad"], [False, True, True]),
            ("bad", ["bad"], [True]),
            ("good bad", ["bad", "good bad bad"], [False, True]),
        )[0]

    seqio.TaskRegistry.add(
        name,
        source=seqio.FunctionDataSource(dataset, splits=["validation"]),
        preprocessors=[
            rank_classification.one_per_choice,
            seqio.preprocessors.tokenize,
            seqio.preprocessors.append_eos_after_trim,
        ],
        postprocess_fn=rank_classification.keep_ranking,
        metric_fns=rank_classification.METRICS,
        output_features={
            "inputs": seqio.Feature(vocabulary),
            "targets": seqio.Feature(vocabulary),
        },
    )
    yield name
    seqio.TaskRegistry.remove(name)


def evaluate(name, score_fn, lengths=None, **options):
    evaluator = seqio.Evaluator(
        name,
        seqio.EncDecFeatureConverter(pack=False),
        "validation",
        sequence_length=lengths,
        **options,
    )
    future, _ = evaluator.evaluate(compute_metrics=True, score_fn=score_fn)
    return dict(future.result()[name])


# By row. Example 1: the first choice wins, wrong; by length (2, 3, 2) the second.
# Example 3: by length (2, 4) the second instead of the first.
SCORES = [-1.0, -1.2, -3.0, -5.0, -2.0, -3.0]


@pytest.mark.parametrize("aux", [False, True])
def test_both_metrics_from_one_inference_pass(ranking_task, aux):
    calls = []

    def score_fn(dataset):
        calls.append(len(list(dataset.as_numpy_iterator())))
        pairs = list(enumerate(np.array(SCORES, np.float32)))[::-1]
        if not aux:
            return pairs
        # In the order of the pairs, as T5X does with intermediates.
        return pairs, {"decoder": {"token_scores": [[0.0]] * len(pairs)}}

    assert evaluate(ranking_task, score_fn) == {
        "accuracy": pytest.approx(100 / 3),
        "normed_accuracy": pytest.approx(100.0),
    }
    assert calls == [6]


@pytest.mark.parametrize("batch", [thorough(1), 4, thorough(5), thorough(6), 100])
def test_batches_and_padding_change_nothing(ranking_task, batch):
    """Rows are shared out among two hosts in batches, padded as T5X pads them."""

    def score_fn(dataset):
        rows = [(number, SCORES[number]) for number, _ in dataset.as_numpy_iterator()]
        rows += [(-1, SCORES[0])] * (-len(rows) % (2 * batch))
        gathered = []
        for first in range(0, len(rows), 2 * batch):
            part = rows[first : first + 2 * batch]
            gathered += part[::2] + part[1::2]
        return [row for row in gathered if row[0] >= 0]

    assert evaluate(ranking_task, score_fn) == {
        "accuracy": pytest.approx(100 / 3),
        "normed_accuracy": pytest.approx(100.0),
    }


def test_lengths_are_of_the_text_that_was_scored(ranking_task):
    """Cut to two tokens all choices are of one length, so it makes no difference."""
    metrics = evaluate(
        ranking_task,
        lambda dataset: list(enumerate(SCORES)),
        lengths={"inputs": 4, "targets": 2},
    )
    assert metrics["normed_accuracy"] == metrics["accuracy"] == pytest.approx(100 / 3)


def test_fewer_rows_than_there_are(ranking_task):
    # Rows 0 to 4: the third example lacks its second choice.
    metrics = evaluate(
        ranking_task, lambda dataset: list(enumerate(SCORES[:5])), num_examples=5
    )
    assert metrics == {"accuracy": 50.0, "normed_accuracy": 100.0}
