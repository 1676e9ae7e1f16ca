"""Answers to questions about texts of any length."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from typing import TYPE_CHECKING, Any, overload

from polyspan.answering.asked import Asked, AskedError, check_asked
from polyspan.answering.backend import Backend, choose_backend, load_reader_for, move_to_accelerator
from polyspan.encoding.spans import UNSCALED, Span

if TYPE_CHECKING:
    from polyspan.answering.calibration import Calibration
    from polyspan.encoding.tokens import Template
    from polyspan.models.load import LoadedModel

LANGUAGE = "und"
LOOKED_AT = 20
"""Spans looked at when fewer are asked for, so that the first answers do not depend on ``top_k``."""


@dataclass(frozen=True)
class Answers:
    """Ranked spans of the context, best first, and the probability that it holds no answer.

    Attributes:
        spans: empty where there is none, or none that is sure enough.
        no_answer: probability.
        languages: of the question and of the context, where they were given or guessed.
        question_cut: whether only the beginning of the question was read: more than half a window it
            cannot take.
    """

    spans: list[Span]
    no_answer: float
    languages: tuple[str, str] | None = None
    question_cut: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The form in which answers are written to files and sent over HTTP; ``question_cut`` is there if true."""
        found = [{"answer": s.text, "start": s.start, "end": s.end, "score": s.score} for s in self.spans]
        known = dict(zip(("question_language", "context_language"), self.languages or (), strict=False))
        cut = {"question_cut": True} if self.question_cut else {}
        return {"answers": found, "no_answer": self.no_answer, **known, **cut}


@dataclass(frozen=True)
class Reading:
    """How a text is read.

    Attributes:
        top_k: how many answers, 1 or more.
        max_answer_len: longest answer, in tokens.
        doc_stride: tokens that consecutive windows of a long context share; 128, or half a window if
            that is less, when None.
        max_seq_len: tokens of a window, question and special tokens included; no more than the
            model can read.
        precision: withhold answers that are less sure than it takes for this share of the answers
            given to be right; needs a calibrated model.
        guess_languages: say what languages question and context seem to be in; needs the extra
            ``languages``. A calibrated model takes the temperature of that pair of languages.
        windows_apart: do not join the windows of a long context: ``top_k`` answers of each, by its own
            probabilities, window by window, which is what transformers 4 began with.
    """

    top_k: int = 1
    max_answer_len: int = 30
    doc_stride: int | None = None
    max_seq_len: int = 384
    precision: float | None = None
    guess_languages: bool = False
    windows_apart: bool = False

    def __post_init__(self) -> None:
        """Refuse what makes no sense.

        Raises:
            AskedError: a number is too small, or windows would share all they hold.
        """
        for name, least in (("top_k", 1), ("max_answer_len", 1), ("doc_stride", 0), ("max_seq_len", 8)):
            if (value := getattr(self, name)) is not None or name != "doc_stride":
                object.__setattr__(self, name, whole_number(name, value, least))
        if self.doc_stride is not None and self.doc_stride >= self.max_seq_len:
            raise AskedError(f"doc_stride ({self.doc_stride}) must be smaller than max_seq_len ({self.max_seq_len})")
        if self.precision is not None and not (isinstance(self.precision, Real) and 0 < self.precision < 1):
            raise AskedError(f"precision must be between 0 and 1, not {self.precision!r}")


def whole_number(name: str, value: object, least: int) -> int:
    """The value as an ``int``; NumPy's whole numbers are taken too.

    Raises:
        AskedError: it is no whole number, or too small.
    """
    try:
        number = None if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = None
    if number is None or number < least:
        raise AskedError(f"{name} must be {least} or more, not {value!r}")
    return number


def pair_of_languages(given: object) -> tuple[str, str] | None:
    """The languages of a question and of a context; None where they are not known.

    Raises:
        AskedError: it is no pair of texts.
    """
    if given is None:
        return None
    if isinstance(given, tuple | list) and len(given) == 2 and all(isinstance(language, str) for language in given):
        return given[0], given[1]
    raise AskedError(f"languages are a pair, of the question and of the context, such as ('de', 'en'); not {given!r}")


