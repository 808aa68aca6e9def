"""What readers see of a writer's outputs, as texts to compare."""

from __future__ import annotations

import json
import os
import pathlib

from prompt_tuning_recycling.evaluation import metrics_file
from prompt_tuning_recycling.models import open_checkpoint
from prompt_tuning_recycling.prompts import load_prompt
from prompt_tuning_recycling.prompts.prompt import load_record

from .disturbing import digest


def prompt_and_record(path, data=None):
    """A prompt, or other bytes, and what its record says, timings apart."""
    text = json.dumps(_untimed(load_record(path)), sort_keys=True)
    data = load_prompt(path).array.tobytes() if data is None else data
    return f"{digest(data)} {digest(text.encode())}"


def _untimed(value):
    if isinstance(value, dict):
        return {k: _untimed(v) for k, v in value.items() if k != "seconds"}
    return [_untimed(one) for one in value] if isinstance(value, list) else value


def with_records(folder, *names):
    """name -> prompt and record, of the prompts that are there."""
    return {
        f"{name} and its record": prompt_and_record(folder / name)
        for name in names
        if (folder / name).exists()
    }


def contents(folder, *names):
    """name -> content of the files that are there."""
    return {
        name: digest((folder / name).read_bytes())
        for name in names
        if (folder / name).exists()
    }


def arrays_of(step):
    """All arrays of a step, and the names of its files but those with random names."""
    checkpoint = open_checkpoint(step)
    arrays = [f"{n}: {digest(checkpoint.read(n).tobytes())}" for n in checkpoint.keys()]
    files = {path.name for path in step.rglob("*") if len(path.name) < 32}
    return digest(json.dumps([sorted(arrays), sorted(files)]).encode())


def measured(folder, task):
    """step -> what a run has measured."""
    path = pathlib.Path(metrics_file.place(str(folder), task))
    if not path.exists():
        return {}
    return {
        f"metrics of step {line['step']}": json.dumps(line)
        for line in metrics_file.read(path)
    }


def as_flags(given):
    return [
        f"--{name}={os.fspath(value) if isinstance(value, os.PathLike) else value}"
        for name, value in given.items()
    ]


def inputs_of(given):
    names = ("source_model", "target_model", "prompt_path", "filtered_word")
    return [pathlib.Path(given[name]) for name in names]
