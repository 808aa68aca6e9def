"""`prompt-recycling inspect`: one page about any path."""

import json
import shutil

import numpy as np
import pytest
import safetensors.numpy

from prompt_tuning_recycling import inspect_path, run_recycle
from prompt_tuning_recycling.models.formats.base import Checkpoint
from prompt_tuning_recycling.models.vocabularies import Vocabulary
from prompt_tuning_recycling.words import Words

from .conftest import DEMO_MODELS, EMBEDDING, PROMPT

VOCABULARY = DEMO_MODELS / "vocabulary.model"
ROWS = 640


@pytest.fixture
def inspect(capsys):
    """The page about a path, by its labels; several of a kind are joined."""

    def inspect(path, *flags):
        capsys.readouterr()
        inspect_path.main([str(path), *flags])
        found = {}
        for line in capsys.readouterr().out.splitlines():
            label, text = line[:16].strip(), line[16:].strip()
            found[label] = f"{found[label]}\n{text}" if label in found else text
        return found

    return inspect


@pytest.fixture
def words():
    """The rows of the vocabulary's first words, and the words."""
    pieces = dict(enumerate(Vocabulary(VOCABULARY).pieces))
    return {
        row: p for row, p in pieces.items() if p and p[0] == "▁" and p[1:].isalpha()
    }


@pytest.fixture
def table(rng):
    return rng.normal(size=(ROWS, 12)).astype(np.float32)


@pytest.fixture
def arrays(table, words):
    """A model whose prompt is two of its words, twice as long."""
    prompt = 2 * table[list(words)[5:7]]
    step = np.asarray(9, np.int32)
    return {EMBEDDING: table, PROMPT: prompt, "state/step": step}


@pytest.fixture
def tuned(arrays, tmp_path, write_orbax):
    return write_orbax(tmp_path / "run/checkpoint_9", arrays)


def test_a_step_in_any_format(inspect, arrays, words, tmp_path, write_any):
    tuned = write_any(tmp_path / "run/checkpoint_9", arrays)
    page = inspect(tuned, f"--vocabulary={VOCABULARY}")
    assert page["Path"] == str(tuned)
    assert page["Format"].startswith("T5X")
    assert page["Layout"] == "T5X"
    assert page["Arrays"] == "3"
    assert page["Step"] == "9"
    assert page["Embeddings"] == EMBEDDING
    assert page["shape"] == "[640, 12], float32\n[2, 12], float32"
    assert page["scale"] == "1"
    assert page["Vocabulary"] == str(VOCABULARY)
    assert page["words"] == f"{len(words)} are compared"
    assert page["Prompt"] == f"encoder: {PROMPT}"
    norms = np.linalg.norm(arrays[PROMPT], axis=1)
    assert page["row norms"].splitlines()[1] == (
        f"{norms.min():.4g}, {norms.mean():.4g}, {norms.max():.4g} "
        "(smallest, median, largest)"
    )
    first, second = list(words.values())[5:7]
    assert page["vector 0"].startswith(f"{first} 1.00  ")
    assert page["vector 1"].startswith(f"{second} 1.00  ")
    assert "T5's vocabulary" not in page["nearest words"]


def test_a_model_dir_with_its_vocabulary(inspect, tuned):
    shutil.copy(VOCABULARY, tuned.parent / "sentencepiece.model")
    page = inspect(tuned.parent)
    assert page["Path"] == str(tuned)
    assert page["found in"] == str(tuned.parent)
    assert page["Vocabulary"] == str(tuned.parent / "sentencepiece.model")
    assert "vector 1" in page


def test_words_of_t5_are_taken_where_the_table_has_their_size(
    inspect, tmp_path, write_orbax, rng
):
    table = rng.normal(size=(32128, 4)).astype(np.float32)
    words = Words.from_list().fitted
    arrays = {EMBEDDING: table, PROMPT: table[words.source_rows[[7]]]}
    page = inspect(write_orbax(tmp_path / "checkpoint_1", arrays))
    assert page["Vocabulary"] == "no file beside it"
    assert page["nearest words"].endswith("if this is T5's vocabulary")
    assert page["vector 0"].startswith(f"{words.pieces[7]} 1.00")


def test_without_words(inspect, tuned):
    page = inspect(tuned)
    assert "no vocabulary file (--vocabulary)" in page["nearest words"]
    assert "vector 0" not in page


def test_only_the_rows_of_words_are_read(inspect, tuned, words, monkeypatch):
    taken = []
    take = Checkpoint.take

    def spy(self, name, rows):
        taken.append((name, len(rows)))
        return take(self, name, rows)

    monkeypatch.setattr(Checkpoint, "take", spy)
    monkeypatch.setattr(inspect_path, "NUM_WORDS", 50)
    inspect(tuned, f"--vocabulary={VOCABULARY}")
    assert taken == [(EMBEDDING, 50), (EMBEDDING, 50)]


