"""Runs many sweep commands at once, in processes that share what is imported.

    python -m sweeps_at_once NUMBER CONFIG [CONFIG ...]

The commands take the configurations in turn. Prints each command's exit code.
"""

import os
import sys

from prompt_tuning_recycling import command_line, recycle
from prompt_tuning_recycling.sweep import engine  # noqa: F401


def main() -> None:
    number, *configs = sys.argv[1:]
    begin, go = os.pipe()
    children = []
    for place in range(int(number)):
        child = os.fork()
        if not child:
            os.close(go)
            # Until all of them are there.
            os.read(begin, 1)
            flags = [f"--config={configs[place % len(configs)]}"]
            code = command_line.run(recycle.main, flags)
            sys.stdout.flush()
            os._exit(code)
        children.append(child)
    os.close(go)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    print("codes", *codes, flush=True)


main()
