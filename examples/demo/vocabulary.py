"""The vocabulary of the demo's language, as a SentencePiece model."""

from __future__ import annotations

import json
import pathlib

import sentencepiece

from examples.demo import language


def make(path: pathlib.Path) -> None:
    """Writes a SentencePiece model with a piece for each word of the language, and a
    list of these words, `words.json`, beside it.
    """
    words = language.vocabulary()
    path.parent.mkdir(parents=True, exist_ok=True)
    # A tab becomes a space. Without any rule, SentencePiece warns on every load.
    rules = path.with_suffix(".rules")
    rules.write_text("9\t20\n")
    sentencepiece.SentencePieceTrainer.train(
        # Earlier words seem more frequent, which keeps the pieces in this order.
        sentence_iterator=iter(
            word
            for rank, word in enumerate(words)
            for _ in range(2 * len(words) - rank)
        ),
        model_prefix=str(path.with_suffix("")),
        model_type="word",
        vocab_size=len(words) + 3,
        character_coverage=1.0,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        normalization_rule_tsv=str(rules),
        minloglevel=2,
    )
    path.with_suffix(".vocab").unlink()
    rules.unlink()
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(path))
    listed = {rank: pieces.id_to_piece(rank) for rank in range(3, pieces.vocab_size())}
    text = json.dumps(listed, ensure_ascii=False, indent=0)
    path.with_name("words.json").write_text(text + "\n")
