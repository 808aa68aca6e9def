"""Names that strangers choose: of arrays, files, models and methods. They do not lead
out of a folder, and are no commands to a terminal, no markup in a page, and no formulas
in a table.
"""

import csv
import io
import json
import pathlib
import re

import msgpack
import numpy as np
import pytest
import safetensors.numpy
import tensorstore as ts

from prompt_tuning_recycling import (
    RecyclingError,
    command_line,
    inspect_path,
    recycle,
)
from prompt_tuning_recycling.choosing import picture
from prompt_tuning_recycling.choosing.choice import Choice
from prompt_tuning_recycling.command_line import printable
from prompt_tuning_recycling.models import adapter_config, open_checkpoint
from prompt_tuning_recycling.sweep import tables
from prompt_tuning_recycling.sweep.report import figures, rendering
from prompt_tuning_recycling.sweep.results import Results, Tuned

from .conftest import EMBEDDING

# What a terminal obeys: clear the screen, set its title, go back, write from right to
# left.
CONTROL = "a\x1b[2Jb\x1b]0;title\x07c\rd\x9b1me\u202ef\u2066g\u200fh"
SHOWN = r"a\x1b[2Jb\x1b]0;title\x07c\rd\x9b1me\u202ef\u2066g\u200fh"


# Names that become paths

CLIMBING = ["..", "../../x", "a/../../x", "/etc", "/", "target/.."]
# What cannot be a part of the name of a file.
UNFIT = [
    "../x",
    "..",
    ".",
    "/x",
    "a/b",
    "a\\b",
    "C:x",
    "a\x00b",
    "a\nb",
    "a\tb",
    "\x1b[2J",
    "",
]


@pytest.mark.parametrize("name", CLIMBING)
def test_arrays_of_a_database_do_not_climb_out(tmp_path, write_orbax, name):
    step = write_orbax(tmp_path / "checkpoint_1", {EMBEDDING: np.ones((4, 2))})
    base = {"driver": "file", "path": f"{step}/state/"}
    database = ts.KvStore.open({"driver": "ocdbt", "base": base}).result()
    database.write(f"{name}/.zarray", b"{}").result()
    with pytest.raises(RecyclingError, match="lead out of its folder"):
        open_checkpoint(step)


@pytest.mark.parametrize("name", CLIMBING)
def test_arrays_of_a_state_file_do_not_climb_out(tmp_path, name):
    """The legacy format joins names with dots, so only one of them could."""
    outside, step = tmp_path / "outside", tmp_path / "in" / "checkpoint_1"
    for folder in (outside, step):
        folder.mkdir(parents=True)
    reference = {
        "driver": "zarr",
        "kvstore": {"driver": "file", "path": f"{outside}/"},
        "metadata": {},
    }
    (step / "checkpoint").write_bytes(msgpack.packb({"optimizer": {name: reference}}))
    if name in ("..", "/"):
        with pytest.raises(RecyclingError, match="lead out of its folder"):
            open_checkpoint(step)
        return
    checkpoint = open_checkpoint(step)
    (key,) = checkpoint.keys()
    with pytest.raises(RecyclingError, match="is missing or has no .zarray"):
        checkpoint.read(key)
    folder = checkpoint._array_folder(key)
    assert folder.parent == step and not set("/\\") & set(folder.name)


@pytest.mark.parametrize("driver", ["file", "http", "gcs", "s3", "memory"])
def test_an_array_is_read_beside_its_state_file(tmp_path, write_legacy, driver):
    """Whatever its description says where it is."""
    inside, outside = np.ones((3, 2), np.float32), np.zeros((3, 2), np.float32)
    step = write_legacy(tmp_path / "checkpoint_1", {EMBEDDING: inside})
    elsewhere = write_legacy(tmp_path / "elsewhere", {EMBEDDING: outside})
    state = msgpack.unpackb((step / "checkpoint").read_bytes())
    leaf = state["optimizer"]
    for part in EMBEDDING.split("/"):
        leaf = leaf[part]
    place = f"{elsewhere}/{EMBEDDING.replace('/', '.')}/"
    leaf["kvstore"] = {
        "driver": driver,
        "path": place,
        "base_url": "http://127.0.0.1:1",
    }
    (step / "checkpoint").write_bytes(msgpack.packb(state))
    np.testing.assert_array_equal(open_checkpoint(step).read(EMBEDDING), inside)


