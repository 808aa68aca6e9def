"""What both hosts decide alike: which prompt enters a model, and what is trained.

A model's prompt comes out of the checkpoint that it starts from, or it is made as the
gin files declare. Neither ever takes the other's place.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from prompt_tuning_recycling.errors import RecyclingError, did_you_mean
from prompt_tuning_recycling.prompts.export import matches

if TYPE_CHECKING:
    from prompt_tuning_recycling.initial_prompts import InitialPrompt

    Shapes: TypeAlias = Mapping[str, tuple[int, ...]]


def prompts_to_make(
    expected: Shapes,
    stored: Shapes,
    declared: InitialPrompt | None,
    default: InitialPrompt | None,
    checkpoint: str,
) -> dict[str, InitialPrompt]:
    """Decides which of a model's prompts are made, and how; the others are taken from
    the checkpoint.

    Args:
      expected: name -> shape of each of the model's prompts.
      stored: name -> shape of each of the checkpoint's prompts, under the same names.
      declared: what the gin files declare that a prompt starts from, if anything.
      default: what a prompt starts from where nothing is declared; None where the
        checkpoint has to hold it then.
      checkpoint: its path, for messages.

    Returns:
      What each prompt is made of that the checkpoint does not hold.

    Raises:
      RecyclingError: the checkpoint holds a prompt and another one is declared, or the
        model has no place for it, or it has another shape; a prompt is declared for a
        model without one; or nothing says what a prompt starts from.
    """
    leftover = [name for name in stored if name not in expected]
    if leftover:
        name = leftover[0]
        raise RecyclingError(
            f"{checkpoint} holds a prompt, {name} {list(stored[name])}, but the model "
            "has none there. Use the model file that ends in _prompt and set "
            f"--gin.PROMPT_LENGTH={stored[name][0]}."
        )
    if declared is not None and not expected:
        raise RecyclingError(
            f"the gin files declare a prompt ({type(declared).__name__}), but the "
            "model has none. Use a model file that ends in _prompt, such as "
            "models/t5_1_1_base_prompt.gin."
        )
    if declared is not None and stored:
        name = next(iter(stored))
        raise RecyclingError(
            f"{checkpoint} already holds a prompt, {name}, and the gin files declare "
            f"another one ({type(declared).__name__}). To use the checkpoint's own "
            "prompt, leave recycle_init.gin (or prompts/*.gin) out. To start from the "
            "declared one, give the model without a prompt as "
            "INITIAL_CHECKPOINT_PATH."
        )
    for name, shape in stored.items():
        check_shape(name, shape, expected[name], checkpoint)
    kind = declared or default
    missing = [name for name in expected if name not in stored]
    if missing and kind is None:
        raise RecyclingError(
            f"the model has a prompt, {missing[0]}, but {checkpoint} holds none. Say "
            "where it comes from: recycle_init.gin recycles one, prompts/from_file.gin "
            "takes one as it is; or give a checkpoint that was tuned."
        )
    return {name: kind for name in missing if kind is not None}


def names_to_train(names: Collection[str], patterns: Sequence[str]) -> list[str]:
    """Returns the names of the parameters that are trained, in their order.

    Args:
      names: the model's parameters, such as `encoder/prompt/prompt/prompt`.
      patterns: regular expressions; a parameter is trained if one of them matches its
        whole name, with a slash before it.

    Raises:
      RecyclingError: none of the names matches.
    """
    found = [name for name in names if matches(name, patterns)]
    if not found:
        raise RecyclingError(
            f"none of the model's parameters matches {list(patterns)}, so there is "
            "nothing to train. Use a model file that ends in _prompt."
            + did_you_mean("encoder/prompt/prompt/prompt", names)
        )
    return found


def check_shape(
    name: str, found: tuple[int, ...], expected: tuple[int, ...], where: str
) -> None:
    """Raises RecyclingError unless a prompt has the shape [length, width] that the
    model expects.

    Args:
      name: the parameter's name.
      found: the prompt's shape.
      expected: the model's.
      where: the prompt's place, for the message.
    """
    if tuple(found) == tuple(expected):
        return
    if len(found) == len(expected) == 2 and found[1] == expected[1]:
        what_to_do = f"Set --gin.PROMPT_LENGTH={found[0]}."
    else:
        what_to_do = (
            "A prompt works only with the model it was tuned on or recycled for: check "
            "the model file (--gin_file=models/...), INITIAL_CHECKPOINT_PATH and "
            "TARGET_CHECKPOINT."
        )
    raise RecyclingError(
        f"{where} has the prompt {name} of shape {list(found)}, but the model expects "
        f"{list(expected)}. {what_to_do}"
    )
