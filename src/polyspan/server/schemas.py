"""What comes in and what goes out under ``/v1``."""

from __future__ import annotations

import codecs
from typing import Annotated, Any, NamedTuple

import pydantic_core
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from polyspan.answering.asked import Asked, AskedError, check_asked
from polyspan.server.refusal import Refusal
from polyspan.server.settings import Limits

EXAMPLE = {
    "question": "Wer eröffnete die Brücke?",
    "context": "The bridge was opened in 1902 by Anna Keller, who paid 17 florins for the stones.",
    "top_k": 2,
}
NOT_BLANK = r"\S"


def _whole(value: object) -> object:
    """JSON knows one kind of number, so 3.0 is whole."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


class AskedItem(BaseModel):
    """One question about one text."""

    model_config = ConfigDict(extra="forbid", strict=True)

    question: str
    context: str
    top_k: Annotated[int, BeforeValidator(_whole)] = 1
    precision: float | None = Field(default=None, gt=0, lt=1)
    question_language: str | None = None
    context_language: str | None = None

    @property
    def languages(self) -> tuple[str, str] | None:
        """Of question and context, where both were said."""
        both = self.question_language, self.context_language
        return None if None in both else both  # type: ignore[return-value]

    @model_validator(mode="after")
    def _both_languages(self) -> AskedItem:
        if (self.question_language is None) != (self.context_language is None):
            raise PydanticCustomError("languages", "question_language and context_language belong together")
        return self


class AskedItems(BaseModel):
    """Several of them, answered in their order."""

    model_config = ConfigDict(extra="forbid", strict=True)

    items: list[AskedItem] = Field(min_length=1)


class FoundAnswer(BaseModel):
    """A stretch of the context, word for word."""

    answer: str
    start: int = Field(description="Index of its first character; characters are Unicode code points.")
    end: int = Field(description="Index after its last character.")
    score: float = Field(description="Probability that it is the answer.")


class AnswerReply(BaseModel):
    """Answers to one question, best first."""

    answers: list[FoundAnswer] = Field(
        description="Empty where no stretch of the context can be an answer, or none is sure enough for `precision`."
    )
    no_answer: float = Field(description="Probability that the context holds no answer.")
    question_cut: bool = Field(
        default=False, description="Whether only the beginning of a long question was read; there where it is true."
    )


class AnswerItemsReply(BaseModel):
    """Answers to each question of `items`, in their order."""

    items: list[AnswerReply]


class ModelFacts(BaseModel):
    """The model that answers."""

    name: str
    ready: bool
    backend: str | None = Field(description="What runs it: torch, onnx or openvino; known once it is loaded.")
    calibrated: bool | None = Field(description="Whether its scores were fitted to how often answers are right.")
    limits: Limits


class ModelsReply(BaseModel):
    """The models that can be asked: the one the server was started with."""

    models: list[ModelFacts]


class Wanted(NamedTuple):
    """A checked question, how many answers to give, and what is known or wished beside.

    Attributes:
        asked: question and context.
        top_k: how many answers.
        precision: withhold answers that are less sure than it takes for this share of them to be right.
        languages: of question and context.
    """

    asked: Asked
    top_k: int
    precision: float | None = None
    languages: tuple[str, str] | None = None


def parse_request(body: bytes, limits: Limits) -> tuple[list[Wanted], bool]:
    """The questions of a body, and whether they came as ``items``.

    Raises:
        Refusal: no UTF-8, no JSON, another form, or beyond a limit.
    """
    try:
        body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refusal(400, "not_utf8", f"the body is not UTF-8 at byte {error.start}") from None
    try:
        data = pydantic_core.from_json(body.removeprefix(codecs.BOM_UTF8), allow_inf_nan=False, cache_strings="none")
    except ValueError as error:
        raise Refusal(400, "not_json", f"the body is not JSON: {str(error)[:200]}") from None
    many = isinstance(data, dict) and "items" in data
    _refuse_at_sight(data, limits, many)
    try:
        items = AskedItems.model_validate(data).items if many else [AskedItem.model_validate(data)]
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"]))[:100]
        raise Refusal(422, "invalid", f"{field or 'the body'}: {first['msg']}", field or None) from None
    return check_items(items, limits, many), many


def _refuse_at_sight(data: Any, limits: Limits, many: bool) -> None:
    """Refuse what is far from right before it is looked into: there would be an error for each of a million parts.

    Raises:
        Refusal: more items than a request may hold, or more fields than there are.
    """
    items = data["items"] if many and isinstance(data["items"], list) else []
    if len(items) > limits.items:
        raise Refusal(422, "items", f"{len(items)} items; a request may hold {limits.items}", "items")
    item = AskedItem.model_fields.keys()
    parts = [("", data, AskedItems.model_fields.keys() if many else item)]
    parts += [(f"items.{at}.", part, item) for at, part in enumerate(items)]
    for where, part, known in parts:
        if isinstance(part, dict) and len(part) > len(known):
            field = where + next(name for name in part if name not in known)[:50]
            raise Refusal(422, "invalid", f"{field}: is no field of a question", field)


def check_items(items: list[AskedItem], limits: Limits, many: bool) -> list[Wanted]:
    """The items, if they are within the limits that can be told without reading them.

    Raises:
        Refusal: beyond a limit, or an empty text.
    """
    characters = sum(len(item.question) + len(item.context) for item in items)
    if characters > limits.characters:
        raise Refusal(
            422,
            "characters",
            f"{characters} characters of questions and texts; a request may hold {limits.characters}",
        )
    wanted = []
    for at, item in enumerate(items):
        where = f"items.{at}." if many else ""
        if not 1 <= item.top_k <= limits.top_k:
            raise Refusal(422, "top_k", f"top_k must be between 1 and {limits.top_k}", f"{where}top_k")
        try:
            wanted.append(Wanted(check_asked(item.question, item.context), item.top_k, item.precision, item.languages))
        except AskedError as error:
            blank = "context" if item.question.strip() else "question"
            raise Refusal(422, "empty", str(error), where + blank) from None
    return wanted


def request_schema(limits: Limits) -> dict[str, Any]:
    """JSON schema of the body of ``POST /v1/answers``, with the limits of this server."""
    text = {"type": "string", "minLength": 1, "maxLength": limits.characters - 1, "pattern": NOT_BLANK}
    item = {
        "type": "object",
        "additionalProperties": False,
        "required": ["question", "context"],
        "properties": {
            "question": {**text, "description": "In any language."},
            "context": {**text, "description": "The text that is read; in any language, not only the question's."},
            "top_k": {"type": "integer", "minimum": 1, "maximum": limits.top_k, "default": 1},
            "precision": {
                "type": "number",
                "exclusiveMinimum": 0,
                "exclusiveMaximum": 1,
                "description": "Withhold answers that are less sure than it takes for this share of those given to be"
                " right. Needs a calibrated model that reaches it.",
            },
            "question_language": {
                "type": "string",
                "description": "Such as `de`: a calibrated model's scores are better where it knows both languages.",
            },
            "context_language": {"type": "string"},
        },
        "dependentRequired": {
            "question_language": ["context_language"],
            "context_language": ["question_language"],
        },
    }
    items = {
        "type": "object",
        "additionalProperties": False,
        "required": ["items"],
        "properties": {"items": {"type": "array", "minItems": 1, "maxItems": limits.items, "items": item}},
    }
    return {"oneOf": [item, items]}


REQUEST_EXAMPLES: dict[str, Any] = {
    "one": {"summary": "A German question about an English text", "value": EXAMPLE},
    "several": {
        "summary": "Several questions at once",
        "value": {
            "items": [
                EXAMPLE,
                {"question": "谁开通了这座桥？", "context": "Die Brücke wurde 1902 von Anna Keller eröffnet."},
            ]
        },
    },
}
REPLY_EXAMPLES: dict[str, Any] = {
    "one": {
        "summary": "To one question",
        "value": {
            "answers": [
                {"answer": "Anna Keller", "start": 33, "end": 44, "score": 0.93},
                {"answer": "Anna Keller, who paid 17 florins", "start": 33, "end": 65, "score": 0.02},
            ],
            "no_answer": 0.01,
        },
    },
    "several": {
        "summary": "To `items`",
        "value": {
            "items": [
                {
                    "answers": [{"answer": "Anna Keller", "start": 33, "end": 44, "score": 0.93}],
                    "no_answer": 0.01,
                },
                {
                    "answers": [{"answer": "Anna Keller", "start": 26, "end": 37, "score": 0.9}],
                    "no_answer": 0.02,
                },
            ]
        },
    },
}
