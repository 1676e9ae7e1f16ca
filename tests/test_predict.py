"""polyspan predict: files in, lines out; kills, bad lines, shards."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from polyspan.answering import Answerer, AskedError, Reading
from polyspan.answering.calibration import Calibration
from polyspan.answering.output import OutputError, ResumableOutput, _check_alike, join_shards
from polyspan.answering.predict_file import CHUNK_RECORDS, predict_file
from polyspan.answering.records import BadRecord, Record, read_records
from polyspan.corpus import CorpusError
from polyspan.files import sha256
from test_cli import polyspan, refused
from tiny_models import TEXTS, tiny_bert

Row = dict[str, Any]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def answerer(tiny: Path) -> Answerer:
    return Answerer(str(tiny))


def questions(count: int) -> list[Row]:
    return [{"id": f"q{at}", "question": f"Who paid {at}?", "context": TEXTS[at % len(TEXTS)]} for at in range(count)]


def write(path: Path, rows: Iterable[Row | str]) -> Path:
    lines = (row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def read(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_three_layouts_give_the_same_answers(tiny: Path, answerer: Answerer, tmp_path: Path) -> None:
    rows = questions(5)
    write(tmp_path / "in.jsonl", rows)
    table = "id;question;context\r\n" + "".join(f'{r["id"]};"{r["question"]}";"{r["context"]}"\r\n' for r in rows)
    (tmp_path / "in.CSV").write_text("\ufeff" + table, encoding="utf-8")
    paragraphs = [{"context": r["context"], "qas": [{"id": r["id"], "question": r["question"]}]} for r in rows]
    (tmp_path / "in.json").write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}), encoding="utf-8")
    found = {}
    for suffix in ("jsonl", "CSV", "json"):
        output = tmp_path / f"{suffix}.out.jsonl"
        done = json.loads(
            polyspan(
                "predict", tmp_path / f"in.{suffix}", "--output", output, "--model", tiny, "--top-k", 2, "--json"
            ).stdout
        )
        assert (done["answers"], done["answered_before"], done["skipped"]) == (5, 0, [])
        found[suffix] = read(output)
        lines = [row.pop("line") for row in found[suffix]]
        assert lines == ([2, 3, 4, 5, 6] if suffix == "CSV" else [1, 2, 3, 4, 5])
    assert found["jsonl"] == found["CSV"] == found["json"]
    for row, asked in zip(found["jsonl"], rows, strict=True):
        assert row["id"] == asked["id"]
        assert len(row["answers"]) == 2
        for answer in row["answers"]:
            assert asked["context"][answer["start"] : answer["end"]] == answer["answer"]
    alone = answerer.answer(rows[0]["question"], rows[0]["context"], 2)
    assert [a["answer"] for a in found["jsonl"][0]["answers"]] == [span.text for span in alone.spans]


def test_languages_of_the_file_are_kept(tmp_path: Path, answerer: Answerer) -> None:
    row = questions(1)[0] | {"question_language": "en", "context_language": "de"}
    predict_file(answerer, write(tmp_path / "in.jsonl", [row]), tmp_path / "out.jsonl", Reading())
    (found,) = read(tmp_path / "out.jsonl")
    assert (found["question_language"], found["context_language"]) == ("en", "de")


BAD = [
    ("{", "not valid JSON"),
    ("[]", "not a JSON object"),
    ('{"question": "a"}', "context is not a text but NoneType"),
    ('{"question": " ", "context": "x"}', "question is empty"),
    ('{"question": "a", "context": "\\ud800"}', "surrogate"),
    ('{"id": "\\udfff", "question": "a", "context": "x"}', "id holds half of a surrogate pair"),
    ('{"language": "\\ud800", "question": "a", "context": "x"}', "language holds half of a surrogate pair"),
    ("[" * 100_000, "JSON that cannot be read"),
    ('{"question": 3, "context": "x"}', "question is not a text but int"),
    ('{"question": "a", "context": "x", "question_language": "de"}', "belong together"),
    ('{"question": "a", "context": "x", "language": 5}', "a language is not text"),
]


def test_bad_lines_are_reported_with_their_number_and_skipped_or_fatal(tiny: Path, tmp_path: Path) -> None:
    good = questions(2)
    source = write(tmp_path / "in.jsonl", [good[0], *(line for line, _ in BAD), "", good[1]])
    output = tmp_path / "out.jsonl"
    error = refused("predict", source, "--output", output, "--model", tiny)
    for number, (_, said) in enumerate(BAD, start=2):
        assert f"line {number}: " in error
        assert said in error
    assert not list(tmp_path.glob("out*"))
    done = polyspan("predict", source, "--output", output, "--model", tiny, "--on-bad", "skip", "--json")
    assert [skipped["line"] for skipped in json.loads(done.stdout)["skipped"]] == list(range(2, 2 + len(BAD)))
    assert f"line 2: {BAD[0][1]}" in done.stderr
    assert [(row["line"], row["id"]) for row in read(output)] == [(1, "q0"), (len(BAD) + 3, "q1")]


def test_bad_rows_of_tables(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes(b'question,context\nWho?,"two\nlines"\nWho?\nWho?,\xff\nWho?,x\n')
    found = list(read_records(path))
    assert [record.line for record in found] == [2, 4, 5, 6]
    assert isinstance(found[0], Record)
    assert found[0].asked.context == "two\nlines"
    assert [record.message for record in found if isinstance(record, BadRecord)] == [
        "has 1 cells, expected 2",
        "not UTF-8; save the table as CSV UTF-8",
    ]


@pytest.mark.parametrize("last", ["B?,y", 'B?,"y"'], ids=["to the end", "to another quote"])
def test_a_quote_that_is_not_closed_takes_no_rows_with_it(tmp_path: Path, last: str) -> None:
    path, output = tmp_path / "in.csv", tmp_path / "out.jsonl"
    path.write_text(f'question,context\nWho?,x\nWho?,"open\nA?,x\n{last}\n', encoding="utf-8")
    error = refused("predict", path, "--output", output, "--on-bad", "skip")
    assert f"{path}: line 3: the quotes of this row do not end" in error
    path.write_text(f'question,context\n{last}\nWho?,"o"pen\nWho?,"open', encoding="utf-8")
    assert [(row.line, isinstance(row, BadRecord)) for row in read_records(path)] == [(2, False), (3, True), (4, True)]


class Killed(Exception):
    pass


@pytest.mark.parametrize("tail", [b"", b'{"line": 200, "an', b"\0\0\0\n"], ids=["clean", "cut", "zeros"])
def test_a_stopped_run_goes_on_without_a_lost_or_doubled_line(
    tmp_path: Path, answerer: Answerer, monkeypatch: pytest.MonkeyPatch, tail: bytes
) -> None:
    count = 2 * CHUNK_RECORDS + 10
    source, output = write(tmp_path / "in.jsonl", questions(count)), tmp_path / "out.jsonl"
    predict_file(answerer, source, tmp_path / "whole.jsonl", Reading())

    def stop(records: int, characters: int) -> None:
        if records > CHUNK_RECORDS:
            raise Killed

    with pytest.raises(Killed):
        predict_file(answerer, source, output, Reading(), progress=stop)
    part = output.with_name("out.jsonl.part")
    assert not output.exists()
    kept = len(read(part))
    assert 0 < kept < count
    with part.open("ab") as file:
        file.write(tail)
    asked: list[int] = []
    original = Answerer.answer_many

    def count_asked(self: Answerer, pairs: Any, *args: Any, **kwargs: Any) -> Any:
        asked.append(len(pairs))
        return original(self, pairs, *args, **kwargs)

    monkeypatch.setattr(Answerer, "answer_many", count_asked)
    done = predict_file(answerer, source, output, Reading())
    assert sum(asked) == count - kept
    assert (done.records, done.resumed) == (count, kept)
    assert output.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl", "whole.jsonl"]


KILLED = """
import os, signal, sys
from pathlib import Path
from polyspan.answering import Answerer, Reading
from polyspan.answering.predict_file import predict_file
model, source, output = sys.argv[1:]
kill = lambda records, characters: records > 128 and os.kill(os.getpid(), signal.SIGKILL)
predict_file(Answerer(model), Path(source), Path(output), Reading(), progress=kill)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_the_command_goes_on_after_a_process_was_killed(tiny: Path, tmp_path: Path) -> None:
    source, output = write(tmp_path / "in.jsonl", questions(300)), tmp_path / "out.jsonl"
    killed = subprocess.run([sys.executable, "-c", KILLED, tiny, source, output], check=False)
    assert killed.returncode == -signal.SIGKILL
    kept = len(read(output.with_name("out.jsonl.part")))
    assert 0 < kept < 300
    done = json.loads(polyspan("predict", source, "--output", output, "--model", tiny, "--json").stdout)
    assert (done["answers"], done["answered_before"]) == (300, kept)
    assert [(row["line"], row["id"]) for row in read(output)] == [(at + 1, f"q{at}") for at in range(300)]


