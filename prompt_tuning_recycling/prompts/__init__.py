"""Prompts: read, written, exported, and what a prompt starts from."""

from prompt_tuning_recycling.prompts.prompt import Prompt, load_prompt

__all__ = ["Prompt", "load_prompt"]
