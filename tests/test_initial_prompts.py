"""What a prompt starts from, as gin files declare it."""

import dataclasses
import pathlib
import shutil

import gin
import numpy as np
import pytest
import sentencepiece

from prompt_tuning_recycling import (
    RecyclingError,
    initial_prompts,
    recyclers,
    run_recycle,
)
from prompt_tuning_recycling.gin_path import gin_path
from prompt_tuning_recycling.kept_prompts import Keeping, make_prompts
from prompt_tuning_recycling.models import open_model
from prompt_tuning_recycling.prompts.prompt import load_record

EMBEDDING = "target/token_embedder/embedding"
SITE = "encoder/prompt/prompt/prompt"
PROMPT = f"target/{SITE}"
LENGTH, TARGET_DIM = 5, 20


@pytest.fixture
def target(files):
    return open_model(files["target_model"])


@pytest.fixture
def recycled(files):
    """The same inputs as those of the flags in `files`."""
    return initial_prompts.Recycled(
        source_checkpoint=files["source_model"],
        source_prompt=files["prompt_path"],
        target_checkpoint=files["target_model"],
        recycler=files["recycler"],
        word_list=files["filtered_word"],
        num_words=int(files["num_words"]),
        word_offset=int(files["word_offset"]),
    )


def make_or_keep(kind, target, length, output_dir):
    """The prompt of a model that has one, in a run's folder."""
    shapes = {SITE: (length, TARGET_DIM)}
    return make_prompts({SITE: kind}, shapes, target, Keeping(output_dir))[SITE]


# Recycled


@pytest.mark.parametrize("recycler", ["v2v-lin", "lin-comb", "v2v-nn"])
def test_it_is_to_the_bit_what_run_recycle_writes(
    files, recycled, target, run, tmp_path, recycler
):
    assert run(run_recycle.main, {**files, "recycler": recycler}) == 0
    recycled = dataclasses.replace(recycled, recycler=recycler)
    made = make_or_keep(recycled, target, LENGTH, tmp_path / "run")
    written = pathlib.Path(files["output_path"]).read_bytes()
    assert (tmp_path / "run/recycled_prompt/prompt.npy").read_bytes() == written
    np.testing.assert_array_equal(made, np.load(files["output_path"]))


def test_the_source_prompt_may_be_in_the_source_checkpoint(
    recycled, target, tmp_path, write_orbax, source_table, prompt
):
    write_orbax(tmp_path / "both", {EMBEDDING: source_table, PROMPT: prompt})
    one = dataclasses.replace(
        recycled, source_checkpoint=tmp_path / "both", source_prompt=tmp_path / "both"
    )
    expected = recycled.make(target, LENGTH).array
    np.testing.assert_array_equal(one.make(target, LENGTH).array, expected)


def test_the_target_is_the_runs_model_unless_another_is_named(recycled, files, target):
    unnamed = dataclasses.replace(recycled, target_checkpoint=None)
    expected = recycled.make(open_model(files["source_model"]), LENGTH).array
    np.testing.assert_array_equal(unnamed.make(target, LENGTH).array, expected)
    assert expected.shape == (LENGTH, TARGET_DIM)


def test_a_run_that_starts_again_takes_what_was_kept(recycled, target, files, tmp_path):
    made = make_or_keep(recycled, target, LENGTH, tmp_path / "run")
    for name in ("source_model", "target_model"):
        shutil.rmtree(files[name])
    pathlib.Path(files["prompt_path"]).unlink()
    pathlib.Path(files["filtered_word"]).unlink()
    kept = make_or_keep(recycled, target, LENGTH, tmp_path / "run")
    np.testing.assert_array_equal(kept, made)