def test_a_part_of_other_settings_or_another_process_is_not_touched(tmp_path: Path, answerer: Answerer) -> None:
    source, output = write(tmp_path / "in.jsonl", questions(3)), tmp_path / "out.jsonl"

    def stop(records: int, characters: int) -> None:
        if records:
            raise Killed

    with pytest.raises(Killed):
        predict_file(answerer, source, output, Reading(), progress=stop)
    with pytest.raises(OutputError, match="was begun with top_k 1, not 2"):
        predict_file(answerer, source, output, Reading(top_k=2))
    write(source, questions(4))
    with pytest.raises(OutputError, match="was begun with data"):
        predict_file(answerer, source, output, Reading())
    settings = {"a": 1}
    with ResumableOutput(tmp_path / "locked.jsonl", settings):
        if sys.platform != "win32":
            with pytest.raises(OutputError, match="another process is writing it"):
                ResumableOutput(tmp_path / "locked.jsonl", settings)
    output.write_text("mine\n", encoding="utf-8")
    with pytest.raises(OutputError, match="is there already"):
        predict_file(answerer, source, output, Reading())
    assert output.read_text(encoding="utf-8") == "mine\n"


def test_an_error_before_the_first_answer_leaves_nothing(tmp_path: Path, answerer: Answerer) -> None:
    source, output = write(tmp_path / "in.jsonl", questions(3)), tmp_path / "out.jsonl"
    with pytest.raises(AskedError, match="is not calibrated"):
        predict_file(answerer, source, output, Reading(precision=0.9))
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]
    assert predict_file(answerer, source, output, Reading()).records == 3


