"""The errors of reading and writing, on disks and on object stores."""

from __future__ import annotations

import sys

# Errors that are not OSErrors, by module, of the libraries that etils.epath uses.
_STORE_ERRORS = (
    ("tensorflow.python.framework.errors_impl", "OpError"),
    ("aiohttp", "ClientError"),
    ("gcsfs.retry", "HttpError"),
    ("gcsfs.retry", "ChecksumError"),
    ("google.auth.exceptions", "GoogleAuthError"),
    ("botocore.exceptions", "BotoCoreError"),
    ("botocore.exceptions", "ClientError"),
)


def store_errors() -> tuple[type[Exception], ...]:
    """Returns the errors of the object stores' libraries that are not OSErrors.

    It considers only libraries that are already imported, so call it where an error is
    caught and not before.
    """
    return tuple(
        getattr(sys.modules[module], name)
        for module, name in _STORE_ERRORS
        if module in sys.modules
    )


def storage_errors(*more: type[Exception]) -> tuple[type[Exception], ...]:
    """Returns what reading and writing may raise: OSError and `store_errors`.

    Args:
      more: other errors to catch with them.
    """
    return (OSError, *store_errors(), *more)


def disk_reason(error: Exception) -> str | None:
    """Returns the explanation of a storage error, also of one that tensorstore reports
    as a ValueError; None if the error is another one.
    """
    is_of_system = "[os_error_code=" in str(error)
    if isinstance(error, storage_errors()) or is_of_system:
        return reason(error).split(" [")[0]
    return None


def reason(error: Exception) -> str:
    """Returns a storage error's explanation on one line."""
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(text.split()).rstrip(".")
