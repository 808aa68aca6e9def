"""Makes a model's initial prompts, and keeps them in the run's folder.

A run that is started again takes what the folder keeps, because the source may be gone
by then. It makes the prompt again if what it was made from has changed since.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from etils import epath

from prompt_tuning_recycling import contract
from prompt_tuning_recycling.declarations import check_same
from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import as_path
from prompt_tuning_recycling.files.json_files import DAMAGED, why_damaged
from prompt_tuning_recycling.initial_prompts import InitialPrompt
from prompt_tuning_recycling.models import Model
from prompt_tuning_recycling.models.layouts.t5x import site_of
from prompt_tuning_recycling.prompts import load_prompt
from prompt_tuning_recycling.prompts.prompt import load_record, tidy

if TYPE_CHECKING:
    from jaxtyping import Float

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Keeping:
    """Where a run keeps its prompts.

    Attributes:
      output_dir: the run's folder.
      step: the name of the step that the prompts are for, if the run makes prompts for
        several steps of the target.
    """

    output_dir: epath.PathLike
    step: str | None = None

    def place(self, kind: InitialPrompt, name: str | None) -> epath.Path | None:
        """Returns the file for a prompt; None if prompts of this kind are not kept.

        Args:
          kind: how the prompt is made.
          name: the prompt's name, in a model that has several prompts.
        """
        if kind.kept_in is None:
            return None
        folder = as_path(self.output_dir) / kind.kept_in
        if self.step is not None:
            folder /= self.step
        return folder / f"{'prompt' if name is None else name.replace('/', '.')}.npy"

    def files(self, kind: InitialPrompt) -> list[epath.Path]:
        """Returns the files of all prompts of this kind that are kept here."""
        folder = self.place(kind, None)
        if folder is None or not folder.parent.is_dir():
            return []
        return sorted(folder.parent.glob("*.npy"))


def make_prompts(
    kinds: Mapping[str, InitialPrompt],
    expected: contract.Shapes,
    target: Model,
    keeping: Keeping | None = None,
) -> dict[str, Float[np.ndarray, "length width"]]:
    """Makes a model's initial prompts, one for each site of a model that has several.

    A recycled or chosen prompt is written with its record to a subfolder of the run's
    folder (see `InitialPrompt.kept_in`).

    Args:
      kinds: name of a prompt -> how to make it.
      expected: name -> shape of each of the model's prompts, including those that are
        not made here.
      target: the model that the prompts are for.
      keeping: where the run keeps its prompts; None if nothing is to be kept.

    Returns:
      The prompts by name, float32.

    Raises:
      RecyclingError: as `InitialPrompt.make`; a prompt does not have the shape that the
        model expects; or the kept prompt was recycled with other settings.
    """
    made = {}
    for name, kind in kinds.items():
        shape = expected[name]
        one_of_several = None if len(expected) == 1 else name
        kept = None if keeping is None else keeping.place(kind, one_of_several)
        if kept is not None and _is_valid(kept, kind, target):
            logger.info("taking the prompt that was made before, %s", kept)
            tidy(kept)
            prompt, where = load_prompt(kept), f"the prompt that is kept, {kept},"
            kept = None
        else:
            site = None if one_of_several is None else site_of(name)
            prompt = kind.make(target, shape[0], site)
            where = f"what {type(kind).__name__} makes for {target.path}"
        contract.check_shape(name, prompt.array.shape, shape, where)
        if kept is not None:
            prompt.save(kept)
        made[name] = np.ascontiguousarray(prompt.array, np.float32)
    return made


def check_kept(kind: InitialPrompt | None, keeping: Keeping) -> None:
    """Raises RecyclingError if a run keeps a prompt that was made with other settings
    than those declared now.

    Args:
      kind: what is declared.
      keeping: where the run keeps its prompts.
    """
    if kind is not None:
        for kept in keeping.files(kind):
            _check_settings(kept, kind)


def is_outdated(kind: InitialPrompt | None, target: Model, keeping: Keeping) -> bool:
    """Returns whether a run keeps a prompt that has to be made again, because what it
    was made from has changed.

    Args:
      kind: what is declared; the same as when the prompt was made.
      target: the model that the prompt is for.
      keeping: where the run keeps its prompts.
    """
    return kind is not None and any(
        _changes(kept, kind, target) for kept in keeping.files(kind)
    )


def _is_valid(kept: epath.Path, kind: InitialPrompt, target: Model) -> bool:
    if not kept.exists():
        return False
    _check_settings(kept, kind)
    changes = _changes(kept, kind, target)
    if changes:
        logger.warning(
            "warning: making the prompt again, because %s; the one of before in %s is "
            "replaced",
            ", and ".join(changes),
            kept,
        )
    return not changes


def _changes(kept: epath.Path, kind: InitialPrompt, target: Model) -> list[str]:
    try:
        return kind.changes(load_record(kept), target)
    except RecyclingError:
        raise
    except DAMAGED as error:
        raise _damaged(kept, why_damaged(error)) from error


def _damaged(kept: epath.Path, found: str) -> RecyclingError:
    return RecyclingError(
        f"the record of the prompt that is kept, {kept}, is damaged: {found}. Delete "
        f"{kept.parent} to make the prompt again."
    )


def _check_settings(kept: epath.Path, kind: InitialPrompt) -> None:
    declared = load_record(kept).get("declared", {})
    if not isinstance(declared, dict):
        raise _damaged(kept, "its declared settings are not a JSON object")
    check_same(
        declared,
        kind.declared(),
        f"{kept.parent} holds a prompt that this run has made before,",
        "Choose another output folder, or delete that one to make it again.",
    )
