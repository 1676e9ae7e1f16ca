"""The model: loaded behind the scenes, then asked through a `Batcher`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from polyspan.answering.answerer import Answers
from polyspan.answering.asked import AskedError
from polyspan.answering.calibration import CalibrationError
from polyspan.server.batching import Batcher
from polyspan.server.metrics import Metrics
from polyspan.server.refusal import Refusal
from polyspan.server.schemas import EXAMPLE, Wanted
from polyspan.server.settings import Settings

if TYPE_CHECKING:
    from polyspan.answering.answerer import Answerer

Stage = Literal["starting", "libraries", "model", "warm-up", "ready", "failed"]
STAGES: tuple[Stage, ...] = ("starting", "libraries", "model", "warm-up", "ready")
SHORT = 2000
"""Characters up to which a question and its text are measured at once, without a thread."""


class ModelHost:
    """Where the model lives; one thread loads it and runs it, another measures what questions cost."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        from polyspan.models.load import DEFAULT

        self.settings, self.metrics = settings, metrics
        name = settings.model or DEFAULT
        self.name = Path(name).name if Path(name).is_dir() else name
        self.stage: Stage = "starting"
        self.began = time.monotonic()
        self.failure: Exception | None = None
        self.batcher: Batcher | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._measuring = ThreadPoolExecutor(1, thread_name_prefix="measure")

    async def run(self, on_failure: Callable[[], None]) -> None:
        """Load the model, then answer until cancelled.

        Args:
            on_failure: called when the model cannot be loaded; `failure` says why.
        """
        try:
            answerer = await asyncio.get_running_loop().run_in_executor(self._thread, self._load)
        except Exception as error:
            self.stage, self.failure = "failed", error
            on_failure()
            return
        self.batcher = Batcher(answerer, self._thread, self.settings.limits, self.metrics)
        self.stage = "ready"
        self.metrics.ready.set(1)
        await self.batcher.run()

    def _load(self) -> Answerer:
        self.stage = "libraries"
        import torch
        import transformers  # noqa: F401

        from polyspan.answering.answerer import Answerer

        self.stage = "model"
        answerer = Answerer(self.settings.model, self.settings.backend)
        self.stage = "warm-up"
        with torch.inference_mode():
            answerer.answer(str(EXAMPLE["question"]), str(EXAMPLE["context"]))
        return answerer

    @property
    def backend(self) -> str | None:
        """What runs the model; None until it is loaded."""
        return None if self.batcher is None else self.batcher.answerer.backend

    @property
    def calibrated(self) -> bool | None:
        """Whether the model is calibrated; None until it is loaded."""
        return None if self.batcher is None else self.batcher.answerer.calibration is not None

    def ready_batcher(self) -> Batcher:
        """The way to the model.

        Raises:
            Refusal: it is not loaded yet, or more questions wait than may.
        """
        if self.batcher is None:
            raise Refusal(503, "loading", f"the model is being loaded ({self.stage}); try again", retry_after=2)
        self.batcher.refuse_if_full()
        return self.batcher

    def refuse_unreached(self, wanted: list[Wanted], many: bool) -> None:
        """Whether the model was seen to reach the precision that each question asks for.

        Raises:
            Refusal: not that of this one, or the model is not loaded.
        """
        answerer = self.ready_batcher().answerer
        for at, item in enumerate(wanted):
            try:
                answerer.least_score(item.precision)
            except (AskedError, CalibrationError) as error:
                known = answerer.calibration
                why = f"was not seen to reach more than {known.highest:g}" if known else "is not calibrated"
                field = f"items.{at}.precision" if many else "precision"
                raise Refusal(
                    409, "precision", f"no precision of {item.precision:g}: the model {why}", field
                ) from error

    async def answer(self, wanted: list[Wanted]) -> list[Answers]:
        """Answers, in the order of the questions.

        Raises:
            Refusal: too many windows, not loaded, or the queue is full.
        """
        batcher = self.ready_batcher()
        windows = [await self._measure(batcher, item) for item in wanted]
        most = self.settings.limits.windows
        if sum(windows) > most:
            raise Refusal(
                422, "windows", f"the texts take {sum(windows)} windows to read; a request may take {most}; split it"
            )
        return await batcher.answer(wanted, windows)

    async def _measure(self, batcher: Batcher, item: Wanted) -> int:
        if len(item.asked.question) + len(item.asked.context) <= SHORT:
            return batcher.answerer.windows(*item.asked)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._measuring, batcher.answerer.windows, *item.asked)

    def close(self) -> None:
        """Let the threads end after what they are doing."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._measuring.shutdown(wait=False, cancel_futures=True)
