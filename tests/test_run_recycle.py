"""The command line: upstream's flags and defaults, and what it writes."""

import dataclasses

import numpy as np
import pytest

from prompt_tuning_recycling import (
    Words,
    load_map,
    recycle_prompt,
    recyclers,
    run_recycle,
)
from prompt_tuning_recycling.prompts import prompt as prompt_files

from .conftest import train_vocabulary

EMBEDDING = "target/token_embedder/embedding"
PROMPT = "target/encoder/prompt/prompt/prompt"


def load(path):
    with open(path, "rb") as file:
        return np.load(file, allow_pickle=False)


def test_writes_what_the_library_computes(
    run, files, source_table, target_table, prompt, word_list
):
    assert run(run_recycle.main, files) == 0
    words = Words.from_list(word_list, num_words=200, word_offset=10)
    expected = recycle_prompt(source_table, target_table, prompt, words=words)
    np.testing.assert_array_equal(load(files["output_path"]), expected.array)
    record = prompt_files.load_record(files["output_path"])
    assert record["target"]["path"].endswith("target/checkpoint_9")


def test_defaults_are_the_papers_code():
    flags = run_recycle._parser().parse_args(
        [f"--{name}=x" for name in ("source_model", "target_model")]
        + [f"--{name}=x" for name in ("prompt_path", "output_path")]
    )
    assert (flags.recycler, flags.num_words, flags.word_offset) == (
        "v2v-nn",
        4000,
        1000,
    )
    assert run_recycle._recycler(flags) == recyclers.VocabToVocabMLP(
        hidden_scale=4, batch_size=50, learning_rate=0.0003, epochs=25
    )


@pytest.mark.parametrize(("number", "count"), [("all", 290), ("auto", 290), ("9", 9)])
def test_a_number_of_words_or_all(run, files, number, count):
    assert run(run_recycle.main, {**files, "num_words": number}) == 0
    record = prompt_files.load_record(files["output_path"])
    assert record["words"]["fitted"] == count


@pytest.mark.slow
@pytest.mark.parametrize("recycler", [*recyclers.names(), "jax-nn", "tf-lstsq"])
def test_every_recycler_by_name_and_alias(run, files, recycler):
    width = 20
    if recycler == "copy":
        files["target_model"], width = files["source_model"], 12
    assert run(run_recycle.main, {**files, "recycler": recycler, "epochs": "2"}) == 0
    assert load(files["output_path"]).shape == (5, width)


@pytest.mark.parametrize(
    ("recycler", "flags", "expected"),
    [
        ("v2v-lin", {"rcond": "1e-3"}, recyclers.VocabToVocabLinear(rcond=1e-3)),
        (
            "soft-nearest",
            {"temperature": "0.5", "rescale": None},
            recyclers.SoftNearest(temperature=0.5, rescale=True),
        ),
        ("soft-nearest", {"no-rescale": None}, recyclers.SoftNearest()),
        ("sparse", {"k": "2"}, recyclers.Sparse(k=2)),
        (
            "local",
            {"neighbors": "9", "ridge": "1"},
            recyclers.Local(neighbors=9, ridge=1.0),
        ),
        ("relative", {}, recyclers.Relative()),
        (
            "mean",
            {"recyclers": "v2v-lin,sparse"},
            recyclers.Mean((recyclers.VocabToVocabLinear(), recyclers.Sparse())),
        ),
    ],
)
def test_flags_reach_each_recycler(run, files, recycler, flags, expected):
    assert run(run_recycle.main, {**files, "recycler": recycler, **flags}) == 0
    record = prompt_files.load_record(files["output_path"])
    assert record["recycler"]["parameters"] == expected.parameters()


def test_every_parameter_has_a_flag_that_the_help_explains(capsys):
    with pytest.raises(SystemExit):
        run_recycle.main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    for name in recyclers.names():
        for field in dataclasses.fields(recyclers.get(name)):
            assert f"--{field.name}" in text
    assert "sparse: the most words that a vector is written in (default: 4)" in text
    assert "(default: procrustes,relative)" in text


