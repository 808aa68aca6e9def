"""Object stores (`gs://`, `s3://`), through fsspec's libraries gcsfs and s3fs.

Both are asked for what they leave out by default. They keep listings for as long as a
process lives, so that a file which another process writes stays unseen; gcsfs waits
forever for an answer; and `is_dir` and `is_file` take every error for "it is not
there", so that a checkpoint behind a fault would be passed over in silence.
"""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import importlib.util
import logging
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from etils.epath import gpath

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files.failures import reason, storage_errors

if TYPE_CHECKING:
    import fsspec

LIBRARIES = {"gs": "gcsfs", "s3": "s3fs"}
"""Scheme -> the library that fsspec needs for it."""

# How often a request is tried. gcsfs always makes six attempts. s3fs repeats what
# botocore has given up, but only if there was no answer or an incomplete one; reads are
# repeated by both.
ATTEMPTS = 6
_ATTEMPTS_OF_BOTOCORE, _ATTEMPTS_OF_S3FS = 4, 2

# Where TensorFlow is installed, etils.epath would use its file systems instead, and the
# released packages of TensorFlow have none for S3.
if any(importlib.util.find_spec(name) for name in LIBRARIES.values()):
    os.environ.setdefault("EPATH_USE_TF", "false")


def longest_silence() -> int:
    """Returns how many seconds a store may be silent before a request is tried again:
    the environment variable `PROMPT_RECYCLING_STORE_TIMEOUT`, or 10.

    Raises:
      RecyclingError: the variable is no whole number of seconds above 0.
    """
    given = os.environ.get("PROMPT_RECYCLING_STORE_TIMEOUT") or "10"
    if not given.isdecimal() or int(given) == 0:
        raise RecyclingError(
            "the environment variable PROMPT_RECYCLING_STORE_TIMEOUT: expected a whole "
            f"number of seconds above 0, found {given!r}."
        )
    return int(given)


def file_system(scheme: str) -> fsspec.AbstractFileSystem:
    """Returns the library of an object store, with settings that also hold for what
    others, such as Orbax, do through fsspec. What the user has configured in fsspec's
    own files stays.
    """
    import fsspec.config

    for name in LIBRARIES.values():
        # They would print tracebacks of the errors that they raise, too.
        logging.getLogger(name).addHandler(logging.NullHandler())
    for protocol, settings in _settings(scheme).items():
        configured = fsspec.config.conf.setdefault(protocol, {})
        for name, value in settings.items():
            configured.setdefault(name, value)
    found = fsspec.filesystem(scheme)
    if scheme == "s3":
        import s3fs.core

        s3fs.S3FileSystem.retries = _ATTEMPTS_OF_S3FS
        s3fs.core.set_custom_error_handler(_is_too_many_requests)
    return found


def _is_too_many_requests(error: Exception) -> bool:
    """Whether S3 asks for patience in the only way that botocore does not know."""
    return _status(error) == 429


def _status(error: BaseException | None) -> int | None:
    """Returns the HTTP status in an error of botocore's, or in what raised it."""
    response = getattr(error, "response", None)
    if error is None or isinstance(response, dict):
        return (response or {}).get("ResponseMetadata", {}).get("HTTPStatusCode")
    return _status(error.__cause__)


def _settings(scheme: str) -> dict[str, dict[str, Any]]:
    seconds = longest_silence()
    if scheme == "gs":
        import aiohttp

        # Not the whole request's time: a table may take minutes.
        timeout = aiohttp.ClientTimeout(sock_connect=seconds, sock_read=seconds)
        return {
            "gcs": {
                "use_listings_cache": False,
                "requests_timeout": timeout,
                "consistency": "md5",
            }
        }
    return {
        "s3": {
            "use_listings_cache": False,
            "config_kwargs": {
                "connect_timeout": seconds,
                "read_timeout": seconds,
                "retries": {
                    "mode": "standard",
                    "total_max_attempts": _ATTEMPTS_OF_BOTOCORE,
                },
            },
        }
    }


def s3_server() -> tuple[str, str] | None:
    """Returns the address and the region of the S3 server that is set in the
    environment or in Amazon's configuration files; None if it is Amazon's.
    """
    library = file_system("s3")
    with _errors("s3://"):
        library.connect()
    meta = library.s3.meta
    if ".amazonaws.com" in meta.endpoint_url:
        return None
    return meta.endpoint_url, meta.region_name or "us-east-1"


