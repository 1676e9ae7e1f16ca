"""Results: small files of runs and tables out of them; the paper's rows with one command."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from polyspan.analysis.paper import load_paper
from polyspan.analysis.runs import published_mlqa
from polyspan.analysis.table import Number, Table
from polyspan.corpus import load_corpus
from polyspan.corpus.model import Pair
from polyspan.encoding.predict import Prediction
from polyspan.encoding.spans import Span
from polyspan.evaluation.compare import compare
from polyspan.evaluation.evaluate import limit_pairs, score_rows, write_predictions
from polyspan.evaluation.matrix import RowScore, ScoreMatrix, one_decimal
from polyspan.evaluation.record import EvaluationRecord, full_path
from polyspan.evaluation.rows import Method, read_rows
from polyspan.experiments.recipe import Recipe, dump_recipe
from polyspan.experiments.reproduce import ORDER, ZERO_SHOT, plan_steps, row_names, run_steps
from polyspan.experiments.results import PARTS, ResultsError, collect, put_between, read_results
from polyspan.experiments.results_figures import draw_results, mean_matrix
from polyspan.experiments.results_tables import AVERAGES, all_tables, settings_of
from test_cli import polyspan, refused
from tiny_models import tiny_bert
from tiny_runs import quiet

METHODS: dict[str, dict[str, Any]] = {
    "ce": {"alpha_kl": 0},
    "skd": {"alpha_kl": 1},
    "skd-first_hit": {"alpha_kl": 1, "coefficient": "first_hit"},
    "skd-ap-no-ce": {"alpha_ce": 0, "alpha_kl": 1, "coefficient": "ap"},
}
SHARES = {"ce": 3, "skd": 2, "skd-first_hit": 1, "skd-ap-no-ce": 4}
"""Every so many-th question is answered wrongly: skd-first_hit never gets one right."""


@pytest.fixture(scope="module")
def mlqa(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three questions of our corpus in MLQA's layout and languages, where MLQA would lie."""
    languages = load_paper().languages
    corpus = load_corpus("commons/dev", languages=languages)
    folder = tmp_path_factory.mktemp("data") / "mlqa/dev"
    folder.mkdir(parents=True)
    for context in languages:
        for question in languages:
            paragraphs = []
            for id_ in sorted(corpus.seeds)[:3]:
                pair = Pair(id_, question, context)
                answer = corpus.answers(pair)[0]
                asked = {
                    "id": id_,
                    "question": corpus.question(pair),
                    "answers": [{"text": answer.text, "answer_start": answer.start}],
                }
                paragraphs.append({"context": corpus.context(pair), "qas": [asked]})
            name = f"dev-context-{context}-question-{question}.json"
            tree = {"version": "1", "data": [{"title": "x", "paragraphs": paragraphs}]}
            (folder / name).write_text(json.dumps(tree), encoding="utf-8")
    return folder


def write_evaluation(folder: Path, data: Path, model: str, wrong: int, limit: int | None = None) -> None:
    """Answers of which every ``wrong``-th is one character, the others the right ones."""
    corpus = load_corpus(data)
    predictions = []
    for number, pair in enumerate(limit_pairs(corpus.pairs(), limit), start=1):
        gold = corpus.answers(pair)[0]
        start, end = (gold.start, gold.end) if number % wrong else (0, 1)
        predictions.append(Prediction(pair, [Span(corpus.context(pair)[start:end], start, end, 0.9)], 0.05))
    rows = score_rows(corpus, predictions, "mlqa")
    folder.mkdir(parents=True, exist_ok=True)
    write_predictions(folder / "predictions.jsonl", predictions, rows)
    (folder / "scores.json").write_text(json.dumps(ScoreMatrix.from_rows(rows).to_dict()), encoding="utf-8")
    EvaluationRecord(
        model=model, path=str(data.resolve()), kind="mlqa", limit=limit, rules="mlqa", top_k=1, seconds=3.5
    ).write(folder)  # fmt: skip


def run_name(method: str) -> str:
    return method.replace("_", "-")


