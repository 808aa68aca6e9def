"""`report`: one page by itself, with what the sweep has come to."""

import html.parser
import pathlib
import re
import subprocess
import sys

import pytest

from prompt_tuning_recycling import recycle, report
from prompt_tuning_recycling.evaluation import manifest
from prompt_tuning_recycling.sweep import configuration, results
from prompt_tuning_recycling.sweep.report import comparison, palette

from ..conftest import thorough
from .conftest import write_metrics

pytestmark = pytest.mark.slow

TASK = "toy_task"
# Accuracies on each target; the random prompts' mean is 40.
BASELINES = {"no-prompt": 50.0, "random-0": 30.0, "random-1": 50.0, "untuned": 45.0}


@pytest.fixture
def tmp_path(same_folder):
    return same_folder()


@pytest.fixture
def evaluated(config, content, run, make_once):
    """A sweep in which prompts of tf-lstsq have 60, the others what no prompt has."""

    def make():
        assert run(recycle.main, {"config": config}) == 0
        write_all(content)

    make_once("report", make)
    return configuration.load(config)


def write_all(content):
    for path in pathlib.Path(content["root_dir"], "manifest-toy").glob("*.json"):
        for entry in manifest.read(path).evaluations:
            name = pathlib.Path(entry.output_dir).name
            value = BASELINES.get(name)
            if name.startswith("untuned-rand-init"):
                value = BASELINES["untuned"]
            elif name.startswith("untuned-class-init"):
                # Of this initialization even the untuned prompt is better.
                value = 70.0
            elif value is None:
                value = 60.0 if "tf-lstsq" in entry.output_dir else 50.0
            write_metrics(entry.output_dir, TASK, {"step": 9, "accuracy": value})
    for inits in content["prompts"].values():
        for runs in inits.values():
            for folder in runs.values():
                lines = [{"step": s, "accuracy": 90.0} for s in (5, 10)]
                write_metrics(folder, TASK, *lines)


@pytest.fixture
def judged(evaluated):
    found = results.read(evaluated, ["accuracy"])
    assert not found.missing
    return comparison.judge(evaluated, found, "accuracy")


def test_success_is_to_beat_every_baseline(judged):
    for one in judged:
        better = one.item.method == "tf-lstsq" and one.item.init == "rand-init"
        assert one.beats == better, one
        untuned = {"rand-init": 45.0, "class-init": 70.0}[one.item.init]
        assert {str(group): value for group, value in one.baselines.items()} == {
            "no prompt": 50.0,
            "random prompts": 40.0,
            f"untuned prompts, {one.item.init}": untuned,
        }
    assert comparison.success(judged) == (24, 144)


def test_without_the_tuning_runs_metrics_it_is_the_same(evaluated, content, judged):
    for path in pathlib.Path(content["root_dir"]).parent.glob("tuned/**/*.jsonl"):
        path.unlink()
    found = results.read(evaluated, ["accuracy"])
    assert len(found.missing) == 12 and not found.tuned
    assert comparison.judge(evaluated, found, "accuracy") == judged


@pytest.mark.parametrize(
    ("gone", "judged"),
    [
        thorough("no-prompt", 2 / 3),
        # The mean is that of the other one.
        thorough("random-0", 1.0),
        ("random-*", 2 / 3),
        thorough("untuned-rand-init-run_1", 1.0),
        # Of three targets, one; of its prompts, those of that initialization.
        ("untuned-rand-init-*", 5 / 6),
    ],
)
def test_a_baseline_that_is_missing_is_not_beaten(
    evaluated, content, config, run, gone, judged
):
    root = pathlib.Path(content["root_dir"])
    for folder in root.glob(f"baselines/toy/Large/{gone}"):
        write_metrics(folder, TASK, {"step": 9, "accuracy": float("nan")})
    found = comparison.judge(
        evaluated, results.read(evaluated, ["accuracy"]), "accuracy"
    )
    assert comparison.success(found)[1] == round(144 * judged)
    assert run(report.main, {"config": config}) == 0
    page = (root / "report-toy.html").read_text()
    assert ("others nothing can be said" in page) == (judged < 1)
    Page(page)


def test_names_that_the_page_could_take_for_its_own(content, write_config, run):
    """A method called as a baseline is, names that make one label, and TeX."""
    methods = {"no prompt": {"recycler": "v2v-lin"}, "x, $a$": {"recycler": "v2v-lin"}}
    content["recycling_methods"] = {**methods, "$_{": {"recycler": "v2v-lin"}}
    content["steps"] = [5]
    for inits in content["prompts"].values():
        inits["rand, x"] = inits.pop("rand-init")
    config = write_config(content)
    assert run(recycle.main, {"config": config, "recycle": "false"}) == 0
    root = pathlib.Path(content["root_dir"])
    for path in root.glob("manifest-toy/*.json"):
        for entry in manifest.read(path).evaluations:
            value = 7.25 if "/baselines/" in entry.output_dir else 60.0
            write_metrics(entry.output_dir, TASK, {"step": 9, "accuracy": value})
    assert run(report.main, {"config": config}) == 0
    page = (root / "report-toy.html").read_text()
    picture = re.search(r"<figure>(<svg.*?</svg>)", page, re.S)[1]
    labels = re.findall(r">([^<>]+)</text>", picture)
    assert labels.count("no prompt") == 2
    assert "x, $a$" in labels and "$_{" in labels


