"""Make a word list: the English words of a vocabulary.

Keeps the pieces of a SentencePiece vocabulary that are words of one language, by how
frequent wordfreq finds them in that language and in the others the vocabulary was
made from. For T5's vocabulary (English, German, French, Romanian) the defaults make
the list that the package brings:

  python -m prompt_tuning_recycling.filter_vocabulary \\
    --vocabulary=sentencepiece.model --output_path=english_words_t5.json

With --compare_with it says how far the list agrees with another one.
Needs wordfreq: pip install 'prompt_tuning_recycling[vocabulary]'
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterable, Sequence
from typing import Any

from prompt_tuning_recycling import command_line
from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import check_writable, write_atomically
from prompt_tuning_recycling.words import (
    NUM_WORDS,
    WORD_OFFSET,
    load_vocabulary,
    load_word_list,
)

_WORD_START = "\u2581"  # SentencePiece writes the space before a word like this.


@dataclasses.dataclass(frozen=True)
class WordRule:
    """When a piece counts as a word of a language.

    Attributes:
      language: the language wanted, a code that wordfreq knows.
      others: the other languages of the vocabulary.
      min_zipf: frequency in the language at least this, on the Zipf scale (log10 of
        occurrences in a billion words; 3 is once in a million).
      min_share: share of the language in the summed frequency of all of them, so that
        a word which belongs to another language is left out.
    """

    language: str = "en"
    others: tuple[str, ...] = ("de", "fr", "ro")
    min_zipf: float = 3.0
    min_share: float = 0.3

    def __post_init__(self) -> None:
        wordfreq = _wordfreq()
        known = wordfreq.available_languages()
        for language in (self.language, *self.others):
            if language not in known:
                raise RecyclingError(
                    f"wordfreq knows no language {language!r}; it knows "
                    f"{', '.join(sorted(known))}."
                )
        if not 0 <= self.min_share <= 1:
            raise RecyclingError(
                f"expected min_share to be from 0 to 1, got {self.min_share}."
            )

    def is_word(self, text: str) -> bool:
        """Whether a piece, without the mark of a word's start, is such a word.

        Only ASCII letters count: a piece with digits, punctuation or accents is none.
        """
        if not (text.isascii() and text.isalpha()):
            return False
        wordfreq = _wordfreq()
        if wordfreq.zipf_frequency(text, self.language) < self.min_zipf:
            return False
        frequency = wordfreq.word_frequency(text, self.language)
        elsewhere = sum(wordfreq.word_frequency(text, other) for other in self.others)
        return frequency >= self.min_share * (frequency + elsewhere)


def filter_vocabulary(pieces: Iterable[str], rule: WordRule) -> dict[int, str]:
    """Returns index -> text of the pieces that are words, in index order.

    The mark of a word's start is left off, as in the paper's lists; so a text may
    stand at two indices, once as a whole word and once as the end of one.

    Args:
      pieces: all pieces of the vocabulary, in index order.
      rule: which of them are words.
    """
    texts = (piece.removeprefix(_WORD_START) for piece in pieces)
    return {index: text for index, text in enumerate(texts) if rule.is_word(text)}


def agreement(
    ours: Sequence[int], theirs: Sequence[int], num_words: int, word_offset: int
) -> dict[str, float]:
    """How far one list of indices agrees with another that is taken as right.

    Returns:
      `precision` and `recall` of the whole lists, and `overlap`, the share of the
      entries word_offset to word_offset + num_words that both have.
    """
    both = len(set(ours) & set(theirs))
    end = word_offset + num_words
    used = set(ours[word_offset:end]) & set(theirs[word_offset:end])
    return {
        "precision": both / len(ours),
        "recall": both / len(theirs),
        "overlap": len(used) / num_words,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line.

    Raises:
      RecyclingError: something given cannot be used; nothing was written.
    """
    flags = _parser().parse_args(arguments)
    rule = WordRule(
        flags.language, tuple(flags.others), flags.min_zipf, flags.min_share
    )
    check_writable(flags.output_path)
    theirs = load_word_list(flags.compare_with) if flags.compare_with else None
    vocabulary = load_vocabulary(flags.vocabulary)
    words = filter_vocabulary(
        (vocabulary.id_to_piece(i) for i in range(vocabulary.get_piece_size())), rule
    )
    if not words:
        raise RecyclingError(
            f"no piece of {flags.vocabulary} is a word of {rule.language!r} by these "
            "numbers. Lower --min_zipf or --min_share."
        )
    text = json.dumps({str(index): piece for index, piece in words.items()}, indent=0)
    write_atomically(flags.output_path, (text + "\n").encode())
    print(f"wrote {flags.output_path}: {len(words)} words")
    if theirs is not None:
        figures = agreement(
            list(words), list(theirs), flags.num_words, flags.word_offset
        )
        print(f"against {flags.compare_with}: {len(theirs)} words")
        for name, value in figures.items():
            print(f"  {name:10}{value:.3f}")


def _parser() -> argparse.ArgumentParser:
    default = WordRule.__dataclass_fields__
    parser = command_line.parser("prompt_tuning_recycling.filter_vocabulary", __doc__)
    parser.add_argument("--vocabulary", required=True, help="a SentencePiece model")
    parser.add_argument("--output_path", required=True, help="where the JSON list goes")
    parser.add_argument(
        "--language", default=default["language"].default, help="the language wanted"
    )
    parser.add_argument(
        "--others",
        nargs="*",
        default=list(default["others"].default),
        help="the other languages of the vocabulary",
    )
    parser.add_argument(
        "--min_zipf",
        type=float,
        default=default["min_zipf"].default,
        help="least frequency in the language, on the Zipf scale",
    )
    parser.add_argument(
        "--min_share",
        type=float,
        default=default["min_share"].default,
        help="least share of the language in the frequency over all languages",
    )
    parser.add_argument(
        "--compare_with", metavar="JSON", help="a word list to compare with"
    )
    parser.add_argument(
        "--num_words",
        type=int,
        default=NUM_WORDS,
        help="length of the slice compared separately",
    )
    parser.add_argument(
        "--word_offset", type=int, default=WORD_OFFSET, help="where that slice begins"
    )
    return parser


def _wordfreq() -> Any:
    try:
        import wordfreq
    except ImportError as error:
        raise RecyclingError(
            "making word lists needs wordfreq. Run: pip install "
            "'prompt_tuning_recycling[vocabulary]'"
        ) from error
    return wordfreq


if __name__ == "__main__":
    raise SystemExit(command_line.run(main))
