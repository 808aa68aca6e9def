"""Changes files where their readers look: a value of a JSON text, a field of a header
whose length is then made right again, a chunk that unpacks to much more than it says.
"""

from __future__ import annotations

import gzip
import json
import random
import re
import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import msgpack

SEPARATOR = b"\n=====\n"
"""Stands between the files of an input that has several."""

Bytes = Callable[[bytes, random.Random], bytes]
"""Changes bytes anyhow."""

MANY = 5000
"""How deep the deepest values are nested."""


class Members(list):
    """The members of a JSON object, which may have a key twice."""


class Raw(str):
    """A part of a JSON text, written as it is."""


_AWKWARD: tuple[Any, ...] = (
    *(0, 1, -1, 2, 3, 255, 65536, 2**31, 2**32, 2**53 + 1, 2**62, 2**63, 2**64),
    *(-(2**31), -(2**63), 10**30, 10**200),
    *(0.5, -0.0, 1.0, 1e300, Raw("1e400"), Raw("-1e400")),
    *(Raw("NaN"), Raw("Infinity"), Raw("-Infinity"), Raw("9" * 5000)),
    *(True, False, None),
    *("", " ", "a", "0", "-1", "é", "\u2581the", "null", "\ufeff", "%s {0}", "\n\r\t"),
    *(Raw('"\\ud800"'), Raw('"\\udc00x"'), Raw('"\\u0000"'), Raw('"a\\u0000b"')),
    *("../x", "/", "/etc/passwd", "..", "~", "~nobody/x", "gs://b/x", "http://x", "//"),
    *("a/b", "C:\\x", "file\u2028", "x" * 300, "x" * 5000),
    *("<f4", "float32", "bfloat16", "|O", "object", "U5", "F32", "M8[ns]", ">f8"),
    *([], Members(), [[]], [0], [1, 2], [None], ["a"], Members([("a", 1)])),
    *([-1], [0, 0], [2**62, 2**62], [2**31, 2**31], [1.5], [True], [2**20, 2**20]),
    Members([("", "")]),
    Members([("id", "zstd"), ("level", 1)]),
    Members([("id", "gzip"), ("level", 9)]),
    Members([("name", "bytes"), ("configuration", Members([("endian", "big")]))]),
    Raw("[" * 150 + "]" * 150),
    Raw("[" * MANY + "]" * MANY),
    Raw('{"a":' * 150 + "1" + "}" * 150),
)


def json_text(data: bytes, rng: random.Random) -> bytes:
    """Changes a value, a key or a member of a JSON text; or, of JSON Lines, of one of
    the lines.
    """
    lines = data.split(b"\n")
    filled = [number for number, line in enumerate(lines) if line.strip()]
    if len(filled) > 1 and _parsed(data) is None:
        number = rng.choice(filled)
        changed = json_text(lines[number], rng)
        return b"\n".join([*lines[:number], changed, *lines[number + 1 :]])
    parsed = _parsed(data)
    if parsed is None:
        return data
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        parsed = _changed(parsed, rng)
    return _dumped(parsed).encode("utf-8", "surrogatepass")


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data, object_pairs_hook=Members)
    except (ValueError, RecursionError):
        return None


def _dumped(value: Any) -> str:
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, Members):
        return (
            "{"
            + ", ".join(f"{_dumped(key)}: {_dumped(inner)}" for key, inner in value)
            + "}"
        )
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_dumped, value)) + "]"
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return "1e400" if value > 0 else "-1e400"
    return json.dumps(value, ensure_ascii=False)


def _changed(value: Any, rng: random.Random) -> Any:
    """Returns a value with one of its parts changed, at a random depth."""
    if isinstance(value, list) and value and rng.random() < 0.85:
        number = rng.randrange(len(value))
        changed = type(value)(value)
        what = rng.random()
        if what < 0.05:
            del changed[number]
        elif what < 0.06:
            times = range(rng.choice((20, 300, 2000)))
            if isinstance(value, Members):
                key, inner = value[number]
                changed += [(f"{key}{i}", inner) for i in times]
            else:
                changed += [value[number] for _ in times]
        elif what < 0.12:
            changed.insert(number, changed[rng.randrange(len(changed))])
        elif isinstance(value, Members):
            key, inner = value[number]
            if what < 0.2:
                changed[number] = (str(_awkward(rng, of=str)), inner)
            elif what < 0.26:
                changed[number] = (value[rng.randrange(len(value))][0], inner)
            else:
                changed[number] = (key, _changed(inner, rng))
        else:
            changed[number] = _changed(value[number], rng)
        return changed
    if type(value) is int and rng.random() < 0.4:
        return rng.choice((value + 1, value - 1, -value, value * 2, value << 32))
    if type(value) is str and value and rng.random() < 0.3:
        return rng.choice((value[:-1], value * 2, value.upper(), value + "\0", "x"))
    if isinstance(value, list) and rng.random() < 0.2:
        return [value]
    return _awkward(rng)


