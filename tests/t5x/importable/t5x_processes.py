"""Two processes over loopback."""

import socket

DISTRIBUTED = "prompt_tuning_recycling.t5x_host.distributed"
# One model over both processes. T5X counts hosts, and devices in each.
SHARED_MODEL = (
    "--gin.partitioning.PjitPartitioner.num_partitions=None",
    "--gin.partitioning.PjitPartitioner.model_parallel_submesh=(2, 1, 1, 1)",
)


def free_address():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return f"localhost:{free.getsockname()[1]}"


def flags_of_both():
    """The flags of each of two processes."""
    address = free_address()
    return [
        [
            f"--coordinator_address={address}",
            "--process_count=2",
            f"--process_index={index}",
        ]
        for index in range(2)
    ]


def start_both(
    start, program, *flags, each=({}, {}), through_ours=(), module=None, **macros
):
    """Starts a program as two processes.

    Args:
      start: the fixture.
      program: the program.
      *flags: its flags.
      each: what `start` gets for each of the processes.
      through_ours: flags of this package's program that starts others; T5X's train
        has flags of its own if there are none.
      module: the program's module, if it is another than T5X's or this package's.
      **macros: what `start` gets for both.
    """
    runs = []
    for index, where in enumerate(flags_of_both()):
        given = {**macros, **each[index]}
        if program == "train" and not through_ours and not module:
            run = start("train", "--multiprocess_gpu", *where, *flags, **given)
        else:
            ours = program in ("choose", "evaluate_prompts")
            package = "prompt_tuning_recycling.t5x_host" if ours else "t5x"
            name = module or f"{package}.{program}"
            through = [DISTRIBUTED, name, *where, *through_ours]
            run = start(program, *flags, through=through, **given)
        runs.append(run)
    return runs
