"""Whatever is wrong: one clear message, no traceback, no output, an exit code."""

import os
import pathlib
import pickle
import subprocess
import sys

import msgpack
import numpy as np
import pytest

from prompt_tuning_recycling import run_recycle

from .conftest import thorough

EMBEDDING = "target.token_embedder.embedding"
EMPTY_STATE = msgpack.packb({"version": 3, "optimizer": {"target": {}}})


def save(path, array, **options):
    with open(path, "wb") as file:
        np.save(file, array, **options)
    return str(path)


def write(path, content):
    path.write_bytes(content)
    return str(path)


def made(folder):
    folder.mkdir()
    return str(folder)


def circle(path):
    path.symlink_to(path)
    return str(path)


def spoiled(table, value):
    table = table.copy()
    table[100, 3] = value
    return table


# Each entry: what is done to the files (flags to change), and what the message says.
# `d` is the folder, `s` the source's table [384, 12].
BAD_FLAGS = {
    "source that is not there": (
        lambda d, s: {"source_model": str(d / "nowhere")},
        "nowhere does not exist; expected a T5X checkpoint",
    ),
    "step that is not there": (
        lambda d, s: {"source_model": str(d / "source/checkpoint_8")},
        "Steps there: checkpoint_7",
    ),
    "target that is not there": (
        lambda d, s: {"target_model": str(d / "nowhere")},
        "nowhere does not exist",
    ),
    "prompt that is not there": (
        lambda d, s: {"prompt_path": str(d / "nowhere.npy")},
        "nowhere.npy does not exist",
    ),
    "empty path": (lambda d, s: {"source_model": ""}, "path is empty"),
    "folder without a checkpoint": (
        lambda d, s: {"source_model": str(d)},
        "is not a checkpoint and holds no complete one",
    ),
    "unknown kind of address": (
        lambda d, s: {"source_model": "ftp://host/model"},
        "found ftp://",
    ),
    "misspelt parameter": (
        lambda d, s: {"embedding_name": "target/token_embeder/embedding"},
        "Did you mean target/token_embedder/embedding?",
    ),
    "checkpoint without a prompt": (
        lambda d, s: {"prompt_path": str(d / "source")},
        "holds no prompt: expected a parameter target/encoder/prompt/prompt/prompt",
    ),
    "prompt of another width": (
        lambda d, s: {"prompt_path": save(d / "p", np.ones((100, 13), np.float32))},
        "has width 13 (shape [100, 13]), but the source model",
    ),
    "prompt of one dimension": (
        lambda d, s: {"prompt_path": save(d / "p", np.ones(12, np.float32))},
        "expected a matrix [length, width], found shape [12]",
    ),
    "prompt of three dimensions": (
        lambda d, s: {"prompt_path": save(d / "p", np.ones((1, 5, 12), np.float32))},
        "expected a matrix [length, width], found shape [1, 5, 12]",
    ),
    "prompt of length zero": (
        lambda d, s: {"prompt_path": save(d / "p", np.ones((0, 12), np.float32))},
        "found shape [0, 12]",
    ),
    "prompt of whole numbers": (
        lambda d, s: {"prompt_path": save(d / "p", np.ones((5, 12), np.int64))},
        "expected floating-point numbers, found dtype int64",
    ),
    "prompt that is not finite": (
        lambda d, s: {"prompt_path": save(d / "p", np.full((5, 12), np.nan))},
        "numbers that are not finite, first in row 0",
    ),
    "prompt of objects": (
        lambda d, s: {
            "prompt_path": save(d / "p", np.array([{}], object), allow_pickle=True)
        },
        "not a numpy file of numbers",
    ),
    "pickle posing as a numpy file": (
        lambda d, s: {
            "prompt_path": write(d / "p.npy", pickle.dumps(np.ones((5, 12))))
        },
        "is a pickle, which is never loaded",
    ),
    "prompt in a zip archive": (
        lambda d, s: {"prompt_path": write(d / "p.npz", b"PK\x03\x04, then more")},
        "is a zip archive",
    ),
    "prompt cut short": (
        lambda d, s: {
            "prompt_path": write(d / "p", (d / "prompt.npy").read_bytes()[:-4])
        },
        "cut short",
    ),
    "empty prompt file": (
        lambda d, s: {"prompt_path": write(d / "p", b"")},
        "of no known format",
    ),
    "word list that is not there": (
        lambda d, s: {"filtered_word": str(d / "nowhere.json")},
        "cannot read the word list",
    ),
    "word list that is not JSON": (
        lambda d, s: {"filtered_word": write(d / "w", b'{"5": "a",')},
        "is malformed: expected JSON",
    ),
    "word list of another layout": (
        lambda d, s: {"filtered_word": write(d / "w", b'["a", "b"]')},
        "is malformed or empty: expected JSON",
    ),
    "negative word index": (
        lambda d, s: {"filtered_word": write(d / "w", b'{"-5": "a", "6": "b"}')},
        "found the entry '-5': 'a'",
    ),
    "word index beyond the vocabulary": (
        lambda d, s: {
            "filtered_word": write(d / "w", b'{"5": "a", "384": "b"}'),
            "word_offset": "0",
            "num_words": "2",
        },
        "row 384 of target/token_embedder/embedding was asked for",
    ),
    "too few words for the offset": (
        lambda d, s: {"word_offset": "299"},
        "too few to skip 299 and take 200",
    ),
    "negative offset": (
        lambda d, s: {"word_offset": "-1"},
        "word_offset of at least 0",
    ),
    "one word": (lambda d, s: {"num_words": "1"}, "num_words of at least 2"),
    "number that is none": (
        lambda d, s: {"num_words": "many"},
        "expected a number, all or auto, found 'many'",
    ),
    "unknown recycler": (
        lambda d, s: {"recycler": "v2v-line"},
        "no recycler 'v2v-line'. Did you mean v2v-lin",
    ),
    "no epochs": (
        lambda d, s: {"recycler": "v2v-nn", "epochs": "0"},
        "expected epochs to be a whole number of at least 1, got 0",
    ),
    "negative batch": (
        lambda d, s: {"recycler": "v2v-nn", "batch_size": "-50"},
        "expected batch_size to be a whole number of at least 1, got -50",
    ),
    "no hidden layer": (
        lambda d, s: {"recycler": "v2v-nn", "hidden_scale": "0"},
        "expected hidden_scale",
    ),
    "negative learning rate": (
        lambda d, s: {"recycler": "v2v-nn", "learning_rate": "-1"},
        "expected learning_rate to be above 0",
    ),
    "learning rate at which training diverges": (
        lambda d, s: {"recycler": "v2v-nn", "learning_rate": "1e30"},
        "diverged. Lower learning_rate",
    ),
    "negative seed": (
        lambda d, s: {"recycler": "v2v-nn", "seed": "-1"},
        "expected seed",
    ),
    "flag of another recycler": (
        lambda d, s: {"temperature": "0.1"},
        "the recycler v2v-lin has no parameter for --temperature. Its flags: --rcond",
    ),
    "flags of another recycler than one without any": (
        lambda d, s: {"recycler": "procrustes", "k": "3", "rcond": "0.1"},
        "procrustes has no parameter for --rcond, --k. Its flags: none",
    ),
    "parameter that is no number": (
        lambda d, s: {"recycler": "sparse", "k": "few"},
        "expected --k to be a whole number, found 'few'",
    ),
    "no words to write a vector in": (
        lambda d, s: {"recycler": "sparse", "k": "0"},
        "expected k to be a whole number of at least 1, got 0",
    ),
    "temperature of zero": (
        lambda d, s: {"recycler": "soft-nearest", "temperature": "0"},
        "expected temperature to be above 0",
    ),
    "unknown recycler in a mean": (
        lambda d, s: {"recycler": "mean", "recyclers": "procrustes,sparce"},
        "no recycler 'sparce'. Did you mean sparse",
    ),
    "copy between widths": (
        lambda d, s: {"recycler": "copy"},
        "found 12 in the source and 20 in the target. Use one that maps between",
    ),
    "rcond above one": (lambda d, s: {"rcond": "2"}, "expected rcond"),
    "embeddings that are not finite": (
        lambda d, s: {"source_model": save(d / "t", spoiled(s, np.inf))},
        "source's embeddings have numbers that are not finite, first for word 87",
    ),
    "target's embeddings that are not finite": (
        lambda d, s: {"target_model": save(d / "t", spoiled(s, np.nan))},
        "target's embeddings have numbers that are not finite",
    ),
    "embeddings that are all the same": (
        lambda d, s: {"source_model": save(d / "t", np.ones_like(s))},
        "source's embeddings are the same for all 200 words",
    ),
    "models of different vocabularies": (
        lambda d, s: {"target_model": save(d / "t", s[:200])},
        "has 384 embeddings and the target",
    ),
    "embedding table of one dimension": (
        lambda d, s: {"target_model": save(d / "t", s[:, 0])},
        "to be a table [vocabulary, width], found shape [384]",
    ),
    "output that is a folder": (
        lambda d, s: {"output_path": str(d / "source")},
        "is a folder. Expected the name of a file",
    ),
    "output below a file": (
        lambda d, s: {"output_path": str(d / "prompt.npy" / "out")},
        "is a file, not a folder",
    ),
    "word index beyond all numbers": (
        lambda d, s: {
            "filtered_word": write(d / "w", b'{"99999999999999999999": "a", "6": "b"}')
        },
        "found the entry '99999999999999999999'",
    ),
    "word index of 5,000 digits": (
        lambda d, s: {"filtered_word": write(d / "w", b'{"%s": "a"}' % (b"9" * 5000))},
        "found the entry '9999",
    ),
    "piece of 5,000 digits": (
        lambda d, s: {"filtered_word": write(d / "w", b'{"5": %s}' % (b"9" * 5000))},
        "is malformed: expected JSON",
    ),
    "word list that is too deep": (
        lambda d, s: {"filtered_word": write(d / "w", b"[" * 100_000)},
        "is malformed: expected JSON",
    ),
    "half a character among the words": (
        lambda d, s: {"filtered_word": write(d / "w", b'{"5": "\\ud800", "6": "b"}')},
        "entry 5: expected text in UTF-8, found '\\ud800'",
    ),
    "half a character in the text": (
        lambda d, s: {"words_of_text": "a \udcff", "vocabulary": str(d / "v")},
        "expected text in UTF-8, found '\\udcff'",
    ),
    "output whose name is not UTF-8": (
        lambda d, s: {"output_path": str(d / "\udcff")},
        "expected a name in UTF-8",
    ),
    "input whose name is not UTF-8": (
        lambda d, s: {"source_model": save(d / "\udcff", s)},
        "expected a name in UTF-8",
    ),
    "word list in a folder whose name is not UTF-8": (
        lambda d, s: {"filtered_word": str(d / "\udcff" / "words.json")},
        "expected a name in UTF-8",
    ),
    "null character in a name": (
        lambda d, s: {"prompt_path": "prompt\0.npy"},
        "no file's name has a null character",
    ),
    "output whose record's name is too long": (
        lambda d, s: {"output_path": str(d / ("a" * 252))},
        ".json: File name too long",
    ),
    "output whose record is a folder": (
        lambda d, s: {"output_path": made(d / "o.json").removesuffix(".json")},
        "o.json: it is a folder",
    ),
    "input whose name is too long": (
        lambda d, s: {"source_model": str(d / ("a" * 300))},
        "File name too long",
    ),
    "link in a circle": (
        lambda d, s: {"target_model": circle(d / "l")},
        "Too many levels of symbolic links",
    ),
    "output in a circle": (
        lambda d, s: {"output_path": circle(d / "l") + "/out"},
        "Too many levels of symbolic links",
    ),
    "word list in a circle": (
        lambda d, s: {"filtered_word": circle(d / "l")},
        "Too many levels of symbolic links",
    ),
    "home folder of nobody": (
        lambda d, s: {"source_model": "~no-such-user/model"},
        "there is no user 'no-such-user'",
    ),
    "empty output": (lambda d, s: {"output_path": ""}, "output path is empty"),
    "recycler's file in no folder": (
        lambda d, s: {"save_recycler": str(d / "prompt.npy" / "map")},
        "is a file, not a folder",
    ),
    "text without a vocabulary": (
        lambda d, s: {"words_of_text": "a movie"},
        "--words_of_text needs --vocabulary",
    ),
    "vocabulary that is none": (
        lambda d, s: {"words_of_text": "a movie", "vocabulary": str(d / "prompt.npy")},
        "expected a SentencePiece model",
    ),
    "misspelt flag": (lambda d, s: {"recylcer": "v2v-nn"}, "--recylcer"),
}


