"""Two processes over loopback."""

import socket


def start_both(start, program, *flags, **macros):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    runs = []
    for index in range(2):
        where = [
            f"--coordinator_address={address}",
            "--process_count=2",
            f"--process_index={index}",
        ]
        if program == "train":
            run = start("train", "--multiprocess_gpu", *where, *flags, **macros)
        else:
            module = "prompt_tuning_recycling.t5x_host.distributed"
            ours = program == "choose"
            package = "prompt_tuning_recycling.t5x_host" if ours else "t5x"
            through = [module, f"{package}.{program}", *where]
            run = start(program, *flags, through=through, **macros)
        runs.append(run)
    return runs
