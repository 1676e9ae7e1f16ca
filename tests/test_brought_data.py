"""Data as people bring them: out of spreadsheets, out of ``datasets``, half translated, named in their own way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from polyspan.answering.records import Record, read_records
from polyspan.cli.listed import listed
from polyspan.cli.main import app
from polyspan.corpus import Answer, CorpusError, Pair, ParallelCorpus, load_corpus
from polyspan.corpus.problems import Problem

HEADER = "id,language,context,question,answer"
TEXT = {"en": "Anna Keller opened it in 1902 by hand.", "de": "Anna Keller öffnete sie 1902 von Hand."}


def table(folder: Path, *lines: str, name: str = "t.csv") -> Path:
    file = folder / name
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def only_answer(corpus: ParallelCorpus) -> Answer:
    (pair,) = corpus.pairs()
    (answer,) = corpus.answers(pair)
    return answer


@pytest.mark.parametrize(("given", "start"), [("1902 ", ""), (" 1902\u00a0", ""), ("1902 ", "25"), (" 1902 ", "24")])
def test_white_space_at_its_edges_is_no_part_of_an_answer(given: str, start: str, tmp_path: Path) -> None:
    file = table(tmp_path, f"{HEADER},answer_start", f"1,en,{TEXT['en']},When?,{given},{start}")
    assert only_answer(load_corpus(file)) == Answer("1902", 25)


def test_what_the_next_word_begins_with_is_not_labelled(tmp_path: Path) -> None:
    qa = {"id": "1", "question": "When?", "answers": [{"text": "1902 ", "answer_start": 25}]}
    file = tmp_path / "set.json"
    file.write_text(json.dumps({"data": [{"paragraphs": [{"context": TEXT["en"], "qas": [qa]}]}]}))
    assert only_answer(load_corpus(file)) == Answer("1902", 25)


@pytest.mark.parametrize(("answer", "said"), [("10", "within another number"), ("1902", None), ("in 19", "within")])
def test_a_searched_number_is_a_whole_one(answer: str, said: str | None, tmp_path: Path) -> None:
    file = table(tmp_path, HEADER, f"1,en,In 2010 it was as in 1902.,When?,{answer}")
    if said is None:
        assert only_answer(load_corpus(file)).start == 21
        return
    with pytest.raises(CorpusError, match=said):
        load_corpus(file)
    start = "In 2010 it was as in 1902.".index(answer)
    stated = table(tmp_path, f"{HEADER},answer_start", f"1,en,In 2010 it was as in 1902.,When?,{answer},{start}")
    assert only_answer(load_corpus(stated)).text == answer


def flat(id_: str, written_in: str, **more: Any) -> dict[str, Any]:
    context = TEXT[written_in]
    answers = {"text": ["1902", "1902"], "answer_start": [context.index("1902")] * 2}
    return {"id": id_, "title": "It", "context": context, "question": "When?", "answers": answers, **more}


@pytest.mark.parametrize("layout", ["lines", "list", "data"])
def test_flat_rows_are_read_in_whatever_they_stand(layout: str, tmp_path: Path) -> None:
    rows = [flat("1", "de"), flat("2", "de", answers={"text": [], "answer_start": []})]
    rows.append(flat("3", "de", is_impossible=True))
    file = tmp_path / ("rows.jsonl" if layout == "lines" else "rows.json")
    tree = {"data": rows} if layout == "data" else rows
    text = "\n".join(map(json.dumps, rows)) if layout == "lines" else json.dumps(tree)
    file.write_text(text, encoding="utf-8")
    corpus = load_corpus(file, languages=["de"])
    assert [corpus.answers(Pair(id_, "de", "de")) for id_ in "123"] == [(Answer("1902", 24),), (), ()]
    assert load_corpus(file).languages == ("en",)  # as of every file that names none
    broken = flat("4", "de")
    del broken["question"]
    file.write_text(text.replace(json.dumps(rows[1]), json.dumps(broken)), encoding="utf-8")
    with pytest.raises(CorpusError, match=r"(row|line) 2.*KeyError\('question'\)"):
        load_corpus(file)


def test_flat_rows_may_name_their_language(tmp_path: Path) -> None:
    rows = [flat("1", "de", language="de"), flat("1", "en", language="en")]
    file = table(tmp_path, *map(json.dumps, rows), name="rows.jsonl")
    assert len(load_corpus(file).pairs()) == 4
    tydiqa = table(
        tmp_path, json.dumps(flat("english-7-0", "en")), json.dumps(flat("telugu-7-0", "de")), name="t.jsonl"
    )
    assert load_corpus(tydiqa).languages == ("en", "te")


def squad(file: Path, id_: str, language: str, answered: bool = True, title: str = "It") -> None:
    gold = [{"text": "1902", "answer_start": TEXT[language].index("1902")}]
    qa = {
        "id": id_,
        "question": f"When, {language}?",
        "answers": gold if answered else [],
        "is_impossible": not answered,
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    tree = {"data": [{"title": title, "paragraphs": [{"context": TEXT[language], "qas": [qa]}]}]}
    file.write_text(json.dumps(tree), encoding="utf-8")


def test_a_file_without_its_answers_is_no_translation(tmp_path: Path) -> None:
    squad(tmp_path / "set" / "a.en.json", "1", "en")
    squad(tmp_path / "set" / "a.de.json", "1", "de", answered=False)
    with pytest.raises(CorpusError, match=r"a.de.json.*id '1': no answer in 'de', but one in 'en'"):
        load_corpus(tmp_path / "set")
    problems: list[Problem] = []
    corpus = load_corpus(tmp_path / "set", on_bad="skip", problems=problems)
    assert len(problems) == 1
    assert corpus.pairs() == [Pair("1", "de", "en"), Pair("1", "en", "en")]  # the question is there in German


def test_no_file_of_a_folder_is_passed_over(tmp_path: Path) -> None:
    for name in ("a.en.json", "a.de.JSON"):
        squad(tmp_path / "set" / name, "1", name.split(".")[1])
    assert load_corpus(tmp_path / "set").languages == ("de", "en")
    squad(tmp_path / "set" / "a_fr.json", "1", "de")
    with pytest.raises(CorpusError, match=r"holds a_fr\.json, not named like NAME.LANGUAGE.json"):
        load_corpus(tmp_path / "set")
    squad(tmp_path / "parts" / "set.dev.json", "1", "en")
    with pytest.raises(CorpusError, match="is 'dev' its language"):
        load_corpus(tmp_path / "parts")
    assert load_corpus(tmp_path / "parts", languages=["dev"]).languages == ("dev",)


@pytest.mark.parametrize("name", ["de.json", "train-de.json", "squad_de.v2.json"])
def test_a_language_in_a_name_is_asked_about(name: str, tmp_path: Path) -> None:
    squad(tmp_path / name, "1", "de")
    with pytest.raises(CorpusError, match="is 'de' its language"):
        load_corpus(tmp_path / name)
    assert load_corpus(tmp_path / name, languages=["de"]).languages == ("de",)


def test_views_may_name_one_text_otherwise(tmp_path: Path) -> None:
    for question, title in (("en", "Basel"), ("de", "Bâle")):
        squad(tmp_path / "set" / f"my-test-context-de-question-{question}.json", "1", "de", title=title)
    corpus = load_corpus(tmp_path / "set", kind="mlqa")
    assert corpus.pairs() == [Pair("1", "de", "de"), Pair("1", "en", "de")]
    assert len(corpus.passages) == 1


def test_rows_as_spreadsheets_write_them(tmp_path: Path) -> None:
    file = table(
        tmp_path,
        ";;;;;;",
        "ID;Language;Context;Question;Answer;Answer Start;Notes (a, b, c, d, e, f)",
        f"1;en;{TEXT['en']};When?;1902",
        f"2;en;{TEXT['en']};Who?;Anna;0;mine;;",
    )
    corpus = load_corpus(file)
    assert [corpus.answers(Pair(id_, "en", "en"))[0].start for id_ in "12"] == [25, 0]
    asked = [record for record in read_records(file) if isinstance(record, Record)]
    assert [(record.id, record.asked.question) for record in asked] == [("1", "When?"), ("2", "Who?")]
    with pytest.raises(CorpusError, match="line 2: has 4 cells, expected 5"):  # an answer is not made up
        load_corpus(table(tmp_path, HEADER, f"1,en,{TEXT['en']},When?"))
    with pytest.raises(CorpusError, match="line 2: has 6 cells, expected 5"):
        load_corpus(table(tmp_path, HEADER, f"1,en,{TEXT['en']},When?,1902,more"))
    wrong = {"ID": "1", "Language": "en", "Context": TEXT["en"], "Question": "When?", "Answer": "1902"}
    with pytest.raises(CorpusError, match="is not at 9"):
        load_corpus(table(tmp_path, json.dumps({**wrong, "Answer-Start": 9}), name="t.jsonl"))


def test_a_choice_that_leaves_nothing_is_an_error(tmp_path: Path) -> None:
    header = "id,question_language,context_language,context,question,answer"
    file = table(tmp_path, header, "1,hi,de,Basel liegt am Rhein.,x?,Rhein")
    with pytest.raises(CorpusError, match="no question in de over a text in de; name the languages of both"):
        load_corpus(file, languages=["de"])
    with pytest.raises(CorpusError, match="none is named"):
        load_corpus(file, languages=[])
    check = ["data", "check", str(file), "--languages", "de"]
    for command in (check, ["data", "leakage", "--train", str(file), "--train-languages", "hi", "--test", str(file)]):
        with pytest.raises(CorpusError, match="name the languages of both"):
            CliRunner().invoke(app, command, catch_exceptions=False)
    assert listed("en, de,") == ["en", "de"]
    assert len(load_corpus(file, languages=listed("hi,de,"))) == 1
