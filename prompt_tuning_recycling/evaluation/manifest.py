"""Manifests list the prompts and baselines that are evaluated on one model.

A manifest is JSON:

    {"format": "prompt_tuning_recycling/manifest/1",
     "evaluations": [
       {"output_dir": "...", "prompt": "..."},        a prompt in a file
       {"output_dir": "...", "random_prompt": 0},     the random prompt with that seed
       {"output_dir": "...", "no_prompt": true}]}     the model without a prompt
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from etils import epath

from prompt_tuning_recycling.errors import RecyclingError, did_you_mean
from prompt_tuning_recycling.evaluation import metrics_file
from prompt_tuning_recycling.files import write_atomically
from prompt_tuning_recycling.files.json_files import read_json
from prompt_tuning_recycling.files.meetings import Claim, Use, find

FORMAT = "prompt_tuning_recycling/manifest/1"
_WHAT = ("prompt", "random_prompt", "no_prompt")


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """One of a manifest's evaluations. Exactly one of the last three fields is set.

    Attributes:
      output_dir: the folder that it writes to.
      prompt: a prompt's file.
      random_prompt: the seed of a random prompt.
      no_prompt: whether the model is evaluated without a prompt.
    """

    output_dir: str
    prompt: str | None = None
    random_prompt: int | None = None
    no_prompt: bool = False

    def entry(self) -> dict[str, Any]:
        """Returns the evaluation as it is written in the file."""
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
      RecyclingError: the file is missing or is not a manifest, or two evaluations have
        the same folder, even under two names. The message names the entry.
    """
    content = read_json(path, "the manifest")
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise RecyclingError(f"{path} is not a manifest of the format {FORMAT!r}.")
    entries = content.get("evaluations")
    if not isinstance(entries, list):
        raise RecyclingError(f"the manifest {path} has no list of evaluations.")
    found = [_evaluation(path, n, entry) for n, entry in enumerate(entries, start=1)]
    _check_apart(path, found)
    return found


def _check_apart(path: epath.PathLike, evaluations: Iterable[Evaluation]) -> None:
    """Refuses a shared folder, in which the second evaluation would count as done."""
    manifest = os.fspath(path)
    claims = [Claim(manifest, Use.READ, "the manifest itself")]
    for number, evaluation in enumerate(evaluations, start=1):
        what = f"evaluation {number}"
        claims.append(Claim(evaluation.output_dir, Use.FOLDER, what))
        for folder in metrics_file.folders(evaluation.output_dir):
            claims.append(Claim(folder, Use.REPLACED, what))
        if evaluation.prompt is not None:
            claims.append(Claim(evaluation.prompt, Use.READ, f"the prompt of {what}"))
    for one, two in find(claims):
        raise RecyclingError(
            f"the manifest {manifest}: {one.what} uses {one.path}, and {two.what} uses "
            f"{two.path}: the same place, or one in which the other would be lost. "
            "Give each evaluation its own folder."
        )


def _evaluation(path: epath.PathLike, number: int, entry: Any) -> Evaluation:
    where = f"the manifest {path}, evaluation {number}"
    if not isinstance(entry, Mapping) or "output_dir" not in entry:
        raise RecyclingError(
            f'{where}: expected {{"output_dir": "...", "prompt": "..."}}, '
            f"found {json.dumps(entry)[:60]}."
        )
    for key in entry:
        if key not in ("output_dir", *_WHAT):
            raise RecyclingError(
                f"{where}: there is no {key!r}.{did_you_mean(key, _WHAT)}"
            )
    if sum(key in entry for key in _WHAT) != 1:
        raise RecyclingError(f"{where}: expected one of {', '.join(_WHAT)}.")
    for key, (is_right, expected) in _VALUES.items():
        if key in entry and not is_right(entry[key]):
            raise RecyclingError(
                f"{where}: expected {key} to be {expected}, found "
                f"{json.dumps(entry[key])[:60]}."
            )
    return Evaluation(**entry)


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip()) and "\0" not in value


def _is_seed(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


_VALUES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "output_dir": (_is_path, "a folder"),
    "prompt": (_is_path, "a file"),
    "random_prompt": (_is_seed, "a whole number, 0 or more"),
    # To leave a baseline out, leave it out of the list.
    "no_prompt": (lambda value: value is True, "true"),
}
