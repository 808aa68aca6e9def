"""Inputs of a task without their labels."""

import numpy as np
import pytest
import seqio

from prompt_tuning_recycling import RecyclingError
from prompt_tuning_recycling.choosing import unlabeled

from ..conftest import thorough
from .conftest import inputs_of

pytestmark = pytest.mark.slow


def texts(tasks, inputs):
    return [tasks.VOCABULARY.decode(tokens.tolist()) for tokens in inputs.inputs]


def choices(tasks, inputs):
    return [
        [tasks.VOCABULARY.decode(tokens.tolist()) for tokens in of_input]
        for of_input in inputs.choices
    ]


def same(one, other):
    """Whether two readings have the same tokens throughout."""
    return one.digest == other.digest and all(
        np.array_equal(a, b) for a, b in zip(one.inputs, other.inputs, strict=True)
    )


# Which inputs


def test_an_input_has_the_choices_that_the_task_ranks(read, tasks):
    found = read("tiny_ranked")
    assert choices(tasks, found) == [["good", "bad"]] * 16
    assert found.sizes == [2] * 16
    assert found.has_choices
    assert found.has_same_choices


def test_inputs_are_those_of_the_split(read, tasks):
    known = set(tasks.reviews("train")[0])
    assert set(texts(tasks, read("tiny_ranked"))) <= known
    assert not set(texts(tasks, read("tiny_ranked", split="test"))) & known


def test_no_input_is_drawn_twice(read, tasks):
    found = texts(tasks, read("tiny_ranked", 84))
    assert len(set(found)) == len(found) == 84


def test_inputs_of_a_task_that_is_sorted_by_label_have_all_labels(read, tasks):
    label = dict(zip(*tasks.reviews("train"), strict=True))
    found = [label[text] for text in texts(tasks, read("tiny_ranked"))]
    assert min(map(found.count, tasks.LABELS)) >= 4


def test_the_seed_decides_which_inputs(read):
    assert same(read("tiny_ranked"), read("tiny_ranked", seed=0))
    assert not same(read("tiny_ranked"), read("tiny_ranked", seed=1))


def test_inputs_are_cut_as_the_task_is(tasks):
    found = unlabeled.read("tiny_ranked", 4, lengths={"inputs": 1, "targets": 1})
    assert {len(tokens) for tokens in found.inputs} == {1}
    assert {len(tokens) for row in found.choices for tokens in row} == {1}


def test_inputs_that_become_the_same_when_cut_count_once(tasks, caplog):
    found = unlabeled.read("tiny_ranked", 84, lengths={"inputs": 1, "targets": 1})
    assert len(found.inputs) == 6  # The nouns of the split.
    assert "has only 6 inputs in the split train; expected 84" in caplog.text


def test_fewer_inputs_than_asked_for_are_all_taken_with_a_warning(read, tasks, caplog):
    found = read("tiny_ranked", 100)
    assert sorted(texts(tasks, found)) == sorted(tasks.reviews("train")[0])
    assert "tiny_ranked has only 84 inputs in the split train" in caplog.text
    assert found.origin["inputs"] == 84


def test_their_origin_is_recorded(read):
    assert read("tiny_ranked", seed=3).origin == {
        "task": "tiny_ranked",
        "split": "train",
        "inputs": 16,
        "seed": 3,
        "choices": 2,
    }


# Mixtures


def test_choices_of_a_task_that_only_generates_are_those_that_another_ranks(
    read, tasks
):
    found = read("tiny_apart")
    assert choices(tasks, found) == [["good", "bad"]] * 16
    assert set(texts(tasks, found)) <= set(tasks.reviews("train")[0])
    assert found.origin["task"] == "tiny_only_train"


def test_a_mixtures_inputs_are_those_of_the_task_that_ranks(read):
    assert read("tiny_both").origin["task"] == "tiny_ranked"


def test_a_task_without_choices_has_none(read):
    found = read("tiny_train")
    assert not found.has_choices
    assert found.sizes == [0] * 16
    assert found.origin["choices"] == 0


def test_inputs_may_have_choices_of_their_own(read, tasks):
    found = read("tiny_pairs", 84)
    assert found.sizes == [2] * 84
    assert len({tuple(row) for row in choices(tasks, found)}) == 7
    assert not found.has_same_choices


def test_inputs_may_have_different_numbers_of_choices(read):
    found = read("tiny_ragged")
    assert set(found.sizes) == {2, 3}
    assert found.has_choices
    assert not found.has_same_choices


# Labels


def scrambled(tasks, monkeypatch, labels):
    true = tasks.reviews

    def reviews(split):
        inputs, targets = true(split)
        return inputs, labels(targets)

    monkeypatch.setattr(tasks, "reviews", reviews)


