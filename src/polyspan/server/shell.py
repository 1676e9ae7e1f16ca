"""Around every request: whom it was addressed to, headers for the browser, one log line, no traces out."""

from __future__ import annotations

import logging
import time
import traceback
import uuid
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders

from polyspan.server.refusal import Refusal
from polyspan.server.settings import host_name

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from polyspan.server.metrics import Metrics

log = logging.getLogger("polyspan.server")
OPENAPI = "/openapi.json"
"""FastAPI's own, the one path that no router declares."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Shell:
    """ASGI middleware; lies inside Starlette's own error page and outside of everything else.

    Args:
        app: what it is around.
        allowed_hosts: names by which the server may be called; any when empty.
        metrics: told of every request.
    """

    def __init__(self, app: ASGIApp, allowed_hosts: tuple[str, ...], metrics: Metrics) -> None:
        self.app, self.allowed_hosts, self.metrics = app, allowed_hosts, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            self._check_host(scope)
            await self.app(scope, receive, send_with_headers)
        except Exception as error:
            refusal = error if isinstance(error, Refusal) else _internal(error)
            self.metrics.refusals.labels(refusal.code).inc()
            if not status:
                await refusal.response()(scope, receive, send_with_headers)
        finally:
            self._note(scope, status, time.perf_counter() - began)

    def _check_host(self, scope: Scope) -> None:
        name = host_name(Headers(scope=scope).get("host", ""))
        if self.allowed_hosts and name not in self.allowed_hosts:
            raise Refusal(
                400, "host", "this server is not called by that name; start it with --allowed-host to allow it"
            )

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        # The path as it was declared: what a client makes up may hold anything.
        known = OPENAPI if scope["path"] == OPENAPI else "other"
        route = getattr(scope.get("route"), "path", known)
        self.metrics.requests.labels(route, str(status)).inc()
        self.metrics.seconds.labels(route).observe(seconds)
        method = scope["method"] if scope["method"] in {"GET", "HEAD", "POST"} else "other"
        log.info("%s %s %s %.0f ms", method, route, status or "gone", 1000 * seconds)


def _internal(error: Exception) -> Refusal:
    """Logged with its place in the code but not its message, which may quote a request."""
    mark = uuid.uuid4().hex[:12]
    frames = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
    log.error("error %s: %s at %s", mark, type(error).__name__, " < ".join(reversed(frames[-6:])))
    return Refusal(500, "internal", f"an error of the server; its log has more under {mark}")
