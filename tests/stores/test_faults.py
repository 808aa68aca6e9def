"""Faults at some requests of a `run_recycle`; `campaign.py` makes all of them at each.

A fault that passes is overcome. Any other ends the command with a one-line error. No
fault ever changes a number.
"""

import pytest

from ..conftest import thorough
from . import campaign
from .campaign import recycle  # noqa: F401
from .faults import LASTING, PASSING, UNSEEN


# A reader of plain files, one of tensorstore's, and the writer: the first, one in the
# middle, and the last request.
@pytest.mark.parametrize("store", [thorough("gs"), "s3"], indirect=True)
@pytest.mark.parametrize("kind", [thorough("500"), "reset in the body"])
def test_once(kind, store, recycle, capfd):  # noqa: F811
    places = recycle.prepare("legacy")
    _, expected, *_, requests = recycle.once(places, capfd)
    for number in (0, requests // 2, requests - 1):
        outcome = recycle.once(places, capfd, PASSING[kind], number, number)
        campaign.check(outcome, expected, must_pass=True)


@pytest.mark.thorough
@pytest.mark.parametrize("store", ["gs", "s3"], indirect=True)
@pytest.mark.parametrize("kind", ["401", "403"])
def test_from_there_on(kind, store, recycle, capfd):  # noqa: F811
    places = recycle.prepare("safetensors")
    _, expected, *_, requests = recycle.once(places, capfd)
    outcome = recycle.once(places, capfd, LASTING[kind], requests // 2)
    assert campaign.check(outcome, expected, must_pass=False) == "one line"


@pytest.mark.parametrize("kind", UNSEEN)
def test_what_http_cannot_notice(kind, store, recycle, capfd):  # noqa: F811
    places = recycle.prepare("legacy")
    _, expected, *_, requests = recycle.once(places, capfd)
    outcome = recycle.once(places, capfd, UNSEEN[kind], requests // 2)
    campaign.check(outcome, expected, must_pass=False)
