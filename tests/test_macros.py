"""Macros of the gin files: what each may be, and what happens with one that nobody
knows."""

import os
import pathlib
import re

import gin
import numpy as np
import pytest

from prompt_tuning_recycling import RecyclingError, initial_prompts, macros
from prompt_tuning_recycling.choosing import chooser
from prompt_tuning_recycling.gin_path import gin_path

GIN = pathlib.Path(gin_path())
PATHS = [name for name, kind in macros.MACROS.items() if kind.is_path]
SOURCES = ["RECYCLE_FROM", "SOURCE_CHECKPOINT", "SOURCE_PROMPT", "SOURCE_VOCABULARY"]
WHOLE = ["BATCH_SIZE", "PROMPT_LENGTH", "LOG_PERIOD", "CHECKPOINT_PERIOD"]
OBJECTS = ["MODEL", "NETWORK", "VOCABULARY", "OPTIMIZER", "DEFAULT_PROMPT"]


@gin.configurable(module="tests.macros")
def user(*, value=None):
    """Whatever uses a macro."""
    return value


@gin.configurable(module="prompt_tuning_recycling.standalone.tests")
def in_standalone(*, value=None):
    """What tells that a configuration is the standalone host's."""
    return value


@pytest.fixture(autouse=True)
def no_gin():
    gin.clear_config()
    yield
    gin.clear_config()


def configure(*lines, used=True, where="user"):
    """Hands lines to gin as files and flags do; each macro that they set is used."""
    names = [line.partition(" ")[0] for line in lines]
    uses = [f"{name.lower()}/{where}.value = %{name}" for name in names if used]
    # Those of another package are not checked.
    for kind in ("Recycled", "FromFile", "FromText"):
        uses.append(f"any/initial_prompts.{kind}.{FIELDS[kind]} = None")
    uses.append("any/chooser.Chooser.task_name = None")
    gin.parse_config([*lines, *uses])
    gin.finalize()


# Its classes are known to gin by now.
assert initial_prompts
assert chooser
FIELDS = {"Recycled": "recycler", "FromFile": "path", "FromText": "texts"}


def declared_macros():
    pattern = re.compile(r"^([A-Z][A-Z0-9_]*) = ", re.MULTILINE)
    return {
        name
        for file in GIN.rglob("*.gin")
        for name in pattern.findall(file.read_text())
    }


def test_every_macro_of_every_file_is_known_and_no_other():
    assert set(macros.MACROS) == declared_macros()


def default_values():
    """Every value that the package's files give a macro, references aside."""
    pattern = re.compile(r"^([A-Z][A-Z0-9_]*) = ([^%@\n]+)$", re.MULTILINE)
    return sorted(
        {
            found
            for file in GIN.rglob("*.gin")
            for found in pattern.findall(file.read_text())
        }
    )


