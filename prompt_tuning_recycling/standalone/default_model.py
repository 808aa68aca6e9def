"""Which model file a run uses if none is named."""

from __future__ import annotations

import re

import gin

_WITH, _WITHOUT = (f"models/from_checkpoint{ending}.gin" for ending in ("_prompt", ""))
# What only runs with a prompt have. An evaluation may have its length or its start.
_OF_PROMPTS = re.compile(
    r"^((\w+\.)*initial_prompt\.kind|PROMPT_LENGTH|PROMPT_REGEX|PROMPT_MANIFEST"
    r"|CHOOSE_OUTPUT_DIR) =",
    re.MULTILINE,
)


def default_model() -> str | None:
    """Returns the model file that the configuration in gin needs; None if it has one,
    or starts from no checkpoint.
    """
    # Gin's printed configuration is the only public way to learn what the files use.
    text = gin.config_str()
    needs_one = "%NETWORK" in text and not _is_set("NETWORK", text)
    if not needs_one or not _is_set("INITIAL_CHECKPOINT_PATH", text):
        return None
    return _WITH if _OF_PROMPTS.search(text) else _WITHOUT


def _is_set(macro: str, text: str) -> bool:
    return re.search(rf"^{macro} =", text, re.MULTILINE) is not None
