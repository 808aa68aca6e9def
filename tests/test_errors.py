import pytest

from prompt_tuning_recycling.errors import RecyclingError, did_you_mean


def test_is_a_value_error():
    assert issubclass(RecyclingError, ValueError)


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("v2v-line", ["lin-comb", "v2v-nn", "v2v-lin"], " Did you mean v2v-lin"),
        ("zzz", ["b", "a"], " Known: a, b."),
        ("zzz", [str(i) for i in range(10, 25)], " and 5 more."),
        ("zzz", [], ""),
    ],
)
def test_names_the_nearest_or_what_there_is(name, known, expected):
    assert expected in did_you_mean(name, known)
