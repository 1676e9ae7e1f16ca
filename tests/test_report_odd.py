"""Reports of what is seldom: diverged models, moved data, one language at a time, names and scores alike."""

from __future__ import annotations

import json
import socket
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console

from polyspan.analysis.cells import system_names
from polyspan.analysis.distribution import answer_distribution
from polyspan.analysis.page import _lead, _title
from polyspan.analysis.ranks import count_ranks, first_correct
from polyspan.analysis.report import _draw_example, _Figures, all_tables, write_report
from polyspan.analysis.run_tables import matrix_table, ranks_table
from polyspan.analysis.runs import Found, ReportError, read_runs
from polyspan.analysis.study import group_runs
from polyspan.analysis.table import Number, Row, mark_best
from polyspan.corpus import Answer, CorpusError, Pair, ParallelCorpus, Passage, Seed
from polyspan.evaluation.compare import compare
from polyspan.evaluation.matrix import RowScore
from polyspan.evaluation.rows import Method
from polyspan.evaluation.verdict import render_comparison
from polyspan.experiments.results import ResultsError, collect
from report_runs import write_evaluation, write_mlqa, write_training

DRAWS = 20


def first_rank(pair: Pair) -> int:
    return 1 + (int(pair.id[1:]) + len(pair.question_language)) % 3


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_mlqa(tmp_path / "mlqa" / "dev")


def test_a_model_that_diverged_has_a_note_in_place_of_its_distribution() -> None:
    class Reader(torch.nn.Linear):
        def forward(self, input_ids: torch.Tensor, **_: Any) -> Any:  # type: ignore[override]
            nowhere = torch.full(input_ids.shape, torch.nan)
            return SimpleNamespace(start_logits=nowhere, end_logits=nowhere)

    from polyspan.corpus import load_corpus
    from polyspan.models.load import load_tokenizer, resolve_model

    corpus, place = load_corpus("commons/test", languages=["en"]), resolve_model("embedded")
    with pytest.raises(CorpusError, match="no numbers: its training diverged"):
        answer_distribution(Reader(1, 1), load_tokenizer("embedded", place), corpus, corpus.pairs()[0], 10, 5)


def test_scores_that_are_no_numbers_are_refused(data: Path, tmp_path: Path) -> None:
    folder = write_evaluation(tmp_path / "run", data, first_rank)
    file = folder / "predictions.jsonl"
    file.write_text(file.read_text(encoding="utf-8").replace('"score": 0.5', '"score": NaN', 1), encoding="utf-8")
    with pytest.raises(ReportError, match=r"line 1 is not a prediction .*a score is no number"):
        read_runs([folder])


