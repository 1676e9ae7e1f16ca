"""The report: what stands on the page, in the tables and beside them, and what is refused."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest

from polyspan.analysis.browser import browser_data, utf16
from polyspan.analysis.facts import commands
from polyspan.analysis.languages import direction, language_name
from polyspan.analysis.report import all_tables, write_report
from polyspan.analysis.run_tables import difference_table
from polyspan.analysis.runs import ReportError, read_runs
from polyspan.analysis.study import Group, group_runs
from polyspan.analysis.sweeps import comparable, draw_target_languages, draw_temperatures, grid_methods, has_curves
from polyspan.analysis.table import Number, Row, Table, mark_best, to_latex, to_markdown
from polyspan.analysis.tables import systems_table, zero_shot_table
from polyspan.corpus import CorpusError, Pair
from polyspan.evaluation import RowScore, ScoringError
from polyspan.evaluation.record import EvaluationRecord
from polyspan.evaluation.verdict import sentence
from report_runs import LANGUAGES, PASSAGES, SCRIPT, SEEDS, TOP_K, write_evaluation, write_mlqa, write_training
from test_cli import polyspan, refused

DRAWS = 200
VOID = {"meta", "br", "img", "link", "input", "hr", "use", "path"}


def first_rank(pair: Pair) -> int:
    """Right at once in the same language, second across, never for the last two questions."""
    if pair.id in {"q4", "q5"}:
        return 0
    return 1 if pair.question_language == pair.context_language else 2


@dataclass
class Page(HTMLParser):
    """Every element of a page with its attributes, and the text that is not script or style."""

    source: str
    elements: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    text: str = ""
    data: Any = None
    open_tag: str = ""

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open_tag = tag + dict(attrs).get("id", "")  # type: ignore[operator]

    def handle_endtag(self, tag: str) -> None:
        self.open_tag = ""

    def handle_data(self, data: str) -> None:
        if self.open_tag == "scriptreport-data":
            self.data = json.loads(data)
        elif not self.open_tag.startswith(("script", "style")):
            self.text += data

    def attributes(self, name: str) -> list[str]:
        return [attributes[name] for _, attributes in self.elements if name in attributes]

    def cells(self, panel_run: int) -> dict[tuple[str, str], dict[str, str]]:
        found = {}
        for tag, attributes in self.elements:
            if tag == "button" and attributes.get("data-run") == str(panel_run):
                found.setdefault((attributes["data-question"], attributes["data-context"]), attributes)
        return found


@dataclass(frozen=True)
class Report:
    folder: Path
    page: Page
    groups: list[Group]


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mlqa(tmp_path_factory.mktemp("data") / "mlqa" / "dev")


@pytest.fixture(scope="session")
def folders(data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A zero-shot evaluation and a trained run."""
    home = tmp_path_factory.mktemp("runs")
    before = write_evaluation(home / "before", data, first_rank, model="polyspan-qa-en")
    after = write_evaluation(home / "after", data, lambda pair: int(pair.id != "q5"))
    return [before, write_training(after)]


