"""Models of different vocabularies, as flags, gin files and sweeps give them."""

import dataclasses
import json
import shutil

import gin
import numpy as np
import pytest

from prompt_tuning_recycling import (
    RecyclingError,
    Words,
    initial_prompts,
    open_model,
    recycle,
    recycle_prompt,
    run_recycle,
)
from prompt_tuning_recycling.gin_path import gin_path
from prompt_tuning_recycling.kept_prompts import Keeping, is_outdated, make_prompts
from prompt_tuning_recycling.prompts import load_prompt
from prompt_tuning_recycling.prompts.prompt import load_record
from prompt_tuning_recycling.sweep.configuration import load

from ..conftest import EMBEDDING
from ..sweep.conftest import write_prompt
from .conftest import ROWS

SITE = "encoder/prompt/prompt/prompt"
LENGTH = 4
# The source's kind and width, and the target's.
SOURCE, TARGET = ("SentencePiece", 7), ("byte-level BPE", 9)


@pytest.fixture
def paths(tmp_path, model_of, vocabulary_files, write_orbax, rng):
    """Models in folders of their own, with vocabularies elsewhere, and a prompt."""
    found = {}
    for role, (kind, width) in (("source", SOURCE), ("target", TARGET)):
        _, table = model_of(kind, width, ROWS.get(kind, 6000))
        write_orbax(tmp_path / role / "checkpoint_1", {EMBEDDING: table})
        found[role] = tmp_path / role
        found[f"{role}_vocabulary"] = tmp_path / f"{role}.vocabulary"
        shutil.copy(vocabulary_files[kind], found[f"{role}_vocabulary"])
    found["prompt"] = tmp_path / "prompt.npy"
    np.save(found["prompt"], rng.normal(size=(LENGTH, 7)).astype(np.float32))
    return found


@pytest.fixture
def expected(paths, listed):
    source, target = (
        open_model(paths[role], vocabulary=paths[f"{role}_vocabulary"])
        for role in ("source", "target")
    )
    words = Words.from_list(listed, num_words=2300, word_offset=100)
    return recycle_prompt(source, target, paths["prompt"], words=words)


@pytest.fixture
def flags(paths, listed, tmp_path):
    return {
        "source_model": str(paths["source"]),
        "target_model": str(paths["target"]),
        "source_vocabulary": str(paths["source_vocabulary"]),
        "target_vocabulary": str(paths["target_vocabulary"]),
        "prompt_path": str(paths["prompt"]),
        "output_path": str(tmp_path / "out.npy"),
        "filtered_word": str(listed),
        "num_words": "2300",
        "word_offset": "100",
        "recycler": "v2v-lin",
    }


@pytest.fixture
def recycled(paths, listed):
    return initial_prompts.Recycled(
        source_checkpoint=paths["source"],
        source_prompt=paths["prompt"],
        word_list=listed,
        num_words=2300,
        word_offset=100,
        source_vocabulary=paths["source_vocabulary"],
        target_vocabulary=paths["target_vocabulary"],
    )


@pytest.fixture
def target(paths):
    return open_model(paths["target"])


# run_recycle


def test_flags(run, flags, expected, capsys):
    assert run(run_recycle.main, {**flags, "report": None}) == 0
    np.testing.assert_array_equal(np.load(flags["output_path"]), expected.array)
    record = load_record(flags["output_path"])
    assert record["words"] == json.loads(json.dumps(expected.record["words"]))
    assert "found         2300 of 2300 asked for" in capsys.readouterr().out


@pytest.mark.parametrize("missing", ["source", "target"])
def test_a_vocabulary_that_is_not_given(run, flags, capsys, missing):
    del flags[f"{missing}_vocabulary"]
    assert run(run_recycle.main, flags) == 1
    assert f"Give its SentencePiece file or tokenizer.json (--{missing}_voc" in (
        capsys.readouterr().err
    )


def test_few_words_by_flag(run, flags, capsys):
    few = {**flags, "num_words": "50"}
    assert run(run_recycle.main, few) == 1
    error = capsys.readouterr().err
    assert error.count("only 50 of the 50 words") == 1
    assert "--allow_few_words" in error
    assert run(run_recycle.main, {**few, "allow_few_words": None}) == 0
    record = load_record(flags["output_path"])
    assert record["words"]["found"] == 50
    assert "only 50 of the 50 words" in record["warnings"][0]


