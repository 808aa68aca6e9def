"""Fixtures: an S3 server and a Google Cloud Storage server on loopback ports, and a
proxy before each that counts what passes and makes the errors that clouds make.

The servers are moto's and gcp-storage-emulator, the ones of their kind on PyPI that had
a release within the year. The libraries find them by the settings that their pages
document, as they would find MinIO or another store of one's own.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import pathlib
import secrets
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from ..conftest import EMBEDDING, PROMPT

_MISSING = [
    name
    for name in ("gcsfs", "s3fs", "gcp_storage_emulator", "moto")
    if importlib.util.find_spec(name) is None
]
if not _MISSING:
    import fsspec

    from .proxy import Proxy

# gcsfs reads it when it is imported: the server here lacks Google's gRPC API.
os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
# Settings of the process, which its first test would decide otherwise.
os.environ.setdefault("PROMPT_RECYCLING_STORE_TIMEOUT", "3")

# No store checks these.
_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "GOOGLE_AUTH_TOKEN_FOR_TESTING": "testing",
    # Otherwise Google's and Amazon's libraries look for the machine's own account.
    "NO_GCE_CHECK": "true",
    "AWS_EC2_METADATA_DISABLED": "true",
    "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
    "PROMPT_RECYCLING_STORE_TIMEOUT": "3",
}


@dataclasses.dataclass(frozen=True)
class Store:
    """A bucket of its own for one test.

    Attributes:
      scheme: `gs` or `s3`.
      bucket: the bucket's name.
      proxy: what this package's requests pass.
      environment: the settings by which the libraries find the proxy.
      files: reads and writes the bucket for the test itself, without the proxy.
    """

    scheme: str
    bucket: str
    proxy: Proxy
    environment: dict[str, str]
    files: fsspec.AbstractFileSystem

    def url(self, name: str) -> str:
        """Returns the address of an object, or of all whose names begin like this."""
        return f"{self.scheme}://{self.bucket}/{name}"

    def upload(self, path: pathlib.Path, name: str) -> str:
        """Copies a file or a folder to the bucket, and returns its address."""
        if path.is_dir():
            for file in path.rglob("*"):
                if file.is_file():
                    self.upload(file, f"{name}/{file.relative_to(path)}")
        else:
            self.files.pipe_file(f"{self.bucket}/{name}", path.read_bytes())
        return self.url(name)

    def read(self, name: str) -> bytes:
        """Returns an object's content."""
        self.files.invalidate_cache()
        return self.files.cat_file(f"{self.bucket}/{name}")

    def names(self, prefix: str = "") -> list[str]:
        """Returns the sorted names of the objects below a name."""
        self.files.invalidate_cache()
        found = self.files.find(f"{self.bucket}/{prefix}".rstrip("/"))
        return sorted(name.removeprefix(f"{self.bucket}/") for name in found)


@dataclasses.dataclass(frozen=True)
class _Server:
    scheme: str
    proxy: Proxy
    environment: dict[str, str]
    files: fsspec.AbstractFileSystem


def _serve(name: str) -> Iterator[str]:
    server = subprocess.Popen(
        [sys.executable, "-P", str(pathlib.Path(__file__).with_name(name))],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert server.stdout is not None
        yield f"http://127.0.0.1:{int(server.stdout.readline())}"
    finally:
        server.kill()
        server.wait()


@pytest.fixture(scope="session")
def _gs() -> Iterator[_Server]:
    for url in _serve("google_server.py"):
        with Proxy(url) as proxy:
            environment = {
                **_CREDENTIALS,
                "STORAGE_EMULATOR_HOST": proxy.url,
                "TENSORSTORE_GCS_HTTP_URL": proxy.url,
            }
            files = fsspec.filesystem(
                "gs", endpoint_url=url, token="anon", consistency="md5"
            )
            yield _Server("gs", proxy, environment, files)


@pytest.fixture(scope="session")
def _s3() -> Iterator[_Server]:
    for url in _serve("amazon_server.py"):
        with Proxy(url) as proxy:
            environment = {**_CREDENTIALS, "AWS_ENDPOINT_URL": proxy.url}
            files = fsspec.filesystem(
                "s3", endpoint_url=url, key="testing", secret="testing"
            )
            yield _Server("s3", proxy, environment, files)


@pytest.fixture(params=["gs", "s3"])
def store(request: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    if _MISSING:
        pytest.skip(f"the extra [test] is not installed: {', '.join(_MISSING)}")
    server: _Server = request.getfixturevalue(f"_{request.param}")
    for name in [name for name in os.environ if name.startswith(("AWS_", "GOOGLE_"))]:
        monkeypatch.delenv(name)
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    bucket = f"bucket-{secrets.token_hex(4)}"
    server.files.mkdir(bucket)
    server.proxy.reset()
    # The library keeps what it has found of servers and credentials: other tests' here,
    # and this one's there.
    type(server.files).clear_instance_cache()
    yield Store(server.scheme, bucket, server.proxy, server.environment, server.files)
    type(server.files).clear_instance_cache()
    server.proxy.reset()


def finished(step: pathlib.Path) -> pathlib.Path:
    """Puts the mark into a step that Orbax puts into those that it saves as a whole."""
    (step / "commit_success.txt").write_text("")
    return step


def safetensors_model(folder, table):
    folder.mkdir(parents=True)
    safetensors.numpy.save_file({"shared.weight": table}, folder / "model.safetensors")
    config = {"model_type": "t5", "d_model": table.shape[1]}
    (folder / "config.json").write_text(json.dumps(config))


_ORBAX = {
    "orbax": {},
    "orbax-folders": {"ocdbt": False},
    "orbax-zarr3": {"ocdbt": False, "zarr3": True},
    "orbax-ocdbt-zarr3": {"zarr3": True},
}
FORMS = ["legacy", *_ORBAX, "safetensors", "numpy"]


@pytest.fixture
def write_model(write_orbax, write_legacy):
    """Writes a model's embeddings, in one of the formats, and a prompt if given."""

    def write(form, folder, table, prompt=None):
        arrays = {EMBEDDING: table} | ({} if prompt is None else {PROMPT: prompt})
        if form == "numpy":
            folder.parent.mkdir(parents=True, exist_ok=True)
            np.save(folder.with_suffix(".npy"), table)
            return folder.with_suffix(".npy")
        if form == "safetensors":
            safetensors_model(folder, table)
        elif form == "legacy":
            write_legacy(folder / "checkpoint_7", arrays, chunk_rows=100)
        else:
            finished(write_orbax(folder / "checkpoint_7", arrays, **_ORBAX[form]))
        return folder

    return write
