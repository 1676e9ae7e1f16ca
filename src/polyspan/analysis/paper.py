"""The numbers that Carrino et al. (2023) print, as data, so that they can stand beside measured ones.

They were measured with mBERT and one seed. Scores are in percent, as printed; where the print is
at odds with itself, the file says so in a ``note``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Literal

from pydantic import BaseModel, ConfigDict

Method = Literal["zero-shot", "ce", "skd", "skd-map", "laf"]
"""Zero-shot; cross-entropy; self-distillation; the same with mAP@k; LAF of Bornea et al. (2021)."""
DataSet = Literal["mlqa-dev", "mlqa-test", "xquad", "tydiqa-goldp"]


class _Printed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Printed):
    """Where the numbers are printed, and the encoder they were measured with."""

    title: str
    authors: str
    year: int
    arxiv: str
    encoder: str


class Printed(_Printed):
    """F1 and EM in percent; EM is missing where none is printed."""

    f1: float
    em: float | None = None


class Row(_Printed):
    """A model of Table 2 or 5: averages (``gxlt``, ``xlt``, ``mean``) by data set."""

    method: Method
    name: str
    target_languages: int | None = None
    temperature: float | None = None
    examples: int | None = None
    scores: Mapping[DataSet, Mapping[str, Printed]]
    note: str | None = None


class RankTable(_Printed):
    """Table 1: by question language, correct answers at rank 1, 2, ..., 10."""

    what: str
    method: Method
    data: DataSet
    counts: Mapping[str, list[int]]


class RowTable(_Printed):
    """Table 2 or 5."""

    what: str
    rows: list[Row]

    def row(self, method: str) -> Row | None:
        """The row of a method."""
        return next((row for row in self.rows if row.method == method), None)


class Mixed(_Printed):
    """A cell of Table 3: F1 of one setting and EM of the other."""

    gxlt_f1: float
    xlt_em: float | None = None


class LanguageTable(_Printed):
    """Table 3: data set, method, context language."""

    what: str
    cells: Mapping[DataSet, Mapping[Method, Mapping[str, Mixed]]]


class ZeroShotTable(_Printed):
    """Table 4: data set, method, language (or ``mean``)."""

    what: str
    cells: Mapping[DataSet, Mapping[Method, Mapping[str, Printed]]]
    note: str | None = None


class Grid(_Printed):
    """What was tried for figures 5, 6, 10 and 11."""

    what: str
    temperatures: list[float]
    target_languages: list[int]


class Elsewhere(_Printed):
    """A number that others report."""

    name: str
    average: Literal["xlt", "gxlt_off_diagonal"]
    f1: float
    em: float | None = None
    f1_highest: float | None = None


class ElsewhereTable(_Printed):
    """Others' zero-shot results on the same tests."""

    what: str
    rows: list[Elsewhere]


class Paper(_Printed):
    """Tables 1 to 5, what the figures cover, and others' results."""

    source: Source
    languages: list[str]
    table1: RankTable
    table2: RowTable
    table3: LanguageTable
    table4: ZeroShotTable
    table5: RowTable
    grid: Grid
    elsewhere: ElsewhereTable

    @property
    def label(self) -> str:
        """How a number of the paper is labelled beside a measured one."""
        return f"{self.source.authors.split(',')[0]} et al. {self.source.year}, {self.source.encoder}"


@cache
def load_paper() -> Paper:
    """The numbers that ship with the package."""
    text = resources.files("polyspan.analysis").joinpath("paper.json").read_text(encoding="utf-8")
    return Paper.model_validate_json(text)
