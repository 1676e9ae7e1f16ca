"""Runs: the same bytes twice, teachers in their generations, batches, what is frozen."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from accelerate.data_loader import DataLoaderShard
from accelerate.state import AcceleratorState
from transformers import (
    AlbertConfig,
    AlbertForQuestionAnswering,
    AutoModelForQuestionAnswering,
    BartConfig,
    BartForQuestionAnswering,
    DistilBertConfig,
    DistilBertForQuestionAnswering,
    TrainerState,
    TrainingArguments,
)

from polyspan.corpus import load_corpus
from polyspan.evaluation import ScoringError
from polyspan.experiments.evaluate import is_evaluated
from polyspan.experiments.prepare import Prepared, PrepareError, prepare
from polyspan.experiments.recipe import Data, Evaluation, Replay, Training
from polyspan.experiments.run import read_metrics, run_recipe
from polyspan.experiments.set_up import RunError, check_layers, freeze, make_trainer
from polyspan.models import load_model
from polyspan.training.batches import EpochBatches
from polyspan.training.progress import ProgressBar
from polyspan.training.teacher import Teacher, TeacherGenerations
from polyspan.training.trainer import DivergedError
from tiny_models import tiny_bert, tiny_unigram
from tiny_runs import digest, quiet, recipe

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("build", [tiny_bert, tiny_unigram])
def test_twice_the_same_recipe_gives_the_same_bytes(build: Callable[[Path], Path], tmp_path: Path) -> None:
    model = build(tmp_path / "tiny")
    for name in "ab":
        run_recipe(recipe(model, tmp_path / name), quiet())
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
    assert (tmp_path / "a/metrics.jsonl").read_bytes() == (tmp_path / "b/metrics.jsonl").read_bytes()
    run_recipe(recipe(model, tmp_path / "c", seed=4), quiet())
    assert digest(tmp_path / "c") != digest(tmp_path / "a")


def test_a_finished_run_is_not_trained_again_and_another_recipe_is_refused(model: Path, tmp_path: Path) -> None:
    run_recipe(recipe(model, tmp_path), quiet())
    before = (tmp_path / "model/model.safetensors").stat().st_mtime_ns
    run_recipe(recipe(model, tmp_path), quiet())
    assert (tmp_path / "model/model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(RunError, match="another recipe"):
        run_recipe(recipe(model, tmp_path, seed=9), quiet())
    (tmp_path / "checkpoints/checkpoint-2").mkdir(parents=True)  # as where it was killed while it deleted them
    run_recipe(recipe(model, tmp_path), quiet())
    assert not (tmp_path / "checkpoints").exists()
    (tmp_path / "recipe.yaml").unlink()
    with pytest.raises(RunError, match=r"holds a model, and no recipe\.yaml says how it was made"):
        run_recipe(recipe(model, tmp_path), quiet())


def test_a_finished_run_is_not_evaluated_again(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {"path": "commons/test", "languages": ["en", "de"], "limit": 1}
    first = run_recipe(recipe(model, tmp_path, evaluation=asked), quiet())
    assert first.matrix is not None
    with monkeypatch.context() as patch:
        patch.setattr("polyspan.experiments.run.evaluate_model", Mock(side_effect=AssertionError))
        again = run_recipe(recipe(model, tmp_path, evaluation=asked), quiet())
    assert again.matrix is not None
    assert again.matrix.to_dict() == first.matrix.to_dict()  # percent, rounded as it is written
    with monkeypatch.context() as patch:  # as where other data lie there now
        patch.setattr("polyspan.experiments.evaluate.load_corpus", lambda *_, **__: load_corpus("commons/dev"))
        assert not is_evaluated(tmp_path, None, Evaluation(**asked))
    (tmp_path / "predictions.jsonl").unlink()  # as where it was killed while it evaluated
    run_recipe(recipe(model, tmp_path, evaluation=asked), quiet())
    assert (tmp_path / "predictions.jsonl").is_file()
    (tmp_path / "scores.json").write_text("{", encoding="utf-8")
    with pytest.raises(ScoringError, match=r"scores.json: cannot be read .* delete predictions.jsonl beside it"):
        run_recipe(recipe(model, tmp_path, evaluation=asked), quiet())


def test_the_time_is_written_before_the_model(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run with a model is not trained again, so nothing that is written after it would be written later."""

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("polyspan.models.load.save_model", killed)
    with pytest.raises(KeyboardInterrupt):
        run_recipe(recipe(model, tmp_path, training={"epochs": 1}), quiet())
    assert (tmp_path / "timing.json").is_file()


