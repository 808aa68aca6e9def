"""Choices among recycled prompts: made from files, without a model or an evaluation."""

import collections
import csv
import json
import pathlib
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from scipy.special import softmax

from prompt_tuning_recycling import collect_recycling_results, recycle, report
from prompt_tuning_recycling.evaluation import manifest, scores_file
from prompt_tuning_recycling.evaluation.scores_file import Drawing, Scores
from prompt_tuning_recycling.files.meetings import Use
from prompt_tuning_recycling.prompts.prompt import load_record
from prompt_tuning_recycling.sweep import (
    configuration,
    outputs,
    results,
)
from prompt_tuning_recycling.sweep.plan import Plan
from prompt_tuning_recycling.sweep.report import regret

from ..programs import stop_at
from .conftest import write_metrics
from .test_configuration import mistakes_of
from .test_report import Page

pytestmark = pytest.mark.slow

TASK = "toy_task"
METHODS = ("lin", "few words", "combination")
CELLS = 6 * 2 * 2 * 2
DRAWING = Drawing(6, "train", 0)
OTHER = Drawing(4, "validation", 3)


@pytest.fixture
def tmp_path(same_folder):
    return same_folder()


@pytest.fixture
def choosing(content):
    """The sweep's content with three quick methods, and two choices among them."""
    content["recycling_methods"] = {
        "choose": {"choose": {"inputs": 6}},
        "lin": {"recycler": "v2v-lin"},
        "few words": {"recycler": "v2v-lin", "load_embeddings": {"num_words": 60}},
        "combination": {"recycler": "lin-comb"},
        "alone": {
            "choose": {
                "candidates": ["combination", "lin"],
                "teacher": False,
                "inputs": 4,
                "split": "validation",
                "seed": 3,
            }
        },
    }
    return content


def evaluations(content):
    """Every entry of every manifest, and the manifest's drawings."""
    root = pathlib.Path(content["root_dir"])
    for path in sorted(root.glob("manifest-*/*.json")):
        made = manifest.read(path)
        for entry in made.evaluations:
            yield entry, made.scored(entry)


@pytest.fixture
def evaluated(choosing, write_config, run, rng, make_once):
    """A sweep whose evaluations have written metrics and scores, all random, so that
    choices differ and have regret. Returns the configuration's path.
    """
    config = write_config(choosing)

    def make():
        assert run(recycle.main, {"config": config}) == 0
        write_all(choosing, rng)

    make_once("choices", make)
    return config


def write_all(content, rng):
    for entry, drawings in evaluations(content):
        if not entry.scores_only:
            value = round(float(rng.uniform(20, 90)), 3)
            write_metrics(entry.output_dir, TASK, {"step": 9, "accuracy": value})
        for drawing in drawings:
            rows = np.log(softmax(rng.normal(size=(drawing.inputs, 2)) * 3, axis=1))
            rows -= rng.uniform(0, 1, (drawing.inputs, 1))
            path = scores_file.place(entry.output_dir, drawing)
            origin = {"split": drawing.split, "inputs": drawing.inputs}
            scores_file.write(path, Scores(rows, origin, f"digest of {drawing}", True))
    for inits in content["prompts"].values():
        for runs in inits.values():
            for folder in runs.values():
                lines = [{"step": s, "accuracy": 90.0} for s in (5, 10)]
                write_metrics(folder, TASK, *lines)


def table(content):
    path = pathlib.Path(content["root_dir"], "recycling-toy.tsv")
    with path.open() as file:
        return list(csv.DictReader(file, delimiter="\t"))


def folder(content, method, cell, kind):
    """A cell's recycled prompt, or its evaluation."""
    init, run, source, target, step = cell
    name = f"recycled_from_{source}_at_{step}_to_{target}"
    parts = (method, "toy", init, run, kind, name)
    return pathlib.Path(
        content["root_dir"], *(part.replace(" ", "_") for part in parts)
    )


def cell_of(row):
    names = ("Init", "Run", "Source Model", "Target Model", "Step")
    return tuple(row[name] for name in names)


def scores_of(output_dir, drawing):
    path = scores_file.place(str(output_dir), drawing)
    return np.array(json.loads(pathlib.Path(path).read_text())["scores"])


