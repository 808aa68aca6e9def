"""Runs a program of T5X or of this package as one of several processes:

python -m prompt_tuning_recycling.t5x_host.distributed t5x.eval \\
  --coordinator_address=host0:1234 --process_count=2 --process_index=0 ...

On GPUs, `t5x.train` has its own flags for this; `t5x.eval` and `t5x.infer` have none.
Without the three flags, JAX finds the other processes itself, as it can on a TPU pod
slice or under Slurm.

A process that fails, or gets SIGTERM, ends all of them, and the run can be started
again.
"""

from __future__ import annotations

import os
import runpy
import sys
import threading
from collections.abc import Sequence

import jax

from prompt_tuning_recycling import command_line, gin_search  # noqa: F401

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


# How long a process that fails waits for the others to fail for the same reason, before
# its end ends them.
_SECONDS_TO_FAIL_TOGETHER = 15


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
    parser.add_argument(
        "--initialization_timeout",
        type=int,
        default=300,
        help="for how many seconds the processes wait for each other at the start",
    )
    parser.add_argument(
        "--heartbeat_timeout",
        type=int,
        default=100,
        help="after how many seconds without a sign of life a process counts as dead, "
        "and all end",
    )
    parser.add_argument(
        "--shutdown_timeout",
        type=int,
        default=300,
        help="for how many seconds a process that is done waits for the others, before "
        "all end with an error",
    )
    known, rest = parser.parse_known_args(arguments)
    # It would catch SIGTERM and leave it to the program to stop, which T5X's do not.
    jax.config.update("jax_enable_preemption_service", False)
    jax.distributed.initialize(
        known.coordinator_address,
        known.process_count,
        known.process_index,
        initialization_timeout=known.initialization_timeout,
        heartbeat_timeout_seconds=known.heartbeat_timeout,
        shutdown_timeout_seconds=known.shutdown_timeout,
    )
    sys.argv = [known.program, *rest]
    try:
        runpy.run_module(known.program, run_name="__main__", alter_sys=True)
    except BaseException as error:
        if not (isinstance(error, SystemExit) and error.code in (None, 0)):
            # JAX would keep a process that failed alone until the shutdown timeout.
            end = threading.Timer(_SECONDS_TO_FAIL_TOGETHER, os._exit, [1])
            end.daemon = True
            end.start()
        raise


if __name__ == "__main__":
    raise SystemExit(command_line.run(main))
