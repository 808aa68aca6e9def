"""Inference: writes a task's predictions or scores to a file, example by example."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import gin
import numpy as np
import seqio
from etils import epath

from prompt_tuning_recycling import run_folder
from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.evaluation.gin_file import write_config
from prompt_tuning_recycling.files import (
    as_path,
    check_store_writable,
    write_atomically,
)
from prompt_tuning_recycling.models import open_model
from prompt_tuning_recycling.standalone import evaluation, parameters
from prompt_tuning_recycling.standalone.data import (
    DatasetConfig,
    check_lengths,
    enumerated_batches,
)
from prompt_tuning_recycling.standalone.model import EncoderDecoder

MODES = ("predict", "score", "predict_with_aux")


@gin.configurable(module="prompt_tuning_recycling.standalone.inference")
def infer(
    model: EncoderDecoder,
    dataset: DatasetConfig,
    checkpoint_path: epath.PathLike,
    output_dir: epath.PathLike,
    mode: str = "predict",
) -> list[epath.Path]:
    """Writes each example's prediction or score, as T5X does, to
    `output_dir/<task>-<mode>.jsonl`.

    Args:
      model: the network and how it decodes.
      dataset: the task or mixture; `task_feature_lengths` must be set.
      checkpoint_path: a checkpoint of any format, or a `MODEL_DIR`.
      output_dir: gets the files, `config.gin`, and `recycled_prompt/`.
      mode: `predict` for decoded text, `score` for the log-likelihood of the targets,
        `predict_with_aux` for decoded text and its score.

    Returns:
      The paths of the files, one for each task.

    Raises:
      RecyclingError: anything given cannot be used, or another run is at work in the
        folder.
    """
    if mode not in MODES:
        raise RecyclingError(
            f"mode: expected one of {', '.join(MODES)}, found {mode!r}."
        )
    check_lengths(dataset.task_feature_lengths)
    tasks = seqio.get_subtasks(dataset.task_or_mixture())
    check_store_writable(output_dir)
    checkpoint = open_model(checkpoint_path)
    paths = []
    with run_folder.held(output_dir, "INFER_OUTPUT_DIR") as hold:
        loaded = parameters.load(checkpoint, model.module, output_dir)
        hold.check()
        write_config(output_dir)
        nested = parameters.nested(loaded)
        for task in tasks:
            text = "".join(_lines(model, nested, task, dataset, mode))
            path = as_path(output_dir) / f"{task.name.replace(':', '_')}-{mode}.jsonl"
            hold.check()
            write_atomically(path, text.encode())
            print(f"wrote {path}", flush=True)
            paths.append(path)
    return paths


def _lines(
    model: EncoderDecoder,
    nested: Any,
    task: seqio.Task,
    dataset: DatasetConfig,
    mode: str,
) -> Iterator[str]:
    examples = task.get_dataset(
        sequence_length=dataset.task_feature_lengths,
        split=dataset.split,
        shuffle=False,
        seed=dataset.seed,
        use_cached=dataset.use_cached,
    )
    converter = seqio.EncDecFeatureConverter(pack=False)
    features = converter(examples, dataset.task_feature_lengths).enumerate()
    batches = enumerated_batches(features, dataset.batch_size)
    outputs: Iterator[dict[str, Any]]
    if mode == "score":
        outputs = (
            {"score": float(score)}
            for _, score in evaluation.scored(model, nested, batches)
        )
    else:
        outputs = (
            {
                "prediction": model.vocabulary.decode(tokens.tolist()),
                **({"aux": {"scores": float(score)}} if mode != "predict" else {}),
            }
            for _, tokens, score in evaluation.predicted(model, nested, batches)
        )
    for example, output in zip(examples.as_numpy_iterator(), outputs, strict=True):
        inputs = {
            name: _plain(value)
            for name, value in example.items()
            if name.endswith("_pretokenized")
        }
        yield json.dumps({"inputs": inputs, **output}, ensure_ascii=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    return value.tolist() if isinstance(value, np.ndarray) else value
