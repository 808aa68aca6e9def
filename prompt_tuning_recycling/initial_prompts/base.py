"""The base class of initial prompts, and the one that the gin files declare."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from etils import epath

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import as_list, canonical
from prompt_tuning_recycling.models import Model, open_model
from prompt_tuning_recycling.prompts import Prompt
from prompt_tuning_recycling.prompts.prompt import USUAL_SITE

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclasses.dataclass(frozen=True)
class InitialPrompt(abc.ABC):
    """Makes a prompt's first values. Subclasses are frozen dataclasses; their fields
    are their gin parameters.
    """

    # The subfolder of a run's output in which the prompt is kept, if it is kept.
    kept_in: ClassVar[str | None] = None
    # Names of the fields that are paths: of checkpoints or prompts, and of other files.
    _places: ClassVar[tuple[str, ...]] = ()
    _files: ClassVar[tuple[str, ...]] = ()
    # Names of the fields that are not declared while they are None.
    _names: ClassVar[tuple[str, ...]] = ()

    @abc.abstractmethod
    def make(self, target: Model, length: int, site: str | None = None) -> Prompt:
        """Returns a float32 prompt for the target model, whose record says how it was
        made.

        Args:
          target: the model that the prompt is for.
          length: how many vectors the model expects: `PROMPT_LENGTH`.
          site: the prompt's site in a model that has several prompts, which are made
            one by one; None if there is only one.

        Raises:
          RecyclingError: the prompt cannot be made, or its shape is not the one that
            the model expects.
        """

    def changes(self, record: Mapping[str, Any], target: Model) -> list[str]:
        """Returns what has changed since a prompt was made as is declared now, as
        texts for messages. What is gone by now has not changed.

        Args:
          record: the prompt's record.
          target: the model that the prompt is for now.
        """
        del record, target
        return []

    def declared(self) -> dict[str, Any]:
        """Returns what is declared, JSON-compatible. It is equal for runs that declare
        the same, even if they spell paths differently, or give one path as a list.
        """
        fields = {
            field.name: getattr(self, field.name) for field in dataclasses.fields(self)
        }
        for names, plain in ((self._places, place), (self._files, canonical)):
            for name in names:
                if fields[name] is not None:
                    found = [plain(path) for path in as_list(fields[name])]
                    fields[name] = found[0] if len(found) == 1 else found
        for name, value in fields.items():
            if isinstance(value, (list, tuple)):
                fields[name] = list(value)
        unnamed = [name for name in self._names if fields[name] is None]
        for name in unnamed:
            del fields[name]
        return {"kind": type(self).__name__, **fields}


def initial_prompt(kind: InitialPrompt | None = None) -> InitialPrompt | None:
    """Returns the kind of initial prompt that the gin files declare, or None."""
    if kind is not None and not isinstance(kind, InitialPrompt):
        raise RecyclingError(
            "initial_prompts.initial_prompt.kind: expected one of initial_prompts' "
            f"classes, as in @initial_prompts.Recycled(), found {kind!r}."
        )
    return kind


def place(path: epath.PathLike) -> dict[str, str]:
    """Returns the path of a checkpoint or a prompt, and of the step that a `MODEL_DIR`
    stands for. Two results mean the same place if they share either path.
    """
    found = {"path": canonical(path)}
    # The path may be wrong or gone by now; the code that reads it reports that.
    with contextlib.suppress(RecyclingError):
        found["resolved"] = canonical(open_model(path).path)
    return found


def checkpoint_changes(
    role: str, then: Mapping[str, Any], now: epath.PathLike | Model
) -> list[str]:
    """Returns how a checkpoint or a file differs from what a record says was used, as
    texts for messages: none if it is the same, or gone.

    Args:
      role: what the checkpoint is, such as `the source model`.
      then: its part of the record; see `StoredArray.origin`.
      now: the checkpoint, or its path.
    """
    try:
        model = open_model(now)
        if then["name"] not in model.checkpoint.keys():
            # An adapter stands for the model that it was tuned on.
            model = model.base
    except RecyclingError:
        return []
    is_gone = model.checkpoint.is_stored and not model.path.exists()
    if is_gone or model.checkpoint.fingerprint(then["name"]) == then["fingerprint"]:
        return []
    if canonical(then["path"]) == canonical(model.path):
        return [f"{role} {model.path} was written again"]
    return [f"{role} was {then['path']} and is now {model.path}"]


def made(
    array: Float[np.ndarray, "length width"],
    site: str | None,
    record: Mapping[str, Any],
) -> Prompt:
    """Returns a float32 prompt with a record of how it was made."""
    return Prompt(array.astype(np.float32), site or USUAL_SITE, record)
