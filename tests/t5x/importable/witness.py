"""Notes the prompt that each process and each of its devices has: the arrays are in
WITNESS/<what>-process_<index>-device_<index>.npy. The first dimension of the part of
the embedding table that it has is noted, too.
"""

import dataclasses
import os
import pathlib

import gin
import jax
import numpy as np

from prompt_tuning_recycling.t5x_host import export  # noqa: F401


def observe_restoring():
    """Has every restored state noted, on its way from T5X to the program."""
    from t5x import utils

    restore = utils.create_checkpoint_manager_and_restore

    def restore_and_note(*args, **kwargs):
        state, manager = restore(*args, **kwargs)
        # The model into which prompts are put one by one has none yet.
        if "prompt" in state.params["encoder"]:
            _note("restored", state.params["encoder"]["prompt"]["prompt"]["prompt"])
        _note("rows", state.params["token_embedder"]["embedding"], len)
        return state, manager

    utils.create_checkpoint_manager_and_restore = restore_and_note


@gin.register(module="witness")
@dataclasses.dataclass(frozen=True)
class Saved:
    """A save transformation that changes nothing."""

    def __call__(self, state_dict, parameter_infos):
        step = state_dict["state"]["step"]
        step = step.get() if hasattr(step, "get") else step
        prompt = state_dict["target"]["encoder"]["prompt"]["prompt"]["prompt"]
        _note(f"saved_{int(np.asarray(step))}", prompt)
        return state_dict, parameter_infos


def _note(what, array, of=np.asarray):
    folder = pathlib.Path(os.environ["WITNESS"])
    folder.mkdir(exist_ok=True)
    assert isinstance(array, jax.Array), type(array)
    for shard in array.addressable_shards:
        name = f"{what}-process_{jax.process_index()}-device_{shard.device.id}.npy"
        data = np.asarray(of(shard.data))
        # Numpy files know no bfloat16.
        suffix = f".{data.dtype.name}.npy"
        np.save(folder / name.replace(".npy", suffix), data.astype(np.float32))