def test_flags_reach_the_network(run, files):
    wanted = {
        "hidden_scale": 2,
        "batch_size": 20,
        "learning_rate": 0.01,
        "epochs": 3,
        "seed": 7,
    }
    flags = {**files, "recycler": "v2v-nn", **{k: str(v) for k, v in wanted.items()}}
    assert run(run_recycle.main, flags) == 0
    record = prompt_files.load_record(files["output_path"])
    assert record["recycler"]["parameters"] == wanted


def test_the_prompt_may_be_in_a_checkpoint(
    run, files, tmp_path, write_orbax, source_table, prompt
):
    arrays = {EMBEDDING: source_table, PROMPT: prompt}
    write_orbax(tmp_path / "tuned" / "checkpoint_5", arrays)
    assert run(run_recycle.main, files) == 0
    from_file = load(files["output_path"])
    tuned = str(tmp_path / "tuned")
    flags = {**files, "prompt_path": tuned, "source_model": tuned}
    assert run(run_recycle.main, flags) == 0
    np.testing.assert_array_equal(load(files["output_path"]), from_file)


def test_saves_the_map_for_further_prompts(run, files, tmp_path, prompt):
    path = str(tmp_path / "map.safetensors")
    assert run(run_recycle.main, {**files, "save_recycler": path}) == 0
    applied = load_map(path).apply(prompt)
    np.testing.assert_array_equal(applied, load(files["output_path"]))


def test_the_report_is_printed(run, files, capsys):
    assert run(run_recycle.main, {**files, "report": None}) == 0
    out = capsys.readouterr().out
    assert "held out" in out
    assert "▁word" in out
    assert f"wrote {files['output_path']} [5, 20]" in out


def test_long_work_says_how_far_it_is(run, files, capsys):
    assert run(run_recycle.main, {**files, "recycler": "v2v-nn", "epochs": "5"}) == 0
    assert "v2v-nn: epoch 3 of 5, loss" in capsys.readouterr().err


def test_the_words_of_a_text(run, files, tmp_path):
    text = "the movie was great and the film was terrible"
    train_vocabulary(tmp_path / "tiny.model", [text] * 20, 40)
    flags = {**files, "words_of_text": text, "vocabulary": str(tmp_path / "tiny.model")}
    assert run(run_recycle.main, flags) == 0
    assert prompt_files.load_record(files["output_path"])["words"]["text"] == text


def test_the_output_may_replace_an_earlier_one(run, files):
    for recycler in ("v2v-nn", "v2v-lin"):
        flags = {**files, "recycler": recycler, "epochs": "1"}
        assert run(run_recycle.main, flags) == 0
    record = prompt_files.load_record(files["output_path"])
    assert record["recycler"]["name"] == "v2v-lin"


def test_help_explains_every_flag(capsys):
    with pytest.raises(SystemExit) as stop:
        run_recycle.main(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for action in run_recycle._parser()._actions:
        assert action.help
        assert action.option_strings[-1] in text


def test_words_of_another_vocabulary_are_said_on_the_screen(run, files, capsys):
    """The package's list, on tables that are smaller than the T5 vocabulary."""
    del files["filtered_word"]
    flags = {**files, "num_words": "20", "word_offset": "0", "report": None}
    assert run(run_recycle.main, flags) == 0
    captured = capsys.readouterr()
    assert captured.err.count("of another vocabulary") == 1
    assert "Nearest words" not in captured.out
    record = prompt_files.load_record(files["output_path"])
    assert record["nearest_pieces"] is None
    assert "its embedding table has 384 rows" in record["warnings"][0]


def test_paths_in_the_home_folder(run, files, tmp_path, monkeypatch):
    """A shell replaces ~ at the beginning of a word, but not behind a flag's `=`."""
    monkeypatch.setenv("HOME", str(tmp_path))
    flags = {
        name: value.replace(str(tmp_path), "~") for name, value in files.items()
    } | {"save_recycler": "~/out/map"}
    assert sum(value.startswith("~/") for value in flags.values()) == 6
    assert run(run_recycle.main, flags) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "map",
        "recycled",
        "recycled.json",
    ]
    record = prompt_files.load_record("~/out/recycled")
    assert record["source"]["path"] == str(tmp_path / "source/checkpoint_7")
    assert record["words"]["word_list"] == str(tmp_path / "words.json")
