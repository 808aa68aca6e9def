"""Gin files and flags: every macro, every file, and one clear message for a mistake."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

from prompt_tuning_recycling.gin_path import gin_path

GIN = pathlib.Path(gin_path())
FILES = sorted(str(file.relative_to(GIN)) for file in GIN.rglob("*.gin"))
# These import T5X or prompt-tuning; tests/t5x uses them.
OF_T5X = (
    "runs/t5x/",
    "models/prompt_tuning.gin",
    "models/scalable_",
    "models/decoder_only",
    "recycle_as_initializer.gin",
)
STANDALONE = [file for file in FILES if not file.startswith(OF_T5X)]
RUNS = {
    "train": "runs/standalone/prompt_finetune.gin",
    "eval": "runs/standalone/eval.gin",
    "infer": "runs/standalone/infer.gin",
    "evaluate_prompts": "runs/standalone/evaluate_prompts.gin",
    "choose": "runs/standalone/choose.gin",
}
NEEDED = {
    "INITIAL_CHECKPOINT_PATH": "/models/target",
    "MIXTURE_OR_TASK_NAME": "task",
    "TASK_FEATURE_LENGTHS": {"inputs": 8, "targets": 2},
}
OUTPUT = {
    "train": {"MODEL_DIR": "/run"},
    "eval": {"EVAL_OUTPUT_DIR": "/run"},
    "infer": {"INFER_OUTPUT_DIR": "/run"},
    "evaluate_prompts": {"PROMPT_MANIFEST": "/manifest.json"},
    "choose": {"CHOOSE_OUTPUT_DIR": "/run"},
}
RECYCLING = {
    "RECYCLE_FROM": "/models/source",
    "SOURCE_CHECKPOINT": "/models/other",
    "SOURCE_PROMPT": "/prompts/p.npy",
    "TARGET_CHECKPOINT": "/models/third",
    "RECYCLER": "v2v-nn",
    "WORD_LIST": "/words.json",
    "NUM_WORDS": 77,
    "WORD_OFFSET": 11,
    "PROMPT_LENGTH": 9,
}


@pytest.fixture
def dry_run(start):
    """Prints what gin was told, without doing anything."""

    def dry_run(program, *files, **macros):
        return start(
            program,
            ["models/t5_1_1_small_prompt.gin", *files, RUNS[program]],
            "--dry_run",
            **{**NEEDED, **OUTPUT[program], **macros},
        )

    return dry_run


def set_to(text, name, value):
    return f"{name} = {value!r}" in text.replace(" \\\n    ", " ").splitlines()


@pytest.mark.parametrize("program", RUNS)
def test_every_macro_by_flag(dry_run, program):
    result = dry_run(program, "recycle_init.gin", **RECYCLING)
    assert result.code == 0, result.error
    for name, value in RECYCLING.items():
        assert set_to(result.out, name, value), name


@pytest.mark.parametrize("sources", [["/runs/a", "/runs/b"], ("/runs/a", "~/b")])
def test_several_sources_by_flag(dry_run, sources, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    result = dry_run("eval", "recycle_init.gin", RECYCLE_FROM=sources)
    assert result.code == 0, result.error
    expected = type(sources)(path.replace("~", "/home/me") for path in sources)
    assert set_to(result.out, "RECYCLE_FROM", expected)


def test_every_macro_by_file(dry_run, tmp_path):
    mine = tmp_path / "mine.gin"
    mine.write_text("".join(f"{n} = {v!r}\n" for n, v in RECYCLING.items()))
    result = dry_run("eval", "recycle_init.gin", str(mine))
    assert result.code == 0, result.error
    for name, value in RECYCLING.items():
        assert set_to(result.out, name, value), name


def test_a_flag_goes_before_a_file(dry_run, tmp_path):
    mine = tmp_path / "mine.gin"
    mine.write_text("RECYCLE_FROM = '/a'\nNUM_WORDS = 5\n")
    result = dry_run("eval", "recycle_init.gin", str(mine), NUM_WORDS=6)
    assert set_to(result.out, "NUM_WORDS", 6)


def test_the_defaults_are_those_of_the_design(dry_run):
    result = dry_run("train", "recycle_init.gin", RECYCLE_FROM="/models/source")
    for name, default in {
        "SOURCE_CHECKPOINT": "%RECYCLE_FROM",
        "SOURCE_PROMPT": "%RECYCLE_FROM",
        "TARGET_CHECKPOINT": "%INITIAL_CHECKPOINT_PATH",
        "RECYCLER": "@v2v_lin.VocabToVocabLinear()",
        "NUM_WORDS": "'auto'",
        "WORD_OFFSET": "1000",
        "PROMPT_LENGTH": "100",
        "WORD_LIST": "None",
    }.items():
        assert f"\n{name} = {default}\n" in result.out


@pytest.mark.parametrize(
    ("file", "recycler"),
    [
        ("v2v_lin", "VocabToVocabLinear"),
        ("v2v_nn", "VocabToVocabMLP"),
        ("lin_comb", "LinearCombination"),
    ],
)
def test_a_file_chooses_the_recycler(dry_run, file, recycler):
    files = ["recycle_init.gin", f"recyclers/{file}.gin"]
    result = dry_run("eval", *files, RECYCLE_FROM="/models/source")
    assert re.search(rf"^RECYCLER = @\w+\.{recycler}\(\)$", result.out, re.MULTILINE)


def test_a_binding_by_its_own_flag(start):
    result = start(
        "eval",
        ["models/t5_1_1_small.gin", RUNS["eval"]],
        "--dry_run",
        "--gin_bindings=BATCH_SIZE = 17",
        **NEEDED,
        **OUTPUT["eval"],
    )
    assert set_to(result.out, "BATCH_SIZE", 17)


def test_a_file_of_ones_own_search_path(start, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/own.gin").write_text("include 'models/t5_1_1_small.gin'\n")
    result = start(
        "eval",
        ["own.gin", RUNS["eval"]],
        "--dry_run",
        f"--gin_search_paths={tmp_path / 'mine'}",
        **NEEDED,
        **OUTPUT["eval"],
    )
    assert result.code == 0, result.error


@pytest.mark.parametrize("file", STANDALONE)
def test_every_file_of_the_package_parses(file):
    import gin

    gin.clear_config()
    gin.add_config_file_search_path(str(GIN))
    # What others include and set is set before.
    gin.parse_config("VOCABULARY_FILE = 'v'\nMODEL = None\nOPTIMIZER = None\n")
    try:
        gin.parse_config_file(file)
    finally:
        gin.clear_config()


# Mistakes


@pytest.fixture
def error_of(dry_run):
    """The one line in which a command that must fail says why."""

    def error_of(*arguments, **macros):
        result = dry_run(*arguments, **macros)
        assert result.code == 1
        (line,) = result.error.splitlines()
        return line

    return error_of


def test_a_misspelt_macro(error_of):
    error = error_of("eval", "recycle_init.gin", RECYCLE_FORM="/models/source")
    assert "nothing in these gin files uses RECYCLE_FORM" in error
    assert "RECYCLE_FROM" in error


def test_a_macro_that_has_no_place_here(error_of):
    """Though other files of the package have it."""
    error = error_of("eval", LEARNING_RATE=0.1)
    assert "nothing in these gin files uses LEARNING_RATE" in error


def test_names_that_nothing_uses_may_be_let_pass(dry_run):
    given = {"MINE": 3, "LEARNING_RATE": 0.1}
    result = dry_run("eval", UNUSED_MACROS=list(given), **given)
    assert result.code == 0, result.error


@pytest.mark.parametrize("program", RUNS)
def test_a_macro_misspelt_in_a_file(error_of, tmp_path, program):
    mine = tmp_path / "mine.gin"
    mine.write_text("WORD_OFSET = 3\n")
    error = error_of(program, "recycle_init.gin", str(mine))
    assert "uses WORD_OFSET. Did you mean WORD_OFFSET" in error


@pytest.mark.parametrize("program", RUNS)
def test_a_value_that_cannot_be(error_of, program):
    error = error_of(program, BATCH_SIZE="16")
    assert "BATCH_SIZE: expected a whole number of at least 1, found '16'." in error


def test_a_missing_recycle_from(evaluate, tiny, tmp_path):
    result = evaluate(
        tiny, "recycle_init.gin", fails=True, EVAL_OUTPUT_DIR=str(tmp_path / "eval")
    )
    assert "RECYCLE_FROM is not set" in result.error
    assert "as in --gin.RECYCLE_FROM=" in result.error
    assert "Traceback" not in result.error


@pytest.mark.parametrize("program", RUNS)
@pytest.mark.parametrize("files", [[], ["models/t5_1_1_tiny.gin"]])
def test_a_missing_run_file(start, program, files):
    result = start(program, files)
    assert result.code == 1
    assert f"--gin_file={RUNS[program]}" in result.error
    assert f"found {', '.join(files) or 'none'}." in result.error
    assert "Traceback" not in result.error


def test_a_missing_output_folder(start):
    result = start("eval", ["models/t5_1_1_small.gin", RUNS["eval"]], **NEEDED)
    assert "EVAL_OUTPUT_DIR is not set" in result.error


def test_a_text_without_quotes(start):
    result = start(
        "eval",
        ["models/t5_1_1_small.gin", RUNS["eval"]],
        "--gin.EVAL_OUTPUT_DIR=/tmp/x",
        **NEEDED,
    )
    assert result.code == 1
    assert """A text needs quotes""" in result.error
    assert """--gin.EVAL_OUTPUT_DIR="'/tmp/x'\"""" in result.error


