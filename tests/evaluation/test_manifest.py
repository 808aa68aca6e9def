import json

import pytest

from prompt_tuning_recycling import RecyclingError
from prompt_tuning_recycling.evaluation import manifest
from prompt_tuning_recycling.evaluation.manifest import Evaluation
from prompt_tuning_recycling.evaluation.scores_file import Drawing


def test_what_is_written_is_read(tmp_path):
    listed = [
        Evaluation("a", no_prompt=True),
        Evaluation("b", random_prompt=0),
        Evaluation("c", prompt="p/ä"),
    ]
    manifest.write(tmp_path / "m.json", listed)
    assert list(manifest.read(tmp_path / "m.json").evaluations) == listed


def test_unlabeled_inputs_are_read_once_each(tmp_path):
    listed = [
        Evaluation("a", no_prompt=True),
        Evaluation("b", prompt="p"),
        Evaluation("c", prompt="q", scores_only=True),
    ]
    drawings = [Drawing(8, "train", 1), Drawing(), Drawing(8, "train", 1)]
    manifest.write(tmp_path / "m.json", listed, drawings)
    read = manifest.read(tmp_path / "m.json")
    assert read == manifest.Manifest(tuple(listed), tuple(drawings[:2]))
    assert [read.scored(entry) for entry in listed] == [(), *2 * [read.unlabeled]]


@pytest.mark.parametrize(
    ("unlabeled", "expected"),
    [
        ({}, "expected unlabeled to be a list"),
        ([[]], "unlabeled 1: expected {"),
        ([{}, {"input": 3}], "unlabeled 2: there is no 'input'. Did you mean inputs?"),
        ([{"inputs": 0}], "expected inputs to be a number, 1 or more, found 0"),
        ([{"inputs": True}], "expected inputs to be"),
        ([{"split": "a/b"}], "expected split to be the name of a split"),
        ([{"seed": -1}], "expected seed to be a whole number"),
    ],
)
def test_unlabeled_inputs_that_cannot_be_used(tmp_path, unlabeled, expected):
    content = {"format": manifest.FORMAT, "unlabeled": unlabeled, "evaluations": []}
    (tmp_path / "m.json").write_text(json.dumps(content))
    with pytest.raises(RecyclingError) as error:
        manifest.read(tmp_path / "m.json")
    assert expected in str(error.value)


def test_only_scores_of_nothing(tmp_path):
    """Without inputs there is nothing to do, and a random prompt is no candidate."""
    for unlabeled, entry in (
        ([], {"output_dir": "a", "prompt": "p", "scores_only": True}),
        ([{}], {"output_dir": "a", "no_prompt": True, "scores_only": True}),
    ):
        content = {
            "format": manifest.FORMAT,
            "unlabeled": unlabeled,
            "evaluations": [entry],
        }
        (tmp_path / "m.json").write_text(json.dumps(content))
        with pytest.raises(RecyclingError, match="scores_only needs a prompt"):
            manifest.read(tmp_path / "m.json")


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"prompt": "p"}, 'expected {"output_dir"'),
        ({"output_dir": "a"}, "expected one of prompt, random_prompt, no_prompt"),
        ({"output_dir": "a", "prompt": "p", "no_prompt": True}, "expected one of"),
        ({"output_dir": "a", "promt": "p"}, "Did you mean"),
        *(
            ({"output_dir": "a", key: value}, f"expected {key} to be {expected}")
            for key, expected, values in (
                ("random_prompt", "a whole number", ("0", True, False, -1, 1.0, None)),
                ("no_prompt", "true, found", (False, 1, "true", None)),
                ("prompt", "a file", ("", " ", 1, None, "a\0b")),
            )
            for value in values
        ),
        *(
            ({"output_dir": value, "prompt": "p"}, "expected output_dir to be a folder")
            for value in ("", 1, None, "a\0b")
        ),
    ],
)
def test_an_entry_that_cannot_be_used(tmp_path, entry, expected):
    whole = {"output_dir": "z", "no_prompt": True}
    content = {"format": manifest.FORMAT, "evaluations": [whole, entry]}
    (tmp_path / "m.json").write_text(json.dumps(content))
    with pytest.raises(RecyclingError) as error:
        manifest.read(tmp_path / "m.json")
    assert "evaluation 2" in str(error.value)
    assert expected in str(error.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "not JSON"),
        ("[]", "not a manifest"),
        ('{"format": "other"}', "not a manifest"),
        (f'{{"format": "{manifest.FORMAT}"}}', "no list"),
        (f'{{"format": "{manifest.FORMAT}", "unlabelled": []}}', "mean unlabeled"),
        (f'{{"format": "", "format": "{manifest.FORMAT}"}}', "'format' twice"),
        pytest.param(100_000 * "[" + 100_000 * "]", "nested", id="deep"),
        pytest.param(f"[{'9' * 5000}]", "5000 digits", id="long"),
    ],
)
def test_a_file_that_is_no_manifest(tmp_path, text, expected):
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(RecyclingError, match=expected):
        manifest.read(tmp_path / "m.json")


# An evaluation's folder, and another's that would do it harm.
PLACES = {
    "the same": ("a", "a"),
    "a dot": ("a", "./a"),
    "a slash at the end": ("a", "a/"),
    "up and down": ("a", "b/../a"),
    "absolute": ("a", "{here}/a"),
    "a link": ("a", "link"),
    "a link above": ("b", "above/b"),
    "in what the other replaces": ("a", "a/inference_eval"),
    "deep in what the other replaces": ("a", "link/inference_eval/b"),
    "on an object store": ("gs://x/a", "gs://x/./a/"),
}


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize("swapped", [False, True])
def test_two_evaluations_in_one_place(tmp_path, monkeypatch, name, swapped):
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    (tmp_path / "above").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    one, two = (place.format(here=tmp_path) for place in PLACES[name])
    if swapped:
        one, two = two, one
    listed = [
        Evaluation("other", random_prompt=1),
        Evaluation(one, no_prompt=True),
        Evaluation(two, random_prompt=1),
    ]
    manifest.write("m.json", listed)
    with pytest.raises(
        RecyclingError, match="evaluation [23] .* evaluation [23] "
    ) as error:
        manifest.read("m.json")
    assert f"uses {two}" in str(error.value)


def test_what_is_evaluated_lies_in_what_is_replaced(tmp_path):
    output, prompt = tmp_path / "a", tmp_path / "a/inference_eval/prompt"
    manifest.write(tmp_path / "m.json", [Evaluation(str(output), prompt=str(prompt))])
    with pytest.raises(RecyclingError, match="the prompt of evaluation 1"):
        manifest.read(tmp_path / "m.json")


def test_folders_beside_and_in_each_other_are_apart(tmp_path):
    folders = ["a", "a/b", "a/b.c", "A", "a b", "a/inference_evals", "a~"]
    listed = [Evaluation(str(tmp_path / f), random_prompt=0) for f in folders]
    manifest.write(tmp_path / "m.json", listed)
    assert list(manifest.read(tmp_path / "m.json").evaluations) == listed


def test_no_such_file(tmp_path):
    with pytest.raises(RecyclingError, match="cannot read the manifest"):
        manifest.read(tmp_path / "m.json")
