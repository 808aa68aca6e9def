"""Chooses a prompt in T5X, in a job of its own."""

from __future__ import annotations

import functools

import gin
from etils import epath
from t5x import models, partitioning, utils

from prompt_tuning_recycling.choosing import teacher as teachers
from prompt_tuning_recycling.choosing.chooser import Chooser
from prompt_tuning_recycling.choosing.chosen import ChosenPrompt
from prompt_tuning_recycling.files import check_writable
from prompt_tuning_recycling.models import Model, open_model
from prompt_tuning_recycling.t5x_host import held_folder
from prompt_tuning_recycling.t5x_host.processes import (
    from_process_zero,
    on_process_zero,
)
from prompt_tuning_recycling.t5x_host.prompted import (
    PromptedModel,
    restored_from,
    source_model,
)

_MODULE = "prompt_tuning_recycling.t5x_host.choosing"


@gin.configurable(module=_MODULE)
def choose(
    model: models.BaseTransformerModel,
    chooser: Chooser,
    restore_checkpoint_cfg: utils.RestoreCheckpointConfig,
    partitioner: partitioning.BasePartitioner,
    output_dir: epath.PathLike,
    batch_size: int = 32,
) -> ChosenPrompt:
    """Chooses a prompt for a model, and prints what each candidate is worth. Process 0
    recycles the candidates, decides, and writes; all processes score.

    Args:
      model: the network, with a prompt, and how it decodes.
      chooser: what to choose among.
      restore_checkpoint_cfg: the model without a prompt.
      partitioner: T5X's partitioner.
      output_dir: gets `chosen/prompt.npy` with its record and a picture.
      batch_size: how many choices of inputs are scored at once, on all devices.

    Raises:
      RecyclingError: anything given cannot be used, or another run is at work in the
        folder.
    """
    load = (restore_checkpoint_cfg, partitioner, batch_size)
    on_process_zero(lambda: held_folder.hold(output_dir, "CHOOSE_OUTPUT_DIR"))
    chosen = chooser.choose(
        open_model(restore_checkpoint_cfg.path),
        lambda: PromptedModel(model, *load),
        functools.partial(source_model, model, *load),
        from_process_zero,
    )

    def publish() -> None:
        held_folder.check(output_dir)
        chosen.publish(output_dir)

    on_process_zero(publish)
    return chosen


@gin.configurable(module=_MODULE)
def teach(
    model: models.BaseTransformerModel,
    chooser: Chooser,
    restore_checkpoint_cfg: utils.RestoreCheckpointConfig,
    partitioner: partitioning.BasePartitioner,
    teacher_scores: epath.PathLike,
    batch_size: int = 32,
) -> None:
    """Writes the answers of the source model, with its own prompt, to a file.

    Args:
      model: the source's network, with a prompt, and how it decodes.
      chooser: the source and the inputs; its candidates are not used.
      restore_checkpoint_cfg: how to restore the source; its path is not used.
      partitioner: T5X's partitioner.
      teacher_scores: the file.
      batch_size: how many choices of inputs are scored at once, on all devices.

    Raises:
      RecyclingError: anything given cannot be used.
    """

    def load(checkpoint: Model, prompt_length: int) -> PromptedModel:
        del prompt_length
        restore_cfg = restored_from(restore_checkpoint_cfg, checkpoint)
        return PromptedModel(
            model, restore_cfg, partitioner, batch_size, ignore_prompts=True
        )

    on_process_zero(lambda: check_writable(teacher_scores))
    inputs = chooser.read_inputs()
    taught = chooser.teach(inputs, load)

    def save() -> None:
        teachers.save(taught, inputs, teacher_scores)
        print(f"wrote {teacher_scores}", flush=True)

    on_process_zero(save)
