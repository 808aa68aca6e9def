"""Names that come to one path once they are composed are found before anything is
done.
"""

import copy
import logging
import os
import pathlib

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from prompt_tuning_recycling import (
    RecyclingError,
    collect_recycling_results,
    recycle,
    report,
)
from prompt_tuning_recycling.evaluation import manifest, metrics_file
from prompt_tuning_recycling.files.meetings import Use
from prompt_tuning_recycling.prompts.prompt import record_path
from prompt_tuning_recycling.sweep import (
    configuration,
    evaluations,
    layout,
    outputs,
)
from prompt_tuning_recycling.sweep.plan import Plan

from ..conftest import thorough
from .conftest import tree, write_metrics, write_prompt


def models(content, *names):
    """Gives the sweep's models other names; further ones are copies of the first."""
    for part in ("pretrained", "prompts"):
        values = list(content[part].values())
        values += [copy.deepcopy(values[0]) for _ in names[len(values) :]]
        content[part] = dict(zip(names, values, strict=False))


def inits(content, *names):
    for model, of_model in content["prompts"].items():
        content["prompts"][model] = dict(zip(names, of_model.values(), strict=True))


def runs(content, *names):
    for of_model in content["prompts"].values():
        for init, of_init in of_model.items():
            of_model[init] = dict(zip(names, of_init.values(), strict=True))


def methods(content, *names):
    content["recycling_methods"] = {name: {"recycler": "v2v-lin"} for name in names}


def untuned(content):
    inits(content, "a", "a-b")
    runs(content, "b-c", "c")


def wayward(content):
    inits(content, "a", "wayward")
    content["load_embeddings"]["from_string"] = {"vocab_file": "v", "string": "s"}
    models(content, "a", "b", "b-wayward")


def steps(content):
    models(content, "a", "b_at_6_to_c", "a_at_5_to_b", "c")
    content["steps"] = [5, 6]


COLLISIONS = {
    "untuned prompts": (
        untuned,
        "prompts.Seed 0.a.c",
        ["(prompts.Seed 0.a, prompts.Seed 0.a.b-c)", "untuned-a-b-c"],
    ),
    "pairs of models": (
        lambda content: models(content, "a", "b_to_c", "a_to_b", "c"),
        "pretrained.c",
        ["(pretrained.a, pretrained.b_to_c)", "(pretrained.a_to_b, pretrained.c)"],
    ),
    "steps": (steps, "pretrained.c", ["steps 5", "steps 6", "_at_5_to_b_at_6_to_c"]),
    "a record and what it is the record of": (
        lambda content: models(content, "a", "b", "b.json"),
        "pretrained.b.json",
        ["(pretrained.b)", "the record of"],
    ),
    "a map for wayward prompts": (
        wayward,
        "pretrained.b-wayward",
        ["(pretrained.b)", "_to_b-wayward"],
    ),
    "a dataset and maps": (
        lambda content: content.update(dataset="learned-recyclers"),
        "dataset",
        ["the folder of maps", "jax-nn/learned-recyclers"],
    ),
    "spaces in models": (
        lambda content: models(content, "a 1", "a_1"),
        "pretrained.a_1",
        ["(pretrained.a 1)"],
    ),
    "spaces in methods": (
        lambda content: methods(content, "m 1", "m_1"),
        "recycling_methods.m_1",
        ["(recycling_methods.m 1)"],
    ),
    "spaces in initializations": (
        lambda content: inits(content, "i 1", "i_1"),
        "prompts.Seed 0.i_1",
        ["(prompts.Seed 0.i 1)"],
    ),
    "spaces in runs": (
        lambda content: runs(content, "r 1", "r_1"),
        "prompts.Seed 0.rand-init.r_1",
        ["(prompts.Seed 0.rand-init.r 1)"],
    ),
    **{
        f"a method called {name}": (
            lambda content, name=name: methods(content, name),
            f"recycling_methods.{name}",
            [f"sweep/{name} "],
        )
        for name in (
            "baselines",
            "manifest-toy",
            "cli_args-toy.txt",
            "training-toy.tsv",
            "recycling-toy.tsv",
            "baselines-toy.tsv",
            "report-toy.html",
            ".sweep",
        )
    },
    "outputs in a model": (
        lambda content: content["pretrained"].update(
            Large=str(pathlib.Path(content["root_dir"]).parent)
        ),
        "pretrained.Large",
        ["is read, a model", "Choose another root_dir"],
    ),
    "a word list in the place of an output": (
        lambda content: content["load_embeddings"]["default"].update(
            word_list_path=content["root_dir"] + "/./cli_args-toy.txt"
        ),
        "recycling_methods.jax-nn",
        ["is read, a word list"],
    ),
    "tuned prompts in the place of outputs": (
        lambda content: content["prompts"]["Large"]["rand-init"].update(
            {"run 1": content["root_dir"] + "/report-toy.html"}
        ),
        "prompts.Large.rand-init.run 1",
        ["is read, a tuned prompt"],
    ),
}


