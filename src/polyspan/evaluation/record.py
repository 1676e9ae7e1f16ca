"""What was evaluated: the model, the data and the rules, kept beside the predictions."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from polyspan.corpus.load import Kind
from polyspan.errors import first_problem
from polyspan.evaluation.normalise import Rules, ScoringError
from polyspan.files import read_text, write_text

EVALUATION_FILE = "evaluation.json"


class EvaluationRecord(BaseModel):
    """Enough to find the texts of predictions again, and to repeat the evaluation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    """Shipped name, folder or hub id."""
    path: str
    """Of the data: a shipped name, or a file or folder with its full path."""
    kind: Kind
    """Layout of the data."""
    languages: list[str] | None = None
    """Kept on both sides; all when None."""
    limit: int | None = None
    """Questions of each pair of languages; all when None."""
    rules: Rules
    """Of scoring."""
    top_k: int
    """Answers kept of each row."""
    seconds: float
    """From texts to predictions."""
    backend: str = "torch"
    """What ran the model."""
    data: str | None = None
    """Digest of the data."""

    def write(self, folder: Path) -> None:
        """Write ``evaluation.json``."""
        write_text(folder / EVALUATION_FILE, self.model_dump_json(indent=1) + "\n")

    @staticmethod
    def read(folder: Path) -> EvaluationRecord | None:
        """What a folder says of its evaluation; None if it holds no such file.

        Raises:
            ScoringError: the file is broken.
        """
        path = folder / EVALUATION_FILE
        if not path.exists():
            return None
        try:
            return EvaluationRecord.model_validate_json(read_text(path, ScoringError))
        except ValidationError as error:
            raise ScoringError(f"{path}: {first_problem(error)}") from error


def full_path(path: str) -> str:
    """The path from the root where there is such a file or folder, the name itself otherwise."""
    return str(Path(path).resolve()) if Path(path).exists() else path