def test_a_run_that_was_stopped_before_the_prompt_was_whole_makes_it_again(
    recycled, target, tmp_path
):
    made = make_or_keep(recycled, target, LENGTH, tmp_path / "run")
    # The record is written first.
    (tmp_path / "run/recycled_prompt/prompt.npy").unlink()
    again = make_or_keep(recycled, target, LENGTH, tmp_path / "run")
    np.testing.assert_array_equal(again, made)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recycler": "lin-comb"}, "recycler .*'v2v-lin'.*but now.*'lin-comb'"),
        ({"num_words": 150}, "num_words 200, but now num_words is 150"),
        ({"source_checkpoint": "/other"}, "source_checkpoint .* is '/other'"),
    ],
)
def test_what_was_kept_must_be_what_is_asked_for(
    recycled, target, tmp_path, change, message
):
    make_or_keep(recycled, target, LENGTH, tmp_path / "run")
    other = dataclasses.replace(recycled, **change)
    with pytest.raises(RecyclingError, match=message) as error:
        make_or_keep(other, target, LENGTH, tmp_path / "run")
    assert "another output folder" in str(error.value)


def test_a_recycler_with_parameters_is_kept_like_one_by_name(
    recycled, target, tmp_path
):
    by_name = dataclasses.replace(recycled, recycler="v2v-nn")
    made = make_or_keep(by_name, target, LENGTH, tmp_path / "run")
    same = dataclasses.replace(recycled, recycler=recyclers.VocabToVocabMLP())
    kept = make_or_keep(same, target, LENGTH, tmp_path / "run")
    np.testing.assert_array_equal(kept, made)
    other = dataclasses.replace(recycled, recycler=recyclers.VocabToVocabMLP(seed=1))
    with pytest.raises(RecyclingError, match="seed"):
        make_or_keep(other, target, LENGTH, tmp_path / "run")


def test_a_wrong_prompt_length_is_reported_before_anything_is_read(
    recycled, target, tmp_path
):
    with pytest.raises(RecyclingError, match="has 5 vectors, but the model expects 8"):
        make_or_keep(recycled, target, 8, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_kept_prompt_of_another_length_is_reported(recycled, target, tmp_path):
    make_or_keep(recycled, target, LENGTH, tmp_path / "run")
    with pytest.raises(RecyclingError, match="--gin.PROMPT_LENGTH=5"):
        make_or_keep(recycled, target, 8, tmp_path / "run")


@pytest.fixture
def several(files, recycled, tmp_path, rng):
    """As `recycled`, and from another source too."""
    np.save(tmp_path / "table.npy", rng.normal(size=(384, 7)).astype(np.float32))
    np.save(tmp_path / "of-table.npy", rng.normal(size=(LENGTH, 7)).astype(np.float32))
    return dataclasses.replace(
        recycled,
        source_checkpoint=[files["source_model"], tmp_path / "table.npy"],
        source_prompt=[files["prompt_path"], tmp_path / "of-table.npy"],
    )


def test_from_several_sources_it_is_to_the_bit_what_run_recycle_writes(
    files, several, target, run, tmp_path
):
    flags = {name: value for name, value in files.items() if name != "source_model"}
    arguments = [f"--{name}={value}" for name, value in flags.items()]
    arguments += [f"--source_model={path}" for path in several.source_checkpoint]
    arguments += [f"--prompt_path={several.source_prompt[1]}"]
    run_recycle.main(arguments)
    made = make_or_keep(several, target, LENGTH, tmp_path / "run")
    np.testing.assert_array_equal(made, np.load(files["output_path"]))
    record = load_record(tmp_path / "run/recycled_prompt/prompt.npy")
    assert len(record["mean_of"]) == 2
    declared = record["declared"]["source_checkpoint"]
    assert declared[0]["path"] == files["source_model"]
    assert [place["path"] for place in record["declared"]["source_prompt"]] == [
        str(path) for path in several.source_prompt
    ]


def test_several_sources_that_hold_their_prompts(
    several, target, tmp_path, write_orbax, source_table, prompt
):
    table, of_table = (np.load(tmp_path / f"{n}.npy") for n in ("table", "of-table"))
    both = [
        write_orbax(tmp_path / name, {EMBEDDING: table, PROMPT: tuned})
        for name, table, tuned in (
            ("a", source_table, prompt),
            ("b", table, of_table),
        )
    ]
    expected = several.make(target, LENGTH).array
    for prompts in (both, None):
        kind = dataclasses.replace(
            several, source_checkpoint=both, source_prompt=prompts
        )
        np.testing.assert_array_equal(kind.make(target, LENGTH).array, expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda kind: {"source_prompt": kind.source_prompt[:1]}, "2 source models and"),
        (
            lambda kind: {"source_checkpoint": [kind.source_checkpoint[0], "/gone"]},
            "/gone does not exist",
        ),
        (lambda kind: {"source_checkpoint": []}, "found an empty list"),
    ],
)
def test_mistakes_in_lists_are_reported(several, target, change, message):
    with pytest.raises(RecyclingError, match=message):
        dataclasses.replace(several, **change(several)).make(target, LENGTH)


