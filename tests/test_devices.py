"""Training on a GPU, where there is one: every precision it has, and going on from a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from polyspan.answering import Answerer
from polyspan.encoding.precision import faster_in_bf16
from polyspan.encoding.predict import inference_precision
from polyspan.experiments.run import read_metrics, run_recipe
from polyspan.models.load import load_reader
from polyspan.training.trainer import device_arguments
from tiny_models import tiny_unigram
from tiny_runs import digest, quiet, recipe

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


@needs_gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_gpu_learns_what_a_cpu_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str) -> None:
    if precision == "bf16" and not torch.cuda.is_bf16_supported():
        pytest.skip("this GPU has no bf16")
    model = tiny_unigram(tmp_path / "tiny")
    made = recipe(model, tmp_path / "gpu", training={"precision": precision, "epochs": 1})
    run_recipe(made, quiet())
    with monkeypatch.context() as patch:
        patch.setattr("torch.accelerator.is_available", lambda: False)
        run_recipe(recipe(model, tmp_path / "cpu", training={"precision": "fp32", "epochs": 1}), quiet())
    rows, others = read_metrics(tmp_path / "gpu"), read_metrics(tmp_path / "cpu")
    assert len(rows) == len(others) > 4
    assert all(math.isfinite(row["loss"]) for row in rows)
    tolerance = 1e-3 if precision == "fp32" else 3e-2
    assert rows[0]["ce"] == pytest.approx(others[0]["ce"], rel=tolerance)
    assert rows[-1]["ce"] == pytest.approx(others[-1]["ce"], rel=0.2)


@needs_gpu
def test_a_finished_gpu_run_is_loaded_on_a_cpu(tmp_path: Path) -> None:
    model = tiny_unigram(tmp_path / "tiny")
    made = recipe(model, tmp_path / "run", evaluation={"path": "commons/dev", "languages": ["en"], "limit": 2})
    assert run_recipe(made, quiet()).matrix is not None
    before = digest(tmp_path / "run")
    assert run_recipe(made, quiet()).matrix is not None
    assert digest(tmp_path / "run") == before


@pytest.fixture
def asked_anew() -> Iterator[None]:
    yield
    faster_in_bf16.cache_clear()


@pytest.mark.usefixtures("asked_anew")
def test_precision_is_chosen_by_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    assert device_arguments("fp16") == {"bf16": False, "fp16": True, "use_cpu": not torch.accelerator.is_available()}
    assert not device_arguments("fp32")["bf16"]
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    for there in (True, False):
        monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation, there=there: there)
        faster_in_bf16.cache_clear()
        assert device_arguments("auto")["bf16"] is there


@pytest.mark.usefixtures("asked_anew")
def test_processors_without_bf16_train_and_answer_in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    for there in (True, False):
        monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: False)
        monkeypatch.setattr("torch.cpu._is_amx_tile_supported", lambda there=there: there)
        faster_in_bf16.cache_clear()
        assert device_arguments("auto")["bf16"] is there
        assert isinstance(inference_precision(torch.nn.Linear(1, 1)), torch.autocast) is there


def test_answers_come_from_an_accelerator_where_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = str(tiny_unigram(tmp_path / "tiny"))
    place = torch.device("meta")  # one that every machine has
    reader = load_reader(model)  # before it is said: others ask too where there is one
    with monkeypatch.context() as patch:
        patch.setattr("torch.accelerator.current_accelerator", lambda check_available=False: place)
        patch.setattr("polyspan.answering.answerer.load_reader_for", lambda name, backend: reader)
        assert Answerer(model).loaded.model.device == place
    monkeypatch.setattr("torch.accelerator.current_accelerator", lambda check_available=False: None)
    assert Answerer(model).loaded.model.device.type == "cpu"
