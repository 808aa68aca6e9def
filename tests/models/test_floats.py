"""Embeddings and prompts are floating-point numbers, whatever they come out of."""

import ml_dtypes
import numpy as np
import pytest

from prompt_tuning_recycling import (
    Prompt,
    RecyclingError,
    Words,
    load_prompt,
    recycle_prompt,
)
from prompt_tuning_recycling.initial_prompts import FromText, SampledVocabulary
from prompt_tuning_recycling.models import open_checkpoint, open_model
from prompt_tuning_recycling.models.floats import coarsest, digest

from ..conftest import train_vocabulary

EMBEDDING = "target/token_embedder/embedding"
PROMPT = "target/encoder/prompt/prompt/prompt"
OTHERS = [np.uint16, np.int32, np.int8, np.bool_, ml_dtypes.float8_e4m3fn]
FLOATS = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64]


@pytest.fixture
def in_checkpoint(tmp_path, write_any):
    """Puts an array into a checkpoint, in each format in turn."""
    return lambda name, array: write_any(
        tmp_path / str(array.shape) / "step", {name: array}
    )


@pytest.fixture(params=["file", "array"])
def by_itself(request, tmp_path):
    """An array as it is, or in a numpy file."""

    def by_itself(name, array):
        del name
        if request.param == "array":
            return array
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.npy"
        np.save(path, array)
        return path

    return by_itself


def refuses(stored, arrays, which, dtype):
    # numpy writes eight-bit floats as bytes without a type.
    found = f"found dtype {np.dtype(dtype).name}|holds dtype .V1"
    name = PROMPT if which == "prompt" else EMBEDDING
    with pytest.raises(RecyclingError, match=found):
        given = {which: stored(name, np.abs(arrays[which]).astype(dtype))}
        recycle_prompt(**{**arrays, **given}, words=Words.from_rows(range(100)))


@pytest.fixture
def arrays(source_table, target_table, prompt):
    return {"source": source_table, "target": target_table, "prompt": prompt}


@pytest.mark.parametrize("dtype", OTHERS, ids=lambda dtype: np.dtype(dtype).name)
@pytest.mark.parametrize("which", ["source", "target", "prompt"])
class TestOtherNumbersAreRefused:
    def test_in_a_checkpoint(self, in_checkpoint, arrays, which, dtype):
        refuses(in_checkpoint, arrays, which, dtype)

    def test_by_themselves(self, by_itself, arrays, which, dtype):
        refuses(by_itself, arrays, which, dtype)


def reads(stored, arrays, dtype):
    wide = {n: a.astype(dtype).astype(np.float64) for n, a in arrays.items()}
    given = {
        name: stored(PROMPT if name == "prompt" else EMBEDDING, array.astype(dtype))
        for name, array in arrays.items()
    }
    recycled = recycle_prompt(**given, words=Words.from_rows(range(100)))
    best = np.linalg.lstsq(wide["source"][:100], wide["target"][:100])[0]
    np.testing.assert_allclose(
        recycled.array, wide["prompt"] @ best, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda dtype: np.dtype(dtype).name)
class TestFloatingPointNumbersAreRead:
    def test_in_a_checkpoint(self, in_checkpoint, arrays, dtype):
        reads(in_checkpoint, arrays, dtype)

    def test_by_themselves(self, by_itself, arrays, dtype):
        reads(by_itself, arrays, dtype)


@pytest.mark.parametrize("dtype", [">f4", ">f8"])
def test_of_any_byte_order(by_itself, arrays, dtype):
    reads(by_itself, arrays, dtype)


def test_bfloat16_stored_as_uint16_is_named_and_mended_as_the_message_says(
    tmp_path, write_legacy, prompt
):
    """As T5X stored it in version 2 of its checkpoints."""
    bfloat16 = prompt.astype(ml_dtypes.bfloat16)
    step = write_legacy(tmp_path / "checkpoint_1", {PROMPT: bfloat16.view(np.uint16)})
    message = r"found dtype uint16.*array\.view\(ml_dtypes\.bfloat16\)"
    with pytest.raises(RecyclingError, match=message):
        load_prompt(step)
    array = open_checkpoint(step).read(PROMPT)
    Prompt(array.view(ml_dtypes.bfloat16)).save(tmp_path / "mended")
    np.testing.assert_array_equal(load_prompt(tmp_path / "mended").array, bfloat16)


@pytest.mark.parametrize(
    "kind",
    [SampledVocabulary(), FromText(texts=["a film"], vocabulary="v.model")],
    ids=lambda kind: type(kind).__name__,
)
def test_prompts_are_not_made_of_whole_numbers(
    tmp_path, monkeypatch, write_legacy, source_table, kind
):
    monkeypatch.chdir(tmp_path)
    train_vocabulary(tmp_path / "v.model", ["a film", "the film"] * 20, 20)
    table = source_table.astype(np.int32)
    step = write_legacy(tmp_path / "checkpoint_1", {EMBEDDING: table})
    with pytest.raises(RecyclingError, match="found dtype int32"):
        kind.make(open_model(step), 1)


def test_the_coarsest():
    dtypes = [np.dtype(name) for name in (">f4", "f8", ml_dtypes.bfloat16, "f2")]
    assert coarsest(*dtypes) == ml_dtypes.bfloat16
    assert coarsest(*dtypes[:2]).name == "float32"


def test_a_digest_depends_on_the_numbers_not_on_their_layout():
    array = np.arange(6.0).reshape(2, 3)
    assert digest(array) == digest(np.asfortranarray(array))
    assert digest(array) != digest(array + 1)