@pytest.fixture
def runs(mlqa: Path, tmp_path: Path) -> Path:
    """Made-up runs of four methods, two seeds each, and a zero-shot evaluation."""
    home = tmp_path / "runs"
    for method, objective in METHODS.items():
        for seed in (1, 2):
            folder = home / f"{run_name(method)}-{seed}"
            tree = Recipe.model_validate(
                {
                    "run_dir": folder,
                    "seed": seed,
                    "data": {"path": "/home/somebody/data/xquad", "languages": ["en", "de"], "target_languages": 1},
                    "objective": objective,
                    "evaluation": {"path": str(mlqa)},
                }
            )
            write_evaluation(folder, mlqa, str(folder / "model"), SHARES[method] + seed - 1)
            (folder / "recipe.yaml").write_text(dump_recipe(tree), encoding="utf-8")
            (folder / "timing.json").write_text('{"training_seconds": 120.04}', encoding="utf-8")
            counts = {"seeds": 5, "pairs": 20, "languages": ["de", "en"], "skipped_records": ["one", "two"]}
            (folder / "data.json").write_text(json.dumps(counts), encoding="utf-8")
            losses = {"epoch": 1.0, "loss": 1.0, "ce": 1.0, "kl": 0.0}
            steps = [json.dumps({"step": step, "coefficient": step / 20, **losses}) for step in range(1, 21)]
            (folder / "metrics.jsonl").write_text("\n".join(steps), encoding="utf-8")
    write_evaluation(home / "zero-shot/mlqa", mlqa, "polyspan-qa-en", 2)
    write_evaluation(home / "ce-1/again", mlqa, str(home / "ce-1/model"), 1)  # the run's own counts
    other = mlqa.parents[1] / "xquad"
    if not other.exists():
        shutil.copytree(mlqa, other)
    write_evaluation(home / "ce-1/other", other, str(home / "ce-1/model"), 5)
    return home


def number(table: Table, row: int, column: str) -> Number:
    found = table.rows[row].cells[table.flat_columns.index(column)]
    assert isinstance(found, Number)
    return found


def test_a_run_becomes_one_small_file_that_says_what_it_was(runs: Path, tmp_path: Path) -> None:
    written = collect([runs], tmp_path / "results")
    names = {f"{run_name(method)}-{seed}" for method in METHODS for seed in (1, 2)} | {"polyspan-qa-en"}
    assert {path.stem for path in written} == names
    trees = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in written}
    assert {name: tree["method"] for name, tree in trees.items()} == {
        **{f"{run_name(method)}-{seed}": method for method in METHODS for seed in (1, 2)},
        "polyspan-qa-en": "zero-shot",
    }
    tree = trees["skd-first-hit-2"]
    assert (tree["seed"], tree["target_languages"], tree["temperature"]) == (2, 1, 2.0)
    scores = json.loads((runs / "skd-first-hit-2/scores.json").read_text(encoding="utf-8"))
    assert (tree["averages"], tree["pairs"]) == (scores["averages"], scores["pairs"])
    low, high = tree["intervals"]["gxlt"]["f1"]
    assert low <= scores["averages"]["gxlt"]["f1"] <= high
    assert low < high
    assert tree["counts"] == {"seeds": 5, "pairs": 20, "skipped_records": 2, "steps": 20}
    assert tree["timings"] == {"training_seconds": 120.0, "evaluation_seconds": 3.5}
    assert tree["coefficient"] == pytest.approx([(2 * part + 1.5) / 20 for part in range(PARTS)])
    assert trees["ce-1"]["coefficient"] == []
    assert trees["ce-1"]["data"] == "mlqa/dev"
    others = {part["data"]: part["averages"] for part in trees["ce-1"]["other_data"]}
    there = json.loads((runs / "ce-1/other/scores.json").read_text(encoding="utf-8"))
    assert list(others.values()) == [there["averages"]]
    assert trees["skd-1"]["other_data"] == []
    text = "".join(path.read_text(encoding="utf-8") for path in written)
    assert "/home/somebody" not in text
    assert str(tmp_path) not in text
    assert all(path.stat().st_size < 20_000 for path in written)


