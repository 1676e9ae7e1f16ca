"""One in-memory form from every layout, with the same counts of what was wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import Mock, call

import pytest

from polyspan.corpus import Answer, CorpusError, Pair, ParallelCorpus, load_corpus, sample_pairs
from polyspan.corpus.hub import records_of_rows
from polyspan.corpus.load import Kind, guess_kind
from polyspan.corpus.problems import Problem, Problems
from test_cli import polyspan

TEXTS = {
    "en": ("The door is red. Anna painted it.", "What colour is the door?", "red"),
    "de": ("Die Tür ist rot. Anna hat sie gestrichen.", "Welche Farbe hat die Tür?", "rot"),
    "ar": ("الباب أحمر. آنا هي التي طلته.", "ما لون الباب؟", "أحمر"),
}


def qa(id_: str, question: str, answer: str | None, context: str) -> dict[str, Any]:
    if answer is None:
        plausible = [{"text": "Anna", "answer_start": 0}]
        return {"id": id_, "question": question, "is_impossible": True, "answers": [], "plausible_answers": plausible}
    return {"id": id_, "question": question, "answers": [{"text": answer, "answer_start": context.index(answer)}]}


def tree(context: str, *qas: dict[str, Any]) -> str:
    return json.dumps(
        {"version": "x", "data": [{"title": "Doors", "paragraphs": [{"context": context, "qas": [*qas]}]}]}
    )


def xquad(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for language, (context, question, answer) in TEXTS.items():
        content = tree(
            context,
            qa("q1", question, answer, context),
            qa("q2", f"{question} 2", "Anna", f"Anna{context}"[4:] if "Anna" in context else context)
            if language != "ar"
            else qa("q2", question, "آنا", context),
        )
        (folder / f"xquad.{language}.json").write_text(content, encoding="utf-8")
    return folder


def mlqa(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for language, (context, _, answer) in TEXTS.items():
        for asked, (_, question, _) in TEXTS.items():
            name = f"dev-context-{language}-question-{asked}.json"
            (folder / name).write_text(tree(context, qa("q1", question, answer, context)), encoding="utf-8")
    return folder


def table(path: Path) -> Path:
    lines = ["id,language,context,question,answer"]
    lines += [f"q1,{language},{c},{q},{a}" for language, (c, q, a) in TEXTS.items()]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def rows_of(corpus: ParallelCorpus) -> list[tuple[Pair, str, str, tuple[Answer, ...]]]:
    return [(pair, corpus.question(pair), corpus.context(pair), corpus.answers(pair)) for pair in corpus.pairs()]


def test_three_layouts_of_one_set_read_alike(tmp_path: Path) -> None:
    read = [
        load_corpus(xquad(tmp_path / "xquad")).subset(["q1"]),
        load_corpus(mlqa(tmp_path / "mlqa")),
        load_corpus(table(tmp_path / "table.csv")),
    ]
    assert rows_of(read[0]) == rows_of(read[1]) == rows_of(read[2])
    assert len(read[0].pairs()) == 9
    for pair, question, context, (answer,) in rows_of(read[0]):
        assert question == TEXTS[pair.question_language][1]
        assert context[answer.start : answer.end] == TEXTS[pair.context_language][2]
    assert [guess_kind(tmp_path / name) for name in ("xquad", "mlqa", "table.csv")] == ["xquad", "mlqa", "table"]


@pytest.mark.parametrize("name", ["{split}.{language}.json", "{split}-context-{language}-question-{language}.json"])
def test_splits_are_not_mixed(name: str, tmp_path: Path) -> None:
    for split in ("train", "dev"):
        for language, (context, question, answer) in TEXTS.items():
            path = tmp_path / name.format(split=split, language=language)
            path.write_text(tree(context, qa(f"{split}1", question, answer, context)), encoding="utf-8")
    with pytest.raises(CorpusError, match="holds dev and train; put each into a folder of its own"):
        load_corpus(tmp_path)


def test_one_file_of_a_parallel_set_is_in_the_languages_of_its_name(tmp_path: Path) -> None:
    one = load_corpus(xquad(tmp_path / "x") / "xquad.de.json")
    assert one.pairs() == [Pair("q1", "de", "de"), Pair("q2", "de", "de")]
    folder = mlqa(tmp_path / "m")
    one_pair = folder / "dev-context-de-question-ar.json"
    assert guess_kind(one_pair) == "mlqa"  # by which answers are judged
    for kind in ("mlqa", "squad"):
        assert load_corpus(one_pair, kind=kind).pairs() == [Pair("q1", "ar", "de")]  # type: ignore[arg-type]
    unclear = (tmp_path / "x" / "xquad.en.json").rename(tmp_path / "squad.dev.json")
    with pytest.raises(CorpusError, match="is 'dev' its language"):
        load_corpus(unclear)
    assert load_corpus(unclear, languages=["en"]).languages == ("en",)
    with pytest.raises(CorpusError, match=r"its name says 'de', not 'en'; rename it if not"):
        load_corpus(tmp_path / "x" / "xquad.de.json", languages=["en"])
    with pytest.raises(CorpusError, match="its name says 'ar' over 'de', not 'de'"):
        load_corpus(one_pair, kind="squad", languages=["de"])
    assert load_corpus(tmp_path / "x" / "xquad.de.json", languages=["de"]).languages == ("de",)


def test_a_folder_of_several_sets_names_them(tmp_path: Path) -> None:
    mlqa(tmp_path / "mlqa" / "dev")
    xquad(tmp_path / "xquad")
    (tmp_path / "xquad" / "._xquad.de.json").write_bytes(b"\x00Mac OS X")
    (tmp_path / "xquad" / "tydiqa-notes.txt").write_text("mine")
    assert load_corpus(tmp_path / "xquad").languages == ("ar", "de", "en")
    with pytest.raises(CorpusError, match=r"mlqa: holds dev; name one of them, such as .*mlqa/dev$"):
        load_corpus(tmp_path / "mlqa")
    (tmp_path / "squad").mkdir()
    for name in ("train-v1.1.json", "dev-v1.1.json"):
        (tmp_path / "squad" / name).write_text("{}")
    with pytest.raises(CorpusError, match=r"holds dev-v1.1.json, train-v1.1.json; name one of them"):
        load_corpus(tmp_path / "squad")
    (tmp_path / "sheet.xlsx").write_bytes(b"PK")
    with pytest.raises(CorpusError, match="is a spreadsheet; save it as CSV"):
        load_corpus(tmp_path / "sheet.xlsx")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"is_impossible": "false"}, "'is_impossible' is 'false', neither true nor false"),
        ({"answers": []}, "'answers' is empty; where there is none, 'is_impossible' is true"),
        ({"answers": {"text": ["red"], "answer_start": [0]}}, "'answers' is not a list of objects"),
        ({"answers": [{"text": "red", "answer_start": 3}]}, r"is not at 3 .*; it stands at 8 "),
    ],
)
def test_answers_that_cannot_be_meant(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    asked = {"id": "a", "question": "Which?", **changes}
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({"data": [{"paragraphs": [{"context": "It was, red.", "qas": [asked]}]}]}))
    with pytest.raises(CorpusError, match=said):
        load_corpus(file)


@pytest.mark.parametrize(
    ("context", "answer", "said"),
    [
        ("Sa\u0300i Go\u0300n", "S\u00e0i G\u00f2n", "another Unicode form: normalise both to NFC"),
        ("The king\u2019s men.", "the king's men", "'The king\u2019s men' is, with other capitals"),
        ("\u0130s 10\u00a0km away.", "10 km", r"'10\\xa0km' is, with"),
        ("It is red.", "blue", "is not in the context "),
    ],
)
def test_an_answer_that_is_not_found_may_be_there_otherwise(
    context: str, answer: str, said: str, tmp_path: Path
) -> None:
    file = tmp_path / "t.jsonl"
    row = {"id": "a", "language": "vi", "context": context, "question": "Which?", "answer": answer}
    file.write_text(json.dumps(row), encoding="utf-8")
    with pytest.raises(CorpusError, match=said):
        load_corpus(file)


def test_a_translation_without_its_answer_is_not_finished(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text(
        "id,language,context,question,answer\n"
        "1,eu,Annak egina.,Nork?,\n"
        "1,en,By Anna.,Who?,Anna\n"
        "2,eu,Annak egina.,Non?,\n"
        "2,en,By Anna.,Where?,\n"
    )
    with pytest.raises(CorpusError, match="line 2, id '1': no answer in 'eu', but one in 'en'; fill it in"):
        load_corpus(file)
    problems: list[Problem] = []
    corpus = load_corpus(file, on_bad="skip", problems=problems)
    assert [problem.kind for problem in problems] == ["answered elsewhere"]
    assert [seed.passages.keys() for seed in corpus.seeds.values()] == [{"en"}, {"eu", "en"}]
    assert corpus.answers(Pair("2", "eu", "eu")) == ()


def test_texts_are_kept_once(tmp_path: Path) -> None:
    corpus = load_corpus(mlqa(tmp_path / "mlqa"))
    assert len(corpus.passages) == len(TEXTS)
    pairs = sample_pairs(corpus, target_languages=2, seed=1)
    assert len(pairs) == len(corpus) * 9
    assert {id(corpus.passage(pair)) for pair in pairs} == {id(passage) for passage in corpus.passages.values()}


def test_words_that_mean_nothing_are_refused() -> None:
    with pytest.raises(CorpusError, match="on_bad is fail or skip, not 'raise'"):
        load_corpus("commons/dev", on_bad="raise")  # type: ignore[arg-type]
    corpus = load_corpus("commons/dev", languages=["en", "de"])
    with pytest.raises(CorpusError, match="no language 'sp'; it has de, en"):
        sample_pairs(corpus, 1, 1, candidates=["de", "sp"])
    id_ = next(iter(corpus.seeds))
    with pytest.raises(CorpusError, match=f"'{id_}' has no question in 'xx'; it has de, en"):
        corpus.question(Pair(id_, "xx", "en"))
    for read in (corpus.passage, corpus.context, corpus.answers):
        with pytest.raises(CorpusError, match=f"'{id_}' has no context in 'xx'; it has de, en"):
            read(Pair(id_, "en", "xx"))


def test_a_context_is_searched_for_broken_text_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = TEXTS["en"][0]
    path = tmp_path / "a.json"
    path.write_text(tree(context, *(qa(f"q{number}", "What?", "red", context) for number in range(9))))
    half = Mock()
    half.search.return_value = None
    monkeypatch.setattr("polyspan.corpus.builder._HALF", half)
    assert len(load_corpus(path)) == 9
    assert half.search.call_args_list.count(call(context)) == 1


def test_languages_are_chosen_on_both_sides(tmp_path: Path) -> None:
    for folder in (xquad(tmp_path / "x"), mlqa(tmp_path / "m")):
        assert load_corpus(folder, languages=["de", "ar"]).languages == ("ar", "de")
        with pytest.raises(CorpusError, match=r"no language 'tlh'; it has ar, de, en"):
            load_corpus(folder, languages=["de", "tlh"])


def test_squad_2_keeps_questions_that_the_text_does_not_answer(tmp_path: Path) -> None:
    context = TEXTS["en"][0]
    path = tmp_path / "dev-v2.0.json"
    path.write_text(tree(context, qa("a", "What colour?", "red", context), qa("b", "Which key?", None, context)))
    corpus = load_corpus(path)
    assert corpus.answers(Pair("a", "en", "en")) == (Answer("red", 12),)
    assert corpus.answers(Pair("b", "en", "en")) == ()
    shown = json.loads(polyspan("data", "check", path, "--json").stdout)
    assert shown["languages"]["en"]["unanswerable"] == 1
    assert shown["languages"]["en"]["questions"] == 2


@pytest.mark.parametrize("code", ["zh-Hans", "zh_CN", "es-419", "sr-Latn-RS"])
def test_languages_with_script_and_region(code: str, tmp_path: Path) -> None:
    """Files of codes that were not foreseen would be passed over in silence."""
    for folder, name in (("x", f"all.{code}.json"), ("m", f"dev-context-{code}-question-{code}.json")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text(tree("Anna came.", qa("q", "Who?", "Anna", "Anna came.")))
    for corpus in (load_corpus(tmp_path / "x", kind="xquad"), load_corpus(tmp_path / "m", kind="mlqa")):
        assert corpus.pairs() == [Pair("q", code, code)]


def test_tydiqa_takes_the_language_from_the_id(tmp_path: Path) -> None:
    path = tmp_path / "tydiqa-goldp-v1.1-dev.json"
    context = "Mlango ni mwekundu."
    qas = [qa("swahili-1-2", "Rangi gani?", "mwekundu", context), qa("klingon-1", "?", "Mlango", context)]
    path.write_text(tree(context, *qas), encoding="utf-8")
    problems: list[Problem] = []
    corpus = load_corpus(path, on_bad="skip", problems=problems)
    assert corpus.languages == ("sw",)
    assert [problem.kind for problem in problems] == ["missing language"]
    with pytest.raises(CorpusError, match="klingon-1"):
        load_corpus(path)


SHEETS = {
    "spreadsheet.csv": (
        "\ufeffID;Language;Context;Question;Answer;Notes\r\n"
        'a;en;"The door; is ""red"".\r\nAnna painted it.";What colour?;red;checked\r\n'
        ";;;;;\r\n"
        "a;de;Die Tür ist rot.;Welche Farbe?;rot;\r\n"
    ),
    "stated.csv": (
        "\ufeffsep=;\r\nID;Language;Context;Question;Answer\r\n"
        'a;en;"The door; is ""red"".\r\nAnna painted it.";What colour?;red\r\n'
        "a;de;Die Tür ist rot.;Welche Farbe?;rot\r\n"
    ),
    "tabs.tsv": (
        "id\tlanguage\tcontext\tquestion\tanswer\n"
        'a\ten\t"The door; is ""red"".\r\nAnna painted it."\tWhat colour?\tred\n'
        "a\tde\tDie Tür ist rot.\tWelche Farbe?\trot\n"
    ),
    "lines.jsonl": "\n".join(
        json.dumps(row)
        for row in (
            {
                "id": "a",
                "language": "en",
                "context": 'The door; is "red".\r\nAnna painted it.',
                "question": "What colour?",
                "answer": "red",
            },
            {"id": "a", "language": "de", "context": "Die Tür ist rot.", "question": "Welche Farbe?", "answer": "rot"},
        )
    ),
}


@pytest.mark.parametrize("name", SHEETS)
def test_tables_as_spreadsheets_write_them(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(SHEETS[name].encode("utf-8"))
    corpus = load_corpus(path)
    pair = Pair("a", "de", "en")
    assert corpus.context(pair) == 'The door; is "red".\r\nAnna painted it.'
    assert corpus.question(pair) == "Welche Farbe?"
    assert corpus.answers(pair) == (Answer("red", 14),)


def test_a_table_of_pairs_of_languages(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text(
        "\n\nid,question_language,context_language,context,question,answer\n"
        "1,hi,de,Basel liegt am Rhein.,बेसल कहाँ है?,am Rhein\n"
        "1,en,de,Basel liegt am Rhein.,Where is Basel?,am Rhein\n"
        "2,en,de,Basel liegt am Rhein.,Where?,an der Elbe\n",
        encoding="utf-8",
    )
    problems: list[Problem] = []
    corpus = load_corpus(file, on_bad="skip", problems=problems)
    assert corpus.pairs() == [Pair("1", "en", "de"), Pair("1", "hi", "de")]
    assert [problem.where for problem in problems] == [f"{file}: line 6"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "t.csv",
            "id,language\n1,de\n".encode("utf-16"),
            "is UTF-16, which some programs call Unicode; save it as CSV",
        ),
        (
            "t.jsonl",
            b'[{"id": "1"}]',
            "is one JSON list, not a row each line; put each of its objects on a line of its own",
        ),
        (
            "t.jsonl",
            b'{"id": "1", "language": "de", "context": "x", "question": "y", "answer": null}',
            "has no text named 'answer'; where the context holds none, it is \"\"",
        ),
    ],
)
def test_tables_that_are_none_say_what_to_do(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CorpusError, match=said):
        load_corpus(tmp_path / name)


def test_tables_search_answers_and_take_several(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(
        "id,language,context,question,answer,answer_start\n"
        "a,en,red and red,Which?,red,8\n"
        "a,en,red and red,Which?,red,0\n"
        "b,en,The door is red.,Who?,,\n"
        "c,en,The door is red.,What?,The door,\n",
        encoding="utf-8",
    )
    corpus = load_corpus(path)
    assert corpus.answers(Pair("a", "en", "en")) == (Answer("red", 8), Answer("red", 0))
    assert corpus.answers(Pair("b", "en", "en")) == ()
    assert corpus.answers(Pair("c", "en", "en")) == (Answer("The door", 0),)
    assert len(corpus.passages) == 2


@pytest.mark.parametrize("start", [8, 8.0, "8", "8.0", " 8 "])
def test_tables_take_offsets_and_ids_as_programs_write_them(start: Any, tmp_path: Path) -> None:
    row = {"id": "a", "language": "en", "context": "red and red", "question": "Which?", "answer": "red"}
    other = {**row, "id": " b ", "context": "red", "answer_start": float("nan")}
    lines = tmp_path / "t.jsonl"
    lines.write_text("\n".join(map(json.dumps, ({**row, "answer_start": start}, other))), encoding="utf-8")
    sheet = tmp_path / "t.csv"
    sheet.write_text(
        "id,language,context,question,answer,answer_start\n"
        f"a,en,red and red,Which?,red,{start}\n"
        " b ,en,red,Which?,red,\n",
        encoding="utf-8",
    )
    for path in (lines, sheet):
        corpus = load_corpus(path)
        assert corpus.answers(Pair("a", "en", "en")) == (Answer("red", 8),)
        assert corpus.answers(Pair("b", "en", "en")) == (Answer("red", 0),)


def test_tables_take_long_documents(tmp_path: Path) -> None:
    """The csv module alone stops at 131,072 characters a cell."""
    path = tmp_path / "t.csv"
    context = "word " * 40_000 + "end"
    path.write_text(f"id,language,context,question,answer\na,en,{context},Where?,end\n", encoding="utf-8")
    assert load_corpus(path).answers(Pair("a", "en", "en")) == (Answer("end", 200_000),)


def test_bad_records_are_passed_over_by_name_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(
        "id,language,context,question,answer\n"
        "a,en,The door is red.,What?,red\n"
        "b,en,The door is red.,What?,blue\n"
        "c,en,red red,What?,red\n"
        "d,en,The door is red.,,red\n"
        "e,en,The door is red.,What?,green\n",
        encoding="utf-8",
    )
    problems: list[Problem] = []
    assert list(load_corpus(path, on_bad="skip", problems=problems).seeds) == ["a"]
    assert [(problem.id, problem.kind) for problem in problems] == [
        ("b", "answer not in context"),
        ("c", "answer occurs twice"),
        ("d", "empty question"),
        ("e", "answer not in context"),
    ]
    assert problems[0].where == f"{path}: line 3"
    done = json.loads(polyspan("data", "check", path, "--json", code=1).stdout)
    assert done["problems"] == {"answer not in context": 2, "answer occurs twice": 1, "empty question": 1}
    assert len(done["bad_records"]) == 4
    assert done["seeds"] == 1


def hub_row(language: str, asked: str | None = None) -> dict[str, Any]:
    context, question, answer = TEXTS[language]
    question = TEXTS[asked or language][1]
    found = {"text": [answer], "answer_start": [context.index(answer)]}
    return {"id": "q1", "title": "", "context": context, "question": question, "answers": found}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Local folders, which `datasets` loads by the same call as sets on the hub."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    for language in TEXTS:
        for asked in TEXTS:
            folder = tmp_path / f"mlqa.{language}.{asked}"
            folder.mkdir()
            (folder / "test.jsonl").write_text(json.dumps(hub_row(language, asked)) + "\n", encoding="utf-8")
    return tmp_path


def test_hub_sets_go_the_same_way_after_reading(hub: Path) -> None:
    corpus = load_corpus(f"{hub}/mlqa.de.de:test", kind="hub", languages=["de"])
    assert rows_of(corpus) == [(Pair("q1", "de", "de"), TEXTS["de"][1], TEXTS["de"][0], (Answer("rot", 12),))]


def test_a_placeholder_reads_a_parallel_set(hub: Path, tmp_path: Path) -> None:
    expected = load_corpus(mlqa(tmp_path / "files"))
    views = load_corpus(f"{hub}/mlqa.{{context}}.{{question}}:test", kind="hub", languages=list(TEXTS))
    assert rows_of(views) == rows_of(expected)
    own = load_corpus(f"{hub}/mlqa.{{language}}.{{language}}:test", kind="hub", languages=list(TEXTS))
    assert rows_of(own) == rows_of(expected)


@pytest.mark.parametrize(
    ("address", "languages", "said"),
    [
        ("a/b", None, "name the split"),
        ("a/b/{language}:test", None, "name the languages"),
        ("a/b/{tongue}:test", ["en"], "placeholders are"),
        ("{hub}/nothing:test", None, "nothing"),
        ("{hub}/mlqa.en.en:train", None, "train"),
    ],
)
def test_hub_addresses_that_cannot_be_read(hub: Path, address: str, languages: list[str] | None, said: str) -> None:
    with pytest.raises(CorpusError, match=said) as caught:
        load_corpus(address.replace("{hub}", str(hub)), kind="hub", languages=languages)
    assert "\n" not in str(caught.value)


def test_hub_rows_that_are_no_questions_are_reported(hub: Path) -> None:
    row = {"id": "x", "context": "The door.", "question": "What?", "answers": {"text": ["door"], "answer_start": [9]}}
    folder = hub / "bad"
    folder.mkdir()
    (folder / "test.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    with pytest.raises(CorpusError, match=r"row 0, id 'x': answer 'door' is not at 9"):
        load_corpus(f"{folder}:test", kind="hub")
    (folder / "test.jsonl").write_text('{"text": "no question at all"}\n', encoding="utf-8")
    with pytest.raises(CorpusError, match=r"row 0.*not a question answering row"):
        load_corpus(f"{folder}:test", kind="hub")


@pytest.mark.parametrize("name", ["id", "context", "question", "answers", "text"])
def test_hub_rows_with_nulls_are_reported(name: str) -> None:
    row = hub_row("en")
    (row["answers"] if name == "text" else row)[name] = [None] if name == "text" else None
    problems = Problems("skip")
    assert not list(records_of_rows("set", [row], ("en", "en"), problems))
    assert [problem.where for problem in problems.found] == ["set: row 0"]


def test_a_title_may_be_null(tmp_path: Path) -> None:
    context = TEXTS["en"][0]
    path = tmp_path / "a.json"
    path.write_text(tree(context, qa("a", "What?", "red", context)).replace('"Doors"', "null"), encoding="utf-8")
    assert [passage.title for passage in load_corpus(path).passages.values()] == [""]
    (record,) = records_of_rows("set", [{**hub_row("en"), "title": None}], ("en", "en"), Problems())
    assert record.title == ""


@pytest.mark.parametrize(
    ("path", "kind", "questions", "languages"),
    [
        ("xquad", "xquad", 1190, 12),
        ("mlqa/dev", "mlqa", None, 7),
    ],
)
def test_real_sets(data_dir: Path, path: str, kind: Kind, questions: int | None, languages: int) -> None:
    place = data_dir / path
    assert guess_kind(place) == kind
    problems: list[Problem] = []
    corpus = load_corpus(place, on_bad="skip", problems=problems)
    assert not problems
    assert len(corpus.languages) >= languages - 1
    assert questions is None or len(corpus) == questions


def test_endings_may_be_in_capitals(tmp_path: Path) -> None:
    (tmp_path / "a.CSV").write_text("id,language,context,question,answer\na,en,The door is red.,What?,red\n", "utf-8")
    (tmp_path / "a.TSV").write_text(
        "id\tlanguage\tcontext\tquestion\tanswer\na\ten\tA door, red.\tWhat?\tred\n", "utf-8"
    )
    row = {"id": "a", "language": "en", "context": "The door is red.", "question": "What?", "answer": "red"}
    (tmp_path / "a.JSONL").write_text(json.dumps(row), "utf-8")
    qa = {"id": "a", "question": "What?", "answers": [{"text": "red", "answer_start": 12}]}
    tree = {"data": [{"paragraphs": [{"context": "The door is red.", "qas": [qa]}]}]}
    (tmp_path / "a.JSON").write_text(json.dumps(tree), "utf-8")
    for ending in ("CSV", "TSV", "JSONL", "JSON"):
        corpus = load_corpus(tmp_path / f"a.{ending}")
        assert [answer.text for answer in corpus.seeds["a"].answers["en"]] == ["red"]
