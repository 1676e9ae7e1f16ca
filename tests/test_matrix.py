"""The G-XLT matrix: every average against plain sums, reading back, differences, tables, limits."""

from __future__ import annotations

import json
import random
from io import StringIO
from itertools import product
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console, RenderableType

from polyspan.corpus import Pair, load_corpus
from polyspan.evaluation import RowScore, ScoreMatrix, ScoringError
from polyspan.evaluation.evaluate import limit_pairs
from polyspan.evaluation.matrix import (
    AVERAGES,
    METRICS,
    Average,
    Cell,
    Metric,
    difference,
    render_averages,
    render_matrix,
    to_markdown,
)

NINE = ["ar", "de", "en", "es", "eu", "hi", "sw", "vi", "zh"]
# en/de is missing, en/en has three questions and the others one each.
ROWS = [
    RowScore("1", "en", "en", 1.0, 1),
    RowScore("2", "en", "en", 0.5, 0),
    RowScore("3", "en", "en", 0.6, 0),
    RowScore("1", "de", "de", 0.4, 0),
    RowScore("1", "de", "en", 0.25, 0),
    RowScore("1", "es", "en", 1.0, 1),
]
SMALL = ScoreMatrix.from_rows(ROWS)

languages = st.sampled_from(["de", "en", "es", "zh"])
some_rows = st.lists(st.builds(RowScore, st.text(max_size=2), languages, languages, st.floats(0, 1), st.floats(0, 1)))
some_matrix = some_rows.map(ScoreMatrix.from_rows)


def full(names: list[str], f1: float = 1.0, em: float = 1.0) -> ScoreMatrix:
    return ScoreMatrix.from_rows(
        RowScore("1", question, context, f1, em) for question, context in product(names, names)
    )


def mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def plain_average(rows: list[RowScore], name: Average, metric: Metric) -> float | None:
    if name == "micro":
        return mean([getattr(row, metric) for row in rows])
    means = []
    for question, context in product(NINE, NINE):
        of_pair = [
            getattr(r, metric) for r in rows if r.question_language == question and r.context_language == context
        ]
        wanted = {"gxlt": True, "gxlt_off_diagonal": question != context, "xlt": question == context}[name]
        if wanted and of_pair:
            means.append(mean(of_pair))
    return mean(means)


@pytest.mark.parametrize(
    ("name", "f1", "em"),
    [
        ("gxlt", (0.7 + 0.4 + 0.25 + 1.0) / 4, (1 / 3 + 1) / 4),
        ("gxlt_off_diagonal", 0.625, 0.5),
        ("xlt", 0.55, 1 / 6),
        ("micro", 3.75 / 6, 2 / 6),
    ],
)
def test_averages_by_hand(name: Average, f1: float, em: float) -> None:
    assert SMALL.average(name, "f1") == pytest.approx(f1, abs=1e-12)
    assert SMALL.average(name, "em") == pytest.approx(em, abs=1e-12)


def test_every_average_has_a_name() -> None:
    assert set(AVERAGES) == set(get_args(Average))
    assert len(set(AVERAGES.values())) == len(AVERAGES)


@settings(max_examples=150, deadline=None)
@given(rows=some_rows)
def test_averages_equal_plain_sums(rows: list[RowScore]) -> None:
    matrix = ScoreMatrix.from_rows(rows)
    for name, metric in product(AVERAGES, METRICS):
        expected = plain_average(rows, name, metric)
        value = matrix.average(name, metric)
        assert value is None if expected is None else value == pytest.approx(expected, abs=1e-9)


def test_averages_without_a_pair_are_none() -> None:
    nothing = ScoreMatrix.from_rows([])
    assert [nothing.average(name, "f1") for name in AVERAGES] == [None] * 4
    diagonal = ScoreMatrix.from_rows(ROWS[:4])
    assert diagonal.average("gxlt_off_diagonal", "f1") is None
    assert diagonal.average("xlt", "f1") == diagonal.average("gxlt", "f1") == pytest.approx(0.55)
    assert ScoreMatrix.from_rows(ROWS[4:]).average("xlt", "em") is None


