"""The leakage guard: made sets with each kind of leak, the real sets, and what a run does about it."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from polyspan.analysis.facts import leakage_lines
from polyspan.cli.main import app, run
from polyspan.corpus import Answer, CorpusError, ParallelCorpus, Passage, Seed, load_corpus
from polyspan.corpus.leakage import Leakage, _shingles, _tokens, find_leakage
from polyspan.corpus.load import Kind
from polyspan.experiments.leakage import Guard, LeakageError, check_evaluation, check_training
from polyspan.experiments.recipe import Evaluation, dump_recipe
from tiny_models import tiny_bert
from tiny_runs import recipe

WORDS = [f"word{number}" for number in range(60)]
TEXT = " ".join(WORDS)


def corpus(name: str, seeds: Iterable[tuple[str, str, str, str]]) -> ParallelCorpus:
    """Of (id, language, question, context)."""
    made: dict[str, Seed] = {}
    passages: dict[str, Passage] = {}
    for id_, language, question, context in seeds:
        passage = f"{name}-{len(passages)}"
        passages[passage] = Passage(passage, language, "", context)
        old = made.get(id_, Seed(id_, {}, {}, {}))
        made[id_] = Seed(
            id_,
            {**old.questions, language: question},
            {**old.passages, language: passage},
            {**old.answers, language: (Answer(context[:4], 0),)},
        )
    return ParallelCorpus(name, made, passages)


def counts(leakage: Leakage) -> tuple[int | None, ...]:
    found = leakage.counts()
    assert list(found) == ["ids", "passages", "near_passages", "parallel_questions"]
    return tuple(found.values())


def test_nothing_is_shared() -> None:
    leakage = find_leakage(
        corpus("train", [("1", "en", "Who?", TEXT)]), corpus("test", [("2", "en", "Who?", " ".join(reversed(WORDS)))])
    )
    assert counts(leakage) == (0, 0, 0, 0)
    assert not leakage
    assert str(leakage) == "test shares with train: nothing"


def test_same_question_same_passage() -> None:
    leakage = find_leakage(corpus("train", [("1", "en", "Who?", TEXT)]), corpus("test", [("1", "en", "Who?", TEXT)]))
    assert counts(leakage) == (1, 1, 0, 0)
    assert leakage
    assert leakage.to_dict()["examples"]["passages"] == [{"test": "test-0", "train": "train-0", "begins": TEXT[:60]}]


def test_case_punctuation_width_and_space_make_no_difference() -> None:
    changed = f"«{TEXT.upper().replace(' ', ' , ')}»\n".replace("WORD7", "ＷＯＲＤ7")
    assert counts(
        find_leakage(corpus("a", [("1", "en", "Who?", TEXT)]), corpus("b", [("1", "en", "who", changed)]))
    ) == (1, 1, 0, 0)


def test_translations_are_known_by_id_even_if_the_language_is_not_said() -> None:
    first, second, third = (f"{number:024x}" for number in range(3))
    train = corpus("train", [(first, "es", "¿Quién?", "Un texto."), (second, "es", "¿Dónde?", "Otro texto.")])
    for language in ("ru", "es"):
        test = corpus("test", [(first, language, "Кто?", "Текст."), (third, language, "Где?", "Другой.")])
        assert counts(find_leakage(train, test)) == (1, 0, 0, 1)
    both = corpus("test", [(first, "es", "¿Quién?", "Un texto."), (first, "ru", "Кто?", "Текст.")])
    assert counts(find_leakage(train, both)) == (1, 1, 0, 1)


def test_sets_that_number_their_questions_share_an_id_by_chance() -> None:
    train = corpus("train", [("1", "en", "Who opened the bridge?", "The bridge."), ("2", "en", "Why?", "Because.")])
    test = corpus("test", [("1", "en", "Where do whales sleep?", "In the sea."), ("2", "eu", "Zergatik?", "Zeren.")])
    assert counts(find_leakage(train, test)) == (1, 0, 0, 1), "the second may be a translation"
    typo = corpus("test", [("1", "en", "Who opened that bridge?", "A bridge.")])
    assert counts(find_leakage(train, typo)) == (1, 0, 0, 1)


def test_counted_ids_may_be_long_and_digests_need_no_words() -> None:
    for id_, expected in (("question-1", (0, 0, 0, 0)), ("56be4db0acb8001400a502ec", (1, 0, 0, 1))):
        train = corpus("train", [(id_, "en", "Who opened the bridge?", "The bridge.")])
        test = corpus("test", [(id_, "en", "Where do whales sleep?", "In the sea.")])
        assert counts(find_leakage(train, test)) == expected


def test_vowels_of_india_are_part_of_their_words() -> None:
    assert _tokens("हिन्दी भाषा की किताब।") == ["हिन्दी", "भाषा", "की", "किताब"]
    assert _tokens("தமிழ் மொழி") == ["தமிழ்", "மொழி"]
    assert _tokens("দুই বই") == ["দুই", "বই"]
    one, other = corpus("a", [("1", "hi", "?", "दिन")]), corpus("b", [("2", "hi", "?", "दान")])
    assert counts(find_leakage(one, other))[1] == 0, "day and gift are two words"


def test_texts_without_words_are_not_the_same() -> None:
    one, other = corpus("a", [("1", "en", "?", "!!! \u2603")]), corpus("b", [("2", "en", "?", "\u2014 \u2605")])
    assert counts(find_leakage(one, other)) == (0, 0, 0, 0)


def test_what_shipped_readers_have_seen_is_known_by_name(tmp_path: Path) -> None:
    asked = Evaluation(path="commons/test"), Evaluation(path=str(tmp_path / "XQuAD.csv"), kind="table")
    (tmp_path / "XQuAD.csv").write_text("id,language,context,question,answer\n1,en,A bridge.,What?,bridge\n")
    console, file = noted()
    check_evaluation("polyspan-small", asked[0], None, "fail", console)
    check_evaluation("polyspan-qa-en", asked[1], None, "fail", console)
    assert file.getvalue() == ""
    check_evaluation("polyspan-small", asked[1], tmp_path / "out", "warn", console)
    assert "polyspan-small was trained on questions of" in file.getvalue()
    written = json.loads((tmp_path / "out" / "leakage.json").read_text())
    assert [line["clean"] for line in leakage_lines(written)] == [False, None]
    with pytest.raises(LeakageError, match="polyspan-small was trained on questions of"):
        check_evaluation("polyspan-small", asked[1], None, "fail", console)


@pytest.mark.parametrize(
    ("model", "path", "kind", "seen"),
    [
        ("polyspan-qa-en", "data/squad/train-v1.1.json", "squad", True),
        ("polyspan-qa-en", "data/squad/dev-v1.1.json", "squad", False),
        ("polyspan-qa-en", "rajpurkar/squad:train", "hub", True),
        ("polyspan-qa-en", "rajpurkar/squad:validation", "hub", False),
        ("polyspan-small", "data/squad/dev-v1.1.json", "squad", True),  # XQuAD's questions are among its
        ("polyspan-small", "google/xquad/xquad.de:validation", "hub", True),
        ("polyspan-small", "xquad-study/data/mine/test.json", "squad", False),
        ("polyspan-small", "mlqa/dev", "mlqa", False),
    ],
)
def test_names_tell_which_part_of_a_set_was_seen(model: str, path: str, kind: Kind, seen: bool) -> None:
    guard = Guard(Evaluation(path=path, kind=kind), "warn", noted()[0], origins=[model])
    assert bool(guard.to_dict()["by_name"]) is seen


def test_a_hub_reader_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").write_text('{"architectures": ["XLMRobertaForQuestionAnswering"]}')
    monkeypatch.setattr("polyspan.experiments.leakage.model_folder", lambda name: tmp_path)
    with pytest.raises(LeakageError, match="what some/reader was trained on could not be compared"):
        check_evaluation("some/reader", Evaluation(path="commons/test"), None, "fail", noted()[0])


def test_vowel_marks_make_no_difference() -> None:
    words = [f"كتاب{number}" for number in range(40)]
    plain, marked = " ".join(words), " ".join(f"كِتَابٌ{number}" for number in range(40))
    assert counts(find_leakage(corpus("a", [("1", "ar", "؟", plain)]), corpus("b", [("2", "ar", "؟", marked)])))[1] == 1
    longer = f"{marked} آخِر"
    assert counts(find_leakage(corpus("a", [("1", "ar", "؟", plain)]), corpus("b", [("2", "ar", "؟", longer)])))[2] == 1


@pytest.mark.parametrize(("changed", "near"), [(1, 1), (3, 1), (12, 0)])
def test_near_copies_are_those_that_share_most_runs_of_three_words(changed: int, near: int) -> None:
    """Each changed word, far from the next, breaks three of 58 runs."""
    words = list(WORDS)
    for number in range(changed):
        words[2 + 4 * number] = "other"
    shared = 58 - 3 * changed
    assert (shared / (2 * 58 - shared) >= 0.7) == bool(near)
    leakage = find_leakage(
        corpus("a", [("1", "en", "Who?", TEXT)]), corpus("b", [("2", "en", "Who?", " ".join(words))])
    )
    assert counts(leakage) == (0, 0, near, 0)


def test_near_copies_in_a_script_without_spaces() -> None:
    text = "".join(chr(0x4E00 + 7 * number) for number in range(80))
    edited = text[:40] + "們" + text[41:]
    leakage = find_leakage(corpus("a", [("1", "zh", "誰", text)]), corpus("b", [("2", "zh", "誰", edited)]))
    assert counts(leakage) == (0, 0, 1, 0)


def test_near_copies_can_be_left_out_and_need_their_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    one = corpus("a", [("1", "en", "Who?", TEXT)])
    monkeypatch.setitem(sys.modules, "datasketch", None)
    assert counts(find_leakage(one, one, near=False)) == (1, 1, None, 0)
    with pytest.raises(CorpusError, match=r"polyspan\[leakage\]"):
        find_leakage(one, one)


def test_shipped_parts_share_nothing() -> None:
    parts = {name: load_corpus(f"commons/{name}") for name in ("train", "dev", "test")}
    for train, test in (("train", "dev"), ("train", "test"), ("dev", "test")):
        assert counts(find_leakage(parts[train], parts[test])) == (0, 0, 0, 0)


def command(*arguments: object) -> str:
    out, err = StringIO(), StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setenv("COLUMNS", "120")
        patch.setattr(sys, "argv", ["polyspan", "data", "leakage", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            run()
    assert not left.value.code, err.getvalue()
    return out.getvalue()


def test_command_in_json_and_as_a_table() -> None:
    arguments = ["--train", "commons/train", "--test", "commons/train"]
    printed = json.loads(command(*arguments, "--train-languages", "en", "--test-languages", "en,de", "--json"))
    seeds = len(load_corpus("commons/train"))
    assert (printed["ids"], printed["parallel_questions"], printed["questions"]) == (seeds, seeds, seeds)
    assert printed["passages"] == printed["test_passages"] / 2
    assert len(printed["examples"]["ids"]) == 5
    assert "questions with the same id" in command(*arguments)


def noted() -> tuple[Console, StringIO]:
    file = StringIO()
    return Console(file=file, width=300), file


def test_training_warns_fails_or_looks_away(tmp_path: Path) -> None:
    chosen = recipe(tmp_path, tmp_path / "run", evaluation={"path": "commons/train", "languages": ["en"]})
    train = load_corpus("commons/train").in_languages(["de"])
    console, file = noted()
    check_training(chosen, train, "warn", console)
    assert "questions that are known in another language; scores will be too good" in file.getvalue()
    written: dict[str, Any] = json.loads((tmp_path / "run" / "leakage.json").read_text())
    assert written["compared"][0]["ids"] == len(train)
    assert written["compared"][0]["passages"] == 0
    assert (written["policy"], written["origins"]) == ("warn", [str(tmp_path)])
    with pytest.raises(LeakageError, match="--leakage warn goes on"):
        check_training(chosen, train, "fail", console)
    (tmp_path / "run" / "leakage.json").unlink()
    check_training(chosen, train, "ignore", console)
    assert not (tmp_path / "run" / "leakage.json").exists()
    with pytest.raises(LeakageError, match="fail, warn, ignore, not 'stop'"):
        check_training(chosen, train, "stop", console)


def test_clean_training_says_nothing(tmp_path: Path) -> None:
    chosen = recipe(tmp_path, tmp_path / "run", evaluation={"path": "commons/test"})
    console, file = noted()
    check_training(chosen, load_corpus("commons/train"), "fail", console)
    assert file.getvalue() == ""
    assert json.loads((tmp_path / "run" / "leakage.json").read_text())["compared"][0]["ids"] == 0


def test_evaluation_goes_back_through_the_runs_a_model_comes_from(tmp_path: Path) -> None:
    """Phase 1 saw the test set in English, phase 2 did not."""
    for name, start, path in (
        ("first", "some/encoder", "commons/test"),
        ("second", tmp_path / "first" / "model", "commons/train"),
    ):
        folder = tmp_path / name
        (folder / "model").mkdir(parents=True)
        changed = recipe(
            Path(start), folder, data={"path": path, "languages": ["en"], "target_languages": 0, "seeds": None}
        )
        (folder / "recipe.yaml").write_text(dump_recipe(changed))
    console, file = noted()
    evaluation = Evaluation(path="commons/test", languages=["de"])
    check_evaluation(str(tmp_path / "second" / "model"), evaluation, tmp_path / "out", "warn", console)
    written = json.loads((tmp_path / "out" / "leakage.json").read_text())
    assert [found["ids"] for found in written["compared"]] == [0, len(load_corpus("commons/test"))]
    assert written["origins"] == ["some/encoder"]
    assert file.getvalue().count("\n") == 1
    with pytest.raises(LeakageError, match="known in another language"):
        check_evaluation(str(tmp_path / "second" / "model"), evaluation, None, "fail", console)


def test_training_data_that_is_gone_is_said(tmp_path: Path) -> None:
    (tmp_path / "run" / "model").mkdir(parents=True)
    changed = recipe(Path("x"), tmp_path / "run", data={"path": str(tmp_path / "gone.json")})
    (tmp_path / "run" / "recipe.yaml").write_text(dump_recipe(changed))
    asked = str(tmp_path / "run" / "model"), Evaluation(path="commons/test"), None
    console, file = noted()
    check_evaluation(*asked, "warn", console)
    assert "not compared with the training data of" in file.getvalue()
    assert "gone.json: no such file" in file.getvalue()
    with pytest.raises(LeakageError, match=f"what {asked[0]} was trained on could not be compared"):
        check_evaluation(*asked, "fail", console)
    text = (tmp_path / "run" / "recipe.yaml").read_text()
    (tmp_path / "run" / "recipe.yaml").write_text(f"{text}of_another_version: true\n")
    console, file = noted()
    check_evaluation(*asked, "warn", console)
    assert "unknown key 'of_another_version'" in file.getvalue()


def test_paths_of_a_recipe_count_from_where_its_run_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    table = "id,language,context,question,answer\n1,en,Anna came.,Who came?,Anna\n"
    (tmp_path / "mine.csv").write_text(table)
    for name, start in (("first", "some/encoder"), ("second", "runs/first/model")):
        (tmp_path / "runs" / name / "model").mkdir(parents=True)
        data = {"path": "mine.csv" if name == "first" else "commons/train"}
        (tmp_path / "runs" / name / "recipe.yaml").write_text(
            dump_recipe(recipe(Path(start), Path("runs") / name, data=data))
        )
    elsewhere = tmp_path / "else" / "where"
    elsewhere.mkdir(parents=True)
    monkeypatch.chdir(elsewhere)
    model, evaluation = "../../runs/second/model", Evaluation(path=str(tmp_path / "mine.csv"))
    with pytest.raises(LeakageError, match="1 questions with the same id, 1 passages that are the same"):
        check_evaluation(model, evaluation, None, "fail", noted()[0])


def test_what_an_average_was_trained_on_is_that_of_its_models(tmp_path: Path) -> None:
    runs = []
    for name, path in (("one", "commons/test"), ("two", "commons/dev")):
        folder = tmp_path / name
        tiny_bert(folder / "model")
        made = recipe(Path("some/encoder"), folder, data={"path": path, "seeds": None, "target_languages": 0})
        (folder / "recipe.yaml").write_text(dump_recipe(made))
        runs.append(str(folder / "model"))
    shutil.copyfile(tmp_path / "one/model/tokenizer.json", tmp_path / "two/model/tokenizer.json")
    mean = tmp_path / "mean"
    assert CliRunner().invoke(app, ["average", *runs, "--output", str(mean)]).exit_code == 0
    console, _ = noted()
    check_evaluation(str(mean), Evaluation(path="commons/test"), tmp_path / "out", "warn", console)
    written = json.loads((tmp_path / "out" / "leakage.json").read_text())
    assert [found["ids"] for found in written["compared"]] == [len(load_corpus("commons/test")), 0]
    assert written["origins"] == ["some/encoder"]
    lone = tiny_bert(tmp_path / "lone")
    check_evaluation(str(lone), Evaluation(path="commons/test"), None, "warn", console)
    with pytest.raises(LeakageError, match=f"what {lone} was trained on could not be compared"):
        check_evaluation(str(lone), Evaluation(path="commons/test"), None, "fail", console)


def test_xquad_is_found_in_squad_dev(data_dir: Path) -> None:
    squad = load_corpus(data_dir / "squad" / "dev-v1.1.json")
    xquad = load_corpus(data_dir / "xquad", languages=["en", "de"])
    leakage = find_leakage(squad, xquad)
    # Plain equality of strings finds the same: all 240 English passages.
    texts = {passage.text for passage in squad.passages.values()}
    assert sum(passage.text in texts for passage in xquad.passages.values()) == 240
    assert counts(leakage) == (0, 240, 0, 0)


def test_xquad_ru_is_found_when_training_on_es(data_dir: Path) -> None:
    es, ru = (load_corpus(data_dir / "xquad" / f"xquad.{language}.json") for language in ("es", "ru"))
    assert counts(find_leakage(es, ru)) == (1190, 0, 0, 1190)


def test_mlqa_dev_is_not_in_squad_train_but_for_two_near_copies(data_dir: Path) -> None:
    """Every pair of English passages is compared in full, which MinHash is to give without doing it."""
    squad = load_corpus(data_dir / "squad" / "train-v1.1.json")
    mlqa = load_corpus(data_dir / "mlqa" / "dev", languages=["en"])
    leakage = find_leakage(squad, mlqa)
    assert (leakage.counts()["ids"], leakage.counts()["passages"]) == (0, 0)
    owners: dict[bytes, list[str]] = {}
    sizes = {}
    for id_, passage in mlqa.passages.items():
        shingles = _shingles(_tokens(passage.text))
        sizes[id_] = len(shingles)
        for shingle in shingles:
            owners.setdefault(shingle, []).append(id_)
    near = set()
    for passage in squad.passages.values():
        shingles = _shingles(_tokens(passage.text))
        shared: dict[str, int] = {}
        for shingle in shingles:
            for id_ in owners.get(shingle, ()):
                shared[id_] = shared.get(id_, 0) + 1
        near |= {id_ for id_, n in shared.items() if n / (len(shingles) + sizes[id_] - n) >= 0.7}
    assert leakage.near_passages is not None
    assert {found.test for found in leakage.near_passages} == near
    assert len(near) == 2