def test_the_maps_residuals_are_known(judged):
    for one in judged:
        assert one.words == 200
        if one.item.method == "tf-lstsq":
            assert 0 < one.fitted < one.held_out


class Page(html.parser.HTMLParser):
    """Links and tags of a page; fails on one that is not closed."""

    VOID = ("meta", "br", "img", "path", "use", "rect", "circle", "stop")

    def __init__(self, text):
        super().__init__()
        self.open, self.links, self.tags = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [v for name, v in attributes if name in ("href", "src")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)


@pytest.fixture
def page(evaluated, config, content, run):
    assert run(report.main, {"config": config}) == 0
    return pathlib.Path(content["root_dir"], "report-toy.html").read_text()


def test_the_page_needs_nothing_else(page):
    found = Page(page)
    assert not {"script", "link", "img", "iframe"} & set(found.tags)
    assert found.tags.count("svg") >= 4
    # Matplotlib names its namespaces so; nothing is fetched from there.
    addresses = set(re.findall(r"https?://[\w./]+", page))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert "@import" not in page and "url(http" not in page


def test_the_page_says_what_came_of_it(page):
    text = re.sub(r"<style.*?</style>|<svg.*?</svg>", "", page, flags=re.S)
    text = re.sub(r"<[^>]+>", " ", text).replace("\N{NO-BREAK SPACE}", " ")
    text = " ".join(text.split())
    assert "24 of 144 recycled prompts (17 %) beat the baselines" in text
    assert "tf-lstsq 50 % 60.0 60.0 to 60.0 60.0 60.0 48" in text
    assert "jax-nn 0 % 50.0" in text
    assert "tf-lstsq and linear-combination are the same map" in text
    assert "6 pairs of source and target" in text


def test_links_lead_to_prompts_and_their_provenance(page, content):
    links = [link for link in Page(page).links if not link.startswith("#")]
    assert len(links) == 2 * 144
    for link in links:
        assert pathlib.Path(content["root_dir"], link).is_file(), link


def test_the_configuration_is_there_as_it_is(page, config):
    (shown,) = re.findall(r"<pre>(.*?)</pre>", page, re.DOTALL)
    assert html.unescape(shown) == pathlib.Path(config).read_text()
    assert not set('<>"') & set(shown)


def test_the_same_bytes_every_time(page, config, content, run):
    assert run(report.main, {"config": config}) == 0
    path = pathlib.Path(content["root_dir"], "report-toy.html")
    assert path.read_text() == page


def test_names_are_no_html(content, write_config, run):
    content["dataset"] = "a&b"
    content["recycling_methods"] = {
        "R&D": {"recycler": "v2v-lin"},
    }
    config = write_config(content)
    assert run(recycle.main, {"config": config}) == 0
    for path in pathlib.Path(content["root_dir"], "manifest-a&b").glob("*.json"):
        for entry in manifest.read(path).evaluations:
            write_metrics(entry.output_dir, TASK, {"step": 9, "accuracy": 1.0})
    assert run(report.main, {"config": config}) == 0
    text = pathlib.Path(content["root_dir"], "report-a&b.html").read_text()
    assert "R&D" not in text and "R&amp;D" in text
    Page(text)


@pytest.mark.parametrize("library", [thorough("jinja2"), "matplotlib"])
def test_without_what_the_page_is_made_with(config, library):
    command = (
        f"import sys; sys.modules[{library!r}] = None; "
        "from prompt_tuning_recycling import command_line, report; "
        f"sys.exit(command_line.run(report.main, ['--config', {config!r}]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert library in done.stderr
    assert "pip install 'prompt_tuning_recycling[sweep]'" in done.stderr


def test_the_palettes_heat_goes_from_pale_to_dark():
    assert palette.heat(-1) == palette.heat(0) == ("#ecf3fa", palette.INK)
    assert palette.heat(0.5) == ("#7a9ec0", palette.INK)
    assert palette.heat(1) == palette.heat(2) == ("#084887", palette.PAPER)


def test_before_anything_was_evaluated(config, content, run, capsys):
    assert run(recycle.main, {"config": config, "recycle": "false"}) == 0
    assert run(report.main, {"config": config}) == 0
    page = pathlib.Path(content["root_dir"], "report-toy.html").read_text()
    assert "No recycled prompt has been evaluated yet" in page
    assert "results are missing" in page and "No such file" in page
    Page(page)


def test_without_baselines(evaluated, content, config, run):
    for path in pathlib.Path(content["root_dir"], "baselines").rglob("*.jsonl"):
        path.unlink()
    assert run(report.main, {"config": config}) == 0
    page = pathlib.Path(content["root_dir"], "report-toy.html").read_text()
    assert "nothing can be said of success" in " ".join(page.split())


def test_halfway(evaluated, content, config, run):
    root = pathlib.Path(content["root_dir"])
    for path in list(root.rglob("eval/*/*/*.jsonl"))[::2]:
        path.unlink()
    assert run(report.main, {"config": config}) == 0
    page = (root / "report-toy.html").read_text()
    assert "<strong>72 results are missing</strong>" in page
    Page(page)
