"""Adapters of PEFT in and out: by command line, in Python, and by gin."""

import os
import re

import gin
import numpy as np
import pytest

from prompt_tuning_recycling import (
    RecyclingError,
    Words,
    initial_prompts,
    load_prompt,
    macros,
    open_model,
    recycle_prompt,
    run_recycle,
)
from prompt_tuning_recycling.gin_path import gin_path
from prompt_tuning_recycling.kept_prompts import Keeping, make_prompts
from prompt_tuning_recycling.prompts.prompt import load_record

from .adapters import CONFIG, WEIGHTS, of_encoder, of_tasks, write_adapter

LENGTH, SOURCE_DIM, TARGET_DIM = 5, 12, 20
MULTITASK = {"peft_type": "MULTITASK_PROMPT_TUNING", "num_tasks": 3, "num_ranks": 2}
PROMPT_OF_MODEL = "encoder/prompt/prompt/prompt"


@pytest.fixture
def adapter(tmp_path, prompt, files):
    """It names the source model."""
    return write_adapter(
        tmp_path / "adapter",
        of_encoder(prompt),
        LENGTH,
        base_model_name_or_path=files["source_model"],
    )


@pytest.fixture
def of_three_tasks(tmp_path, rng, files):
    return write_adapter(
        tmp_path / "tasks",
        of_tasks(rng, 2 * LENGTH, SOURCE_DIM),
        LENGTH,
        base_model_name_or_path=files["source_model"],
        **MULTITASK,
    )


@pytest.fixture
def expected(source_table, target_table, word_list):
    """Recycles an array as the flags of `files` say."""
    words = Words.from_list(word_list, 200, 10)

    def recycle(array):
        return recycle_prompt(source_table, target_table, array, words=words).array

    return recycle


def load(path):
    with open(path, "rb") as file:
        return np.load(file, allow_pickle=False)


# By command line


def test_an_adapter_into_a_file(run, files, adapter, prompt, expected, capsys):
    files["prompt_path"] = str(adapter)
    assert run(run_recycle.main, {**files, "report": None}) == 0
    np.testing.assert_array_equal(load(files["output_path"]), expected(prompt))
    record = load_record(files["output_path"])
    assert record["prompt"]["path"] == str(adapter)
    assert record["prompt"]["part"]["rows"] == LENGTH
    report = capsys.readouterr().out
    assert "used          the first 5 of 10 vectors" in report
    assert "PEFT uses only these, before the encoder's inputs" in report


def test_an_adapter_into_an_adapter(run, files, adapter, prompt, expected, tmp_path):
    files |= {"prompt_path": str(adapter), "output_path": str(tmp_path / "new/out")}
    assert run(run_recycle.main, {**files, "output_format": "peft"}) == 0
    found = load_prompt(tmp_path / "new/out")
    np.testing.assert_array_equal(found.array, expected(prompt))
    record = load_record(tmp_path / "new/out")
    assert record["target"]["path"].endswith("target/checkpoint_9")
    card = (tmp_path / "new/out/README.md").read_text()
    assert "# A recycled soft prompt" in card
    assert "Recycler        v2v-lin" in card
    assert f"Source          {record['source']['path']}" in card
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out"]


def test_the_adapter_stands_for_its_model(run, files, adapter, prompt, expected):
    files |= {"source_model": str(adapter), "prompt_path": str(adapter)}
    assert run(run_recycle.main, files) == 0
    np.testing.assert_array_equal(load(files["output_path"]), expected(prompt))


@pytest.mark.parametrize("task", [0, 2])
def test_one_of_several_tasks(run, files, of_three_tasks, expected, task, capsys):
    files |= {"prompt_path": str(of_three_tasks), "task": str(task)}
    assert run(run_recycle.main, {**files, "report": None}) == 0
    tuned = load_prompt(open_model(of_three_tasks, task=task)).array
    np.testing.assert_array_equal(load(files["output_path"]), expected(tuned))
    assert load_record(files["output_path"])["prompt"]["part"]["task"] == task
    assert f"task          {task}" in capsys.readouterr().out


