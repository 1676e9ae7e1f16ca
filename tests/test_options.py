"""Options of the trainer beyond the paper, each against a plain computation of its own."""

from __future__ import annotations

import copy
import math
import re
import shutil
from collections import Counter
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from rich.console import Console

from polyspan.corpus import CorpusError, Pair, load_corpus, sample_pairs
from polyspan.encoding import make_windows, tokenise_corpus
from polyspan.encoding.crops import crop
from polyspan.encoding.windows import Windows, build_batch
from polyspan.experiments.leakage import model_history
from polyspan.experiments.prepare import Prepared, PrepareError, prepare
from polyspan.experiments.recipe import Data, Recipe, dump_recipe, load_recipe
from polyspan.experiments.run import read_metrics, run_recipe
from polyspan.experiments.set_up import RunError, make_trainer
from polyspan.models import LoadedModel, load_model
from polyspan.training.parallel import ParallelTeacher, TeacherQuestion, teacher_pairs
from polyspan.training.progress import ReadingLines
from tiny_models import tiny_bert, tiny_unigram
from tiny_runs import digest, quiet, recipe


@pytest.fixture(scope="module", params=[tiny_bert, tiny_unigram], ids=["wordpiece", "unigram"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = request.param(tmp_path_factory.mktemp("model") / "tiny")
    return folder


@pytest.fixture(scope="module")
def loaded(model: Path) -> LoadedModel:
    return load_model(str(model))


PAIRS = [Pair("a", "de", "en"), Pair("a", "en", "en"), Pair("a", "de", "de"), Pair("a", "en", "de")]


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("same", PAIRS),
        ("ensemble", PAIRS),
        ("context", [Pair("a", "en", "en"), Pair("a", "de", "de")]),
        ("source", [Pair("a", "en", "en"), Pair("a", "en", "de")]),
    ],
)
def test_the_teacher_is_asked_each_question_once(question: TeacherQuestion, expected: list[Pair]) -> None:
    assert teacher_pairs([*PAIRS, *PAIRS], question, "en") == expected


def two_windows_each(loaded: LoadedModel) -> tuple[Any, list[Pair]]:
    corpus = load_corpus("commons/train").in_languages(["en", "de", "ar"])
    corpus = corpus.subset(list(corpus.seeds)[:2])
    pairs = list(sample_pairs(corpus, 2, seed=1))
    return tokenise_corpus(corpus, pairs, loaded.tokenizer), pairs


def plain_reading(
    model: Any, windows: Windows, pair: Pair
) -> tuple[list[list[float]], list[tuple[int, int, list[float]]]]:
    """Start and end logit of each token where it stands furthest from an edge, and the windows' own."""
    total = len(windows.passage(pair).ids)
    best: list[tuple[float, list[float]]] = [(-1.0, [])] * total
    firsts = []
    for index in range(len(windows)):
        if windows.pairs[windows.pair_index[index]] != pair:
            continue
        batch = build_batch(windows, [index])
        with torch.inference_mode():
            output = model(**batch.inputs)
        begin, end = int(windows.begin[index]), int(windows.end[index])
        heads = []
        for logits in (output.start_logits[0].tolist(), output.end_logits[0].tolist()):
            heads.append(
                [logits[0], *(value for value, kept in zip(logits, batch.context_mask[0], strict=True) if kept)]
            )
        firsts.append((begin, end, [head[0] for head in heads]))
        for at in range(begin, end):
            left = at - begin if begin > 0 else total
            right = end - 1 - at if end < total else total
            if min(left, right) > best[at][0]:
                best[at] = (min(left, right), [head[1 + at - begin] for head in heads])
    return [said for _, said in best], firsts


@pytest.mark.parametrize("question", ["context", "source", "ensemble"])
def test_logits_of_the_other_questions_by_context_token(loaded: LoadedModel, question: TeacherQuestion) -> None:
    tokenised, pairs = two_windows_each(loaded)
    students = make_windows(tokenised, pairs, max_length=90, overlap=20)
    asked = teacher_pairs(pairs, question, "en")
    teachers = make_windows(tokenised, asked, max_length=120, overlap=40, labelled=False)
    assert len(teachers) > len(asked), "a context in several windows is the point of this test"
    teacher = ParallelTeacher(teachers, students)
    teacher.read(loaded.model, generation=3, batch_tokens=500)
    assert teacher.generation == 3
    for index in range(0, len(students), 7):
        pair = students.pairs[students.pair_index[index]]
        batch = build_batch(students, [index])
        starts, ends = teacher.logits([index], batch.inputs["input_ids"].shape[1])
        begin, end = int(students.begin[index]), int(students.end[index])
        group = [other for other in asked if (other.id, other.context_language) == (pair.id, pair.context_language)]
        assert len(group) == (3 if question == "ensemble" else 1)
        readings = [plain_reading(loaded.model, teachers, other) for other in group]
        for head, found in enumerate((starts, ends)):
            tokens = found[0][batch.context_mask[0]].tolist()
            expected = [sum(said[at][head] for said, _ in readings) / len(group) for at in range(begin, end)]
            assert tokens == pytest.approx(expected, abs=1e-4)
            nearest = [max(firsts, key=lambda w: min(w[1], end) - max(w[0], begin)) for _, firsts in readings]
            assert float(found[0, 0]) == pytest.approx(sum(w[2][head] for w in nearest) / len(group), abs=1e-4)


