"""Starts gcp-storage-emulator with what it lacks of Google's API.

tensorstore needs that downloads tell the object's generation, that uploads heed
`ifGenerationMatch`, and that listings heed `startOffset` and `endOffset`. And an upload
that has its name before it is stored as it is; the emulator reads it as an e-mail, and
drops bytes that look like the end of a line.

    python google_server.py PORT
"""

import json
import sys
import threading
from http import HTTPStatus

from gcp_storage_emulator.exceptions import NotFound
from gcp_storage_emulator.handlers import objects
from gcp_storage_emulator.storage import Storage

_writing = threading.RLock()
_wanted = threading.local()
_download, _insert, _ls = objects.download, objects.insert, objects.ls
_create, _candidates = Storage.create_file, Storage._list_live_candidates


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


def ls(request, response, storage, *args, **kwargs):
    names = ("startOffset", "endOffset")
    _wanted.names = [request.query.get(name, [None])[0] for name in names]
    _ls(request, response, storage, *args, **kwargs)


def candidates(storage, bucket, prefix):
    start, end = _wanted.names
    return [
        (name, found)
        for name, found in _candidates(storage, bucket, prefix)
        if (start is None or name >= start) and (end is None or name < end)
    ]


def create_file(storage, bucket, name, *args, **kwargs):
    wanted = getattr(_wanted, "generation", None)
    with _writing:
        if wanted is not None and wanted != _generation(storage, bucket, name):
            raise _OtherGenerationError
        return _create(storage, bucket, name, *args, **kwargs)


objects.download, objects.insert, objects.ls = download, insert, ls
Storage.create_file, Storage._list_live_candidates = create_file, candidates

# Its table of handlers takes the functions when it is imported.
from gcp_storage_emulator import server  # noqa: E402

_read_data = server._read_data


def read_data(request_handler, query):
    content_type = request_handler.headers.get("Content-Type") or ""
    if not content_type.startswith("multipart/related"):
        return _read_data(request_handler, query)
    boundary = content_type.partition("boundary=")[2].strip("\"'")
    line = b"--" + boundary.encode()
    _, name, content = server._read_raw_data(request_handler).split(line, 2)
    end = b"\r\n" if name.startswith(b"\r\n") else b"\n"
    content = content[: content.rindex(end + line)]
    return {
        "meta": json.loads(name.partition(2 * end)[2]),
        "content": content.partition(2 * end)[2],
        "content-type": "application/octet-stream",
    }


server._read_data = read_data
server.create_server("127.0.0.1", int(sys.argv[1]), in_memory=True).run()