def test_the_mean_of_two(run, files, adapter, of_three_tasks, prompt, tmp_path):
    """Each of its prompts says in the card which part was used."""
    other = write_adapter(tmp_path / "b", of_encoder(prompt + 1), LENGTH)
    flags = [f"--{name}={value}" for name, value in files.items()]
    flags += [f"--source_model={files['source_model']}"]
    flags = [flag for flag in flags if not flag.startswith("--prompt_path")]
    flags += [f"--prompt_path={adapter}", f"--prompt_path={other}"]
    output = tmp_path / "out"
    run_recycle.main([*flags, f"--output_path={output}", "--output_format=peft"])
    card = (output / "README.md").read_text()
    assert "Mean of 2 recycled prompts" in card
    assert card.count("used          the first 5 of 10 vectors") == 2


@pytest.mark.parametrize(
    ("task", "message"), [(None, "3 tasks.*--task=0 to --task=2"), ("3", "tasks 0 to")]
)
def test_a_task_that_is_not_one(run, files, of_three_tasks, task, message, capsys):
    files["prompt_path"] = str(of_three_tasks)
    if task is not None:
        files["task"] = task
    _fails(run, files, message, capsys)


def test_a_task_for_nothing(run, files, capsys):
    _fails(run, {**files, "task": "0"}, "no prompts of several tasks", capsys)


def test_an_adapter_is_no_target(run, files, adapter, tmp_path, capsys):
    flags = {**files, "target_model": str(adapter), "output_path": str(tmp_path / "o")}
    for output_format in ("numpy", "peft"):
        flags["output_format"] = output_format
        _fails(run, flags, "is an adapter: it holds a prompt, but no", capsys)


def test_a_table_has_no_kind(run, files, target_table, tmp_path, capsys):
    np.save(tmp_path / "table.npy", target_table)
    files["target_model"] = str(tmp_path / "table.npy")
    flags = {**files, "output_format": "peft"}
    _fails(run, flags, "not known whether the model is an encoder-decoder", capsys)


def test_an_output_that_would_be_lost(run, files, adapter, prompt, tmp_path, capsys):
    other = write_adapter(tmp_path / "other", of_encoder(prompt), LENGTH)
    before = (other / WEIGHTS).read_bytes()
    for output, message in (
        (other, "holds adapter_model.safetensors, which would be lost"),
        (adapter, "is the same as --prompt_path"),
        (tmp_path, "holds --source_model"),
        (adapter / "inside", "lies inside --prompt_path"),
        (tmp_path / "source", "would be lost"),
        (tmp_path / "prompt.npy", "it is a file. Expected the name of a folder"),
    ):
        flags = {**files, "prompt_path": str(adapter), "output_path": str(output)}
        _fails(run, {**flags, "output_format": "peft"}, message, capsys)
    assert (other / WEIGHTS).read_bytes() == before


def test_the_model_of_an_adapter_is_not_written_to(run, files, adapter, capsys):
    files |= {"source_model": str(adapter), "prompt_path": str(adapter)}
    table = open_model(adapter).base.path
    _fails(run, {**files, "output_path": f"{table}/state/new"}, "--source_mod", capsys)


def test_an_adapter_again(run, files, tmp_path):
    files |= {"output_path": str(tmp_path / "out"), "output_format": "peft"}
    for words in ("200", "150"):
        assert run(run_recycle.main, {**files, "num_words": words}) == 0
    assert load_record(tmp_path / "out")["words"]["fitted"] == 150


def _fails(run, flags, message, capsys):
    capsys.readouterr()
    existed = os.path.exists(flags["output_path"])
    assert run(run_recycle.main, flags) == 1
    assert os.path.exists(flags["output_path"]) == existed
    error = capsys.readouterr().err.strip()
    assert "\n" not in error.removeprefix("error: ")
    assert "Traceback" not in error
    assert re.search(message, error), error


# In Python


def test_an_adapter_is_source_and_prompt(adapter, target_table, prompt, expected):
    made = recycle_prompt(
        adapter,
        target_table,
        words=Words.from_list(adapter.parent / "words.json", 200, 10),
    )
    np.testing.assert_array_equal(made.array, expected(prompt))


# By gin