@pytest.mark.parametrize("role", ["source", "target"])
def test_a_vocabulary_is_never_written_over(run, flags, role, capsys):
    flags["output_path"] = flags[f"{role}_vocabulary"]
    assert run(run_recycle.main, flags) == 1
    assert f"--{role}_vocabulary" in capsys.readouterr().err


def test_several_sources_have_one_vocabulary_or_one_each(run, paths, flags, expected):
    several = dict.fromkeys(("source_model", "prompt_path", "source_vocabulary"))
    one = {name: value for name, value in flags.items() if name not in several}
    for count in (1, 2):
        arguments = [f"--{name}={value}" for name, value in one.items()]
        arguments += ["--source_model", *[str(paths["source"])] * 2]
        arguments += ["--prompt_path", *[str(paths["prompt"])] * 2]
        arguments += ["--source_vocabulary"]
        arguments += [str(paths["source_vocabulary"])] * count
        run_recycle.main(arguments)
        np.testing.assert_array_equal(np.load(flags["output_path"]), expected.array)
    with pytest.raises(RecyclingError, match="2 source models and 3 vocabularies"):
        run_recycle.main([*arguments, str(paths["source_vocabulary"])])


# Gin


@pytest.fixture
def no_gin():
    gin.clear_config()
    yield
    gin.clear_config()


def test_macros(paths, listed, expected, target, no_gin):
    gin.add_config_file_search_path(gin_path())
    gin.parse_config_files_and_bindings(
        ["recycle_init.gin"],
        [
            f"SOURCE_CHECKPOINT = '{paths['source']}'",
            f"SOURCE_PROMPT = '{paths['prompt']}'",
            "TARGET_CHECKPOINT = None",
            f"WORD_LIST = '{listed}'",
            "NUM_WORDS = 2300",
            "WORD_OFFSET = 100",
            f"SOURCE_VOCABULARY = '{paths['source_vocabulary']}'",
            f"TARGET_VOCABULARY = '{paths['target_vocabulary']}'",
            "ALLOW_FEW_WORDS = True",
        ],
    )
    kind = initial_prompts.initial_prompt()
    assert kind.allow_few_words is True
    np.testing.assert_array_equal(kind.make(target, LENGTH).array, expected.array)


def test_what_is_declared(recycled, paths):
    declared = recycled.declared()
    for role in ("source", "target"):
        name = f"{role}_vocabulary"
        assert declared[name] == str(paths[name])
    # Runs of before, whose prompts are kept, declared nothing of these.
    plain = dataclasses.replace(
        recycled, source_vocabulary=None, target_vocabulary=None
    ).declared()
    assert not {"source_vocabulary", "target_vocabulary", "allow_few_words"} & set(
        plain
    )
    few = dataclasses.replace(recycled, allow_few_words=True).declared()
    assert few["allow_few_words"] is True


def test_the_targets_vocabulary_counts_for_another_target_checkpoint(
    recycled, paths, expected
):
    elsewhere = dataclasses.replace(recycled, target_checkpoint=paths["target"])
    made = elsewhere.make(open_model(paths["source"]), LENGTH)
    np.testing.assert_array_equal(made.array, expected.array)


# Kept prompts


def kept(recycled, target, tmp_path):
    return make_prompts(
        {SITE: recycled}, {SITE: (LENGTH, 9)}, target, Keeping(tmp_path / "run")
    )[SITE]


@pytest.mark.parametrize("role", ["source", "target"])
def test_a_changed_vocabulary_is_a_change(recycled, target, paths, tmp_path, role):
    made = kept(recycled, target, tmp_path)
    keeping = Keeping(tmp_path / "run")
    assert not is_outdated(recycled, target, keeping)
    path = paths[f"{role}_vocabulary"]
    if role == "source":
        shutil.copy(paths["target_vocabulary"], path)
    else:
        spec = json.loads(path.read_text())
        vocab = spec["model"]["vocab"]
        low, high = sorted(vocab[piece] for piece in ("\u0120ba", "\u0120ko"))
        vocab["\u0120ba"], vocab["\u0120ko"] = high, low
        path.write_text(json.dumps(spec))
    (change,) = recycled.changes(load_record(keeping.files(recycled)[0]), target)
    assert change == f"the {role}'s vocabulary {path} is another one"
    assert is_outdated(recycled, target, keeping)
    if role == "target":
        # Neither piece is one of the words: the prompt is made again, to the same bits.
        again = kept(recycled, target, tmp_path)
        np.testing.assert_array_equal(again, made)
        assert not is_outdated(recycled, target, keeping)


