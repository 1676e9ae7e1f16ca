"""A real server on the loopback, in a thread of the test's process."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from polyspan.server.run import make_server
from polyspan.server.settings import Settings


@contextmanager
def running(settings: Settings) -> Iterator[str]:
    """Serve on a free port until the block ends; gives the address, once the model is loaded."""
    listening = socket.create_server(("127.0.0.1", 0))
    server, app = make_server(settings)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        wait_for(lambda: app.state.host.batcher or app.state.host.failure)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=60)
        assert not thread.is_alive()


def wait_for(happened: Any, seconds: float = 120) -> None:
    """Until it has."""
    until = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)


def post(address: str, body: Any, **options: Any) -> httpx.Response:
    """Ask the server."""
    return httpx.post(f"{address}/v1/answers", json=body, timeout=60, **options)