def test_means_by_language() -> None:
    assert SMALL.by_language("question", "f1") == pytest.approx({"de": 0.325, "en": 0.7, "es": 1.0})
    assert SMALL.by_language("context", "f1") == pytest.approx({"de": 0.4, "en": 0.65})
    assert SMALL.by_language("question", "em") == pytest.approx({"de": 0, "en": 1 / 3, "es": 1})
    assert SMALL.by_language("context", "em") == pytest.approx({"de": 0, "en": 4 / 9})
    assert list(SMALL.by_language("question", "f1")) == SMALL.question_languages == ["de", "en", "es"]
    assert list(SMALL.by_language("context", "f1")) == SMALL.context_languages == ["de", "en"]


def test_cells_hold_counts_and_means_in_sorted_order() -> None:
    assert list(SMALL.cells) == [("de", "de"), ("de", "en"), ("en", "en"), ("es", "en")]
    assert SMALL.cells["en", "en"] == Cell(3, pytest.approx(0.7), pytest.approx(1 / 3))
    assert SMALL.cells["de", "en"] == Cell(1, 0.25, 0)
    assert SMALL.cells["de", "en"].value("f1") == 0.25
    assert SMALL.cells["de", "en"].value("em") == 0


@settings(max_examples=100, deadline=None)
@given(rows=some_rows, seed=st.integers(0, 1000))
def test_order_of_rows_makes_no_difference(rows: list[RowScore], seed: int) -> None:
    shuffled = random.Random(seed).sample(rows, len(rows))
    one, other = ScoreMatrix.from_rows(rows), ScoreMatrix.from_rows(iter(shuffled))
    assert json.dumps(one.to_dict()) == json.dumps(other.to_dict())
    assert one == other
    assert list(one.cells) == list(other.cells) == sorted(one.cells)


def test_dictionary_is_in_percent() -> None:
    data = SMALL.to_dict()
    assert data["averages"]["xlt"] == pytest.approx({"f1": 55.0, "em": 100 / 6}, abs=1e-9)
    assert data["averages"]["micro"] == pytest.approx({"f1": 62.5, "em": 100 / 3}, abs=1e-9)
    assert data["pairs"][2] == {
        "question_language": "en",
        "context_language": "en",
        "questions": 3,
        "f1": 70.0,
        "em": 33.3333333333,
    }
    assert data["by_question_language"] == {
        "de": {"f1": 32.5, "em": 0.0},
        "en": {"f1": 70.0, "em": 33.3333333333},
        "es": {"f1": 100.0, "em": 100.0},
    }
    assert list(data["by_context_language"]) == ["de", "en"]
    assert data["by_context_language"]["en"] == pytest.approx({"f1": 65.0, "em": 400 / 9}, abs=1e-9)
    assert set(data["averages"]) == set(AVERAGES)
    assert ScoreMatrix.from_rows(ROWS[4:]).to_dict()["averages"]["xlt"] == {"f1": None, "em": None}


@settings(max_examples=300, deadline=None)
@given(one=some_matrix, other=some_matrix)
def test_dictionaries_read_back_exactly(one: ScoreMatrix, other: ScoreMatrix) -> None:
    for matrix in (one, difference(one, other)):
        text = json.dumps(matrix.to_dict())
        again = ScoreMatrix.from_dict(json.loads(text))
        assert json.dumps(again.to_dict()) == text
        assert again.cells.keys() == matrix.cells.keys()
        for key, cell in matrix.cells.items():
            assert again.cells[key].questions == cell.questions
            assert (again.cells[key].f1, again.cells[key].em) == pytest.approx((cell.f1, cell.em), abs=1e-12)


def test_averages_of_thirds_read_back_exactly() -> None:
    matrix = ScoreMatrix({("de", "de"): Cell(3, 0.0, 0.0), ("en", "en"): Cell(3, 1 / 3, 2 / 3)})
    assert ScoreMatrix.from_dict(matrix.to_dict()).to_dict() == matrix.to_dict()


PAIR = {"question_language": "en", "context_language": "de", "questions": 2, "f1": 50, "em": 0}


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"pairs": None},
        {"pairs": ["en"]},
        [PAIR],
        *({"pairs": [{key: value for key, value in PAIR.items() if key != missing}]} for missing in PAIR),
        {"pairs": [PAIR | {"questions": 0}]},
        {"pairs": [PAIR | {"questions": float("inf")}]},
        {"pairs": [PAIR | {"f1": float("nan")}]},
        {"pairs": [PAIR | {"em": float("inf")}]},
        {"pairs": [PAIR | {"f1": "much"}]},
        {"pairs": [PAIR | {"f1": None}]},
    ],
)
def test_broken_dictionaries_are_refused(data: Any) -> None:
    with pytest.raises(ScoringError, match=r"expected 'pairs'.*in percent"):
        ScoreMatrix.from_dict(data)


