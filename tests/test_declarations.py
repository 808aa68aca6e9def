"""Whether a run declares what an earlier run declared."""

import pytest

from prompt_tuning_recycling import RecyclingError
from prompt_tuning_recycling.declarations import check_same

STEP = {"path": "/runs/one", "resolved": "/runs/one/checkpoint_5"}


def check(then, now):
    check_same({"setting": then}, {"setting": now}, "it was started", "Do not.")


@pytest.mark.parametrize(
    ("then", "now"),
    [
        (3, 3),
        (STEP, {"path": "/runs/one", "resolved": "/runs/one/checkpoint_9"}),
        (STEP, {"path": "/runs/one/checkpoint_5"}),
        ([STEP, STEP], [STEP, {"path": "/runs/one"}]),
    ],
)
def test_these_are_the_same(then, now):
    check(then, now)


@pytest.mark.parametrize(
    ("then", "now", "message"),
    [
        (3, 4, "with setting 3, but now setting is 4. Do not."),
        (None, 4, "with setting None, but now setting is 4"),
        (STEP, {"path": "/runs/two"}, "'/runs/one', but now setting is '/runs/two'"),
        (
            [STEP],
            [STEP, STEP],
            r"\['/runs/one'\], but now .*\['/runs/one', '/runs/one'",
        ),
    ],
)
def test_these_differ(then, now, message):
    with pytest.raises(RecyclingError, match=message):
        check(then, now)


def test_a_setting_that_is_no_longer_there_differs():
    with pytest.raises(RecyclingError, match="'Recycled', but now kind is None"):
        check_same({"kind": "Recycled"}, {}, "it was started", "")
