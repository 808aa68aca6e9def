"""What was found while fuzzing, by the fuzzer or by trying what it cannot reach soon.
Each of these inputs once made a reader raise an error that is not ours, take seconds,
take far too much memory, or end the process.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Mapping
from typing import Any

import msgpack
import numpy as np
import safetensors.numpy

from . import mutations, seeds

Made = bytes | Callable[[], bytes]
"""An input, or what makes one that is too long to be written here."""


def _numpy(header: str) -> bytes:
    text = header.encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(48)


def _state(state: Any) -> bytes:
    return bytes(msgpack.packb(state))


def _zarr2(chunk: bytes = b"abcd", **changed: Any) -> bytes:
    metadata = {
        "zarr_format": 2,
        "shape": [4, 4],
        "chunks": [4, 4],
        "dtype": "<f4",
        "compressor": None,
        "fill_value": None,
        "order": "C",
        "filters": None,
        **changed,
    }
    return json.dumps(metadata).encode() + mutations.SEPARATOR + chunk


def _zarr3(
    codecs: list[Any], shape: list[int], chunk: list[int], content: bytes = b"abcd"
) -> bytes:
    metadata = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": shape,
        "data_type": "float32",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}},
        "chunk_key_encoding": {"name": "default"},
        "fill_value": 0,
        "codecs": codecs,
    }
    return json.dumps(metadata).encode() + mutations.SEPARATOR + content


def _shard(part: bytes) -> bytes:
    """A shard whose four parts are the same."""
    index = struct.pack("<QQ", 0, len(part)) * 4
    return part + index + mutations.crc32c(index).to_bytes(4, "little")


_SHARDED = {
    "name": "sharding_indexed",
    "configuration": {
        "chunk_shape": [2, 2],
        "codecs": [seeds.LITTLE, seeds.BLOSC],
        "index_codecs": [seeds.LITTLE, {"name": "crc32c"}],
    },
}


def _changed(made: Callable[[], Any], number: int, **changed: Any) -> bytes:
    """A seed in JSON with other values; ... for one that it lacks."""
    content = {**json.loads(list(made())[number][0]), **changed}
    left = {name: value for name, value in content.items() if value is not ...}
    return json.dumps(left).encode()


def _record(number: int = 0, **changed: Any) -> Callable[[], bytes]:
    return lambda: _changed(seeds.records, number, **changed)


def _map_record(**changed: Any) -> Callable[[], bytes]:
    return lambda: _changed(seeds.map_records, 0, **changed)


def _sweep(**changed: Any) -> Callable[[], bytes]:
    return lambda: _changed(seeds.sweeps, 0, **changed)


def _many(value: bytes, mebibytes: int) -> Callable[[], bytes]:
    """A JSON object with one list, of the same value again and again."""
    times = (mebibytes << 20) // len(value)
    return lambda: b'{"format": [' + value * times + value.rstrip(b",") + b"]}"


def _tokenizer(number: int, **changed: Any) -> Callable[[], bytes]:
    def made() -> bytes:
        content = json.loads(list(seeds.tokenizer_files())[number][0])
        model = {**content["model"], **changed}
        content["model"] = {k: v for k, v in model.items() if v is not ...}
        return json.dumps(content).encode()

    return made


def _tensors(**shapes: list[int]) -> bytes:
    """A safetensors file of zeros in float32."""
    end = 0
    header = {}
    for name, shape in shapes.items():
        size = 4 * math.prod(shape)
        offsets = [end, end + size]
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": offsets}
        end += size
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(end)


def _map(kind: str, kinds: str = "{}", **shapes: tuple[int, ...]) -> bytes:
    arrays = {name: np.zeros(shape) for name, shape in shapes.items()}
    metadata = {"format": "prompt_tuning_recycling/map/1", "kind": kind, "kinds": kinds}
    return bytes(safetensors.numpy.save(arrays, metadata))


_PROMPT = b'{"output_dir": "/a", "random_prompt": 0}'

FINDINGS: Mapping[str, Mapping[str, Made]] = {
    "numpy_file": {
        "a list as a key": _numpy("{[('a', '<f4')]: 1, 'shape': (3, 4), }"),
        "an open bracket": _numpy("{'descr': '<f2', 'shape': (3, 4), "),
        "an empty tuple": _numpy(
            "{'descr': (), 'fortran_order': False, 'shape': (3, 4), }"
        ),
    },
    "legacy_state": {
        "a step that is text": _state({"target": {}, "state": {"step": "object"}}),
        "a step that is not finite": _state({"target": {}, "state": {"step": 1e400}}),
        "a name of 500 characters": _state(
            {"target": {"x" * 500: {"driver": "zarr", "kvstore": {}}}}
        ),
        "a comma as a dtype": _state(
            {
                "target": {"a": msgpack.ExtType(1, _state([[1], ",", b"abcd"]))},
            }
        ),
        "ten million dictionaries": lambda: (
            b"\xdd" + (10 << 20).to_bytes(4, "big") + b"\x80" * (10 << 20)
        ),
        "dictionaries in small lists": lambda: (
            b"\xdc\xff\xff" + (b"\xdc\x01\x00" + b"\x80" * 256) * 0xFFFF
        ),
    },
    "orbax_state": {
        "a step that is bytes": _state({"state": {"step": b""}, "target": {}}),
        "an empty name": _state({"": "PLACEHOLDER://x"}),
    },
    "zarr2": {
        "an array of 4 TB": _zarr2(shape=[1 << 20] * 2, chunks=[1 << 20] * 2),
        "a chunk of 4 TB": _zarr2(chunks=[1 << 20] * 2),
        "many chunks": _zarr2(shape=[1 << 40, 1], chunks=[1, 1]),
        "an array of 12 GB": _zarr2(shape=[3 << 30, 1], chunks=[3 << 30, 1]),
        "a chunk that Blosc unpacks to 400 MB": lambda: _zarr2(
            seeds.blosc_bomb(400 << 20), compressor=seeds.BLOSC_OF_ZARR2
        ),
    },
    "zarr3": {
        "a description nested 5,000 deep": b"[" * 5000,
        "an array of 4 TB": _zarr3([seeds.LITTLE], [1 << 20] * 2, [1 << 20] * 2),
        "a chunk of 4 TB": _zarr3([seeds.LITTLE], [4, 4], [1 << 20] * 2),
        "a chunk that Blosc unpacks to 400 MB": lambda: _zarr3(
            [seeds.LITTLE, seeds.BLOSC], [4, 4], [4, 4], seeds.blosc_bomb(400 << 20)
        ),
        "a part of a shard that Blosc unpacks to 400 MB": lambda: _zarr3(
            [_SHARDED], [4, 4], [4, 4], _shard(seeds.blosc_bomb(400 << 20))
        ),
    },
    "tokenizer_json": {
        "a prefix that is a number": _tokenizer(
            2, type=..., continuing_subword_prefix=-1
        ),
        "a piece for the unknown that is missing": _tokenizer(2, unk_token="[U]"),
        "a piece at row 4,000,000,000": _tokenizer(
            2, vocab={"[UNK]": 0, "a": 4_000_000_000}
        ),
        "four million lists": _many(b"[],", 12),
    },
    "word_list": {"three million lists": _many(b"[],", 10)},
    "evaluation_manifest": {
        "three million lists": _many(b"[],", 10),
        "one folder many times": lambda: (
            b'{"format": "prompt_tuning_recycling/manifest/1", "evaluations": ['
            + b", ".join([_PROMPT] * 8000)
            + b"]}"
        ),
    },
    "record": {
        "no fingerprint": _record(prompt={"name": "prompt", "path": "/a"}),
        "no word list": _record(words={}),
        "norms that are a list": _record(row_norms=[]),
        "a part that is a number": _record(prompt={"path": "/a", "part": 1}),
        "no prompt": _record(prompt=...),
        "a mean of numbers": _record(3, mean_of=[1]),
        "a mean of nothing": _record(3, mean_of=None),
        "settings that are a list": _record(declared=[1]),
        "a source that is a list": _record(declared={"source_checkpoint": [[], {}]}),
    },
    "map_record": {
        name: _map_record(**{name: ...})
        for name in ("format", "warnings", "versions", "residual", "fit")
    }
    | {"norms that are a list": _map_record(row_norms=[])},
    "sweep_configuration": {
        "many steps": _sweep(steps=[*range(40000), 1]),
        "many candidates": _sweep(
            recycling_methods={
                "copy": {},
                "c": {"choose": {"candidates": [f"x{i}" for i in range(30000)]}},
            }
        ),
        "a key 5,000 times": lambda: (
            seeds.sweep()[:-1] + b', "dataset": "a"' * 5000 + b"}"
        ),
    },
    "safetensors": {
        "an empty array that cannot be": _tensors(a=[0, 1 << 62, 1 << 62]),
        "an array of 100 dimensions": _tensors(a=[0] * 100),
        "an output layer that is a number": _tensors(
            **{"shared.weight": [4, 4], "lm_head.weight": []}
        ),
        "an output layer without columns": _tensors(
            **{"shared.weight": [4, 4], "lm_head.weight": [4, 0]}
        ),
        "a table without rows": _tensors(**{"shared.weight": [0, 4]}),
    },
    "scores": {
        "the same choices, but more": lambda: _changed(
            seeds.scores, 0, scores=[[-1.0], [-1.0, -2.0]]
        ),
    },
    "learned_map": {
        "arrays that do not fit": lambda: _map("affine", matrix=(4, 5), bias=(7,)),
        "a matrix that is a number": lambda: _map("linear", matrix=()),
        "no neighbors": lambda: _map(
            "local", source=(6, 4), target=(6, 5), neighbors=(), ridge=()
        ),
        "kinds nested 5,000 deep": lambda: _map(
            "linear", "[" * 5000 + "]" * 5000, matrix=(4, 5)
        ),
    },
    "gin_macros": {
        "an open bracket": b"VERBALIZERS = (",
        "brackets nested 3,000 deep": b"VERBALIZERS = " + b"[" * 3000 + b"]" * 3000,
        "a list as a key": b"TASK_FILES = {[1]: 'a'}",
    },
    "examples_tsv": {
        "many columns": lambda: (
            b"inputs\ttargets" + b"".join(b"\t%d" % number for number in range(30000))
        ),
        "many choices": lambda: (
            b"inputs\ttargets\tchoices\na\tb\t"
            + b"|".join(b"%d" % number for number in range(40000))
        ),
    },
}
