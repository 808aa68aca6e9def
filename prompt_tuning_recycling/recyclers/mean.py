"""`mean`: the mean of what several recyclers give."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from prompt_tuning_recycling import maps
from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.recyclers import registry
from prompt_tuning_recycling.recyclers.base import Fit, Recycler
from prompt_tuning_recycling.words import WordEmbeddings


@registry.register
@dataclasses.dataclass(frozen=True)
class Mean(Recycler):
    """Averages the prompts that several recyclers give, P' = (P'_1 + ... + P'_n) / n.

    Where one of them fails, the others dilute it but do not outvote it, and vectors
    that disagree in direction get shorter. It costs as much as all of them together.

    Attributes:
      recyclers: the recyclers to average: names (on a command line, with commas
        between), recyclers, or {"name": ..., "parameters": {...}} as in records.

    Raises:
      RecyclingError: there is none, or one is none of these.
    """

    name = "mean"

    recyclers: Sequence[str | Recycler | Mapping[str, Any]] = ("procrustes", "relative")

    def __post_init__(self) -> None:
        given = self.recyclers
        if isinstance(given, str) or not isinstance(given, Sequence) or not given:
            raise RecyclingError(
                "expected recyclers to be a list of at least one recycler or its name, "
                f"got {given!r}."
            )
        object.__setattr__(self, "recyclers", tuple(map(_made, given)))

    def parameters(self) -> dict[str, Any]:
        return {
            "recyclers": [
                {"name": recycler.name, "parameters": recycler.parameters()}
                for recycler in self._recyclers
            ]
        }

    def learn(self, source: WordEmbeddings, target: WordEmbeddings) -> Fit:
        fits = [recycler.learn(source, target) for recycler in self._recyclers]
        names = [recycler.name for recycler in self._recyclers]
        return Fit(
            maps.Mean(tuple(fit.map for fit in fits)),
            {
                "recyclers": [
                    {"name": name, **fit.diagnostics}
                    for name, fit in zip(names, fits, strict=True)
                ]
            },
            tuple(
                f"{name}: {warning}"
                for name, fit in zip(names, fits, strict=True)
                for warning in fit.warnings
            ),
        )

    @property
    def _recyclers(self) -> tuple[Recycler, ...]:
        return tuple(r for r in self.recyclers if isinstance(r, Recycler))


def _made(given: str | Recycler | Mapping[str, Any]) -> Recycler:
    if not isinstance(given, Mapping):
        return registry.make(given)
    if "name" not in given or set(given) - {"name", "parameters"}:
        raise RecyclingError(
            'expected a recycler as {"name": ..., "parameters": {...}}, found '
            f"{dict(given)}."
        )
    return registry.make(given["name"], **given.get("parameters", {}))
