"""What a run takes from its initial checkpoint if no model file is named: the network's
sizes and the vocabulary.
"""

from __future__ import annotations

import os

import gin
from etils import epath

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.models import open_model, vocabularies
from prompt_tuning_recycling.network import T5Config, Transformer

_MODULE = "prompt_tuning_recycling.standalone.from_checkpoint"


@gin.register(module=_MODULE)
def network_of(
    checkpoint_path: epath.PathLike,
    prompt_length: int = 0,
    dtype: str = "float32",
    dropout_rate: float = 0.0,
) -> Transformer:
    """Returns the network that a checkpoint's own configuration describes.

    Args:
      checkpoint_path: the checkpoint, in any format that `open_model` reads.
      prompt_length: how many vectors the network's prompt has; 0 for no prompt.
      dtype: dtype of the activations.
      dropout_rate: share of the activations that training drops.

    Raises:
      RecyclingError: the checkpoint has no configuration, or this package's network
        cannot be that model.
    """
    model = open_model(checkpoint_path)
    sizes = model.network_sizes
    if sizes is None:
        raise RecyclingError(
            f"no model file was named, and {model.path} has no configuration that says "
            "its sizes. Name its model file, as in "
            "--gin_file=models/t5_1_1_base_prompt.gin."
        )
    return Transformer(
        T5Config(
            **sizes,
            prompt_length=prompt_length,
            dtype=dtype,
            dropout_rate=dropout_rate,
        )
    )


@gin.register(module=_MODULE)
def vocabulary_file(checkpoint_path: epath.PathLike, otherwise: str) -> str:
    """Returns the path of the SentencePiece model beside a checkpoint.

    Args:
      checkpoint_path: the checkpoint, in any format that `open_model` reads.
      otherwise: what to return if there is none.

    Raises:
      RecyclingError: the checkpoint cannot be opened.
    """
    found = vocabularies.beside(open_model(checkpoint_path).path)
    is_sentencepiece = found is not None and found.suffix == ".model"
    return os.fspath(found) if found is not None and is_sentencepiece else otherwise