def test_what_was_kept_gives_the_same_comparison_as_the_run_folders(runs: Path, tmp_path: Path) -> None:
    collect([runs / "ce-1", runs / "skd-1"], tmp_path)
    first, second = (result.scores[0].read_rows() for result in read_results(tmp_path))
    kept = compare(Method("skd", [second]), Method("ce", [first]), draws=200)
    there = compare(
        Method("skd", [read_rows(runs / "skd-1")]), Method("ce", [read_rows(runs / "ce-1")]), draws=200
    )  # fmt: skip
    a, b = (found.metrics["f1"].averages["gxlt"].difference for found in (kept, there))
    assert (a.value, a.low, a.high) == pytest.approx((b.value, b.low, b.high), abs=1e-5)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.gz")}
    collect([runs / "ce-1", runs / "skd-1"], tmp_path)
    assert {path: path.read_bytes() for path in before} == before


def test_tables_hold_means_over_seeds_and_paired_differences(runs: Path, tmp_path: Path) -> None:
    collect([runs / name for name in (*(f"{run_name(m)}-{s}" for m in METHODS for s in (1, 2)), "zero-shot")], tmp_path)
    results = read_results(tmp_path)
    scores, over_zero, over_ce, over_skd, other, coefficients = all_tables(results, draws=200)
    assert [row.cells[0] for row in other.rows] == ["ce"]
    measured = [row for row in scores.rows if row.source == "measured"]
    assert [row.cells[0] for row in measured] == ["zero-shot", "ce", "skd", "skd-first_hit", "skd-ap-no-ce"]
    assert [row.cells[3] for row in measured] == [1, 2, 2, 2, 2]
    mean = sum(r.scores[0].matrix.average("gxlt", "f1") or 0 for r in results if r.method == "ce") / 2
    assert number(scores, 1, "G-XLT F1").value == pytest.approx(100 * mean)
    printed = load_paper().table2.row("ce")
    assert printed is not None
    assert any(
        row.source == "paper" and Number(printed.scores["mlqa-dev"]["gxlt"].f1) in row.cells for row in scores.rows
    )
    assert {(row.cells[0], row.cells[1]) for row in over_zero.rows} == {
        (name, "zero-shot")
        for name in ("ce, ntl 1", "skd, ntl 1, T 2", "skd-first_hit, ntl 1, T 2", "skd-ap-no-ce, ntl 1, T 2")
    }
    assert number(over_zero, 0, "difference in F1").value == pytest.approx(
        number(scores, 1, "G-XLT F1").value - number(scores, 0, "G-XLT F1").value
    )
    assert {row.cells[1] for row in over_ce.rows} == {"ce, ntl 1"}
    assert {row.cells[0] for row in over_skd.rows} == {"skd-first_hit, ntl 1, T 2"}
    assert [row.cells[0] for row in coefficients.rows] == ["skd-first_hit, ntl 1, T 2", "skd-ap-no-ce, ntl 1, T 2"]
    assert coefficients.rows[0].cells[1:3] == ["0.07", "0.17"]

    _, against, _, _ = all_tables(results, draws=200, baseline="ce-2")
    assert against.title.startswith("Against ce-2, ")
    assert {row.cells[1] for row in against.rows} == {"ce, ntl 1"}
    assert {row.cells[0] for row in against.rows} == {"zero-shot"} | {row.cells[0] for row in over_zero.rows} - {
        "ce, ntl 1"
    }
    printed_as = [polyspan("results", "table", tmp_path, "--draws", 200, *more).stdout for more in ((), ("--latex",))]
    assert [text.count("**Scores on") for text in printed_as] == [2, 0]
    assert [text.count("\\begin{table}") for text in printed_as] == [0, 6]
    assert "ce-9: no run of this name; there are ce-1, ce-2" in refused(
        "results", "table", tmp_path, "--baseline", "ce-9"
    )


def test_settings_are_named_by_what_is_not_as_usual(runs: Path, tmp_path: Path) -> None:
    for path in runs.glob("*/recipe.yaml"):
        if path.parent.name == "skd-2":
            text = path.read_text(encoding="utf-8")
            path.write_text(text.replace("learning_rate: 5.0e-05", "learning_rate: 0.1"), encoding="utf-8")
    collect([runs], tmp_path)
    labels = [(setting.label, len(setting.results)) for setting in settings_of(read_results(tmp_path))]
    assert ("skd", 1) in labels
    assert ("skd, learning_rate 0.1", 1) in labels
    assert ("ce", 2) in labels