def test_without_windows_nothing_is_trained(model: Path, tmp_path: Path) -> None:
    loaded, made = load_model(str(model)), recipe(model, tmp_path)
    corpus = prepare(made.data, made.seed).corpus
    with pytest.raises(RunError, match=r"data: no window is left of 0 pairs, 0 of which have"):
        make_trainer(made, loaded.model, loaded.tokenizer, Prepared(corpus, [], {}, []), quiet())
    assert not (tmp_path / "data.json").exists()


def test_the_recipe_chooses_the_precision_and_not_the_launcher(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fp32 = {"precision": "fp32", "epochs": 1}
    run_recipe(recipe(model, tmp_path / "usual", training=fp32), quiet())
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    AcceleratorState._reset_state(reset_partial_state=True)
    run_recipe(recipe(model, tmp_path / "launched", training=fp32), quiet())
    assert digest(tmp_path / "launched") == digest(tmp_path / "usual")


def test_half_precision_without_a_gpu_is_refused(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.accelerator.is_available", lambda: False)
    with pytest.raises(RunError, match=r"training.precision: fp16 needs a GPU; use auto"):
        run_recipe(recipe(model, tmp_path, training={"precision": "fp16"}), quiet())


def test_without_a_terminal_a_line_comes_each_minute_and_each_twentieth(monkeypatch: pytest.MonkeyPatch) -> None:
    """A training of hours says soon that it goes on, and how long it will."""
    clock = [0.0]
    monkeypatch.setattr("polyspan.training.progress.time.monotonic", lambda: clock[0])
    console = quiet()
    bar = ProgressBar(Mock(last_losses=None), console)
    state, rest = TrainerState(max_steps=1000), (Mock(), Mock())
    bar.on_train_begin(rest[0], state, rest[1])
    for state.global_step in range(1, 61):
        clock[0] += 7.0
        bar.on_step_end(rest[0], state, rest[1])
    bar.on_train_end(rest[0], state, rest[1])
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert [int(line.split("/")[0].removeprefix("step ")) for line in lines] == [9, 18, 27, 36, 45, 50, 59]
    assert all("min left" in line for line in lines)


def test_divergence_is_zero_in_the_first_step_and_the_log_is_whole(model: Path, tmp_path: Path) -> None:
    run_recipe(recipe(model, tmp_path, training={"layer_decay": 0.5}), quiet())
    first, *rest = read_metrics(tmp_path)
    assert first["kl"] == pytest.approx(0, abs=1e-5)
    assert max(row["kl"] for row in rest) > 1e-6
    assert [row["step"] for row in (first, *rest)] == list(range(1, len(rest) + 2))
    assert all(0 <= row["coefficient"] <= 1 for row in rest)
    assert first["learning_rate"] == pytest.approx(1e-3)  # the head's, that of the step itself
    assert rest[-1]["learning_rate"] == pytest.approx(1e-3 / (len(rest) + 1))
    data = json.loads((tmp_path / "data.json").read_text(encoding="utf-8"))
    assert data["seeds"] == 3
    assert data["pairs"] == 3 * 3 * 3


def test_a_training_that_diverges_ends_with_an_error_and_without_a_model(model: Path, tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match=r"the loss of step \d+ is not a number.*lower training\.learning_rate"):
        run_recipe(recipe(model, tmp_path, training={"learning_rate": 1e30}), quiet())
    assert not (tmp_path / "model").exists()


def test_frozen_parts_stay_and_the_rest_moves(model: Path, tmp_path: Path) -> None:
    run_recipe(recipe(model, tmp_path), quiet())
    before, after = (load_model(str(place)).model.state_dict() for place in (model, tmp_path / "model"))
    for name, value in before.items():
        frozen = "embeddings" in name or "layer.0." in name
        # The key bias shifts all scores of a query alike, so its gradient is rounding only.
        if "key.bias" not in name:
            assert torch.equal(value, after[name]) == frozen, name
    with pytest.raises(RunError, match=r"training.frozen_layers: 3, but the model has 2 layers"):
        run_recipe(recipe(model, tmp_path / "more", training={"frozen_layers": 3}), quiet())


def test_windows_longer_than_the_model_reads_are_refused(tmp_path: Path) -> None:
    model = tiny_bert(tmp_path / "tiny")
    settings = json.loads((model / "tokenizer_config.json").read_text(encoding="utf-8"))
    (model / "tokenizer_config.json").write_text(json.dumps({**settings, "model_max_length": 48}), encoding="utf-8")
    with pytest.raises(RunError, match=r"data.max_length: 384, but .* reads no more than 48 tokens"):
        run_recipe(recipe(model, tmp_path / "a"), quiet())
    run_recipe(recipe(model, tmp_path / "b", data={"max_length": 48, "overlap": 8}), quiet())


def test_layers_are_found_in_a_distilbert_and_where_they_are_shared_it_is_said() -> None:
    sizes: dict[str, Any] = {"vocab_size": 50, "num_attention_heads": 2, "num_hidden_layers": 2}
    distilled = DistilBertForQuestionAnswering(DistilBertConfig(dim=32, hidden_dim=64, **sizes))
    freeze(distilled, True, 1)
    frozen = {name for name, value in distilled.named_parameters() if not value.requires_grad}
    assert any("layer.0." in name for name in frozen)
    assert all("layer.0." in name or "embeddings." in name for name in frozen)
    shared = AlbertForQuestionAnswering(AlbertConfig(hidden_size=32, intermediate_size=64, **sizes))
    with pytest.raises(RunError, match=r"AlbertModel has no layers in a list; use 0"):
        check_layers(shared, Training(frozen_layers=1))


def test_of_embeddings_in_several_places_those_of_words_are_frozen() -> None:
    sizes = {f"{part}_{name}": 2 for part in ("encoder", "decoder") for name in ("layers", "attention_heads")}
    bart = BartForQuestionAnswering(BartConfig(vocab_size=50, d_model=16, max_position_embeddings=64, **sizes))
    check_layers(bart, Training(frozen_layers=1))
    freeze(bart, True, 1)
    frozen = {re.sub(r"\.\w+$", "", name) for name, p in bart.named_parameters() if not p.requires_grad}
    assert frozen
    assert all(name == "model.shared" or name.startswith("model.encoder.layers.0.") for name in frozen)


def test_accumulated_batches_step_as_one_of_their_size(model: Path, tmp_path: Path) -> None:
    run_recipe(recipe(model, tmp_path / "one", training={"batch_tokens": 2048}), quiet())
    run_recipe(recipe(model, tmp_path / "two", training={"batch_tokens": 1024, "accumulate": 2}), quiet())
    run_recipe(recipe(model, tmp_path / "half", training={"batch_tokens": 1024}), quiet())
    one, two, half = (len(read_metrics(tmp_path / name)) for name in ("one", "two", "half"))
    assert one == two < half


def tiny_student(model: Path) -> torch.nn.Module:
    student = AutoModelForQuestionAnswering.from_pretrained(model)
    student.bert.embeddings.requires_grad_(False)
    return student  # type: ignore[no-any-return]


def test_teacher_shares_what_is_frozen_and_copies_the_rest(model: Path, tmp_path: Path) -> None:
    student = tiny_student(model)
    teacher = Teacher(student)
    assert teacher.model.bert.embeddings.word_embeddings.weight is student.bert.embeddings.word_embeddings.weight  # type: ignore[union-attr]
    head = student.qa_outputs.weight
    before = head.detach().clone()
    with torch.no_grad():
        head.add_(1)
    assert torch.equal(teacher.model.qa_outputs.weight, before)  # type: ignore[union-attr]
    teacher.follow(student, 0.75)
    assert torch.allclose(teacher.model.qa_outputs.weight, before + 0.25)  # type: ignore[union-attr]
    teacher.save(tmp_path / "t.safetensors", student, {"generation": 4})
    teacher.copy_from(student)
    assert torch.equal(teacher.model.qa_outputs.weight, head)  # type: ignore[union-attr]
    assert teacher.load(tmp_path / "t.safetensors") == {"generation": 4}
    assert torch.allclose(teacher.model.qa_outputs.weight, before + 0.25)  # type: ignore[union-attr]


@pytest.mark.parametrize(("update", "expected"), [("epoch", 2), ("steps", 3), ("never", 0)])
def test_generations(model: Path, tmp_path: Path, update: Any, expected: int) -> None:
    student = tiny_student(model)
    generations = TeacherGenerations(Teacher(student), student, update, every=3)
    arguments, state = TrainingArguments(output_dir=str(tmp_path)), TrainerState()
    for epoch in range(3):
        state.epoch = float(epoch)
        generations.on_epoch_begin(arguments, state, None)  # type: ignore[arg-type]
        for _ in range(3):
            state.global_step += 1
            generations.on_step_end(arguments, state, None)  # type: ignore[arg-type]
    assert generations.generation == expected


def test_epochs_visit_every_window_once_in_another_order(model: Path, tmp_path: Path) -> None:
    loaded = load_model(str(model))
    made = recipe(model, tmp_path)
    trainer = make_trainer(made, loaded.model, loaded.tokenizer, prepare(made.data, made.seed), quiet())
    batches = EpochBatches(trainer.windows, 1024, seed=5)
    lengths = trainer.windows.lengths()
    orders = []
    for epoch in range(2):
        batches.set_epoch(epoch)
        visited = list(batches)
        orders.append(visited)
        assert len(visited) == len(batches)
        assert sorted(i for batch in visited for i in batch) == list(range(len(lengths)))
        assert all(len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= 1024 for batch in visited)
    assert orders[0] != orders[1]


def test_an_epoch_has_its_order_though_no_library_passes_it_on(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with releases of accelerate and transformers that do not reach the batches, or not where a run goes on."""
    orders: list[list[list[int]]] = []
    visit = EpochBatches.__iter__

    def listen(self: EpochBatches) -> Iterator[list[int]]:
        orders.append(list(visit(self)))
        return iter(orders[-1])

    monkeypatch.setattr(EpochBatches, "__iter__", listen)
    run_recipe(recipe(model, tmp_path / "plain"), quiet())
    monkeypatch.setattr(DataLoaderShard, "set_epoch", lambda self, epoch: None)
    run_recipe(recipe(model, tmp_path / "deaf"), quiet())
    assert orders[:2] == orders[2:]
    assert orders[0] != orders[1]


def test_prepare_is_deterministic_and_counts_what_it_leaves_out() -> None:
    whole = prepare(Data(path="commons/train"), 1).corpus
    data = Data(path="commons/train", seeds=5, questions_per_passage=2)
    one, two, other = prepare(data, 1), prepare(data, 1), prepare(data, 2)
    assert one.pairs == two.pairs
    assert one.pairs != other.pairs
    assert len(one.corpus) == 5
    assert one.dropped["more questions of a passage"] + one.dropped["beyond the number of seeds"] == len(whole) - 5
    certain = prepare(Data(path="commons/train", certain_answers=True, languages=["en"]), 1)
    for seed in certain.corpus.seeds.values():
        (answer,) = seed.answers["en"]
        assert certain.corpus.passages[seed.passages["en"]].text.count(answer.text) == 1
    assert len(certain.corpus) + certain.dropped["answer stands elsewhere too"] == len(whole)
    every = prepare(Data(path="commons/train", certain_answers=True), 1)
    assert len(every.corpus) == 65  # in Chinese no spaces say where a word ends
    assert every.dropped == {"answer stands elsewhere too": 11}
    own = prepare(
        Data(path="commons/train", languages=["de", "es"], sampling="diagonal", questions_per_passage=1), 1
    ).corpus
    assert len(own) == len({seed.passages["de"] for seed in own.seeds.values()})


@pytest.mark.parametrize(
    ("answer", "context", "reason"),
    [
        ("凯勒", "桥由凯勒启用。", None),
        ("凯勒", "凯勒启用了凯勒桥。", "answer stands elsewhere too"),
        ("1902", "于1902年", None),
        ("902", "于1902年", "answer is found nowhere as whole words"),
        ("เคลเลอร์", "โดยแอนนาเคลเลอร์ซึ่ง", None),
        ("Kyōto", "Its old name is Kyōto京都, the capital.", "answer is found nowhere as whole words"),
        ("bridge", "The bridges", "answer is found nowhere as whole words"),
        ("bridge", "The bridge, not the bridges", None),
    ],
)
def test_certain_answers_stand_once_as_whole_words(
    answer: str, context: str, reason: str | None, tmp_path: Path
) -> None:
    """The second record, whose answer is certain, is kept."""
    rows = [{"id": "a", "context": context, "answer": answer}, {"id": "b", "context": "One.", "answer": "One"}]
    table = tmp_path / "table.jsonl"
    common = {"language": "xx", "question": "?"}
    lines = [json.dumps({**common, **row, "answer_start": row["context"].index(row["answer"])}) for row in rows]
    table.write_text("\n".join(lines), encoding="utf-8")
    prepared = prepare(Data(path=str(table), source_language="xx", certain_answers=True), 1)
    assert list(prepared.corpus.seeds) == (["b"] if reason else ["a", "b"])
    assert prepared.dropped == ({reason: 1} if reason else {})
    if reason is not None:
        table.write_text(lines[0], encoding="utf-8")
        with pytest.raises(PrepareError, match=r"data.certain_answers: none of 1 questions .*; leave the key out"):
            prepare(Data(path=str(table), source_language="xx", certain_answers=True), 1)
        replay = Replay(path=str(table), certain_answers=True)
        with pytest.raises(PrepareError, match=r"data.replay.certain_answers: none of 1 questions"):
            prepare(Data(path="commons/train", replay=replay), 1)
