"""A proxy before an object store: it records each exchange, and makes faults."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

import pytest

aiohttp = pytest.importorskip("aiohttp", reason="the extra [test] is not installed")
from aiohttp import web  # noqa: E402

# They belong to one connection, not to the message.
_OF_THE_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "content-length"}


@dataclasses.dataclass(frozen=True)
class Request:
    """A request as it reached the proxy.

    Attributes:
      method: `GET`, `PUT`, ...
      path: the path and the query, as sent.
      headers: name in lower case -> value.
      size: the body's bytes.
    """

    method: str
    path: str
    headers: dict[str, str]
    size: int

    @property
    def may_change(self) -> bool:
        """Whether it may change what is in the store, by its method."""
        return self.method in ("POST", "PUT", "DELETE")


@dataclasses.dataclass
class Exchange:
    """A request and what it got.

    Attributes:
      request: the request.
      status: the answer's status; 0 if the connection was cut before it.
      size: the bytes of the answer's body that were sent.
    """

    request: Request
    status: int
    size: int


@dataclasses.dataclass(frozen=True)
class Fault:
    """What goes wrong with an exchange.

    Attributes:
      status: answers with this status and does not ask the store.
      headers: further headers of that answer.
      after: sends only so many bytes of the body.
      reset: then resets the connection, instead of closing it as if all were sent.
      stall: then keeps the connection open, instead of closing it.
      shortened: says that the body is only so long.
      seconds_per_chunk: waits before each 1,024 bytes of the body.
      instead: answers with this body and status 200, such as an earlier listing.
      carried_out: whether the store gets the request even so; its answer is lost.
    """

    status: int | None = None
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    after: int | None = None
    reset: bool = False
    stall: bool = False
    shortened: bool = False
    seconds_per_chunk: float = 0
    instead: bytes | None = None
    carried_out: bool = False


class Proxy:
    """Passes requests to a server at `upstream`, in a thread of its own.

    Attributes:
      url: the proxy's address.
      exchanges: what has passed since `reset`, in the order of the requests' ends.
      fault: says what goes wrong with a request; None for nothing. It is called in the
        proxy's thread.
    """

    def __init__(self, upstream: str):
        self.exchanges: list[Exchange] = []
        self.fault: Callable[[Request], Fault | None] = lambda request: None
        self._upstream = upstream
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Proxy:
        self._thread.start()
        port = self._wait(self._start())
        self.url = f"http://127.0.0.1:{port}"
        return self

    def __exit__(self, *error: object) -> None:
        self._wait(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def reset(self) -> None:
        """Forgets the exchanges and the fault."""
        self.exchanges.clear()
        self.fault = lambda request: None

    def disturb(self, fault: Fault | None, first: int = 0, last: int = 10**9) -> None:
        """Forgets the exchanges, and makes a fault of each request from number `first`
        to `last`, both included and counted from 0.
        """
        numbers = itertools.count()
        self.reset()
        # Requests arrive one after the other, in the loop's thread.
        self.fault = lambda request: fault if first <= next(numbers) <= last else None

    def writes(self) -> list[Exchange]:
        """Returns the exchanges that may change what is in the store."""
        return [one for one in self.exchanges if one.request.may_change]

    def fetched(self, part: str = "") -> int:
        """Returns how many bytes of bodies were sent for requests with this in their
        path.
        """
        return sum(one.size for one in self.exchanges if part in one.request.path)

    def _wait(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    async def _start(self) -> int:
        self._session = aiohttp.ClientSession(auto_decompress=False)
        app = web.Application(client_max_size=2**31)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(
            app, auto_decompress=False, access_log=None, shutdown_timeout=0
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        return self._runner.addresses[0][1]

    async def _stop(self) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _answer(self, incoming: web.Request) -> web.StreamResponse:
        body = await incoming.read()
        headers = {name.lower(): value for name, value in incoming.headers.items()}
        request = Request(incoming.method, incoming.raw_path, headers, len(body))
        fault = self.fault(request) or Fault()
        if fault.status is not None or fault.instead is not None:
            if fault.carried_out:
                await self._forward(request, body)
            status, found = fault.status or 200, fault.instead or b""
            answered: dict[str, str] = dict(fault.headers)
        else:
            status, answered, found = await self._forward(request, body)
        return await self._send(incoming, request, fault, status, answered, found)

    async def _forward(
        self, request: Request, body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        # `Host` stays, because the stores' answers name addresses by it.
        kept = {
            name: value
            for name, value in request.headers.items()
            if name not in _OF_THE_CONNECTION
        }
        url = aiohttp.client.URL(self._upstream + request.path, encoded=True)
        async with self._session.request(
            request.method, url, headers=kept, data=body, allow_redirects=False
        ) as answer:
            found = await answer.read()
            headers = {
                name: value
                for name, value in answer.headers.items()
                if name.lower() not in _OF_THE_CONNECTION
                or (name.lower() == "content-length" and request.method == "HEAD")
            }
            return answer.status, headers, found

    async def _send(
        self,
        incoming: web.Request,
        request: Request,
        fault: Fault,
        status: int,
        headers: dict[str, str],
        body: bytes,
    ) -> web.StreamResponse:
        if fault.shortened and fault.after is not None:
            body = body[: fault.after]
        response = web.StreamResponse(status=status, headers=headers)
        if request.method != "HEAD":
            response.content_length = len(body)
        # Before the client has the last of it, and goes on.
        exchange = Exchange(request, 0, 0)
        self.exchanges.append(exchange)
        if fault.after is None and (fault.reset or fault.stall):
            if fault.stall:
                await self._until_the_client_leaves(incoming)
            return self._cut(incoming, response, reset=True)
        exchange.status = status
        allowed = len(body) if fault.after is None else min(fault.after, len(body))
        step = 1024 if fault.seconds_per_chunk else max(allowed, 1)
        # gcsfs asks for an object and a folder at once, and takes one answer.
        with contextlib.suppress(ConnectionError, aiohttp.ClientError):
            await response.prepare(incoming)
            while exchange.size < allowed:
                if fault.seconds_per_chunk:
                    await asyncio.sleep(fault.seconds_per_chunk)
                part = body[exchange.size : min(exchange.size + step, allowed)]
                exchange.size += len(part)
                await response.write(part)
        if fault.stall:
            await self._until_the_client_leaves(incoming)
        if allowed < len(body):
            return self._cut(incoming, response, reset=fault.reset)
        with contextlib.suppress(ConnectionError, aiohttp.ClientError):
            await response.write_eof()
        return response

    async def _until_the_client_leaves(self, incoming: web.Request) -> None:
        while incoming.transport is not None and not incoming.transport.is_closing():
            await asyncio.sleep(0.1)

    def _cut(
        self,
        incoming: web.Request,
        response: web.StreamResponse,
        *,
        reset: bool,
    ) -> web.StreamResponse:
        transport = incoming.transport
        if transport is not None:
            if reset:
                # Closing then sends a reset.
                transport.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
                transport.abort()
            else:
                transport.close()
        return response
