"""Chooses a prompt, in a job of its own or as the start of another run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import gin
from etils import epath

from prompt_tuning_recycling import run_folder
from prompt_tuning_recycling.choosing import teacher as teachers
from prompt_tuning_recycling.choosing.chooser import Chooser
from prompt_tuning_recycling.choosing.chosen import FOLDER, ChosenPrompt
from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import check_store_writable, check_writable
from prompt_tuning_recycling.initial_prompts import InitialPrompt
from prompt_tuning_recycling.models import Model, open_model
from prompt_tuning_recycling.prompts import Prompt
from prompt_tuning_recycling.standalone.model import EncoderDecoder
from prompt_tuning_recycling.standalone.prompted import PromptedModel, source_model

_MODULE = "prompt_tuning_recycling.standalone.choosing"


@gin.configurable(module=_MODULE)
def choose(
    model: EncoderDecoder,
    chooser: Chooser,
    checkpoint_path: epath.PathLike,
    output_dir: epath.PathLike,
    batch_size: int = 32,
) -> ChosenPrompt:
    """Chooses a prompt for a model, and prints what each candidate is worth.

    Args:
      model: the network, with a prompt, and how it decodes.
      chooser: what to choose among.
      checkpoint_path: the model without a prompt, in any format.
      output_dir: gets `chosen/prompt.npy` with its record and a picture.
      batch_size: how many choices of inputs are scored at once.

    Raises:
      RecyclingError: anything given cannot be used, or another run is at work in the
        folder.
    """
    check_store_writable(output_dir)
    with run_folder.held(output_dir, "CHOOSE_OUTPUT_DIR") as hold:
        chosen = _chosen(model, chooser, open_model(checkpoint_path), batch_size)
        hold.check()
        chosen.publish(output_dir)
    return chosen


@gin.configurable(module=_MODULE)
def teach(
    model: EncoderDecoder,
    chooser: Chooser,
    teacher_scores: epath.PathLike,
    batch_size: int = 32,
) -> None:
    """Writes the answers of the source model, with its own prompt, to a file.

    Args:
      model: the source's network, with a prompt, and how it decodes.
      chooser: the source and the inputs; its candidates are not used.
      teacher_scores: the file.
      batch_size: how many choices of inputs are scored at once.

    Raises:
      RecyclingError: anything given cannot be used.
    """
    check_writable(teacher_scores)
    inputs = chooser.read_inputs()
    taught = chooser.teach(
        inputs,
        lambda checkpoint, _: PromptedModel(
            model, checkpoint, batch_size, ignore_prompts=True
        ),
    )
    teachers.save(taught, inputs, teacher_scores)
    print(f"wrote {teacher_scores}", flush=True)


@gin.register(module=_MODULE)
@dataclasses.dataclass(frozen=True)
class Chosen(InitialPrompt):
    """A prompt that is recycled in several ways and chosen on unlabeled inputs.

    Attributes:
      model: the network and how it decodes.
      chooser: what to choose among.
      batch_size: how many choices of inputs are scored at once.
    """

    kept_in = FOLDER

    model: Any
    chooser: Chooser
    batch_size: int = 32

    def declared(self) -> dict[str, Any]:
        return self.chooser.declared()

    def changes(self, record: Mapping[str, Any], target: Model) -> list[str]:
        return self.chooser.recycled.changes(record, target)

    def make(self, target: Model, length: int, site: str | None = None) -> Prompt:
        if not isinstance(self.model, EncoderDecoder):
            raise RecyclingError(
                "T5X chooses a prompt in a job of its own. Run python -m "
                "prompt_tuning_recycling.t5x_host.choose with "
                "--gin_file=runs/t5x/choose.gin, then start from its prompt: "
                "--gin_file=prompts/from_file.gin "
                "--gin.PROMPT_FILE=\"'.../chosen/prompt.npy'\"."
            )
        chosen = _chosen(self.model, self.chooser, target, self.batch_size)
        for line in chosen.lines():
            print(line, flush=True)
        return chosen.prompt


def _chosen(
    model: EncoderDecoder, chooser: Chooser, target: Model, batch_size: int
) -> ChosenPrompt:
    return chooser.choose(
        target,
        lambda: PromptedModel(model, target, batch_size),
        lambda source, length: source_model(model, source, length, batch_size),
    )
