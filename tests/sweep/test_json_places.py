import json

from prompt_tuning_recycling.sweep.json_places import lines

TEXT = """{
  "a": {"x": 1,
        "y" : [true, {"z": "a \\" { [ , string"}, null]},
  "b": -1.5e3,
  "\\u0063": [],
  "a": {}
}
"""


def test_every_entry_has_its_line():
    json.loads(TEXT)
    assert lines(TEXT) == {
        ("a",): 2,
        ("a", "x"): 2,
        ("a", "y"): 3,
        ("a", "y", 0): 3,
        ("a", "y", 1): 3,
        ("a", "y", 1, "z"): 3,
        ("a", "y", 2): 3,
        ("b",): 4,
        ("c",): 5,
        ("a (again)",): 6,
    }


def test_what_a_repeated_key_holds_is_below_it():
    assert lines('{"a": {"b": 1},\n "a": {"b": 2}}') == {
        ("a",): 1,
        ("a", "b"): 1,
        ("a (again)",): 2,
        ("a (again)", "b"): 2,
    }


def test_anything_that_is_json():
    for text in ("1", '""', "[]", "{}", "null", " [ [ ], { } ] ", '{"a":[1,2]}'):
        json.loads(text)
        lines(text)
