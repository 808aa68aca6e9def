"""One prompt, recycled in several ways."""

import dataclasses

import numpy as np
import pytest

from prompt_tuning_recycling import RecyclingError, maps, recyclers
from prompt_tuning_recycling.choosing import candidates
from prompt_tuning_recycling.initial_prompts import Recycled
from prompt_tuning_recycling.models import open_model

LENGTH = 5


@pytest.fixture
def kind(files):
    return Recycled(
        source_checkpoint=files["source_model"],
        source_prompt=files["prompt_path"],
        word_list=files["filtered_word"],
        num_words=200,
        word_offset=10,
    )


@pytest.fixture
def target(files):
    return open_model(files["target_model"])


@dataclasses.dataclass(frozen=True)
class EqualWidths(recyclers.Recycler):
    """A recycler that some pairs of models rule out."""

    name = "equal-widths"

    def learn(self, source, target):
        if source.array.shape != target.array.shape:
            raise RecyclingError("expected models of equal width.")
        return recyclers.Fit(maps.Linear(np.eye(source.array.shape[1])))


class Never(EqualWidths):
    """A recycler that cannot be used for another reason."""

    name = "never"

    def learn(self, source, target):
        raise RecyclingError("expected something else.")


def test_each_candidate_is_what_its_recycler_alone_makes(kind, target):
    made = candidates.recycle(kind, ["lin-comb", "v2v-lin"], target, LENGTH)
    assert list(made.prompts) == ["lin-comb", "v2v-lin"]
    assert made.left_out == {}
    for name, prompt in made.prompts.items():
        alone = dataclasses.replace(kind, recycler=name).make(target, LENGTH)
        np.testing.assert_array_equal(prompt.array, alone.array)
        assert prompt.record["recycler"]["name"] == name


def test_a_candidate_may_be_a_recycler_with_parameters(kind, target):
    cut = recyclers.VocabToVocabLinear(rcond=0.5)
    made = candidates.recycle(kind, [cut], target, LENGTH)
    record = made.prompts["v2v-lin"].record
    assert record["recycler"]["parameters"]["rcond"] == 0.5


def test_the_recycler_of_the_declaration_is_not_used(kind, target):
    nobodys = dataclasses.replace(kind, recycler="nobody's")
    assert candidates.recycle(nobodys, ["v2v-lin"], target, LENGTH).prompts


def test_one_that_the_two_models_rule_out_is_left_out(kind, target):
    made = candidates.recycle(kind, [EqualWidths(), "v2v-lin"], target, LENGTH)
    assert list(made.prompts) == ["v2v-lin"]
    assert made.left_out == {"equal-widths": "expected models of equal width."}


def test_if_all_are_ruled_out_the_error_says_why(kind, target):
    with pytest.raises(RecyclingError, match="^expected models of equal width.$"):
        candidates.recycle(kind, [EqualWidths()], target, LENGTH)


def test_if_all_fail_for_different_reasons_each_is_said(kind, target):
    with pytest.raises(RecyclingError) as error:
        candidates.recycle(kind, [EqualWidths(), Never()], target, LENGTH)
    message = str(error.value)
    assert message.startswith("no candidate could be made. ")
    assert "equal-widths: expected models of equal width." in message
    assert "never: expected something else." in message


def test_what_is_wrong_for_all_is_said_once(kind, target):
    with pytest.raises(RecyclingError) as error:
        candidates.recycle(kind, ["v2v-lin", "lin-comb"], target, LENGTH + 1)
    message = str(error.value)
    assert message.count("PROMPT_LENGTH=5") == 1
    assert "no candidate" not in message


# Names


def test_recyclers_are_named():
    given = ["jax-nn", recyclers.VocabToVocabLinear(rcond=0.1)]
    named = candidates.named(given)
    assert list(named) == ["v2v-nn", "v2v-lin"]
    assert named["v2v-lin"].rcond == 0.1


def test_a_candidate_is_given_once():
    # Under an alias, too.
    with pytest.raises(RecyclingError, match="CANDIDATES: 'v2v-lin' is there twice"):
        candidates.named(["v2v-lin", "tf-lstsq"])


def test_an_unknown_candidate_is_reported():
    with pytest.raises(RecyclingError, match="no recycler 'v2v-lim'. Did you mean v2v"):
        candidates.named(["v2v-lim"])


def test_there_must_be_candidates():
    with pytest.raises(RecyclingError, match="CANDIDATES is empty. Expected some of"):
        candidates.named([])
