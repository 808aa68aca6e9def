"""Writes steps as T5X does through Orbax, one array in memory at a time, which Orbax
itself cannot.

Format: see `orbax`. The arrays are zarr version 2 in one OCDBT database, as Orbax
leaves it when it has merged the processes' databases.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

import ml_dtypes
import tensorstore as ts
from etils import epath

from prompt_tuning_recycling.models.formats import tensorstores
from prompt_tuning_recycling.models.formats.writing import Unwritten

_HANDLER = (
    "orbax.checkpoint._src.handlers.pytree_checkpoint_handler.PyTreeCheckpointHandler"
)
_COMMITTED = "Checkpoint commit was successful"
# A key of a dictionary, as opposed to an index of a list.
_DICTIONARY = 2


def write(step: epath.Path, arrays: Sequence[Unwritten]) -> None:
    """Writes a step.

    Args:
      step: an empty folder.
      arrays: the arrays of the train state, by T5X's names, with slashes.
    """
    begun = time.time_ns()
    state = step / "state"
    state.mkdir()
    _write_arrays(state, arrays)
    tree = {
        "tree_metadata": dict(
            _tree_entry(name) for name in sorted(array.name for array in arrays)
        ),
        "use_ocdbt": True,
        "use_zarr3": False,
        "store_array_data_equal_to_fill_value": True,
        "custom_metadata": None,
    }
    (state / "_METADATA").write_text(json.dumps(tree))
    (state / "commit_success.txt").write_text(_COMMITTED)
    metadata = {
        "item_handlers": {"state": _HANDLER},
        "metrics": {},
        "performance_metrics": {},
        "init_timestamp_nsecs": begun,
        "commit_timestamp_nsecs": time.time_ns(),
        "custom_metadata": {},
    }
    (step / "_CHECKPOINT_METADATA").write_text(json.dumps(metadata))
    (step / "commit_success.txt").write_text(_COMMITTED)


def _write_arrays(state: epath.Path, arrays: Sequence[Unwritten]) -> None:
    # All files are synced together when the whole step is there.
    context = ts.Context({"file_io_sync": False})
    store = ts.KvStore.open(
        {"driver": "ocdbt", "base": tensorstores.kvstore_spec(state)}, context=context
    ).result()
    # Made together, because each change of the database writes its list of keys again.
    made = [
        ts.open(_spec(store, array), create=True, context=context) for array in arrays
    ]
    for array, stored in zip(arrays, made, strict=True):
        for place, part in array.parts():
            stored.result()[place if array.shape else ...].write(part).result()


def _spec(store: ts.KvStore, array: Unwritten) -> dict[str, object]:
    has_no_code = array.dtype == ml_dtypes.bfloat16
    return {
        "driver": "zarr",
        "kvstore": (store / f"{array.name.replace('/', '.')}/").spec().to_json(),
        "metadata": {
            "shape": list(array.shape),
            "chunks": [array.rows_at_once, *array.shape[1:]] if array.shape else [],
            "dtype": array.dtype.name if has_no_code else array.dtype.str,
            "compressor": {"id": "zstd", "level": 1},
            "dimension_separator": ".",
            "fill_value": None,
            "filters": None,
            "order": "C",
        },
    }


def _tree_entry(name: str) -> tuple[str, dict[str, object]]:
    keys = tuple(name.split("/"))
    return repr(keys), {
        "key_metadata": [{"key": key, "key_type": _DICTIONARY} for key in keys],
        "value_metadata": {"value_type": "np.ndarray", "skip_deserialize": False},
    }