def damage_target(step: pathlib.Path, kind: str) -> None:
    chunk = step / EMBEDDING / "0.0"
    state = step / "checkpoint"
    if kind == "chunk cut short":
        chunk.write_bytes(chunk.read_bytes()[:-500])
    elif kind == "missing chunk":
        chunk.unlink()
    elif kind == "corrupt msgpack":
        state.write_bytes(b"\xc1" + state.read_bytes())
    elif kind == "msgpack cut short":
        state.write_bytes(state.read_bytes()[:-9])
    elif kind == "missing parameter":
        state.write_bytes(EMPTY_STATE)
    elif kind == "corrupt array description":
        (step / EMBEDDING / ".zarray").write_text("{")


DAMAGE = {
    "chunk cut short": "damaged. Copy the checkpoint again",
    "missing chunk": "a chunk of it is missing or damaged. Copy the checkpoint again",
    "corrupt msgpack": "is not the msgpack of a T5X checkpoint, or is damaged",
    "msgpack cut short": "is not the msgpack of a T5X checkpoint, or is damaged",
    "missing parameter": "has no parameter 'target/token_embedder/embedding'",
    "corrupt array description": "missing or damaged",
}


def check(code, captured, message, files):
    assert code != 0
    assert message in captured.err
    assert "Traceback" not in captured.err + captured.out
    assert sum("error:" in line for line in captured.err.splitlines()) == 1
    assert "wrote" not in captured.out
    output = pathlib.Path(files["output_path"] or "nothing")
    assert not os.path.isfile(output)
    assert not list(output.parent.glob("*.tmp")) + list(output.parent.glob(".*.tmp"))
    assert not os.path.isfile(f"{output}.json")


