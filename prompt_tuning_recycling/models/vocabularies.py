"""SentencePiece vocabularies: read, and found beside a checkpoint."""

from __future__ import annotations

from typing import Any

from etils import epath

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import as_path, storage_errors

# What T5's and Hugging Face's releases call it.
_NAMES = ("sentencepiece.model", "spiece.model")
# Extra ids and padding, generously: umT5 has 300 and 84.
_MOST_ADDED = 1024


def load_vocabulary(path: epath.PathLike) -> Any:
    """Returns the `sentencepiece.SentencePieceProcessor` of a model file.

    Raises:
      RecyclingError: there is no such file, or it is not a SentencePiece model.
    """
    import sentencepiece  # Not needed for word lists; kept out of their start-up.

    path = as_path(path)
    try:
        model = path.read_bytes()
        # SentencePiece takes an empty file for "load later".
        if not model:
            raise RuntimeError("an empty file")
        return sentencepiece.SentencePieceProcessor(model_proto=model)
    except storage_errors(RuntimeError) as error:
        raise RecyclingError(
            f"cannot read the vocabulary {path}: expected a SentencePiece model "
            f"(for T5: sentencepiece.model), found: {error}"
        ) from error


def table_sizes(vocabulary: Any) -> tuple[int, int]:
    """The least and the most rows that tables of a SentencePiece vocabulary have."""
    pieces = vocabulary.vocab_size()
    return pieces, pieces + _MOST_ADDED


def beside(checkpoint: epath.Path) -> epath.Path | None:
    """Returns the vocabulary's file in a checkpoint's folder or the one above it."""
    for folder in (checkpoint, checkpoint.parent):
        for name in _NAMES:
            if (folder / name).is_file():
                return folder / name
    return None
