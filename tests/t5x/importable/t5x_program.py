"""T5X's own programs, as `python -m t5x.train` and so on, for processes forked from one
that has imported what is slow to import.
"""

import os
import runpy
import sys
import traceback


def run(program, arguments, log, environment, folder=None):
    """Runs a module as a program, in a folder; everything that it writes goes to a
    file.
    """
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.environ.update(environment)
    if folder:
        os.chdir(folder)
    sys.argv = [program, *arguments]
    code = 1
    try:
        if "T5X_EXAMPLES" in environment:
            import t5x.examples

            # As if T5X had been installed from a checkout.
            t5x.examples.__path__.append(environment["T5X_EXAMPLES"])
        if "WITNESS" in environment:
            import witness

            witness.observe_restoring()
        runpy.run_module(program, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    if code == 0:
        # As Python's end would: process 0 waits for the others, which need it.
        import jax

        jax.distributed.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
