"""The page and its parts, out of the package: nothing comes from another server."""

from __future__ import annotations

import hashlib
from importlib import resources

from fastapi import APIRouter, HTTPException, Request
from starlette.responses import JSONResponse, Response

from polyspan.server.examples import load_examples

MEDIA_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
PAGE = "index.html"


def make_page_router() -> APIRouter:
    """``/`` and ``/page/…``; not part of the API's description."""
    router = APIRouter(include_in_schema=False)
    folder = resources.files("polyspan.server") / "page"
    files = {entry.name: entry.read_bytes() for entry in folder.iterdir() if entry.is_file()}

    def send(request: Request, name: str) -> Response:
        tag = f'"{hashlib.sha256(files[name]).hexdigest()[:16]}"'
        headers = {"ETag": tag, "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(files[name], media_type=MEDIA_TYPES[name.rpartition(".")[2]], headers=headers)

    @router.head("/")
    @router.get("/")
    async def page(request: Request) -> Response:
        return send(request, PAGE)

    @router.head("/page/examples.json")
    @router.get("/page/examples.json")
    async def examples() -> Response:
        return JSONResponse(load_examples())

    @router.head("/page/{name}")
    @router.get("/page/{name}")
    async def part(request: Request, name: str) -> Response:
        if name not in files:
            raise HTTPException(404)
        return send(request, name)

    return router
