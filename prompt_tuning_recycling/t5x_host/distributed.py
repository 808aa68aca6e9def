"""Runs a program of T5X or of this package as one of several processes:

python -m prompt_tuning_recycling.t5x_host.distributed t5x.eval \\
  --coordinator_address=host0:1234 --process_count=2 --process_index=0 ...

On GPUs, `t5x.train` has its own flags for this; `t5x.eval` and `t5x.infer` have none.
Without the three flags, JAX finds the other processes itself, as it can on a TPU pod
slice or under Slurm.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence

import jax

from prompt_tuning_recycling import command_line

_OURS = "prompt_tuning_recycling.t5x_host."
_PROGRAMS = (
    "t5x.train",
    "t5x.eval",
    "t5x.infer",
    "t5x.main",
    f"{_OURS}choose",
    f"{_OURS}evaluate_prompts",
    f"{_OURS}teach",
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = command_line.parser(
        "t5x_host.distributed",
        "PROGRAM [flags of the program]",
        "Run a program of T5X or of this package as one of several processes.",
    )
    parser.add_argument("program", choices=_PROGRAMS)
    parser.add_argument("--coordinator_address", help="of process 0, as host:port")
    parser.add_argument("--process_count", type=int)
    parser.add_argument("--process_index", type=int)
    known, rest = parser.parse_known_args(arguments)
    jax.distributed.initialize(
        known.coordinator_address, known.process_count, known.process_index
    )
    sys.argv = [known.program, *rest]
    runpy.run_module(known.program, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    raise SystemExit(command_line.run(main))
