"""Answers to a question about a text of any length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from polyspan.corpus.model import CorpusError, Pair, ParallelCorpus, Passage, Seed
from polyspan.encoding.spans import Span
from polyspan.errors import PolyspanError

if TYPE_CHECKING:
    from polyspan.models.load import LoadedModel

LANGUAGE = "und"


@dataclass(frozen=True)
class Answers:
    """Ranked spans of the context, best first, and the probability that it holds no answer."""

    spans: list[Span]
    no_answer: float


class Answerer:
    """A reader that is ready to be asked.

    Args:
        model: shipped name, folder or hub id; the shipped cross-lingual reader by default.

    Raises:
        ModelError: the model cannot be loaded.
    """

    def __init__(self, model: str | None = None) -> None:
        from polyspan.models.load import DEFAULT, load_model

        self.loaded: LoadedModel = load_model(model or DEFAULT)

    def answer(self, question: str, context: str, top_k: int = 1) -> Answers:
        """The best answers to one question in one text, in whatever languages the two are.

        Args:
            question: what is asked.
            context: where the answer is looked for; long ones are read in overlapping windows.
            top_k: how many answers, 1 or more.

        Raises:
            PolyspanError: the question or the context is empty, or ``top_k`` is below 1.
        """
        from polyspan.encoding.predict import inference_precision, predict

        if top_k < 1:
            raise PolyspanError(f"top_k must be 1 or more, not {top_k}")
        for name, text in (("question", question), ("context", context)):
            if not text.strip():
                raise CorpusError(f"the {name} is empty")
        seed = Seed("asked", {LANGUAGE: question.strip()}, {LANGUAGE: "given"}, {LANGUAGE: ()})
        corpus = ParallelCorpus("asked", {"asked": seed}, {"given": Passage("given", LANGUAGE, "", context)})
        with inference_precision(self.loaded.model):
            (prediction,) = predict(
                self.loaded.model,
                self.loaded.tokenizer,
                corpus,
                [Pair("asked", LANGUAGE, LANGUAGE)],
                top_k=top_k,
            )
        return Answers(prediction.spans, prediction.no_answer)