@pytest.mark.parametrize("role", ["source", "target"])
def test_a_vocabulary_that_is_gone_has_not_changed(
    recycled, target, paths, tmp_path, role
):
    made = kept(recycled, target, tmp_path)
    paths[f"{role}_vocabulary"].unlink()
    np.testing.assert_array_equal(kept(recycled, target, tmp_path), made)


def test_another_vocabulary_is_another_setting(recycled, target, tmp_path, paths):
    kept(recycled, target, tmp_path)
    other = dataclasses.replace(recycled, source_vocabulary=paths["target_vocabulary"])
    with pytest.raises(RecyclingError, match="source_vocabulary .* but now"):
        kept(other, target, tmp_path)


# The chooser


def test_a_source_of_another_vocabulary_is_known(recycled, target, paths):
    (other,) = recycled.of_other_vocabularies(target)
    assert other.path.parent == paths["source"]
    same = dataclasses.replace(
        recycled,
        source_checkpoint=paths["target"],
        source_vocabulary=paths["target_vocabulary"],
    )
    assert same.of_other_vocabularies(target) == []
    unknown = dataclasses.replace(recycled, source_vocabulary=None)
    assert unknown.of_other_vocabularies(target) == []


# Sweeps


@pytest.fixture
def content(paths, listed, tmp_path, rng):
    tuned = {}
    for role, width in (("source", 7), ("target", 9)):
        tuned[role] = {"init": {"run": str(tmp_path / "tuned" / role)}}
        write_prompt(tmp_path / "tuned" / role, 5, rng.normal(size=(LENGTH, width)))
    return {
        "root_dir": str(tmp_path / "sweep"),
        "dataset": "toy",
        "task_name": "toy_task",
        "load_embeddings": {
            "default": {
                "word_list_path": str(listed),
                "num_words": 2300,
                "word_offset": 100,
            }
        },
        "recycling_methods": {"v2v-lin": {}},
        "pretrained": {role: str(paths[role]) for role in ("source", "target")},
        "vocabularies": {
            role: str(paths[f"{role}_vocabulary"]) for role in ("source", "target")
        },
        "prompts": tuned,
    }


@pytest.fixture
def write_config(tmp_path):
    def write(content):
        path = tmp_path / "config.json"
        path.write_text(json.dumps(content, indent=2))
        return str(path)

    return write


def test_a_sweep(content, write_config, run, paths, listed):
    assert run(recycle.main, {"config": write_config(content)}) == 0
    (recycled,) = (
        path
        for path in (paths["source"].parent / "sweep").rglob("*source*target*")
        if "recycled-prompt" in str(path) and not path.name.endswith(".json")
    )
    source, target = (
        open_model(paths[role], vocabulary=paths[f"{role}_vocabulary"])
        for role in ("source", "target")
    )
    alone = recycle_prompt(
        source,
        target,
        content["prompts"]["source"]["init"]["run"]
        + "/numpy_checkpoints/checkpoint_5/encoder.prompt.prompt.prompt",
        words=Words.from_list(listed, num_words=2300, word_offset=100),
    )
    np.testing.assert_allclose(
        load_prompt(recycled).array, alone.array, rtol=1e-5, atol=1e-6
    )
    assert load_record(recycled)["words"] == json.loads(
        json.dumps(alone.record["words"])
    )


def test_few_words_in_a_sweep(content, write_config, run, capsys):
    content["load_embeddings"]["default"]["num_words"] = 50
    assert run(recycle.main, {"config": write_config(content)}) == 1
    assert "only 50 of the 50 words" in capsys.readouterr().err
    content["load_embeddings"]["default"]["allow_few_words"] = True
    assert run(recycle.main, {"config": write_config(content)}) == 0


def test_mistakes_in_a_sweep(content, write_config, caplog, paths):
    content["vocabularies"] = {"sourse": content["vocabularies"]["source"]}
    with pytest.raises(RecyclingError):
        load(write_config(content))
    assert "vocabularies.sourse" in caplog.text
    assert "Did you mean source" in caplog.text
    caplog.clear()
    content["vocabularies"] = {"source": str(paths["prompt"])}
    with pytest.raises(RecyclingError):
        load(write_config(content), check_words=True)
    assert "vocabularies.source" in caplog.text
    assert "expected a SentencePiece model" in caplog.text