def agreement(content, method, cell):
    """By hand: the mean over the inputs of the sum over the labels of q(l) p(l)."""
    init, run, source, _, step = cell
    of_teacher = pathlib.Path(
        content["root_dir"],
        "teachers/toy",
        *(part.replace(" ", "_") for part in (source, init, run, step)),
    )
    p = softmax(scores_of(folder(content, method, cell, "eval"), DRAWING), axis=1)
    q = softmax(scores_of(of_teacher, DRAWING), axis=1)
    return float((p * q).sum() / len(p))


def information(content, method, cell):
    """By hand: the labels' mean likelihood, times their information about inputs."""
    scores = scores_of(folder(content, method, cell, "eval"), OTHER)
    p, mean = softmax(scores, axis=1), softmax(scores, axis=1).mean(axis=0)
    shared = -(mean * np.log(mean)).sum() + (p * np.log(p)).sum() / len(p)
    return float(np.exp(scores).sum(axis=1).mean() * shared)


def test_manifests_ask_for_scores_and_teachers(choosing, write_config, run):
    config = write_config(choosing)
    assert run(recycle.main, {"config": config, "recycle": "false"}) == 0
    path = pathlib.Path(choosing["root_dir"], "manifest-toy/Seed_0.json")
    made = manifest.read(path)
    assert made.unlabeled == (DRAWING, OTHER)
    teachers = [entry for entry in made.evaluations if entry.scores_only]
    tuned = choosing["prompts"]["Seed 0"]
    # Each tuned prompt once, though it is recycled for two targets by three methods.
    assert {entry.prompt for entry in teachers} == {
        f"{model_dir}/numpy_checkpoints/checkpoint_{step}/encoder.prompt.prompt.prompt"
        for runs in tuned.values()
        for model_dir in runs.values()
        for step in (5, 10)
    }
    assert len(teachers) == 8
    # A choice adds nothing to evaluate.
    others = [entry for entry in made.evaluations if not entry.scores_only]
    assert len(others) == 7 + 3 * 2 * 2 * 2 * 2
    assert not any("/choose/" in entry.output_dir for entry in others)


def test_without_a_teacher_there_is_none_to_score(choosing, write_config, run):
    del choosing["recycling_methods"]["choose"]
    config = write_config(choosing)
    assert run(recycle.main, {"config": config, "recycle": "false"}) == 0
    listed = list(evaluations(choosing))
    assert not any(entry.scores_only for entry, _ in listed)
    assert {drawings for _, drawings in listed} == {(), (OTHER,)}


def test_without_choices_manifests_are_as_ever(config, content, run):
    assert run(recycle.main, {"config": config, "recycle": "false"}) == 0
    for path in pathlib.Path(content["root_dir"], "manifest-toy").glob("*.json"):
        assert "unlabeled" not in path.read_text()
        assert "scores_only" not in path.read_text()


def test_the_candidate_that_answers_best_is_chosen(choosing, evaluated, run, capsys):
    assert run(collect_recycling_results.main, {"config": evaluated}) == 0
    captured = capsys.readouterr()
    assert f"choose: {CELLS} prompts chosen" in captured.out
    assert "0 results are missing" in captured.out
    rows = table(choosing)
    # The configuration's order.
    assert list(dict.fromkeys(row["Recycler"] for row in rows)) == [
        "choose",
        "lin",
        "few words",
        "combination",
        "alone",
    ]
    values = {(row["Recycler"], cell_of(row)): row["Acc"] for row in rows}
    assert len(values) == len(rows) == 5 * CELLS
    taken = {"choose": collections.Counter(), "alone": collections.Counter()}
    for (method, cell), value in values.items():
        if method not in taken:
            continue
        candidates, judge = (
            (METHODS, agreement)
            if method == "choose"
            else (("combination", "lin"), information)
        )
        by_hand = {name: judge(choosing, name, cell) for name in candidates}
        best = max(by_hand, key=by_hand.get)
        taken[method][best] += 1
        assert value == values[best, cell]
        ours = folder(choosing, method, cell, "recycled-prompt")
        theirs = folder(choosing, best, cell, "recycled-prompt")
        assert ours.read_bytes() == theirs.read_bytes()
        record = load_record(ours)
        choice = record.pop("choice")
        assert record == load_record(theirs)
        assert choice["chosen"] == best
        assert choice["candidates"].keys() == by_hand.keys()
        for name, of_candidate in choice["candidates"].items():
            assert of_candidate[choice["criterion"]] == pytest.approx(by_hand[name])
        assert choice["unlabeled"]["sha256"].startswith("digest of")
        assert (choice["teacher"] is None) == (method == "alone")
        if method == "choose":
            assert choice["teacher"]["prompt"]["path"] == record["prompt"]["path"]
        assert choice["left_out"] == {}
    assert all(len(counter) > 1 for counter in taken.values())


