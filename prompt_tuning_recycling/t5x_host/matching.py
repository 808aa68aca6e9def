"""Whether a checkpoint belongs to the network that the gin files declare."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.models import Model

_SCANNED = ("encoder/encoder/", "decoder/decoder/")


def check_network(
    model: Model,
    stored: Collection[str],
    expected: Mapping[str, tuple[int, ...]],
) -> None:
    """Checks the names of the parameters and the embedding table's shape, which is
    quick, before anything large is read.

    Args:
      model: the checkpoint.
      stored: the names of the parameters that T5X restores from it.
      expected: name -> shape of each of the network's parameters but its prompts.

    Raises:
      RecyclingError: the checkpoint belongs to another network.
    """
    hint = "Is the model file (--gin_file=models/...) the one for this checkpoint?"
    table = model.layout.embeddings(model.checkpoint)
    of_table = {
        name
        for name, array in model.parameters.items()
        if array.name == table and name in expected
    }
    for name in of_table:
        found, wanted = model.embeddings.shape, tuple(expected[name])
        if found != wanted:
            raise RecyclingError(
                f"{model.path} has {table} of shape {list(found)}, but the model "
                f"expects {list(wanted)}. {hint}"
            )
    missing = [name for name in expected if name not in stored]
    if missing:
        raise RecyclingError(
            f"{model.path} lacks {len(missing)} of the model's {len(expected)} "
            f"parameters, first {missing[0]}. {_difference(stored, expected)}{hint}"
        )


def _difference(stored: Collection[str], expected: Collection[str]) -> str:
    found, wanted = _kind(stored), _kind(expected)
    return "" if found == wanted else f"It has {found}, but the model has {wanted}. "


def _kind(names: Collection[str]) -> str:
    if any(name.startswith(_SCANNED) for name in names):
        return "scanned layers (models/scalable_*_prompt.gin)"
    if not any(name.startswith("encoder/") for name in names):
        return "no encoder (models/decoder_only_*_prompt.gin)"
    return "an encoder with separate layers (models/t5_1_1_*_prompt.gin)"
