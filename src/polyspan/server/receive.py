"""A request's body: whole, soon, and no larger than allowed."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.requests import ClientDisconnect

from polyspan.server.refusal import Refusal

if TYPE_CHECKING:
    from starlette.requests import Request

    from polyspan.server.settings import Limits

Result = TypeVar("Result")

DISCARDED = 32
"""Bodies of the largest size that are read and thrown away before a larger one is refused."""


def check_key(request: Request, api_key: str | None) -> None:
    """Whether the request brings the key; compared in a time that does not depend on what it brings.

    Raises:
        Refusal: it does not.
    """
    if api_key is None:
        return
    scheme, _, brought = request.headers.get("authorization", "").partition(" ")
    same = hmac.compare_digest(brought.strip().encode(), api_key.encode())
    if scheme.lower() != "bearer" or not same:
        raise Refusal(
            401,
            "unauthorized",
            "this server asks for its key: Authorization: Bearer KEY",
            headers={"WWW-Authenticate": "Bearer"},
        )


async def read_json_body(request: Request, limits: Limits) -> bytes:
    """The bytes of a body that says it is JSON.

    Raises:
        Refusal: another media type, too large, or too slow.
    """
    _check_media_type(request)
    too_large = Refusal(
        413,
        "body_too_large",
        f"a body may have {limits.body_bytes} bytes; ask in several requests",
        headers={"Connection": "close"},
    )
    declared = request.headers.get("content-length", "0")
    if not declared.isdecimal() or int(declared[:20]) > limits.body_bytes:
        if request.headers.get("expect", "").lower() != "100-continue":  # such a client sends nothing yet
            await _discard(request, limits)
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(limits.body_seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limits.body_bytes:
                    await _discard(request, limits)
                    raise too_large
    except TimeoutError:
        raise Refusal(
            408,
            "body_too_slow",
            f"the body did not arrive within {limits.body_seconds:g} seconds",
            headers={"Connection": "close"},
        ) from None
    except ClientDisconnect:
        raise _left() from None
    return bytes(body)


def _left() -> Refusal:
    """Nobody receives it; logs and metrics tell it from errors of clients by its status, which is nginx's."""
    return Refusal(499, "disconnected", "the client has gone")


async def _discard(request: Request, limits: Limits) -> None:
    """Read on for a while: a connection that is closed on a client that still sends is reset, and the reply lost."""
    left = DISCARDED * limits.body_bytes
    with suppress(TimeoutError):
        async with asyncio.timeout(limits.body_seconds):
            while left > 0:
                message = await request.receive()
                if message["type"] != "http.request" or not message.get("more_body"):
                    return
                left -= len(message.get("body", b""))


def _check_media_type(request: Request) -> None:
    # Only JSON: a foreign page cannot send that without asking the browser's leave (CORS).
    media_type, _, parameters = request.headers.get("content-type", "").partition(";")
    named = [part.replace(" ", "").lower().partition("=") for part in parameters.replace('"', "").split(";")]
    charsets = {value for name, _, value in named if name == "charset"}
    if media_type.strip().lower() != "application/json" or charsets - {"utf-8", "utf8"}:
        raise Refusal(415, "media_type", "send JSON in UTF-8 with Content-Type: application/json")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Refusal(415, "content_encoding", "send the body as it is, without Content-Encoding")


async def unless_gone(request: Request, seconds: float, work: Coroutine[Any, Any, Result]) -> Result:
    """The result of the work; cancelled when the client goes or the time is over.

    Args:
        request: its body must have been read.
        seconds: for the work.
        work: what to wait for.

    Raises:
        Refusal: the client has gone, or it took too long.
    """
    working, going = asyncio.ensure_future(work), asyncio.ensure_future(_gone(request))
    try:
        done, _ = await asyncio.wait({working, going}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if working in done:
            return working.result()
        if going in done:
            raise _left()
        raise Refusal(503, "timeout", f"no answer within {seconds:g} seconds; ask less or later", retry_after=5)
    finally:
        working.cancel()
        going.cancel()
        await asyncio.gather(working, going, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
