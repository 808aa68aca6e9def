"""Saves maps to safetensors files and loads them."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from etils import epath

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import as_path, storage_errors, write_atomically
from prompt_tuning_recycling.files.json_files import DAMAGED, parse_json
from prompt_tuning_recycling.maps.base import Map

_FORMAT = "prompt_tuning_recycling/map/1"


def save_map(
    map_: Map,
    path: epath.PathLike,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Writes a map to a safetensors file. The same map always gives the same bytes.

    Args:
      map_: the map.
      path: the file.
      metadata: other values to keep in the file, JSON-compatible, by name.

    Raises:
      RecyclingError: the file cannot be written.
    """
    write_atomically(path, map_file(map_, metadata))


def map_file(map_: Map, metadata: Mapping[str, Any] | None = None) -> bytes:
    """Returns the content of the file that `save_map` writes."""
    arrays, kinds = _flat(map_)
    texts = {name: json.dumps(value) for name, value in (metadata or {}).items()}
    texts |= {"format": _FORMAT, "kind": map_.kind}
    if len(kinds) > 1:
        texts["kinds"] = json.dumps(kinds)
    return _in_order(safetensors.numpy.save(arrays, texts))


def load_map(path: epath.PathLike) -> Map:
    """Reads a map that `save_map` wrote.

    Raises:
      RecyclingError: the file does not exist, is damaged, or holds no map.
    """
    try:
        data = as_path(path).read_bytes()
        arrays = safetensors.numpy.load(data)
    except storage_errors(safetensors.SafetensorError, *DAMAGED) as error:
        raise RecyclingError(
            f"cannot read the map {path}: expected a safetensors file that holds "
            f"one, found: {error}"
        ) from error
    where = f"the map {os.fspath(path)}"
    # The library has found it to be JSON.
    header = data[8 : 8 + int.from_bytes(data[:8], "little")].decode()
    metadata = parse_json(header, where).get("__metadata__", {})
    if metadata.get("format") != _FORMAT:
        raise RecyclingError(
            f"{path} is a safetensors file, but not of a map: expected the format "
            f"{_FORMAT!r}, found {metadata.get('format')!r}. If an earlier "
            "version saved the map, fit it again."
        )
    kinds = {cls.kind: cls for cls in Map.__subclasses__()}
    try:
        stored = parse_json(metadata.get("kinds", "{}"), where) or {
            "": metadata["kind"]
        }
        loaded = _nested(arrays, stored, kinds, "")
        # Arrays that do not fit each other are noticed now.
        loaded.apply(np.full((1, loaded.source_dim), 0.01, np.float32))
        return loaded
    except DAMAGED as error:
        raise RecyclingError(
            f"{path} is not a map of a known kind ({', '.join(kinds)}): found "
            f"{metadata.get('kind')!r} with the arrays {', '.join(arrays)}. If "
            "another module defines this kind, import that module first."
        ) from error


def _flat(map_: Map, prefix: str = "") -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Returns the arrays of a map and of the maps inside it by their names in a file,
    and the kinds of these maps by the beginnings of those names.
    """
    arrays: dict[str, np.ndarray] = {}
    kinds = {prefix: map_.kind}
    for field in dataclasses.fields(map_):
        value = getattr(map_, field.name)
        if isinstance(value, tuple):
            for number, inner in enumerate(value):
                more = _flat(inner, f"{prefix}{field.name}.{number}.")
                arrays |= more[0]
                kinds |= more[1]
        elif value is not None:
            # Numbers become arrays without dimensions.
            arrays[prefix + field.name] = np.asarray(value, order="C")
    return arrays, kinds


def _nested(
    arrays: Mapping[str, np.ndarray],
    stored: Mapping[str, str],
    kinds: Mapping[str, type[Map]],
    prefix: str,
) -> Map:
    """Returns the map whose arrays' names begin with `prefix`; undoes `_flat`."""
    here = {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }
    values: dict[str, Any] = {n: array for n, array in here.items() if "." not in n}
    for field in dict.fromkeys(name.split(".")[0] for name in here if "." in name):
        inside = (f"{prefix}{field}.{number}." for number in itertools.count())
        found = list(itertools.takewhile(stored.__contains__, inside))
        if not found:
            raise KeyError(field)
        values[field] = tuple(_nested(arrays, stored, kinds, one) for one in found)
    return kinds[stored[prefix]](**values)


def _in_order(data: bytes) -> bytes:
    """Sorts a safetensors file's header, which the library writes in a random order."""
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.dumps(
        json.loads(data[8:start]), sort_keys=True, separators=(",", ":")
    ).encode()
    # The arrays begin at a multiple of eight bytes.
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data[start:]
