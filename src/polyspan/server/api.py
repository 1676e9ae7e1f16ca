"""The routes that programs use."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from polyspan.server.host import STAGES, ModelHost
from polyspan.server.metrics import CONTENT_TYPE
from polyspan.server.receive import check_key, read_json_body, unless_gone
from polyspan.server.refusal import ErrorReply, Refusal
from polyspan.server.schemas import (
    REPLY_EXAMPLES,
    REQUEST_EXAMPLES,
    AnswerItemsReply,
    AnswerReply,
    ModelFacts,
    ModelsReply,
    parse_request,
    request_schema,
)

if TYPE_CHECKING:
    from polyspan.server.settings import Settings

WHY = {
    400: "Not UTF-8, not JSON, or called by a name that is not allowed.",
    401: "The key is missing or wrong.",
    408: "The body did not arrive in time.",
    409: "The model was not seen to reach the precision that is asked for.",
    413: "The body has too many bytes.",
    415: "Not `application/json`.",
    422: "Another form than the schema's, or beyond a limit; `field` says where.",
    500: "A fault of the server.",
    503: "Loading, overloaded, or not answered in time; `Retry-After` says in how many seconds to try again.",
}


def _refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {
        status: {
            "model": ErrorReply,
            "description": WHY[status],
            **({"headers": {"Retry-After": {"schema": {"type": "integer"}}}} if status == 503 else {}),
        }
        for status in statuses
    }


def make_router(settings: Settings, host: ModelHost) -> APIRouter:
    """The routes of one server."""
    router = APIRouter()
    limits, metrics = settings.limits, host.metrics
    key: dict[str, Any] = {"security": [{"key": []}]} if settings.api_key else {}
    closed = (401,) if settings.api_key else ()

    @router.post(
        "/v1/answers",
        summary="Answer questions about texts",
        response_model=AnswerReply | AnswerItemsReply,
        responses={
            200: {"content": {"application/json": {"examples": REPLY_EXAMPLES}}},
            **_refusals(400, *closed, 408, 409, 413, 415, 422, 500, 503),
        },
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": request_schema(limits), "examples": REQUEST_EXAMPLES}},
            },
            **key,
        },
    )
    async def answers(request: Request) -> Response:
        """One question, or several as `items`. Questions and texts may be in different languages.

        Answers are stretches of the text, word for word, with the offsets of their characters.
        """
        check_key(request, settings.api_key)
        host.ready_batcher()
        if metrics.requests_at_work >= limits.requests:
            raise Refusal(503, "overloaded", "too many requests are at work; try again later", retry_after=1)
        with metrics.at_work():
            wanted, many = parse_request(await read_json_body(request, limits), limits)
            host.refuse_unreached(wanted, many)
            found = await unless_gone(request, limits.answer_seconds, host.answer(wanted))
        metrics.questions.inc(len(found))
        replies = [one.to_dict() for one in found]
        return JSONResponse({"items": replies} if many else replies[0])

    @router.get(
        "/v1/models",
        summary="The model that answers, and the limits of a request",
        responses=_refusals(400, *closed),
        openapi_extra=key,
    )
    async def models(request: Request) -> ModelsReply:
        check_key(request, settings.api_key)
        facts = ModelFacts(
            name=host.name,
            ready=host.batcher is not None,
            backend=host.backend,
            calibrated=host.calibrated,
            limits=settings.limits,
        )
        return ModelsReply(models=[facts])

    @router.head("/health/live", include_in_schema=False)
    @router.get("/health/live", summary="Whether the server runs", responses=_refusals(400))
    async def live() -> dict[str, str]:
        return {"status": "ok"}

    @router.head("/health/ready", include_in_schema=False)
    @router.get(
        "/health/ready",
        summary="Whether the model is loaded",
        responses={**_refusals(400), 503: {"description": "Not yet; says how far it is."}},
    )
    async def ready() -> JSONResponse:
        status = {"ready": "ready", "failed": "failed"}.get(host.stage, "loading")
        step = STAGES.index(host.stage) if host.stage in STAGES else 0
        body = {"status": status, "stage": host.stage, "step": step, "steps": len(STAGES) - 1}
        if status == "ready":
            return JSONResponse(body)
        seconds = round(time.monotonic() - host.began, 1)
        return JSONResponse({**body, "seconds": seconds}, 503, {"Retry-After": "1"})

    @router.get(
        "/metrics",
        summary="Figures for Prometheus",
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}}, **_refusals(400, *closed)},
        openapi_extra=key,
    )
    async def figures(request: Request) -> Response:
        check_key(request, settings.api_key)
        metrics.queue.set(host.batcher.waiting_windows if host.batcher else 0)
        return Response(metrics.text(), media_type=CONTENT_TYPE)

    return router
