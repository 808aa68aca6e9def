"""The picture of a choice."""

from xml.etree import ElementTree

import pytest

from prompt_tuning_recycling.choosing import picture
from prompt_tuning_recycling.choosing.choice import Choice


def outcome(criterion="agreement", count=3):
    names = [f"recycler-{number} <&>" for number in range(count)]
    values = {name: {criterion: 0.1 * row} for row, name in enumerate(names)}
    return Choice(names[-1], criterion, values, dict.fromkeys(names, 0.1))


@pytest.mark.parametrize("criterion", ["agreement", "information", "likelihood"])
@pytest.mark.parametrize("count", [1, 3, 9])
def test_it_is_an_svg_document(criterion, count):
    root = ElementTree.fromstring(picture.svg(outcome(criterion, count)))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"


def test_it_shows_each_candidate_with_its_value():
    root = ElementTree.fromstring(picture.svg(outcome()))
    texts = ["".join(node.itertext()).strip() for node in root.iter()]
    for name, value in (("recycler-0 <&>", "0.000"), ("recycler-2 <&>", "0.200")):
        assert name in texts
        assert value in texts
    assert "agreement with the teacher" in texts


def test_the_chosen_one_has_a_color_of_its_own():
    text = picture.svg(outcome())
    assert text.count("#0b6fb8") == 1


def test_the_same_choice_gives_the_same_bytes():
    assert picture.svg(outcome()) == picture.svg(outcome())
