"""Running the application: a socket, a server, an orderly end."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from polyspan.errors import PolyspanError
from polyspan.server.app import create_app
from polyspan.server.settings import Settings

BACKLOG = 2048
"""Connections that wait to be accepted; uvicorn's own number."""
GRACE_SECONDS = 5.0
"""Longer than the slowest answer may take, so that a server told to stop still gives it."""


class ServerError(PolyspanError):
    """The server cannot be started; says why."""


class ImpatientProtocol(H11Protocol):
    """HTTP that closes a connection on which the head of a request does not arrive in time.

    Between two requests it may stay silent for uvicorn's ``timeout_keep_alive``; the first byte of the
    next one ends that.
    """

    head_seconds = 10.0
    _impatience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete:
            self._stop_waiting()
        elif self._impatience is None:
            self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait_for_head(self) -> None:
        self._impatience = self.loop.call_later(self.head_seconds, self._close)

    def _stop_waiting(self) -> None:
        if self._impatience is not None:
            self._impatience.cancel()
            self._impatience = None

    def _close(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()


class InterruptibleServer(uvicorn.Server):
    """A server that is ended at once by a second Ctrl-C, also while the model is at work."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        if sig == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def serve(settings: Settings, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; requests that are at work are still answered.

    Args:
        settings: see `Settings`.
        announce: told the server's address once it is taken.

    Raises:
        ServerError: the address cannot be listened on.
        PolyspanError: the model cannot be loaded.
    """
    listening = _listen(settings.host, settings.port)
    server, app = make_server(settings)
    announce(_address(listening))
    try:
        server.run(sockets=[listening])
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # uvicorn set it back, and Python waits for the model's thread
        raise
    failure: Exception | None = app.state.host.failure
    if isinstance(failure, (PolyspanError, OSError)):
        raise failure
    if failure is not None:
        raise ServerError(f"{app.state.host.name}: cannot be loaded ({type(failure).__name__})") from failure


def make_server(settings: Settings) -> tuple[uvicorn.Server, FastAPI]:
    """A server that stops when its model cannot be loaded, and its application."""
    app = create_app(settings, on_failure=lambda: setattr(server, "should_exit", True))
    limits = settings.limits
    config = uvicorn.Config(
        app,
        http=type("Protocol", (ImpatientProtocol,), {"head_seconds": limits.body_seconds}),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=int(limits.answer_seconds + limits.body_seconds + GRACE_SECONDS),
    )
    server = InterruptibleServer(config)
    return server, app


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        found = socket.socket(family, kind, protocol)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(BACKLOG)  # whoever reads the address can connect at once, and waits for the rest
    except (OSError, UnicodeError) as error:  # a name that no host can have
        reason = getattr(error, "strerror", None) or str(error)
        raise ServerError(f"{host} port {port}: {reason}; choose another with --host or --port") from error
    return found


def _address(listening: socket.socket) -> str:
    host, port, *_ = listening.getsockname()
    shown: Any = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}"