class Answerer:
    """A reader that is ready to be asked.

    Args:
        model: shipped name, folder or hub id; the shipped cross-lingual reader by default.
        backend: "torch", on an accelerator where there is one; "onnx" for a folder that ``polyspan export``
            wrote, which needs the extra ``onnx``; or "openvino" for either, which needs the extra
            ``openvino`` and is the fastest on processors. By default what the folder is made for.

    Raises:
        ModelError: the model cannot be loaded.
        OnnxError: the folder holds no export, or ``onnxruntime`` is not installed.
        OpenvinoError: OpenVINO is not installed, or cannot take the model over.
        CalibrationError: the model's folder holds a calibration that cannot be read.

    Where the model's folder holds a calibration (``polyspan calibrate``), scores are probabilities that
    were fitted to how often answers are right; otherwise they are the model's own.

    Calling an answerer takes and returns what ``pipeline("question-answering")`` of transformers 4
    did; `answer` is the plainer way, which also tells how probable it is that there is no answer.
    """

    def __init__(self, model: str | os.PathLike[str] | None = None, backend: Backend | None = None) -> None:
        from polyspan.models.load import DEFAULT

        name = os.fspath(model or DEFAULT)
        self.backend: Backend = choose_backend(name, backend)
        self.loaded: LoadedModel = load_reader_for(name, self.backend)
        move_to_accelerator(self.loaded)
        self.calibration: Calibration | None = self._find_calibration()

    @property
    def name(self) -> str:
        """The model's name, as it was asked for."""
        return self.loaded.name

    @overload
    def answer(
        self, question: str, context: str, top_k: int = ..., languages: tuple[str, str] | None = ..., **reading: Any
    ) -> Answers: ...
    @overload
    def answer(
        self,
        question: list[str],
        context: str,
        top_k: int = ...,
        languages: tuple[str, str] | None = ...,
        **reading: Any,
    ) -> list[Answers]: ...
    @overload
    def answer(
        self,
        question: str | list[str],
        context: list[str],
        top_k: int = ...,
        languages: tuple[str, str] | None = ...,
        **reading: Any,
    ) -> list[Answers]: ...
    def answer(
        self,
        question: str | list[str],
        context: str | list[str],
        top_k: int = 1,
        languages: tuple[str, str] | None = None,
        **reading: Any,
    ) -> Answers | list[Answers]:
        """The best answers, in whatever languages question and context are.

        Args:
            question: what is asked; or a list of questions.
            context: where the answer is looked for, of any length; or a list of contexts. One
                question goes with every context of a list, one context with every question, and
                two lists of the same length go together item by item.
            top_k: how many answers each.
            languages: of all questions and of all contexts, where they are known; a calibrated model
                has a temperature for each pair of languages.
            reading: the other fields of `Reading`.

        Returns:
            `Answers`, or a list of them in the order of the list given.

        Raises:
            AskedError: a text is empty, an option makes no sense, or the lists differ in length.
        """
        if isinstance(question, str) and isinstance(context, str):
            return self.answer_many([Asked(question, context)], Reading(top_k, **reading), languages=[languages])[0]
        asked = pair_up(question, context)
        return self.answer_many(asked, Reading(top_k, **reading), languages=[languages] * len(asked))

    def answer_many(
        self,
        asked: Sequence[tuple[str, str]],
        reading: Reading | None = None,
        progress: Callable[[int, int], None] | None = None,
        languages: Sequence[tuple[str, str] | None] | None = None,
    ) -> list[Answers]:
        """Answers to (question, context) pairs, in their order; batches are made across all of them.

        Args:
            asked: the pairs; a context that several questions share is tokenised once.
            reading: how to read; `Reading` as it stands by default.
            progress: called with the tokens read so far and their total.
            languages: of question and context, for each pair where they are known; a calibrated
                model has a temperature for each pair of languages.

        Raises:
            AskedError: a text is empty or no text, or languages cannot be guessed.
            CalibrationError: a precision that the model does not reach.
        """
        from polyspan.corpus.model import Pair, ParallelCorpus, Passage, Seed
        from polyspan.encoding.predict import inference_precision, predict

        reading, calibration = reading or Reading(), self.calibration
        checked = [check_asked(question, context) for question, context in asked]
        known = list(map(pair_of_languages, [None] * len(checked) if languages is None else languages))
        if len(known) != len(checked):
            raise AskedError(f"{len(checked)} questions and languages of {len(known)}")
        least = self.least_score(reading.precision)
        if not checked:
            return []
        if reading.guess_languages:
            from polyspan.answering.languages import guess_language

            known = [
                given or (guess_language(item.question), guess_language(item.context))
                for given, item in zip(known, checked, strict=True)
            ]
        places = {context: str(at) for at, context in enumerate(dict.fromkeys(item.context for item in checked))}
        seeds = {
            str(at): Seed(str(at), {LANGUAGE: item.question}, {LANGUAGE: places[item.context]}, {LANGUAGE: ()})
            for at, item in enumerate(checked)
        }
        passages = {place: Passage(place, LANGUAGE, "", context) for context, place in places.items()}
        with inference_precision(self.loaded.model):
            predictions = predict(
                self.loaded.model,
                self.loaded.tokenizer,
                ParallelCorpus("asked", seeds, passages),
                [Pair(id_, LANGUAGE, LANGUAGE) for id_ in seeds],
                top_k=reading.top_k if reading.windows_apart else max(reading.top_k, LOOKED_AT),
                max_length=self._window(reading),
                overlap=self._overlap(reading),
                max_answer_tokens=reading.max_answer_len,
                progress=progress,
                scaling=lambda pair: calibration.scaling(known[int(pair.id)]) if calibration else UNSCALED,
                apart=reading.windows_apart,
            )
        most = None if reading.windows_apart else reading.top_k
        return [
            Answers(
                [span for span in found.spans[:most] if span.score >= least], found.no_answer, pair, found.question_cut
            )
            for found, pair in zip(predictions, known, strict=True)
        ]

    def windows(self, question: str, context: str, reading: Reading | None = None) -> int:
        """How many windows it takes to read the context for this question: what an answer costs."""
        from polyspan.encoding.tokens import tokenise
        from polyspan.encoding.windows import count_windows

        reading = reading or Reading()
        of_question, of_context = (len(text.ids) for text in tokenise(self.loaded.tokenizer, [question, context]))
        room = self._window(reading) - self._template.specials
        return count_windows(of_context, room - min(of_question, room // 2), self._overlap(reading))

    def _window(self, reading: Reading) -> int:
        return min(reading.max_seq_len, self.longest_window)

    def _overlap(self, reading: Reading) -> int:
        from polyspan.encoding.windows import OVERLAP

        return min(OVERLAP, self._window(reading) // 2) if reading.doc_stride is None else reading.doc_stride

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Answer in the call shapes and keys of transformers 4; see `polyspan.answering.pipeline`."""
        from polyspan.answering.pipeline import call_as_pipeline

        return call_as_pipeline(self, *args, **kwargs)

    def _find_calibration(self) -> Calibration | None:
        from polyspan.answering.calibration import load_calibration
        from polyspan.models.load import model_folder

        folder = model_folder(self.name)
        return None if folder is None else load_calibration(folder)

    def least_score(self, precision: float | None) -> float:
        """The least score of an answer that is given, when so many of those given are to be right.

        Raises:
            AskedError: the model is not calibrated.
            CalibrationError: it does not reach that precision.
        """
        if precision is None:
            return 0.0
        if self.calibration is None:
            raise AskedError(f"{self.name} is not calibrated, so no precision can be promised; see polyspan calibrate")
        return self.calibration.least_score(precision)

    @cached_property
    def longest_window(self) -> int:
        """The most tokens the model reads at once."""
        from polyspan.models.load import longest_window

        return longest_window(self.loaded.model.config, self.loaded.tokenizer)

    @cached_property
    def _template(self) -> Template:
        from polyspan.encoding.tokens import pair_template

        return pair_template(self.loaded.tokenizer)


def pair_up(question: str | Sequence[str], context: str | Sequence[str]) -> list[Asked]:
    """Questions with contexts: item by item, or the one of either with all of the other.

    Raises:
        AskedError: neither texts nor lists, or two lists of different lengths.
    """
    if not all(isinstance(part, str | list | tuple) for part in (question, context)):
        raise AskedError("question and context must be texts or lists of texts")
    if isinstance(question, str):
        question = [question] * (1 if isinstance(context, str) else len(context))
    if isinstance(context, str):
        context = [context] * len(question)
    if len(question) != len(context):
        raise AskedError(f"{len(question)} questions and {len(context)} contexts; lists must have the same length")
    return [Asked(*pair) for pair in zip(question, context, strict=True)]