def files(content):
    root = pathlib.Path(content["root_dir"])
    return {
        path: (path.read_bytes(), path.stat().st_mtime_ns)
        for name in ("choose", "alone")
        for path in (root / name).rglob("*")
        if path.is_file()
    }


def prompts(content):
    ends = (".json", ".tmp")
    return {k: v for k, v in files(content).items() if not k.name.endswith(ends)}


@pytest.mark.slow
@pytest.mark.thorough
def test_what_was_chosen_before_is_left_alone(choosing, evaluated, run):
    assert run(collect_recycling_results.main, {"config": evaluated}) == 0
    before = files(choosing)
    assert len(before) == 2 * 2 * CELLS
    assert run(collect_recycling_results.main, {"config": evaluated}) == 0
    assert run(report.main, {"config": evaluated}) == 0
    assert files(choosing) == before
    write_all(choosing, np.random.default_rng(1))
    assert run(collect_recycling_results.main, {"config": evaluated}) == 0
    after = files(choosing)
    assert after.keys() == before.keys()
    paths = prompts(choosing)
    changed = [path for path in paths if after[path][0] != before[path][0]]
    assert 0 < len(changed) < len(paths)


@pytest.mark.thorough
def test_killed_while_chosen_prompts_are_written(
    choosing, evaluated, run, start_program
):
    killed = start_program(
        "prompt_tuning_recycling.collect_recycling_results",
        [f"--config={evaluated}"],
        stop_at("kill", "os.rename", 8, "choose/toy"),
    ).end()
    assert killed.code == -signal.SIGKILL, killed.error
    # Four records, and the prompts of three of them.
    before = prompts(choosing)
    assert len(before) == 3
    assert run(collect_recycling_results.main, {"config": evaluated}) == 0
    after = prompts(choosing)
    assert {path: after[path] for path in before} == before
    assert len(after) == 2 * CELLS
    assert all(load_record(path)["choice"] for path in after)


def test_scores_that_are_missing(choosing, evaluated, run, capsys):
    cell = ("rand-init", "run 1", "Seed 0", "Large", "5")
    candidate = scores_file.place(
        str(folder(choosing, "few words", cell, "eval")), DRAWING
    )
    pathlib.Path(candidate).unlink()
    of_teacher = pathlib.Path(
        choosing["root_dir"], "teachers/toy/Large/class-init/run_2/10"
    )
    teacher = scores_file.place(str(of_teacher), DRAWING)
    pathlib.Path(teacher).write_text("{}")
    assert run(collect_recycling_results.main, {"config": evaluated}) == 0
    captured = capsys.readouterr()
    assert "2 results are missing" in captured.out
    assert f"missing: {candidate}: No such file" in captured.err
    assert f"missing: {teacher}: cannot be read" in captured.err
    rows = collections.Counter(row["Recycler"] for row in table(choosing))
    # Of two targets, the source's answers are not known.
    assert rows["choose"] == CELLS - 1 - 2
    assert rows["alone"] == rows["few words"] == CELLS
    assert not folder(choosing, "choose", cell, "recycled-prompt").exists()


def test_scores_on_other_inputs_are_not_compared(choosing, evaluated, run, capsys):
    cell = ("rand-init", "run 1", "Seed 0", "Large", "5")
    path = scores_file.place(str(folder(choosing, "lin", cell, "eval")), DRAWING)
    scores = scores_file.read(path)
    scores_file.write(path, Scores(scores.rows, scores.origin, "another", True))
    assert run(collect_recycling_results.main, {"config": evaluated}) == 0
    captured = capsys.readouterr()
    assert "1 results are missing" in captured.out
    assert "has scores on other inputs than" in captured.err
    assert len([r for r in table(choosing) if r["Recycler"] == "choose"]) == CELLS - 1


