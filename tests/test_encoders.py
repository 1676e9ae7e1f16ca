"""Every kind of encoder goes the whole way: load, read, train, save, load again."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from polyspan.answering.evidence import gather
from polyspan.corpus import load_corpus
from polyspan.encoding.predict import predict
from polyspan.experiments.evaluate import evaluate_model
from polyspan.experiments.recipe import Evaluation
from polyspan.experiments.run import run_recipe
from polyspan.experiments.set_up import training_attention
from polyspan.models import ModelError, load_model
from polyspan.models.load import longest_window
from tiny_encoders import EMBEDDINGS, ENCODERS, LAYER, xlm_roberta
from tiny_runs import quiet, recipe


@pytest.fixture(scope="module", params=ENCODERS)
def encoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ENCODERS[request.param](tmp_path_factory.mktemp(request.param))


def test_an_encoder_without_a_head_gets_a_new_one(encoder: Path) -> None:
    first, second, other = (load_model(str(encoder), seed=seed) for seed in (1, 1, 2))
    assert first.fresh_head
    same = [torch.equal(a, b) for a, b in zip(first.model.parameters(), second.model.parameters(), strict=True)]
    assert all(same)
    differs = {
        name
        for (name, a), b in zip(first.model.named_parameters(), other.model.parameters(), strict=True)
        if not torch.equal(a, b)
    }
    assert differs
    assert not any(name.startswith(f"{first.model.base_model_prefix}.") for name in differs)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_dropout_is_that_of_every_place(encoder: Path, dropout: float) -> None:
    """Whatever a kind calls its dropouts: no module is left with the checkpoint's own 0.1."""
    model = load_model(str(encoder), dropout=dropout).model
    places = {name: module.p for name, module in model.named_modules() if isinstance(module, torch.nn.Dropout)}
    assert set(places.values()) <= {dropout}, places
    assert places or model.config.attention_dropout == dropout


def test_answers_are_exact_substrings_and_do_not_depend_on_the_batch(encoder: Path) -> None:
    loaded = load_model(str(encoder))
    corpus = load_corpus("commons/dev", languages=["ar", "de", "hi", "zh"])
    pairs = corpus.pairs()[::29]
    alone = predict(loaded.model, loaded.tokenizer, corpus, pairs, top_k=2, max_length=128, overlap=32, batch_tokens=1)
    together = predict(loaded.model, loaded.tokenizer, corpus, pairs, top_k=2, max_length=128, overlap=32)
    for one, other in zip(alone, together, strict=True):
        assert len(one.spans) == 2
        for span, twin in zip(one.spans, other.spans, strict=True):
            assert corpus.context(one.pair)[span.start : span.end] == span.text
            assert span.score == pytest.approx(twin.score, rel=1e-3)
        assert one.no_answer == pytest.approx(other.no_answer, rel=1e-3)


def test_the_attention_of_training_reads_what_the_librarys_own_reads(encoder: Path) -> None:
    """Texts are longer than the stretch that a local attention sees, and one of two ends early."""
    ids = torch.randint(4, 50, (2, 100), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[1, 70:] = 0
    plain, ours = (
        load_model(str(encoder), attn_implementation=kind).model(input_ids=ids, attention_mask=mask).start_logits
        for kind in (None, training_attention(0.0))
    )
    assert torch.allclose(ours[mask.bool()], plain[mask.bool()], atol=1e-5)


def test_training_moves_what_is_not_frozen_and_saves_a_whole_reader(encoder: Path, tmp_path: Path) -> None:
    chosen = recipe(encoder, tmp_path / "run", training={"epochs": 1, "precision": "fp32"})
    result = run_recipe(chosen, quiet())
    before, after = load_model(str(encoder), seed=chosen.seed).model, load_model(str(result.model))
    assert not after.fresh_head
    moved = {
        name
        for (name, a), b in zip(before.named_parameters(), after.model.parameters(), strict=True)
        if not torch.equal(a, b)
    }
    assert any(name.startswith(("qa_outputs", "classifier")) for name in moved)
    assert any(re.search(f"{LAYER}1", name) for name in moved)
    assert not any(re.search(rf"{LAYER}0|{EMBEDDINGS}", name) for name in moved)


def test_a_checkpoint_that_lacks_a_layer_is_refused(encoder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    for path in encoder.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    lost = [name for name in weights if re.search(f"{LAYER}1", name)]
    save_file({k: v for k, v in weights.items() if k not in lost}, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"no weights for .*1\..* and \d+ more"):
        load_model(str(tmp_path))


def test_no_more_tokens_are_read_than_there_are_positions(tmp_path: Path) -> None:
    """XLM-RoBERTa's 514 positions begin after that of padding, and its tokeniser may not tell its length."""
    loaded = load_model(str(xlm_roberta(tmp_path)))
    loaded.tokenizer.model_max_length = 10**30
    assert longest_window(loaded.model.config, loaded.tokenizer) == 512
    ids = torch.full((1, 512), 5)
    assert loaded.model(input_ids=ids).start_logits.shape == (1, 512)
    with pytest.raises((IndexError, RuntimeError)):
        loaded.model(input_ids=torch.full((1, 513), 5))


def test_evaluation_reads_no_more_than_the_model_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load_model(str(xlm_roberta(tmp_path)))
    loaded.tokenizer.model_max_length = 100
    read: list[int] = []
    forward = loaded.model.forward

    def counted(*args: Any, **inputs: Any) -> Any:
        read.append(inputs["input_ids"].shape[1])
        return forward(*args, **inputs)

    monkeypatch.setattr(loaded.model, "forward", counted)
    asked = Evaluation(path="commons/test", languages=["en"], limit=2)
    evaluate_model(loaded.model, loaded.tokenizer, asked, None, quiet())
    corpus = load_corpus("commons/test", languages=["en"])
    gather(loaded.model, loaded.tokenizer, corpus, list(corpus.pairs())[:2], "mlqa")
    assert set(read) == {96}  # the multiple of 8 below 100
