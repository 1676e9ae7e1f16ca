"""``polyspan compare``: from folders to numbers and words, and what it refuses."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from polyspan.analysis.runs import Found, read_runs
from polyspan.cli.main import run
from polyspan.corpus import Pair
from polyspan.encoding.predict import Prediction
from polyspan.encoding.spans import Span
from polyspan.evaluation import RowScore, ScoringError
from polyspan.evaluation.compare import compare
from polyspan.evaluation.evaluate import write_predictions
from polyspan.evaluation.rows import Method, read_rows
from polyspan.evaluation.verdict import note, sentence
from polyspan.experiments.recipe import Recipe, dump_recipe

QUESTIONS = 40


def command(*arguments: object, code: int = 0) -> str:
    out, err = StringIO(), StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setenv("COLUMNS", "100")
        patch.setattr(sys, "argv", ["polyspan", "compare", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            run()
    assert (left.value.code or 0) == code, err.getvalue()
    if code:
        assert out.getvalue() == ""
        assert err.getvalue().count("\n") == 1
    return err.getvalue() if code else out.getvalue()


def write(folder: Path, f1: Callable[[int, str, str], float], languages: tuple[str, ...] = ("en", "de")) -> Path:
    """A folder as ``evaluate --output`` writes it."""
    folder.mkdir()
    rows = [
        {
            "id": f"q{number}",
            "question_language": question,
            "context_language": context,
            "answers": [],
            "no_answer": 0.5,
            "f1": f1(number, question, context),
            "em": int(f1(number, question, context) == 1),
            "passage": f"{number // 2}{context}",
        }
        for number in range(QUESTIONS)
        for question, context in product(languages, languages)
    ]
    (folder / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def uneven(number: int, *_: str) -> float:
    return (number % 5) / 5


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    return {
        "base": write(tmp_path / "base", uneven),
        # Better by 0.2 in the two pairs off the diagonal, and in three of four questions.
        "better": write(tmp_path / "better", lambda n, q, c: uneven(n) + (0.2 if q != c and n % 4 else 0)),
        "flat": write(tmp_path / "flat", lambda n, *_: uneven(n) + (0.01 if n % 2 else -0.01) * (n % 5 > 0)),
    }


def test_json_has_every_number_and_the_sentence(folders: dict[str, Path]) -> None:
    printed = json.loads(command(folders["better"], folders["base"], "--draws", 500, "--json"))
    (found,) = printed["comparisons"]
    assert (found["a"], found["b"], found["questions"], found["rows"]) == ("better", "base", 40, 160)
    averages = found["metrics"]["f1"]["averages"]
    assert averages["gxlt"]["difference"]["value"] == pytest.approx(100 * 0.2 * 0.75 / 2)
    assert averages["gxlt_off_diagonal"]["difference"]["value"] == pytest.approx(15)
    assert averages["xlt"]["difference"] == {"value": 0, "low": 0, "high": 0}
    assert averages["gxlt"]["better"] == 0.75
    pairs = {(p["question_language"], p["context_language"]): p for p in found["metrics"]["f1"]["pairs"]}
    assert set(pairs) == set(product(("de", "en"), repeat=2))
    assert pairs["en", "de"]["p_holm"] == pytest.approx(4 / 501, abs=1e-6)
    assert pairs["en", "en"]["p_bh"] == 1
    assert set(found["metrics"]) == {"f1", "em"}
    low, high = (averages["gxlt"]["difference"][end] for end in ("low", "high"))
    assert found["sentence"] == (
        f"better is better than base by 7.5 F1 G-XLT, 95% interval {low:.1f} to {high:.1f};"
        " 2 of 4 pairs improve, none is worse (after Holm's correction)."
    )


def test_the_last_line_is_the_sentence_of_the_better_one(folders: dict[str, Path]) -> None:
    lines = command(folders["base"], folders["better"], "--draws", 300).splitlines()
    assert lines[-1].startswith("better is better than base by 7.5 F1 G-XLT, 95% interval ")
    assert "2 of 4 pairs improve, none is worse" in lines[-1]
    assert any(line.lstrip().startswith("G-XLT (all pairs)") and "-7.5" in line for line in lines)
    assert any("en / de" in line for line in lines)
    assert not any("en / en" in line for line in lines)


def test_what_cannot_be_told_apart(folders: dict[str, Path]) -> None:
    last = command(folders["flat"], folders["base"], "--draws", 300, "--correction", "bh").splitlines()[-1]
    assert "flat and base cannot be told apart: their difference is 0.0 F1 G-XLT, 95% interval -" in last
    assert "none of 4 pairs improves, none is worse (after Benjamini–Hochberg's correction)." in last


def test_a_handful_of_questions_is_not_called_better(tmp_path: Path) -> None:
    zero = Method("zero", [[RowScore(f"q{n}", "en", "en", 0.2, 0) for n in range(3)]])
    one = Method("one", [[RowScore(f"q{n}", "en", "en", 0.7, 0) for n in range(3)]])
    found = compare(one, zero, draws=300)
    whole = found.metrics["f1"].averages["gxlt"]
    assert whole.difference.low == pytest.approx(0.5)  # all draws are alike
    assert sentence(found) == (
        "one and zero cannot be told apart: one is ahead by 50.0 F1, 95% interval 50.0 to 50.0,"
        f" but p is {whole.p:.3f}."
    )
    assert 0.15 < whole.p < 0.4
    assert sentence(found, "em") == (
        "one and zero cannot be told apart: their difference is 0.0 EM, 95% interval 0.0 to 0.0."
    )


def test_what_rounds_to_nothing_has_no_sign(folders: dict[str, Path], tmp_path: Path) -> None:
    near = write(tmp_path / "near", lambda n, *_: uneven(n) - 0.0001 * (n % 5 > 0))
    printed = command(near, folders["base"], "--draws", 300)
    assert "-0.0" not in printed
    assert "+0.0" not in printed


def test_groups_are_runs_of_one_method(folders: dict[str, Path]) -> None:
    group = f"Two={folders['base']},{folders['better']}"
    (found,) = json.loads(command(folders["base"], "--group", group, "--draws", 300, "--json"))["comparisons"]
    assert (found["a"], found["b"], found["runs"]) == ("base", "Two", [1, 2])
    assert found["metrics"]["f1"]["averages"]["gxlt"]["difference"]["value"] == pytest.approx(-3.75)
    assert "the luck of training, from Two's 2 runs; base is taken as trained" in found["note"]


def test_runs_are_paired_by_the_seeds_of_their_recipes(folders: dict[str, Path], tmp_path: Path) -> None:
    for name, seed in (("base", 2), ("better", 1)):
        recipe = Recipe.model_validate({"run_dir": name, "seed": seed, "model": "m", "data": {"path": "commons/train"}})
        (folders[name] / "recipe.yaml").write_text(dump_recipe(recipe))
    groups = [f"A={folders['base']},{folders['better']}", f"B={folders['better']},{folders['base']}"]
    options = ["--group", groups[0], "--group", groups[1], "--draws", 300, "--json"]
    (found,) = json.loads(command(*options))["comparisons"]
    assert found["seeds_paired"] is True
    assert "from A's 2 and B's 2 runs, paired by their random seeds." in found["note"]
    # Of one seed each has the same run, so that nothing is left to luck.
    assert found["metrics"]["f1"]["averages"]["gxlt"]["difference"] == {"value": 0, "low": 0, "high": 0}
    (folders["base"] / "recipe.yaml").unlink()
    (found,) = json.loads(command(*options))["comparisons"]
    assert found["seeds_paired"] is False
    assert found["metrics"]["f1"]["averages"]["gxlt"]["difference"]["high"] > 10


def test_each_two_of_three_are_compared(folders: dict[str, Path]) -> None:
    found = json.loads(command(*folders.values(), "--draws", 100, "--json"))["comparisons"]
    assert [(item["a"], item["b"]) for item in found] == [("base", "better"), ("base", "flat"), ("better", "flat")]


def test_by_passage(folders: dict[str, Path]) -> None:
    (found,) = json.loads(command(folders["base"], folders["better"], "--by", "passage", "--json"))["comparisons"]
    assert (found["by"], found["clusters"]) == ("passage", QUESTIONS // 2)
    assert "20 groups of questions on the same passages" in found["note"]


def test_folders_of_one_name_are_told_apart(folders: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    twin = write(tmp_path / "other" / "base", uneven)
    (found,) = json.loads(command(folders["base"], twin, "--draws", 100, "--json"))["comparisons"]
    assert (found["a"], found["b"]) == (str(folders["base"]), str(twin))


def test_what_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    base = folders["base"]
    assert "name two or more" in command(base, code=1)
    assert "two methods are called 'x'" in command("--group", f"x={base}", "--group", f"x={base}", code=1)
    assert "NAME=FOLDER" in command(base, "--group", str(base), code=1)
    assert "a folder is named twice" in command(base, "--group", f"x={base},{base}/", code=1)
    assert "a folder between its commas has no name" in command(base, "--group", f"x={base},", code=1)
    assert "--by is seed or passage, not 'row'" in command(base, base, "--by", "row", code=1)
    assert "name a run folder" in command(base, tmp_path / "none", code=1)
    other = write(tmp_path / "other", uneven, languages=("en", "zh"))
    message = command(base, other, code=1)
    assert "base and other were asked different questions: 120 of base alone, such as 'q0' de-de" in message
    assert "same --data, --languages and --limit" in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no prediction"),
        ('{"id": "q", "question_language": "en", "context_language": "en", "answers": []}\n', "line 1 has no 'f1'"),
        ("[1]\n", "line 1 is not a prediction"),
        ("{broken\n", "line 1 is not a prediction"),
        (
            '{"id": "q", "question_language": "en", "context_language": "en", "f1": 55.0, "em": 1}\n',
            "line 1 is not a prediction .f1 is 55, not from 0 to 1",
        ),
        (
            '{"id": "q", "question_language": "en", "context_language": "en", "f1": 0.5, "em": NaN}\n',
            "line 1 is not a prediction .em is nan",
        ),
    ],
)
def test_broken_predictions_name_the_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "predictions.jsonl").write_text(text)
    with pytest.raises(ScoringError, match=message):
        read_rows(tmp_path)


def test_texts_may_hold_any_separator_of_lines(tmp_path: Path) -> None:
    pair = Pair("q\u2029", "en", "de")
    row = RowScore(pair.id, "en", "de", 0.5, 0.0, "p")
    answer = Span("one\u2028two\x85three", 0, 13, 0.9)
    write_predictions(tmp_path / "predictions.jsonl", [Prediction(pair, [answer], 0.1)], [row])
    assert read_rows(tmp_path) == [row]
    (run,) = read_runs([tmp_path])
    assert run.answers == [[Found(0, 13, 0.9)]]


def test_predictions_in_another_encoding_are_refused(tmp_path: Path) -> None:
    (tmp_path / "predictions.jsonl").write_bytes(b'{"id": "\xff"}\n')
    with pytest.raises(ScoringError, match="not UTF-8 at byte 8"):
        read_rows(tmp_path)


def one_pair(shift: float, languages: tuple[str, ...] = ("en",)) -> Method:
    rows = [
        RowScore(f"{language}{n}", language, language, uneven(n) + shift * (n % 3), 0)
        for language in languages
        for n in range(30)
    ]
    return Method("ab"[shift > 0], [rows])


def test_names_of_averages_follow_the_pairs() -> None:
    squad = compare(one_pair(0.1), one_pair(0.0), draws=200)
    assert sentence(squad).startswith("b is better than a by 10.0 F1, 95% interval ")
    assert "pairs" not in sentence(squad)
    tydiqa = compare(one_pair(0.1, ("fi", "sw")), one_pair(0.0, ("fi", "sw")), draws=200)
    assert "by 10.0 F1 over 2 languages" in sentence(tydiqa)
    assert note(tydiqa).startswith("Intervals hold the choice of 60 seed questions; b and a are taken as trained")


def test_real_predictions_have_readable_rows(data_dir: Path) -> None:
    """What the run wrote about a limited MLQA dev is asked of the same questions as the files hold."""
    from polyspan.corpus import load_corpus
    from polyspan.encoding.predict import Prediction
    from polyspan.encoding.spans import Span
    from polyspan.evaluation.evaluate import limit_pairs, score_rows
    from polyspan.evaluation.rows import align

    corpus = load_corpus(data_dir / "mlqa" / "dev", languages=["en", "de"])
    pairs = limit_pairs(corpus.pairs(), 50)
    predictions: list[Any] = []
    for pair in pairs:
        answer = corpus.answers(pair)[0]
        predictions.append(Prediction(pair, [Span(answer.text, answer.start, answer.end, 1.0)], 0.0))
    rows = score_rows(corpus, predictions, "mlqa")
    assert {row.f1 for row in rows} == {1.0}
    aligned = align([Method("gold", [rows])], "passage")
    assert aligned.asked.sum() == len(pairs)
    assert 1 < aligned.cluster.max() + 1 < len(aligned.ids)
