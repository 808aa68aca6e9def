"""`Words`: the words that a recycler is fitted on and the words it is judged on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from etils import epath

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import as_path
from prompt_tuning_recycling.models.vocabularies import Vocabulary
from prompt_tuning_recycling.words import lists
from prompt_tuning_recycling.words.aligned import AlignedWords

if TYPE_CHECKING:
    from jaxtyping import Int

# The first 1000 entries of the package's list are function words and word fragments.
NUM_WORDS = 4000
WORD_OFFSET = 1000
AUTO = "auto"
# Least squares needs well over one word for each dimension (docs/wide_models.md).
WORDS_PER_DIMENSION = 2
MAX_HELD_OUT = 1000
MIN_WORDS = 2

# T5's 32,000 pieces with 100 extra ids, in tables padded to a multiple of 128.
_T5_TABLES = (32_000, 32_256)


@dataclasses.dataclass(frozen=True, eq=False)
class Words:
    """The words that a recycler is fitted on, and others that it is judged on.

    Attributes:
      fitted: the words to fit on.
      held_out: words that the fit does not see; the record says how well the map
        generalizes to them. May be empty.
      origin: where the words come from, for the record.
      table_sizes: the fewest and the most rows that an embedding table of the words'
        vocabulary has; None if the vocabulary is not known.
      for_wide_models: the words to take instead for source models for which `fitted`
        are too few; None if there are no others. See `enough_for`.
      allow_few: whether models of different vocabularies may have only few of the words
        in common; see `in_models`.
      warnings: sentences to read before trusting a map that is fitted on the words.

    Raises:
      RecyclingError: there are fewer than two different words to fit on.
    """

    fitted: AlignedWords
    held_out: AlignedWords
    origin: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    table_sizes: tuple[int, int] | None = None
    for_wide_models: Words | None = None
    allow_few: bool = False
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        different = len(np.unique(self.fitted.source_rows))
        if different < MIN_WORDS:
            raise RecyclingError(
                f"a recycler is fitted on at least {MIN_WORDS} different words, found "
                f"{different}. Give more words."
            )

    def enough_for(self, source_dim: int) -> Words:
        """Returns these words, or those for wide models if these are fewer than twice
        the source model's width. `read_embeddings` calls it.
        """
        few = too_few(len(self.fitted), source_dim)
        return self.for_wide_models if few and self.for_wide_models else self

    @classmethod
    def from_list(
        cls,
        path: epath.PathLike | None = None,
        num_words: int | Literal["auto"] | None = NUM_WORDS,
        word_offset: int = WORD_OFFSET,
        *,
        allow_few: bool = False,
    ) -> Words:
        """Returns entries `word_offset` to `word_offset + num_words` of a word list.

        Up to 1000 others are held out: first those that follow, then the skipped ones.

        Args:
          path: a JSON word list; None means the package's English list.
          num_words: how many words to take; None means all from `word_offset` on;
            "auto" means 4000, as in the paper, but all if the source model is so wide
            that 4000 are fewer than twice its width, or if there are fewer.
          word_offset: how many words to skip at the beginning.
          allow_few: whether models of different vocabularies may have only few of the
            words in common.

        Raises:
          RecyclingError: the list is malformed, or too short for these numbers.
        """
        known = num_words in (None, AUTO) or (
            isinstance(num_words, int) and num_words >= MIN_WORDS
        )
        if word_offset < 0 or not known:
            raise RecyclingError(
                f"expected num_words of at least {MIN_WORDS}, {AUTO!r} or None, and "
                f"word_offset of at least 0, got {num_words!r} and {word_offset}."
            )
        if not isinstance(num_words, str):
            words = cls._from_list(path, num_words, word_offset)
        else:
            words = every = cls._from_list(path, None, word_offset)
            if len(every.fitted) > NUM_WORDS:
                some = cls._from_list(path, NUM_WORDS, word_offset)
                words = dataclasses.replace(some, for_wide_models=every)
        return dataclasses.replace(words, allow_few=allow_few)

    @classmethod
    def _from_list(
        cls, path: epath.PathLike | None, num_words: int | None, word_offset: int
    ) -> Words:
        pieces, digest = lists.load(path)
        name = f"packaged:{lists.PACKAGED}" if path is None else str(as_path(path))
        wanted = MIN_WORDS if num_words is None else num_words
        if len(pieces) < word_offset + wanted:
            raise RecyclingError(
                f"the word list {name} has {len(pieces)} words: too few to skip "
                f"{word_offset} and take {wanted}. Lower word_offset or num_words, "
                "or give a longer list."
            )
        of_t5 = path is None or lists.is_of_t5(pieces)
        end = len(pieces) if num_words is None else word_offset + num_words
        indices = list(pieces)
        others = [*indices[end:], *indices[:word_offset]]
        return cls(
            AlignedWords.of_one_vocabulary(indices[word_offset:end], pieces),
            AlignedWords.of_one_vocabulary(others[:MAX_HELD_OUT], pieces),
            {
                "word_list": name,
                "word_list_sha256": digest,
                "num_words": end - word_offset,
                "word_offset": word_offset,
            },
            _T5_TABLES if of_t5 else None,
        )

    @classmethod
    def from_text(
        cls, text: str, vocabulary: epath.PathLike, *, allow_few: bool = False
    ) -> Words:
        """Returns the pieces of a text, in order and as often as they occur. For the
        paper's "wayward" prompts, this is the text that the prompts stay close to.

        Args:
          text: any text.
          vocabulary: the model's SentencePiece file or `tokenizer.json`.
          allow_few: as for `from_list`.

        Raises:
          RecyclingError: there is no such vocabulary, the text has half a character,
            or it has fewer than two different pieces.
        """
        lists.check_text(text, "the text to take words from")
        known = Vocabulary(vocabulary)
        rows = known.encode(text)
        of_rows = {row: piece for row in rows if (piece := known.pieces[row])}
        return cls(
            AlignedWords.of_one_vocabulary(rows, of_rows),
            AlignedWords.of_one_vocabulary([]),
            {"text": text, "vocabulary": str(as_path(vocabulary))},
            known.table_sizes,
            allow_few=allow_few,
        )

    @classmethod
    def from_rows(
        cls,
        rows: Sequence[int] | Int[np.ndarray, words],
        held_out: Sequence[int] | Int[np.ndarray, held_out] = (),
    ) -> Words:
        """Returns the words at these rows, which are the same in both models.

        Raises:
          RecyclingError: the rows are not whole numbers, or as for the class.
        """
        return cls(
            AlignedWords.of_one_vocabulary(rows),
            AlignedWords.of_one_vocabulary(held_out),
            {"rows": "given outright"},
        )


def too_few(count: int, source_dim: int) -> bool:
    """Whether a source model of this width needs more words than these."""
    return count < WORDS_PER_DIMENSION * source_dim


def of_another_vocabulary(
    sizes: tuple[int, int] | None, rows: int, where: str
) -> str | None:
    """Returns a warning if a table's size shows that words are not a model's; or None.

    Args:
      sizes: the sizes of the words' vocabulary; see `Words.table_sizes`.
      rows: the number of rows of the model's embedding table.
      where: the model's path.
    """
    if sizes is None or sizes[0] <= rows <= sizes[1]:
        return None
    return (
        f"the words are of another vocabulary than the model {where}: its "
        f"embedding table has {rows} rows, but tables of the words' vocabulary have "
        f"{sizes[0]} to {sizes[1]}. The same indices are other pieces there. Give "
        "a list of the model's own vocabulary (--filtered_word, WORD_LIST in gin; "
        "filter_vocabulary makes one), or its own SentencePiece file."
    )
