"""Initial prompts, which gin files declare for every host.

`recycle_init.gin` and `prompts/*.gin` bind one of these classes to
`initial_prompts.initial_prompt.kind`; the host asks for it with `initial_prompt()`
and makes the prompt once, outside of any trace (`kept_prompts.make_prompts`).
"""

import gin

from prompt_tuning_recycling.initial_prompts import base
from prompt_tuning_recycling.initial_prompts.base import InitialPrompt, place
from prompt_tuning_recycling.initial_prompts.tuned import FromFile, Recycled
from prompt_tuning_recycling.initial_prompts.untuned import (
    FromText,
    RandomUniform,
    SampledVocabulary,
)

__all__ = [
    "FromFile",
    "FromText",
    "InitialPrompt",
    "RandomUniform",
    "Recycled",
    "SampledVocabulary",
    "initial_prompt",
    "place",
]

# Gin writes each by its module's name, and a user's gin file names it by this room's.
for _kind in (FromFile, FromText, RandomUniform, Recycled, SampledVocabulary):
    _kind.__module__ = __name__
    gin.register(_kind, module=__name__)
base.initial_prompt.__module__ = __name__
initial_prompt = gin.configurable(base.initial_prompt, module=__name__)