def test_weights_of_the_terms_and_models_of_unknown_training_are_told_apart(
    runs: Path, mlqa: Path, tmp_path: Path
) -> None:
    path = runs / "skd-2/recipe.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("alpha_kl: 1.0", "alpha_kl: 0.5"), encoding="utf-8")
    write_evaluation(runs / "shipped", mlqa, "polyspan-small", 3)
    collect([runs], tmp_path)
    results = read_results(tmp_path)
    labels = {(setting.label, len(setting.results)) for setting in settings_of(results)}
    assert {("skd", 1), ("skd, alpha_kl 0.5", 1), ("polyspan-small", 1), ("ce", 2)} <= labels
    draw_results(results, tmp_path / "figures", draws=100)
    assert (tmp_path / "figures/gain-polyspan-small.svg").is_file()


def test_the_same_run_in_two_places_is_no_second_seed(runs: Path, mlqa: Path, tmp_path: Path) -> None:
    """Of a reproduction and a sweep that share a row; the copy that was asked more data counts."""
    again = runs / "sweep/ce-of-the-sweep"
    again.mkdir(parents=True)
    for path in (runs / "ce-2").glob("*.*"):
        (again / path.name).write_bytes(path.read_bytes())
    write_evaluation(again / "other", mlqa.parents[1] / "xquad", str(again / "model"), 5)
    collect([runs], tmp_path)
    (ce,) = (setting for setting in settings_of(read_results(tmp_path)) if setting.label == "ce")
    assert sorted(result.name for result in ce.results) == ["ce-1", "ce-of-the-sweep"]
    assert len(ce.scores("mlqa/dev")) == 2


def test_a_run_is_called_by_its_folder_and_leftovers_are_no_runs(runs: Path, tmp_path: Path) -> None:
    (runs / "ce-1").rename(runs / "first")
    left = runs / "first/.predictions.jsonl.a1b2"
    left.mkdir()
    (left / "predictions.jsonl").write_text('{"half', encoding="utf-8")
    shutil.copytree(runs / "first", runs / "ce-1", ignore=shutil.ignore_patterns(".*", "again", "other"))
    names = {path.stem for path in collect([runs / "first", runs / "ce-1"], tmp_path / "results")}
    assert {"first", "ce-1"} <= names


def test_the_tables_of_a_page_are_replaced_and_the_rest_stays(runs: Path, tmp_path: Path) -> None:
    polyspan("results", "collect", runs / "ce-1", "--output", tmp_path / "results")
    page = tmp_path / "page.md"
    page.write_text("# Before\n\n<!-- results -->\nto be replaced\n<!-- /results -->\n\nAfter\n", encoding="utf-8")
    for _ in range(2):
        polyspan("results", "table", tmp_path / "results", "--into", page, "--draws", 100)
        text = page.read_text(encoding="utf-8")
        assert text.startswith("# Before\n\n<!-- results -->\n\n**Scores on mlqa/dev (%)**\n")
        assert text.endswith("\n<!-- /results -->\n\nAfter\n")
        assert "to be replaced" not in text
    printed = polyspan("results", "table", tmp_path / "results", "--draws", 100).stdout
    assert printed.strip() in text


