"""The paper's numbers: read whole, and in agreement with each other where the paper is."""

from __future__ import annotations

from statistics import fmean

import pytest
from pydantic import ValidationError

from polyspan.analysis.paper import Paper, load_paper

PAPER = load_paper()
ROUNDING = 0.1001  # the mean of rounded numbers, rounded, against the rounded mean


@pytest.mark.parametrize("data", ["mlqa-dev", "mlqa-test"])
@pytest.mark.parametrize("method", ["zero-shot", "ce", "skd", "skd-map"])
def test_the_languages_of_table_3_average_to_table_2(method: str, data: str) -> None:
    cells = PAPER.table3.cells[data][method]  # type: ignore[index]
    row = PAPER.table2.row(method)
    assert row is not None
    assert list(cells) == PAPER.languages
    averages = row.scores[data]  # type: ignore[index]
    assert fmean(cell.gxlt_f1 for cell in cells.values()) == pytest.approx(averages["gxlt"].f1, abs=ROUNDING)
    ems = [cell.xlt_em for cell in cells.values() if cell.xlt_em is not None]
    assert len(ems) == 7
    assert fmean(ems) == pytest.approx(averages["xlt"].em, abs=ROUNDING)


@pytest.mark.parametrize(("data", "count"), [("xquad", 4), ("tydiqa-goldp", 7)])
@pytest.mark.parametrize("method", ["zero-shot", "ce", "skd", "skd-map"])
def test_the_languages_of_table_4_average_to_its_means(method: str, data: str, count: int) -> None:
    cells = dict(PAPER.table4.cells[data][method])  # type: ignore[index]
    mean = cells.pop("mean")
    assert len(cells) == count
    assert fmean(cell.f1 for cell in cells.values()) == pytest.approx(mean.f1, abs=ROUNDING)


def test_the_last_row_of_table_5_is_that_of_table_2() -> None:
    without, with_it = PAPER.table5.row("ce"), PAPER.table2.row("ce")
    assert without is not None
    assert with_it is not None
    for data, averages in with_it.scores.items():
        assert without.scores[data] == averages
    assert without.scores["xquad"]["mean"] == PAPER.table4.cells["xquad"]["ce"]["mean"]


def test_examples_are_seeds_times_ordered_pairs() -> None:
    rows = [row for row in PAPER.table2.rows if row.target_languages]
    assert len(rows) == 3
    for row in rows:
        assert row.examples == 1190 * (1 + (row.target_languages or 0)) ** 2


def test_ranks_are_ten_and_mostly_fall() -> None:
    assert set(PAPER.table1.counts) == set(PAPER.languages)
    for counts in PAPER.table1.counts.values():
        assert len(counts) == 10
        assert counts[0] == max(counts)


def test_label_names_the_source() -> None:
    assert PAPER.label == "Carrino et al. 2023, mBERT"


def test_unknown_keys_are_refused() -> None:
    tree = PAPER.model_dump()
    tree["source"]["venue"] = "nowhere"
    with pytest.raises(ValidationError, match="venue"):
        Paper.model_validate(tree)
