"""What makes scores probabilities that can be trusted: a small file in the model's folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from polyspan.encoding.spans import Scaling
from polyspan.errors import PolyspanError, first_problem
from polyspan.files import write_text
from polyspan.models.load import CALIBRATION_FILE


class CalibrationError(PolyspanError):
    """A calibration that is not there, cannot be read, or does not reach what is asked of it."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class PairTemperature(_Part):
    """The temperature of one pair of languages, and how many answerable rows it was fitted on."""

    question_language: str
    context_language: str
    temperature: float = Field(gt=0)
    rows: int


class Threshold(_Part):
    """The least score at which answers are right as often as ``precision`` says.

    Attributes:
        precision: share of right answers among those given, with 90% confidence on the rows fitted on.
        score: answers with less are withheld.
        coverage: share of those rows that still get an answer.
    """

    precision: float
    score: float
    coverage: float


class Calibration(_Part):
    """Fitted scaling of one model.

    Attributes:
        model, data: what it was fitted for and on.
        rows: how many rows, those without an answer included.
        no_answer_share: how many of them had no answer; probabilities hold for such a mixture.
        temperature: for a pair of languages that is not known or not listed.
        null_slope, null_bias: of `Scaling`, for all pairs.
        pairs: temperatures of language pairs.
        thresholds: by rising precision; a precision that no score reaches is left out.
    """

    model: str
    data: str
    rows: int
    no_answer_share: float
    temperature: float = Field(gt=0)
    null_slope: float
    null_bias: float
    pairs: tuple[PairTemperature, ...] = ()
    thresholds: tuple[Threshold, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _leave_measured(cls, data: Any) -> Any:
        """The file that ``polyspan calibrate`` writes into ``--output`` also says what it measured."""
        return {key: data[key] for key in data if key != "measured"} if isinstance(data, dict) else data

    def scaling(self, languages: tuple[str, str] | None = None) -> Scaling:
        """For a question and a context in these languages, or in unknown ones."""
        temperature = self.temperature
        for pair in self.pairs:
            if (pair.question_language, pair.context_language) == languages:
                temperature = pair.temperature
        return Scaling(temperature, self.null_slope, self.null_bias)

    @property
    def highest(self) -> float:
        """The highest precision that the model was seen to reach; 0 if none."""
        return self.thresholds[-1].precision if self.thresholds else 0.0

    def least_score(self, precision: float) -> float:
        """The least score of an answer when so many are to be right.

        Raises:
            CalibrationError: the model does not reach that precision.
        """
        for threshold in self.thresholds:
            if threshold.precision >= precision - 1e-9:
                return threshold.score
        best = f"the highest it reaches is {self.highest:g}" if self.thresholds else "it reaches none"
        raise CalibrationError(f"{self.model} was not seen to reach a precision of {precision:g}; {best}")

    def save(self, folder: Path) -> Path:
        """Write it into a model's folder, where `Answerer` finds it."""
        path = folder / CALIBRATION_FILE
        write_text(path, json.dumps(self.model_dump(mode="json"), ensure_ascii=False, indent=1) + "\n")
        return path


def load_calibration(folder: Path) -> Calibration | None:
    """The calibration in a model's folder; None where there is none.

    Raises:
        CalibrationError: it cannot be read, or is none.
    """
    path = folder / CALIBRATION_FILE
    try:
        return Calibration.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise CalibrationError(f"{path}: cannot be read ({error})") from error
    except ValidationError as error:
        raise CalibrationError(f"{path}: {first_problem(error)}; make it anew with polyspan calibrate") from error