def test_no_report_asks_the_network_for_a_figure(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def called(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", called)
    monkeypatch.setattr(socket, "getaddrinfo", called)
    away = str(tmp_path / "home" / "someone" / "run" / "model")
    folders = [
        write_evaluation(tmp_path / name, data, first_rank, model=model)
        for name, model in (("a", "some/reader"), ("b", "some/reader"), ("c", away))
    ]
    groups = group_runs(read_runs(folders), draws=DRAWS)
    drawn, notes = _draw_example(groups, None, _Figures(tmp_path / "figures"))
    assert not drawn
    assert "run/model: no such folder" in notes[0]
    assert "someone" not in notes[0]


def test_data_that_moved_together_are_found_in_one_folder(data: Path, tmp_path: Path) -> None:
    other = write_mlqa(tmp_path / "mlqa" / "test")
    runs = [write_evaluation(tmp_path / name, path, first_rank) for name, path in (("a", data), ("b", other))]
    (tmp_path / "mlqa").rename(tmp_path / "moved")
    groups = group_runs(read_runs(runs), tmp_path / "moved", draws=DRAWS)
    assert [group.missing for group in groups] == [None, None]
    assert all(group.corpus is not None for group in groups)
    changed = tmp_path / "moved" / "test" / "dev-context-en-question-en.json"
    changed.write_text(changed.read_text(encoding="utf-8").replace("bridges", "ferries"), encoding="utf-8")
    found = group_runs(read_runs(runs), tmp_path / "moved", draws=DRAWS)
    assert found[0].missing is None
    assert "--data names the folder of another set" in str(found[1].missing)


def test_data_and_models_called_alike_are_told_apart(tmp_path: Path) -> None:
    folders = []
    for country in ("fr", "de"):
        place = write_mlqa(tmp_path / country / "data" / "dev", ["en", "de"])
        write_training(tmp_path / country / "skd")
        model = str(tmp_path / country / "skd" / "model")
        folders.append(write_evaluation(tmp_path / f"of-{country}", place, first_rank, model=model))
    runs = read_runs(folders)
    groups = group_runs(runs, draws=DRAWS)
    assert [group.label for group in groups] == ["fr/data/dev", "de/data/dev"]
    assert [group.key for group in groups] == ["fr-data-dev", "de-data-dev"]
    assert sorted(system_names(runs).values()) == ["de/skd", "fr/skd"]
    assert _title(runs) == "of-fr, of-de"
    models = next(table for table in all_tables(groups) if table.key == "models")
    assert [row.cells[0] for row in models.rows if row.source == "measured"] == ["fr/skd", "de/skd"]


def test_a_run_is_called_by_its_name_but_where_it_is_that_of_its_data(data: Path, tmp_path: Path) -> None:
    (group,) = group_runs(
        read_runs([write_evaluation(tmp_path / "m", data, first_rank, model="its-model")]), draws=DRAWS
    )
    assert _lead(group).startswith("m reaches")
    (group,) = group_runs(
        read_runs([write_evaluation(tmp_path / "dev", data, first_rank, model="its-model")]), draws=DRAWS
    )
    assert _lead(group).startswith("its-model reaches")
    runs = [write_evaluation(tmp_path / name, data, first_rank) for name in ("x", "y")]
    (group,) = group_runs(read_runs(runs), draws=DRAWS)
    assert ", as good as 1 other, the best of 2 runs," in _lead(group)


def test_scores_that_print_alike_are_alike() -> None:
    rows = [Row(["a", Number(41.66666666666667), Number(1.0)]), Row(["b", Number(41.66666666666666), Number(2.0)])]
    rows.append(Row(["c", Number(10.0), Number(2.0)]))
    marked = mark_best(rows)
    assert [[isinstance(cell, Number) and cell.best for cell in row.cells[1:]] for row in marked] == [
        [True, False],
        [True, True],
        [False, True],
    ]
    assert not any(cell.best for row in mark_best(rows[:2]) for cell in row.cells[1:2] if isinstance(cell, Number))


def test_rows_without_an_answer_have_no_rank() -> None:
    passage = Passage("p", "en", "", "By Anna.")
    seeds = {
        "1": Seed("1", {"en": "Who?"}, {"en": "p"}, {"en": (Answer("Anna", 3),)}),
        "2": Seed("2", {"en": "When?"}, {"en": "p"}, {"en": ()}),
    }
    rows = [RowScore(id_, "en", "en", 1.0, True) for id_ in seeds]
    ranks = first_correct(ParallelCorpus("c", seeds, {"p": passage}), rows, [[Found(3, 7, 0.9)], []])
    assert ranks == [1, None]
    counted = count_ranks(rows, ranks, 2)
    assert (counted.asked, counted.counts, counted.unanswerable) == ({"en": 1}, {"en": [1, 0]}, 1)
    assert counted.within("en") == 1


def test_the_whole_matrix_is_a_table(data: Path, tmp_path: Path) -> None:
    (group,) = group_runs(read_runs([write_evaluation(tmp_path / "run", data, first_rank)]), draws=DRAWS)
    table = matrix_table(group, 0, "f1")
    assert table is not None
    assert table.columns == ["question", "ar", "de", "en"]
    for row in table.rows:
        question, *cells = row.cells
        for context, cell in zip(table.columns[1:], cells, strict=True):
            assert isinstance(cell, Number)
            assert cell.value == pytest.approx(100 * group.runs[0].matrix.cells[str(question), context].f1)
    assert ranks_table(group, 0) is not None


def test_what_an_earlier_report_wrote_does_not_stay(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polyspan.analysis.report._draw_example", lambda *_: ([], []))
    runs = [write_evaluation(tmp_path / name, data, first_rank) for name in ("m", "n")]
    out = tmp_path / "out"
    before = write_report(group_runs(read_runs(runs), draws=DRAWS), out)
    (out / "tables" / "mine.tex").write_text("mine")
    after = write_report(group_runs(read_runs(runs[:1]), draws=DRAWS), out)
    assert set(before) - set(after)
    there = {path for path in out.rglob("*") if path.is_file()}
    assert there == {*after, out / "tables" / "mine.tex", out / ".written"}


def test_within_one_language_nothing_is_called_gxlt() -> None:
    rows = [
        [RowScore(f"{n}", code, code, score, False) for n in range(8) for code in ("de", "en")] for score in (0.2, 0.6)
    ]
    compared = compare(Method("a", [rows[0]]), Method("b", [rows[1]]), draws=50)
    console = Console(file=StringIO(), width=120)
    console.print(render_comparison(compared))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "XLT (diagonal)" in shown
    assert "G-XLT" not in shown
    assert json.dumps(compared.to_dict())


def test_results_of_two_sets_called_alike_are_not_mixed(tmp_path: Path) -> None:
    model = str(write_training(tmp_path / "skd") / "model")
    for name, languages in (("fr", ["en", "de"]), ("de", ["en", "ar"])):
        place = write_mlqa(tmp_path / name / "data" / "dev", languages)
        write_evaluation(tmp_path / "runs" / name, place, first_rank, model=model)
    with pytest.raises(ResultsError, match=r"two data sets that are both called 'data/dev'; collect them apart"):
        collect([tmp_path / "runs"], tmp_path / "results")
    copied = write_mlqa(tmp_path / "elsewhere" / "data" / "dev", ["en", "de"])
    write_evaluation(tmp_path / "again" / "1", copied, first_rank, model=model)
    (tmp_path / "runs" / "fr").rename(tmp_path / "again" / "2")
    assert len(collect([tmp_path / "again"], tmp_path / "results")) == 1  # the same questions, wherever they lay
