"""The application that uvicorn, or any other ASGI server, runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from polyspan.server.api import make_router
from polyspan.server.assets import make_page_router
from polyspan.server.host import ModelHost
from polyspan.server.metrics import Metrics
from polyspan.server.refusal import CODES, Refusal
from polyspan.server.settings import Settings
from polyspan.server.shell import Shell

ABOUT = """Finds answers in texts: the question in one language, the text in the same or another one.

Offsets count Unicode code points, as Python does; languages whose strings are UTF-16 (JavaScript, Java,
C#) count characters beyond U+FFFF, such as emoji, twice and have to convert.
"""


def create_app(settings: Settings, on_failure: Callable[[], None] | None = None) -> FastAPI:
    """The server's application; it loads its model while it already runs.

    Args:
        settings: see `Settings`.
        on_failure: called when the model cannot be loaded; ``app.state.host.failure`` says why.
    """
    from importlib.metadata import version

    metrics = Metrics()
    host = ModelHost(settings, metrics)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        running = asyncio.create_task(host.run(on_failure or (lambda: None)))
        yield
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        host.close()

    app = FastAPI(
        title="Polyspan",
        version=version("polyspan"),
        description=ABOUT,
        lifespan=lifespan,
        docs_url=None,  # its page would come from another server
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.host = host
    app.include_router(make_router(settings, host))
    app.include_router(make_page_router())

    @app.exception_handler(Refusal)
    async def refused(request: Request, error: Refusal) -> JSONResponse:
        metrics.refusals.labels(error.code).inc()
        return error.response()

    @app.exception_handler(HTTPException)
    async def failed(request: Request, error: HTTPException) -> JSONResponse:
        code = CODES.get(error.status_code, "error")
        metrics.refusals.labels(code).inc()
        return Refusal(error.status_code, code, str(error.detail), headers=dict(error.headers or {})).response()

    app.add_middleware(Shell, allowed_hosts=settings.allowed_hosts, metrics=metrics)
    if settings.api_key:
        _describe_key(app)
    return app


def _describe_key(app: FastAPI) -> None:
    describe = app.openapi

    def with_key() -> dict[str, Any]:
        schema = describe()
        schema.setdefault("components", {})["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        return schema

    app.openapi = with_key  # type: ignore[method-assign]
