"""``polyspan serve``: answers over HTTP, and a page to ask on."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Annotated

import typer

from polyspan.cli.backend_option import BackendOption

KEY_VARIABLE = "POLYSPAN_API_KEY"
LONGEST = 86_400.0
"""Of all that is a time; an endless one would not let the server stop."""


def serve(
    model: Annotated[
        str | None, typer.Option(help="Shipped name, folder or hub id.", show_default="polyspan-small")
    ] = None,
    backend: BackendOption = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for every network.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    api_key_file: Annotated[
        Path | None, typer.Option(help=f"File with the key that clients must bring; or set {KEY_VARIABLE}.")
    ] = None,
    allowed_host: Annotated[
        list[str] | None, typer.Option(help="A name by which the server may be called; may be repeated.")
    ] = None,
    max_body_bytes: Annotated[int, typer.Option(min=100, help="Bytes of a request's body.")] = 2_000_000,
    max_characters: Annotated[
        int, typer.Option(min=2, help="Characters of a request's questions and texts.")
    ] = 200_000,
    max_items: Annotated[int, typer.Option(min=1, help="Questions in a request.")] = 64,
    max_windows: Annotated[int, typer.Option(min=1, help="Windows a request makes the model read.")] = 256,
    max_top_k: Annotated[int, typer.Option(min=1, max=1000, help="Answers that one question may ask for.")] = 20,
    max_requests: Annotated[int, typer.Option(min=1, help="Requests at work at the same time.")] = 512,
    body_seconds: Annotated[float, typer.Option(min=0.1, max=LONGEST, help="Time for a request to arrive.")] = 10.0,
    answer_seconds: Annotated[
        float, typer.Option(min=0.1, max=LONGEST, help="Time for a request to be answered.")
    ] = 30.0,
    queue_windows: Annotated[int, typer.Option(min=1, help="Windows that may wait; more are answered 503.")] = 128,
    batch_windows: Annotated[int, typer.Option(min=1, help="Windows read together.")] = 32,
    batch_milliseconds: Annotated[float, typer.Option(min=0, max=LONGEST, help="Wait for a batch to fill.")] = 5.0,
) -> None:
    """Serve answers over HTTP, and a page to ask on, until stopped. See /openapi.json for the API."""
    try:
        from polyspan.server.run import ServerError, serve
    except ModuleNotFoundError as error:
        from polyspan.errors import PolyspanError

        raise PolyspanError(f"{error.name} is not installed: pip install 'polyspan[serve]'") from None
    from pydantic import ValidationError

    from polyspan.answering.backend import check_backend
    from polyspan.errors import first_problem
    from polyspan.files import read_text
    from polyspan.server.settings import Limits, Settings, is_loopback

    api_key = os.environ.get(KEY_VARIABLE, "").strip() or None
    if api_key_file is not None:
        api_key = read_text(api_key_file, ServerError).strip()
    if api_key is not None and (len(api_key) < 8 or not api_key.isascii() or not api_key.isprintable()):
        raise ServerError("the API key must be one line of 8 characters of ASCII or more")
    try:
        settings = Settings(
            model=model,
            backend=check_backend(backend),
            host=host,
            port=port,
            api_key=api_key,
            allowed_hosts=tuple(allowed_host or ()),
            limits=Limits(
                body_bytes=max_body_bytes,
                body_seconds=body_seconds,
                characters=max_characters,
                items=max_items,
                windows=max_windows,
                top_k=max_top_k,
                answer_seconds=answer_seconds,
                requests=max_requests,
                queue_windows=queue_windows,
                batch_windows=batch_windows,
                batch_milliseconds=batch_milliseconds,
            ),
        )
    except ValidationError as error:
        raise ServerError(first_problem(error)) from error
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    log = logging.getLogger("polyspan.server")
    log.setLevel(logging.INFO)
    if not is_loopback(host) and api_key is None:
        log.warning("anybody who reaches %s can ask: set %s to ask for a key", host, KEY_VARIABLE)
    serve(settings, lambda address: print(f"Polyspan answers at {address}/", flush=True))