def _awkward(rng: random.Random, of: type | None = None) -> Any:
    while True:
        found = rng.choice(_AWKWARD)
        if of is None or (isinstance(found, of) and not isinstance(found, Raw)):
            return found


def header(data: bytes, rng: random.Random) -> bytes:
    """Changes the JSON header of a safetensors file, and mostly its length with it."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > len(data):
        return data
    changed = json_text(data[8 : 8 + length], rng)
    if rng.random() < 0.9:
        length = len(changed)
    return (
        length.to_bytes(8, "little") + changed + data[8 + len(data[8 : 8 + length]) :]
    )


_NUMPY_VALUES = (
    *("0", "-1", "1", "2", "1.5", "True", "None", "2**3", "10**9", "9" * 20, "9" * 400),
    *(str(2**31), str(2**32), str(2**62), str(2**63), "'a'", "()", "(1,)", "[]", "{}"),
    *(
        "'<f4'",
        "'<f8'",
        "'|O'",
        "'|V2'",
        "'|V0'",
        "'<U5'",
        "'<M8[ns]'",
        "'>f2'",
        "'|b1'",
    ),
    *("'|S0'", "[('a', '<f4')]", "[('a', '|O')]", "'f4,f4'", "(" * 300, "[" * 3000),
    *("'(2**40)f4'", "'1000000000f4'", "'\\x00'", "__import__('os')", "1e400", "b''"),
)


def numpy_header(data: bytes, rng: random.Random) -> bytes:
    """Changes the header of a numpy file, and mostly its length with it."""
    size = 2 if data[6:7] == b"\1" else 4
    start = 8 + size
    length = int.from_bytes(data[8:start], "little")
    if len(data) < start or length > len(data):
        return data
    text = data[start : start + length].decode("latin1")
    parts = list(re.finditer(r"'[^']*'|-?\d+|True|False|\(\)|\([^()]*\)", text))
    for match in rng.sample(parts, min(len(parts), 1)):
        value = rng.choice(_NUMPY_VALUES)
        text = text[: match.start()] + value + text[match.end() :]
    changed = text.encode("latin1")
    if rng.random() < 0.9:
        written = len(changed) % 256**size
    else:
        written = rng.choice((0, 1, length, 256**size - 1))
    return (
        data[:8] + written.to_bytes(size, "little") + changed + data[start + length :]
    )


def message(data: bytes, rng: random.Random) -> bytes:
    """Changes a value of a msgpack, also inside the extensions that hold arrays."""
    try:
        tree = _unpacked(data)
        for _ in range(rng.choice((1, 1, 2))):
            tree = _changed_message(tree, rng)
        return msgpack.packb(tree, use_bin_type=True)
    except (
        ValueError,
        TypeError,
        OverflowError,
        RecursionError,
        msgpack.UnpackException,
    ):
        return data


def _unpacked(data: bytes) -> Any:
    return msgpack.unpackb(
        data, raw=False, strict_map_key=False, unicode_errors="surrogateescape"
    )


_MESSAGES: tuple[Any, ...] = (
    *(0, 1, -1, 3, 2**31, 2**63, 2**64 - 1, -(2**63), 1.5, float("nan"), float("inf")),
    *(True, False, None, "", "a", "a/b", "../x", "\0", "x" * 500, b"", b"\0" * 8),
    *("object", "float32", "bfloat16", "V0", "U0", "M8[ns]", "f4,f4", "(3)f4", "finfo"),
    *([], {}, [0], [-1], [2**62, 2**62], [1, 2], {"a": 1}, {1: 2}, [None]),
    *("PLACEHOLDER://x", "AGGREGATED://x", {"driver": "zarr", "kvstore": {}}),
    {"driver": 1, "kvstore": 2},
    {"__msgpack_chunked_array__": True, "shape": {}, "chunks": {}},
    {"__msgpack_chunked_array__": 1, "shape": {"0": 2**40}, "chunks": {"0": b"x"}},
    msgpack.ExtType(1, b""),
    msgpack.ExtType(1, msgpack.packb([[2], "float32", bytes(8)])),
    msgpack.ExtType(1, msgpack.packb([[], "float32", bytes(4)])),
    msgpack.ExtType(3, msgpack.packb([[], "int64", bytes(8)])),
    msgpack.ExtType(2, msgpack.packb([1.0, 2.0])),
    msgpack.ExtType(4, msgpack.packb([1, "a"])),
    msgpack.ExtType(9, b"a"),
)


def _changed_message(value: Any, rng: random.Random) -> Any:
    if isinstance(value, msgpack.ExtType) and rng.random() < 0.8:
        try:
            inner = _unpacked(value.data)
        except (ValueError, msgpack.UnpackException):
            return rng.choice(_MESSAGES)
        return msgpack.ExtType(
            value.code, msgpack.packb(_changed_message(inner, rng), use_bin_type=True)
        )
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        what = rng.random()
        if what < 0.08:
            return {name: inner for name, inner in value.items() if name != key}
        if what < 0.16:
            new = rng.choice([one for one in _MESSAGES if isinstance(one, str | int)])
            return {new if name == key else name: i for name, i in value.items()}
        return {**value, key: _changed_message(value[key], rng)}
    if isinstance(value, list | tuple) and value and rng.random() < 0.9:
        number = rng.randrange(len(value))
        changed = list(value)
        changed[number] = _changed_message(value[number], rng)
        return changed
    return rng.choice(_MESSAGES)


def chunk(data: bytes, rng: random.Random) -> bytes:
    """Packs a chunk's content in another way, or packs other content."""
    return rng.choice(
        (
            gzip.compress(b"\0" * rng.choice((0, 8, 64, 1 << 16, 1 << 18)), 1),
            zlib.compress(b"\0" * rng.choice((0, 64, 1 << 17))),
            blosc_of_nothing(rng.choice((0, 64, 1 << 28, 2**31 - 1, 2**32 - 1))),
            data[: rng.randrange(len(data) + 1)],
            data * 2,
            b"",
        )
    )


