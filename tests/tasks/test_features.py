"""The vocabulary of the tasks, told by gin."""

import pathlib
import subprocess
import sys

import gin
import pytest
import seqio

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.gin_path import gin_path
from prompt_tuning_recycling.tasks import features, sst2  # noqa: F401

VOCABULARY = str(
    pathlib.Path(__file__).resolve().parents[2]
    / "examples/demo/models/vocabulary.model"
)


@pytest.fixture(autouse=True)
def no_configuration():
    yield
    gin.clear_config()


def vocabularies():
    task = seqio.get_mixture_or_task("pr:glue_sst2_v200_test")
    return [feature.vocabulary for feature in task.output_features.values()]


def test_by_default_it_is_t5s():
    for vocabulary in vocabularies():
        assert vocabulary.sentencepiece_model_file == features.T5_VOCABULARY
        assert vocabulary.extra_ids == 0


def test_a_model_file_says_which():
    """Though the task was registered before."""
    gin.add_config_file_search_path(gin_path())
    gin.parse_config_files_and_bindings(
        ["models/t5_1_1_base.gin"],
        [
            f"VOCABULARY_FILE = {VOCABULARY!r}",
            "seqio.SentencePieceVocabulary.extra_ids = 100",
        ],
    )
    for vocabulary in vocabularies():
        assert vocabulary == seqio.SentencePieceVocabulary(VOCABULARY, extra_ids=100)


def test_a_path_alone():
    gin.parse_config(
        [
            f"prompt_tuning_recycling.tasks.features.vocabulary.file = {VOCABULARY!r}",
            "prompt_tuning_recycling.tasks.features.vocabulary.extra_ids = 7",
        ]
    )
    for vocabulary in vocabularies():
        assert vocabulary == seqio.SentencePieceVocabulary(VOCABULARY, extra_ids=7)


def test_a_file_that_is_not_there():
    gin.parse_config(
        "prompt_tuning_recycling.tasks.features.vocabulary.file = 'a.model'"
    )
    with pytest.raises(RecyclingError, match="there is no vocabulary a.model"):
        vocabularies()


@pytest.mark.slow
@pytest.mark.thorough
def test_tasks_can_be_imported_by_a_host_that_runs():
    """By then gin's configuration is locked."""
    code = (
        "import gin; gin.finalize(); "
        "from prompt_tuning_recycling.tasks import from_files, sst2; "
        "print(gin.config_is_locked())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "True"


@pytest.mark.parametrize("given_by", ["model file", "task"])
def test_it_may_be_in_the_home_folder(tmp_path, monkeypatch, given_by):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "v.model").write_bytes(pathlib.Path(VOCABULARY).read_bytes())
    if given_by == "model file":
        gin.add_config_file_search_path(gin_path())
        gin.parse_config_files_and_bindings(
            ["models/t5_1_1_base.gin"], ["VOCABULARY_FILE = '~/v.model'"]
        )
    else:
        gin.bind_parameter(
            "prompt_tuning_recycling.tasks.features.vocabulary.file", "~/v.model"
        )
    for vocabulary in vocabularies():
        assert vocabulary.sentencepiece_model_file == str(tmp_path / "v.model")
        assert vocabulary.encode("a movie")
