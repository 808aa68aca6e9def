"""Manifests list the prompts and baselines that are evaluated on one model.

A manifest is JSON:

    {"format": "prompt_tuning_recycling/manifest/1",
     "evaluations": [
       {"output_dir": "...", "prompt": "..."},        a prompt in a file
       {"output_dir": "...", "random_prompt": 0},     the random prompt with that seed
       {"output_dir": "...", "no_prompt": true}]}     the model without a prompt

For a choice among the prompts, a manifest can also ask for their scores on unlabeled
inputs. Then each prompt in a file is scored on them when it is evaluated, and one with
`scores_only` is not evaluated:

     "unlabeled": [{"inputs": 32, "split": "train", "seed": 0}],
     "evaluations": [
       {"output_dir": "...", "prompt": "...", "scores_only": true}, ...
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from etils import epath

from prompt_tuning_recycling.errors import RecyclingError, did_you_mean
from prompt_tuning_recycling.evaluation import metrics_file, scores_file
from prompt_tuning_recycling.evaluation.scores_file import Drawing
from prompt_tuning_recycling.files import write_atomically
from prompt_tuning_recycling.files.json_files import read_json
from prompt_tuning_recycling.files.meetings import Claim, Use, find

FORMAT = "prompt_tuning_recycling/manifest/1"
_KEYS = ("format", "unlabeled", "evaluations")
_WHAT = ("prompt", "random_prompt", "no_prompt")


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """One of a manifest's evaluations. Exactly one of `prompt`, `random_prompt` and
    `no_prompt` is set.

    Attributes:
      output_dir: the folder that it writes to.
      prompt: a prompt's file.
      random_prompt: the seed of a random prompt.
      no_prompt: whether the model is evaluated without a prompt.
      scores_only: whether the prompt in the file is scored on the manifest's unlabeled
        inputs, but not evaluated.
    """

    output_dir: str
    prompt: str | None = None
    random_prompt: int | None = None
    no_prompt: bool = False
    scores_only: bool = False

    def entry(self) -> dict[str, Any]:
        """Returns the evaluation as it is written in the file."""
        fields = dataclasses.asdict(self)
        return {k: v for k, v in fields.items() if v is not None and v is not False}


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What a job does.

    Attributes:
      evaluations: the evaluations.
      unlabeled: the inputs on which prompts in files are scored, too.
    """

    evaluations: tuple[Evaluation, ...]
    unlabeled: tuple[Drawing, ...] = ()

    def scored(self, evaluation: Evaluation) -> tuple[Drawing, ...]:
        """Returns the inputs on which an evaluation's prompt is scored."""
        return () if evaluation.prompt is None else self.unlabeled


def write(
    path: epath.PathLike,
    evaluations: Iterable[Evaluation],
    unlabeled: Iterable[Drawing] = (),
) -> None:
    """Writes a manifest; see `Manifest`."""
    lines = ",\n".join(
        "  " + json.dumps(evaluation.entry(), ensure_ascii=False)
        for evaluation in evaluations
    )
    drawings = [dataclasses.asdict(drawing) for drawing in unlabeled]
    inputs = f' "unlabeled": {json.dumps(drawings)},\n' if drawings else ""
    text = f'{{"format": "{FORMAT}",\n{inputs} "evaluations": [\n{lines}\n ]}}\n'
    write_atomically(path, text.encode())


def read(path: epath.PathLike) -> Manifest:
    """Reads a manifest.

    Raises:
      RecyclingError: the file is missing or is not a manifest, or two evaluations have
        the same folder, even under two names. The message names the entry.
    """
    content = read_json(path, "the manifest")
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise RecyclingError(f"{path} is not a manifest of the format {FORMAT!r}.")
    for key in content:
        if key not in _KEYS:
            raise RecyclingError(
                f"the manifest {path}: there is no {key!r}.{did_you_mean(key, _KEYS)}"
            )
    entries = content.get("evaluations")
    if not isinstance(entries, list):
        raise RecyclingError(f"the manifest {path} has no list of evaluations.")
    drawings = content.get("unlabeled", [])
    if not isinstance(drawings, list):
        raise RecyclingError(
            f"the manifest {path}: expected unlabeled to be a list, found "
            f"{json.dumps(drawings)[:60]}."
        )
    unlabeled = tuple(
        _drawing(path, number, drawing)
        for number, drawing in enumerate(drawings, start=1)
    )
    found = [
        _evaluation(path, number, entry, bool(unlabeled))
        for number, entry in enumerate(entries, start=1)
    ]
    made = Manifest(tuple(found), tuple(dict.fromkeys(unlabeled)))
    _check_apart(path, made)
    return made