def test_the_length_of_each_prompt_is_checked(several, target, tmp_path):
    np.save(tmp_path / "of-table.npy", np.ones((3, 7), np.float32))
    with pytest.raises(RecyclingError, match="of-table.npy has 3 vectors, but the mod"):
        several.make(target, LENGTH)


def test_nothing_to_recycle_is_reported(target):
    with pytest.raises(RecyclingError, match="RECYCLE_FROM is not set"):
        initial_prompts.Recycled().make(target, LENGTH)


# Others


def test_a_prompt_from_a_file_is_taken_as_it_is(target, tmp_path, rng):
    prompt = rng.normal(size=(LENGTH, TARGET_DIM)).astype(np.float32)
    np.save(tmp_path / "p.npy", prompt)
    made = initial_prompts.FromFile(tmp_path / "p.npy").make(target, LENGTH).array
    np.testing.assert_array_equal(made, prompt)


def test_a_prompt_of_another_model_is_not_taken_as_it_is(target, files):
    kind = initial_prompts.FromFile(files["prompt_path"])
    message = "width 12, but the model .* has width 20.*recycle it"
    with pytest.raises(RecyclingError, match=message):
        kind.make(target, LENGTH)


def test_a_file_of_another_length_is_reported(target, files):
    kind = initial_prompts.FromFile(files["prompt_path"])
    with pytest.raises(RecyclingError, match="Set --gin.PROMPT_LENGTH=5"):
        kind.make(target, LENGTH + 1)


def test_random_numbers_are_even_and_follow_the_seed(target):
    kind = initial_prompts.RandomUniform(seed=3)
    made = kind.make(target, 200).array
    assert made.shape == (200, TARGET_DIM)
    assert made.dtype == np.float32
    assert -0.5 <= made.min() < -0.49
    assert 0.49 < made.max() < 0.5
    np.testing.assert_array_equal(kind.make(target, 200).array, made)
    other = initial_prompts.RandomUniform(seed=4).make(target, 200).array
    assert (other != made).any()


def test_sampled_pieces_are_rows_of_the_table(target, target_table):
    prompt = initial_prompts.SampledVocabulary(seed=1).make(target, LENGTH)
    rows = prompt.record["rows"]
    np.testing.assert_array_equal(prompt.array, target_table[rows])
    assert len(set(rows)) == LENGTH
    assert min(rows) >= 3


def test_excluded_pieces_are_never_sampled(target):
    kind = initial_prompts.SampledVocabulary(population_size=8, exclude=(4, 5, 6))
    # 3 and 7 to 10 are left.
    prompt = kind.make(target, LENGTH)
    assert sorted(prompt.record["rows"]) == [3, 7, 8, 9, 10]


def test_a_vocabulary_smaller_than_the_prompt_is_drawn_from_repeatedly(target):
    kind = initial_prompts.SampledVocabulary(population_size=2)
    prompt = kind.make(target, LENGTH)
    assert set(prompt.record["rows"]) <= {3, 4}


def test_nothing_left_to_sample_from_is_reported(target):
    kind = initial_prompts.SampledVocabulary(population_size=1, exclude=(3,))
    with pytest.raises(RecyclingError, match="nothing to sample the prompt from"):
        kind.make(target, LENGTH)