def test_choices_that_differ_need_a_teacher(choosing, evaluated, run, capsys):
    for entry, drawings in evaluations(choosing):
        for drawing in drawings:
            path = scores_file.place(entry.output_dir, drawing)
            old = scores_file.read(path)
            rows = [*old.rows[:-1], np.array([-1.0, -2.0, -3.0])]
            scores_file.write(path, Scores(rows, old.origin, old.digest, False))
    assert run(collect_recycling_results.main, {"config": evaluated}) == 0
    captured = capsys.readouterr()
    assert "the same choices, so 'alone' needs a teacher" in captured.err
    rows = collections.Counter(row["Recycler"] for row in table(choosing))
    assert rows["choose"] == CELLS and not rows["alone"]


def test_it_is_chosen_without_labels(choosing, evaluated, run, capsys):
    """Metrics may be missing, or scrambled; the same prompts are chosen."""
    assert run(collect_recycling_results.main, {"config": evaluated}) == 0
    before = files(choosing)
    cell = ("rand-init", "run 1", "Seed 0", "Large", "5")
    for number, (entry, _) in enumerate(evaluations(choosing)):
        if not entry.scores_only:
            metric = {"step": 9, "accuracy": float(number % 7)}
            write_metrics(entry.output_dir, TASK, metric)
    metrics = folder(choosing, "lin", cell, "eval") / "inference_eval"
    (metrics / f"{TASK}-metrics.jsonl").unlink()
    capsys.readouterr()
    assert run(collect_recycling_results.main, {"config": evaluated}) == 0
    assert files(choosing) == before
    captured = capsys.readouterr()
    assert "1 results are missing" in captured.out
    assert f"choose: {CELLS} prompts chosen" in captured.out


@pytest.mark.slow
@pytest.mark.thorough
def test_a_candidate_that_a_pair_leaves_out(choosing, write_config, run, rng):
    skipped = [["Seed 0", "Large"], ["Large", "Seed 0"]]
    choosing["recycling_methods"]["few words"]["combination_skips"] = skipped
    config = write_config(choosing)
    assert run(recycle.main, {"config": config}) == 0
    write_all(choosing, rng)
    assert run(collect_recycling_results.main, {"config": config}) == 0
    rows = table(choosing)
    pairs = {
        (row["Source Model"], row["Target Model"])
        for row in rows
        if row["Recycler"] == "few words"
    }
    assert len(pairs) == 4 and ("Seed 0", "Large") not in pairs
    assert sum(row["Recycler"] == "choose" for row in rows) == CELLS
    cell = ("rand-init", "run 1", "Seed 0", "Large", "5")
    record = load_record(folder(choosing, "choose", cell, "recycled-prompt"))
    assert record["choice"]["candidates"].keys() == {"lin", "combination"}
    assert "combination_skips" in record["choice"]["left_out"]["few words"]
    assert run(report.main, {"config": config}) == 0