def test_a_long_prompt_is_cut_short(inspect, tmp_path, write_orbax, table):
    arrays = {EMBEDDING: table, PROMPT: table[:40]}
    step = write_orbax(tmp_path / "checkpoint_1", arrays)
    page = inspect(step, f"--vocabulary={VOCABULARY}")
    assert "vector 9" in page and "vector 10" not in page
    assert any("30 more" in f"{label}{text}" for label, text in page.items())


def save_hf(folder, tensors, **config):
    folder.mkdir()
    safetensors.numpy.save_file(tensors, folder / "model.safetensors")
    if config:
        (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_a_model_that_multiplies_its_embeddings(inspect, tmp_path, rng):
    table = rng.normal(size=(ROWS, 16)).astype(np.float32)
    tensors = {"model.embed_tokens.weight": table}
    page = inspect(save_hf(tmp_path / "hf", tensors, model_type="gemma"))
    assert page["Format"] == "safetensors"
    assert page["Layout"] == "decoder of Hugging Face, gemma"
    assert page["Embeddings"] == "model.embed_tokens.weight"
    assert page["scale"] == "4"
    largest = 4 * np.linalg.norm(table, axis=1).max()
    assert f", {largest:.4g} (" in page["row norms"]
    assert page["Prompts"] == "none"
    assert "Step" not in page


def test_a_table_that_is_not_known(inspect, tmp_path, rng):
    tensors = {"some.weight": rng.normal(size=(ROWS, 16)).astype(np.float32)}
    folder = save_hf(tmp_path / "hf", tensors, model_type="another")
    page = inspect(folder)
    assert page["Layout"] == "unknown, model_type another"
    assert page["Embeddings"].startswith("not known: ")
    assert "some.weight [640, 16]" in page["Embeddings"]
    assert inspect(folder, "--embedding_name=some.weight")["Embeddings"] == (
        "some.weight"
    )


def test_a_numpy_prompt_beside_a_model(inspect, tuned, words, table, tmp_path):
    np.save(tmp_path / "prompt.npy", table[list(words)[3:4]])
    page = inspect(tmp_path / "prompt.npy")
    assert page["Layout"] == "a single array"
    assert page["Array"].startswith("a prompt [length, width]")
    assert "vector 0" not in page
    flags = f"--model={tuned}", f"--vocabulary={VOCABULARY}"
    page = inspect(tmp_path / "prompt.npy", *flags)
    assert page["vector 0"].startswith(f"{list(words.values())[3]} 1.00")
    np.save(tmp_path / "wide.npy", np.ones((2, 13), np.float32))
    page = inspect(tmp_path / "wide.npy", *flags)
    assert "have width 12" in page["nearest words"]


def test_a_numpy_table(inspect, tmp_path, rng):
    np.save(tmp_path / "table.npy", rng.normal(size=(5000, 4)))
    page = inspect(tmp_path / "table.npy")
    assert page["Array"] == "an embedding table"
    assert page["shape"] == "[5000, 4], float64"


def test_a_recycled_prompt_shows_its_record(inspect, files):
    run_recycle.main([f"--{name}={value}" for name, value in files.items()])
    page = inspect(files["output_path"])
    assert page["Record"] == f"{files['output_path']}.json"
    assert any("v2v-lin" in text for text in page.values())
    np.save(open(files["output_path"], "wb"), np.ones((2, 3)))  # noqa: SIM115
    page = inspect(files["output_path"])
    assert "does not belong to" in page["not used"]


@pytest.mark.parametrize("content", [b"", b"text", None])
def test_what_is_nothing_known_is_one_line(run, capsys, tmp_path, content):
    path = tmp_path / "file"
    if content is not None:
        path.write_bytes(content)

    def main(arguments):
        inspect_path.main([*arguments, str(path)])

    assert run(main, {}) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and len(error.splitlines()) == 1
    assert "expected a T5X checkpoint folder" in error


def test_a_damaged_prompt(run, capsys, tmp_path, write_orbax, table):
    step = write_orbax(
        tmp_path / "checkpoint_1", {EMBEDDING: table, PROMPT: table[:3]}, ocdbt=False
    )
    (chunk,) = step.glob("state/target.encoder.prompt.prompt.prompt/0.0")
    chunk.unlink()
    assert run(lambda flags: inspect_path.main([*flags, str(step)]), {}) == 1
    assert "cannot be read: a chunk of it" in capsys.readouterr().err