def test_a_model_of_the_hub_is_known_by_its_files(tmp_path: Path) -> None:
    """Its weights are among the settings, and its calibration is found, in the hub's cache."""
    cache = tmp_path / "hub/models--someone--tiny"
    model = tiny_bert(cache / "snapshots" / ("0" * 40))
    (cache / "refs").mkdir()
    (cache / "refs/main").write_text("0" * 40, encoding="utf-8")
    fitted = Calibration(
        model="m", data="d", rows=9, no_answer_share=0.5, temperature=2.0, null_slope=1.0, null_bias=0.0
    )
    fitted.save(model)
    write(tmp_path / "in.jsonl", questions(1))
    asked = (
        "from pathlib import Path; from polyspan.answering import Answerer, Reading;"
        " from polyspan.answering.predict_file import _settings;"
        " answerer = Answerer('someone/tiny');"
        " print(answerer.calibration.temperature);"
        " print(_settings(answerer, Path('in.jsonl'), Reading(), (1, 1))['weights'][0])"
    )
    environment = {**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", asked], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["2.0", sha256(model / "model.safetensors")]


def test_shards_are_known_by_their_whole_name(tmp_path: Path) -> None:
    for line, name in enumerate(("out[1].1-of-2.jsonl", "out[1].2-of-2.jsonl", "out[1].b.1-of-3.jsonl")):
        size = write(tmp_path / name, [{"line": line}]).stat().st_size
        write(tmp_path / f"{name}.part.json", [{"model": "a", "bytes": size}])
    assert join_shards(tmp_path / "out[1].jsonl") == 2
    assert (tmp_path / "out[1].b.1-of-3.jsonl").exists()  # of another output
    with pytest.raises(OutputError, match="no finished shards"):
        join_shards(tmp_path / "none" / "out.jsonl")


def test_shards_are_joined_in_order(tiny: Path, answerer: Answerer, tmp_path: Path) -> None:
    source, output = write(tmp_path / "in.jsonl", ["", *questions(7)]), tmp_path / "out.jsonl"
    predict_file(answerer, source, tmp_path / "whole.jsonl", Reading())
    for part in (3, 1):
        polyspan("predict", source, "--output", output, "--model", tiny, "--shard", f"{part}/3")
    assert "out.2-of-3.jsonl: is not there" in refused("predict", source, "--output", output, "--join")
    polyspan("predict", source, "--output", output, "--model", tiny, "--shard", "2/3")
    assert len(read(tmp_path / "out.2-of-3.jsonl")) == 2
    # A shard that is finished is not done again.
    again = polyspan("predict", source, "--output", output, "--model", tiny, "--shard", "2/3", "--json")
    assert json.loads(again.stdout)["answered_before"] == 2
    polyspan("predict", source, "--output", output, "--join")
    asked = [(row["line"], row["id"], row["answers"][0]["answer"]) for row in read(output)]
    assert asked == [(row["line"], row["id"], row["answers"][0]["answer"]) for row in read(tmp_path / "whole.jsonl")]
    assert not list(tmp_path.glob("out.*-of-*"))
    assert "--shard is a part of all" in refused("predict", source, "--output", output, "--shard", "4/3")


def test_shards_of_other_settings_are_not_joined(answerer: Answerer, tmp_path: Path) -> None:
    source, output = write(tmp_path / "in.jsonl", questions(4)), tmp_path / "out.jsonl"
    second = tmp_path / "out.2-of-2.jsonl"

    def answer_second(reading: Reading) -> None:
        for file in tmp_path.glob("out.2-of-2.*"):
            file.unlink()
        predict_file(answerer, source, output, reading, (2, 2))

    predict_file(answerer, source, output, Reading(), (1, 2))
    answer_second(Reading(top_k=2))
    with pytest.raises(OutputError, match=r"2-of-2\.jsonl: was made with top_k 2, out\.1-of-2\.jsonl with 1"):
        join_shards(output)
    with pytest.raises(OutputError, match=r"2-of-2\.jsonl: was made with top_k 2, not 1"):
        predict_file(answerer, source, output, Reading(), (2, 2))
    write(source, questions(5))
    answer_second(Reading())
    with pytest.raises(OutputError, match=r"2-of-2\.jsonl: was made with data "):
        join_shards(output)
    write(source, questions(4))
    answer_second(Reading())
    settings = second.with_name(f"{second.name}.part.json")
    kept = settings.read_text(encoding="utf-8")
    for said, broken in (("cannot be read", "{"), ("not an object", "[]"), ("made with data None", "{}")):
        settings.write_text(broken, encoding="utf-8")
        with pytest.raises(OutputError, match=said):
            join_shards(output)
    settings.unlink()
    with pytest.raises(OutputError, match="is missing"):
        join_shards(output)
    settings.write_text(kept, encoding="utf-8")
    assert join_shards(output) == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl"]


def test_a_join_that_was_killed_is_ended_by_the_next(
    answerer: Answerer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, output = write(tmp_path / "in.jsonl", questions(7)), tmp_path / "out.jsonl"
    for part in (1, 2, 3):
        predict_file(answerer, source, output, Reading(), (part, 3))
    second, third = (tmp_path / f"out.{part}-of-3.jsonl" for part in (2, 3))

    def killed(shards: object) -> None:
        for path in tmp_path.glob("out.1-of-3.*"):
            path.unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("polyspan.answering.output._remove", killed)
        with pytest.raises(KeyboardInterrupt):
            join_shards(output)
    kept = third.read_text(encoding="utf-8")
    third.write_text(kept.replace('"line": ', '"line":  ', 1), encoding="utf-8")
    with pytest.raises(OutputError, match="is there already"):
        join_shards(output)
    assert second.exists()
    third.write_text(kept, encoding="utf-8")
    assert join_shards(output) == 7
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl"]
    with pytest.raises(OutputError, match="is there already"):
        join_shards(output)


def test_of_two_divisions_the_whole_one_is_joined(answerer: Answerer, tmp_path: Path) -> None:
    source, output = write(tmp_path / "in.jsonl", questions(4)), tmp_path / "out.jsonl"
    predict_file(answerer, source, output, Reading(), (1, 4))
    predict_file(answerer, source, output, Reading(), (1, 2))
    with pytest.raises(OutputError, match=r"shards of 2 and of 4 beside it, none of them whole; delete those"):
        join_shards(output)
    predict_file(answerer, source, output, Reading(), (2, 2))
    assert join_shards(output) == 4
    assert (tmp_path / "out.1-of-4.jsonl").exists()


def test_a_model_is_known_by_its_files_not_by_its_place(tiny: Path, tmp_path: Path) -> None:
    source, output = write(tmp_path / "in.jsonl", questions(4)), tmp_path / "out.jsonl"
    elsewhere = Path(shutil.copytree(tiny, tmp_path / "elsewhere"))
    for place, part in ((tiny, 1), (elsewhere, 2)):
        predict_file(Answerer(place), source, output, Reading(), (part, 2))
    _check_alike([tmp_path / f"out.{part}-of-2.jsonl" for part in (1, 2)])
    settings = elsewhere / "tokenizer_config.json"
    settings.write_text(settings.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    with pytest.raises(OutputError, match="was made with weights"):
        predict_file(Answerer(elsewhere), source, output, Reading(), (2, 2))


def test_a_shard_that_was_cut_is_not_joined(answerer: Answerer, tmp_path: Path) -> None:
    source, output = write(tmp_path / "in.jsonl", questions(8)), tmp_path / "out.jsonl"
    for part in (1, 2):
        predict_file(answerer, source, output, Reading(), (part, 2))
    second = tmp_path / "out.2-of-2.jsonl"
    whole = second.read_bytes()
    lines = whole.splitlines(keepends=True)
    for cut in (b"".join(lines[:2]), whole[:-9]):
        second.write_bytes(cut)
        said = f"has {len(cut)} bytes, {len(whole)} were written"
        with pytest.raises(OutputError, match=said):
            join_shards(output)
        with pytest.raises(OutputError, match=said):
            predict_file(answerer, source, output, Reading(), (2, 2))
    second.write_bytes(b"".join([*lines[:2], b" " * (len(lines[2]) - 1) + b"\n", *lines[3:]]))
    with pytest.raises(OutputError, match="line 3 is no answer"):
        join_shards(output)
    assert not output.exists()
    second.write_bytes(whole)
    assert join_shards(output) == 8


@pytest.mark.skipif(sys.platform == "win32", reason="files of a limited size")
def test_a_disk_that_is_full_at_the_first_answers(tmp_path: Path) -> None:
    """What is short enough for a buffer fails when it is written, not when the file is closed."""
    asked = (
        "import resource, signal; from pathlib import Path;"
        " from polyspan.answering.output import ResumableOutput;"
        " signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        " out = ResumableOutput(Path('out.jsonl'), {'a': 1}).__enter__();"
        " resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY));"
        "\ntry: out.append([{'line': 1}])"
        "\nexcept ValueError as error: print(error); out.__exit__(type(error), error, None)"
    )
    done = subprocess.run(
        [sys.executable, "-c", asked], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=100
    )
    assert done.stdout == "out.jsonl.part: cannot be written (File too large); make room and run it again\n"
    assert list(tmp_path.iterdir()) == []


def test_nothing_answered_binds_to_no_settings(tmp_path: Path) -> None:
    """As where the process was killed before the first answer."""
    (tmp_path / "out.jsonl.part").touch()
    write(tmp_path / "out.jsonl.part.json", [{"a": 1}])
    with ResumableOutput(tmp_path / "out.jsonl", {"a": 2}) as output:
        output.append([{"line": 1}])
    with pytest.raises(OutputError, match="was begun with a 2, not 1"):
        ResumableOutput(tmp_path / "out.jsonl", {"a": 1})


def test_ids_stay_what_they_are(answerer: Answerer, tmp_path: Path) -> None:
    named = questions(3)
    ids: list[Any] = [7, "07", 2**70]
    source = write(tmp_path / "in.jsonl", [{**row, "id": id_} for row, id_ in zip(named, ids, strict=True)])
    predict_file(answerer, source, tmp_path / "out.jsonl", Reading())
    assert [row["id"] for row in read(tmp_path / "out.jsonl")] == ids
    for id_ in (False, 1.5, [1]):
        write(source, [{**named[0], "id": id_}])
        said = f"the id is neither text nor a whole number but {type(id_).__name__}"
        assert list(read_records(source)) == [BadRecord(1, said)]


def test_progress_counts_up_to_the_end(tiny: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", questions(300))
    shown = polyspan("predict", source, "--output", tmp_path / "out.jsonl", "--model", tiny).stderr
    percents = [int(line.split("%")[0]) for line in shown.splitlines() if "% of 300 questions answered" in line]
    assert percents == sorted(set(percents))
    assert percents[-1] == 100
    assert "min left" in shown
    assert f"300 answers in {tmp_path / 'out.jsonl'}" in shown


def test_empty_lines_may_stand_before_a_table(tmp_path: Path) -> None:
    for before in ("\n\n", "\r\n", "\ufeff\n", "\nsep=;\n"):
        separator = ";" if "sep" in before else ","
        (tmp_path / "in.csv").write_bytes(f"{before}question{separator}context\nWho?{separator}Anna\n".encode())
        (found,) = read_records(tmp_path / "in.csv")
        assert isinstance(found, Record)
        assert (found.line, found.asked.context) == (before.count("\n") + 2, "Anna")


def test_utf16_is_told_by_its_name(tmp_path: Path) -> None:
    for name in ("in.tsv", "in.jsonl"):
        (tmp_path / name).write_text("question\tcontext\nWho?\tAnna\n", encoding="utf-16")
        with pytest.raises(CorpusError, match=f"{name}: is UTF-16, which some programs call Unicode"):
            list(read_records(tmp_path / name))


def test_files_that_are_no_questions(tiny: Path, tmp_path: Path) -> None:
    for name, content, said in (
        ("in.txt", "x", "questions are read from"),
        ("in.csv", "frage,text\na,b\n", "no column named 'question'"),
        ("in.csv", "\n\n", "in.csv: the file is empty"),
        ("in.csv", '"question" ,context\na,b\n', "line 1: not a readable row"),
        ("in.csv", "sep=;\nquestion;text\na;b\n", "line 2: no column named 'context'"),
        ("in.csv", "question,context,context\na,b,c\n", "line 1: two columns are named 'context'"),
        ("in.json", "{}", "not in SQuAD's layout"),
        ("in.jsonl", "\n\n", "holds no question"),
        ("in.jsonl", '{"data": []}\n', "line 1: in SQuAD's layout"),
        ("in.json", '{"question": "q"}\n{"question": "q"}\n', "name it .jsonl"),
        ("in.csv.gz", "", "is packed"),
    ):
        (tmp_path / name).write_text(content, encoding="utf-8")
        assert said in refused("predict", tmp_path / name, "--output", tmp_path / "out.jsonl", "--model", tiny)
    (tmp_path / "in.csv").write_text("question,context\na,b\n", encoding="utf-8")
    assert "in.csv: holds the questions" in refused(
        "predict", tmp_path / "in.csv", "--output", tmp_path / "in.csv", "--model", tiny
    )
    assert "no such file" in refused(
        "predict", tmp_path / "none.csv", "--output", tmp_path / "o.jsonl", "--model", tiny
    )


def test_an_answer_file_in_a_folder_to_come_and_a_folder_in_its_place(tmp_path: Path) -> None:
    with ResumableOutput(tmp_path / "new" / "folder" / "out.jsonl", {}):
        pass
    assert (tmp_path / "new" / "folder").is_dir()
    with pytest.raises(OutputError, match=r"is a folder; name a file, such as .*answers\.jsonl"):
        ResumableOutput(tmp_path / "new", {})
