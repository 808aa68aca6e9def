"""Manifests: which prompts, and which baselines, are evaluated on one model.

A manifest is JSON:

    {"format": "prompt_tuning_recycling/manifest/1",
     "evaluations": [
       {"output_dir": "...", "prompt": "..."},        a prompt in a file
       {"output_dir": "...", "random_prompt": 0},     the random prompt of that seed
       {"output_dir": "...", "no_prompt": true}]}     the model by itself
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

from etils import epath

from prompt_tuning_recycling.errors import RecyclingError, did_you_mean
from prompt_tuning_recycling.files import as_path, write_atomically

FORMAT = "prompt_tuning_recycling/manifest/1"
_WHAT = ("prompt", "random_prompt", "no_prompt")


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """One of a manifest's evaluations; of the last three, one is given.

    Attributes:
      output_dir: what it writes goes there.
      prompt: a prompt's file.
      random_prompt: the seed of a random prompt.
      no_prompt: whether the model is evaluated without any.
    """

    output_dir: str
    prompt: str | None = None
    random_prompt: int | None = None
    no_prompt: bool = False

    def entry(self) -> dict[str, Any]:
        """Returns it as it stands in the file."""
        fields = dataclasses.asdict(self)
        return {k: v for k, v in fields.items() if v is not None and v is not False}


def write(path: epath.PathLike, evaluations: Iterable[Evaluation]) -> None:
    """Writes a manifest."""
    lines = ",\n".join(
        "  " + json.dumps(evaluation.entry(), ensure_ascii=False)
        for evaluation in evaluations
    )
    text = f'{{"format": "{FORMAT}",\n "evaluations": [\n{lines}\n ]}}\n'
    write_atomically(path, text.encode())


def read(path: epath.PathLike) -> list[Evaluation]:
    """Reads a manifest.

    Raises:
      RecyclingError: not there, or not a manifest; names the entry at fault.
    """
    try:
        content = json.loads(as_path(path).read_text())
    except OSError as error:
        raise RecyclingError(
            f"cannot read the manifest {os.fspath(path)}: {error.strerror or error}."
        ) from error
    except ValueError as error:
        raise RecyclingError(f"the manifest {path} is not JSON: {error}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise RecyclingError(f"{path} is not a manifest of the format {FORMAT!r}.")
    entries = content.get("evaluations")
    if not isinstance(entries, list):
        raise RecyclingError(f"the manifest {path} has no list of evaluations.")
    found = [_evaluation(path, n, entry) for n, entry in enumerate(entries, start=1)]
    places = [evaluation.output_dir for evaluation in found]
    if len(set(places)) < len(places):
        twice = next(place for place in places if places.count(place) > 1)
        raise RecyclingError(f"the manifest {path} has {twice} more than once.")
    return found


def _evaluation(path: epath.PathLike, number: int, entry: Any) -> Evaluation:
    where = f"the manifest {path}, evaluation {number}"
    if not isinstance(entry, Mapping) or not isinstance(entry.get("output_dir"), str):
        raise RecyclingError(
            f'{where}: expected {{"output_dir": "...", "prompt": "..."}}, '
            f"found {entry}."
        )
    for key in entry:
        if key not in ("output_dir", *_WHAT):
            raise RecyclingError(
                f"{where}: there is no {key!r}.{did_you_mean(key, _WHAT)}"
            )
    if sum(key in entry for key in _WHAT) != 1:
        raise RecyclingError(f"{where}: expected one of {', '.join(_WHAT)}.")
    kinds = {"prompt": str, "random_prompt": int, "no_prompt": bool}
    for key in _WHAT:
        if key in entry and not isinstance(entry[key], kinds[key]):
            raise RecyclingError(
                f"{where}: expected {key} to be {kinds[key].__name__}, found "
                f"{entry[key]!r}."
            )
    return Evaluation(**entry)
