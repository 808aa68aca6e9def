"""Reads prompts out of numpy files and checkpoints."""

from __future__ import annotations

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.models import Model, Origin, StoredArray, open_model
from prompt_tuning_recycling.prompts.prompt import USUAL_SITE, Prompt, check_prompt


def load_prompt(origin: Origin, name: str | None = None) -> Prompt:
    """Reads a prompt, in the dtype it is stored in.

    Args:
      origin: a numpy file, a checkpoint, a `MODEL_DIR`, a model, or an array.
      name: see `find_prompt`.

    Raises:
      RecyclingError: there is no prompt there, or several, or it is not a matrix of
        finite numbers.
    """
    model = open_model(origin)
    stored = find_prompt(model, name)
    array = stored.read()
    check_prompt(array, str(stored))
    sites = [site for site, one in model.prompts.items() if one.name == stored.name]
    site = sites[0] if sites else stored.name
    return Prompt(array, site, stored.origin(array))


def find_prompt(model: Model, name: str | None = None) -> StoredArray:
    """Returns a model's prompt, not read yet.

    Args:
      model: what holds it.
      name: its site, or its parameter's name in the checkpoint; by default the
        encoder's prompt, or the only one that there is.

    Raises:
      RecyclingError: there is none, or several and none of them is the encoder's.
    """
    prompts = model.prompts
    if name is not None:
        return prompts.get(name, StoredArray(model.checkpoint, name))
    if USUAL_SITE in prompts:
        return prompts[USUAL_SITE]
    if len(prompts) == 1:
        return next(iter(prompts.values()))
    if prompts:
        names = ", ".join(stored.name for stored in prompts.values())
        raise RecyclingError(
            f"{model.path} has several prompts: {names}. Name the one that is meant."
        )
    raise RecyclingError(
        f"{model.path} ({model.checkpoint.format}) holds no prompt: expected a "
        f"parameter {model.layout.usual_prompt}. Is this a model before prompt tuning? "
        "A prompt in a file of its own is given by its path."
    )
