"""Readers that OpenVINO runs answer as they did in PyTorch, or are refused."""

from __future__ import annotations

import importlib.util
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from polyspan.answering import Answerer
from polyspan.answering.evidence import gather
from polyspan.answering.onnx_export import export_model
from polyspan.answering.onnx_gate import Gate
from polyspan.answering.openvino_model import (
    OpenvinoError,
    OpenvinoReader,
    convert,
    import_openvino,
    load_openvino,
    openvino_reason,
)
from polyspan.cli.main import app
from polyspan.corpus import load_corpus
from polyspan.encoding.precision import faster_in_bf16
from polyspan.errors import PolyspanError
from polyspan.evaluation.evaluate import limit_pairs, rules_for
from polyspan.experiments.calibrate import CalibrateError, Rows
from polyspan.models.load import LoadedModel, load_model, load_reader, save_model
from tiny_encoders import ENCODERS
from tiny_models import TEXTS, decided, tiny_bert, tiny_unigram

if importlib.util.find_spec("openvino") is None:
    pytest.skip("openvino is not installed", allow_module_level=True)

QUESTIONS = ["Who paid for the stones?", "When was it opened?", "第几年？"]


@pytest.fixture(scope="module", params=[tiny_bert, tiny_unigram], ids=["wordpiece", "unigram"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(decided(request.param(tmp_path_factory.mktemp("model") / "tiny")))


@pytest.fixture(autouse=True)
def fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Precision is the processor's; what is compared here is not rounding."""
    monkeypatch.setattr("polyspan.answering.openvino_model.faster_in_bf16", lambda device: False)
    monkeypatch.setattr("polyspan.encoding.predict.faster_in_bf16", lambda device: False)


def test_answers_are_those_of_pytorch(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One window, and many of several lengths in one batch that is divided among threads."""
    monkeypatch.setattr("polyspan.answering.part_reader.PART_TOKENS", 64)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    torch_, openvino = Answerer(model), Answerer(model, backend="openvino")
    assert isinstance(openvino.loaded.model, OpenvinoReader)
    assert (torch_.backend, openvino.backend) == ("torch", "openvino")
    asked = [(question, text) for question in QUESTIONS for text in [*TEXTS, " ".join(TEXTS * 3)]]
    wanted, found = torch_.answer_many(asked), openvino.answer_many(asked)
    assert [a.spans[0].text for a in found] == [a.spans[0].text for a in wanted]
    assert [a.spans[0].score for a in found] == pytest.approx([a.spans[0].score for a in wanted], rel=1e-2)
    alone = [openvino.answer(*pair) for pair in asked]
    assert [a.spans[0].text for a in alone] == [a.spans[0].text for a in wanted]


def test_several_threads_may_ask(model: str) -> None:
    openvino = Answerer(model, backend="openvino")
    asked = [(question, text) for question in QUESTIONS for text in TEXTS]
    wanted = [openvino.answer(*pair) for pair in asked]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda pair: openvino.answer(*pair), asked * 3)) == wanted * 3


@pytest.mark.skipif(not faster_in_bf16("cpu"), reason="this processor does not multiply in bf16")
def test_bf16_is_taken_where_the_processor_has_it(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polyspan.answering.openvino_model.faster_in_bf16", faster_in_bf16)
    reader, exact = load_openvino(model).model, load_reader(model)
    assert reader.alone.get_property("INFERENCE_PRECISION_HINT").get_type_name() == "bf16"  # type: ignore[union-attr, operator]
    encoded = exact.tokenizer(QUESTIONS[0], TEXTS[0], return_tensors="pt")
    with torch.no_grad():
        wanted = exact.model(**encoded).start_logits
    found = reader(**encoded).start_logits
    torch.testing.assert_close(found, wanted, atol=0.03 * float(wanted.abs().max()), rtol=0)
    assert not torch.equal(found, wanted)


REFUSED = {
    "ultra-bert": r"gives other logits in OpenVINO \(by nan\); use another backend",
    "mt5": "MT5ForQuestionAnswering: cannot be converted to OpenVINO",
}
"""UltraBERT's local attention has no number for what pads a short window; mT5's decoder begins with nothing."""


@pytest.mark.parametrize("kind", REFUSED)
def test_kinds_that_openvino_cannot_run_are_refused(kind: str, tmp_path: Path) -> None:
    load = load_model(str(ENCODERS[kind](tmp_path / "tiny")))
    save_model(load.model, load.tokenizer, tmp_path / "reader")
    with pytest.raises(OpenvinoError, match=REFUSED[kind]):
        load_openvino(str(tmp_path / "reader"))


@pytest.mark.parametrize("kind", [kind for kind in ENCODERS if kind not in REFUSED])
def test_kinds_of_encoders(kind: str, tmp_path: Path) -> None:
    """Any length and number of windows, padded or not."""
    load = load_model(str(ENCODERS[kind](tmp_path / "tiny")))
    save_model(load.model, load.tokenizer, tmp_path / "reader")
    reader = load_openvino(str(tmp_path / "reader"))
    encoded = load.tokenizer(QUESTIONS, [TEXTS[0], TEXTS[1] * 2, "a"], return_tensors="pt", padding=True)
    inputs = {name: encoded[name] for name in load.tokenizer.model_input_names if name in encoded}
    real = inputs["attention_mask"].bool()
    with torch.no_grad():
        wanted = load.model.eval()(**inputs)
    found = reader.model(**inputs)
    for head in ("start_logits", "end_logits"):
        torch.testing.assert_close(found[head][real], wanted[head][real], atol=1e-4, rtol=1e-3)


def test_a_model_that_answers_otherwise_is_refused(model: str) -> None:
    """What tracing freezes, here the number of tokens it saw, is found by trying other texts."""
    loaded = load_reader(model)

    class Frozen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.reader, self.config = loaded.model, loaded.model.config

        def forward(self, **inputs: torch.Tensor) -> object:
            outputs = self.reader(**inputs)
            outputs.start_logits = outputs.start_logits * int(inputs["input_ids"].shape[1])
            return outputs

    with pytest.raises(OpenvinoError, match=r"Frozen: gives other logits in OpenVINO \(by .*\); use another backend"):
        convert(Frozen(), loaded.tokenizer)  # type: ignore[arg-type]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_exports_are_read_too(model: str, precision: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    corpus = load_corpus("commons/test", languages=["de", "en"])
    gate = Gate(corpus, limit_pairs(corpus.pairs(), 3), "mlqa", 100)
    export_model(model, tmp_path / "export", precision, gate)  # type: ignore[arg-type]
    onnx, openvino = (Answerer(tmp_path / "export", backend) for backend in ("onnx", "openvino"))  # type: ignore[arg-type]
    encoded = onnx.loaded.tokenizer(QUESTIONS, [" ".join(TEXTS)] * 3, return_tensors="pt", padding=True)
    real = encoded["attention_mask"].bool()
    with torch.no_grad():
        wanted, found = (reader.loaded.model(**encoded).start_logits[real] for reader in (onnx, openvino))
    # 8-bit products are rounded in another order.
    assert np.corrcoef(wanted, found)[0, 1] > (0.9999 if precision == "fp32" else 0.98)
    exchange_outputs(tmp_path / "export" / "model.onnx")
    with torch.no_grad():
        again = load_openvino(str(tmp_path / "export")).model(**encoded).start_logits[real]
    assert torch.equal(again, found)
    (tmp_path / "export" / "model.onnx").write_bytes(b"not a graph")
    with pytest.raises(OpenvinoError, match=r"model.onnx: cannot be opened"):
        load_openvino(str(tmp_path / "export"))


def exchange_outputs(path: Path) -> None:
    """Write the same graph with its outputs in the other order."""
    import onnx

    graph = onnx.load(str(path))
    outputs = [type(one).FromString(one.SerializeToString()) for one in reversed(graph.graph.output)]
    del graph.graph.output[:]
    graph.graph.output.extend(outputs)
    onnx.save(graph, str(path))


def test_reasons_are_told_without_places_in_their_source() -> None:
    said = (
        "Exception from src/inference/src/cpp/core.cpp:84:\nCheck 'false' failed at src/x/y.cpp:101:\n"
        "Model wasn't fully converted: NoSuchOperator"
    )
    assert openvino_reason(RuntimeError(said)) == "Model wasn't fully converted: NoSuchOperator"


def test_threads_are_free_to_move(model: str) -> None:
    """Processes side by side would all bind theirs to the first processors."""
    reader = load_openvino(model).model
    assert reader.alone.get_property("ENABLE_CPU_PINNING") is False  # type: ignore[union-attr, operator]


def test_nothing_is_sent_to_its_makers() -> None:
    assert import_openvino().__name__ == "openvino"
    assert sys.modules["openvino_telemetry"] is None


def test_a_missing_package_is_named(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(OpenvinoError, match=r"pip install 'polyspan\[openvino\]'"):
        Answerer(model, backend="openvino")


def test_commands_take_a_backend(model: str, tmp_path: Path) -> None:
    runner = CliRunner()
    scores = []
    for backend in ("torch", "openvino"):
        asked = [
            "evaluate",
            "--model",
            model,
            "--data",
            "commons/test",
            "--languages",
            "de,en",
            "--limit",
            "4",
            "--json",
        ]
        result = runner.invoke(app, [*asked, "--backend", backend], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        scores.append(json.loads(result.stdout.splitlines()[-1])["averages"])
    assert scores[0] == scores[1]
    output = ["--output", str(tmp_path / "kept")]
    runner.invoke(app, [*asked, *output, "--backend", "openvino"], catch_exceptions=False)
    assert json.loads((tmp_path / "kept" / "evaluation.json").read_text("utf-8"))["backend"] == "openvino"
    with pytest.raises(PolyspanError, match=r"holds another evaluation \(backend is openvino there, torch here"):
        runner.invoke(app, [*asked, *output], catch_exceptions=False)
    questions = tmp_path / "asked.jsonl"
    lines = [{"id": str(n), "question": question, "context": TEXTS[n]} for n, question in enumerate(QUESTIONS)]
    questions.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    found = []
    for backend in ("torch", "openvino"):
        output = tmp_path / f"{backend}.jsonl"
        command = ["predict", str(questions), "--output", str(output), "--model", model, "--backend", backend]
        assert runner.invoke(app, command, catch_exceptions=False).exit_code == 0
        found.append([json.loads(line)["answers"][0]["answer"] for line in output.read_text("utf-8").splitlines()])
    assert found[0] == found[1]


def test_ask_and_calibrate_take_a_backend(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = CliRunner()
    (tmp_path / "text.txt").write_text(TEXTS[0], encoding="utf-8")
    ask = ["ask", "-q", QUESTIONS[0], "--context-file", str(tmp_path / "text.txt"), "--model", model, "--json"]
    calibrate = ["calibrate", "--model", model, "--data", "commons/dev", "--output", str(tmp_path / "fitted")]

    def fit(loaded: LoadedModel, rows: Rows, *rest: object) -> None:
        """A random reader is never right, and nothing can be fitted on that."""
        corpus = load_corpus(rows.path, languages=("de",))
        evidence = gather(loaded.model, loaded.tokenizer, corpus, corpus.pairs()[:8], rules_for(None, ["de"]))
        read.append((type(loaded.model), evidence.starts))
        raise CalibrateError("enough was seen")

    monkeypatch.setattr("polyspan.experiments.calibrate.calibrate", fit)
    found: list[dict[str, Any]] = []
    read: list[tuple[type, np.ndarray]] = []
    for backend in ("torch", "openvino"):
        result = runner.invoke(app, [*ask, "--backend", backend], catch_exceptions=False)
        found.append(json.loads(result.stdout)["answers"][0])
        with pytest.raises(CalibrateError):
            runner.invoke(app, [*calibrate, "--backend", backend], catch_exceptions=False)
    assert found[0].pop("score") == pytest.approx(found[1].pop("score"), rel=1e-3)
    assert found[0] == found[1]
    (plain, starts), (converted, others) = read
    assert not issubclass(plain, OpenvinoReader)
    assert issubclass(converted, OpenvinoReader)
    assert others == pytest.approx(starts, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("command", ["ask", "calibrate", "evaluate", "predict", "serve"])
def test_a_backend_that_there_is_not(command: str, tmp_path: Path) -> None:
    given = {
        "ask": ["-q", "Who?", "--context-file", str(tmp_path / "text.txt")],
        "calibrate": ["--model", "polyspan-small", "--data", "commons/test", "--output", str(tmp_path / "fitted")],
        "evaluate": ["--model", "polyspan-small", "--data", "commons/test"],
        "predict": [str(tmp_path / "x.jsonl"), "--output", str(tmp_path / "y.jsonl")],
        "serve": [],
    }[command]
    (tmp_path / "text.txt").write_text(TEXTS[0], encoding="utf-8")
    with pytest.raises(Exception, match="backend must be torch, onnx or openvino, not 'tpu'"):
        CliRunner().invoke(app, [command, *given, "--backend", "tpu"], catch_exceptions=False)