def test_texts_become_the_means_of_their_pieces(
    target, target_table, vocabulary_file, pieces
):
    kind = initial_prompts.FromText(["w1 w2", "w7"], vocabulary_file)
    made = kind.make(target, LENGTH).array
    assert made.shape == (LENGTH, TARGET_DIM)
    mean = target_table[[pieces["w1"], pieces["w2"]]].mean(axis=0)
    np.testing.assert_allclose(made[0], mean, rtol=1e-6)
    np.testing.assert_array_equal(made[1], target_table[pieces["w7"]])
    # The rest is sampled.
    assert all((target_table == row).all(axis=1).any() for row in made[2:])


def test_more_texts_than_vectors_are_cut(target, vocabulary_file):
    kind = initial_prompts.FromText(["w1", "w2", "w3"], vocabulary_file)
    prompt = kind.make(target, 2)
    assert prompt.array.shape == (2, TARGET_DIM)
    assert prompt.record["texts"] == ["w1", "w2"]


@pytest.mark.parametrize(("rows", "fits"), [(103, True), (384, True), (9000, False)])
def test_texts_in_another_models_vocabulary(rng, vocabulary_file, caplog, rows, fits):
    target = open_model(rng.normal(size=(rows, TARGET_DIM)))
    kind = initial_prompts.FromText(["w1", "w2"], vocabulary_file)
    prompt = kind.make(target, 2)
    assert ("warnings" in prompt.record) != fits
    assert ("of another vocabulary" in caplog.text) != fits


def test_the_vocabulary_beside_the_model_is_the_default(
    target, target_table, vocabulary_file, pieces, files
):
    kind = initial_prompts.FromText(["w7"])
    with pytest.raises(RecyclingError, match="no vocabulary beside .*VOCABULARY_FILE"):
        kind.make(target, 1)
    shutil.copy(vocabulary_file, pathlib.Path(files["target_model"], "spiece.model"))
    made = kind.make(open_model(files["target_model"]), 1)
    np.testing.assert_array_equal(made.array, target_table[[pieces["w7"]]])


@pytest.mark.parametrize("texts", [[], ["w1", ""]])
def test_texts_without_a_piece_are_reported(target, vocabulary_file, texts):
    kind = initial_prompts.FromText(texts, vocabulary_file)
    with pytest.raises(RecyclingError, match="expected texts to begin the prompt"):
        kind.make(target, LENGTH)


@pytest.fixture
def vocabulary_file(tmp_path):

    words = [f"w{number}" for number in range(100)]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(words),
        model_prefix=str(tmp_path / "vocabulary"),
        model_type="word",
        vocab_size=len(words) + 3,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    return tmp_path / "vocabulary.model"


@pytest.fixture
def pieces(vocabulary_file):

    processor = sentencepiece.SentencePieceProcessor(model_file=str(vocabulary_file))
    return {f"w{n}": processor.encode(f"w{n}")[0] for n in range(100)}


# Gin


@pytest.fixture(autouse=True)
def no_gin():
    gin.clear_config()
    yield
    gin.clear_config()


def test_nothing_is_declared_by_default():
    assert initial_prompts.initial_prompt() is None


def test_only_an_initial_prompt_can_be_declared():
    with pytest.raises(RecyclingError, match="as in @initial_prompts.Recycled"):
        initial_prompts.initial_prompt("v2v-lin")


def test_gin_writes_them_as_users_name_them():
    gin.add_config_file_search_path(gin_path())
    gin.parse_config_files_and_bindings(
        ["prompts/random_uniform.gin"], None, finalize_config=False
    )
    assert initial_prompts.initial_prompt() == initial_prompts.RandomUniform()
    written = gin.config_str()
    assert "from prompt_tuning_recycling import initial_prompts\n" in written
    assert "initial_prompts.initial_prompt.kind = @initial_prompts.Random" in written
