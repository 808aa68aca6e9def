"""Convert a whole T5 model between T5X and Hugging Face.

  prompt-recycling convert --from=/models/flan-t5-base --to=/models/t5x/checkpoint_0
  prompt-recycling convert --from=/models/t5x/checkpoint_1000 --to=/models/hf

A T5 folder of Hugging Face becomes a checkpoint of T5X, and a checkpoint of T5X a
folder that transformers loads. One array is in memory at a time, and its bits stay the
same. The new folder is complete when it appears under its name.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence

from prompt_tuning_recycling import command_line
from prompt_tuning_recycling.errors import RecyclingError

_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}
_UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line.

    Raises:
      RecyclingError: an argument cannot be used; nothing was written.
    """
    flags = _parser().parse_args(arguments)
    # Only this command needs the network, and that Flax.
    try:
        from prompt_tuning_recycling.converting import convert
    except ImportError as error:
        raise RecyclingError(
            f"{error}. Converting checks a model against the network: run pip install "
            "'prompt_tuning_recycling[standalone]'"
        ) from error
    done = convert(
        getattr(flags, "from"),
        flags.to,
        step=flags.step,
        dtype=flags.dtype,
        vocabulary=flags.vocabulary,
        activation=flags.activation,
        largest=flags.max_shard_size,
        drop_prompts=flags.drop_prompts,
    )
    for note in done.notes:
        print(f"note: {note}")
    files = f" in {done.files} file{'s' * (done.files > 1)}" if done.files else ""
    print(f"wrote {done.path}: {done.arrays} parameters{files}")
    config = done.config
    print(
        f"  vocab_size={config.vocab_size} emb_dim={config.emb_dim} "
        f"num_heads={config.num_heads} head_dim={config.head_dim} "
        f"mlp_dim={config.mlp_dim} num_encoder_layers={config.num_encoder_layers} "
        f"num_decoder_layers={config.num_decoder_layers} "
        f"mlp_activations={config.mlp_activations} "
        f"logits_via_embedding={config.logits_via_embedding}"
    )


def _parser() -> argparse.ArgumentParser:
    parser = command_line.parser("convert", "--from=... --to=... [flags]", __doc__)
    parser.add_argument(
        "--from",
        required=True,
        metavar="MODEL",
        help="a checkpoint of T5X (checkpoint_N, or the MODEL_DIR that holds it, for "
        "its newest step), or a T5 folder of Hugging Face (safetensors, config.json)",
    )
    parser.add_argument(
        "--to",
        required=True,
        metavar="FOLDER",
        help="the new folder, which must not exist. For T5X: the step, named "
        "checkpoint_N, or the MODEL_DIR to put it in",
    )
    parser.add_argument(
        "--dtype",
        choices=("float32", "bfloat16"),
        help="the dtype to convert all parameters to (default: each keeps its own)",
    )
    parser.add_argument(
        "--vocabulary",
        metavar="FILE",
        help="the vocabulary file to copy along (default: the one beside the model)",
    )
    t5x = parser.add_argument_group("to T5X")
    t5x.add_argument(
        "--step", type=int, help="the step's number (default: as --to says, or 0)"
    )
    hugging_face = parser.add_argument_group("to Hugging Face")
    hugging_face.add_argument(
        "--activation",
        metavar="NAME",
        help="transformers' feed_forward_proj, which T5X's checkpoints do not say "
        "(default: gated-gelu, or relu where there is one branch)",
    )
    hugging_face.add_argument(
        "--max_shard_size",
        type=_size,
        default="5GB",
        metavar="SIZE",
        help="the most bytes of parameters in one file, such as 500MB or 2GiB",
    )
    hugging_face.add_argument(
        "--drop_prompts",
        action="store_true",
        help="leave out the prompts that the checkpoint holds",
    )
    return parser


def _size(text: str) -> int:
    match = re.fullmatch(r"(\d+)\s*([A-Z]*)", text.upper())
    if match is None or match[2] not in _UNITS or int(match[1]) == 0:
        raise argparse.ArgumentTypeError(
            f"expected a number of bytes, such as 500MB or 2GiB, found {text!r}"
        )
    return int(match[1]) * _UNITS[match[2]]


if __name__ == "__main__":
    raise SystemExit(command_line.run(main))
