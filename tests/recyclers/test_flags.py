"""A recycler's fields are its flags, whatever their types."""

import argparse
import dataclasses
from typing import Literal

import pytest

from prompt_tuning_recycling import RecyclingError, recyclers
from prompt_tuning_recycling.recyclers import flags, registry


@dataclasses.dataclass(frozen=True)
class Tilt(recyclers.Recycler):
    """Tilts.

    Attributes:
      angle: how far, in 100% of
        a turn. Or a word.
    """

    name = "tilt"
    angle: float | Literal["auto"] | None = None
    how: str = "left"
    steep: bool = True
    ridge: int | float | str = 3

    def learn(self, source, target):
        raise NotImplementedError


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(registry._BY_NAME, "tilt", Tilt)


def parsed(*arguments):
    parser = argparse.ArgumentParser()
    flags.add_flags(parser.add_argument_group("how"))
    return parser, parser.parse_args(arguments)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], {}),
        (["--angle=0.5"], {"angle": 0.5}),
        (["--angle=auto"], {"angle": "auto"}),
        (["--how=3"], {"how": "3"}),
        (["--no-steep"], {"steep": False}),
        (["--ridge=2"], {"ridge": 2}),
        (["--ridge=2.5"], {"ridge": 2.5}),
        (["--ridge=auto"], {"ridge": "auto"}),
    ],
)
def test_values_have_the_fields_types(arguments, expected):
    made = flags.from_flags("tilt", parsed(*arguments)[1])
    assert made == Tilt(**expected)
    assert type(made.ridge) is type(expected.get("ridge", 3))


def test_a_value_of_no_type_of_the_field():
    with pytest.raises(RecyclingError, match="--angle to be a number or auto, found"):
        flags.from_flags("tilt", parsed("--angle=far")[1])


def test_help_is_the_docstrings_and_says_whose_flag_it_is():
    text = " ".join(parsed()[0].format_help().split())
    assert "tilt: how far, in 100% of a turn. Or a word" in text
    assert "tilt: ridge (default: 3)" in text
    assert "local, relative: λ as a share" in text