def _check_apart(path: epath.PathLike, made: Manifest) -> None:
    """Refuses a shared folder, in which the second evaluation would count as done."""
    manifest = os.fspath(path)
    claims = [Claim(manifest, Use.READ, "the manifest itself")]
    for number, evaluation in enumerate(made.evaluations, start=1):
        what = f"evaluation {number}"
        claims.append(Claim(evaluation.output_dir, Use.FOLDER, what))
        folder = metrics_file.metrics_folder(evaluation.output_dir)
        claims.append(Claim(folder, Use.REPLACED, what))
        for drawing in made.scored(evaluation):
            scores = scores_file.place(evaluation.output_dir, drawing)
            claims.append(Claim(scores, Use.FILE, what))
        if evaluation.prompt is not None:
            claims.append(Claim(evaluation.prompt, Use.READ, f"the prompt of {what}"))
    for one, two in find(claims):
        raise RecyclingError(
            f"the manifest {manifest}: {one.what} uses {one.path}, and {two.what} uses "
            f"{two.path}: the same place, or one in which the other would be lost. "
            "Give each evaluation its own folder."
        )


def _evaluation(
    path: epath.PathLike, number: int, entry: Any, has_unlabeled: bool
) -> Evaluation:
    where = f"the manifest {path}, evaluation {number}"
    if not isinstance(entry, Mapping) or "output_dir" not in entry:
        raise RecyclingError(
            f'{where}: expected {{"output_dir": "...", "prompt": "..."}}, '
            f"found {json.dumps(entry)[:60]}."
        )
    _check_values(where, entry, ("output_dir", *_WHAT, "scores_only"))
    if sum(key in entry for key in _WHAT) != 1:
        raise RecyclingError(f"{where}: expected one of {', '.join(_WHAT)}.")
    if "scores_only" in entry and not ("prompt" in entry and has_unlabeled):
        raise RecyclingError(
            f"{where}: scores_only needs a prompt in a file, and a manifest with "
            "unlabeled inputs to score it on."
        )
    # A job's checks, locks and temporary files go by this text.
    expanded = os.path.expanduser(entry["output_dir"])
    return Evaluation(**{**entry, "output_dir": expanded})


def _drawing(path: epath.PathLike, number: int, entry: Any) -> Drawing:
    where = f"the manifest {path}, unlabeled {number}"
    if not isinstance(entry, Mapping):
        raise RecyclingError(
            f'{where}: expected {{"inputs": 32, "split": "train", "seed": 0}}, found '
            f"{json.dumps(entry)[:60]}."
        )
    _check_values(where, entry, [field.name for field in dataclasses.fields(Drawing)])
    return Drawing(**entry)


def _check_values(where: str, entry: Mapping[str, Any], known: Sequence[str]) -> None:
    for key, value in entry.items():
        if key not in known:
            raise RecyclingError(
                f"{where}: there is no {key!r}.{did_you_mean(key, known)}"
            )
        is_right, expected = _VALUES[key]
        if not is_right(value):
            raise RecyclingError(
                f"{where}: expected {key} to be {expected}, found "
                f"{json.dumps(value)[:60]}."
            )


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip()) and "\0" not in value


def _is_name(value: Any) -> bool:
    return _is_path(value) and not set("/\\") & set(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


_VALUES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "output_dir": (_is_path, "a folder"),
    "prompt": (_is_path, "a file"),
    "random_prompt": (_is_number, "a whole number, 0 or more"),
    # To leave a baseline out, leave it out of the list.
    "no_prompt": (lambda value: value is True, "true"),
    "scores_only": (lambda value: value is True, "true"),
    "inputs": (lambda value: _is_number(value) and value > 0, "a number, 1 or more"),
    "split": (_is_name, "the name of a split"),
    "seed": (_is_number, "a whole number, 0 or more"),
}