SCRAMBLED = {
    "reversed": lambda targets: targets[::-1],
    "all the same": lambda targets: ["bad"] * len(targets),
    "none of the choices": lambda targets: ["unknown"] * len(targets),
}


@pytest.mark.parametrize("labels", SCRAMBLED.values(), ids=SCRAMBLED)
@pytest.mark.parametrize(
    "name", ["tiny_ranked", thorough("tiny_apart"), thorough("tiny_train")]
)
def test_labels_are_not_read(read, tasks, monkeypatch, name, labels):
    before = read(name)
    scrambled(tasks, monkeypatch, labels)
    after = read(name)
    assert same(before, after)
    assert before.origin == after.origin


def test_scrambling_reaches_the_tasks_labels(read, tasks, monkeypatch):
    """Otherwise the test above would prove nothing."""

    def labels(name):
        dataset = seqio.get_mixture_or_task(name).get_dataset(
            sequence_length=None, split="train", shuffle=False
        )
        return [example["targets"].tolist() for example in dataset.as_numpy_iterator()]

    before = labels("tiny_train")
    scrambled(tasks, monkeypatch, SCRAMBLED["reversed"])
    assert labels("tiny_train") != before


# The digest


def test_the_digest_tells_inputs_choices_and_their_order_apart():
    one = inputs_of([[[5, 1], [6, 1]]] * 2)
    others = [
        inputs_of([[[5, 1], [6, 1]]] * 3),
        inputs_of([[[6, 1], [5, 1]]] * 2),
        inputs_of([[[5, 1, 6, 1]]] * 2),
        inputs_of([[[5, 1], [6, 1]]] * 2, [np.array([10, 1]), np.array([12, 1])]),
        inputs_of([[], []]),
    ]
    digests = [each.digest for each in (one, *others)]
    assert len(set(digests)) == len(digests)
    assert one.digest == inputs_of([[[5, 1], [6, 1]]] * 2).digest


# As examples for a model


def test_examples_are_one_for_each_choice_in_order(read):
    found = read("tiny_ragged", 8)
    numbers, examples = zip(*found.dataset().as_numpy_iterator(), strict=True)
    assert list(numbers) == list(range(sum(found.sizes)))
    expected = [
        (tokens, choice)
        for tokens, row in zip(found.inputs, found.choices, strict=True)
        for choice in row
    ]
    for example, (tokens, choice) in zip(examples, expected, strict=True):
        assert example["encoder_input_tokens"][: len(tokens)].tolist() == [*tokens]
        assert example["decoder_target_tokens"][: len(choice)].tolist() == [*choice]
        assert example["decoder_loss_weights"].sum() == len(choice)


def test_all_examples_have_the_same_lengths(read):
    found = unlabeled.read("tiny_ranked", 16)
    shapes = {
        tuple(example[name].shape[0] for name in sorted(example))
        for _, example in found.dataset().as_numpy_iterator()
    }
    assert len(shapes) == 1


def test_examples_for_answers_are_one_for_each_input(read):
    found = read("tiny_train", 8)
    examples = [example for _, example in found.dataset(4).as_numpy_iterator()]
    assert len(examples) == 8
    assert {example["decoder_target_tokens"].shape for example in examples} == {(4,)}


def test_answers_become_the_texts_to_rank(read):
    answers = [np.array([5, 1])] * 7 + [np.array([6, 7, 1])]
    found = read("tiny_train", 8).with_answers(answers)
    assert found.has_choices
    assert found.sizes == [1] * 8
    assert found.tokens() == [2] * 7 + [3]


@pytest.mark.parametrize(
    ("tokens", "answer"),
    [
        ([5, 6, 1, 0, 0], [5, 6, 1]),
        ([5, 6, 7], [5, 6, 7]),
        ([5, 6, 0], [5, 6]),
        ([1, 0, 0], [1]),
        ([0, 0, 0], [1]),
        ([5, 1, 6, 1], [5, 1]),
    ],
)
def test_an_answer_ends_with_the_first_eos(tokens, answer):
    assert unlabeled.until_eos(np.array(tokens), 1).tolist() == answer


# Mistakes


def test_a_split_that_is_missing_names_the_others(read):
    with pytest.raises(RecyclingError) as error:
        read("tiny_ranked", split="trian")
    message = str(error.value)
    assert "UNLABELED_SPLIT: tiny_ranked has no split 'trian'" in message
    assert "Expected one of train, validation, test." in message


def test_a_split_without_examples_is_refused(read):
    with pytest.raises(RecyclingError, match="'train' of tiny_empty has no inputs"):
        read("tiny_empty")