def test_a_long_reading_says_how_far_it_is(loaded: LoadedModel) -> None:
    tokenised, pairs = two_windows_each(loaded)
    windows = make_windows(tokenised, pairs)
    said = StringIO()
    lines = ReadingLines(Console(file=said, width=200), every=0.0)
    ParallelTeacher(windows, windows, lines).read(loaded.model, 0, batch_tokens=1500)
    first, second, *_ = said.getvalue().splitlines()
    total = int(windows.lengths().sum())
    assert first == f"the teacher reads {total:,} tokens"
    assert re.fullmatch(rf"the teacher has read \d+% of {total:,} tokens, 0\.\d min left", second)


def test_a_teacher_asked_the_same_question_alone_says_what_the_plain_teacher_says(loaded: LoadedModel) -> None:
    tokenised, pairs = two_windows_each(loaded)
    diagonal = [pair for pair in pairs if pair.question_language == pair.context_language]
    windows = make_windows(tokenised, [pair for pair in diagonal if pair.context_language == "en"], max_length=512)
    assert len(windows) == len(windows.pairs), "a token that stands in two windows has the better one's"
    teacher = ParallelTeacher(windows, windows)
    teacher.read(loaded.model, 0)
    batch = build_batch(windows, [0])
    with torch.inference_mode():
        plain = loaded.model(**batch.inputs).start_logits[0][batch.context_mask[0]].softmax(0)
    starts, _ = teacher.logits([0], batch.inputs["input_ids"].shape[1])
    torch.testing.assert_close(starts[0][batch.context_mask[0]].softmax(0), plain, atol=1e-5, rtol=1e-4)


def test_crops_hold_the_answer_and_lie_anywhere(loaded: LoadedModel) -> None:
    corpus = load_corpus("commons/train")
    pairs = list(sample_pairs(corpus, 3, seed=1))
    tokenised = tokenise_corpus(corpus, pairs, loaded.tokenizer)
    whole = make_windows(tokenised, pairs)
    cut = crop(whole, 40, seed=5)
    assert len(cut) == len(pairs) - sum(whole.lost.values())
    assert len(set(cut.pair_index.tolist())) == len(cut)
    places = []
    for index in range(len(cut)):
        pair = pairs[cut.pair_index[index]]
        begin, end = int(cut.begin[index]), int(cut.end[index])
        text = cut.passage(pair)
        first = cut.context_position(pair)
        start, last = (int(gold) - first + begin for gold in (cut.gold_start[index], cut.gold_end[index]))
        assert 0 <= begin <= start <= last < end <= len(text.ids)
        assert end - begin <= max(40, last + 1 - start)
        answer = corpus.answers(pair)[0]
        assert text.offsets[start, 0] <= answer.start < text.offsets[start, 1]
        assert text.offsets[last, 0] < answer.end <= text.offsets[last, 1]
        if last + 1 - start < 5 and 40 <= start < len(text.ids) - 45:
            places.append((start - begin) / (40 - (last + 1 - start)))
    assert min(places) < 0.15
    assert max(places) > 0.85
    assert sum(places) / len(places) == pytest.approx(0.5, abs=0.1)
    assert (crop(whole, 40, seed=5).begin == cut.begin).all()
    assert (crop(whole, 40, seed=6).begin != cut.begin).any()


