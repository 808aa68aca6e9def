"""Shares work among processes and machines through Dask's scheduler.

Each piece of work has a key. A command that asks for a key that is already being worked
on waits for that work instead of repeating it, so any number of commands can ask one
scheduler for the same sweep. Without an address, the first command to use a folder
starts a scheduler for it on this machine, and later commands join it.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import json
import logging
import os
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import dask
import distributed
from etils import epath

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import (
    as_path,
    check_store_writable,
    holding,
    is_remote,
    write_atomically,
)
from prompt_tuning_recycling.files.holding import Holder
from prompt_tuning_recycling.files.json_files import read_json
from prompt_tuning_recycling.sweep import layout

logger = logging.getLogger(__name__)

Piece = TypeVar("Piece")
Result = TypeVar("Result")

_CONNECT = 5  # Seconds after which a scheduler that does not answer counts as gone.
_ONE_AT_A_TIME = (
    "On an object store, let one command at a time work, or give all of them the same "
    "--scheduler."
)
_OF_THIS_MACHINE = re.compile(r"tcp://127\.0\.0\.1:\d{1,5}")
_PAUSE = 0.2  # Seconds between two looks for a folder's scheduler.
_SETTINGS = {
    "distributed.comm.timeouts.connect": f"{_CONNECT}s",
    # Dask repeats a piece only if its worker is gone, and may do so without end.
    "distributed.scheduler.allowed-failures": 1000,
}
# The errors that a client sees when its scheduler's process has ended.
_GONE = (
    distributed.client.FutureCancelledError,
    concurrent.futures.CancelledError,
    OSError,  # This includes distributed's CommClosedError.
    TimeoutError,
)


@dataclasses.dataclass(frozen=True)
class Engine:
    """Where the work is done.

    Attributes:
      folder: the sweep's folder, where commands on one machine find each other.
      workers: how many processes work for this command; 1 means only its own.
      scheduler: the address (tcp://...) or scheduler file of a running Dask scheduler,
        whose workers then do the work; None to start one.
    """

    folder: str
    workers: int = 1
    scheduler: str | None = None

    def run(
        self, function: Callable[[Piece], Result], pieces: Mapping[str, Piece]
    ) -> Iterator[tuple[str, Result]]:
        """Yields the key and result of each piece as it is done.

        Args:
          function: does a piece of work unless it is already done. The workers must
            be able to import it.
          pieces: key -> piece; the same key means the same work to every command.

        Raises:
          RecyclingError: the given scheduler cannot be reached, or another machine is
            working on the folder.
        """
        _quieten()
        with dask.config.set(_SETTINGS):
            if self.scheduler is not None:
                yield from self._of_given_scheduler(function, pieces)
                return
            left = dict(pieces)
            while left:
                # The leading command may stop at any time; this one may lead then.
                for key, result in self._of_folder(function, left):
                    del left[key]
                    yield key, result

    def _of_given_scheduler(
        self, function: Callable, pieces: Mapping[str, Any]
    ) -> Iterator[tuple[str, Any]]:
        address = self.scheduler or ""
        by = {"address": address} if "://" in address else {"scheduler_file": address}
        try:
            if "scheduler_file" in by and not os.path.exists(address):
                raise FileNotFoundError(f"there is no file {address}")
            client = distributed.Client(**by, timeout=10, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            raise RecyclingError(
                f"cannot reach a Dask scheduler at {address}: {error}. Expected the "
                "address that `dask scheduler` prints, tcp://host:8786, or the file "
                "that it writes with --scheduler-file."
            ) from error
        with client:
            if not client.scheduler_info()["workers"]:
                logger.info("waiting for workers: start one with `dask worker`")
            yield from _done(client, function, pieces)

    def _of_folder(
        self, function: Callable, pieces: Mapping[str, Any]
    ) -> Iterator[tuple[str, Any]]:
        check_store_writable(self.folder)
        locked, note = map(as_path, layout.meeting(self.folder))
        what = f"another command is at work on {self.folder}"
        with contextlib.ExitStack() as stack:
            try:
                hold = stack.enter_context(holding.held(locked, what, _ONE_AT_A_TIME))
            except holding.BusyError as busy:
                yield from self._joining(note, busy.holder, function, dict(pieces))
                return
            client = stack.enter_context(self._cluster())
            if not is_remote(self.folder):
                address = client.scheduler_info()["address"]
                record = {"address": address, "process": os.getpid()}
                write_atomically(note, json.dumps(record).encode())
                stack.callback(note.unlink, missing_ok=True)
            for key, result in _done(client, function, dict(pieces)):
                hold.check()
                yield key, result

    @contextlib.contextmanager
    def _cluster(self) -> Iterator[distributed.Client]:
        """A scheduler and workers that only this machine can reach."""
        with (
            distributed.LocalCluster(
                n_workers=self.workers,
                threads_per_worker=1,
                processes=self.workers > 1,
                host="127.0.0.1",
                protocol="tcp",
                scheduler_port=0,
                dashboard_address="127.0.0.1:0",
                scheduler_kwargs={"dashboard": False},
                memory_limit=0,
                silence_logs=logging.CRITICAL,
            ) as cluster,
            distributed.Client(cluster, set_as_default=False) as client,
        ):
            yield client

    def _joining(
        self,
        note: epath.Path,
        leader: Holder | None,
        function: Callable,
        pieces: Mapping[str, Any],
    ) -> Iterator[tuple[str, Any]]:
        """Works for the scheduler that another process has started, and yields its
        results; ends early if that process ends.

        Args:
          note: tells the scheduler's address.
          leader: that process; None if it is not known.
          function: does a piece of work.
          pieces: key -> piece.
        """
        if leader is not None and leader.host != socket.gethostname():
            raise RecyclingError(
                f"another machine is working on {self.folder}: {leader}. To share the "
                "work between machines, run `dask scheduler` on one and `dask worker` "
                "on each, and give its address with --scheduler."
            )
        try:
            record = read_json(note, "the note of a scheduler")
            address, process = record["address"], record["process"]
            owner = os.stat(note).st_uid
        except (RecyclingError, KeyError, TypeError, OSError):
            process = None  # Not there yet, or gone.
        if leader is None or process != leader.process:
            time.sleep(_PAUSE)
            return
        # Whoever runs the scheduler can run any code in a process that joins it.
        if not _OF_THIS_MACHINE.fullmatch(str(address)) or owner != os.geteuid():
            raise RecyclingError(
                f"cannot join the command that works on {self.folder}: expected one of "
                f"your own on this machine, found {address} in {note}, a file of the "
                f"user {owner}. Wait until it ends, or choose another root_dir."
            )
        # Its own threads, so that none keeps working when the scheduler is gone.
        threads = concurrent.futures.ThreadPoolExecutor(1)
        try:
            with distributed.Client(
                address, timeout=_CONNECT, set_as_default=False
            ) as client:
                logger.info("joining the process that works on %s", self.folder)
                worker = client.sync(_start_worker, address, threads)
                try:
                    yield from _done(client, function, pieces)
                finally:
                    with contextlib.suppress(*_GONE):
                        client.sync(worker.close, timeout=2, executor_wait=False)
        except _GONE as error:
            logger.debug("the scheduler is gone: %r", error)
            time.sleep(_PAUSE)
        finally:
            threads.shutdown(wait=True)


async def _start_worker(
    address: str, threads: concurrent.futures.Executor
) -> distributed.Worker:
    return await distributed.Worker(
        address,
        # Without this, a worker waits forever if the scheduler ends during its start.
        death_timeout=_CONNECT,
        nthreads=1,
        executor=threads,
        dashboard=False,
        memory_limit=0,
        host="127.0.0.1",
        silence_logs=logging.CRITICAL,
    )


def _done(
    client: distributed.Client, function: Callable, pieces: Mapping[str, Any]
) -> Iterator[tuple[str, Any]]:
    futures = [
        client.submit(_guarded, function, piece, key=key, pure=False)
        for key, piece in pieces.items()
    ]
    for future in distributed.as_completed(futures, loop=client.loop):
        result, error = future.result()
        if error is not None:
            raise RuntimeError(f"{future.key}: {error!r}") from error
        yield future.key, result


def _guarded(function: Callable, piece: Any) -> tuple[Any, Exception | None]:
    """Keeps the errors of a piece apart from those of the connection."""
    try:
        return function(piece), None
    except Exception as error:
        return None, error


def _quieten() -> None:
    """Hides Dask's notes on closed connections, which do not help a sweep's user."""
    for name in ("distributed", "tornado", "bokeh"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