@pytest.mark.parametrize("name", COLLISIONS)
def test_names_that_come_to_one_path(content, write_config, run, caplog, name):
    change, place, expected = COLLISIONS[name]
    change(content)
    sweep = configuration.load(write_config(content))
    with (
        caplog.at_level(logging.ERROR, "prompt_tuning_recycling"),
        pytest.raises(RecyclingError, match="nothing was done"),
    ):
        outputs.check(sweep, Plan(sweep).pairs())
    messages = [record.getMessage() for record in caplog.records]
    found = [one for one in messages if f", {place}: " in one]
    assert any(all(part in one for part in expected) for one in found), messages
    # However many paths a name is part of, it is named once or twice, not for each.
    assert len(messages) <= 3, messages


def test_all_are_found_at_once_and_nothing_is_done(content, write_config, run, capsys):
    models(content, "a", "b_to_c", "a_to_b", "c")
    untuned(content)
    methods(content, "report-toy.html", "v2v-lin")
    for command in (recycle, collect_recycling_results, report):
        assert run(command.main, {"config": write_config(content)}) == 1
        error = capsys.readouterr().err
        assert "has 3 mistakes, listed above; nothing was done" in error
        lines = error.splitlines()
        assert [line.split(",")[0] for line in lines[:-1]] == sorted(
            (line.split(",")[0] for line in lines[:-1]), key=lambda one: int(one[5:])
        )
        assert not pathlib.Path(content["root_dir"]).exists()


def test_links_of_folders_are_seen_through(content, write_config, tmp_path):
    (tmp_path / "sweep").mkdir()
    (tmp_path / "model").symlink_to(tmp_path / "sweep")
    content["pretrained"]["Large"] = str(tmp_path / "model")
    sweep = configuration.load(write_config(content))
    with pytest.raises(RecyclingError):
        outputs.check(sweep, Plan(sweep).pairs())


@pytest.mark.slow
@pytest.mark.thorough
def test_every_path_that_is_written_was_claimed(content, write_config, run):
    """All that the commands write, so that no two can meet unseen."""
    config = write_config(content)
    assert run(recycle.main, {"config": config}) == 0
    root = pathlib.Path(content["root_dir"])
    for path in root.glob("manifest-toy/*.json"):
        for entry in manifest.read(path).evaluations:
            write_metrics(entry.output_dir, "toy_task", {"step": 9, "accuracy": 1.0})
    assert run(collect_recycling_results.main, {"config": config}) == 0
    assert run(report.main, {"config": config}) == 0
    sweep = configuration.load(config)
    claims = list(outputs._Paths(sweep).claims(Plan(sweep).items()))
    claimed = {claim.path: claim.use for claim in claims}
    for folder, folders, names in os.walk(root):
        assert claimed.get(folder) is Use.FOLDER or folder == str(root)
        for name in names:
            assert claimed[os.path.join(folder, name)] is Use.FILE
        for name in list(folders):
            if claimed[os.path.join(folder, name)] is Use.REPLACED:
                folders.remove(name)


NAME = st.text("ab", min_size=1, max_size=1) | st.lists(
    st.sampled_from(
        ["a", "b", "_to_", "-", "_", " ", ".json", "_at_5", "wayward", "tmp."]
    ),
    min_size=1,
    max_size=4,
).map("".join)


