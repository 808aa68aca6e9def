"""T5X's networks, with prompts at the places where prompt-tuning puts them.

Names: t5x/train_state.py, t5x/examples/{t5,scalable_t5,decoder_only}/network.py,
prompt_tuning/train/layers.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from prompt_tuning_recycling.models.formats.base import Checkpoint
from prompt_tuning_recycling.models.layouts.base import Layout, Parameter

PARAMETERS = "target/"
"""The prefix of the names of a model's parameters."""

OPTIMIZER = "state/param_states/"
"""The prefix of the names of the optimizer's states."""

STEP = "state/step"
"""The name of the number of training steps."""

EMBEDDING = f"{PARAMETERS}token_embedder/embedding"
"""The name of an encoder-decoder's token embedding table, [vocabulary, width]."""

_OF_A_DECODER = f"{PARAMETERS}decoder/token_embedder/embedding"

_IN_A_SITE = "/prompt/prompt/prompt"
PROMPT = f"{PARAMETERS}encoder{_IN_A_SITE}"
"""The name of an encoder-decoder's prompt, [length, width]."""

_PROMPTS = re.compile(rf"{PARAMETERS}(.*/)?prompt")


class T5X(Layout):
    """A train state that T5X saved."""

    usual_prompt = PROMPT

    def matches(self, checkpoint: Checkpoint) -> bool:
        return any(name.startswith(PARAMETERS) for name in checkpoint.keys())

    def embeddings(self, checkpoint: Checkpoint) -> str:
        keys = checkpoint.keys()
        is_decoder = EMBEDDING not in keys and _OF_A_DECODER in keys
        return _OF_A_DECODER if is_decoder else EMBEDDING

    def prompts(self, checkpoint: Checkpoint) -> Mapping[str, str]:
        return {
            site_of(name.removeprefix(PARAMETERS)): name
            for name in checkpoint.keys()
            if _PROMPTS.fullmatch(name)
        }

    def parameters(self, checkpoint: Checkpoint) -> Mapping[str, Parameter]:
        return {
            name.removeprefix(PARAMETERS): Parameter(name)
            for name in checkpoint.keys()
            if name.startswith(PARAMETERS)
        }

    def site(self, checkpoint: Checkpoint) -> str | None:
        of_decoder = self.embeddings(checkpoint) == _OF_A_DECODER
        return "decoder" if of_decoder else "encoder"

    def step(self, checkpoint: Checkpoint) -> str | None:
        return STEP if STEP in checkpoint.keys() else None


def site_of(parameter: str) -> str:
    """Returns the site of a prompt, given its parameter's name: `encoder` for
    `encoder/prompt/prompt/prompt`, `decoder` likewise. Any other name is its own site.
    """
    return parameter.removesuffix(_IN_A_SITE)