@pytest.mark.parametrize(("name", "value"), default_values())
def test_the_files_own_values_are_allowed(name, value):
    configure(f"{name} = {value}")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, value) for name in WHOLE for value in ("0", "-1", "1e0", "'16'")),
        *((name, value) for name in WHOLE for value in ("None", "True")),
        *((name, value) for name in PATHS for value in ("''", "3")),
        *((name, "['/a']") for name in PATHS if name not in SOURCES),
        *((name, "'adam'") for name in OBJECTS),
        ("MODEL_DIR", "None"),
        ("INITIAL_CHECKPOINT_PATH", "None"),
        ("EVAL_PERIOD", "-1"),
        ("EVAL_PERIOD", "None"),
        ("KEEP_CHECKPOINTS", "-1"),
        ("TRAIN_STEPS", "0"),
        ("TRAIN_STEPS_RELATIVE", "1e0"),
        ("NUM_WORDS", "1"),
        ("NUM_WORDS", "'all'"),
        ("WORD_OFFSET", "-1"),
        ("WORD_OFFSET", "None"),
        ("ALLOW_FEW_WORDS", "1"),
        ("PROMPT_SEED", "-1"),
        ("LEARNING_RATE", "'0.3'"),
        ("LEARNING_RATE", "0"),
        ("LEARNING_RATE", "True"),
        ("LEARNING_RATE", "1e999"),
        ("DROPOUT_RATE", "1.0"),
        ("DROPOUT_RATE", "-0.1"),
        ("LABEL_SMOOTHING", "1"),
        ("Z_LOSS", "-1e-4"),
        ("MAX_GRADIENT_NORM", "0.0"),
        ("LOSS_NORMALIZING_FACTOR", "'TOKENS'"),
        ("LOSS_NORMALIZING_FACTOR", "0"),
        ("DTYPE", "'float64'"),
        ("CHECKPOINT_DTYPE", "None"),
        ("RESTORE_DTYPE", "'bf16'"),
        ("INFER_MODE", "'generate'"),
        ("TASK_EVALUATION", "'ranking'"),
        ("TASK_NAME", "'sst-2'"),
        ("TASK_NAME", "''"),
        ("TASK_FILES", "{}"),
        ("TASK_FILES", "'train.tsv'"),
        ("TASK_FILES", "{'train': []}"),
        ("TASK_FILES", "{'train': 3}"),
        ("VERBALIZERS", "'good'"),
        ("VERBALIZERS", "(0, 1)"),
        ("CLASS_LABELS", "'good'"),
        ("CLASS_LABELS", "['good', '']"),
        ("MIXTURE_OR_TASK_NAME", "None"),
        ("MIXTURE_OR_TASK_NAME", "''"),
        ("MIXTURE_OR_TASK_MODULE", "''"),
        ("EVAL_SPLIT", "None"),
        ("USE_CACHED_TASKS", "'False'"),
        ("SHUFFLE_TRAIN_EXAMPLES", "1"),
        ("RUN_EVAL_BEFORE_TRAINING", "None"),
        ("TASK_FEATURE_LENGTHS", "512"),
        ("TASK_FEATURE_LENGTHS", "{'inputs': 128, 'target': 8}"),
        ("TASK_FEATURE_LENGTHS", "{'inputs': 128, 'targets': 0}"),
        ("TASK_FEATURE_LENGTHS", "{'inputs': 128, 'targets': '8'}"),
        ("PROMPT_REGEX", "'.*/prompt/.*'"),
        ("PROMPT_REGEX", "['*prompt']"),
        ("EVALUATOR_NUM_EXAMPLES", "0"),
        ("JSON_WRITE_N_RESULTS", "-1"),
        ("NUM_DECODES", "0"),
        ("WARMUP_STEPS", "-1"),
        ("CANDIDATES", "'copy'"),
        ("CANDIDATES", "()"),
        ("CANDIDATES", "('copy', 3)"),
        ("NUM_UNLABELED", "0"),
        ("UNLABELED_SPLIT", "None"),
        ("USE_TEACHER", "1"),
        ("REFINE_STEPS", "-1"),
        ("REFINE_LEARNING_RATE", "0"),
        ("RECYCLER", "3"),
        ("RECYCLER", "None"),
    ],
)
def test_a_value_that_cannot_be(name, value):
    with pytest.raises(RecyclingError) as error:
        configure(f"{name} = {value}")
    message = str(error.value)
    assert message.startswith(f"{name}: expected ")
    assert f"found {eval(value, {})!r}" in message


def test_a_misspelt_feature_is_named():
    with pytest.raises(RecyclingError, match="Did you mean targets?"):
        configure("TASK_FEATURE_LENGTHS = {'inputs': 128, 'target': 8}")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EVAL_PERIOD", "0"),
        ("KEEP_CHECKPOINTS", "0"),
        ("TASK_FEATURE_LENGTHS", "{'inputs': 128}"),
        ("LEARNING_RATE", "1"),
        ("NUM_WORDS", "None"),
        ("NUM_WORDS", "'auto'"),
        ("VERBALIZERS", "{'0': 'good', '1': 'bad'}"),
        ("TASK_FILES", "{'train': ('a.tsv', 'b.tsv'), 'test': 'c.tsv'}"),
        ("RECYCLER", "'v2v-nn'"),
        ("MIXTURE_OR_TASK_NAME", "@user()"),
        ("OPTIMIZER", "@user()"),
        ("LEARNING_RATE", "@user()"),
    ],
)
def test_a_value_that_can_be(name, value):
    configure(f"{name} = {value}")


def test_what_a_macro_stands_for_is_checked():
    with pytest.raises(RecyclingError, match="BATCH_SIZE: expected .*, found '16'"):
        configure("MY_SIZE = '16'", "BATCH_SIZE = %MY_SIZE")


