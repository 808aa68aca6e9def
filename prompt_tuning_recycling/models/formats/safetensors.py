"""Models as safetensors: one file, or several with an index.

A folder holds `model.safetensors`, or `model.safetensors.index.json`, whose
`weight_map` says which file each tensor is in; or `adapter_model.safetensors`, with its
`adapter_config.json`. Names are kept as they are, with dots.
Format: see `safetensors_header`.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import tensorstore as ts
from etils import epath

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import is_folder, names
from prompt_tuning_recycling.files.json_files import read_json
from prompt_tuning_recycling.models import adapter_config
from prompt_tuning_recycling.models.formats import (
    base,
    foreign,
    safetensors_header,
    tensorstores,
)
from prompt_tuning_recycling.models.formats.safetensors_header import (
    LENGTH_BYTES,
    Tensor,
    damaged,
)

if TYPE_CHECKING:
    from jaxtyping import Int, Shaped

FILE = "model.safetensors"
INDEX = "model.safetensors.index.json"
ADAPTER = "adapter_model.safetensors"
_SUFFIX = ".safetensors"
_INDEX_SUFFIX = ".safetensors.index.json"
_SHARD = re.compile(r"[^/\0]+\.safetensors")

# How many bytes are on their way at once: enough to wait for many requests together,
# and few enough to hold twice.
_AT_ONCE = 1 << 25
_SAMPLE = 1 << 16


def is_model(held: Collection[str]) -> bool:
    """Whether a folder with these names in it holds a model or an adapter in this
    format.
    """
    return any(name in held for name in (FILE, INDEX, ADAPTER))


def is_file(name: str, start: bytes) -> bool:
    """Whether a file is in this format, or meant to be.

    Args:
      name: its name.
      start: its first bytes.
    """
    if name.endswith((_SUFFIX, _INDEX_SUFFIX)):
        return True
    # A header is shorter than 4 GiB, and begins like this.
    return start[4:LENGTH_BYTES] == bytes(4) and start[LENGTH_BYTES:][:2] == b'{"'


class SafetensorsCheckpoint(base.Checkpoint):
    """Tensors in safetensors files, which are read by ranges of bytes."""

    format = "safetensors"

    def __init__(self, path: epath.PathLike) -> None:
        """Opens a folder, a file, or an index, and reads the headers.

        Raises:
          RecyclingError: a file is missing, or a header does not fit its file.
        """
        super().__init__(path)
        self._folder, file = _find(self.path)
        index = file if file.endswith(_INDEX_SUFFIX) else None
        self._is_adapter = file == ADAPTER
        self._store = tensorstores.open_store(tensorstores.kvstore_spec(self._folder))
        places = None if index is None else _weight_map(self._folder / index)
        files = [file]
        if places is not None:
            files = sorted(set(places.values()))
        stored, self._headers = self._read_headers(files)
        self._opened_as = _joined(self._headers)
        self._tensors: dict[str, tuple[str, Tensor]] = {}
        if places is None:
            places = dict.fromkeys(stored[files[0]], files[0])
        for name, file in places.items():
            if name not in stored[file]:
                raise RecyclingError(
                    f"{self._folder / str(index)} says that {name} is in {file}, but "
                    "it is not. Copy or download the model again, all its files "
                    "included."
                )
            self._tensors[name] = file, stored[file][name]

    @property
    def path_of_adapter(self) -> epath.Path | None:
        """The folder of the adapter that this is; None if it is a model."""
        return self._folder if self._is_adapter else None

    def keys(self) -> list[str]:
        return sorted(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._find(name)[1].shape

    def dtype(self, name: str) -> np.dtype:
        return self._find(name)[1].dtype

    def read(self, name: str) -> Shaped[np.ndarray, ...]:
        file, tensor = self._find(name)
        array = np.empty(tensor.shape, tensor.dtype)
        self._fill(array, file, [(tensor.begin, tensor.end)])
        return array

    def _take(
        self, name: str, rows: Int[np.ndarray, rows]
    ) -> Shaped[np.ndarray, "rows ..."]:
        file, tensor = self._find(name)
        different, places = np.unique(rows, return_inverse=True)
        array = np.empty((len(different), *tensor.shape[1:]), tensor.dtype)
        size = array[:1].nbytes
        self._fill(
            array,
            file,
            (
                (tensor.begin + first * size, tensor.begin + after * size)
                for first, after in base.runs(different)
            ),
        )
        return array[places]

    def fingerprint(self, name: str) -> str:
        """Returns a SHA-256 of all headers and of a part of one tensor; see the base
        class. Of an adapter, it covers its description, too, and a part of every
        tensor.
        """
        digest = hashlib.sha256(self.format.encode())
        if self._is_adapter:
            with contextlib.suppress(FileNotFoundError):
                digest.update((self._folder / adapter_config.NAME).read_bytes())
        for file, header in sorted(self._headers.items()):
            digest.update(f"{file} {header}\0".encode())
        covered = self._tensors if self._is_adapter else {name} & self._tensors.keys()
        for one in sorted(covered):
            file, tensor = self._tensors[one]
            begin = max(tensor.begin, (tensor.begin + tensor.end - _SAMPLE) // 2)
            span = begin, min(tensor.end, begin + _SAMPLE)
            for part in self._read_spans(file, [span]):
                digest.update(part)
        return digest.hexdigest()

    def _find(self, name: str) -> tuple[str, Tensor]:
        if name not in self._tensors:
            raise self._missing(name)
        return self._tensors[name]

    def _identity(self) -> str:
        return _joined(self._read_headers(list(self._headers))[1])

    def _read_headers(
        self, files: Sequence[str]
    ) -> tuple[dict[str, Mapping[str, Tensor]], dict[str, str]]:
        """Returns the tensors of each file, and the SHA-256 of its header."""
        sizes = {}
        for file in files:
            try:
                sizes[file] = (self._folder / file).stat().length
            except FileNotFoundError as error:
                raise RecyclingError(
                    f"{self.path} lacks {file}, which its index names. Copy or "
                    "download the model again, all its files included."
                ) from error
        starts = {
            file: self._request(file, 0, min(foreign.START_BYTES, size))
            for file, size in sizes.items()
        }
        headers = {}
        for file, request in starts.items():
            start = self._received(file, request)
            if (what := foreign.what_it_is(start)) is not None:
                raise RecyclingError(f"{self._folder / file} is {what}")
            length = safetensors_header.header_length(
                start[:LENGTH_BYTES], sizes[file], self._folder / file
            )
            headers[file] = self._request(file, LENGTH_BYTES, LENGTH_BYTES + length)
        found, digests = {}, {}
        for file, request in headers.items():
            header = self._received(file, request)
            digests[file] = hashlib.sha256(header).hexdigest()
            found[file] = safetensors_header.read_header(
                header, sizes[file], self._folder / file
            )
        return found, digests

    def _fill(
        self,
        array: Shaped[np.ndarray, ...],
        file: str,
        spans: Iterable[tuple[int, int]],
    ) -> None:
        """Fills an array with spans of a file's bytes, one after the other."""
        into = array.reshape(-1).view(np.uint8)
        filled = 0
        for part in self._read_spans(file, spans):
            into[filled : filled + len(part)] = np.frombuffer(part, np.uint8)
            filled += len(part)

    def _read_spans(
        self, file: str, spans: Iterable[tuple[int, int]]
    ) -> Iterator[bytes]:
        """Yields spans of a file's bytes, long ones in parts."""
        for group in _groups(spans):
            batch = ts.Batch()
            requests = [self._request(file, *span, batch) for span in group]
            batch.submit()
            for request in requests:
                yield self._received(file, request)

    def _request(
        self, file: str, begin: int, end: int, batch: ts.Batch | None = None
    ) -> ts.Future:
        return self._store.read(file, byte_range=slice(begin, end), batch=batch)

    def _received(self, file: str, request: ts.Future) -> bytes:
        try:
            found = request.result()
        except tensorstores.STORAGE_ERRORS as error:
            raise tensorstores.unreadable(
                error, str(damaged(self._folder / file, "it cannot be read"))
            ) from error
        if found.state != "value":
            raise damaged(self._folder / file, "it is no longer there")
        return bytes(found.value)


