"""The faults that clouds make, by name."""

from __future__ import annotations

from .proxy import Fault

_BODY = b"<html><body>The server had a problem.</body></html>"

PASSING = {
    "500": Fault(status=500, instead=_BODY),
    "503, Retry-After": Fault(
        status=503,
        instead=_BODY,
        headers={"Retry-After": "1", "x-amz-retry-after": "1"},
    ),
    "429": Fault(status=429, instead=_BODY),
    "reset before the answer": Fault(reset=True),
    "reset in the body": Fault(after=20, reset=True),
    "body cut short": Fault(after=20),
    "slow body": Fault(seconds_per_chunk=0.05),
    "no answer": Fault(stall=True),
    "answer stops": Fault(after=20, stall=True),
}
"""Faults that are gone if the request is made again."""

LASTING = {
    "401": Fault(status=401, instead=_BODY),
    "403": Fault(status=403, instead=_BODY),
    "404": Fault(status=404, instead=_BODY),
}
"""Answers that a store means."""

UNSEEN = {"a shorter body that says so": Fault(after=20, shortened=True)}
"""Faults that HTTP cannot detect."""