@pytest.fixture
def recycled(files):
    return {
        "target_checkpoint": files["target_model"],
        "word_list": files["filtered_word"],
        "num_words": 200,
        "word_offset": 10,
    }


def test_recycled_from_an_adapter(files, recycled, adapter, prompt, expected):
    kind = initial_prompts.Recycled(source_checkpoint=adapter, **recycled)
    made = kind.make(open_model(files["target_model"]), LENGTH)
    np.testing.assert_array_equal(made.array, expected(prompt))


def test_an_adapter_apart_from_the_source(
    files, recycled, of_three_tasks, tmp_path, expected
):
    config = of_three_tasks / CONFIG
    config.write_text(config.read_text().replace(str(tmp_path), "google"))
    kind = initial_prompts.Recycled(
        source_checkpoint=files["source_model"],
        source_prompt=of_three_tasks,
        prompt_task=1,
        **recycled,
    )
    made = kind.make(open_model(files["target_model"]), LENGTH)
    tuned = load_prompt(open_model(of_three_tasks, task=1)).array
    np.testing.assert_array_equal(made.array, expected(tuned))
    alone = initial_prompts.Recycled(
        source_checkpoint=of_three_tasks, prompt_task=1, **recycled
    )
    with pytest.raises(RecyclingError, match=r"names the model 'google/.*SOURCE_CHECK"):
        alone.make(open_model(files["target_model"]), LENGTH)


def test_an_adapters_prompt_unchanged(files, of_three_tasks, write_orbax, tmp_path):
    kind = initial_prompts.FromFile(of_three_tasks, prompt_task=2)
    made = kind.make(open_model(files["source_model"]), LENGTH)
    tuned = load_prompt(open_model(of_three_tasks, task=2)).array
    np.testing.assert_array_equal(made.array, tuned)
    assert kind.declared()["prompt_task"] == 2
    assert "prompt_task" not in initial_prompts.FromFile(of_three_tasks).declared()


def test_a_kept_prompt_is_made_again_where_the_adapter_changed(
    files, recycled, adapter, prompt, tmp_path, expected
):
    kind = initial_prompts.Recycled(source_checkpoint=adapter, **recycled)
    target, keeping = open_model(files["target_model"]), Keeping(tmp_path / "run")

    def make():
        shapes = {PROMPT_OF_MODEL: (LENGTH, TARGET_DIM)}
        made = make_prompts({PROMPT_OF_MODEL: kind}, shapes, target, keeping)
        return made[PROMPT_OF_MODEL]

    np.testing.assert_array_equal(make(), expected(prompt))
    record = tmp_path / "run/recycled_prompt/prompt.npy.json"
    written = record.stat().st_mtime_ns
    np.testing.assert_array_equal(make(), expected(prompt))
    assert record.stat().st_mtime_ns == written
    other = write_adapter(tmp_path / "other", of_encoder(prompt + 1), LENGTH)
    (other / WEIGHTS).replace(adapter / WEIGHTS)
    np.testing.assert_array_equal(make(), expected(prompt + 1))


@pytest.mark.parametrize(
    ("file", "macro"),
    [("recycle_init.gin", "RECYCLE_FROM"), ("prompts/from_file.gin", "PROMPT_FILE")],
)
def test_a_macro_gives_the_task(file, macro):
    gin.clear_config()
    gin.add_config_file_search_path(gin_path())
    lines = [f"include '{file}'", f"{macro} = '/p'", "INITIAL_CHECKPOINT_PATH = '/t'"]
    gin.parse_config([*lines, "PROMPT_TASK = 3"])
    assert initial_prompts.initial_prompt().prompt_task == 3
    gin.clear_config()


def test_a_task_that_nothing_uses_is_reported():
    gin.clear_config()
    gin.parse_config("PROMPT_TASK = 1")
    with pytest.raises(RecyclingError, match="Add --gin_file=recycle_init.gin"):
        gin.finalize()
    gin.clear_config()
    kind = macros.MACROS["PROMPT_TASK"]
    assert [kind.allows(task) for task in (0, None, -1, 1.0, "1", True)] == [
        True,
        True,
        False,
        False,
        False,
        False,
    ]
