"""Fixtures: what a sweep's commands write."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

from prompt_tuning_recycling import recycle

from ..sweep.test_choices import write_all
from .disturbing import Writer, digest
from .readers import (
    prompt_and_record,
)

PACKAGE = "prompt_tuning_recycling"


@pytest.fixture
def small(content):
    """A sweep between two models, both ways: two recyclers, one run of one step."""
    for models in ("pretrained", "prompts"):
        del content[models]["Seed 1"]
    for inits in content["prompts"].values():
        del inits["class-init"], inits["rand-init"]["run 2"]
    content["steps"] = [5]
    del content["recycling_methods"]["jax-nn"]
    return content


@pytest.fixture
def sweep(small, write_config, rng, tmp_path):
    """`recycle`, where the prompts were tuned again since."""
    out = pathlib.Path(small["root_dir"])
    arguments = [f"--config={write_config(small)}"]
    tuned = sorted((tmp_path / "tuned").rglob("*.prompt"))

    def earlier(run):
        now = [path.read_bytes() for path in tuned]
        for path in tuned:
            with path.open("rb") as file:
                array = np.load(file)
            with path.open("wb") as file:
                np.save(file, 2 * array)
        run(arguments)
        for path, data in zip(tuned, now, strict=True):
            path.write_bytes(data)

    return Writer(
        f"{PACKAGE}.recycle", arguments, out, tuned, lambda: of_sweep(out), earlier
    )


@pytest.fixture
def sweep_clobber(small, write_config, tmp_path):
    """`recycle`, which learns other maps in the place of earlier ones."""
    out = pathlib.Path(small["root_dir"])
    tuned = sorted((tmp_path / "tuned").rglob("*.prompt"))
    small["clobber"] = True
    arguments = [f"--config={write_config(small)}"]

    def earlier(run):
        small["load_embeddings"]["default"]["num_words"] = 100
        write_config(small)
        run(arguments)
        small["load_embeddings"]["default"]["num_words"] = 200
        write_config(small)

    return Writer(
        f"{PACKAGE}.recycle", arguments, out, tuned, lambda: of_sweep(out), earlier
    )


@pytest.fixture
def evaluated(small, write_config, run, rng):
    """A sweep with evaluations, among whose recycled prompts one is chosen."""
    small["recycling_methods"] = {
        "choose": {"choose": {"inputs": 6}},
        "lin": {"recycler": "v2v-lin"},
        "combination": {"recycler": "lin-comb"},
        "few words": {"recycler": "v2v-lin", "load_embeddings": {"num_words": 60}},
    }
    config = write_config(small)
    assert run(recycle.main, {"config": config}) == 0
    write_all(small, rng)
    return config


def of_evaluated(module, small, evaluated, tmp_path):
    out = pathlib.Path(small["root_dir"])
    arguments = [f"--config={evaluated}"]

    def earlier(run):
        run(arguments)
        write_all(small, np.random.default_rng(2))

    return Writer(
        f"{PACKAGE}.{module}",
        arguments,
        out,
        [tmp_path / "tuned"],
        lambda: of_sweep(out),
        earlier,
    )


@pytest.fixture
def collect(small, evaluated, tmp_path):
    """`collect_recycling_results`: tables, and the chosen prompts."""
    return of_evaluated("collect_recycling_results", small, evaluated, tmp_path)


@pytest.fixture
def report(small, evaluated, tmp_path):
    """`report`: a page, and the chosen prompts."""
    return of_evaluated("report", small, evaluated, tmp_path)


def of_sweep(root):
    """Prompts and maps with their records, lists and tables and all else."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if not path.is_file() or any(p.startswith(".") for p in name.split("/")):
            continue
        if path.parent.name in ("recycled-prompt", "learned-recyclers"):
            # Those of killed processes hold nobody up.
            if path.suffix not in (".json", ".lock"):
                found[name] = prompt_and_record(path, path.read_bytes())
        else:
            found[name] = digest(path.read_bytes())
    return found
