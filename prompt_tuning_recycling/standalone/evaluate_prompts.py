"""Evaluates many prompts and their baselines on one model, in one job.

  python -m prompt_tuning_recycling.standalone.evaluate_prompts \\
    --gin_file=...

The flags, gin files and macros are T5X's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prompt_tuning_recycling.standalone import gin_command_line


def _load() -> Callable[[], object]:
    from prompt_tuning_recycling.standalone.prompt_evaluation import evaluate_prompts

    return evaluate_prompts


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns its exit code."""
    return gin_command_line.run("evaluate_prompts", __doc__, _load, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