def test_a_page_keeps_its_line_ends(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_bytes("# Ä\r\n<!-- results -->\r\nold\r\n<!-- /results -->\r\nend\r\n".encode())
    put_between(page, "| a |\n| - |")
    expected = "# Ä\r\n<!-- results -->\r\n\r\n| a |\r\n| - |\r\n<!-- /results -->\r\nend\r\n"
    assert page.read_bytes() == expected.encode()
    page.write_bytes("# Ä\n<!-- results -->\n<!-- /results -->\n".encode("latin-1"))
    with pytest.raises(ResultsError, match=r"page\.md: not UTF-8 at byte 2"):
        put_between(page, "x")


def test_runs_that_were_asked_different_pairs_have_no_mean() -> None:
    def matrix(*pairs: tuple[str, str]) -> ScoreMatrix:
        return ScoreMatrix.from_rows([RowScore("1", *pair, 1.0, 1.0) for pair in pairs])

    with pytest.raises(ResultsError, match="different pairs of languages"):
        mean_matrix([matrix(("de", "en"), ("en", "en")), matrix(("en", "en"))])


def test_the_papers_averages_stand_beside_those_of_the_same_pairs_only() -> None:
    languages = load_paper().languages

    def part(path: str, asked: Iterable[str]) -> str | None:
        rows = [RowScore("1", question, context, 1.0, 1.0) for question in asked for context in languages]
        return published_mlqa(path, ScoreMatrix.from_rows(rows))

    assert part("MLQA_V1/dev", languages) == part("mlqa/dev", languages) == "mlqa-dev"
    assert part("mlqa/test", languages) == "mlqa-test"
    assert part("mlqa/dev", ["en"]) is None
    assert part("mlqa/dev, first 4 of each pair", languages) is None


def test_figures_of_collected_results(runs: Path, tmp_path: Path) -> None:
    for path in runs.glob("*-2/recipe.yaml"):  # another ntl instead of another seed
        text = path.read_text(encoding="utf-8").replace("target_languages: 1", "target_languages: 3")
        path.write_text(text.replace("temperature: 2.0", "temperature: 4.0"), encoding="utf-8")
    chosen = [runs / name for name in ("zero-shot", "ce-1", "ce-2", "skd-first-hit-1", "skd-first-hit-2")]
    polyspan("results", "collect", *chosen, "--output", tmp_path / "results")
    drawn = polyspan("results", "figures", tmp_path / "results", "--output", tmp_path / "figures").stdout
    assert {Path(line).name for line in drawn.splitlines()} == {
        "matrix-zero-shot.svg",
        *(f"{kind}-{method}.svg" for kind in ("matrix", "gain") for method in ("ce", "skd-first-hit")),
        "gains-mlqa-dev.svg",
        "target-languages.svg",
        "temperature-skd-map.svg",
    }
    assert all("<svg" in Path(line).read_text(encoding="utf-8") for line in drawn.splitlines())
    assert ">zero-shot<" in (tmp_path / "figures/target-languages.svg").read_text(encoding="utf-8")
    gains = (tmp_path / "figures/gains-mlqa-dev.svg").read_text(encoding="utf-8")
    results = {result.name: result for result in read_results(tmp_path / "results")}
    across, within = (
        100
        * (
            (results["ce-1"].scores[0].matrix.average(average, "f1") or 0)
            - (results["polyspan-qa-en"].scores[0].matrix.average(average, "f1") or 0)
        )
        for average in AVERAGES
    )
    assert f"{one_decimal(across, True)} G-XLT, {one_decimal(within, True)} XLT: ce, ntl 1" in gains


def test_methods_that_were_asked_other_data_have_figures_too(runs: Path, mlqa: Path, tmp_path: Path) -> None:
    """Of a study on fewer questions beside a zero-shot reader that was first asked all."""
    all_questions, fewer = ["ce-1", "skd-ap-no-ce-1"], ["skd-1", "skd-first-hit-1"]
    write_evaluation(runs / "zero-shot/fewer", mlqa, "polyspan-qa-en", 5, limit=2)
    for name in fewer:
        write_evaluation(runs / name, mlqa, str(runs / name / "model"), 5, limit=2)
    collect([runs / name for name in ("zero-shot", *all_questions, *fewer)], tmp_path / "results")
    drawn = {path.name for path in draw_results(read_results(tmp_path / "results"), tmp_path / "figures", 100)}
    gains = "gains-mlqa-dev-first-2-of-each-pair.svg"
    assert {"matrix-skd.svg", "gain-skd.svg", "gain-ce.svg", "gains-mlqa-dev.svg", gains} <= drawn
    titles = {name: (tmp_path / "figures" / name).read_text(encoding="utf-8") for name in drawn}
    assert "first 2 of each pair" in titles["gain-skd.svg"]
    assert "first 2 of each pair" not in titles["gain-ce.svg"]
    assert " XLT: skd, ntl 1, T 2" in titles[gains]
    assert "skd, ntl 1" not in titles["gains-mlqa-dev.svg"]


def test_many_keys_are_told_by_the_name_of_the_run(runs: Path, tmp_path: Path) -> None:
    path = runs / "skd-2/recipe.yaml"
    text = path.read_text(encoding="utf-8").replace("save_steps: 500", "save_steps: 60")
    path.write_text(text, encoding="utf-8")
    collect([runs], tmp_path / "same")
    assert ("skd", 2) in {(s.label, len(s.results)) for s in settings_of(read_results(tmp_path / "same"))}
    for key, old, new in (("k", 10, 5), ("delta", 5, 3), ("epochs", 1, 9), ("accumulate", 1, 2)):
        assert f"{key}: {old}\n" in text, text
        text = text.replace(f"{key}: {old}\n", f"{key}: {new}\n")
    path.write_text(text, encoding="utf-8")
    collect([runs], tmp_path / "other")
    labels = {s.label for s in settings_of(read_results(tmp_path / "other"))}
    assert {"skd", "skd (skd-2)"} <= labels


def test_what_cannot_be_collected_or_read_is_one_line(runs: Path, tmp_path: Path) -> None:
    assert "predictions.jsonl" in refused("results", "collect", tmp_path / "nothing", "--output", tmp_path / "r")
    assert "holds no results" in refused("results", "table", tmp_path)
    other = runs / "moved/ce-1"
    other.mkdir(parents=True)
    for path in (runs / "ce-1").glob("*.*"):
        (other / path.name).write_bytes(path.read_bytes())
    tree = (other / "recipe.yaml").read_text(encoding="utf-8")
    (other / "recipe.yaml").write_text(tree.replace("seed: 1", "seed: 7"), encoding="utf-8")
    with pytest.raises(ResultsError, match="two runs are called 'ce-1'"):
        collect([runs], tmp_path / "r")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/x.json").write_text('{"name": 1}', encoding="utf-8")
    assert "x.json" in refused("results", "table", tmp_path / "broken")
    (tmp_path / "page.md").write_text("no marks", encoding="utf-8")
    polyspan("results", "collect", runs / "skd-1", "--output", tmp_path / "results")
    for path in (tmp_path / "results/rows").iterdir():
        content = bytearray(path.read_bytes())
        content[20:60] = bytes(reversed(content[20:60]))
        path.write_bytes(content)
    assert "collect the runs again" in refused("results", "table", tmp_path / "results")
    polyspan("results", "collect", runs / "skd-1", "--output", tmp_path / "results")
    assert "<!-- results -->" in refused("results", "table", tmp_path / "results", "--into", tmp_path / "page.md")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, mlqa: Path) -> Callable[..., list[object]]:
    """Arguments of ``polyspan reproduce small`` with a tiny model on our corpus."""
    model = tiny_bert(tmp_path_factory.mktemp("model") / "tiny")
    settings = [
        f"model={model}", "data.path=commons/train", "data.kind=null", "data.languages=[en,de]", "data.seeds=2",
        "data.target_languages=1", "training.epochs=1", "training.frozen_layers=1", "training.learning_rate=0.05",
        f"evaluation.path={mlqa}",
    ]  # fmt: skip

    def arguments(folder: Path, *more: object) -> list[object]:
        given = [word for setting in settings for word in ("--set", setting)]
        return ["reproduce", "small", "--folder", folder, "--leakage", "ignore", *given, *more]

    return arguments