def test_dictionaries_are_sorted_and_averages_taken_anew() -> None:
    matrix = ScoreMatrix.from_dict({"pairs": [PAIR, PAIR | {"question_language": "de"}], "averages": {"gxlt": 1}})
    assert list(matrix.cells) == [("de", "de"), ("en", "de")]
    assert matrix.average("gxlt", "f1") == 0.5


def test_difference_is_taken_on_the_pairs_that_both_have() -> None:
    after = ScoreMatrix(
        {("de", "de"): Cell(4, 0.5, 0.25), ("de", "en"): Cell(9, 1, 1), ("en", "en"): Cell(2, 0.75, 0.5)}
    )
    before = ScoreMatrix({("de", "de"): Cell(3, 0.25, 0.5), ("en", "de"): Cell(9, 1, 1), ("en", "en"): Cell(5, 0, 0)})
    gain = difference(after, before)
    assert gain == ScoreMatrix({("de", "de"): Cell(3, 0.25, -0.25), ("en", "en"): Cell(2, 0.75, 0.5)})
    assert gain.average("gxlt", "f1") == 0.5
    assert gain.average("micro", "em") == pytest.approx((3 * -0.25 + 2 * 0.5) / 5)
    back = difference(before, after)
    assert {key: (-cell.f1, -cell.em) for key, cell in back.cells.items()} == {
        key: (cell.f1, cell.em) for key, cell in gain.cells.items()
    }
    assert difference(after, after).by_language("context", "f1") == {"de": 0, "en": 0}


def shown(renderable: RenderableType, width: int = 80) -> list[str]:
    file = StringIO()
    Console(file=file, width=width, color_system=None).print(renderable)
    return [line.rstrip() for line in file.getvalue().splitlines()]


def styles(renderable: RenderableType) -> dict[str, tuple[bool, str | None]]:
    """Bold or not and the colour, by printed word."""
    console = Console(file=StringIO(), width=80, color_system="standard", force_terminal=True)
    return {
        segment.text.strip(): (bool(segment.style.bold), segment.style.color.name if segment.style.color else None)
        for segment in console.render(renderable)
        if segment.style and segment.text.strip()
    }


def test_table_of_a_matrix_with_missing_pairs() -> None:
    assert shown(render_matrix(SMALL)) == [
        "F1 (%)",
        "        de    en  mean",
        "──────────────────────",
        "de    40.0  25.0  32.5",
        "en       –  70.0  70.0",
        "es       – 100.0 100.0",
        "──────────────────────",
        "mean  40.0  65.0  58.8",
        "question ↓ context →",
    ]


def test_table_of_a_difference() -> None:
    gain = difference(SMALL, full(["de", "en"], f1=0.4, em=1 / 3))
    assert shown(render_matrix(gain, signed=True)) == [
        "F1, difference (%)",
        "        de    en  mean",
        "──────────────────────",
        "de     0.0 -15.0  -7.5",
        "en       – +30.0 +30.0",
        "──────────────────────",
        "mean   0.0  +7.5  +5.0",
        "question ↓ context →",
    ]
    assert shown(render_matrix(gain, "em", signed=True))[3:5] == ["de   -33.3 -33.3 -33.3", "en       –   0.0   0.0"]


@pytest.mark.parametrize(("signed", "value"), [(False, 1.0), (True, 1.0), (True, -1.0)])
def test_nine_languages_fit_in_80_columns(signed: bool, value: float) -> None:
    lines = shown(render_matrix(full(NINE, f1=value), signed=signed), width=200)
    assert max(map(len, lines)) <= 80
    assert lines == shown(render_matrix(full(NINE, f1=value), signed=signed), width=80)
    number = f"{100 * value:+.1f}" if signed else "100.0"
    assert [line.split() for line in lines[3:-3]] == [[language, *[number] * 10] for language in NINE]
    assert lines[1].split() == [*NINE, "mean"]
    assert lines[-2].split() == ["mean", *[number] * 10]


@pytest.mark.parametrize("names", [["en"], ["de", "en"], NINE])
def test_title_and_caption_take_one_line_each(names: list[str]) -> None:
    title = "Exact match of the reader [after] fine-tuning across languages, in percent"
    lines = shown(render_matrix(full(names), "em", title=title))
    assert lines[0] == title
    assert lines[-1] == "question ↓ context →"
    assert len(lines) == 6 + len(names)
    assert shown(render_matrix(full(names), "em"))[0] == "EM (%)"