@pytest.mark.slow
@pytest.mark.parametrize("case", BAD_FLAGS)
def test_bad_flags(run, files, tmp_path, source_table, capsys, case):
    change, message = BAD_FLAGS[case]
    flags = {**files, **change(tmp_path, source_table)}
    check(run(run_recycle.main, flags), capsys.readouterr(), message, flags)


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_checkpoint(run, files, tmp_path, capsys, kind):
    damage_target(tmp_path / "target" / "checkpoint_9", kind)
    check(run(run_recycle.main, files), capsys.readouterr(), DAMAGE[kind], files)


@pytest.mark.parametrize(
    "required", ["source_model", "target_model", "prompt_path", "output_path"]
)
def test_missing_flag(run, files, capsys, required):
    flags = {name: value for name, value in files.items() if name != required}
    check(run(run_recycle.main, flags), capsys.readouterr(), f"--{required}", files)


PROGRAM = [sys.executable, "-m", "prompt_tuning_recycling.run_recycle"]


def as_program(flags, **environment):
    return subprocess.run(
        PROGRAM + [f"--{name}={value}" for name, value in flags.items()],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


def test_as_a_program_of_its_own(files):
    """The exit code and the message as a shell sees them."""
    done = as_program({**files, "recycler": "v2v-line"})
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: there is no recycler 'v2v-line'")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("platform", [thorough("cuda"), "no-such-platform"])
def test_a_platform_that_jax_does_not_find(files, platform):
    flags = {**files, "recycler": "v2v-nn", "epochs": "1"}
    done = as_program(flags, JAX_PLATFORMS=platform)
    if platform == "cuda" and done.returncode == 0:
        pytest.skip("this machine has a GPU")
    assert done.returncode == 1
    assert f"It was told to use JAX_PLATFORMS={platform}: unset" in done.stderr
    assert "Traceback" not in done.stderr
    assert not os.path.exists(files["output_path"])
    # Linear recyclers do without JAX.
    assert as_program(files, JAX_PLATFORMS=platform).returncode == 0