def test_reproduce_runs_what_is_missing_and_skips_what_is_there(
    small: Callable[..., list[object]], tmp_path: Path
) -> None:
    polyspan(*small(tmp_path, "--rows", "zero-shot,ce"))
    assert {path.name for path in tmp_path.iterdir()} == {"zero-shot", "ce", "reproduce.md", "reproduce.json"}
    made = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*") if path.is_file()}
    done = polyspan(*small(tmp_path, "--rows", "zero-shot,ce,skd-first-hit", "--json"))
    assert {path: path.stat().st_mtime_ns for path in made} == made
    assert (tmp_path / "skd-first-hit/model/README.md").is_file()
    lines = {(line["row"], line["average"], line["metric"]): line for line in json.loads(done.stdout)}
    assert len(lines) == 3 * 4
    ours = json.loads((tmp_path / "ce/scores.json").read_text(encoding="utf-8"))["averages"]["gxlt"]["f1"]
    line = lines["ce", "gxlt", "f1"]
    assert line["ours"]["value"] == pytest.approx(ours)
    assert line["paper"] == 57.5
    assert line["difference"]["value"] == pytest.approx(ours - 57.5)
    assert line["difference"]["low"] == pytest.approx(line["ours"]["low"] - 57.5)
    zero = lines["zero-shot", "gxlt", "f1"]
    assert zero["gain"] is None
    assert line["gain"]["value"] == pytest.approx(ours - zero["ours"]["value"], abs=1e-4)
    assert abs(line["gain"]["value"]) > 1e-3  # the training did something
    assert line["paper_gain"] == pytest.approx(57.5 - 49.7)
    assert lines["skd-first-hit", "xlt", "em"]["paper"] == 47.1
    shown = polyspan(*small(tmp_path, "--rows", "ce,skd", "--report"))
    assert "not there" in shown.stderr
    assert "57.5" in shown.stdout
    assert not (tmp_path / "skd").exists()


