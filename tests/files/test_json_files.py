"""JSON files that cannot surprise: one clear message, or what they say."""

import enum
import json
import math

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from prompt_tuning_recycling import RecyclingError
from prompt_tuning_recycling.files import json_files

JSON_THAT_CANNOT_BE_USED = {
    "cut": (b'{"a": 1', "is not JSON"),
    "empty": (b"", "is not JSON"),
    "not UTF-8": (b'{"a": "\xff"}', "expected UTF-8, found an invalid byte at 7"),
    "more digits than Python converts": (b"[" + 5000 * b"9" + b"]", "of 5000 digits"),
    "more digits than a float holds": (b"[-" + 301 * b"1" + b"]", "of 301 digits"),
    "deeper than Python's scanner goes": (
        100_000 * b"[" + 100_000 * b"]",
        "nested more deeply than 100 levels",
    ),
    "deeper than anything is": (
        101 * b'{"a":' + b"1" + 101 * b"}",
        "nested more deeply than 100 levels",
    ),
    "half a character": (b'{"a": ["\\uD83D"]}', "half of a character"),
    "half a character in a key": (b'{"\\udc00": 1}', "half of a character"),
    "a key twice": (b'{"a": {"b": 1, "c": 2, "b": 3}}', "the key 'b' twice"),
}


@pytest.mark.parametrize("name", JSON_THAT_CANNOT_BE_USED)
def test_json_that_cannot_be_used_is_one_line_that_names_the_file(tmp_path, name):
    data, expected = JSON_THAT_CANNOT_BE_USED[name]
    path = tmp_path / "it.json"
    path.write_bytes(data)
    with pytest.raises(RecyclingError) as error:
        json_files.read_json(path, "the manifest")
    message = str(error.value)
    assert f"the manifest {path}" in message
    assert expected in message
    assert "\n" not in message


@pytest.mark.parametrize("path", ["nowhere.json", "."])
def test_json_that_is_not_there(tmp_path, path):
    with pytest.raises(RecyclingError, match="cannot read the manifest .*: "):
        json_files.read_json(tmp_path / path, "the manifest")


def test_json_is_read_as_it_is(tmp_path):
    text = (
        '\ufeff{"a": [true, null, 1.5e3, -12, NaN, "\\ud83d\\ude00 \\\\ud83d"], "b": 1}'
    )
    (tmp_path / "it.json").write_text(text, encoding="utf-8")
    found = json_files.read_json(tmp_path / "it.json", "it")
    assert found.pop("b") == 1
    values = found["a"]
    assert math.isnan(values.pop(4))
    assert values == [True, None, 1500.0, -12, "\N{GRINNING FACE} \\ud83d"]
    limits = 100 * "[" + 300 * "9" + 100 * "]"
    assert json_files.parse_json(limits, "it")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text() | st.integers() | st.booleans(), inner)
    ),
    max_leaves=30,
)


@hypothesis.given(VALUES)
def test_text_is_what_json_makes(value):
    expected = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    assert json_files.json_text(value) == expected


@pytest.mark.parametrize(
    "value", [{"a": [np.float64(0.1), enum.IntEnum("E", "a")(1)]}, {None: {}}]
)
def test_text_of_what_only_resembles_plain_values(value):
    expected = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    assert json_files.json_text(value) == expected


@pytest.mark.parametrize("value", [np.float32(1), {"a": [b""]}, {(): 1}])
def test_what_is_no_json_has_no_text(value):
    with pytest.raises(TypeError):
        json_files.json_text(value)
