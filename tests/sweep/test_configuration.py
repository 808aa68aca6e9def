"""A configuration is checked as a whole: every mistake, its place, a suggestion."""

import copy
import json
import logging
import pickle

import pytest

from prompt_tuning_recycling import RecyclingError
from prompt_tuning_recycling.recyclers import VocabToVocabLinear, VocabToVocabMLP
from prompt_tuning_recycling.sweep import configuration
from prompt_tuning_recycling.sweep.plan import Plan


def mistakes_of(write_config, caplog, content, **options):
    path = write_config(content)
    caplog.clear()
    with (
        caplog.at_level(logging.ERROR, "prompt_tuning_recycling"),
        pytest.raises(RecyclingError, match="mistake"),
    ):
        configuration.load(path, **options)
    return [record.getMessage() for record in caplog.records]


def test_what_a_configuration_says(config, content):
    sweep = configuration.load(config, check_words=True)
    assert sweep.root_dir == content["root_dir"]
    assert sweep.steps == (5, 10)
    assert [method.name for method in sweep.methods] == list(
        content["recycling_methods"]
    )
    assert sweep.methods[0].recycler == VocabToVocabMLP(hidden_scale=2, epochs=2)
    assert sweep.methods[1].recycler == VocabToVocabLinear()
    assert len(sweep.methods[0].word_list.words().fitted) == 200
    assert len(sweep.pairs()) == 6
    assert sweep.inits == ("rand-init", "class-init")
    assert sweep.runs == ("run 1", "run 2")
    with open(config) as file:
        assert sweep.text == file.read()


def test_skipped_pairs(content, write_config):
    content["combination_skips"] = [["Seed 0", "Large"], ["Large", "Seed 0"]]
    sweep = configuration.load(write_config(content))
    assert ("Seed 0", "Large") not in sweep.pairs()
    assert ("Seed 1", "Large") in sweep.pairs()
    assert len(sweep.pairs()) == 4


def test_a_recycler_under_a_name_of_its_own_with_words_of_its_own(
    content, write_config
):
    content["recycling_methods"]["few words"] = {
        "recycler": "v2v-lin",
        "load_embeddings": {"num_words": 20},
    }
    sweep = configuration.load(write_config(content))
    assert sweep.methods[-1].name == "few words"
    assert sweep.methods[-1].recycler == VocabToVocabLinear()
    assert len(sweep.methods[-1].word_list.words().fitted) == 20


@pytest.mark.parametrize(("number", "count"), [(None, 290), ("auto", 290), (7, 7)])
def test_all_words_or_as_many_as_the_width_asks_for(
    content, write_config, number, count
):
    content["load_embeddings"]["default"] |= {"num_words": number, "word_offset": 10}
    method = configuration.load(write_config(content)).methods[-1]
    assert len(method.word_list.words().fitted) == count


def test_every_mistake_at_once_with_its_line(content, write_config, caplog):
    content["stepps"] = [1]
    content["clobber"] = "no"
    content["recycling_methods"]["jax-nn"]["fit"]["epoch"] = 3
    content["recycling_methods"]["tf-lstq"] = {}
    del content["task_name"]
    content["prompts"]["Seed 1"]["rand-init"]["run1"] = content["prompts"]["Seed 1"][
        "rand-init"
    ].pop("run 1")
    found = mistakes_of(write_config, caplog, content)
    text = json.dumps(content, indent=2).splitlines()
    expected = {
        "stepps": '"stepps": [',
        "clobber": '"clobber": "no"',
        "recycling_methods.jax-nn.fit.epoch": '"epoch": 3',
        "recycling_methods.tf-lstq": '"tf-lstq": {}',
        "task_name": "{",
        "prompts.Seed 1.rand-init.run1": '"run1"',
        "prompts.Seed 1.rand-init.run 1": '"rand-init": {',
    }
    assert len(found) == len(expected)
    for place, line in expected.items():
        (message,) = [one for one in found if f", {place}: " in one]
        number = int(message.split(",")[0].removeprefix("line "))
        assert line in text[number - 1], message
    assert "Did you mean steps?" in "".join(found)
    assert "Did you mean epochs?" in "".join(found)
    assert "Did you mean tf-lstsq?" in "".join(found)