def test_long_titles_lose_nothing() -> None:
    title = "word " * 30 + "end"
    lines = shown(render_matrix(full(["en"]), title=title))
    assert " ".join(lines[:-6]) == title
    assert len(lines) == 8


def test_empty_matrix_is_shown() -> None:
    assert shown(render_matrix(ScoreMatrix({})))[-2].split() == ["mean", "–"]
    assert shown(render_averages(ScoreMatrix({})))[-1].split()[-2:] == ["–", "–"]


def test_diagonal_is_bold_and_differences_have_colours() -> None:
    values = {("de", "de"): 0.4, ("de", "en"): 0.25, ("en", "de"): 0.3, ("en", "en"): 0.8}
    of_word = styles(render_matrix(ScoreMatrix({key: Cell(1, f1, 0) for key, f1 in values.items()}), title="Scores"))
    assert of_word["Scores"] == of_word["40.0"] == of_word["80.0"] == (True, None)
    assert of_word["25.0"] == of_word["30.0"] == (False, None)
    gain = ScoreMatrix(
        {("de", "de"): Cell(1, 0.1, 0), ("de", "en"): Cell(1, -0.2, 0), ("en", "de"): Cell(1, 0.0004, 0)}
    )
    of_word = styles(render_matrix(gain, signed=True))
    assert of_word["+10.0"] == (True, "green")
    assert of_word["-20.0"][1] == "red"
    assert of_word["0.0"] == (False, None)
    assert of_word["–"][1] is None


def test_table_of_averages() -> None:
    lines = shown(render_averages(SMALL))
    assert lines[0].split() == ["average", "(%)", "F1", "EM"]
    assert [line.split()[-2:] for line in lines[2:]] == [
        ["58.8", "33.3"],
        ["62.5", "50.0"],
        ["55.0", "16.7"],
        ["62.5", "33.3"],
    ]
    for line, name in zip(lines[2:], AVERAGES.values(), strict=True):
        assert line.strip().startswith(name)
    assert shown(render_averages(SMALL, signed=True))[2].split()[-2:] == ["+58.8", "+33.3"]


def test_markdown() -> None:
    assert to_markdown(SMALL) == (
        "| F1 (%), question ↓ context → | de | en | mean |\n"
        "| --- | --: | --: | --: |\n"
        "| de | **40.0** | 25.0 | 32.5 |\n"
        "| en | – | **70.0** | 70.0 |\n"
        "| es | – | 100.0 | 100.0 |\n"
        "| mean | 40.0 | 65.0 | 58.8 |\n"
    )
    gain = ScoreMatrix({("de", "de"): Cell(1, 0, -0.0004), ("en", "de"): Cell(1, 0, 0.0006)})
    assert to_markdown(gain, "em", signed=True) == (
        "| EM (%), question ↓ context → | de | mean |\n"
        "| --- | --: | --: |\n"
        "| de | **0.0** | 0.0 |\n"
        "| en | +0.1 | +0.1 |\n"
        "| mean | 0.0 | 0.0 |\n"
    )


def test_limit_takes_the_same_ids_of_every_pair_of_languages() -> None:
    corpus = load_corpus("commons/test")
    pairs = corpus.pairs()
    ids = list(corpus.seeds)
    assert len(ids) > 2
    kept = limit_pairs(pairs, 2)
    assert kept == [pair for pair in pairs if pair.id in ids[:2]]
    assert len(kept) == 2 * len(corpus.languages) ** 2
    assert limit_pairs(load_corpus("commons/test").pairs(), 2) == kept
    assert limit_pairs(kept, 2) == kept


def test_limit_counts_each_pair_of_languages_apart() -> None:
    pairs = [Pair(str(number), "en", context) for number, context in enumerate(["de", "de", "en", "de", "en", "de"])]
    pairs.append(Pair("6", "de", "en"))
    assert [pair.id for pair in limit_pairs(pairs, 1)] == ["0", "2", "6"]
    assert [pair.id for pair in limit_pairs(pairs, 3)] == ["0", "1", "2", "3", "4", "6"]
    assert limit_pairs(pairs, None) == limit_pairs(pairs, 4) == pairs
    grouped = sorted(pairs, key=lambda pair: (pair.context_language, pair.question_language))
    assert set(limit_pairs(grouped, 1)) == set(limit_pairs(pairs, 1))