class StorePath(gpath.PosixGPath):
    """A path on an object store. Its errors are OSErrors, and only an object or folder
    that the store says is not there does not exist.
    """

    @property
    def is_bucket(self) -> bool:
        """Whether it is a whole bucket."""
        return "/" not in str(self).partition("://")[2].rstrip("/")

    def exists(self) -> bool:
        return self._kind() is not None

    def is_dir(self) -> bool:
        return self._kind() == "directory"

    def is_file(self) -> bool:
        return self._kind() == "file"

    def iterdir(self) -> Iterator[StorePath]:
        with _errors(self):
            found = self._library.ls(str(self), detail=False)
        # A folder may be listed as a part of itself.
        inside = {one.rstrip("/") for one in found} - {str(self).partition("://")[2]}
        for name in sorted(map(os.path.basename, inside)):
            yield self / name

    def file_sizes(self) -> dict[StorePath, int]:
        """Returns the size in bytes of each object below this path, by one listing."""
        with _errors(self):
            found = self._library.find(str(self), detail=True)
        scheme = str(self).partition("://")[0]
        return {
            type(self)(f"{scheme}://{name}"): entry["size"]
            for name, entry in found.items()
            if entry["type"] == "file" and name != str(self).partition("://")[2]
        }

    def glob(self, pattern: str) -> Iterator[StorePath]:
        with contextlib.suppress(FileNotFoundError):
            yield from (
                one for one in self.iterdir() if fnmatch.fnmatchcase(one.name, pattern)
            )

    def stat(self) -> Any:
        with _errors(self):
            return super().stat()

    def mkdir(
        self, mode: int | None = None, parents: bool = False, exist_ok: bool = False
    ) -> None:
        """Does nothing: a folder is there once something is in it. The libraries would
        make a bucket of a mistyped name.
        """
        del mode, parents
        if not exist_ok and self.exists():
            raise FileExistsError(errno.EEXIST, "it exists already", str(self))

    def read_bytes(self) -> bytes:
        with _errors(self):
            return bytes(self._library.cat_file(str(self)))

    def read_part(self, begin: int, end: int) -> bytes:
        """Returns some bytes; fewer if the object ends before."""
        with _errors(self):
            end = min(end, self._library.size(str(self)))
            if end <= begin:
                return b""
            return bytes(self._library.cat_file(str(self), start=begin, end=end))

    def read_text(self, encoding: str | None = None) -> str:
        del encoding
        return self.read_bytes().decode()

    def write_bytes(self, data: bytes) -> int:
        with _errors(self):
            self._library.pipe_file(str(self), bytes(data))
        return len(data)

    def write_text(
        self, data: str, encoding: str | None = None, errors: str | None = None
    ) -> int:
        del encoding, errors
        self.write_bytes(data.encode())
        return len(data)

    def unlink(self, missing_ok: bool = False) -> None:
        with _errors(self):
            super().unlink(missing_ok)

    def rmtree(self, missing_ok: bool = False) -> None:
        with _errors(self):
            super().rmtree(missing_ok)

    @property
    def _library(self) -> fsspec.AbstractFileSystem:
        return file_system(str(self).partition("://")[0])

    def _kind(self) -> str | None:
        try:
            with _errors(self):
                if self.is_bucket and str(self).startswith("gs:"):
                    # `info` takes any error for a reason to ask once more.
                    self._library.call("GET", "b/{}", self.name)
                    return "directory"
                return self._library.info(str(self))["type"]
        except FileNotFoundError:
            return None


@contextlib.contextmanager
def _errors(path: os.PathLike | str) -> Iterator[None]:
    """Raises the libraries' errors as OSErrors with the path."""
    name = os.fspath(path)
    try:
        yield
    except RecyclingError:
        raise
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, "it is not there", name) from error
    except TimeoutError as error:
        seconds = longest_silence()
        text = f"the store did not answer within {seconds} seconds, several times"
        raise TimeoutError(errno.ETIMEDOUT, text, name) from error
    except storage_errors(ValueError) as error:
        status = _status(error)
        text = f"HTTP status {status}" if status else reason(error)
        # gcsfs has no error of its own for this.
        forbidden = isinstance(error, PermissionError) or text.startswith("Forbidden")
        code = errno.EACCES if forbidden or status in (401, 403) else errno.EIO
        raise OSError(code, text or type(error).__name__, name) from error