@pytest.mark.slow
@pytest.mark.thorough
@hypothesis.settings(max_examples=200, deadline=None)
@hypothesis.given(
    names=st.lists(NAME, min_size=2, max_size=4, unique=True),
    kinds=st.lists(NAME, min_size=1, max_size=2, unique=True),
    several=st.lists(NAME, min_size=1, max_size=2, unique=True),
    ways=st.lists(NAME, min_size=1, max_size=2, unique=True),
    dataset=NAME,
)
def test_where_nothing_is_said_all_paths_differ(names, kinds, several, ways, dataset):
    """A law: whatever the names, two outputs in one place are found."""
    sweep = configuration.Configuration(
        path="/c.json",
        text="{}",
        root_dir="/root-of-no-sweep",
        dataset=dataset,
        task_name="t",
        clobber=False,
        steps=(5, 6),
        skips=frozenset(),
        methods=tuple(
            configuration.Method(way, None, configuration.WordList()) for way in ways
        ),
        wayward_words=None,
        pretrained={name: f"/models/{name}" for name in names},
        prompts={
            name: {
                kind: {one: f"/tuned/{name}/{kind}/{one}" for one in several}
                for kind in kinds
            }
            for name in names
        },
        baselines=configuration.Baselines(random_prompts=2, untuned_step=0),
    )
    plan = Plan(sweep)
    try:
        outputs.check(sweep, plan.pairs())
    except RecyclingError:
        return
    root = sweep.root_dir
    files = [
        layout.cli_args(root, dataset),
        layout.report(root, dataset),
        *(
            layout.table(root, kind, dataset)
            for kind in ("training", "recycling", "baselines")
        ),
        *(layout.manifest(root, dataset, name) for name in names),
    ]
    for item in plan.items():
        files += [item.output, str(record_path(item.output))]
        files.append(metrics_file.place(item.eval_dir, "t"))
    for pair in plan.pairs():
        for fit in pair.fits:
            files += [fit.path, str(record_path(fit.path))]
    for name in names:
        for baseline in evaluations.baselines(sweep, name):
            files.append(metrics_file.place(baseline.evaluation.output_dir, "t"))
    assert len(set(files)) == len(files)
    folders = {str(above) for file in files for above in pathlib.Path(file).parents}
    assert not folders & set(files)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        thorough("b~"),
        "~b",
        thorough("~"),
        thorough("b."),
        thorough("é"),
        "b'c$",
        thorough("-b"),
        thorough("#%"),
    ],
)
def test_any_other_name_is_taken_as_it_is(content, write_config, run, capsys, name):
    """In models, methods, initializations, runs and datasets."""
    models(content, "a", name, "c")
    inits(content, "a", name)
    runs(content, "a", name)
    methods(content, name)
    content["dataset"] = name
    config = write_config(content)
    assert run(recycle.main, {"config": config}) == 0
    root = pathlib.Path(content["root_dir"])
    folder = root / name / name / name / name / "recycled-prompt"
    assert (folder / f"recycled_from_a_at_5_to_{name}").is_file()
    before = {
        path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()
    }
    written = tree(root)
    capsys.readouterr()
    # What is there is not done again.
    assert run(recycle.main, {"config": config}) == 0
    assert "0 prompts recycled by 0 newly learned" in capsys.readouterr().out
    assert tree(root) == written
    for path, when in before.items():
        if path.parent.name in ("recycled-prompt", "learned-recyclers"):
            assert path.stat().st_mtime_ns == when


def test_all_steps_of_a_run_are_part_of_the_plan(content, write_config):
    """Also those that only a look at the folders tells."""
    models(content, "a", "b_at_7_to_c", "a_at_5_to_b", "c")
    content["steps"] = None
    sweep = configuration.load(write_config(content))
    outputs.check(sweep, Plan(sweep).pairs())
    folder = content["prompts"]["a_at_5_to_b"]["rand-init"]["run 1"]
    write_prompt(folder, 7, np.ones((5, 20)))
    with pytest.raises(RecyclingError):
        outputs.check(sweep, Plan(sweep).pairs())
