"""Files, on disk and on object stores (`gs://`, `s3://`).

`paths` reads the paths that users give, `stores` makes object stores behave like disks,
`contents` looks into files and folders, `reading` and `writing` read and write a file
completely or not at all, the latter by way of `temporary` ones, `staging` gives
libraries that write only to disks a folder whose files it copies to a store, `failures`
lists the errors that storage raises, `json_files` reads JSON, and `holding` lets one
process at a time work on an output. Two modules keep files from being lost. `guard`
compares a command's few outputs with its inputs by the files on disk, hard links
included. `meetings` compares the many paths of a sweep or a manifest, most of which do
not exist yet, by their spelling.
"""

from prompt_tuning_recycling.files.contents import (
    file_sizes,
    is_folder,
    looking_once,
    names,
    read_part,
)
from prompt_tuning_recycling.files.failures import reason, storage_errors, store_errors
from prompt_tuning_recycling.files.paths import (
    absolute,
    as_list,
    as_path,
    canonical,
    is_remote,
)
from prompt_tuning_recycling.files.reading import read_whole
from prompt_tuning_recycling.files.writing import (
    check_folder_writable,
    check_store_writable,
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
    "check_store_writable",
    "check_writable",
    "file_sizes",
    "is_folder",
    "is_remote",
    "looking_once",
    "names",
    "read_part",
    "read_whole",
    "reason",
    "storage_errors",
    "store_errors",
    "sync",
    "write_atomically",
    "write_folder",
    "write_together",
]
