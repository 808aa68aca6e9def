"""Initial prompts, which gin files declare for every host.

`recycle_init.gin` and `prompts/*.gin` bind one of these classes to
`initial_prompts.initial_prompt.kind`; the host asks for it with `initial_prompt()`
and makes the prompt once, outside of any trace (`run_folder.make_prompts`).
"""

from prompt_tuning_recycling.initial_prompts.base import (
    InitialPrompt,
    initial_prompt,
    place,
)
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
