"""Files, on disk and on object stores (`gs://`, `s3://`).

`paths` reads the paths that users give, `writing` writes a file completely or not at
all, by way of `temporary` ones, `failures` lists the errors that storage raises, and
`json_files` reads JSON. Two modules keep files from being lost. `guard` compares a
command's few outputs with its inputs by the files on disk, hard links included.
`meetings` compares the many paths of a sweep or a manifest, most of which do not exist
yet, by their spelling.
"""

from prompt_tuning_recycling.files.failures import reason, storage_errors, store_errors
from prompt_tuning_recycling.files.paths import (
    absolute,
    as_list,
    as_path,
    canonical,
    is_remote,
)
from prompt_tuning_recycling.files.writing import (
    check_folder_writable,
    check_writable,
    sync,
    write_atomically,
    write_folder,
    write_together,
)

__all__ = [
    "absolute",
    "as_list",
    "as_path",
    "canonical",
    "check_folder_writable",
    "check_writable",
    "is_remote",
    "reason",
    "storage_errors",
    "store_errors",
    "sync",
    "write_atomically",
    "write_folder",
    "write_together",
]
