"""Prompts, and how they are read, written and exported."""

from prompt_tuning_recycling.prompts.adapter import save_adapter
from prompt_tuning_recycling.prompts.prompt import Prompt
from prompt_tuning_recycling.prompts.reading import find_prompt, load_prompt

__all__ = ["Prompt", "find_prompt", "load_prompt", "save_adapter"]
