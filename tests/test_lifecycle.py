"""What happens to folders between runs: moved, linked, corrected, edited, or stopped at a bad moment."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from polyspan.answering.onnx_export import OnnxError, calibration_feeds, export_model
from polyspan.answering.onnx_gate import Gate
from polyspan.cli.main import app
from polyspan.corpus import load_corpus
from polyspan.evaluation.evaluate import limit_pairs
from polyspan.experiments import reproduce
from polyspan.experiments.leakage import LeakageError, averaged_of, check_evaluation, save_average
from polyspan.experiments.model_card import write_model_card
from polyspan.experiments.plan import PlanError, load_plan
from polyspan.experiments.recipe import Evaluation, Recipe, dump_recipe, load_recipe
from polyspan.experiments.reproduce import Step
from polyspan.experiments.run import run_recipe
from polyspan.experiments.set_up import RunError
from polyspan.experiments.study import BASE, _base, _is_of
from polyspan.experiments.sweep import _seconds
from polyspan.files import write_aside
from polyspan.models import load_model, save_model
from polyspan.models.average import average_models
from tiny_models import tiny_bert
from tiny_runs import digest, quiet, recipe


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("model") / "tiny")


def run_folder(folder: Path, start: str, data: str) -> str:
    """As much of a run as tells where its model comes from."""
    (folder / "model").mkdir(parents=True)
    made = Recipe.model_validate({"run_dir": folder, "model": start, "data": {"path": data}})
    (folder / "recipe.yaml").write_text(dump_recipe(made), encoding="utf-8")
    return str(folder / "model")


def guarded(model: str, policy: str) -> str:
    file = StringIO()
    check_evaluation(model, Evaluation(path="commons/train"), None, policy, Console(file=file, width=500))
    return file.getvalue()


def test_a_model_whose_start_has_gone_is_not_taken_for_clean(tmp_path: Path) -> None:
    start = run_folder(tmp_path / "p1", "embedded", "commons/train")
    model = run_folder(tmp_path / "p2", start, "commons/dev")
    assert "questions with the same id" in guarded(model, "warn")
    (tmp_path / "p1").rename(tmp_path / "moved")
    assert f"not compared with the training data of {start}: no such model is there any more" in guarded(model, "warn")
    with pytest.raises(LeakageError, match="could not be compared"):
        guarded(model, "fail")


def test_an_average_is_found_out_through_links(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "disk" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "deep")
    monkeypatch.chdir(tmp_path)
    names = [str(model), "embedded"]
    save_average(average_models([str(model), str(model)]), names, None, Path("link/mean"))
    assert averaged_of("link/mean") == names
    assert averaged_of(str(tmp_path / "disk" / "deep" / "mean")) == names
    (tmp_path / "disk" / "deep" / "mean").rename(tmp_path / "mean")
    gone, there = averaged_of(str(tmp_path / "mean"))
    assert there == "embedded"
    assert not Path(gone).exists()
    with pytest.raises(LeakageError, match="could not be compared"):
        guarded(str(tmp_path / "mean"), "fail")


def test_a_folder_that_could_not_be_replaced_is_there_still(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "file").write_text("mine")

    def stopped(self: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", stopped)
    with pytest.raises(KeyboardInterrupt), write_aside(tmp_path / "old") as aside:
        aside.mkdir()
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert (tmp_path / "old" / "file").read_text() == "mine"
    monkeypatch.undo()
    (tmp_path / "n").mkdir()
    with write_aside(tmp_path / "n" / ".." / "new") as aside:
        aside.write_text("new")
    assert (tmp_path / "new").read_text() == "new"


def test_what_could_not_begin_is_corrected_in_its_folder(model: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="but the model has 2 layers"):
        run_recipe(recipe(model, tmp_path / "run", training={"frozen_layers": 20}), quiet())
    assert run_recipe(recipe(model, tmp_path / "run", training={"epochs": 1}), quiet()).model.is_dir()


def test_a_card_is_kept_as_it_was_edited_and_true_from_everywhere(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = {"languages": ["de"], "sampling": "diagonal", "source_language": "de"}
    first = recipe(model, Path("p1"), data=data, training={"epochs": 1})
    run_recipe(first, quiet())
    second = recipe(Path("p1/model"), Path("p2"), data={**data, "path": "commons/dev"}, training={"epochs": 1})
    run_recipe(second, quiet())
    card = tmp_path / "p2" / "model" / "README.md"
    written = card.read_text(encoding="utf-8")
    assert "commons/train" in written
    assert "\nLanguages: German.\n" in written
    card.write_text("mine", encoding="utf-8")
    run_recipe(second, quiet())
    assert card.read_text(encoding="utf-8") == "mine"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    write_model_card(tmp_path / "p2")
    assert card.read_text(encoding="utf-8") == written


def test_an_average_lists_the_data_of_its_parts(model: Path, tmp_path: Path) -> None:
    made = recipe(model, tmp_path / "p1", training={"epochs": 1})
    part = run_recipe(made, quiet()).model
    mean = tmp_path / "mean"
    save_average(average_models([str(part), str(model)]), [str(part), str(model)], None, mean)
    run_recipe(recipe(mean, tmp_path / "p2", data={"path": "commons/dev"}, training={"epochs": 1}), quiet())
    licences = (tmp_path / "p2" / "model" / "README.md").read_text(encoding="utf-8").split("## Data and licences")[1]
    assert "commons/train" in licences
    assert "commons/dev" in licences


def sweep_file(folder: Path, **changes: Any) -> Path:
    base = Recipe.model_validate({"run_dir": "unused", "data": {"path": "commons/train"}})
    asked = base.model_copy(update={"evaluation": Evaluation(path="commons/dev")})
    (folder / "base.yaml").write_text(dump_recipe(asked), encoding="utf-8")
    tree = {"recipe": "base.yaml", "folder": "~/sweep", "keys": {"seed": [1]}, **changes}
    (folder / "sweep.yaml").write_text(json.dumps(tree), encoding="utf-8")
    return folder / "sweep.yaml"


def test_a_sweep_outlives_a_key_that_is_new(tmp_path: Path) -> None:
    plan = load_plan(sweep_file(tmp_path))
    there = json.loads(_base(plan))
    del there["objective"]["consistency"]
    assert _is_of(SimpleNamespace(user_attrs={BASE: json.dumps(there)}), plan)  # type: ignore[arg-type]
    there["objective"]["temperature"] = 3
    assert not _is_of(SimpleNamespace(user_attrs={BASE: json.dumps(there)}), plan)  # type: ignore[arg-type]
    there["objective"]["gone"] = 1
    assert not _is_of(SimpleNamespace(user_attrs={BASE: json.dumps(there)}), plan)  # type: ignore[arg-type]


def test_trials_without_an_evaluation_are_refused_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"methods\.a: takes the evaluation away"):
        load_plan(sweep_file(tmp_path, methods={"a": {"evaluation": None}}))
    with pytest.raises(PlanError, match="use --folder"):
        load_plan(sweep_file(tmp_path), ["run_dir=elsewhere"])


def test_home_is_filled_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    tree = {"run_dir": "~/runs/a", "data": {"path": "~/d.csv"}, "evaluation": {"path": "~/e.csv"}}
    made = Recipe.model_validate(tree)
    assert made.run_dir == tmp_path / "runs" / "a"
    assert made.evaluation is not None
    assert (made.data.path, made.evaluation.path) == (str(tmp_path / "d.csv"), str(tmp_path / "e.csv"))
    assert load_plan(sweep_file(tmp_path)).file.folder == tmp_path / "sweep"


def test_what_a_trial_took_counts_what_was_before_a_stop(tmp_path: Path) -> None:
    (tmp_path / "timing.json").write_text('{"training_seconds": 18000.04}')
    assert _seconds(tmp_path, 600) == 18000.0
    assert _seconds(tmp_path / "none", 600.06) == 600.1


def test_a_row_whose_recipe_has_gone_is_not_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reproduce, "is_evaluated", lambda *_: True)
    made = Recipe.model_validate({"run_dir": tmp_path, "data": {"path": "commons/train"}})
    step = Step("ce", made, Evaluation(path="commons/dev"), None, tmp_path)
    assert not step.done
    (tmp_path / "recipe.yaml").write_text(dump_recipe(made), encoding="utf-8")
    assert step.done


def test_a_copied_recipe_says_how_it_is_run(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["recipe", "copy", "small/skd", str(tmp_path / "my own.yaml")])
    assert done.exit_code == 0
    first, second = (tmp_path / "my own.yaml").read_text(encoding="utf-8").splitlines()[:2]
    assert first == f"# polyspan train '{tmp_path / 'my own.yaml'}'"
    assert second.startswith("# Phase 2")
    assert load_recipe(tmp_path / "my own.yaml").objective.alpha_kl == 1


def test_a_reader_of_short_windows_is_exported(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxscript")
    loaded = load_model(str(model))
    config = loaded.model.config
    table = loaded.model.bert.embeddings
    table.position_embeddings.weight.data = table.position_embeddings.weight.data[:128].clone()
    config.max_position_embeddings = 128
    save_model(loaded.model, loaded.tokenizer, tmp_path / "short")
    short = load_model(str(tmp_path / "short"))
    assert max(feed["input_ids"].shape[1] for feed in calibration_feeds(short)) <= 128
    corpus = load_corpus("commons/test", languages=["en"])
    gate = Gate(corpus, limit_pairs(corpus.pairs(), 2), "squad", 100.0)
    report = export_model(str(tmp_path / "short"), tmp_path / "out", "fp32", gate)
    assert report["languages"][0]["same"] == 1
    (tmp_path / "out" / "NOTES.md").write_text("mine")
    with pytest.raises(OnnxError, match=r"holds NOTES\.md, which no export wrote"):
        export_model(str(tmp_path / "short"), tmp_path / "out", "fp32", gate)
    (tmp_path / "out" / "NOTES.md").unlink()
    assert export_model(str(tmp_path / "short"), tmp_path / "out", "fp32", gate)["files"] == report["files"]
    monkeypatch.chdir(tmp_path / "out")
    with pytest.raises(OnnxError, match="is the current folder"):
        export_model(str(tmp_path / "short"), Path(), "fp32", gate)
    assert digest(tmp_path, "short")  # and the model is as it was
