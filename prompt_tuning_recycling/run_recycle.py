"""Recycle one prompt for another model.

Reads the embeddings of a few thousand words from the model the prompt was tuned on and
from the target model, learns a map from one to the other, and applies it to the prompt.
This needs no task data, no training of either model, and no T5X.

  python -m prompt_tuning_recycling.run_recycle \\
    --source_model=/models/source/checkpoint_1100000 \\
    --target_model=/models/target/checkpoint_1100000 \\
    --prompt_path=/prompts/sst2.npy --output_path=/prompts/sst2-for-target.npy \\
    --recycler=v2v-lin --report

Several source models, each with its prompt, give the mean of what is recycled from
each: --source_model=A --source_model=B --prompt_path=OF_A --prompt_path=OF_B

The prompt may be a PEFT adapter; --output_format=peft writes one.

The prompt's record is written beside it, to <output_path>.json, or into its adapter.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from etils import epath

from prompt_tuning_recycling import command_line, recyclers
from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import (
    absolute,
    check_folder_writable,
    check_writable,
    holding,
)
from prompt_tuning_recycling.files.guard import check_apart
from prompt_tuning_recycling.maps import save_map
from prompt_tuning_recycling.models import open_model, read_places
from prompt_tuning_recycling.prompts import load_prompt, save_adapter
from prompt_tuning_recycling.prompts.adapter import check_adapter
from prompt_tuning_recycling.prompts.prompt import record_path
from prompt_tuning_recycling.records.text import prompt_text, record_text
from prompt_tuning_recycling.recyclers import flags as recycler_flags
from prompt_tuning_recycling.recycling import (
    RecycledPrompt,
    one_each,
    paired,
    recycle_prompt,
)
from prompt_tuning_recycling.words import (
    FEWEST_WORDS,
    NUM_WORDS,
    WORD_OFFSET,
    Words,
)

_PEFT = "peft"


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line.

    Raises:
      RecyclingError: an argument cannot be used; nothing was written.
    """
    flags = _parser().parse_args(arguments)
    recycler = _recycler(flags)
    paired(flags.source_model, flags.prompt_path)
    _check_outputs(flags)
    with holding.held(
        _lock(flags),
        f"another run is at work on {flags.output_path}",
        "Wait until it ends, or choose another output path.",
    ) as hold:
        recycled = _recycle(flags, recycler, hold)
    if flags.report:
        print(record_text(recycled.record))
    print(f"wrote {flags.output_path} {list(recycled.array.shape)}")


def _recycle(
    flags: argparse.Namespace, recycler: recyclers.Recycler, hold: holding.Hold
) -> RecycledPrompt:
    of_sources = flags.source_embedding_name or flags.embedding_name
    of_target = flags.target_embedding_name or flags.embedding_name
    vocabularies = one_each(flags.source_vocabulary, len(flags.source_model))
    sources = [
        open_model(path, embedding_name=of_sources, vocabulary=vocabulary)
        for path, vocabulary in zip(flags.source_model, vocabularies, strict=True)
    ]
    target = open_model(
        flags.target_model,
        embedding_name=of_target,
        vocabulary=flags.target_vocabulary,
    )
    if flags.output_format == _PEFT:
        check_adapter(flags.output_path, target)
    prompts = [open_model(path, task=flags.task) for path in flags.prompt_path]
    for prompt in prompts if flags.report else ():
        tuned = load_prompt(prompt, flags.prompt_name)
        print(prompt_text(tuned.array, str(prompt.path)), flush=True)
    recycled = recycle_prompt(
        sources,
        target,
        prompts,
        words=_words(flags),
        recycler=recycler,
        prompt_name=flags.prompt_name,
    )
    hold.check()
    if flags.save_recycler and recycled.fit is not None:
        metadata = {"recycler": recycled.record["recycler"]}
        save_map(recycled.fit.map, flags.save_recycler, metadata)
    if flags.output_format == _PEFT:
        save_adapter(recycled, flags.output_path, target)
    else:
        recycled.save(flags.output_path)
    return recycled


