"""Make a word list: the words of one language in a vocabulary.

A piece is a word of the language if it consists only of letters, if the language uses
it at least once per million words, and if no other language uses it more than five
times as often. The frequencies come from wordfreq; docs/word_list.md tests the rule.

  python -m prompt_tuning_recycling.words.filter_vocabulary \\
    --vocabulary=/models/t5/sentencepiece.model --output_path=words.json
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import json
import types
from collections.abc import Mapping, Sequence

from etils import epath

from prompt_tuning_recycling import command_line
from prompt_tuning_recycling.errors import RecyclingError, did_you_mean
from prompt_tuning_recycling.files import check_writable, write_atomically
from prompt_tuning_recycling.files.guard import check_apart
from prompt_tuning_recycling.models.vocabularies import BEGINS_WORD, Vocabulary
from prompt_tuning_recycling.words import NUM_WORDS, WORD_OFFSET, lists

# wordfreq's lists of the words used at least once per million words. It has larger
# lists for some languages only, but the rule does not need them: a word that is used
# once per million and is five times as frequent elsewhere is in both small lists.
_WORDLIST = "small"
# Languages written without spaces; wordfreq needs extra tokenizers for them.
_NO_SPACES = frozenset({"ja", "ko", "zh"})


@dataclasses.dataclass(frozen=True)
class WordRule:
    """What makes a piece a word of a language.

    Neither case nor the position in a word matters: "Market", "market" and the piece
    "market" within a longer word get the same answer.

    Attributes:
      language: a language's code in wordfreq, such as "en".
      most_times_elsewhere: how many times as frequent a word may be in another
        language. It is above 1 because "a", "to" and "international" are English even
        though other languages use the same letters more often. Far above 1, German
        "die" would count as English.
    """

    language: str = "en"
    most_times_elsewhere: float = 5.0


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How well a word list agrees with a published one.

    Attributes:
      precision: the share of the list's entries that are in the published list.
      recall: the share of the published list's entries that are in the list.
      slice_overlap: the share that the two lists have in common of the entries that
        recycling would use: `num_words` of each list after skipping `word_offset`.
    """

    precision: float
    recall: float
    slice_overlap: float


def filter_vocabulary(
    pieces: Sequence[str], rule: WordRule | None = None
) -> dict[int, str]:
    """Returns index -> word for the pieces that are words, in index order.

    Args:
      pieces: the vocabulary's pieces by index; the returned words do not include
        SentencePiece's mark for the beginning of a word.
      rule: what makes a piece a word; None means the rule for English.

    Raises:
      RecyclingError: wordfreq is not installed or does not know the language.
    """
    rule = rule or WordRule()
    wordfreq = _wordfreq()
    languages = set(wordfreq.available_languages(_WORDLIST)) - _NO_SPACES
    if rule.language not in languages:
        raise RecyclingError(
            f"wordfreq has no word frequencies for the language {rule.language!r}; "
            "expected a code such as 'en'." + did_you_mean(rule.language, languages)
        )
    others = sorted(languages - {rule.language})

    def is_word(text: str) -> bool:
        if not text.isalpha():
            return False
        frequency = wordfreq.word_frequency(text, rule.language, _WORDLIST)
        most = rule.most_times_elsewhere * frequency
        return frequency > 0 and all(
            wordfreq.word_frequency(text, other, _WORDLIST) <= most for other in others
        )

    texts = (piece.removeprefix(BEGINS_WORD) for piece in pieces)
    return {index: text for index, text in enumerate(texts) if is_word(text)}


def read_pieces(vocabulary: epath.PathLike) -> list[str]:
    """Returns a vocabulary's pieces by index.

    Control symbols, bytes, unused pieces and the unknown piece become "", because they
    are not text, regardless of their names.

    Raises:
      RecyclingError: there is no such file, or it is neither a SentencePiece model nor
        a `tokenizer.json`.
    """
    return [piece or "" for piece in Vocabulary(vocabulary).pieces]


