"""Where a sweep's files are: the layout of the paper's code.

ROOT/<method>/learned-recyclers/<a>_to_<b>[-wayward], .json, .lock
ROOT/<method>/<dataset>/<init>/<run>/recycled-prompt/recycled_from_<a>_at_<step>_to_<b>
ROOT/<method>/<dataset>/<init>/<run>/eval/recycled_from_<a>_at_<step>_to_<b>/run.lock
ROOT/cli_args-<dataset>.txt
ROOT/manifest-<dataset>/<b>.json
ROOT/baselines/<dataset>/<b>/<baseline>/
ROOT/teachers/<dataset>/<a>/<init>/<run>/<step>/
ROOT/training-<dataset>.tsv, recycling-<dataset>.tsv, baselines-<dataset>.tsv
ROOT/report-<dataset>.html
ROOT/.sweep/

`outputs` claims each of these paths before a sweep begins. Add a new path in both
places.
"""

from __future__ import annotations

import os


def part(name: str) -> str:
    """Returns a name in the form that paths use."""
    return name.replace(" ", "_")


def join(root: str, *parts: str) -> str:
    """Returns a path below the root, which stays unchanged."""
    return os.path.join(root, *map(part, parts))


def recycler(root: str, method: str, source: str, target: str, wayward: bool) -> str:
    """Returns the file of a map."""
    name = f"{source}_to_{target}" + ("-wayward" if wayward else "")
    return join(root, method, "learned-recyclers", name)


def lock(path: str) -> str:
    """Returns the lock of a map and its prompts."""
    return f"{path}.lock"


def run(root: str, method: str, dataset: str, init: str, run: str) -> str:
    """Returns the folder of the prompts recycled from a run of any source."""
    return join(root, method, dataset, init, run)


def prompt_name(source: str, step: int, target: str) -> str:
    """Returns the name of a recycled prompt and of its evaluation."""
    return part(f"recycled_from_{source}_at_{step}_to_{target}")


def export(model_dir: str, step: int, prompt_file: str) -> str:
    """Returns the file to which a tuning run exported its prompt."""
    return os.path.join(
        model_dir, "numpy_checkpoints", f"checkpoint_{step}", prompt_file
    )


def meeting(root: str) -> tuple[str, str]:
    """Returns the lock that a command holds while it leads a sweep, and the note that
    tells other commands how to join.
    """
    return join(root, ".sweep", "lock"), join(root, ".sweep", "scheduler.json")


def collecting(root: str) -> str:
    """Returns the lock that a command holds while it collects a sweep's results."""
    return join(root, ".sweep", "collecting.lock")


def baseline(root: str, dataset: str, target: str, name: str) -> str:
    """Returns the folder of a baseline's evaluation."""
    return join(root, "baselines", dataset, target, name)


def teacher(
    root: str, dataset: str, source: str, init: str, run: str, step: int
) -> str:
    """Returns the folder of the scores of a source model with its own prompt."""
    return join(root, "teachers", dataset, source, init, run, str(step))


def manifest(root: str, dataset: str, target: str) -> str:
    """Returns the manifest that lists a target's evaluations."""
    return join(root, f"manifest-{dataset}", f"{target}.json")


def cli_args(root: str, dataset: str) -> str:
    """Returns the file of the paper's flags, one line for each evaluation."""
    return join(root, f"cli_args-{dataset}.txt")


def table(root: str, kind: str, dataset: str) -> str:
    """Returns the file that collects one kind of results."""
    return join(root, f"{kind}-{dataset}.tsv")


def report(root: str, dataset: str) -> str:
    """Returns the file of the report."""
    return join(root, f"report-{dataset}.html")
