"""What every kind of initial prompt offers, and which of them the gin files declare."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from etils import epath

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import canonical
from prompt_tuning_recycling.models import Model, open_model
from prompt_tuning_recycling.prompts import Prompt
from prompt_tuning_recycling.prompts.prompt import USUAL_SITE

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclasses.dataclass(frozen=True)
class InitialPrompt(abc.ABC):
    """Where a prompt's first values come from. Subclasses are frozen dataclasses;
    their fields are their gin parameters.
    """

    # Fields that are paths: of checkpoints and prompts, and of other files.
    _places: ClassVar[tuple[str, ...]] = ()
    _files: ClassVar[tuple[str, ...]] = ()

    @abc.abstractmethod
    def make(self, target: Model, length: int, site: str | None = None) -> Prompt:
        """Returns a prompt for the target model, float32, whose record says how it came
        about.

        Args:
          target: the model that the prompt is for.
          length: how many vectors the model expects, `PROMPT_LENGTH`.
          site: the prompt's site in a model that has several prompts, each of which is
            made by itself; None for the only one.

        Raises:
          RecyclingError: it cannot be made, or has another shape than the model
            expects.
        """

    def declared(self) -> dict[str, Any]:
        """What was asked for, JSON-compatible: equal for runs that want the same,
        however their paths are spelled.
        """
        fields = {
            field.name: getattr(self, field.name) for field in dataclasses.fields(self)
        }
        for names, plain in ((self._places, place), (self._files, canonical)):
            for name in names:
                if fields[name] is not None:
                    fields[name] = plain(fields[name])
        for name, value in fields.items():
            if isinstance(value, (list, tuple)):
                fields[name] = list(value)
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
    """A checkpoint's or a prompt's path, and the step that is meant where it is a
    `MODEL_DIR`: two paths are to the same if they have one of the two in common.
    """
    found = {"path": canonical(path)}
    # It may be gone by now, or wrong: whoever reads it says so.
    with contextlib.suppress(RecyclingError):
        found["resolved"] = canonical(open_model(path).path)
    return found


def made(
    array: Float[np.ndarray, "length width"],
    site: str | None,
    record: Mapping[str, Any],
) -> Prompt:
    """Returns a prompt, float32, whose record says how it was made."""
    return Prompt(array.astype(np.float32), site or USUAL_SITE, record)
