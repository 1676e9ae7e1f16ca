"""Exports answer as the model did, for any number of windows; those that do not are not written."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from polyspan.answering import Answerer, onnx_export, onnx_model
from polyspan.answering.onnx_gate import Gate
from polyspan.answering.onnx_model import OnnxError
from polyspan.cli.main import app
from polyspan.corpus import load_corpus
from polyspan.corpus.model import Answer
from polyspan.errors import PolyspanError
from polyspan.evaluation.evaluate import limit_pairs
from polyspan.models.errors import ModelError
from polyspan.models.load import load_model, save_model
from tiny_encoders import ENCODERS
from tiny_models import TEXTS, decided, tiny_bert, tiny_unigram

if TYPE_CHECKING:
    from onnx import ModelProto

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

QUESTIONS = ["Who paid for the stones?", "When was it opened?", "第几年？"]


def gate(max_loss: float = 1.0) -> Gate:
    corpus = load_corpus("commons/test", languages=["de", "en"])
    return Gate(corpus, limit_pairs(corpus.pairs(), 3), "mlqa", max_loss)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return decided(tiny_bert(tmp_path_factory.mktemp("model") / "tiny"))


@pytest.fixture(scope="module")
def exported(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "fp32"
    onnx_export.export_model(str(model), folder, "fp32", gate())
    return folder


@pytest.fixture
def graph(exported: Path) -> ModelProto:
    """What tracing the model gave; tracing takes seconds, so it is done once."""
    import onnx

    return onnx.load(str(exported / "model.onnx"))


@pytest.fixture(scope="module")
def rounded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("export8")
    source = decided(tiny_unigram(folder / "tiny"))
    onnx_export.export_model(str(source), folder / "int8", "int8", gate(100))
    return source, folder / "int8"


def test_an_export_gives_the_same_answers(model: Path, exported: Path) -> None:
    """Token types, several windows of several lengths, scores: all as in PyTorch."""
    torch_, onnx = Answerer(str(model)), Answerer(str(exported), backend="onnx")
    assert isinstance(onnx.loaded.model, onnx_model.OnnxReader)
    assert onnx.loaded.model.inputs == ["input_ids", "token_type_ids", "attention_mask"]
    assert onnx.longest_window == torch_.longest_window
    context = " ".join(TEXTS)
    for options in ({}, {"max_seq_len": 48, "doc_stride": 8}):
        for question in QUESTIONS:
            encoded = torch_.loaded.tokenizer(question, context, return_tensors="pt", truncation=True, max_length=512)
            inputs = {name: encoded[name] for name in onnx.loaded.model.inputs}
            with torch.no_grad():
                wanted, found = torch_.loaded.model(**inputs), onnx.loaded.model(**inputs)
            torch.testing.assert_close(found.start_logits, wanted.start_logits, atol=1e-3, rtol=1e-3)
            torch.testing.assert_close(found.end_logits, wanted.end_logits, atol=1e-3, rtol=1e-3)
        many = onnx.answer(QUESTIONS, context, top_k=3, **options)
        one_by_one = [onnx.answer(question, context, top_k=3, **options) for question in QUESTIONS]
        assert [a.spans[0].text for a in many] == [a.spans[0].text for a in one_by_one]


def test_an_export_is_known_by_its_folder(exported: Path) -> None:
    assert isinstance(Answerer(str(exported)).loaded.model, onnx_model.OnnxReader)
    report = json.loads((exported / "export.json").read_text(encoding="utf-8"))
    assert [row["language"] for row in report["languages"]] == ["de", "en"]
    assert all(row["same"] == 1 and row["before"] == row["after"] for row in report["languages"])
    with pytest.raises(ModelError, match="is an ONNX export"):
        load_model(str(exported))


def test_an_export_stays_on_the_cpu_wherever_it_is_told_to_go(exported: Path) -> None:
    onnx = Answerer(str(exported))
    wanted = onnx.answer(QUESTIONS[0], TEXTS[0])
    onnx.loaded.model.to("meta")  # type: ignore[arg-type]
    assert onnx.answer(QUESTIONS[0], TEXTS[0]) == wanted


def test_answers_in_8_bits_do_not_depend_on_their_batch(
    rounded: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, folder = rounded
    onnx, torch_ = Answerer(str(folder)), Answerer(str(source))
    alone = [onnx.answer(question, text, top_k=5) for question in QUESTIONS for text in TEXTS]
    together = onnx.answer([q for q in QUESTIONS for _ in TEXTS], TEXTS * len(QUESTIONS), top_k=5)
    assert [[s.text for s in a.spans] for a in alone] == [[s.text for s in a.spans] for a in together]
    assert [a.spans[0].score for a in alone] == pytest.approx([a.spans[0].score for a in together], rel=1e-3)
    encoded = torch_.loaded.tokenizer(QUESTIONS[0], TEXTS[0], return_tensors="pt")
    inputs = {name: encoded[name] for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        wanted, found = torch_.loaded.model(**inputs).start_logits, onnx.loaded.model(**inputs).start_logits
    assert np.corrcoef(wanted.flatten(), found.flatten())[0, 1] > 0.98
    assert not torch.equal(wanted, found)
    monkeypatch.setattr(onnx_model, "adds_exactly", lambda: False)
    if json.loads((folder / "export.json").read_text(encoding="utf-8"))["needs_vnni"]:
        with pytest.raises(OnnxError, match=r"rounded for processors with VNNI, .* export it again here"):
            Answerer(str(folder))


def test_the_gate_refuses_an_export_that_answers_otherwise(
    model: Path, graph: ModelProto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph with a broken head loses F1: nothing is written."""
    from onnx import numpy_helper

    for tensor in graph.graph.initializer:
        if sorted(tensor.dims) == [2, 32]:
            tensor.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(tensor), tensor.name))
    monkeypatch.setattr(onnx_export, "trace", lambda *_: graph)
    asked = gate()
    reader, seeds = Answerer(str(model)), dict(asked.corpus.seeds)
    for pair in asked.pairs:
        # The model's own answers are the right ones, so that it has F1 to lose.
        span = reader.answer(asked.corpus.question(pair), asked.corpus.context(pair)).spans[0]
        answers = {**seeds[pair.id].answers, pair.context_language: (Answer(span.text, span.start),)}
        seeds[pair.id] = replace(seeds[pair.id], answers=answers)
    own = replace(asked, corpus=replace(asked.corpus, seeds=seeds))
    with pytest.raises(OnnxError, match=r"not exported: in fp32 F1 falls by more than 1 on .*--max-f1-loss"):
        onnx_export.export_model(str(model), tmp_path / "out", "fp32", own)
    assert list(tmp_path.iterdir()) == []
    report = onnx_export.export_model(str(model), tmp_path / "out", "fp32", replace(own, max_loss=100))
    assert any(row["before"] - row["after"] > 0.01 for row in report["languages"])