@pytest.mark.parametrize(
    "file",
    [
        "../outside.safetensors",
        "/outside.safetensors",
        "a/../../outside.safetensors",
        "model.safetensors\0",
        "..",
        "gs://bucket/model.safetensors",
    ],
)
def test_an_index_names_files_beside_it(tmp_path, file):
    folder = tmp_path / "in"
    folder.mkdir()
    array = {"shared.weight": np.ones((3, 2), np.float32)}
    safetensors.numpy.save_file(array, tmp_path / "outside.safetensors")
    index = {"weight_map": {"shared.weight": file}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(RecyclingError, match="Expected the name of a safetensors file"):
        open_checkpoint(folder)


class Bucket:
    """A place that must not be looked at."""

    def __fspath__(self):
        return "gs://of-a-stranger/model"


def test_an_adapters_model_is_not_asked_for_over_the_network(tmp_path, monkeypatch):
    monkeypatch.setattr(adapter_config, "as_path", lambda path: Bucket())
    config = {"base_model_name_or_path": "gs://of-a-stranger/model"}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    assert adapter_config.base_of(tmp_path) is None


@pytest.mark.parametrize("name", UNFIT)
@pytest.mark.parametrize("where", ["dataset", "prompt_file", "method", "model", "run"])
def test_names_of_a_sweep_are_no_paths(
    sweep_content, tmp_path, run, capsys, name, where
):
    content = sweep_content
    if where == "method":
        content["recycling_methods"] = {name: {"recycler": "v2v-lin"}}
    elif where == "model":
        for part in ("pretrained", "prompts"):
            content[part][name] = content[part].pop("a")
    elif where == "run":
        for inits in content["prompts"].values():
            inits["init"] = {name: inits["init"]["run"]}
    else:
        content[where] = name
    (tmp_path / "config.json").write_text(json.dumps(content))
    before = sorted(tmp_path.rglob("*"))
    assert run(recycle.main, {"config": str(tmp_path / "config.json")}) == 1
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert re.search(r"cannot be part of|this is empty|NUL", error), error
    assert sorted(tmp_path.rglob("*")) == before


def test_a_name_that_is_too_long_is_said(sweep_content, tmp_path, run, capsys):
    sweep_content["recycling_methods"] = {"x" * 300: {"recycler": "v2v-lin"}}
    (tmp_path / "config.json").write_text(json.dumps(sweep_content))
    assert run(recycle.main, {"config": str(tmp_path / "config.json")}) == 1
    error = capsys.readouterr().err
    assert "File name too long" in error and "Traceback" not in error


# Names on a terminal


def is_shown(text):
    return not re.search(
        r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]",
        text,
    )


def test_control_characters_are_shown_as_their_codes():
    assert printable(CONTROL) == SHOWN
    assert printable("two\nlines\twith ▁words, ä and 漢") == (
        "two\nlines\twith ▁words, ä and 漢"
    )


def test_names_that_inspect_prints(tmp_path, write_legacy, capsys):
    folder = tmp_path / CONTROL
    array = np.ones((40, 4), np.float32)
    names = {"target/token_embedder/embedding": array, f"target/{CONTROL}": array}
    names[f"target/{CONTROL}\nEmbeddings fake/prompt/prompt"] = array[:3]
    write_legacy(folder / "checkpoint_1", names, inlined=tuple(names))
    assert command_line.run(inspect_path.main, [str(folder)]) == 0
    printed = capsys.readouterr()
    assert is_shown(printed.out) and is_shown(printed.err)
    assert SHOWN in printed.out
    assert "\nEmbeddings fake" not in printed.out