def blosc_of_nothing(size: int, typesize: int = 4) -> bytes:
    """A blosc chunk that announces `size` bytes: one run of zeros, which takes none."""
    block = min(size, 1 << 20)
    blocks = -(-size // block) if block else 0
    # Blosc 1, LZ4 version 1, not split; offsets to blocks that are not there.
    body = struct.pack("<I", 20) * min(blocks, 4) + bytes(16)
    return (
        struct.pack("<BBBBIII", 2, 1, 0x31, typesize, size, block, 16 + len(body))
        + body
    )


_CRC = [0] * 256
for _byte in range(256):
    _crc = _byte
    for _ in range(8):
        _crc = (_crc >> 1) ^ (0x82F63B78 if _crc & 1 else 0)
    _CRC[_byte] = _crc


def crc32c(data: bytes) -> int:
    """The checksum at the end of each of OCDBT's files (CRC-32C)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def made_right(data: bytes) -> bytes:
    """An OCDBT file with its length and its checksum made right again."""
    if len(data) < 20:
        return data
    content = data[:4] + len(data).to_bytes(8, "little") + data[12:-4]
    return content + crc32c(content).to_bytes(4, "little")


def some_bytes(data: bytes, rng: random.Random) -> bytes:
    """Changes a few bytes, where no fuzzer does that."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(changed) + 1)
        what = rng.random()
        if what < 0.6 and at < len(changed):
            changed[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        elif what < 0.8:
            del changed[at : at + rng.randrange(1, 8)]
        else:
            changed[at:at] = bytes(rng.choices(range(256), k=rng.randrange(1, 8)))
    return bytes(changed)


_WORDS: tuple[bytes, ...] = (
    *(
        b"\t",
        b"\n",
        b"\r\n",
        b"\0",
        b" ",
        b"=",
        b"'",
        b'"',
        b"%",
        b"@",
        b"(",
        b"[",
        b"{",
    ),
    *(b"-1", b"0", b"1e400", b"nan", b"None", b"True", b"9" * 30, b"9" * 5000, b"--"),
    *(
        b"~",
        b"../",
        b"s3://",
        b"\xff",
        b"\xed\xa0\x80",
        b"\xe2\x80\xa8",
        b"\xef\xbb\xbf",
    ),
    *(b"[" * 200, b"[" * 3000, b"-" * 3000, b"(" * 90, b"a" * 5000, b"|", b"inputs"),
)


def words(data: bytes, rng: random.Random) -> bytes:
    """Puts a word that means something to a reader into a text, or doubles or removes
    a line.
    """
    what = rng.random()
    if what < 0.3:
        lines = data.split(b"\n")
        number = rng.randrange(len(lines))
        lines[number : number + 1] = [lines[number]] * rng.choice((0, 2))
        return b"\n".join(lines)
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice(_WORDS) + data[at + rng.choice((0, 0, 1, 3)) :]


def mutated(
    data: bytes, kinds: Sequence[Bytes], rng: random.Random, anyhow: Bytes
) -> bytes:
    """Returns an input with one of its files changed.

    Args:
      data: the input.
      kinds: how to change each of its files.
      rng: what decides.
      anyhow: changes bytes without knowing what they mean.
    """
    parts = data.split(SEPARATOR, len(kinds) - 1) if len(kinds) > 1 else [data]
    number = rng.randrange(len(parts))
    how = kinds[number] if rng.random() < 0.6 else anyhow
    parts[number] = how(parts[number], rng)
    return SEPARATOR.join(parts)
