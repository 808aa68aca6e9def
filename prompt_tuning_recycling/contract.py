"""What both hosts decide the same way: a model's prompt, and the trained parameters.

A model's prompt comes from the checkpoint that the model starts from, or it is made as
the gin files declare. Neither one ever silently replaces the other.
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
    """Decides which of a model's prompts are made, and how. The others come from the
    checkpoint.

    Args:
      expected: name -> shape of each of the model's prompts.
      stored: name -> shape of each of the checkpoint's prompts, under the same names.
      declared: the initial prompt that the gin files declare, if any.
      default: the initial prompt if none is declared; None if the checkpoint must then
        hold the prompt.
      checkpoint: its path, for messages.

    Returns:
      name -> how to make it, for each prompt that the checkpoint does not hold.

    Raises:
      RecyclingError: the checkpoint holds a prompt, but another one is declared, the
        model has no place for it, or its shape is wrong; a prompt is declared for a
        model without one; or nothing says how to make a missing prompt.
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
            "prompt, leave out recycle_init.gin (or prompts/*.gin). To start from the "
            "declared one, set INITIAL_CHECKPOINT_PATH to the model without a "
            "prompt."
        )
    for name, shape in stored.items():
        check_shape(name, shape, expected[name], checkpoint)
    kind = declared or default
    missing = [name for name in expected if name not in stored]
    if missing and kind is None:
        raise RecyclingError(
            f"the model has a prompt, {missing[0]}, but {checkpoint} holds none. Say "
            "where it comes from: recycle_init.gin recycles one, prompts/from_file.gin "
            "reads one unchanged; or give a checkpoint with a tuned prompt."
        )
    return {name: kind for name in missing if kind is not None}


def names_to_train(names: Collection[str], patterns: Sequence[str]) -> list[str]:
    """Returns the names of the parameters to train, in their order in `names`.

    Args:
      names: the model's parameters, such as `encoder/prompt/prompt/prompt`.
      patterns: regular expressions; a parameter is trained if one of them matches its
        whole name with a slash in front.

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
      expected: the shape that the model expects.
      where: what holds the prompt, for the message.
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
