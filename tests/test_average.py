"""Averages of models: weights against plain arithmetic, and what cannot be averaged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from polyspan.cli.main import app
from polyspan.models import ModelError, load_model, save_model
from polyspan.models.average import average_models
from tiny_models import tiny_bert, tiny_unigram


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("models")
    folders = [tiny_bert(folder / f"tiny{seed}", seed) for seed in range(3)]
    for other in folders[1:]:  # a vocabulary that is learnt anew has other numbers
        shutil.copyfile(folders[0] / "tokenizer.json", other / "tokenizer.json")
    return list(map(str, folders))


def test_each_weight_is_the_weighted_mean(models: list[str], tmp_path: Path) -> None:
    made = CliRunner().invoke(app, ["average", *models, "--shares", "1,2,5", "--output", str(tmp_path / "mean")])
    assert made.exit_code == 0, made.output
    mean, *parts = (load_file(Path(folder) / "model.safetensors") for folder in (tmp_path / "mean", *models))
    assert mean.keys() == parts[0].keys()
    for name, value in mean.items():
        expected = (parts[0][name].double() + 2 * parts[1][name].double() + 5 * parts[2][name].double()) / 8
        torch.testing.assert_close(value.double(), expected, atol=1e-7, rtol=1e-6)
    assert not torch.equal(mean["qa_outputs.weight"], parts[2]["qa_outputs.weight"])
    again = CliRunner().invoke(app, ["average", *models, "--output", str(tmp_path / "mean")])
    assert "is there already" in str(again.exception)


def test_a_share_below_0_takes_away(models: list[str], tmp_path: Path) -> None:
    made = CliRunner().invoke(app, ["average", *models, "--shares", "1,1,-1", "--output", str(tmp_path / "sum")])
    assert made.exit_code == 0, made.output
    total, *parts = (load_file(Path(folder) / "model.safetensors") for folder in (tmp_path / "sum", *models))
    for name, value in total.items():
        expected = parts[0][name].double() + parts[1][name].double() - parts[2][name].double()
        torch.testing.assert_close(value.double(), expected, atol=1e-7, rtol=1e-6)


def test_of_a_model_with_itself_nothing_changes(models: list[str]) -> None:
    mean = average_models([models[0], models[0]]).model.state_dict()
    for name, value in load_file(Path(models[0]) / "model.safetensors").items():
        torch.testing.assert_close(mean[name], value, atol=1e-7, rtol=0)


@pytest.mark.parametrize(
    ("number", "shares", "message"),
    [
        (1, None, "two models or more"),
        (2, [1.0], "give one for each"),
        (2, [1.0, -1.5], "a sum above 0"),
        (2, [0.0, 0.0], "a sum above 0"),
        (2, [1.0, float("nan")], "finite"),
        (2, [1.0, float("inf")], "finite"),
        (2, [float("inf"), float("-inf")], "finite"),
    ],
)
def test_shares_that_do_not_fit(models: list[str], number: int, shares: list[float] | None, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        average_models(models[:number], shares)


def test_a_model_without_a_head_is_refused_by_name(models: list[str], tmp_path: Path) -> None:
    encoder = load_model(models[1])
    save_model(encoder.model.base_model, encoder.tokenizer, tmp_path / "encoder")
    with pytest.raises(ModelError, match=f"{tmp_path / 'encoder'}: has no question-answering head"):
        average_models([models[0], str(tmp_path / "encoder")])


def test_models_of_another_shape_are_refused(models: list[str], tmp_path: Path) -> None:
    other = str(tiny_unigram(tmp_path / "other"))
    with pytest.raises(ModelError, match="not of the same shape"):
        average_models([models[0], other])


def test_models_that_compute_otherwise_are_refused(models: list[str], tmp_path: Path) -> None:
    """The shapes of their weights are the same."""
    other = Path(shutil.copytree(models[1], tmp_path / "other"))
    settings = json.loads((other / "config.json").read_text(encoding="utf-8"))
    heads = settings["num_attention_heads"]
    settings |= {"num_attention_heads": heads * 2, "hidden_dropout_prob": 0.3}
    (other / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    said = f"other: computes otherwise than .* \\(num_attention_heads is {heads} there, {heads * 2} here\\)"
    with pytest.raises(ModelError, match=said):
        average_models([models[0], str(other)])


def test_models_of_another_vocabulary_are_refused(models: list[str], tmp_path: Path) -> None:
    other = Path(shutil.copytree(models[1], tmp_path / "other"))
    settings = json.loads((other / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary = settings["model"]["vocab"]
    first, second = list(vocabulary)[-2:]
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    (other / "tokenizer.json").write_text(json.dumps(settings), encoding="utf-8")
    with pytest.raises(ModelError, match="other: its tokeniser has other tokens"):
        average_models([models[0], str(other)])