def test_a_row_is_there_when_its_predictions_are(tmp_path: Path) -> None:
    """They are what an evaluation writes last."""
    (step,) = plan_steps("small", ["zero-shot"], settings=["evaluation.limit=2"], folder=tmp_path)
    record = EvaluationRecord(
        model=step.model,
        path=full_path(step.evaluation.path),
        kind="mlqa",
        limit=2,
        rules="mlqa",
        top_k=step.evaluation.top_k,
        seconds=1,
    )
    step.folder.mkdir()
    record.write(step.folder)
    assert not step.done
    (step.folder / "predictions.jsonl").write_text("", encoding="utf-8")
    assert step.done
    for other in ({"limit": 3}, {"top_k": 50}, {"kind": "squad"}, {"model": "polyspan-small"}):
        record.model_copy(update=other).write(step.folder)
        assert not step.done
        failed = run_steps([step], quiet())
        assert "holds another evaluation" in failed[step.folder]
    (step.folder / "evaluation.json").unlink()
    assert not step.done


def test_a_row_that_fails_does_not_stop_the_others(small: Callable[..., list[object]], tmp_path: Path) -> None:
    (tmp_path / "ce").mkdir()
    (tmp_path / "ce/recipe.yaml").write_text("run_dir: x\ndata: {path: commons/train}\n", encoding="utf-8")
    done = polyspan(*small(tmp_path, "--rows", "ce,skd"), code=1)
    assert "holds a run of another recipe" in " ".join(done.stderr.split())
    assert (tmp_path / "skd/scores.json").is_file()


def test_steps_of_the_paper_begin_with_phase_one() -> None:
    steps = plan_steps("paper", seeds=(1, 2), settings=["evaluation.limit=5", "training.epochs=9"], data=Path("/d"))
    assert [step.row for step in steps[:3]] == [ZERO_SHOT, "ce", "ce"]
    assert len(steps) == 1 + 2 * (len(row_names("paper")) - 1)
    phase1 = steps[0].recipe
    assert phase1 is not None
    assert (phase1.data.path, phase1.seed) == ("/d/squad/train-v1.1.json", 1)
    assert phase1.training.epochs != 9
    for step in steps[1:]:
        assert step.recipe is not None
        assert step.recipe.model == str(phase1.run_dir / "model")
        assert step.recipe.training.epochs == 9
        assert step.recipe.evaluation is not None
        assert (step.recipe.evaluation.path, step.recipe.evaluation.limit) == ("/d/mlqa/dev", 5)
    assert len({step.folder for step in steps}) == len(steps)
    moved = plan_steps("paper", ["skd"], folder=Path("elsewhere"))
    assert [step.folder.as_posix() for step in moved] == ["elsewhere/phase1", "elsewhere/skd"]
    assert moved[1].recipe is not None
    assert moved[1].recipe.model == "elsewhere/phase1/model"
    # The small rows start from the shipped reader, which is evaluated and not trained again.
    small_steps = plan_steps("small")
    assert small_steps[0].recipe is None
    assert [step.row for step in small_steps] == row_names("small")
    assert set(row_names("small")) == {ZERO_SHOT, *ORDER} - {"phase1"}


def test_reproduce_says_what_is_wrong(tmp_path: Path) -> None:
    assert "paper and small" in refused("reproduce", "large")
    assert "skd-first-hit" in refused("reproduce", "small", "--rows", "sdk")
    assert "whole numbers" in refused("reproduce", "small", "--seeds", "one")
    assert "--leakage is fail" in refused("reproduce", "small", "--leakage", "wran", "--folder", tmp_path)
    assert "use --seeds" in refused("reproduce", "small", "--set", "seed=7")
    assert "use --folder" in refused("reproduce", "small", "--set", "run_dir=x")
    assert "no row is there yet" in refused("reproduce", "small", "--report", "--folder", tmp_path)
