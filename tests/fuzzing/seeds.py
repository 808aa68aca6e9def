"""Small files of every kind that the readers read, made by their own writers; and some
that T5X, transformers and PEFT wrote, where these are at hand.
"""

from __future__ import annotations

import functools
import io
import json
import os
import pathlib
import shutil
import struct
import tempfile
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import flax.serialization
import numpy as np
import safetensors.numpy
import tensorstore as ts
import tokenizers

from prompt_tuning_recycling import recyclers, recycling, run_folder
from prompt_tuning_recycling.evaluation import manifest, scores_file
from prompt_tuning_recycling.initial_prompts import FromText
from prompt_tuning_recycling.maps import Affine, Linear, Map, Mean, Network, save_map
from prompt_tuning_recycling.models import open_model
from prompt_tuning_recycling.models.layouts.hugging_face import t5_made
from prompt_tuning_recycling.records.recorder import Recorder
from prompt_tuning_recycling.words import Words, read_embeddings

from ..conftest import train_vocabulary

TABLE = "target.token_embedder.embedding"
"""The folder of an embedding table, as T5X names it."""

_ROWS, _SOURCE, _TARGET, _LENGTH = 16, 4, 5, 3


def _array(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def in_memory() -> pathlib.Path | None:
    """Returns a folder whose files are in memory; None if the system has none."""
    folder = pathlib.Path("/dev/shm")
    return folder if os.access(folder, os.W_OK) else None


@functools.cache
def _scratch() -> pathlib.Path:
    where = in_memory() if tempfile.tempdir is None else None
    folder = tempfile.TemporaryDirectory(prefix="seeds", dir=where)
    # It goes when the process ends.
    _KEPT.append(folder)
    return pathlib.Path(folder.name)


_KEPT: list[tempfile.TemporaryDirectory] = []


def _new(name: str) -> pathlib.Path:
    folder = _scratch() / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def _real(pattern: str, largest: int = 1 << 16) -> list[bytes]:
    """Returns the contents of small real files, where the folder of them is."""
    folder = os.environ.get("PROMPT_RECYCLING_DATA")
    found = sorted(pathlib.Path(folder).glob(pattern)) if folder else []
    return [file.read_bytes() for file in found if file.stat().st_size <= largest]


# Checkpoints


def states() -> Iterator[tuple[bytes]]:
    table, prompt = _array(_ROWS, _SOURCE), _array(_LENGTH, _SOURCE)
    reference = {"driver": "zarr", "kvstore": {"driver": "file", "path": "x/"}}
    inner: dict[str, Any] = {
        "target": {
            "token_embedder": {"embedding": table},
            "encoder": {"prompt": {"prompt": {"prompt": prompt}}, "norm": reference},
        },
        "state": {"step": np.int32(7), "loss_scale": 0.5, "empty": {}, "none": None},
    }
    for state in (inner, {"version": 3, "optimizer": inner}):
        yield (flax.serialization.msgpack_serialize(state),)
    largest = flax.serialization.MAX_CHUNK_SIZE
    try:
        flax.serialization.MAX_CHUNK_SIZE = 100
        yield (flax.serialization.msgpack_serialize(inner),)
    finally:
        flax.serialization.MAX_CHUNK_SIZE = largest
    bfloat16 = {"target": {"token_embedder": {"embedding": table.astype("bfloat16")}}}
    yield (flax.serialization.msgpack_serialize(bfloat16),)


def orbax_states() -> Iterator[tuple[bytes]]:
    tree = {
        "target": {
            "token_embedder": {"embedding": f"PLACEHOLDER://{TABLE}"},
            "encoder": {"prompt": {"prompt": {"prompt": _array(_LENGTH, _SOURCE)}}},
        },
        "state": {"step": np.int32(7)},
    }
    yield (flax.serialization.msgpack_serialize(tree),)


def orbax_arrays(folder: pathlib.Path) -> None:
    _write_zarr(folder / "state" / TABLE)


def folder_of_arrays(folder: pathlib.Path) -> None:
    (folder / "state" / TABLE).mkdir(parents=True)
    (folder / "state" / "_METADATA").write_text("{}")


def _write_zarr(folder: pathlib.Path, driver: str = "zarr", **metadata: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    shape = [_ROWS, _SOURCE]
    content = {"shape": shape, **metadata}
    if driver == "zarr":
        content = {"dtype": "<f4", "chunks": shape, **content}
    else:
        grid = {"name": "regular", "configuration": {"chunk_shape": shape}}
        content = {"data_type": "float32", "chunk_grid": grid, **content}
    store = {"driver": "file", "path": f"{folder}/"}
    spec = {"driver": driver, "kvstore": store, "metadata": content}
    table = _array(_ROWS, _SOURCE)
    ts.open(spec, create=True).result().write(table).result()


BLOSC_OF_ZARR2 = {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1}


def zarr2() -> Iterator[tuple[bytes, bytes]]:
    ids = ({"id": "gzip", "level": 1}, {"id": "zstd", "level": 1}, None)
    for compressor in (*ids, BLOSC_OF_ZARR2, {"id": "bz2", "level": 1}):
        folder = _new("zarr2")
        _write_zarr(folder, compressor=compressor, fill_value=None)
        yield (folder / ".zarray").read_bytes(), (folder / "0.0").read_bytes()


# Codecs of zarr 3.
LITTLE = {"name": "bytes", "configuration": {"endian": "little"}}
BLOSC: dict[str, Any] = {
    "name": "blosc",
    "configuration": {
        "cname": "lz4",
        "clevel": 5,
        "shuffle": "shuffle",
        "typesize": 4,
        "blocksize": 0,
    },
}


def zarr3() -> Iterator[tuple[bytes, bytes]]:
    packed = (
        {"name": "zstd", "configuration": {"level": 1}},
        {"name": "gzip", "configuration": {"level": 1}},
        BLOSC,
        {"name": "crc32c"},
    )
    sharded = {
        "name": "sharding_indexed",
        "configuration": {
            "chunk_shape": [4, _SOURCE],
            "codecs": [LITTLE, packed[0]],
            "index_codecs": [LITTLE, packed[3]],
        },
    }
    for codecs in ([LITTLE], *([LITTLE, one] for one in packed), [sharded]):
        folder = _new("zarr3")
        _write_zarr(folder, "zarr3", codecs=codecs)
        yield (folder / "zarr.json").read_bytes(), (folder / "c/0/0").read_bytes()


def blosc_bomb(size: int) -> bytes:
    """A chunk of a few kilobytes that Blosc unpacks to about `size` bytes: one block of
    zeros, again and again.
    """
    folder = _new("blosc")
    numbers = 1 << 18
    spec = {
        "driver": "zarr",
        "kvstore": {"driver": "file", "path": f"{folder}/"},
        "metadata": {
            "shape": [numbers],
            "chunks": [numbers],
            "dtype": "<f4",
            "compressor": BLOSC_OF_ZARR2,
            "fill_value": 1,
        },
    }
    ts.open(spec, create=True).result().write(np.zeros(numbers, np.float32)).result()
    packed = (folder / "0").read_bytes()
    flags, block = packed[:4], int.from_bytes(packed[8:12], "little")
    first, second = struct.unpack("<II", packed[16:24])
    blocks = size // block
    content = struct.pack("<I", 16 + 4 * blocks) * blocks + packed[first:second]
    sizes = struct.pack("<III", blocks * block, block, 16 + len(content))
    return flags + sizes + content


def ocdbt() -> Iterator[tuple[bytes, bytes, bytes, bytes]]:
    for compression in (None, {"id": "zstd", "level": 1}):
        folder = _new("ocdbt")
        settings = {"compression": compression, "max_inline_value_bytes": 1000}
        store = {
            "driver": "ocdbt",
            "base": {"driver": "file", "path": f"{folder}/"},
            "config": settings,
        }
        metadata = {"shape": [_ROWS, _SOURCE], "chunks": [8, _SOURCE], "dtype": "<f4"}
        spec = {
            "driver": "zarr",
            "kvstore": {**store, "path": f"{TABLE}/"},
            "metadata": metadata,
        }
        ts.open(spec, create=True).result().write(_array(_ROWS, _SOURCE)).result()
        # The root of the tree is the largest.
        node = max((folder / "d").iterdir(), key=lambda file: file.stat().st_size)
        name, content = node.name.encode(), node.read_bytes()
        yield name, b"{}", (folder / "manifest.ocdbt").read_bytes(), content


def numpy_files() -> Iterator[tuple[bytes]]:
    for array in (
        _array(_LENGTH, _SOURCE),
        _array(_LENGTH, _SOURCE).astype(np.float16),
        np.asfortranarray(_array(_LENGTH, _SOURCE).astype(np.float64)),
        _array(_LENGTH, _SOURCE).astype("bfloat16"),
        np.arange(6).reshape(2, 3),
        np.float32(1),
        np.zeros((0, 4), np.float32),
    ):
        file = io.BytesIO()
        np.save(file, array)
        yield (file.getvalue(),)


def _t5() -> dict[str, np.ndarray]:
    names = (
        "encoder/layers_0/attention/query/kernel",
        "decoder/layers_0/mlp/wi_0/kernel",
        "encoder/encoder_norm/scale",
        "encoder/relpos_bias/rel_embedding",
        "decoder/logits_dense/kernel",
    )
    return {
        "shared.weight": _array(_ROWS, _SOURCE),
        **{t5_made.stored_name(name)[0]: _array(_SOURCE, 2) for name in names},
    }


def safetensors_files() -> Iterator[tuple[bytes]]:
    yield (safetensors.numpy.save(_t5(), {"format": "pt"}),)
    yield (safetensors.numpy.save({"model.embed_tokens.weight": _array(4, 2)}),)
    others = {
        "a": np.arange(3),
        "b": np.ones((2, 2), bool),
        "c": np.float16(1) * np.ones(()),
        "empty": np.zeros((0, 2), np.float32),
    }
    yield (safetensors.numpy.save({k: np.asarray(v) for k, v in others.items()}),)
    for content in _real("hf_written/*/adapter_model.safetensors"):
        yield (content,)


_T5_SIZES = {
    "vocab_size": _ROWS,
    "emb_dim": _SOURCE,
    "num_heads": 2,
    "head_dim": 2,
    "mlp_dim": 8,
    "num_encoder_layers": 1,
    "num_decoder_layers": 1,
    "mlp_activations": ("gelu", "linear"),
}


def configs() -> Iterator[tuple[bytes]]:
    made = t5_made.configuration(
        _T5_SIZES, divides=False, has_output=True, dtype="float32"
    )
    yield (json.dumps(made).encode(),)
    gemma = {"model_type": "gemma3", "text_config": {"model_type": "gemma3_text"}}
    yield (json.dumps(gemma).encode(),)
    yield (b'{"model_type": "llama", "hidden_size": 4}',)
    for content in _real("hf_written/*/config.json"):
        yield (content,)


def t5_config(folder: pathlib.Path) -> None:
    made = t5_made.configuration(
        _T5_SIZES, divides=True, has_output=True, dtype="float32"
    )
    (folder / "config.json").write_text(json.dumps(made))


def t5_tensors(folder: pathlib.Path) -> None:
    (folder / "model.safetensors").write_bytes(next(safetensors_files())[0])


def shards(folder: pathlib.Path) -> None:
    t5_config(folder)
    for number, (name, tensor) in enumerate(list(_t5().items())[:2]):
        content = safetensors.numpy.save({name: tensor})
        (folder / f"model-{number}.safetensors").write_bytes(content)
    (folder.parent / "outside.safetensors").write_bytes(next(safetensors_files())[0])


def indices() -> Iterator[tuple[bytes]]:
    names = list(_t5())[:2]
    places = {name: f"model-{number}.safetensors" for number, name in enumerate(names)}
    index = {"metadata": {"total_size": 96}, "weight_map": places}
    yield (json.dumps(index).encode(),)
    for content in _real("hf_written/*/model.safetensors.index.json"):
        yield (content,)


def adapters() -> Iterator[tuple[bytes, bytes]]:
    prompt_tuning = {
        "peft_type": "PROMPT_TUNING",
        "task_type": "SEQ_2_SEQ_LM",
        "num_virtual_tokens": 3,
        "num_transformer_submodules": 2,
        "token_dim": 4,
        "base_model_name_or_path": "google/t5-v1_1-small",
        "modules_to_save": None,
    }
    tensors = safetensors.numpy.save({"prompt_embeddings": _array(6, 4)})
    yield json.dumps(prompt_tuning).encode(), tensors
    of_tasks = {
        **prompt_tuning,
        "peft_type": "MULTITASK_PROMPT_TUNING",
        "num_tasks": 2,
        "num_ranks": 1,
    }
    arrays = {
        "prompt_embeddings": _array(6, 4),
        "prefix_task_cols": _array(2, 6, 1),
        "prefix_task_rows": _array(2, 1, 4),
    }
    yield json.dumps(of_tasks).encode(), safetensors.numpy.save(arrays)
    yield from zip(
        _real("hf_written/peft_*/adapter_config.json"),
        _real("hf_written/peft_*/adapter_model.safetensors"),
        strict=False,
    )


def any_files() -> Iterator[tuple[bytes, bytes]]:
    yield from (
        (next(numpy_files())[0], b"prompt"),
        (next(safetensors_files())[0], b".safetensors"),
        (next(indices())[0], b".safetensors.index.json"),
        (next(states())[0], b"checkpoint"),
        (b"\x80\x04}", b"model.bin"),
        (b"PK\x03\x04", b"model.npz"),
        (b"version https://git-lfs.github.com/spec/v1\n", b".safetensors"),
    )


# Words


@functools.cache
def _vocabulary() -> bytes:
    path = _new("vocabulary") / "v.model"
    texts = ["the film is good", "the film is bad", "a word or two"] * 20
    train_vocabulary(path, texts, 40)
    return path.read_bytes()


def sentencepieces() -> Iterator[tuple[bytes]]:
    yield (_vocabulary(),)


def tokenizer_files() -> Iterator[tuple[bytes]]:
    from tokenizers import decoders, models, normalizers, pre_tokenizers

    texts = ["the film is good", "the film is bad"] * 5
    byte_level = tokenizers.Tokenizer(models.BPE())
    byte_level.pre_tokenizer = pre_tokenizers.ByteLevel()
    byte_level.decoder = decoders.ByteLevel()
    byte_level.train_from_iterator(
        texts, tokenizers.trainers.BpeTrainer(vocab_size=40, show_progress=False)
    )
    unigram = tokenizers.Tokenizer(
        models.Unigram([("<unk>", 0.0), ("\u2581the", -1.0), ("s", -2.0)], unk_id=0)
    )
    unigram.pre_tokenizer = pre_tokenizers.Metaspace()
    pieces = {"[UNK]": 0, "the": 1, "##s": 2, "film": 3}
    word_piece = tokenizers.Tokenizer(models.WordPiece(pieces, unk_token="[UNK]"))
    word_piece.normalizer = normalizers.Lowercase()
    for one in (byte_level, unigram, word_piece):
        yield (one.to_str().encode(),)


def word_lists() -> Iterator[tuple[bytes]]:
    words = {str(3 + i): f"\u2581word{i}" for i in range(12)}
    yield (json.dumps(words, ensure_ascii=False).encode(),)
    yield (b'{"1": "a", "2": "b", "7": "c"}',)


# Records of the package


@functools.cache
def tiny_models() -> tuple[str, str, str]:
    """Paths of a source model, a prompt for it, and a target model."""
    folder = _new("models")
    found = []
    for name, array in (
        ("source", _array(_ROWS, _SOURCE)),
        ("prompt", _array(_LENGTH, _SOURCE, seed=1)),
        ("target", _array(_ROWS, _TARGET, seed=2)),
    ):
        path = folder / name
        with path.open("wb") as file:
            np.save(file, array)
        found.append(os.fspath(path))
    return found[0], found[1], found[2]


def recycler() -> recyclers.Recycler:
    return recyclers.make("procrustes")


@functools.cache
def _recycled(name: str) -> recycling.RecycledPrompt:
    source, prompt, target = tiny_models()
    words = Words.from_rows(range(10), range(10, 14))
    return recycling.recycle_prompt(
        source, target, prompt, words=words, recycler=recyclers.make(name)
    )


def kept(folder: pathlib.Path) -> None:
    """A prompt that a run keeps, in the folder of recycled ones."""
    _recycled("procrustes").save(folder / "recycled_prompt" / "prompt.npy")


def records() -> Iterator[tuple[bytes]]:
    for name in ("procrustes", "v2v-lin", "sparse"):
        record = dict(_recycled(name).record)
        record["declared"] = {"kind": "Recycled", "recycler": name}
        yield (json.dumps({**record, "file_sha256": "@DIGEST@"}).encode(),)
    mean = {
        "mean_of": [dict(_recycled("procrustes").record)],
        "row_norms": {"recycled_prompt": {"min": 1.0, "median": 2.0, "max": 3.0}},
        "file_sha256": "@DIGEST@",
    }
    yield (json.dumps(mean).encode(),)


def map_records() -> Iterator[tuple[bytes]]:
    record = {**_of_map()[1], "seconds": {"fit": 0.1}}
    yield (json.dumps(record).encode(),)


def fitted(folder: pathlib.Path) -> None:
    """A map that a sweep has fitted; its record is `map.json`."""
    save_map(_of_map()[0], folder / "map")


@functools.cache
def _of_map() -> tuple[Map, Mapping[str, Any]]:
    source, _, target = tiny_models()
    words = Words.from_rows(range(10), range(10, 14))
    (embedded,) = read_embeddings(open_model(source), open_model(target), [words])
    fit = recycler().fit(*embedded.fitted)
    return fit.map, Recorder(embedded).of_fit(recycler(), fit)


def manifests() -> Iterator[tuple[bytes]]:
    file = _new("manifest") / "m.json"
    evaluations = (
        manifest.Evaluation("/out/a", prompt="/prompts/a.npy"),
        manifest.Evaluation("/out/b", random_prompt=0),
        manifest.Evaluation("/out/c", no_prompt=True),
    )
    manifest.write(file, evaluations)
    yield (file.read_bytes(),)
    scored = manifest.Evaluation("/out/d", prompt="/p", scores_only=True)
    manifest.write(file, (*evaluations, scored), [scores_file.Drawing()])
    yield (file.read_bytes(),)


def run_starts() -> Iterator[tuple[bytes]]:
    folder = _new("start")
    for checkpoint, kinds in (
        ("/models/a", {"encoder": FromText(["a", "b"])}),
        (None, {}),
    ):
        run_folder.write_start(folder, run_folder.Start.of(7, checkpoint, kinds, 0))
        yield ((folder / "run_start.json").read_bytes(),)


def scores() -> Iterator[tuple[bytes]]:
    file = _new("scores") / "s.json"
    for rows, same in (
        ([[-0.1, -2.0], [-1.0, -0.5]], True),
        ([[-0.1, float("nan")], [-float("inf"), -1, -2]], False),
    ):
        arrays = [np.array(row) for row in rows]
        made = scores_file.Scores(arrays, {"task": "toy"}, "0" * 64, same, "1" * 64)
        scores_file.write(file, made)
        yield (file.read_bytes(),)


def unlabeled() -> Any:
    """As much of `choosing.unlabeled.Unlabeled` as a teacher's file is checked by."""
    return types.SimpleNamespace(
        digest="0" * 64,
        has_choices=True,
        sizes=[2, 2],
        inputs=[[1], [2]],
        origin={"task": "toy"},
    )


def unlabeled_without_choices() -> Any:
    return types.SimpleNamespace(**{**vars(unlabeled()), "has_choices": False})


def teachers() -> Iterator[tuple[bytes]]:
    common = {
        "format": "prompt_tuning_recycling/teacher/1",
        "unlabeled": {"task": "toy"},
        "unlabeled_sha256": "0" * 64,
        "teacher": {"source": "/models/a"},
    }
    for answers in (
        {"probabilities": [[0.25, 0.75], [1.0, 0.0]]},
        {"answers": [[3, 1], [5, 6, 1]]},
    ):
        yield (json.dumps({**common, **answers}).encode(),)


def metrics() -> Iterator[tuple[bytes, bytes]]:
    lines = b'{"step": 5, "accuracy": 50.0}\n{"step": 10, "accuracy": 51.5, "n": 3}\n'
    yield lines, b'{"fingerprint": "00"}\n'


def maps() -> Iterator[tuple[bytes]]:
    file = _new("map") / "m"
    linear = Linear(_array(_SOURCE, _TARGET).astype(np.float64))
    affine = Affine(linear.matrix, np.zeros(_TARGET))
    for map_ in (
        linear,
        affine,
        Mean((linear, affine)),
        Network(_array(4, 8), _array(8), _array(8, 5), _array(5)),
        *(_recycled(name).fit.map for name in ("local", "sparse", "soft-nearest")),
        *(_recycled(name).fit.map for name in ("lin-comb", "relative", "procrustes")),
        _recycled("copy").fit.map if _SOURCE == _TARGET else linear,
    ):
        save_map(map_, file, {"recycler": {"name": "x"}})
        yield (file.read_bytes(),)


def scheduler_notes() -> Iterator[tuple[bytes]]:
    address = {"address": "tcp://10.0.0.7:8786"}
    yield (json.dumps({**address, "process": 7}).encode(),)
    # Not written to its end.
    yield (json.dumps(address).encode(),)


# Configurations and data


@functools.cache
def sweep() -> bytes:
    models = ("Seed 0", "Large")
    runs = {"run 1": "@FOLDER@/tuned/1", "run 2": "@FOLDER@/tuned/2"}
    content: dict[str, Any] = {
        "root_dir": "@FOLDER@/sweep",
        "dataset": "toy",
        "task_name": "toy_task",
        "clobber": False,
        "steps": [5, 10],
        "combination_skips": [["Seed 0", "Large"]],
        "load_embeddings": {
            "default": {
                "word_list_path": "@FOLDER@/words.json",
                "num_words": 5,
                "word_offset": 1,
            },
            "from_string": {"string": "the film", "vocab_file": "@FOLDER@/v"},
        },
        "recycling_methods": {
            "jax-nn": {"__init__": {"hidden_scale": 2}, "fit": {"epochs": 2}},
            "mine": {"recycler": "v2v-lin", "__init__": {"rcond": 1e-3}},
            "local": {},
            "chosen": {"choose": {"candidates": ["mine", "local"], "teacher": False}},
        },
        "pretrained": {model: f"@FOLDER@/{model}.npy" for model in models},
        "vocabularies": {"Large": "@FOLDER@/v"},
        "prompts": {model: {"rand": runs, "wayward": runs} for model in models},
        "prompt_file": "encoder.prompt.prompt.prompt",
        "baselines": {"random_prompts": 2, "untuned_step": 0},
    }
    for model in models:
        own = {run: f"{path}-{model}" for run, path in runs.items()}
        content["prompts"][model] = {
            "rand": own,
            "wayward": {run: f"{path}-w" for run, path in own.items()},
        }
    return json.dumps(content, indent=1).encode()


def sweeps() -> Iterator[tuple[bytes]]:
    yield (sweep(),)


def sweep_words(folder: pathlib.Path) -> None:
    (folder / "words.json").write_bytes(next(word_lists())[0])
    (folder / "v").write_bytes(_vocabulary())


def tsv() -> Iterator[tuple[bytes]]:
    yield (b"inputs\ttargets\tchoices\ngood film\t1\t0|1\nbad film\t0\t0|1\n",)
    yield (b"id\ttargets\tinputs\r\n1\tyes\tis it?\r\n\r\n2\tno\tis it not?",)


def jsonl() -> Iterator[tuple[bytes]]:
    yield (
        b'{"inputs": "good film", "targets": 1, "choices": [0, 1]}\n'
        b'{"inputs": "bad", "targets": ["no", "bad"]}\n',
    )


def command_lines() -> Iterator[tuple[bytes]]:
    for line in (
        "run_recycle --source_model=a --target_model=b --prompt_path=c --output_path=d",
        "run_recycle --source_model a b --target_model=b --prompt_path c d "
        "--output_path=d --recycler=sparse --num_words=all --report",
        "run_recycle --source_model=a --target_model=b --prompt_path=c --output_path=d "
        "--recycler=v2v-nn --epochs=3 --learning_rate=0.1 --word_offset=5 --task=1",
        "recycle --config=c.json --recycle=false --workers=2 --scheduler=tcp://a:1",
        "collect --config=c.json --training=false --metric=f1",
        "report --config=c.json",
        "convert --from=a --to=b --dtype=float32",
        "inspect prompt.npy --model=m",
        "filter --vocabulary=v --output_path=w",
        "eval --gin_file=a.gin --gin.BATCH_SIZE=3 --gin_bindings=X=1 --dry_run",
    ):
        yield (line.replace(" ", "\n").encode(),)


def gin_lines() -> Iterator[tuple[bytes]]:
    lines: Sequence[str] = (
        "BATCH_SIZE = 3",
        "RECYCLE_FROM = ['/a', '~/b']",
        "TASK_FEATURE_LENGTHS = {'inputs': 128, 'targets': 8}",
        "TASK_FILES = {'train': 'a.tsv', 'validation': ['b.tsv']}",
        "VERBALIZERS = ('negative', 'positive')",
        "PROMPT_REGEX = ['.*/prompt/.*']",
        "LEARNING_RATE = 0.3",
        "LOSS_NORMALIZING_FACTOR = 'AVERAGE_PER_SEQUENCE'",
        "MODEL_DIR = '/nowhere/run'",
        "INITIAL_CHECKPOINT_PATH = '/nowhere/model'",
        "NUM_WORDS = 'auto'",
        "DROPOUT_RATE = %LABEL_SMOOTHING",
        "LABEL_SMOOTHING = 0.1",
        "UNUSED_MACROS = ['X']",
    )
    yield ("\n".join(lines).encode(),)
    for line in lines:
        yield (line.encode(),)