@pytest.fixture(scope="session")
def report(folders: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Report:
    output = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("polyspan.analysis.report._draw_example", lambda *_: ([], ["No example was drawn."]))
        groups = group_runs(read_runs(folders), draws=DRAWS)
        written = write_report(groups, output)
    assert written[0] == output / "report.html"
    there = {path for path in output.rglob("*") if path.is_file()}
    assert {*written, output / ".written"} == there
    return Report(output, Page(written[0].read_text(encoding="utf-8")), groups)


def test_the_page_needs_no_other_file_and_no_network(report: Report) -> None:
    page = report.page
    tags = [tag for tag, _ in page.elements]
    assert not {"link", "img", "iframe", "object", "embed"} & set(tags)
    assert not page.attributes("src")
    targets = [*page.attributes("href"), *page.attributes("xlink:href")]
    assert targets
    assert all(target.startswith("#") for target in targets)
    ids = page.attributes("id")
    assert len(ids) == len(set(ids))
    assert {target[1:] for target in targets} <= set(ids)
    references = re.findall(r"url\(([^)]*)\)", page.source)
    assert {reference.strip("'\"")[:1] for reference in references} <= {"#"}
    assert {reference.strip("'\"#") for reference in references} <= set(ids)
    assert not re.search(r"@import|fetch\(|XMLHttpRequest|new WebSocket", page.source)


def test_texts_never_become_markup(report: Report) -> None:
    assert "img" not in [tag for tag, _ in report.page.elements]
    assert not [name for _, attributes in report.page.elements for name in attributes if name.startswith("on")]
    assert SCRIPT in report.page.data["examples"][0]["passages"][0] + "".join(
        report.page.data["examples"][0]["passages"]
    )
    assert [tag for tag, _ in report.page.elements].count("script") == 2


def test_headings_go_down_step_by_step_and_sections_are_named(report: Report) -> None:
    levels = [int(tag[1]) for tag, _ in report.page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    for section in ("Averages", "What was run", "Data and leakage", "Pairs of languages", "Answer ranks", "Training"):
        assert section in report.page.text
    for tag, attributes in report.page.elements:
        if tag == "section":
            assert attributes["aria-labelledby"] in report.page.attributes("id")
        if tag == "svg":
            assert attributes["role"] == "img"
            assert attributes["aria-label"]


def test_every_pair_can_be_pointed_at_and_chosen(report: Report) -> None:
    run = report.groups[0].runs[0]
    cells = report.page.cells(0)
    assert set(cells) == set(run.matrix.cells)
    assert len(cells) == 9
    for pair, cell in run.matrix.cells.items():
        tip, spoken = cells[pair]["data-tip"], cells[pair]["aria-label"]
        for told in (tip, spoken):
            assert f"{cell.questions} questions" in told
            assert f"F1 {100 * cell.f1:.1f}, 95% interval" in told
            assert f"EM {100 * cell.em:.1f}" in told
    assert cells["ar", "de"]["data-tip"].startswith("Question in Arabic, text in German\n")


def test_the_page_says_what_was_run_and_how_to_make_it_again(report: Report, folders: list[Path]) -> None:
    text = report.page.text
    for told in (
        "zero-shot",
        "self-distillation, mAP@k",
        "T 2, coefficient first_hit",
        "1,216 of 76 questions, ntl 3",
        "trained for67 min",
        "questions left out3 (no answer)",
        "2 passages that are nearly the same, 6 questions that are known in another language",
        "polyspan train after/recipe.yaml",
        "polyspan evaluate --model polyspan-qa-en --data mlqa/dev --kind mlqa --top-k 3 --output before",
        "polyspan report before after --output report",
        "No example was drawn.",
    ):
        assert told in text, told
    assert "far/away" not in text


def test_commands_can_be_pasted_whatever_folders_are_called(data: Path, tmp_path: Path) -> None:
    runs = read_runs([write_evaluation(tmp_path / "my run; it's", data, first_rank)])
    for line in commands(runs).splitlines():
        assert "my run; it's" in shlex.split(line)


def test_the_verdict_is_that_of_polyspan_compare(report: Report) -> None:
    comparison = report.groups[0].comparisons[0]
    assert comparison.a == "after"
    assert sentence(comparison) in report.page.text
    whole = comparison.metrics["f1"].averages["gxlt"].difference
    assert 100 * whole.value == pytest.approx(
        100
        * (
            (report.groups[0].runs[1].matrix.average("gxlt", "f1") or 0)
            - (report.groups[0].runs[0].matrix.average("gxlt", "f1") or 0)
        )
    )
    table = (report.folder / "tables" / "difference-mlqa-dev-after.md").read_text(encoding="utf-8")
    assert f"{100 * whole.value:+.1f} (" in table


def test_marked_spans_are_the_texts_in_javascript_offsets(report: Report) -> None:
    entry = report.page.data["examples"][0]

    def cut(text: str, start: int, end: int) -> str:
        return text.encode("utf-16-le")[2 * start : 2 * end].decode("utf-16-le")

    assert len(entry["seeds"]) == SEEDS
    for seed in entry["seeds"]:
        for language, spans in seed["a"].items():
            text = entry["passages"][seed["c"][language]]
            assert [cut(text, *span) for span in spans] == [{"ar": "آنا كيلر"}.get(language, "Anna Keller")]
    asked = [entry["asked"][at : at + 3] for at in range(0, len(entry["asked"]), 3)]
    for number, run in enumerate(report.groups[0].runs):
        told = entry["runs"][number]
        for index, (seed, question, context) in enumerate(asked):
            start, end, f1, em, rank, probability = told[6 * index : 6 * index + 6]
            languages = entry["languages"]
            row = next(
                position
                for position, r in enumerate(run.rows)
                if (r.id, r.question_language, r.context_language)
                == (entry["seeds"][seed]["id"], languages[question], languages[context])
            )
            text = entry["passages"][entry["seeds"][seed]["c"][languages[context]]]
            found = run.answers[row][0]
            assert cut(text, start, end) == text[found.start : found.end]
            assert (f1, em, probability) == (round(100 * run.rows[row].f1), int(run.rows[row].em), 50)
            if number == 0:
                assert rank == first_rank(Pair(entry["seeds"][seed]["id"], languages[question], languages[context]))


def test_languages_have_their_direction(report: Report) -> None:
    assert report.page.data["languages"] == {"ar": ["Arabic", "rtl"], "de": ["German", "ltr"], "en": ["English", "ltr"]}
    assert [language_name(code) for code in ("AR", "ar-EG", "zh_Hant", "ckb")] == [
        "Arabic",
        "Arabic (ar-EG)",
        "Chinese (zh_Hant)",
        "ckb",
    ]
    right_to_left = ("ar_EG", "AR", "ckb", "arb_Arab", "pa-Arab", "heb_Hebr", "dv", "ks-Arab-IN")
    assert {direction(code) for code in right_to_left} == {"rtl"}
    assert [direction(code) for code in ("zh-Hant", "pa", "az-Latn-IR", "tlh")] == ["ltr", "ltr", "ltr", "auto"]


def test_utf16_counts_as_javascript_does() -> None:
    text = PASSAGES["en"]
    for index in range(len(text) + 1):
        assert utf16(text, index) == len(text[:index].encode("utf-16-le")) // 2


def test_the_browser_has_room_for_whole_questions_only(report: Report) -> None:
    whole = browser_data(report.groups)[0]
    some = browser_data(report.groups, 2000)[0]
    one = browser_data(report.groups, 1)[0]
    assert len(whole["seeds"]) == SEEDS > len(some["seeds"]) > len(one["seeds"]) == 1
    assert some["total"] == SEEDS
    assert len(one["asked"]) == 3 * 9
    assert [len(run) for run in one["runs"]] == [6 * 9] * 2


def cells_of(table: Table, label: str, *more: str) -> list[Any]:
    return next(list(row.cells) for row in table.rows if list(row.cells[: 1 + len(more)]) == [label, *more])


def table_named(tables: list[Table], beginning: str) -> Table:
    return next(table for table in tables if table.key.startswith(beginning))


def test_the_averages_are_those_of_the_matrix_with_intervals(report: Report) -> None:
    table = table_named(all_tables(report.groups), "averages")
    run = report.groups[0].runs[1]
    cells = cells_of(table, "after")
    assert cells[1:5] == ["self-distillation, mAP@k", 3, "2", 1216]
    numbers = cells[5:]
    expected = [
        100 * (run.matrix.average(name, metric) or 0)
        for name in ("gxlt", "gxlt_off_diagonal", "xlt", "micro")
        for metric in ("f1", "em")
    ]
    assert [number.value for number in numbers] == pytest.approx(expected)
    assert all(number.low <= number.value <= number.high for number in numbers)
    assert [name for name, _ in table.groups] == ["", "G-XLT", "G-XLT off the diagonal", "XLT", "micro"]
    assert table.columns[5:] == ["F1", "EM"] * 4


@pytest.fixture(scope="session")
def seven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In all languages of the paper."""
    return write_mlqa(tmp_path_factory.mktemp("seven") / "mlqa" / "dev", ["ar", "de", "en", "es", "hi", "vi", "zh"])


def test_the_papers_numbers_stand_beside_its_own_data_and_are_labelled(
    report: Report, seven: Path, tmp_path: Path
) -> None:
    assert not [row for table in all_tables(report.groups) for row in table.rows if row.source == "paper"]
    group = group_runs(read_runs([write_evaluation(tmp_path / "run", seven, first_rank)]), draws=DRAWS)
    tables = all_tables(group)
    for key in ("averages", "languages", "ranks"):
        table = table_named(tables, key)
        rows = [row for row in table.rows if row.source == "paper"]
        assert rows
        assert any("Carrino et al. 2023, mBERT" in note for note in table.notes)
        assert all("paper" in str(row.cells[0]) or "Bornea" in str(row.cells[0]) for row in rows)
    printed = next(
        row for row in table_named(tables, "averages").rows if row.source == "paper" and row.cells[1] == "zero-shot"
    )
    shown = [cell.value if isinstance(cell, Number) else cell for cell in printed.cells[5:]]
    assert shown == [49.7, 33.6, None, None, 59.7, 42.6, None, None]


def test_the_papers_averages_stand_beside_all_pairs_or_the_diagonal_alone(seven: Path, tmp_path: Path) -> None:
    (whole,) = read_runs([write_evaluation(tmp_path / "run", seven, first_rank)])
    assert whole.published_data == "mlqa-dev"
    diagonal = [row for row in whole.rows if row.question_language == row.context_language]
    assert replace(whole, rows=diagonal).published_data == "mlqa-dev"
    english = [row for row in whole.rows if row.question_language == "en"]
    assert replace(whole, rows=english).published_data is None


def test_f1_and_em_of_both_settings_stand_in_rows_of_their_own(report: Report) -> None:
    table = table_named(all_tables(report.groups), "languages")
    matrix = report.groups[0].runs[0].matrix
    for setting in ("G-XLT", "XLT"):
        for metric in ("f1", "em"):
            cells = cells_of(table, "before", setting, metric.upper())
            expected = [
                100
                * (
                    matrix.by_language("context", metric)[language]
                    if setting == "G-XLT"
                    else matrix.cells[language, language].value(metric)
                )  # type: ignore[arg-type]
                for language in LANGUAGES
            ]
            assert [number.value for number in cells[3:6]] == pytest.approx(expected)


def test_answer_ranks_have_counts_and_rates(report: Report) -> None:
    table = table_named(all_tables(report.groups), "ranks-mlqa-dev-before")
    # Of 18 rows a language: 4 at once on the diagonal, 8 second across, 6 of the last two questions never.
    assert cells_of(table, "de")[:5] == ["de", 18, "4 (22.2)", "8 (44.4)", "0 (0.0)"]
    assert cells_of(table, "de")[5].value == pytest.approx(100 * 12 / 18)
    assert cells_of(table, "de")[6].value == pytest.approx(100 * 4 / 12)
    ranks = report.groups[0].ranks
    assert ranks is not None
    assert ranks[0].depth == TOP_K


def test_every_table_is_there_in_markdown_and_latex(report: Report) -> None:
    tables = all_tables(report.groups)
    keys = [table.key for table in tables]
    assert len(keys) == len(set(keys))
    for table in tables:
        markdown = (report.folder / "tables" / f"{table.key}.md").read_text(encoding="utf-8")
        lines = [line for line in markdown.splitlines() if line.startswith("|")]
        assert len(lines) == 2 + len(table.rows)
        assert {len(re.split(r"(?<!\\)\|", line)) - 2 for line in lines} == {len(table.columns)}
        latex = (report.folder / "tables" / f"{table.key}.tex").read_text(encoding="utf-8")
        body = latex[latex.index(r"\toprule") : latex.index(r"\bottomrule")]
        rows = [line for line in body.splitlines() if line.endswith(r"\\")][-1 - len(table.rows) :]
        assert len(rows) == 1 + len(table.rows)
        assert {len(re.split(r"(?<!\\)&", row)) for row in rows} == {len(table.columns)}
        assert not re.search(r"(?<!\\)[%#_](?!%)", re.sub(r"^%.*|\\label\{.*?\}", "", latex, flags=re.MULTILINE))
        assert latex.count("{") - latex.count(r"\{") == latex.count("}") - latex.count(r"\}")


def test_names_never_become_markup_in_markdown_and_latex() -> None:
    table = Table("t", "T", ["run", "F1"], [Row(["[a](b) <img> `x` _y_ snake_case 1|2", 1])])
    assert r"\[a](b) \<img> \`x\` \_y\_ snake_case 1\|2 |" in to_markdown(table)
    shown = r"{[}a](b) \textless{}img\textgreater{} `x` \_y\_ snake\_case 1\textbar{}2 & 1 \\"
    assert shown in to_latex(table)


def test_every_figure_is_there_as_svg_and_png(report: Report) -> None:
    figures = report.folder / "figures"
    names = {path.stem for path in figures.iterdir()}
    assert names == {path.stem for path in figures.glob("*.svg")} == {path.stem for path in figures.glob("*.png")}
    both = {f"matrix-mlqa-dev-{run}-{metric}" for run in ("before", "after") for metric in ("f1", "em")}
    assert names == both | {f"gain-mlqa-dev-after-{metric}" for metric in ("f1", "em")} | {
        "coefficient-after",
        "loss-after",
    }
    for path in figures.glob("*.svg"):
        ElementTree.parse(path)
    texts = (figures / "matrix-mlqa-dev-before-f1.svg").read_text(encoding="utf-8")
    assert f">{100 * report.groups[0].runs[0].matrix.cells['de', 'de'].f1:.1f}<" in texts


def test_a_report_is_the_same_bytes_again(report: Report, folders: list[Path], tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("polyspan.analysis.report._draw_example", lambda *_: ([], ["No example was drawn."]))
        patch.setattr("polyspan.analysis.report._Figures.draw", lambda *_: _figure())
        write_report(group_runs(read_runs(folders), draws=DRAWS), tmp_path)
    again = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert again.data == report.page.data
    for path in (report.folder / "tables").iterdir():
        assert (tmp_path / "tables" / path.name).read_bytes() == path.read_bytes()


def _figure() -> Any:
    from polyspan.analysis.page import PageFigure

    return PageFigure("<svg role='img' aria-label='none'></svg>", "none")


def quickly(patch: pytest.MonkeyPatch) -> None:
    """No drawing and few draws, for what shows in neither."""
    patch.setattr("polyspan.analysis.report._Figures.draw", lambda *_: _figure())
    patch.setattr("polyspan.analysis.study.group_runs", partial(group_runs, draws=DRAWS))


def sweep_runs(data: Path, home: Path, settings: list[tuple[str, dict[str, Any], dict[str, Any]]]) -> list[Any]:
    made = []
    for number, (name, drawn, objective) in enumerate(settings):
        folder = write_evaluation(home / name, data, lambda pair, n=number: int(pair.id <= f"q{n}"))  # type: ignore[misc]
        made.append(write_training(folder, data=drawn, objective=objective))
    return read_runs(made)


def test_a_sweep_is_drawn_against_ntl_and_by_temperature(data: Path, tmp_path: Path) -> None:
    skd = {"coefficient": "constant"}
    runs = sweep_runs(
        data,
        tmp_path,
        [
            ("ce1", {"target_languages": 1}, {"alpha_kl": 0}),
            ("ce2", {"target_languages": 2}, {"alpha_kl": 0}),
            ("skd1-2", {"target_languages": 1}, {**skd, "temperature": 2}),
            ("skd2-4", {"target_languages": 2}, {**skd, "temperature": 4}),
            ("zero", {"target_languages": 0}, {}),
        ],
    )
    assert [run.method for run in runs] == ["ce", "ce", "skd", "skd", "zero-shot"]
    assert has_curves(runs)
    assert not has_curves(runs[2:])
    assert grid_methods(runs) == ["skd"]
    draw_target_languages(runs, tmp_path / "ntl.svg", "f1", "Scores by ntl")
    texts = [
        "".join(text.itertext())
        for text in ElementTree.parse(tmp_path / "ntl.svg").iter("{http://www.w3.org/2000/svg}text")
    ]
    assert {"cross-entropy", "self-distillation, T 2", "self-distillation, T 4", "zero-shot", "G-XLT", "XLT"} <= set(
        texts
    )
    draw_temperatures(runs, tmp_path / "grid.svg", "skd", "f1", "Grid")
    grid = (tmp_path / "grid.svg").read_text(encoding="utf-8")
    for run in runs[2:4]:
        assert f">{100 * (run.matrix.average('gxlt', 'f1') or 0):.1f}<" in grid


def test_figures_of_sweeps_take_no_other_method_for_a_seed(data: Path, tmp_path: Path) -> None:
    fast = {"target_languages": 1}
    runs = sweep_runs(
        data,
        tmp_path,
        [
            ("ce", {"target_languages": 1}, {"alpha_kl": 0}),
            ("first-hit-1", {"target_languages": 1}, {}),
            ("first-hit-2", {"target_languages": 2}, {}),
            ("eq5", {"target_languages": 1}, {"coefficient": "eq5"}),
            ("by-example", {"target_languages": 1}, {"level": "example"}),
            ("zero", {"target_languages": 0}, {}),
        ],
    )
    faster = write_training(tmp_path / "first-hit-2", data=fast)
    recipe = (faster / "recipe.yaml").read_text(encoding="utf-8")
    (faster / "recipe.yaml").write_text(recipe.replace("learning_rate: ", "learning_rate: 1"), encoding="utf-8")
    kept = [run.name for run in comparable([*runs, *read_runs([faster])])]
    assert kept == ["ce", "first-hit-1", "first-hit-2", "zero"]
    best_first = [runs[3], *runs[:3], *runs[4:]]
    assert [run.name for run in comparable(best_first, best_first=True)] == ["eq5", "ce", "zero"]


def test_the_reports_comparisons_are_corrected_together(data: Path, tmp_path: Path) -> None:
    folders = [write_evaluation(tmp_path / "base", data, lambda pair: int(pair.id < "q3"))]
    folders += [write_evaluation(tmp_path / f"r{n}", data, lambda pair, n=n: int(pair.id < f"q{n}")) for n in (4, 5, 6)]  # type: ignore[misc]
    [group] = group_runs(read_runs(folders), draws=DRAWS)
    assert [(found.a, found.b) for found in group.comparisons] == [(name, "base") for name in ("r4", "r5", "r6")]
    whole = [found.metrics["f1"].averages["gxlt"] for found in group.comparisons]
    assert all(found.difference.value > 0 for found in whole)
    assert min(found.p_holm for found in whole) == pytest.approx(min(1, 3 * min(found.p for found in whole)))
    assert difference_table(group, group.comparisons[0]).columns[3:5] == ["p", "p (Holm)"]
    [alone] = group_runs(read_runs(folders[:2]), draws=DRAWS)
    assert "p (Holm)" not in difference_table(alone, alone.comparisons[0]).columns


def test_runs_scored_by_other_rules_stand_apart(data: Path, tmp_path: Path) -> None:
    first, second = (write_evaluation(tmp_path / name, data, first_rank) for name in ("one", "two"))
    record = (second / "evaluation.json").read_text(encoding="utf-8")
    (second / "evaluation.json").write_text(record.replace('"mlqa",\n "top_k"', '"squad",\n "top_k"'), encoding="utf-8")
    assert len(group_runs(read_runs([first, second]), draws=DRAWS)) == 2
    assert "two: scored by the rules of squad" in refused("compare", first, second)


def test_an_ablation_stands_beside_the_papers(seven: Path, tmp_path: Path) -> None:
    runs = sweep_runs(seven, tmp_path, [("with", {}, {}), ("without", {}, {"alpha_ce": 0})])
    table = systems_table(group_runs(runs, draws=DRAWS))
    assert table is not None
    assert [row.cells[:3] for row in table.rows[:2]] == [
        ["with", "self-distillation, mAP@k", "yes"],
        ["without", "self-distillation, mAP@k", "no"],
    ]
    paper = [row.cells for row in table.rows if row.source == "paper"]
    assert [cell.value if isinstance(cell, Number) else cell for cell in paper[0][3:]] == [52.5, 36.6, 61.0, 43.9]


def test_names_that_are_alike_as_file_names_overwrite_nothing(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polyspan.analysis.report._draw_example", lambda *_: ([], []))
    folders = []
    for number, name in enumerate(("skd-1", "skd_1")):
        # Their models are called the same, too.
        write_training(tmp_path / str(number) / "skd", data={"target_languages": number + 1})
        model = str(tmp_path / str(number) / "skd" / "model")
        folders.append(write_evaluation(tmp_path / name, data, first_rank, model=model))
    groups = group_runs(read_runs([write_evaluation(tmp_path / "base", data, first_rank), *folders]), draws=DRAWS)
    written = write_report(groups, tmp_path / "report")
    assert len(written) == len(set(written))
    for name in ("difference-mlqa-dev-skd-1", "ranks-mlqa-dev-skd-1"):
        first, second = (tmp_path / "report" / "tables" / f"{name}{end}.tex" for end in ("", "-2"))
        assert f"tab:{first.stem}}}" in first.read_text(encoding="utf-8")
        assert f"tab:{second.stem}}}" in second.read_text(encoding="utf-8")
        assert r"skd\_1" in second.read_text(encoding="utf-8")
    ids = re.findall(r'\bid="([^"]+)"', written[0].read_text(encoding="utf-8"))
    assert len(ids) == len(set(ids))
    drawn = {path.stem for path in written if path.name.startswith(("coefficient-", "loss-"))}
    assert drawn == {f"{what}-{run}-skd" for what in ("coefficient", "loss") for run in "01"}
    gains = (tmp_path / "report/figures/gains-mlqa-dev-em.svg").read_text(encoding="utf-8")
    assert "0.0 G-XLT, 0.0 XLT: skd-1<" in gains  # it answers as the base does
    assert gains.count("EM gained") == 2


def test_one_language_at_a_time_has_no_gxlt(data: Path, tmp_path: Path) -> None:
    folder = write_evaluation(tmp_path / "alone", data, first_rank, ["de"])
    groups = group_runs(read_runs([folder]), draws=DRAWS)
    table = all_tables(groups)[0]
    assert [name for name, _ in table.groups] == ["", "XLT", "micro"]
    assert groups[0].label == "mlqa/dev, de"


def test_the_best_of_a_column_is_marked_among_the_measured() -> None:
    rows = [Row(["a", Number(1.0), Number(5.0)]), Row(["b", Number(2.0), None]), Row(["p", Number(9.0), None], "paper")]
    marked = mark_best(rows)
    assert [[cell.best for cell in row.cells if isinstance(cell, Number)] for row in marked] == [
        [False, False],
        [True],
        [False],
    ]
    table = Table("k", "50% & more", ["run", "F1", "a_b"], marked, ["A note | with a bar."])
    assert "| b | **2.0** | – |" in to_markdown(table)
    assert "| *p* | *9.0* | – |" in to_markdown(table)
    assert r"A note \| with a bar." in to_markdown(table)
    assert r"b & \textbf{2.0} & --" in to_latex(table)
    assert r"50\% \& more." in to_latex(table)
    assert r"a\_b" in to_latex(table)


def test_without_texts_there_is_a_page_without_examples(folders: list[Path], data: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("predictions.jsonl", "scores.json"):
        (moved / name).write_bytes((folders[0] / name).read_bytes())
    record = json.loads((folders[0] / "evaluation.json").read_text(encoding="utf-8"))
    record["path"] = str(tmp_path / "nowhere" / "mlqa" / "dev")
    (moved / "evaluation.json").write_text(json.dumps(record), encoding="utf-8")
    groups = group_runs(read_runs([moved]), draws=DRAWS)
    assert groups[0].corpus is None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("polyspan.analysis.report._Figures.draw", lambda *_: _figure())
        write_report(groups, tmp_path / "out")
    page = Page((tmp_path / "out" / "report.html").read_text(encoding="utf-8"))
    assert "Examples of mlqa/dev are not shown" in page.text
    assert "name the folder with --data" in page.text
    assert page.data["examples"] == [{}]
    assert "Answer ranks" not in page.text
    found = group_runs(read_runs([moved]), data, draws=DRAWS)
    assert found[0].corpus is not None


def test_a_chosen_example_that_cannot_be_drawn_is_left_out(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def in_no_window(*_: object) -> None:
        raise CorpusError("dev: no window holds the answer to 'q0' in en")

    loaded = SimpleNamespace(model=None, tokenizer=None)
    monkeypatch.setattr("polyspan.analysis.report._load", lambda run, fetch: loaded)
    monkeypatch.setattr("polyspan.analysis.report.answer_distribution", in_no_window)
    monkeypatch.setattr("polyspan.analysis.report._draw_matrices", lambda *_: None)
    groups = group_runs(read_runs([write_evaluation(tmp_path / "run", data, first_rank)]), draws=DRAWS)
    page = write_report(groups, tmp_path / "report")[0].read_text(encoding="utf-8")
    assert "distributions of an example are not drawn: dev: no window holds the answer" in page
    with pytest.raises(ReportError, match="no window holds"):
        write_report(groups, tmp_path / "report", Pair("q0", "en", "en"))


def test_the_command_writes_and_says_where(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quickly(monkeypatch)
    folder = write_evaluation(tmp_path / "run", data, first_rank)
    other = {"squad_v2": {"HasAns_f1": 40.0, "HasAns_exact": 30.0, "best_f1": 50.0, "best_exact": 45.0}}
    (folder / "scores.json").write_text(json.dumps({"other_scores": other}), encoding="utf-8")
    out = polyspan("report", folder, "--output", tmp_path / "out", "--title", "Mine <b>", "--json")
    told = json.loads(out.stdout)
    assert told["page"] == str(tmp_path / "out" / "report.html")
    assert all(Path(file).is_file() for file in told["files"])
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "<title>Mine &lt;b&gt;</title>" in page
    assert "are not drawn" in page  # there is no such model
    assert "| run | squad_v2 best | 50.0 | 45.0 |" in (tmp_path / "out" / "tables" / "other-mlqa-dev.md").read_text()


def broken(change: Callable[[Path], None]) -> Callable[[Path, Path], list[str | Path]]:
    def make(folder: Path, data: Path) -> list[str | Path]:
        write_training(write_evaluation(folder, data, first_rank))
        change(folder)
        return [folder]

    return make


STEP = '{"step": 1, "epoch": 0.1, "loss": 1, "ce": 1, "kl": 0, "coefficient": 0.5}'


REFUSED: dict[str, tuple[Callable[[Path, Path], list[str | Path]], str]] = {
    "no folder": (lambda folder, data: [folder], "no such folder"),
    "named twice": (lambda folder, data: [write_evaluation(folder, data, first_rank)] * 2, "named twice"),
    "no predictions": (broken(lambda f: (f / "predictions.jsonl").unlink()), "predictions.jsonl: cannot be read"),
    "broken steps": (
        broken(lambda f: (f / "metrics.jsonl").write_text("{")),
        "metrics.jsonl: line 1: cannot be read",
    ),
    "broken recipe": (
        broken(lambda f: (f / "recipe.yaml").write_text("- 1")),
        "recipe.yaml: is not an object of keys and values",
    ),
    "broken leakage": (broken(lambda f: (f / "leakage.json").write_text("{")), "leakage.json: cannot be read"),
    **{
        f"{name} of another shape: {content[:40]}": (
            broken(lambda f, name=name, content=content: (f / name).write_text(content)),  # type: ignore[misc]
            f"{name}: {said}",
        )
        for name, content, said in (
            ("leakage.json", "[]", "is not an object of keys and values"),
            ("leakage.json", "{}", "compared: Field required"),
            ("leakage.json", '{"compared": [{"test": "a", "train": "b"}]}', "compared.0.questions: Field required"),
            ("scores.json", "[]", "is not an object of keys and values"),
            ("scores.json", '{"other_scores": []}', "other_scores: Input should be a valid dictionary"),
            ("scores.json", '{"other_scores": {"tydiqa_zero_shot": {"f1": 1}}}', "other_scores are not those"),
            ("calibration.json", "[]", "is not an object of keys and values"),
            ("calibration.json", '{"rows": 3}', "data: Field required"),
            ("calibration.json", '{"rows": 3, "data": "a", "temperature": "hot"}', "temperature: Input should be"),
            ("data.json", "[1]", "is not an object of keys and values"),
            ("timing.json", "3", "is not an object of keys and values"),
            ("environment.json", '"x"', "is not an object of keys and values"),
            ("data.json", '{"pairs": 3}', "seeds: Field required"),
            ("timing.json", '{"training_seconds": "long"}', "training_seconds: Input should be"),
            ("metrics.jsonl", "[]", "line 1: is not an object of keys and values"),
            ("metrics.jsonl", f'{STEP}\n{{"step": 2}}', "line 2: epoch: Field required"),
            ("metrics.jsonl", STEP.replace("0.5", "null"), "line 1: coefficient: Input should be a valid number"),
            ("recipe.yaml", "{data: {}, objective: {}, training: {}, model: m, seed: 1}", "data.path: Field required"),
            ("recipe.yaml", "{data: null, objective: {}, training: {}, model: m, seed: 1}", "data: is not an object"),
            ("evaluation.json", '{"model": "m"}', "path: Field required"),
            ("predictions.jsonl", "[]", "line 1 is not a prediction"),
        )
    },
    "example's form": (
        lambda folder, data: [write_evaluation(folder, data, first_rank), "--example", "q1:de"],
        "write it as ID:QUESTION:CONTEXT",
    ),
    "unknown example": (
        lambda folder, data: [write_evaluation(folder, data, first_rank), "--example", "q99:de:en"],
        "--example q99",
    ),
}


def test_the_papers_zero_shot_means_stand_under_no_other_name(data: Path, tmp_path: Path) -> None:
    """XQuAD's mean of the paper is over four languages; a mean over others is another number."""
    made = write_training(write_evaluation(tmp_path / "mlqa", data, first_rank), objective={"alpha_ce": 0})
    rows = [RowScore(f"x{n}", q, c, 0.5, 0.0) for n in range(3) for q in ("el", "ru", "en") for c in ("el", "ru", "en")]
    other = replace(
        read_runs([made])[0],
        rows=rows,
        evaluation=EvaluationRecord(
            model="m", path="/far/xquad", kind="xquad", languages=None, rules="squad", top_k=1, seconds=1.0
        ),
    )
    table = systems_table([*group_runs(read_runs([made]), draws=DRAWS), Group("xquad", "xquad", [other], draws=DRAWS)])
    assert table is not None
    assert [name for name, _ in table.groups][1:] == ["mlqa/dev G-XLT", "mlqa/dev XLT", "xquad zero-shot mean"]
    assert not [cell for row in table.rows if row.source == "paper" for cell in row.cells[3:] if cell is not None]
    whole = replace(other, rows=[RowScore("x", q, q, 0.5, 0.0) for q in ("el", "ru", "th", "tr")])
    table = systems_table([Group("xquad", "xquad", [whole], draws=DRAWS)])
    assert table is not None
    paper = [row.cells[3:] for row in table.rows if row.source == "paper"]
    assert [cell.value for cell in paper[0] if isinstance(cell, Number)] == [57.7, 43.6]


def test_languages_are_called_unseen_only_where_the_training_is_known(data: Path, tmp_path: Path) -> None:
    (run,) = read_runs([write_evaluation(tmp_path / "run", data, first_rank, model="polyspan-qa-en")])
    assert run.evaluation is not None
    named = replace(run, evaluation=run.evaluation.model_copy(update={"path": "commons/dev", "kind": "table"}))
    table = zero_shot_table(Group("commons", "commons", [named], draws=100))
    assert table is not None
    assert "none of which was trained on" in table.notes[0]
    assert named.evaluation is not None
    other = replace(named, evaluation=named.evaluation.model_copy(update={"model": "polyspan-small"}))
    assert zero_shot_table(Group("commons", "commons", [other], draws=100)) is None
    rows = [RowScore(f"x{n}", q, q, 0.5, 0.0) for n in range(3) for q in ("el", "ru")]
    asked = other.evaluation.model_copy(update={"path": "/data/xquad", "kind": "xquad"})  # type: ignore[union-attr]
    table = zero_shot_table(Group("xquad", "xquad", [replace(other, rows=rows, evaluation=asked)], draws=100))
    assert table is not None
    assert table.notes[0].endswith("the paper's; what run was trained on is told by no recipe here.")


def test_a_calibration_is_shown_with_what_was_measured(data: Path, tmp_path: Path) -> None:
    folder = write_evaluation(tmp_path / "run", data, first_rank)
    reliability = {"rows": 80, "confidence": 0.5, "accuracy": 0.5, "ece_floor": 0.02, "brier": 0.2}
    bins = [{"rows": 40, "confidence": 0.2, "accuracy": 0.3}, {"rows": 40, "confidence": 0.8, "accuracy": 0.7}]
    sides = {side: {**reliability, "ece": ece, "bins": bins} for side, ece in (("before", 0.123), ("after", 0.045))}
    curve = {"coverage": [0.5, 1.0], "risk": [0.2, 0.4], "score": [0.8, 0.1], "area": 0.3}
    threshold = {"precision": 0.9, "score": 0.61, "coverage": 0.4}
    measured = {
        "data": "/far/commons/test",
        "rows": 80,
        "no_answer_share": 0.5,
        "answers": sides,
        "risk_coverage": {"before": curve, "after": curve},
        "thresholds": [{**threshold, "precision_measured": 0.88, "coverage_measured": 0.41}],
    }
    fitted = {"data": "commons/dev", "rows": 70, "temperature": 1.5, "thresholds": [threshold]}
    (folder / "calibration.json").write_text(json.dumps({**fitted, "measured": measured}), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("polyspan.analysis.report._draw_matrices", lambda *_: None)
        groups = group_runs(read_runs([folder]), draws=DRAWS)
        written = write_report(groups, tmp_path / "out")
    names = {path.name for path in written}
    assert {"reliability-run.svg", "risk-coverage-run.png", "calibration-run.md", "calibration-run.tex"} <= names
    page = Page(written[0].read_text(encoding="utf-8"))
    assert "score of 0.61 and more, 40% answered; measured 88% right" in page.text
    assert (
        "| answers | 80 | 12.3 | 4.5 | 2.0 | 20.0 | 20.0 |"
        in (tmp_path / "out" / "tables" / "calibration-run.md").read_text()
    )
    assert "Measured on commons/test, of which 50% of the rows have no answer." in page.text


@pytest.mark.parametrize("what", REFUSED)
def test_refusals_are_one_clear_line(what: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make, expected = REFUSED[what]
    quickly(monkeypatch)
    error = refused("report", *make(tmp_path / "run", data), "--output", tmp_path / "out")
    assert expected in error


def test_a_data_set_that_changed_is_noticed(folders: list[Path], tmp_path: Path) -> None:
    changed = write_mlqa(tmp_path / "mlqa" / "dev")
    folder = write_evaluation(tmp_path / "run", changed, first_rank)
    for path in changed.iterdir():
        path.write_text(path.read_text(encoding="utf-8").replace("bridges", "viaduct"), encoding="utf-8")
    with pytest.raises(ReportError, match="the data set was changed since: evaluate again"):
        group_runs(read_runs([folder]), draws=DRAWS)


def test_runs_that_were_asked_other_questions_are_not_compared(data: Path, tmp_path: Path) -> None:
    whole = write_evaluation(tmp_path / "whole", data, first_rank)
    part = write_evaluation(tmp_path / "part", data, first_rank)
    lines = (part / "predictions.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (part / "predictions.jsonl").write_text("".join(lines[:-1]), encoding="utf-8")
    groups = group_runs(read_runs([whole, part]), draws=DRAWS)
    with pytest.raises(ScoringError, match="were asked different questions"):
        _ = groups[0].comparisons