def compare(
    words: Mapping[int, str],
    published: Mapping[int, str],
    word_offset: int = WORD_OFFSET,
    num_words: int = NUM_WORDS,
) -> Agreement:
    """Returns how well a word list agrees with a published one.

    Raises:
      RecyclingError: one of them is too short to skip `word_offset` entries and take
        `num_words`.
    """
    if word_offset < 0 or num_words < 1:
        raise RecyclingError(
            "expected num_words of at least 1 and word_offset of at least 0, got "
            f"{num_words} and {word_offset}."
        )
    shortest = min(len(words), len(published))
    if shortest < word_offset + num_words:
        raise RecyclingError(
            f"the lists have {len(words)} and {len(published)} words: too few to skip "
            f"{word_offset} and take {num_words} of each. Lower word_offset or "
            "num_words."
        )
    chosen, expected = (
        set(list(entries)[word_offset : word_offset + num_words])
        for entries in (words, published)
    )
    common = len(words.keys() & published.keys())
    return Agreement(
        precision=common / len(words),
        recall=common / len(published),
        slice_overlap=len(chosen & expected) / num_words,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line.

    Raises:
      RecyclingError: an argument cannot be used; nothing was written.
    """
    flags = _parser().parse_args(arguments)
    check_writable(flags.output_path)
    check_apart(
        {"--vocabulary": flags.vocabulary, "--compare_with": flags.compare_with},
        {"--output_path": flags.output_path},
    )
    published = None
    if flags.compare_with is not None:
        published, _ = lists.load(flags.compare_with)
    words = filter_vocabulary(
        read_pieces(flags.vocabulary), WordRule(language=flags.language)
    )
    if not words:
        raise RecyclingError(
            f"the vocabulary {flags.vocabulary} has no word of the language "
            f"{flags.language!r}; expected a vocabulary made from text in it."
        )
    agreement = None
    if published is not None:
        agreement = compare(words, published, flags.word_offset, flags.num_words)
    write_atomically(flags.output_path, _as_json(words))
    version = importlib.metadata.version("wordfreq")
    print(f"wrote {flags.output_path}: {len(words)} words (wordfreq {version})")
    if agreement:
        end = flags.word_offset + flags.num_words
        print(f"compared with {flags.compare_with}:")
        print(f"  precision {agreement.precision:.3f}")
        print(f"  recall {agreement.recall:.3f}")
        print(
            f"  entries {flags.word_offset} to {end} of both: "
            f"{agreement.slice_overlap:.3f} in common"
        )


def _parser() -> argparse.ArgumentParser:
    parser = command_line.parser(
        "filter_vocabulary", "--vocabulary=... --output_path=... [flags]", __doc__
    )
    parser.add_argument(
        "--vocabulary",
        required=True,
        metavar="MODEL",
        help="a SentencePiece model or a tokenizer.json",
    )
    parser.add_argument(
        "--output_path",
        required=True,
        metavar="JSON",
        help='the file to write the list to, {"<vocabulary index>": "<piece>", ...}',
    )
    parser.add_argument(
        "--language", default="en", help="the language's code in wordfreq"
    )
    comparison = parser.add_argument_group("compare the list with another")
    comparison.add_argument(
        "--compare_with",
        metavar="JSON",
        help="a word list; prints precision, recall and what both have in common",
    )
    comparison.add_argument(
        "--word_offset",
        type=int,
        default=WORD_OFFSET,
        help="how many entries recycling skips",
    )
    comparison.add_argument(
        "--num_words", type=int, default=NUM_WORDS, help="how many it then takes"
    )
    return parser


def _wordfreq() -> types.ModuleType:
    try:
        import wordfreq  # Only making lists needs it; using them does not.
    except ImportError as error:
        raise RecyclingError(
            "making a word list needs the library wordfreq, which is not installed. "
            "Run: pip install 'prompt_tuning_recycling[vocabulary]'"
        ) from error
    return wordfreq


def _as_json(words: Mapping[int, str]) -> bytes:
    """Returns ASCII JSON, one entry per line, like the list in the paper's code."""
    return (json.dumps(words, indent=2) + "\n").encode("ascii")


if __name__ == "__main__":
    raise SystemExit(command_line.run(main))
