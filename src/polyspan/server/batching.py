"""Questions of many requests, read by the model together: a bounded queue and small waits."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from polyspan.answering.answerer import LOOKED_AT, Answers, Reading
from polyspan.server.refusal import Refusal
from polyspan.server.schemas import Wanted
from polyspan.server.settings import Limits

if TYPE_CHECKING:
    from polyspan.answering.answerer import Answerer
    from polyspan.server.metrics import Metrics

SMOOTHING = 0.2


@dataclass(eq=False)
class Job:
    """A question that waits, and its cost."""

    wanted: Wanted
    windows: int
    found: asyncio.Future[Answers] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class AllLeft(Exception):
    """Nobody waits any more for what is being read."""


class Batcher:
    """One model, asked by many requests.

    Questions are read in the order in which they came. A batch holds as many as fit into
    ``batch_windows``; one that is not full waits ``batch_milliseconds`` for more. What a request asks
    is taken on whole or refused whole.

    Args:
        answerer: asked in ``executor``.
        executor: of a single thread.
        limits: of queue and batches.
        metrics: told of every batch.
    """

    def __init__(self, answerer: Answerer, executor: Executor, limits: Limits, metrics: Metrics) -> None:
        self.answerer, self.executor, self.limits, self.metrics = answerer, executor, limits, metrics
        self.windows_per_second = 0.0
        self._waiting: deque[Job] = deque()
        self._arrived = asyncio.Event()

    @property
    def waiting_windows(self) -> int:
        """Windows of the questions that wait."""
        return sum(job.windows for job in self._waiting)

    def refuse_if_full(self, windows: int = 1) -> None:
        """Whether so many more windows may wait.

        Raises:
            Refusal: 503 with the seconds after which the queue should be empty.
        """
        waiting = self.waiting_windows
        if waiting and waiting + windows > self.limits.queue_windows:
            seconds = waiting / self.windows_per_second if self.windows_per_second else 1.0
            raise Refusal(503, "overloaded", "too many questions are waiting; try again later", retry_after=seconds)

    async def answer(self, wanted: Sequence[Wanted], windows: Sequence[int]) -> list[Answers]:
        """Wait for the model's answers, in the order of the questions.

        Cancelling it withdraws the questions; what is being read is read on only for others in the batch.

        Args:
            wanted: the questions of a request.
            windows: what each costs.

        Raises:
            Refusal: the queue is full.
        """
        self.refuse_if_full(sum(windows))
        jobs = [Job(*pair) for pair in zip(wanted, windows, strict=True)]
        self._waiting.extend(jobs)
        self._arrived.set()
        try:
            return list(await asyncio.gather(*(job.found for job in jobs)))
        finally:
            for job in jobs:
                job.found.cancel()
            self._waiting = deque(job for job in self._waiting if not job.found.done())

    async def run(self) -> None:
        """Read what comes, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            batch = [job for job in await self._gather() if not job.found.done()]
            if not batch:
                continue
            began = loop.time()
            results = await loop.run_in_executor(self.executor, self._read, batch)
            seconds = loop.time() - began
            if _all_left(batch):
                self.metrics.batch(0, seconds)  # how far it came is not known
                continue
            self._note(sum(job.windows for job in batch), seconds)
            for job, result in zip(batch, results, strict=True):
                if job.found.done():
                    continue
                if isinstance(result, Answers):
                    job.found.set_result(result)
                else:
                    job.found.set_exception(result)

    async def _gather(self) -> list[Job]:
        """The next batch, of one question or more."""
        while not self._waiting:
            self._arrived.clear()
            await self._arrived.wait()
        batch: list[Job] = []
        until = asyncio.get_running_loop().time() + self.limits.batch_milliseconds / 1000
        while self._take(batch):
            self._arrived.clear()
            try:
                async with asyncio.timeout_at(until):
                    await self._arrived.wait()
            except TimeoutError:
                break
        return batch

    def _take(self, batch: list[Job]) -> bool:
        """Move what fits from the queue into the batch; False when the batch is full."""
        room = self.limits.batch_windows - sum(job.windows for job in batch)
        while self._waiting:
            job = self._waiting[0]
            if batch and (job.windows > room or _depth(job) != _depth(batch[0])):
                return False
            batch.append(self._waiting.popleft())
            room -= job.windows
        return room > 0

    def _read(self, batch: list[Job]) -> list[Answers | Exception]:
        """In the model's thread. A question that breaks the model does not take the others with it."""

        def stop_if_all_left(done: int, total: int) -> None:
            if _all_left(batch):
                raise AllLeft

        wanted = [job.wanted for job in batch]
        try:
            found = self.answerer.answer_many(
                [w.asked for w in wanted],
                Reading(max(w.top_k for w in wanted)),
                stop_if_all_left,
                [w.languages for w in wanted],
            )
            return [self._wanted_of(answers, w) for answers, w in zip(found, wanted, strict=True)]
        except AllLeft as left:
            return [left] * len(batch)
        except Exception as error:
            return [error] if len(batch) == 1 else [result for item in batch for result in self._read([item])]

    def _wanted_of(self, answers: Answers, wanted: Wanted) -> Answers:
        least = self.answerer.least_score(wanted.precision)
        spans = [span for span in answers.spans[: wanted.top_k] if span.score >= least]
        return replace(answers, spans=spans, languages=None)  # who asks has said them

    def _note(self, windows: int, seconds: float) -> None:
        rate = windows / max(seconds, 1e-6)
        old = self.windows_per_second or rate
        self.windows_per_second = old + SMOOTHING * (rate - old)
        self.metrics.batch(windows, seconds)


def _all_left(batch: Sequence[Job]) -> bool:
    return all(job.found.done() for job in batch)


def _depth(job: Job) -> int:
    """Spans that are looked at; questions are read together only where that does not change an answer."""
    return max(job.wanted.top_k, LOOKED_AT)
