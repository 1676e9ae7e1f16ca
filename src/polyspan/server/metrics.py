"""Counters for Prometheus; nothing of any request's text."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
WINDOWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """The figures of one server."""

    def __init__(self) -> None:
        self.requests_at_work = 0
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._registry = registry
        self.requests = Counter(
            "polyspan_requests", "Requests by route and status.", ["route", "status"], registry=registry
        )
        self.refusals = Counter("polyspan_refusals", "Refused requests by reason.", ["code"], registry=registry)
        self.seconds = Histogram(
            "polyspan_request_seconds", "From arrival to reply.", ["route"], buckets=SECONDS, registry=registry
        )
        self.questions = Counter("polyspan_questions", "Questions answered.", registry=registry)
        self.windows = Counter("polyspan_windows", "Windows read.", registry=registry)
        self.batch_windows = Histogram(
            "polyspan_batch_windows", "Windows read together.", buckets=WINDOWS, registry=registry
        )
        self.batch_seconds = Histogram(
            "polyspan_batch_seconds", "The model's time for a batch.", buckets=SECONDS, registry=registry
        )
        self.queue = Gauge("polyspan_queue_windows", "Windows that wait for the model.", registry=registry)
        self.in_flight = Gauge("polyspan_requests_in_flight", "Requests for answers at work.", registry=registry)
        self.ready = Gauge("polyspan_model_ready", "1 when the model is loaded.", registry=registry)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Count a request as being at work."""
        self.requests_at_work += 1
        self.in_flight.set(self.requests_at_work)
        try:
            yield
        finally:
            self.requests_at_work -= 1
            self.in_flight.set(self.requests_at_work)

    def batch(self, windows: int, seconds: float) -> None:
        """Note a batch that was read."""
        self.windows.inc(windows)
        self.batch_windows.observe(windows)
        self.batch_seconds.observe(seconds)

    def text(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self._registry)