@pytest.mark.slow
@pytest.mark.thorough
def test_prompts_of_the_wayward_initialization(
    choosing, write_config, run, rng, vocabulary
):
    for inits in choosing["prompts"].values():
        inits["wayward"] = inits.pop("class-init")
    choosing["load_embeddings"]["from_string"] = {
        "vocab_file": str(vocabulary),
        "string": "the film is good the film is bad",
    }
    config = write_config(choosing)
    assert run(recycle.main, {"config": config}) == 0
    write_all(choosing, rng)
    assert run(collect_recycling_results.main, {"config": config}) == 0
    chosen = [row for row in table(choosing) if row["Recycler"] == "choose"]
    inits = collections.Counter(row["Init"] for row in chosen)
    assert inits == {"rand-init": CELLS // 2, "wayward": CELLS // 2}


CHOICES = {
    "a candidate that is misspelt": (
        {"candidates": ["lin", "few word"]},
        "choose.candidates.1: 'few word' is no method of this file. "
        "Did you mean few words?",
    ),
    "itself": (
        {"candidates": ["lin", "choose"]},
        "choose.candidates.1: 'choose' is a choice itself.",
    ),
    "another choice": (
        {"candidates": ["alone", "lin"]},
        "choose.candidates.0: 'alone' is a choice itself.",
    ),
    "a candidate twice": (
        {"candidates": ["lin", "lin"]},
        "choose.candidates.1: lin is listed twice",
    ),
    "no candidates": ({"candidates": []}, "choose.candidates: this is empty"),
    "candidates that are no list": (
        {"candidates": "lin"},
        "choose.candidates: expected a list [...]",
    ),
    "a setting that is misspelt": (
        {"candidate": ["lin"]},
        "choose.candidate: there is no such setting. Did you mean candidates?",
    ),
    "no inputs": ({"inputs": 0}, "choose.inputs: expected 1 or more, found 0"),
    "a teacher's name": (
        {"teacher": "Large"},
        'choose.teacher: expected true or false, found "Large"',
    ),
    "a split that is no name": (
        {"split": "train/1"},
        "choose.split: 'train/1' cannot be part of a file name",
    ),
    "no object": ([], "choose: expected an object {...}, found []"),
}


@pytest.mark.parametrize("name", CHOICES)
def test_a_choice_with_a_mistake(choosing, write_config, caplog, name):
    choice, expected = CHOICES[name]
    choosing["recycling_methods"]["choose"] = {"choose": choice}
    (found,) = mistakes_of(write_config, caplog, choosing)
    assert f"recycling_methods.choose.{expected}" in found


def test_a_choice_that_recycles(choosing, write_config, caplog):
    extra = {"recycler": "v2v-lin", "fit": {}, "combination_skips": []}
    choosing["recycling_methods"]["choose"] |= extra
    found = mistakes_of(write_config, caplog, choosing)
    assert len(found) == 3
    assert all("a choice recycles nothing itself" in message for message in found)


def test_nothing_to_choose_from(choosing, write_config, caplog):
    choosing["recycling_methods"] = {"choose": {"choose": {}}}
    (found,) = mistakes_of(write_config, caplog, choosing)
    assert "there is no other method, so there is nothing to choose from" in found


def test_a_choice_without_its_key(choosing, write_config, caplog):
    choosing["recycling_methods"]["choose"] = {}
    (found,) = mistakes_of(write_config, caplog, choosing)
    assert 'to choose among the other methods, write {"choose": {}}' in found


@pytest.mark.parametrize("skips", [[["Large", "Seed 7"]], [["Large"]]])
def test_skips_of_a_method_with_a_mistake(choosing, write_config, caplog, skips):
    choosing["recycling_methods"]["lin"]["combination_skips"] = skips
    (found,) = mistakes_of(write_config, caplog, choosing)
    assert "recycling_methods.lin.combination_skips.0" in found


def test_a_method_called_as_the_teachers_folder(choosing, write_config, run, capsys):
    choosing["recycling_methods"]["teachers"] = {"recycler": "v2v-lin"}
    flags = {"config": write_config(choosing), "recycle": "false"}
    assert run(recycle.main, flags) == 1
    assert "the folder of teachers" in capsys.readouterr().err
    del choosing["recycling_methods"]["choose"]
    flags["config"] = write_config(choosing)
    assert run(recycle.main, flags) == 0


@pytest.mark.slow
def test_every_file_was_claimed(choosing, evaluated, run):
    """All that the commands and the evaluations write, so that nothing meets unseen."""
    assert run(collect_recycling_results.main, {"config": evaluated}) == 0
    assert run(report.main, {"config": evaluated}) == 0
    sweep = configuration.load(evaluated)
    claims = list(outputs._Paths(sweep).claims(Plan(sweep).items()))
    claimed = {claim.path: claim.use for claim in claims}
    root = pathlib.Path(choosing["root_dir"])
    for path in root.rglob("*"):
        above = {claimed.get(str(parent)) for parent in path.parents}
        if Use.REPLACED not in above:
            use = Use.FILE if path.is_file() else (Use.FOLDER, Use.REPLACED)
            assert claimed[str(path)] in (use if isinstance(use, tuple) else (use,))


@pytest.fixture
def page(choosing, evaluated, run):
    assert run(report.main, {"config": evaluated}) == 0
    return pathlib.Path(choosing["root_dir"], "report-toy.html").read_text()


@pytest.mark.thorough
def test_the_report_shows_what_was_chosen_and_its_regret(choosing, evaluated, page):
    found = results.read(configuration.load(evaluated), ["accuracy"])
    cells = regret.look_back(found, "accuracy")
    assert {name: len(of_choice) for name, of_choice in cells.items()} == {
        "choose": CELLS,
        "alone": CELLS,
    }
    values = {
        (one.item.method, one.item.init, one.item.run, *pair, one.item.step): value
        for one in found.recycled
        for pair in [(one.item.source, one.item.target)]
        for value in [one.metrics["accuracy"]]
    }
    regrets = []
    for one in cells["choose"]:
        cell = one.chosen.cell
        key = (cell.init, cell.run, cell.source, cell.target, cell.step)
        best = max(values[name, *key] for name in METHODS)
        assert one.regret == pytest.approx(best - values["choose", *key])
        regrets.append(one.regret)
    text = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    won = sum(value == 0 for value in regrets)
    assert f"is better than the chosen one in {won} of {CELLS} cells" in text
    mean, worst = sum(regrets) / CELLS, max(regrets)
    assert f"the regret is {mean:.1f} on average and {worst:.1f} at worst" in text
    assert "Chosen on 6 inputs of the split train , by how well the answers" in text
    assert "Chosen on 4 inputs of the split validation , by how much" in text
    assert text.count(f"Every cell ({CELLS})") == 2
    worth = regret.of_choice(cells["choose"])
    shown = [f"{n:.1f}" for n in (worth.mean, worth.worst, mean, worst)]
    # Among all choices, and beside its candidates.
    assert text.count("choose " + " ".join(shown)) == 2
    best = np.mean([one.best for one in cells["choose"]])
    assert f"the best, known afterwards {best:.1f}" in text
    Page(page)


@pytest.mark.thorough
def test_the_report_counts_each_prompt_once(page):
    text = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    assert f"{3 * CELLS} recycled prompts were evaluated" in text
    assert re.search(rf"\d+ of {3 * CELLS} recycled prompts", text)
    counts = rf"\d+ of {CELLS} \(\d+.%\)"
    chosen = rf"Of the chosen prompts, .*? {counts} by choose, {counts} by alone do\."
    assert re.search(chosen, text)


@pytest.mark.thorough
def test_the_report_lists_each_methods_worst_cells(choosing, evaluated, page):
    found = results.read(configuration.load(evaluated), ["accuracy"])
    section = page[page.index("The worst cells") : page.index("What makes a diff")]
    cells = re.findall(r"<tr><td>(.*?)</td></tr>", section)
    rows = [row.split("</td><td>") for row in cells]
    assert len(rows) == 5 * 3
    for group, method in enumerate(("choose", *METHODS, "alone")):
        of_method = sorted(
            (one for one in found.recycled if one.item.method == method),
            key=lambda one: one.metrics["accuracy"],
        )
        for one, row in zip(of_method, rows[3 * group :][:3], strict=False):
            item, value = one.item, one.metrics["accuracy"]
            assert row[1:] == [
                f"{value:.1f}",
                item.source,
                item.target,
                item.init,
                item.run,
                str(item.step),
            ]
        assert rows[3 * group][0] == method


def test_links_lead_to_chosen_prompts(page, choosing):
    links = [link for link in Page(page).links if not link.startswith("#")]
    assert len(links) == 2 * 5 * CELLS
    chosen = [link for link in links if link.startswith("choose/")]
    assert len(chosen) == 2 * CELLS
    for link in links:
        assert pathlib.Path(choosing["root_dir"], link).is_file(), link


@pytest.mark.thorough
def test_the_report_before_everything_was_evaluated(choosing, evaluated, run):
    root = pathlib.Path(choosing["root_dir"])
    for path in sorted((root / "lin").rglob("*.jsonl"))[::2]:
        path.unlink()
    assert run(report.main, {"config": evaluated}) == 0
    page = (root / "report-toy.html").read_text()
    assert f"In {CELLS // 2} more cells a prompt was chosen" in page
    Page(page)
    for path in root.rglob("*.jsonl"):
        path.unlink()
    assert run(report.main, {"config": evaluated}) == 0
    page = (root / "report-toy.html").read_text()
    assert "No recycled prompt has been evaluated yet" in page
    Page(page)


@pytest.mark.thorough
def test_the_residual_is_no_verdict(page):
    text = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    assert "does not tell whether a recycled prompt works" in text
    assert "no better than" not in text


def test_sweeps_choose_without_the_libraries_of_a_host(evaluated):
    command = (
        "import sys; sys.modules.update(seqio=None, tensorflow=None, flax=None); "
        "from prompt_tuning_recycling import collect_recycling_results as c; "
        f"c.main(['--config', {evaluated!r}])"
    )
    done = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert f"choose: {CELLS} prompts chosen" in done.stdout
