"""The logits of the network that gin files declare, with a T5X checkpoint's parameters:

python logits.py OUTPUT CHECKPOINT PROMPT SEARCH_PATHS GIN_FILE...

PROMPT is a numpy file, or empty for a network without a prompt.
"""

import importlib
import sys

import flax.traverse_util
import gin
import numpy as np

from prompt_tuning_recycling.models import open_checkpoint

# Without it gin's search for files fails.
importlib.import_module("importlib.util")


@gin.configurable
def declared(network=None):
    return network


def main():
    output, checkpoint, prompt, paths, *files = sys.argv[1:]
    for path in paths.split(","):
        gin.add_config_file_search_path(path)
    gin.parse_config_files_and_bindings(files, ["declared.network = %NETWORK"])
    network = declared()
    stored = open_checkpoint(checkpoint)
    parameters = {
        name.removeprefix("target/"): stored.read(name)
        for name in stored.keys()
        if name.startswith("target/")
    }
    if prompt:
        parameters["encoder/prompt/prompt/prompt"] = np.load(prompt)
    # Two texts, the second shorter than the first.
    tokens = np.random.default_rng(0).integers(3, 32000, (2, 20)).astype(np.int32)
    tokens[1, 11:] = 0
    inputs, targets = tokens[:, :12], tokens[:, 8:]
    logits = network.apply(
        {"params": flax.traverse_util.unflatten_dict(parameters, sep="/")},
        inputs,
        np.pad(targets[:, :-1], ((0, 0), (1, 0))),
        targets,
        enable_dropout=False,
    )
    np.save(output, np.asarray(logits, np.float32)[targets > 0])


if __name__ == "__main__":
    main()