def test_names_in_errors_and_warnings(tmp_path, capsys):
    for arguments in (
        [str(tmp_path / CONTROL)],
        [f"--{CONTROL}"],
        [str(tmp_path), f"--model={tmp_path / CONTROL}"],
    ):
        try:
            assert command_line.run(inspect_path.main, arguments) == 1
        except SystemExit as stop:
            assert stop.code == 2
        printed = capsys.readouterr()
        assert is_shown(printed.err) and printed.err

    def warn(arguments):
        import logging

        logging.getLogger("prompt_tuning_recycling.test").warning("%s", CONTROL)

    assert command_line.run(warn, []) == 0
    assert capsys.readouterr().err == f"{SHOWN}\n"


# Names in tables

FORMULAS = [
    '=HYPERLINK("http://x")',
    "+1+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(A1)",
    " =1+1",
    "\t=1+1",
    "\r=1+1",
    "\uff1d1+1",
]


@pytest.mark.parametrize("name", FORMULAS)
def test_names_are_no_formulas(name):
    tuned = (Tuned(name, name, name, 5, {"accuracy": -1.5, name: -2}),)
    table = tables.training(Results(tuned, (), (), ()), ["accuracy", name])
    header, row = csv.reader(io.StringIO(table, newline=""), delimiter="\t")
    shown = "'" + re.sub(r"[\t\r]", " ", name)
    assert header[-1] == shown
    assert row[:3] == [shown] * 3
    # Numbers stay numbers.
    assert row[3:] == ["5", "-1.5", "-2"]


@pytest.mark.parametrize("name", ["Seed 0", "rand-init", "a=b", "-1", "+2.5", "1e3"])
def test_other_names_stay_as_they_are(name):
    tuned = (Tuned(name, name, name, 5, {"accuracy": 1.0}),)
    table = tables.training(Results(tuned, (), (), ()), ["accuracy"])
    _, row = csv.reader(io.StringIO(table, newline=""), delimiter="\t")
    assert row == [name, name, name, "5", "1.0"]


# Names on pages

MARKUP = "<script>alert(1)</script>--><img src=x onerror=alert(1)>\"'&$\\frac{$"


def draw(name):
    yield figures.distributions([(name, [1.0, 2.0], "#000000")], name)
    yield figures.by_step({name: {1: [1.0], 2: [2.0]}}, {name: "#000000"}, name, name)
    yield figures.scatter({name: [(1.0, 2.0)]}, {name: "#000000"}, name, name)
    # Its names take width from its bars.
    name = name.replace("--><img src=x onerror=alert(1)>", "")
    choice = Choice(name, "agreement", {name: {"agreement": 0.5}}, {})
    yield picture.svg(choice)


def test_names_in_pictures_are_no_markup():
    for svg in draw(MARKUP):
        assert "<script" not in svg and "<img" not in svg
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in svg
        # It is shown letter for letter, not as a formula.
        assert r"$\frac{$" in svg


def test_everything_in_every_template_is_escaped(tmp_path):
    templates = [*rendering._TEMPLATES.glob("*.jinja")]
    demo = pathlib.Path(__file__).parent.parent / "examples/demo/report.html.jinja"
    templates += [demo] if demo.exists() else []
    assert len(templates) >= 3
    for template in templates:
        text = template.read_text()
        assert not re.search(r"\|\s*safe|autoescape|Markup|\bscript\b", text), template
    (tmp_path / "one.jinja").write_text("{{ name }} <p title='{{ name }}'>")
    page = rendering.render("one.jinja", tmp_path, name=MARKUP)
    assert "<script" not in page and "<img" not in page and page.count("'") == 2


def test_only_matplotlibs_pictures_are_taken_for_markup():
    import prompt_tuning_recycling

    package = pathlib.Path(prompt_tuning_recycling.__file__).parent
    made = [
        path.name
        for path in package.rglob("*.py")
        for line in path.read_text().splitlines()
        if re.search(r"\bMarkup\(", line)
    ]
    assert made == ["figures.py"]
