"""TensorFlow Datasets as a task's source, with a helpful error for missing data."""

from __future__ import annotations

import itertools
import socket
import urllib.parse
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import seqio

from prompt_tuning_recycling.errors import RecyclingError

if TYPE_CHECKING:
    import tensorflow as tf


class TfdsSource(seqio.TfdsDataSource):
    """A dataset that is read from the folder where it was prepared. If it is missing,
    it is downloaded and prepared there.

    seqio's own source asks a public bucket first; offline, it ends with any error that
    the downloader raises.
    """

    def __init__(self, name: str, splits: Mapping[str, str] | Sequence[str]) -> None:
        """Args:
        name: the dataset's name, with its configuration and version.
        splits: names of splits, or split -> TFDS's expression, such as `train[:-10]`.
        """
        super().__init__(tfds_name=name, splits=splits, read_only=True)

    def get_dataset(
        self,
        split: str | None = None,
        shuffle: bool = True,
        seed: int | None = None,
        shard_info: seqio.ShardInfo | None = None,
        **unused: Any,
    ) -> tf.data.Dataset:
        self._prepare()
        return super().get_dataset(split, shuffle, seed, shard_info)

    def num_input_examples(self, split: str) -> int | None:
        self._prepare()
        return super().num_input_examples(split)

    def list_shards(self, split: str) -> Sequence[str]:
        self._prepare()
        return super().list_shards(split)

    def _prepare(self) -> None:
        name = self.tfds_dataset.name
        place = self.tfds_dataset.data_dir or "TFDS's default folder"
        try:
            builder = self.tfds_dataset.builder
            if builder.is_prepared():
                return
            place = builder.data_dir
            _check_network(builder.url_infos)
            builder.download_and_prepare()
        except Exception as error:
            # Network, disk, Apache Beam, checksums: a dozen libraries' exceptions.
            raise RecyclingError(
                f"the dataset {name} is not in {place}, and cannot be downloaded: "
                f"{_first_line(error)}. On a machine with a network, run: python -c "
                f"\"import tensorflow_datasets as tfds; tfds.builder('{name}', "
                "data_dir='DIR').download_and_prepare()\". Then copy DIR here, and "
                "name it with --tfds_data_dir=DIR or the environment variable "
                "TFDS_DATA_DIR. See docs/tasks.md."
            ) from error


def _check_network(urls: Iterable[str]) -> None:
    """Raises OSError if no host can be found, since the downloader would try each file
    for minutes.
    """
    if urllib.request.getproxies():
        return
    hosts = {urllib.parse.urlsplit(url).hostname for url in urls}
    errors = []
    for host in itertools.islice(sorted(filter(None, hosts)), 3):
        try:
            socket.getaddrinfo(host, None)
            return
        except OSError as error:
            errors.append(f"{host}: {error.strerror or error}")
    if errors:
        raise OSError("no network (" + "; ".join(errors) + ")")


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:300]}".removesuffix(".")
