"""Reads prompts from numpy files and checkpoints."""

from __future__ import annotations

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.models import Model, Origin, StoredArray, open_model
from prompt_tuning_recycling.prompts.prompt import USUAL_SITE, Prompt, check_prompt


def load_prompt(origin: Origin, name: str | None = None) -> Prompt:
    """Reads a prompt in the dtype that it is stored in.

    Args:
      origin: a numpy file, a checkpoint, a `MODEL_DIR`, a model, or an array.
      name: see `find_prompt`.

    Raises:
      RecyclingError: there is no prompt, there are several, it is not a matrix of
        finite numbers, or it was written again meanwhile.
    """
    model = open_model(origin)
    stored = find_prompt(model, name)
    with stored.unchanged() as fingerprint:
        array = stored.read()
    check_prompt(array, str(stored))
    sites = [site for site, one in model.prompts.items() if one.name == stored.name]
    site = sites[0] if sites else stored.name
    return Prompt(array, site, stored.origin(array, fingerprint))


def find_prompt(model: Model, name: str | None = None) -> StoredArray:
    """Returns a model's prompt without reading its values.

    Args:
      model: the model that holds it.
      name: its site, or its parameter's name in the checkpoint; by default the
        encoder's prompt, or else the only one.

    Raises:
      RecyclingError: there is none, or there are several and none is the encoder's.
    """
    prompts = model.prompts
    if name is not None:
        by_name = {stored.name: stored for stored in prompts.values()}
        found = prompts.get(name) or by_name.get(name)
        return StoredArray(model.checkpoint, name) if found is None else found
    if USUAL_SITE in prompts:
        return prompts[USUAL_SITE]
    if len(prompts) == 1:
        return next(iter(prompts.values()))
    if prompts:
        names = ", ".join(stored.name for stored in prompts.values())
        raise RecyclingError(
            f"{model.path} has several prompts: {names}. Name the one to use."
        )
    raise RecyclingError(
        f"{model.path} ({model.checkpoint.format}) holds no prompt: expected a "
        f"parameter {model.layout.usual_prompt}. Is this a model before prompt tuning? "
        "If the prompt is in a separate file, give the path of that file."
    )