def test_a_macro_that_stands_for_itself_is_reported():
    with pytest.raises(RecyclingError, match="(BATCH_SIZE|MINE) stands for itself"):
        configure("BATCH_SIZE = %MINE", "MINE = %BATCH_SIZE")


def test_parts_of_a_value_may_be_macros():
    configure("MY_FILE = 'a.tsv'", "TASK_FILES = {'train': %MY_FILE, 'test': 'b'}")
    with pytest.raises(RecyclingError, match="TASK_FILES: expected"):
        gin.clear_config()
        configure("MY_FILE = 3", "TASK_FILES = {'train': %MY_FILE}")


@pytest.mark.parametrize(
    "line", ["RANDOM_SEED = None", "LOSS_NORMALIZING_FACTOR = 'AVERAGE_PER_SEQUENCE'"]
)
def test_what_only_t5x_can_do_is_refused_without_it(line):
    configure(line)
    gin.clear_config()
    with pytest.raises(RecyclingError, match=line.partition(" ")[0]):
        configure(line, where="in_standalone")


# Names


@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [
        ("RECYLCER", "RECYCLER"),
        ("WORD_OFSET", "WORD_OFFSET"),
        ("Batch_Size", "BATCH_SIZE"),
        ("TRAIN_STEP", "TRAIN_STEPS"),
    ],
)
def test_a_macro_that_nothing_uses_is_misspelt(misspelt, meant):
    message = f"uses {misspelt}. Did you mean .*{meant}"
    with pytest.raises(RecyclingError, match=message):
        configure(f"{misspelt} = 3", used=False)


def test_names_of_ones_own_are_let_pass():
    configure("MINE = 3", "UNUSED_MACROS = ['MINE']", used=False)
    gin.clear_config()
    with pytest.raises(RecyclingError, match="UNUSED_MACROS: expected a list of names"):
        configure("MINE = 3", "UNUSED_MACROS = 'MINE'", used=False)


@pytest.mark.parametrize(
    ("line", "file"),
    [
        ("RECYCLE_FROM = '/source'", "recycle_init.gin"),
        ("NUM_WORDS = 100", "recycle_init.gin"),
        ("NUM_UNLABELED = 8", "choose_init.gin"),
        ("TEACHER_SCORES = '/t.json'", "choose_init.gin"),
        ("PROMPT_FILE = '/p.npy'", "prompts/from_file.gin"),
        ("CLASS_LABELS = ['a', 'b']", "prompts/from_class_labels.gin"),
    ],
)
def test_a_prompt_is_declared_whose_file_is_not_named(line, file):
    gin.parse_config(line)
    with pytest.raises(RecyclingError, match=f"Add --gin_file={file}"):
        gin.finalize()


def test_another_packages_macro_of_the_same_name_is_not_checked():
    # As prompt-tuning's run files have it where its prompt is recycled.
    gin.parse_config(["PROMPT_FILE = ''", "user.value = %PROMPT_FILE"])
    gin.finalize()


def test_files_that_serve_several_programs_may_set_what_one_of_them_needs_not():
    configure("TRAIN_STEPS = 100", used=False)


# Paths


