"""Where a sweep's files lie: the layout of the paper's code.

ROOT/<method>/learned-recyclers/<a>_to_<b>[-wayward]
ROOT/<method>/<dataset>/<init>/<run>/recycled-prompt/recycled_from_<a>_at_<step>_to_<b>
ROOT/<method>/<dataset>/<init>/<run>/eval/recycled_from_<a>_at_<step>_to_<b>/
ROOT/cli_args-<dataset>.txt
ROOT/manifest-<dataset>/<b>.json
ROOT/baselines/<dataset>/<b>/<baseline>/
ROOT/training-<dataset>.tsv, recycling-<dataset>.tsv, baselines-<dataset>.tsv
ROOT/report-<dataset>.html
ROOT/.sweep/

`outputs` claims each of these paths before a sweep begins; one that is added here is to
be added there, too.
"""

from __future__ import annotations

import os


def part(name: str) -> str:
    """Returns a name as part of a path."""
    return name.replace(" ", "_")


def join(root: str, *parts: str) -> str:
    """Returns a path below the root, which itself is left as it is."""
    return os.path.join(root, *map(part, parts))


def recycler(root: str, method: str, source: str, target: str, wayward: bool) -> str:
    """Returns where a fitted recycler lies."""
    name = f"{source}_to_{target}" + ("-wayward" if wayward else "")
    return join(root, method, "learned-recyclers", name)


def run(root: str, method: str, dataset: str, init: str, run: str) -> str:
    """Returns the folder of all prompts recycled from a run, of whichever source."""
    return join(root, method, dataset, init, run)


def prompt_name(source: str, step: int, target: str) -> str:
    """Returns what a recycled prompt, and its evaluation, is called."""
    return part(f"recycled_from_{source}_at_{step}_to_{target}")


def export(model_dir: str, step: int, prompt_file: str) -> str:
    """Returns where a tuning run exported its prompt."""
    return os.path.join(
        model_dir, "numpy_checkpoints", f"checkpoint_{step}", prompt_file
    )


def meeting(root: str) -> tuple[str, str]:
    """Returns the lock that a command holds while it leads a sweep, and its note of how
    others can join.
    """
    return join(root, ".sweep", "lock"), join(root, ".sweep", "scheduler.json")


def baseline(root: str, dataset: str, target: str, name: str) -> str:
    """Returns the folder of a baseline's evaluation."""
    return join(root, "baselines", dataset, target, name)


def manifest(root: str, dataset: str, target: str) -> str:
    """Returns the manifest that lists what is evaluated on a target."""
    return join(root, f"manifest-{dataset}", f"{target}.json")


def cli_args(root: str, dataset: str) -> str:
    """Returns where the paper's code lists flags, one line for each evaluation."""
    return join(root, f"cli_args-{dataset}.txt")


def table(root: str, kind: str, dataset: str) -> str:
    """Returns where the results of a kind are collected."""
    return join(root, f"{kind}-{dataset}.tsv")


def report(root: str, dataset: str) -> str:
    """Returns where the report lies."""
    return join(root, f"report-{dataset}.html")
