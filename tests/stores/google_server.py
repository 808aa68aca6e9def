"""Starts gcp-storage-emulator with two things of Google's API that it lacks: downloads
tell the object's generation, and uploads heed `ifGenerationMatch`. tensorstore needs
the first to read, and both to write safely.

    python google_server.py PORT
"""

import sys
import threading
from http import HTTPStatus

from gcp_storage_emulator.exceptions import NotFound
from gcp_storage_emulator.handlers import objects
from gcp_storage_emulator.storage import Storage

_writing = threading.RLock()
_wanted = threading.local()
_download, _insert, _create = objects.download, objects.insert, Storage.create_file


class _OtherGenerationError(Exception):
    pass


def _generation(storage, bucket, name):
    try:
        return storage.get_file_obj(bucket, name)["generation"]
    except NotFound:
        return "0"


def download(request, response, storage, *args, **kwargs):
    place = request.params["bucket_name"], request.params["object_id"]
    response["x-goog-generation"] = _generation(storage, *place)
    _download(request, response, storage, *args, **kwargs)


def insert(request, response, storage, *args, **kwargs):
    (_wanted.generation,) = request.query.get("ifGenerationMatch") or [None]
    try:
        _insert(request, response, storage, *args, **kwargs)
    except _OtherGenerationError:
        response.status = HTTPStatus.PRECONDITION_FAILED


def create_file(storage, bucket, name, *args, **kwargs):
    wanted = getattr(_wanted, "generation", None)
    with _writing:
        if wanted is not None and wanted != _generation(storage, bucket, name):
            raise _OtherGenerationError
        return _create(storage, bucket, name, *args, **kwargs)


objects.download, objects.insert, Storage.create_file = download, insert, create_file

# Its table of handlers takes the functions when it is imported.
from gcp_storage_emulator.server import create_server  # noqa: E402

create_server("127.0.0.1", int(sys.argv[1]), in_memory=True).run()
