"""One function for both directions; the content of what is read says which."""

from __future__ import annotations

import contextlib
import dataclasses
import os

import numpy as np
from etils import epath

from prompt_tuning_recycling.converting import to_hugging_face, to_t5x
from prompt_tuning_recycling.converting.folders import check_new
from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import absolute, holding
from prompt_tuning_recycling.files.guard import check_apart
from prompt_tuning_recycling.models import Model, Origin, open_model, read_places
from prompt_tuning_recycling.models.layouts import T5X
from prompt_tuning_recycling.models.layouts.hugging_face.t5 import HuggingFaceT5
from prompt_tuning_recycling.models.steps import STEP_FOLDER
from prompt_tuning_recycling.network import T5Config

LARGEST = 5 * 10**9
"""The most bytes of arrays in a file of safetensors."""


@dataclasses.dataclass(frozen=True)
class Conversion:
    """What a conversion wrote.

    Attributes:
      path: the new folder.
      config: the sizes and options of the model.
      arrays: how many parameters were written.
      files: how many files of safetensors; 0 for a checkpoint of T5X.
      notes: what a person should know about the result.
    """

    path: epath.Path
    config: T5Config
    arrays: int
    files: int
    notes: tuple[str, ...]


def convert(
    origin: Origin,
    path: epath.PathLike,
    *,
    step: int | None = None,
    dtype: str | None = None,
    vocabulary: epath.PathLike | None = None,
    activation: str | None = None,
    largest: int = LARGEST,
    drop_prompts: bool = False,
) -> Conversion:
    """Writes a T5 of Hugging Face as a checkpoint of T5X, or the other way round.

    Parameters keep their bits and dtypes, unless `dtype` is given.

    Args:
      origin: a folder of safetensors with its `config.json`; or a step that T5X wrote,
        in any of its formats, or the `MODEL_DIR` that holds it.
      path: the new folder, local. For T5X, it is the step itself if it is called
        `checkpoint_N`, and otherwise the `MODEL_DIR` to put it in.
      step: the number of training steps of a checkpoint of T5X; by default, the one in
        the name of `path`, or 0.
      dtype: `float32` or `bfloat16` to convert all parameters to.
      vocabulary: the model's vocabulary file, which is copied; by default, the one
        beside it, if any.
      activation: what transformers calls the activation of the feed-forward layers, in
        its `feed_forward_proj`. A checkpoint of T5X does not say it; by default, it is
        `gated-gelu` (T5 1.1), or `relu` for layers with one branch (T5 1.0).
      largest: the most bytes of arrays in one file of safetensors.
      drop_prompts: whether to leave out the prompts that a checkpoint of T5X holds.

    Raises:
      RecyclingError: it is not a model of these kinds, or damaged; or the folder
        exists, or cannot be written. Nothing is left behind.
    """
    model = open_model(origin, vocabulary=vocabulary)
    new_dtype = None if dtype is None else np.dtype(dtype)
    if is_hugging_face(model):
        if activation is not None or drop_prompts:
            raise RecyclingError(
                f"{model.path} is a model of Hugging Face, whose config.json tells its "
                "activation, and which holds no prompts. Leave out "
                f"{'--activation' if activation is not None else '--drop_prompts'}."
            )
        path, step = _step_folder(path, step)
        _check(model, origin, path, vocabulary)
        with _held(path):
            config, arrays, notes = to_t5x.write(model, path, step, new_dtype)
        return Conversion(epath.Path(path), config, arrays, 0, notes)
    if step is not None:
        raise RecyclingError(
            f"{model.path} is a checkpoint of T5X, so the output is a folder of "
            "Hugging Face, which has no step. Leave out --step."
        )
    _check(model, origin, path, vocabulary)
    with _held(path):
        config, arrays, files, notes = to_hugging_face.write(
            model,
            path,
            new_dtype,
            activation=activation,
            largest=largest,
            drop_prompts=drop_prompts,
        )
    return Conversion(epath.Path(absolute(path)), config, arrays, files, notes)


def _held(path: epath.PathLike) -> contextlib.AbstractContextManager[holding.Hold]:
    return holding.held(
        f"{absolute(path)}.lock",
        f"another conversion writes {os.fspath(path)}",
        "Wait until it ends, or choose another output path.",
    )


def is_hugging_face(model: Model) -> bool:
    """Whether a model is a T5 of Hugging Face, as opposed to T5X.

    Raises:
      RecyclingError: it is neither.
    """
    if isinstance(model.layout, HuggingFaceT5):
        return True
    if isinstance(model.layout, T5X) and model.layout.matches(model.checkpoint):
        return False
    raise RecyclingError(
        f"{model.path} ({model.checkpoint.format}) cannot be converted: expected a "
        "checkpoint of T5X or a T5 model of Hugging Face (safetensors with "
        "config.json), found neither. `prompt-recycling inspect` says what it is."
    )


def _step_folder(path: epath.PathLike, step: int | None) -> tuple[str, int]:
    """Returns the folder of a step, and its number."""
    if not os.fspath(path):
        return "", 0
    folder = absolute(path)
    match = STEP_FOLDER.fullmatch(os.path.basename(folder))
    if match is None:
        step = 0 if step is None else step
        return os.path.join(folder, f"checkpoint_{step}"), step
    if step is not None and step != int(match[1]):
        raise RecyclingError(
            f"{path} is the name of step {int(match[1])}, but step {step} was asked "
            "for. Leave out --step, or give the MODEL_DIR that is to hold the step."
        )
    return folder, int(match[1])


def _check(
    model: Model,
    origin: Origin,
    path: epath.PathLike,
    vocabulary: epath.PathLike | None,
) -> None:
    check_new(path)
    given = model.path if isinstance(origin, (Model, np.ndarray)) else origin
    check_apart(
        {"--from": read_places(given), "--vocabulary": vocabulary}, {"--to": path}
    )
