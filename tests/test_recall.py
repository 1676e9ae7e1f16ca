"""The recalled teacher: what the student said of a window one epoch ago, without a second reading."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from polyspan.experiments.prepare import prepare
from polyspan.experiments.recipe import RecipeError, load_recipe
from polyspan.experiments.run import RunStopped, read_metrics, run_recipe
from polyspan.experiments.set_up import make_trainer
from polyspan.models import load_model
from polyspan.training.batches import INDICES
from polyspan.training.recall import RECALL_FILE, Recall
from polyspan.training.teacher import Teacher
from polyspan.training.trainer import TAUGHT, SpanTrainer
from test_resume import stop_after
from tiny_models import tiny_bert, tiny_unigram
from tiny_runs import digest, quiet, recipe, run_together

pytestmark = pytest.mark.usefixtures("one_thread")
OBJECTIVE = {"teacher": "recall"}
DATA = {"path": "commons/train", "target_languages": 1, "seeds": 3, "max_length": 128, "overlap": 16}
"""Of several windows a passage."""


@pytest.fixture(scope="module")
def whole(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed run of three epochs."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("whole") / "run"
    run_recipe(recipe(model, folder, objective=OBJECTIVE, training={"epochs": 3}), quiet())
    return folder


@pytest.mark.parametrize("frozen_layers", [0, 1])
@pytest.mark.parametrize("build", [tiny_bert, tiny_unigram])
def test_each_window_is_taught_what_the_student_said_of_it_an_epoch_ago(
    build: Any, frozen_layers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = recipe(
        build(tmp_path / "tiny"),
        tmp_path / "run",
        data=DATA,
        objective=OBJECTIVE,
        training={"epochs": 3, "frozen_layers": frozen_layers, "precision": "fp32"},
    )
    loaded = load_model(made.model)
    trainer = make_trainer(made, loaded.model, loaded.tokenizer, prepare(made.data, made.seed), quiet())
    lengths = trainer.windows.lengths()
    said: list[dict[int, list[Tensor]]] = []
    taught: list[dict[int, list[Tensor]]] = []
    learn = SpanTrainer.compute_loss

    def listen(self: SpanTrainer, model: Any, inputs: dict[str, Any], *_: Any, **__: Any) -> Any:
        loss, outputs = learn(self, model, inputs, return_outputs=True)
        for row, index in enumerate(inputs[INDICES].tolist()):
            if not said or index in said[-1]:
                said.append({})
                taught.append({})
            length = lengths[index]
            said[-1][index] = [logits[row, :length].detach() for logits in (outputs.start_logits, outputs.end_logits)]
            taught[-1][index] = [logits[row, :length] for logits in inputs[TAUGHT]]
        return loss

    asked = []
    ask = Teacher.logits
    monkeypatch.setattr(Teacher, "logits", lambda self, inputs: asked.append(1) or ask(self, inputs))
    monkeypatch.setattr(SpanTrainer, "compute_loss", listen)
    steps = len(trainer.get_train_dataloader())
    trainer.train()
    assert len(said) == 3
    assert all(set(epoch) == set(range(len(lengths))) for epoch in said)
    assert len(asked) == steps  # in the first epoch alone
    for before, after in ((0, 1), (1, 2)):
        for index in said[before]:
            for told, heard in zip(said[before][index], taught[after][index], strict=True):
                torch.testing.assert_close(heard, told, rtol=2**-10, atol=1e-6)  # half precision
    assert any(not torch.allclose(said[0][i][0], said[1][i][0], rtol=2**-8) for i in said[0])


def test_a_student_that_does_not_move_says_the_same(model: Path, tmp_path: Path) -> None:
    still = {"learning_rate": 1e-12, "epochs": 2, "precision": "fp32"}
    run_recipe(recipe(model, tmp_path / "run", objective=OBJECTIVE, training=still), quiet())
    rows = read_metrics(tmp_path / "run")
    first = [row for row in rows if row["epoch"] <= 1]
    assert all(abs(row["kl"]) < 1e-5 for row in rows)
    assert len(first) < len(rows)


def test_half_precision_and_padding() -> None:
    class Windows:
        def lengths(self) -> np.ndarray:
            return np.array([3, 5, 2])

    kept = Recall(Windows())  # type: ignore[arg-type]
    starts = torch.tensor([[1.0, -2.5, 3.25, 0, 0], [4.0, 5.0, 6.0, 7.0, 1 / 3]])
    kept.keep([2, 1], starts, -starts)
    assert not kept.logits([1, 2], 5)[0].any()  # nothing was said before
    kept.turn()
    first, last = kept.logits([1, 2, 0], 6)
    assert first.tolist() == [[4, 5, 6, 7, float(np.float16(1 / 3)), 0], [1, -2.5, 0, 0, 0, 0], [0] * 6]
    assert torch.equal(last, -first)
    kept.turn()
    assert not kept.logits([1, 2], 5)[0].any()


@pytest.mark.parametrize("stop", [5, 10, 13])
def test_a_stopped_run_goes_on_to_the_same_bytes(
    model: Path, tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    """In the middle of each epoch and between two."""
    assert len(read_metrics(whole)) == 30
    made = recipe(model, tmp_path / "run", objective=OBJECTIVE, training={"epochs": 3})
    stop_after(monkeypatch, stop)
    with pytest.raises(RunStopped):
        run_recipe(made, quiet())
    monkeypatch.undo()
    (newest,) = (tmp_path / "run/checkpoints").glob(f"*-{stop}")
    assert (newest / RECALL_FILE).is_file()
    run_recipe(made, quiet())
    assert digest(tmp_path / "run") == digest(whole)
    assert read_metrics(tmp_path / "run") == read_metrics(whole)


def test_two_processes_recall_what_both_said(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The windows of an epoch are dealt out anew in the next; also after a checkpoint in its middle."""
    runs = {}
    for name, tokens in (("one", 2048), ("two", 1024), ("stopped", 1024)):
        training = {"epochs": 2, "batch_tokens": tokens, "precision": "fp32"}
        runs[name] = recipe(model, tmp_path / name, data=DATA, objective=OBJECTIVE, training=training)
    run_recipe(runs["one"], quiet())
    assert run_together(runs["two"]) == ["", ""]
    rows, others = read_metrics(tmp_path / "one"), read_metrics(tmp_path / "two")
    assert len(rows) == len(others)
    for row, other in zip(rows, others, strict=True):
        for key in ("loss", "ce", "kl"):
            assert other[key] == pytest.approx(row[key], rel=2e-3, abs=1e-5), (row["step"], key)
        # Two positions whose kept logits are a rounding error apart may change places.
        assert other["coefficient"] == pytest.approx(row["coefficient"], abs=0.1), row["step"]
    assert max(row["kl"] for row in rows if row["epoch"] > 1) > 1e-4

    stop_after(monkeypatch, len(rows) // 2 - 1)
    assert all(error.startswith("RunStopped") for error in run_together(runs["stopped"]))
    monkeypatch.undo()
    assert run_together(runs["stopped"]) == ["", ""]
    assert digest(tmp_path / "stopped") == digest(tmp_path / "two")


def test_it_recalls_the_same_question_alone(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(
        "run_dir: r\nmodel: m\ndata: {path: commons/train}\n"
        "objective: {alpha_kl: 1, teacher: recall, teacher_question: context}\n",
        encoding="utf-8",
    )
    with pytest.raises(RecipeError, match="what is recalled are answers to the same question; use teacher: epoch"):
        load_recipe(path)