def test_a_question_without_an_answer_keeps_a_stretch_and_moves_no_other(loaded: LoadedModel) -> None:
    corpus = load_corpus("commons/train", languages=["en", "de"])
    bare = list(corpus.seeds)[::3]
    seeds = {
        id: replace(seed, answers=dict.fromkeys(seed.answers, ())) if id in bare else seed
        for id, seed in corpus.seeds.items()
    }
    mixed = replace(corpus, seeds=seeds)
    pairs = list(mixed.pairs())
    cut = crop(make_windows(tokenise_corpus(mixed, pairs, loaded.tokenizer), pairs), 40, seed=5)
    assert cut.pair_index.tolist() == list(range(len(pairs)))
    places = []
    for index, pair in enumerate(pairs):
        if pair.id in bare:
            assert cut.gold_start[index] == cut.gold_end[index] == 0
            room = len(cut.passage(pair).ids) - 40
            assert cut.end[index] - cut.begin[index] == 40
            places.append(int(cut.begin[index]) / room)
    assert 0 <= min(places) < 0.15
    assert 0.85 < max(places) <= 1
    answered = [pair for pair in pairs if pair.id not in bare]
    alone = crop(make_windows(tokenise_corpus(mixed, answered, loaded.tokenizer), answered), 40, seed=5)
    kept = [index for index, pair in enumerate(pairs) if pair.id not in bare]
    for column in ("begin", "end", "gold_start", "gold_end"):
        assert (getattr(cut, column)[kept] == getattr(alone, column)).all()


def test_replayed_questions_stand_beside_the_sample(tmp_path: Path) -> None:
    table = tmp_path / "more.csv"
    rows = ["id,language,context,question,answer,answer_start"]
    rows += [f"r{n},en,The tower has {n} steps.,How many steps has it?,{n},14" for n in range(6)]
    plain = prepare(Data(path="commons/train", target_languages=1), seed=2)
    rows.append("r6,en,A tower by a tower.,What stands by it?,tower,2")
    table.write_text("\n".join(rows) + "\n", encoding="utf-8")
    replay = {"path": str(table), "kind": "table", "seeds": 4, "certain_answers": True}
    both = prepare(Data.model_validate({"path": "commons/train", "target_languages": 1, "replay": replay}), seed=2)
    left_out = {"replay: answer stands elsewhere too": 1, "replay: beyond the number of seeds": 2}
    assert both.dropped == plain.dropped | left_out
    assert list(both.pairs)[: len(plain.pairs)] == list(plain.pairs)
    added = list(both.pairs)[len(plain.pairs) :]
    assert len({pair.id for pair in added}) == len(added) == 4
    for pair in added:
        assert both.corpus.context(pair) == f"The tower has {both.corpus.answers(pair)[0].text} steps."
    for pair in plain.pairs:
        assert both.corpus.context(pair) == plain.corpus.context(pair)
    with pytest.raises(CorpusError, match="both have a question with id"):
        plain.corpus.joined(plain.corpus)


def test_questions_without_a_text_in_the_source_language_are_named_or_passed_over(tmp_path: Path) -> None:
    table = tmp_path / "mine.csv"
    rows = ["id,language,context,question,answer"]
    rows += [f"{n},{code},It is {n}.,What is it?,{n}" for n, code in ((1, "en"), (1, "eu"), (2, "eu"), (3, "en"))]
    table.write_text("\n".join(rows), encoding="utf-8")
    chosen = Data(path=str(table), target_languages=1)
    said = r"1 of 3 questions have no text in 'en', the first is '2'; .*data.on_bad: skip.*data.sampling: diagonal"
    with pytest.raises(PrepareError, match=said):
        prepare(chosen, 1)
    skipped = prepare(chosen.model_copy(update={"on_bad": "skip"}), 1)
    assert skipped.dropped == {"no text in the source language": 1}
    assert len(skipped.pairs) == 4 + 1
    assert len(prepare(chosen.model_copy(update={"sampling": "diagonal"}), 1).pairs) == 4


ALL = {"data": {"crop": 60}, "objective": {"teacher_question": "ensemble", "level": "example"}}