def _joined(headers: Mapping[str, str]) -> str:
    return " ".join(f"{file} {digest}" for file, digest in sorted(headers.items()))


def _find(path: epath.Path) -> tuple[epath.Path, str]:
    """Returns the folder of the files, and the name of the index or the only file."""
    if path.name.endswith(_INDEX_SUFFIX) or not is_folder(path):
        return path.parent, path.name
    held = names(path)
    found = (name for name in (FILE, INDEX, ADAPTER) if name in held)
    return path, next(found, FILE)


def _weight_map(index: epath.Path) -> dict[str, str]:
    """Returns the file of each tensor."""
    content = read_json(index, "the index")
    places = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(places, dict) or not places:
        raise RecyclingError(
            f"the index {index} has no weight_map, which says where each tensor is. "
            "Copy or download it again."
        )
    for name, file in places.items():
        if not isinstance(file, str) or not _SHARD.fullmatch(file):
            raise RecyclingError(
                f"the index {index} says that {name} is in {file!r}. Expected the name "
                "of a safetensors file beside the index."
            )
    return places


def _groups(spans: Iterable[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    """Yields spans in groups of about `_AT_ONCE` bytes, and long ones in parts."""
    group: list[tuple[int, int]] = []
    size = 0
    for begin, end in spans:
        while begin < end:
            part_end = min(end, begin + _AT_ONCE - size)
            group.append((begin, part_end))
            size += part_end - begin
            begin = part_end
            if size == _AT_ONCE:
                yield group
                group, size = [], 0
    if group:
        yield group