MISTAKES = {
    "a missing setting": (("root_dir",), None, "required"),
    "an unknown setting": (("data_set",), "x", "Did you mean dataset"),
    "a placeholder": (("root_dir",), "...", "placeholder"),
    "an empty text": (("task_name",), "", "empty"),
    "a name that is no folder's": (("dataset",), "a/b", "part of a file name"),
    "steps that are none": (("steps",), [], "write null for all steps"),
    "a step that is no number": (("steps",), ["5"], "expected a whole number"),
    "a negative step": (("steps",), [-5], "expected 0 or more"),
    "a step twice": (("steps",), [5, 5], "5 is listed twice"),
    "skips that are no pairs": (
        ("combination_skips",),
        [["Large"]],
        "expected [source, target]",
    ),
    "skips of no model": (
        ("combination_skips",),
        [["Large", "Seed 2"]],
        "Did you mean Seed",
    ),
    "a setting of the words": (
        ("load_embeddings", "default", "num_word"),
        5,
        "Did you mean num_words",
    ),
    "words that are no number": (
        ("load_embeddings", "default", "num_words"),
        "all",
        'expected a whole number, "auto", or null for all words, found "all"',
    ),
    "a kind of words": (
        ("load_embeddings", "from_strings"),
        {},
        "Did you mean from_string?",
    ),
    "another table for the text": (
        ("load_embeddings", "from_string"),
        {"vocab_file": "v", "string": "s", "variable_path": "decoder/embedding"},
        "target/token_embedder/embedding",
    ),
    "a text without a vocabulary": (
        ("load_embeddings", "from_string"),
        {"string": "s"},
        "required",
    ),
    "no recycler": (("recycling_methods",), {}, "name one or more"),
    "a recycler of no name": (
        ("recycling_methods", "mine"),
        {"recycler": "v2v-line"},
        "Did you mean v2v-lin",
    ),
    "a part of a recycler": (
        ("recycling_methods", "tf-lstsq"),
        {"init": {}},
        "Did you mean __init__",
    ),
    "a value that a recycler cannot have": (
        ("recycling_methods", "jax-nn", "fit", "epochs"),
        0,
        "at least 1",
    ),
    "a value of a wrong type": (
        ("recycling_methods", "jax-nn", "fit", "learning_rate"),
        "fast",
        "wrong type",
    ),
    "a prompt's file elsewhere": (
        ("prompt_file",),
        "folder/prompt",
        "part of a file name",
    ),
    "a text of spaces": (("task_name",), " ", "empty"),
    "a path with a NUL": (("pretrained", "Large"), "a\0b", "NUL"),
    "a model without prompts": (("prompts", "Large"), None, "required"),
    "a model of whose prompts there is nothing": (
        ("pretrained", "Seed 0"),
        None,
        "Did you mean Seed 1",
    ),
    "prompts of no model": (("prompts", "Larg"), {}, "Did you mean Large?"),
    "a baseline": (("baselines", "random_prompt"), 1, "Did you mean random_prompts"),
    "a list for an object": (("prompts",), [], "expected an object"),
    "models in a list": (("pretrained",), ["Large"], "expected an object"),
    "one model": (("pretrained",), {"Large": "l"}, "two or more models, found 1"),
    "a model's prompts in a list": (("prompts", "Large"), [], "expected an object"),
    "no initialization": (
        ("prompts",),
        {"Seed 0": {}, "Seed 1": {}, "Large": {}},
        "name one or more initializations",
    ),
    "an initialization that is no folder's": (
        ("prompts", "Large", "a/b"),
        {},
        "part of a file name",
    ),
    "a home folder of nobody": (("root_dir",), "~no-such-user/x", "no user"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_each_mistake_has_its_place_and_a_suggestion(
    content, write_config, caplog, name
):
    place, value, expected = MISTAKES[name]
    broken = copy.deepcopy(content)
    inner = broken
    for key in place[:-1]:
        inner = inner[key]
    if value is None:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    found = mistakes_of(write_config, caplog, broken)
    if name == "a model of whose prompts there is nothing":
        place = ("prompts", "Seed 0")
    assert any(".".join(place) in one and expected in one for one in found), found


def test_a_key_that_stands_twice(content, tmp_path, caplog):
    text = json.dumps(content, indent=2).replace(
        '"clobber": false,', '"clobber": false,\n"clobber": true,'
    )
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(RecyclingError, match="1 mistake,"):
        configuration.load(tmp_path / "config.json")
    assert "'clobber' is listed twice" in caplog.text


def test_an_object_that_stands_twice_is_one_mistake(content, tmp_path, caplog):
    text = json.dumps(content["baselines"])
    (tmp_path / "config.json").write_text(
        json.dumps(content)[:-1] + f', "baselines": {text}}}'
    )
    with pytest.raises(RecyclingError, match="1 mistake,"):
        configuration.load(tmp_path / "config.json")
    assert "'baselines' is listed twice" in caplog.text


def test_a_name_that_ends_in_again(content, write_config):
    for inits in content["prompts"].values():
        inits["rand-init (again)"] = inits["rand-init"]
    assert "rand-init (again)" in configuration.load(write_config(content)).inits


def test_what_is_not_said_is_the_default(content, write_config):
    """Commands that want the same recognize each other by how their work prints."""
    content["load_embeddings"] = {}
    short = Plan(configuration.load(write_config(content))).pairs()
    content["load_embeddings"] = {"default": {"word_offset": 1000, "num_words": 4000}}
    content["recycling_methods"]["tf-lstsq"] = {
        "fit": {},
        "recycler": "v2v-lin",
        "load_embeddings": {"word_list_path": None},
    }
    long = Plan(configuration.load(write_config(content))).pairs()
    assert short == long
    assert repr(short) == repr(long)
    assert hash(tuple(short)) == hash(tuple(pickle.loads(pickle.dumps(long))))


def test_wayward_prompts_need_their_text(content, write_config, caplog):
    for inits in content["prompts"].values():
        inits["wayward"] = inits["rand-init"]
    found = mistakes_of(write_config, caplog, content)
    assert len(found) == 1 and "give vocab_file and string" in found[0]


def test_word_lists_are_read_when_they_are_needed(content, write_config, caplog):
    content["load_embeddings"]["default"]["num_words"] = 1000
    content["recycling_methods"]["mine"] = {
        "recycler": "v2v-lin",
        "load_embeddings": {"word_list_path": "nowhere.json", "num_words": 5},
    }
    configuration.load(write_config(content))
    found = mistakes_of(write_config, caplog, content, check_words=True)
    assert len(found) == 4
    assert "has 300 words: too few" in found[0]
    assert "recycling_methods.mine" in found[3] and "nowhere.json" in found[3]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[1]", "expected an object"),
        pytest.param(100_000 * "[" + 100_000 * "]", "nested", id="deep"),
        pytest.param(f'{{"steps": [{"9" * 5000}]}}', "5000 digits", id="long"),
        ('{"dataset": "\\ud800"}', "half of a character"),
    ],
)
def test_a_file_that_is_no_configuration(tmp_path, caplog, text, expected):
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(RecyclingError) as error:
        configuration.load(tmp_path / "c.json")
    assert expected in caplog.text + str(error.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(RecyclingError, match="cannot read the configuration"):
        configuration.load(tmp_path / "c.json")