def _parser() -> argparse.ArgumentParser:
    parser = command_line.parser(
        "run_recycle",
        "--source_model=... --target_model=... --prompt_path=... --output_path=... "
        "[flags]",
        __doc__,
    )
    models = parser.add_argument_group("what to recycle")
    checkpoint = (
        "a checkpoint that T5X wrote (checkpoint_N, or the MODEL_DIR that holds it, "
        "for its newest step), a folder of safetensors, or a numpy file"
    )
    models.add_argument(
        "--source_model",
        required=True,
        nargs="+",
        action="extend",
        help=f"the model the prompt was tuned on: {checkpoint} of its embedding table. "
        "Several models give the mean of what is recycled from each",
    )
    models.add_argument(
        "--target_model", required=True, help="the model to recycle the prompt for"
    )
    models.add_argument(
        "--prompt_path",
        required=True,
        nargs="+",
        action="extend",
        help="the prompt: a numpy file [length, width], the folder of a PEFT adapter, "
        "or a checkpoint that holds it. One for each source model, in the same order",
    )
    models.add_argument(
        "--output_path",
        required=True,
        help="the numpy file to write the recycled prompt to, with exactly this name; "
        "or the folder of its adapter",
    )
    models.add_argument(
        "--embedding_name",
        help="the embedding tables' name in the checkpoints (default: the usual one)",
    )
    for side in ("source", "target"):
        models.add_argument(
            f"--{side}_embedding_name",
            metavar="NAME",
            help=f"the same for the {side} model alone (default: --embedding_name)",
        )
    models.add_argument(
        "--prompt_name",
        help="the prompt's name in its checkpoint (default: the encoder's, or the only "
        "one)",
    )
    models.add_argument(
        "--task",
        type=int,
        metavar="NUMBER",
        help="which task's prompt to take, from 0 on, of a PEFT adapter whose prompt "
        "several tasks share",
    )

    words = parser.add_argument_group("words to learn the map from")
    words.add_argument(
        "--filtered_word",
        metavar="JSON",
        help='a word list {"<vocabulary index>": "<piece>", ...} (default: the '
        "package's English words of the T5 vocabulary)",
    )
    words.add_argument(
        "--num_words",
        type=_number_of_words,
        default=NUM_WORDS,
        metavar="{NUMBER,all,auto}",
        help=f"how many; auto takes {NUM_WORDS}, or all of the list where these are "
        "fewer than twice the source's width",
    )
    words.add_argument(
        "--word_offset", type=int, default=WORD_OFFSET, help="how many to skip first"
    )
    words.add_argument(
        "--words_of_text",
        metavar="TEXT",
        help="use the pieces of this text instead of a list (with --vocabulary)",
    )
    words.add_argument(
        "--vocabulary",
        metavar="FILE",
        help="the vocabulary to split that text with: a SentencePiece file or a "
        "tokenizer.json",
    )
    vocabulary = (
        "vocabulary, if it is not beside the model: a SentencePiece file or a "
        "tokenizer.json. Between different vocabularies, words are found by their text"
    )
    words.add_argument(
        "--source_vocabulary",
        nargs="+",
        action="extend",
        metavar="FILE",
        help=f"the source's {vocabulary}. Of several source models, one for all or one "
        "for each",
    )
    words.add_argument(
        "--target_vocabulary", metavar="FILE", help=f"the target's {vocabulary}"
    )
    words.add_argument(
        "--allow_few_words",
        action=argparse.BooleanOptionalAction,
        default=False,
        help=f"go on if two different vocabularies have fewer than {FEWEST_WORDS} or "
        "half of the words in common",
    )

    method = parser.add_argument_group("how")
    method.add_argument(
        "--recycler",
        default=recyclers.VocabToVocabMLP.name,
        metavar="{" + ",".join(recyclers.names()) + "}",
        help="how the map is found; docs/recyclers.md says which to choose when",
    )
    recycler_flags.add_flags(method)

    output = parser.add_argument_group("what to write")
    output.add_argument(
        "--output_format",
        choices=["numpy", _PEFT],
        default="numpy",
        help="peft writes an adapter, which PeftModel.from_pretrained loads "
        "(docs/hugging_face.md)",
    )
    output.add_argument(
        "--report",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="print a report: residuals, conditioning, norms, nearest words",
    )
    output.add_argument(
        "--save_recycler",
        metavar="FILE",
        help="also write the learned map (safetensors), to apply it to other prompts",
    )
    return parser


def _number_of_words(text: str) -> int | str | None:
    if text == "all":
        return None
    if text == "auto" or text.removeprefix("-").isdecimal():
        return text if text == "auto" else int(text)
    raise argparse.ArgumentTypeError(f"expected a number, all or auto, found {text!r}")


def _lock(flags: argparse.Namespace) -> str:
    """The file by which a run holds its output."""
    return f"{absolute(flags.output_path)}.lock"


def _check_outputs(flags: argparse.Namespace) -> None:
    """Checks that each output can be written and destroys nothing."""
    outputs: dict[str, epath.PathLike] = {"--output_path": flags.output_path}
    if flags.output_format == _PEFT:
        check_folder_writable(flags.output_path)
    else:
        check_writable(flags.output_path)
        record = record_path(flags.output_path)
        check_writable(record)
        outputs["the record beside --output_path"] = record
    if flags.save_recycler is not None:
        if len(flags.source_model) > 1:
            raise RecyclingError(
                "--save_recycler: expected one source model, found "
                f"{len(flags.source_model)}, each of which has a map of its own. Leave "
                "it out, or recycle from each model by itself."
            )
        outputs["--save_recycler"] = flags.save_recycler
        check_writable(flags.save_recycler)
    outputs["the lock beside --output_path"] = _lock(flags)
    check_apart(
        {
            "--source_model": _all_places(flags.source_model),
            "--target_model": read_places(flags.target_model),
            "--prompt_path": _all_places(flags.prompt_path),
            "the record beside --prompt_path": map(record_path, flags.prompt_path),
            "--filtered_word": flags.filtered_word,
            "--vocabulary": flags.vocabulary,
            "--source_vocabulary": flags.source_vocabulary or (),
            "--target_vocabulary": flags.target_vocabulary,
        },
        outputs,
    )


def _all_places(paths: Sequence[str]) -> list[epath.Path]:
    return [place for path in paths for place in read_places(path)]


def _recycler(flags: argparse.Namespace) -> recyclers.Recycler:
    """Returns the recycler of that name, with the parameters that were given."""
    return recycler_flags.from_flags(flags.recycler, flags)


def _words(flags: argparse.Namespace) -> Words:
    few = flags.allow_few_words
    if flags.words_of_text is None:
        return Words.from_list(
            flags.filtered_word, flags.num_words, flags.word_offset, allow_few=few
        )
    if flags.vocabulary is None:
        raise RecyclingError(
            "--words_of_text needs --vocabulary, a model's SentencePiece file or "
            "tokenizer.json, to split the text into pieces."
        )
    return Words.from_text(flags.words_of_text, flags.vocabulary, allow_few=few)


if __name__ == "__main__":
    raise SystemExit(command_line.run(main))
