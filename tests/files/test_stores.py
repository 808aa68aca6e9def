"""The settings of object stores."""

import pytest

from prompt_tuning_recycling import RecyclingError
from prompt_tuning_recycling.files import stores

NAME = "PROMPT_RECYCLING_STORE_TIMEOUT"


@pytest.mark.parametrize(("given", "seconds"), [("", 10), ("3", 3), ("120", 120)])
def test_how_long_a_store_may_be_silent(monkeypatch, given, seconds):
    monkeypatch.setenv(NAME, given)
    assert stores.longest_silence() == seconds


@pytest.mark.parametrize("given", ["0", "-1", "2.5", "10s"])
def test_another_value_is_refused(monkeypatch, given):
    monkeypatch.setenv(NAME, given)
    with pytest.raises(RecyclingError, match=f"{NAME}: expected .* found '{given}'"):
        stores.longest_silence()