def test_a_missing_package_an_other_folder_and_no_export_are_named(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OnnxError, match="not exported to ONNX; do: polyspan export"):
        Answerer(str(model), backend="onnx")
    with pytest.raises(PolyspanError, match="backend must be torch, onnx or openvino"):
        Answerer(str(model), backend="tvm")  # type: ignore[arg-type]
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(OnnxError, match="is no export; name another --output"):
        onnx_export.export_model(str(model), tmp_path, "fp32", gate())
    assert (tmp_path / "mine.txt").read_text(encoding="utf-8") == "mine"
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(OnnxError, match=r"onnxruntime is needed and not installed: pip install 'polyspan\[onnx\]'"):
        Answerer(str(model), backend="onnx")


def test_damaged_files_of_an_export_are_named(exported: Path, tmp_path: Path) -> None:
    for name, content in (("export.json", '{"model": "a", '), ("export.json", "[]"), ("config.json", "{}")):
        folder = shutil.copytree(exported, tmp_path / name / str(len(content)))
        (folder / name).write_text(content, encoding="utf-8")
        with pytest.raises(OnnxError, match=rf"{name}.* cannot be read .*; export it again"):
            Answerer(str(folder))


def test_the_command(model: Path, graph: ModelProto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_export, "trace", lambda *_: graph)
    arguments = ["export", str(model), "--output", str(tmp_path / "out"), "--languages", "en", "--limit", "2", "--json"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    report = json.loads(result.stdout.splitlines()[-1])
    assert (report["rows"], report["precision"], report["languages"][0]["same"]) == (2, "fp32", 1.0)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) >= ["config.json", "export.json", "model.onnx"]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_weights_too_large_for_one_file_go_into_a_second(
    model: Path, graph: ModelProto, precision: onnx_export.Precision, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = graph.SerializeToString()
    monkeypatch.setattr(onnx_export, "trace", lambda *_: type(graph).FromString(data))
    for size in (onnx_model.LARGEST_FILE, 1000):
        monkeypatch.setattr(onnx_model, "LARGEST_FILE", size)
        onnx_export.export_model(str(model), tmp_path / str(size), precision, gate(100))
    one, two = (Answerer(tmp_path / str(size)) for size in (1_900_000_000, 1000))
    assert (tmp_path / "1000" / "model.onnx.data").stat().st_size > (tmp_path / "1000" / "model.onnx").stat().st_size
    for question in QUESTIONS:
        assert two.answer(question, " ".join(TEXTS)) == one.answer(question, " ".join(TEXTS))


def test_embeddings_of_positions_in_8_bits(tmp_path: Path) -> None:
    """DeBERTa multiplies them too, and they are of no window."""
    loaded = load_model(str(ENCODERS["deberta-v2"](tmp_path / "tiny")))
    save_model(loaded.model, loaded.tokenizer, tmp_path / "reader")
    onnx_export.export_model(str(tmp_path / "reader"), tmp_path / "int8", "int8", gate(100))
    rounded = Answerer(tmp_path / "int8").loaded.model
    encoded = loaded.tokenizer(QUESTIONS, [TEXTS[0], TEXTS[1] * 2, "a"], return_tensors="pt", padding=True)
    inputs = {name: encoded[name] for name in ("input_ids", "attention_mask")}
    real = inputs["attention_mask"].bool()
    with torch.no_grad():
        wanted, found = (reader(**inputs).start_logits[real] for reader in (loaded.model.eval(), rounded))
    assert np.corrcoef(wanted, found)[0, 1] > 0.98


def test_graphs_that_are_no_readers_are_named(exported: Path, graph: ModelProto, tmp_path: Path) -> None:
    import onnx

    for change, said in (
        (lambda made: made.graph.output.pop(), "has start_logits where start_logits, end_logits belong"),
        (lambda made: made.graph.input.pop(), r"has .* where attention_mask, input_ids, token_type_ids belong"),
    ):
        folder = shutil.copytree(exported, tmp_path / said[:12])
        made = type(graph)()
        made.CopyFrom(graph)
        change(made)
        onnx.save(made, str(folder / "model.onnx"))
        with pytest.raises(OnnxError, match=rf"no graph of a reader, it {said}|cannot be opened"):
            Answerer(str(folder))


def test_a_home_of_nobody_is_no_export() -> None:
    assert not onnx_model.is_export("~nosuchuser/model")
