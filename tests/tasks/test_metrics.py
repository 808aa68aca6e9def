import pytest

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.tasks import metrics, postprocessors
from prompt_tuning_recycling.tasks.postprocessors import Answers


def test_accuracy():
    assert metrics.accuracy([0, 1, 1, 0], [0, 1, 0, -1]) == {"accuracy": 50.0}


def test_without_a_label_nothing_is_right():
    # Both -1: the target because it has no label, the prediction because it is none.
    assert metrics.accuracy([-1, 1], [-1, 1]) == {"accuracy": 50.0}


def test_f1():
    # true positives 2, false negatives 1, false positives 1
    found = metrics.f1([1, 1, 1, 0, 0], [1, 1, 0, 1, 0])["f1"]
    assert found == pytest.approx(100 * 4 / 6)


def test_f1_counts_a_prediction_that_is_no_class_as_the_wrong_one():
    # On the positive it is a false negative, on the negative a false positive.
    assert metrics.f1([1, 1, 0], [1, -1, -1])["f1"] == pytest.approx(100 * 2 / 4)


def test_f1_is_of_labeled_examples():
    assert metrics.f1([1, -1, -1, -1], [1, 1, 0, -1]) == {"f1": 100.0}


def test_f1_without_positives():
    assert metrics.f1([0, 0], [0, 0]) == {"f1": 0.0}


def test_squad_ignores_case_punctuation_and_articles():
    targets = [Answers((0,), ("The U.S. Army",))]
    assert metrics.squad(targets, ["us army!"]) == {"em": 100.0, "f1": 100.0}


def test_squad_is_the_best_over_the_answers():
    targets = [Answers((0,), ("Badam Bagh", "Badam Bagh prison, Kabul"))]
    # Words in common with the first: 2 of 2 and 2 of 3; with the second: 3 of 4 of 3.
    found = metrics.squad(targets, ["Badam Bagh prison"])
    assert found["em"] == 0.0
    assert found["f1"] == pytest.approx(100 * 2 * 3 / (3 + 4))


def test_squad_counts_repeated_words_as_often_as_both_have_them():
    targets = [Answers((0,), ("new york new york",))]
    found = metrics.squad(targets, ["new new new"])["f1"]
    assert found == pytest.approx(100 * 2 * 2 / (3 + 4))


def test_squad_of_an_example_repeated_for_each_answer_counts_once():
    first = Answers((7, 11), ("Nuria", "Mariam"))
    targets = [first, first, Answers((7, 12), ("Ghana",))]
    found = metrics.squad(targets, ["Mariam", "Mariam", "Togo"])
    assert found == {"em": 50.0, "f1": 50.0}


def test_squad_without_answers_is_never_right():
    assert metrics.squad([Answers((0,), ())], [""]) == {"em": 0.0, "f1": 0.0}


def test_squad_of_nothing_predicted():
    assert metrics.squad([Answers((0,), ("x",))], [""]) == {"em": 0.0, "f1": 0.0}


def test_exact_match_of_any_answer():
    targets = [
        Answers((0,), ("a", "b")),
        Answers((0,), ("a", "b")),
        Answers((1,), ("c",)),
    ]
    assert metrics.exact_match(targets, ["b", "b", "C"]) == {"accuracy": 50.0}


@pytest.mark.parametrize(
    "metric", [metrics.accuracy, metrics.squad, metrics.exact_match]
)
def test_no_examples(metric):
    with pytest.raises(RecyclingError, match="no examples"):
        metric([], [])


@pytest.mark.parametrize(
    ("text", "number"), [("negative", 0), ("positive", 1), ("Positive", -1), ("", -1)]
)
def test_a_text_is_the_class_that_it_names(text, number):
    found = postprocessors.class_number(
        text, ("negative", "positive"), example={}, is_target=False
    )
    assert found == number