@pytest.mark.parametrize("name", PATHS)
def test_the_home_folder_is_expanded(name, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    configure(f"{name} = '~/here'")
    assert gin.query_parameter(f"{name}/gin.macro.value") == "/home/me/here"


@pytest.mark.parametrize("kind", ["[{}]", "({},)"])
@pytest.mark.parametrize("name", SOURCES)
def test_the_home_folder_is_expanded_in_a_list(name, kind, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    configure(f"{name} = {kind.format(repr('~/here') + ', ' + repr('/there'))}")
    value = gin.query_parameter(f"{name}/gin.macro.value")
    assert list(value) == ["/home/me/here", "/there"]


def test_a_list_may_hold_macros(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    configure(
        "RECYCLE_FROM = ['~/here', %INITIAL_CHECKPOINT_PATH]",
        "INITIAL_CHECKPOINT_PATH = '~/there'",
    )
    first, second = gin.query_parameter("RECYCLE_FROM/gin.macro.value")
    assert first == "/home/me/here"
    assert second.scopes == ["INITIAL_CHECKPOINT_PATH"]


@pytest.mark.parametrize("value", [[], ["/a", None], ["/a", ["/b"]], ["/a", ""]])
def test_a_list_of_anything_but_paths(value):
    with pytest.raises(RecyclingError, match="SOURCE_PROMPT: expected a path in quot"):
        configure(f"SOURCE_PROMPT = {value!r}")


def test_only_sources_may_be_several():
    with pytest.raises(RecyclingError, match="TARGET_CHECKPOINT: expected a path"):
        configure("TARGET_CHECKPOINT = ['/a', '/b']")


def test_a_home_folder_of_nobody_is_reported():
    with pytest.raises(RecyclingError, match="~nobody-by-this-name"):
        configure("MODEL_DIR = '~nobody-by-this-name/run'")


@pytest.mark.parametrize("value", ["gs://bucket/~", "here/~", "./~x", "a~"])
def test_other_paths_stay_as_they_are(value):
    configure(f"MODEL_DIR = {value!r}")
    assert gin.query_parameter("MODEL_DIR/gin.macro.value") == value


@pytest.fixture
def tuned(tmp_path, write_orbax):
    """A MODEL_DIR with a step and an exported prompt."""
    write_orbax(tmp_path / "tuned/checkpoint_7", {"target/x": np.ones(3, np.float32)})
    export = tmp_path / "tuned/numpy_checkpoints/checkpoint_7/encoder.prompt"
    export.parent.mkdir(parents=True)
    np.save(export.open("wb"), np.ones((3, 4), np.float32))
    (tmp_path / "tuned/words.json").write_text("{}")
    return tmp_path / "tuned"


@pytest.mark.parametrize("output", ["MODEL_DIR", "EVAL_OUTPUT_DIR", "INFER_OUTPUT_DIR"])
@pytest.mark.parametrize(
    ("name", "read", "written"),
    [
        # A step, or what lies in it, however it is spelled.
        ("INITIAL_CHECKPOINT_PATH", "checkpoint_7", "checkpoint_7"),
        ("INITIAL_CHECKPOINT_PATH", "checkpoint_7", "./checkpoint_7/eval"),
        ("CHECKPOINT_PATH", "checkpoint_7/state", "checkpoint_7/eval"),
        ("TARGET_CHECKPOINT", "", "checkpoint_7"),
        ("SOURCE_CHECKPOINT", "checkpoint_7/", "../tuned/checkpoint_7"),
        # A file in the place of a folder.
        ("WORD_LIST", "words.json", "words.json"),
    ],
)
def test_a_run_does_not_write_where_it_reads(tuned, output, name, read, written):
    with pytest.raises(RecyclingError) as error:
        configure(
            f"{name} = {os.path.join(tuned, read)!r}",
            f"{output} = {os.path.join(tuned, written)!r}",
        )
    assert name in str(error.value)
    assert output in str(error.value)


@pytest.mark.parametrize("name", ["SOURCE_CHECKPOINT", "SOURCE_PROMPT"])
def test_a_run_does_not_write_into_the_second_of_several_sources(tuned, name):
    with pytest.raises(RecyclingError, match=f"lies inside {name} "):
        configure(
            f"{name} = ['{tuned.parent}/another', '{tuned}']",
            f"MODEL_DIR = '{tuned}/checkpoint_7/run'",
        )


EXPORT = "numpy_checkpoints/checkpoint_7/encoder.prompt"


@pytest.mark.parametrize("name", ["SOURCE_PROMPT", "PROMPT_FILE"])
def test_a_run_does_not_replace_the_exported_prompt_that_it_reads(tuned, name):
    prompt = f"{name} = '{tuned}/{EXPORT}'"
    with pytest.raises(RecyclingError, match="MODEL_DIR/numpy_checkpoints .* holds"):
        configure(prompt, f"MODEL_DIR = '{tuned}/.'")
    gin.clear_config()
    # An evaluation exports nothing.
    configure(prompt, f"EVAL_OUTPUT_DIR = '{tuned}'")


@pytest.mark.parametrize("written", ["", "eval", "checkpoint_8"])
def test_a_run_may_write_beside_what_it_reads(tuned, written):
    configure(
        f"INITIAL_CHECKPOINT_PATH = '{tuned}'",
        f"WORD_LIST = '{tuned}/words.json'",
        f"MODEL_DIR = {os.path.join(tuned, written)!r}",
    )