def test_a_misspelt_file(error_of):
    error = error_of("eval", "recycle_int.gin")
    assert "there is no gin file recycle_int.gin" in error
    assert "recycle_init.gin" in error


def test_an_unknown_parameter(start):
    result = start(
        "eval",
        ["models/t5_1_1_small.gin", RUNS["eval"]],
        "--gin.network.T5Config.emb_dims=3",
        **NEEDED,
        **OUTPUT["eval"],
    )
    assert result.code == 1
    assert "emb_dims" in result.error


def test_a_file_that_cannot_be_read(error_of, tmp_path):
    mine = tmp_path / "mine.gin"
    mine.write_text("BATCH_SIZE = = 3\n")
    assert "cannot use the gin file" in error_of("eval", str(mine))


def test_an_unknown_flag(start, capfd):
    assert start("eval", [], "--gin_flie=x").code == 2


@pytest.mark.slow
def test_an_unknown_recycler(evaluate, tiny, tuned, recycling, tmp_path):
    result = evaluate(
        tiny,
        "recycle_init.gin",
        RECYCLE_FROM=str(tuned),
        RECYCLER="v2v-lni",
        EVAL_OUTPUT_DIR=str(tmp_path / "eval"),
        fails=True,
        **recycling,
    )
    (line,) = result.error.splitlines()
    assert "v2v-lin" in line


