"""What a run of T5X has left in its folder."""

import json

import numpy as np

from prompt_tuning_recycling.models import open_checkpoint

PROMPT = "target/encoder/prompt/prompt/prompt"


def stored_prompt(folder, step, name=PROMPT) -> np.ndarray:
    """The prompt in a checkpoint."""
    return open_checkpoint(folder / f"checkpoint_{step}").read(name)


def exported_prompt(folder, step, stack="encoder") -> np.ndarray:
    path = folder / f"numpy_checkpoints/checkpoint_{step}/{stack}.prompt.prompt.prompt"
    return np.load(path)


def kept_prompt(folder) -> np.ndarray:
    return np.load(folder / "recycled_prompt/prompt.npy")


def metrics(folder) -> dict[str, float]:
    """Of the newest evaluation, without the step."""
    (path,) = folder.glob("inference_eval/**/even_or_odd-metrics.jsonl")
    line = json.loads(path.read_text().splitlines()[-1])
    line.pop("step")
    return line


def witnessed(folder) -> dict[str, dict[str, np.ndarray]]:
    """What witness.py has noted: what -> process, device and dtype -> prompt."""
    found = {}
    for path in sorted(folder.glob("*.npy")):
        what, where = path.name.removesuffix(".npy").split("-", 1)
        found.setdefault(what, {})[where] = np.load(path)
    return found
