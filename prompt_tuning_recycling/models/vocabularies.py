"""Reads SentencePiece vocabularies and finds them beside checkpoints."""

from __future__ import annotations

from typing import Any

from etils import epath

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import as_path, storage_errors

# The file's names in the releases of T5 and of Hugging Face.
_NAMES = ("sentencepiece.model", "spiece.model")
# Room for extra ids and padding; umT5 has 300 and 84.
_MOST_ADDED = 1024


def load_vocabulary(path: epath.PathLike) -> Any:
    """Returns the `sentencepiece.SentencePieceProcessor` of a model file.

    Raises:
      RecyclingError: there is no such file, or it is not a SentencePiece model.
    """
    import sentencepiece  # Imported here because word lists do not need it.

    path = as_path(path)
    try:
        model = path.read_bytes()
        # SentencePiece would accept an empty model as "load later".
        if not model:
            raise RuntimeError("an empty file")
        return sentencepiece.SentencePieceProcessor(model_proto=model)
    except storage_errors(RuntimeError) as error:
        raise RecyclingError(
            f"cannot read the vocabulary {path}: expected a SentencePiece model "
            f"(for T5: sentencepiece.model), found: {error}"
        ) from error


def table_sizes(vocabulary: Any) -> tuple[int, int]:
    """Returns the fewest and the most rows of tables for a SentencePiece vocabulary."""
    pieces = vocabulary.vocab_size()
    return pieces, pieces + _MOST_ADDED


def beside(checkpoint: epath.Path) -> epath.Path | None:
    """Returns the vocabulary file in a checkpoint's folder or its parent, or None."""
    for folder in (checkpoint, checkpoint.parent):
        for name in _NAMES:
            if (folder / name).is_file():
                return folder / name
    return None