def test_twice_the_same_and_on_from_a_kill(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "ab":
        run_recipe(recipe(model, tmp_path / name, **ALL), quiet())
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
    reads: list[int] = []
    read = ParallelTeacher.read

    def dies(self: ParallelTeacher, teacher: Any, generation: int, *rest: Any) -> None:
        reads.append(generation)
        if len(reads) == 2:
            raise KeyboardInterrupt
        read(self, teacher, generation, *rest)

    monkeypatch.setattr(ParallelTeacher, "read", dies)
    with pytest.raises(KeyboardInterrupt):
        run_recipe(recipe(model, tmp_path / "c", **ALL), quiet())
    run_recipe(recipe(model, tmp_path / "c", **ALL), quiet())
    assert reads[:2] == [0, 1]
    assert reads[2:], "the run did not go on"
    assert digest(tmp_path / "c") == digest(tmp_path / "a")
    assert read_metrics(tmp_path / "c") == read_metrics(tmp_path / "a")


def test_the_first_divergence_is_zero_for_questions_asked_alike_only(model: Path, tmp_path: Path) -> None:
    fp32 = {"precision": "fp32"}
    data = {"sampling": "diagonal", "languages": ["zh"], "source_language": "zh", "max_length": 512}
    run_recipe(
        recipe(model, tmp_path / "a", data=data, training=fp32, objective={"teacher_question": "context"}), quiet()
    )
    assert read_metrics(tmp_path / "a")[0]["kl"] == pytest.approx(0, abs=1e-5)
    run_recipe(recipe(model, tmp_path / "b", training=fp32, objective={"teacher_question": "ensemble"}), quiet())
    assert read_metrics(tmp_path / "b")[0]["kl"] > 1e-4


@pytest.mark.parametrize(
    ("key", "value", "message"), [("teacher", "ema", "every step"), ("mask", "none", "context tokens")]
)
def test_what_cannot_go_together_is_refused(key: str, value: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=message):
        recipe(tmp_path, tmp_path, objective={"teacher_question": "ensemble", key: value})


def test_what_the_teacher_reads_must_fit_into_the_model_too(loaded: LoadedModel, tmp_path: Path) -> None:
    corpus = load_corpus("commons/train", languages=["en", "zh"])

    def tokens(pair: Pair) -> int:
        return int(make_windows(tokenise_corpus(corpus, [pair], loaded.tokenizer), [pair], 512).lengths().max())

    pairs = [
        next(Pair(id, "zh", "en") for id in corpus.seeds if tokens(Pair(id, "zh", "en")) < tokens(Pair(id, "en", "en")))
    ]
    tokenizer = copy.deepcopy(loaded.tokenizer)
    tokenizer.model_max_length = tokens(pairs[0])
    made = recipe(tmp_path, tmp_path, data={"max_length": 512}, objective={"teacher_question": "context"})
    most = tokens(pairs[0]) // 8 * 8
    with pytest.raises(RunError, match=rf"data.max_length: 512, but .* no more than {most} tokens at once"):
        make_trainer(made, copy.deepcopy(loaded.model), tokenizer, Prepared(corpus, pairs, {}, []), quiet())


def test_thinning_keeps_some_pairs_of_every_seed_and_leans_to_none() -> None:
    whole = prepare(Data(path="commons/train", target_languages=6), seed=5)
    thin = prepare(Data(path="commons/train", target_languages=6, pairs_per_seed=4), seed=5)
    again = prepare(Data(path="commons/train", target_languages=6, pairs_per_seed=4), seed=5)
    other = prepare(Data(path="commons/train", target_languages=6, pairs_per_seed=4), seed=6)
    assert list(thin.pairs) == list(again.pairs) != list(other.pairs)
    assert len(thin.pairs) == 4 * len(thin.corpus) == 4 * len(whole.corpus)
    assert Counter(pair.id for pair in thin.pairs) == dict.fromkeys(thin.corpus.seeds, 4)
    kept = set(thin.pairs)
    assert [pair for pair in whole.pairs if pair in kept] == list(thin.pairs)
    diagonal = [pair.question_language == pair.context_language for pair in thin.pairs]
    # 1 of 7 is expected; the bounds are four standard errors away.
    assert abs(sum(diagonal) / len(diagonal) - 1 / 7) < 4 * math.sqrt(6 / 49 / len(diagonal))
    few = prepare(Data(path="commons/train", target_languages=1, pairs_per_seed=9), seed=5)
    assert len(few.pairs) == 4 * len(few.corpus)


@pytest.mark.parametrize(("key", "value"), [("coefficient", "ap"), ("teacher", "recall"), ("temperature", 4)])
def test_what_does_nothing_without_a_teacher_is_refused(key: str, value: object, tmp_path: Path) -> None:
    tree = {"run_dir": tmp_path, "data": {"path": "commons/train"}, "objective": {key: value}}
    with pytest.raises(ValidationError, match=f"{key} does nothing without a teacher; set alpha_kl"):
        Recipe.model_validate(tree)
    Recipe.model_validate(tree | {"objective": {key: value, "alpha_kl": 0}})  # said, so meant


def test_settings_keep_what_is_quoted_and_read_powers_of_ten(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("run_dir: runs/x\ndata: {path: commons/train}\n", encoding="utf-8")
    quoted = ["run_dir='2024'", 'data.path="1e5"', "data.source_language=nan", "training.learning_rate=3e-5"]
    read = load_recipe(file, quoted)
    assert (str(read.run_dir), read.data.path, read.data.source_language) == ("2024", "1e5", "nan")
    assert read.training.learning_rate == 3e-5


def test_a_recipe_beside_an_encoder_is_not_what_it_was_trained_with(model: Path, tmp_path: Path) -> None:
    for name, expected in (("encoder", []), ("model", [str(model)])):
        folder = tmp_path / name
        shutil.copytree(model, folder)
        (tmp_path / "recipe.yaml").write_text(dump_recipe(recipe(model, tmp_path)), encoding="utf-8")
        assert [trained.model for _, trained in model_history(str(folder))] == expected
