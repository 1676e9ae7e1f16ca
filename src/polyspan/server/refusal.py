"""Every reply that is not an answer has one form: ``{"error": {"code", "message", "field"}}``."""

from __future__ import annotations

import math

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

CODES = {
    400: "bad_request",
    401: "unauthorized",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    413: "body_too_large",
    415: "unsupported_media_type",
    422: "invalid",
    500: "internal",
    503: "unavailable",
}


class ErrorDetail(BaseModel):
    """What is wrong and what to do."""

    code: str = Field(description="For programs; does not change between versions.")
    message: str = Field(description="For people.")
    field: str | None = Field(default=None, description="Where in the request, such as `items.3.top_k`.")


class ErrorReply(BaseModel):
    """The body of every refused request."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"error": {"code": "top_k", "message": "top_k must be between 1 and 20", "field": "items.3.top_k"}}
            ]
        }
    )

    error: ErrorDetail


class Refusal(Exception):
    """A request that is not answered.

    Args:
        status: of HTTP.
        code: for programs.
        message: one line for people; holds nothing of other people's requests.
        field: where in the request.
        retry_after: seconds after which it is worth another try.
        headers: of the reply.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        field: str | None = None,
        retry_after: float | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.field = status, code, message, field
        self.headers = dict(headers or {})
        if retry_after is not None:
            self.headers["Retry-After"] = str(max(1, min(60, math.ceil(retry_after))))

    def response(self) -> JSONResponse:
        """As it is sent."""
        reply = ErrorReply(error=ErrorDetail(code=self.code, message=self.message, field=self.field))
        return JSONResponse(reply.model_dump(exclude_none=True), self.status, self.headers)