@pytest.mark.slow
def test_a_wrong_prompt_length(evaluate, tiny, tuned, recycling, tmp_path):
    result = evaluate(
        tiny,
        "recycle_init.gin",
        RECYCLE_FROM=str(tuned),
        PROMPT_LENGTH=7,
        EVAL_OUTPUT_DIR=str(tmp_path / "eval"),
        fails=True,
        **recycling,
    )
    (line,) = result.error.splitlines()
    assert "has 5 vectors, but the model expects 7 (PROMPT_LENGTH)" in line


def test_a_source_of_another_vocabulary(
    evaluate, tiny, recycling, tmp_path, write_orbax, rng
):
    write_orbax(
        tmp_path / "other",
        {
            "target/token_embedder/embedding": rng.normal(size=(3000, 8)),
            "target/encoder/prompt/prompt/prompt": rng.normal(size=(5, 8)),
        },
    )
    result = evaluate(
        tiny,
        "recycle_init.gin",
        RECYCLE_FROM=str(tmp_path / "other"),
        EVAL_OUTPUT_DIR=str(tmp_path / "eval"),
        fails=True,
        **recycling,
    )
    (line,) = result.error.splitlines()
    assert "vocabular" in line
    assert "3000" in line
    assert "640" in line


def test_the_help_names_the_flags(start):
    result = start("eval", [], "--help")
    assert result.code == 0
    for flag in ("--gin_file", "--gin_search_paths", "--gin_bindings"):
        assert flag in result.out


@pytest.mark.thorough
def test_a_platform_that_jax_does_not_find():
    """In a process of its own: JAX looks for its platform once."""
    done = subprocess.run(
        [sys.executable, "-m", "prompt_tuning_recycling.standalone.train"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "JAX_PLATFORMS": "no-such-platform"},
    )
    assert done.returncode == 1
    assert "error: JAX finds no device" in done.stderr
    assert "It was told to use JAX_PLATFORMS=no-such-platform" in done.stderr
    assert "Traceback" not in done.stderr
