import json

import pytest

from prompt_tuning_recycling import RecyclingError
from prompt_tuning_recycling.sweep import manifest
from prompt_tuning_recycling.sweep.manifest import Evaluation


def test_what_is_written_is_read(tmp_path):
    listed = [
        Evaluation("a", no_prompt=True),
        Evaluation("b", random_prompt=0),
        Evaluation("c", prompt="p/ä"),
    ]
    manifest.write(tmp_path / "m.json", listed)
    assert manifest.read(tmp_path / "m.json") == listed


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"prompt": "p"}, 'expected {"output_dir"'),
        ({"output_dir": "a"}, "expected one of prompt, random_prompt, no_prompt"),
        ({"output_dir": "a", "prompt": "p", "no_prompt": True}, "expected one of"),
        ({"output_dir": "a", "promt": "p"}, "Did you mean"),
        ({"output_dir": "a", "random_prompt": "0"}, "random_prompt to be int"),
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
    ],
)
def test_a_file_that_is_no_manifest(tmp_path, text, expected):
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(RecyclingError, match=expected):
        manifest.read(tmp_path / "m.json")


def test_two_evaluations_in_one_place(tmp_path):
    listed = [Evaluation("a", no_prompt=True), Evaluation("a", random_prompt=1)]
    manifest.write(tmp_path / "m.json", listed)
    with pytest.raises(RecyclingError, match="more than once"):
        manifest.read(tmp_path / "m.json")


def test_no_such_file(tmp_path):
    with pytest.raises(RecyclingError, match="cannot read the manifest"):
        manifest.read(tmp_path / "m.json")
