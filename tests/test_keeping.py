"""What is there to keep phase 1's knowledge and to choose pairs, each against a plain computation."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from transformers import AlbertConfig, AlbertForQuestionAnswering

from polyspan.experiments.prepare import PrepareError, prepare
from polyspan.experiments.recipe import Data
from polyspan.experiments.run import RunStopped, run_recipe
from polyspan.experiments.set_up import RunError, check_layers, make_trainer
from polyspan.models import load_model
from polyspan.training.batches import EpochBatches
from polyspan.training.checkpoints import CheckpointError
from polyspan.training.keeping import slow_lower_layers
from test_resume import stop_after
from tiny_encoders import EMBEDDINGS, ENCODERS, LAYER
from tiny_runs import digest, quiet, recipe

pytestmark = pytest.mark.usefixtures("one_thread")


def trainer(model: Path, run_dir: Path, **changes: Any) -> Any:
    run_dir.mkdir(parents=True, exist_ok=True)
    made = recipe(model, run_dir, **changes)
    loaded = load_model(str(model), dropout=0.0)
    return make_trainer(made, loaded.model, loaded.tokenizer, prepare(made.data, made.seed), quiet())


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return {name: p.detach() for name, p in load_model(str(folder)).model.named_parameters()}


@pytest.mark.parametrize("kind", ENCODERS)
def test_rates_fall_from_the_head_to_the_embeddings(kind: str, tmp_path: Path) -> None:
    reader = load_model(str(ENCODERS[kind](tmp_path))).model
    optimizer = torch.optim.AdamW(reader.parameters(), lr=1.0)
    slow_lower_layers(optimizer, reader, 0.5)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert len(rates) == len(list(reader.parameters()))
    for name, parameter in reader.named_parameters():
        places = {EMBEDDINGS: 0.125, f"{LAYER}0": 0.25, f"{LAYER}1": 0.5, "": 1.0}
        expected = next(rate for part, rate in places.items() if re.search(part, name))
        assert rates[id(parameter)] == expected, name


def test_a_run_takes_its_rates_and_1_changes_nothing(model: Path, tmp_path: Path) -> None:
    for name, decay in {"usual": None, "one": 1.0, "half": 0.5}.items():
        run_recipe(recipe(model, tmp_path / name, training={} if decay is None else {"layer_decay": decay}), quiet())
    assert digest(tmp_path / "usual") == digest(tmp_path / "one") != digest(tmp_path / "half")
    slow = trainer(model, tmp_path / "slow", training={"layer_decay": 0.5, "frozen_layers": 0})
    slow.create_optimizer_and_scheduler(10)
    assert {group["initial_lr"] for group in slow.optimizer.param_groups} == {1e-3, 5e-4, 2.5e-4}


def test_each_step_pulls_the_weights_back(model: Path, tmp_path: Path) -> None:
    one = {"epochs": 1, "batch_tokens": 10**6}  # one step, so that Adam's own part is the same in both
    rate, strength = 1e-3, 300.0
    free, held = tmp_path / "free", tmp_path / "held"
    run_recipe(recipe(model, free, training=one), quiet())
    run_recipe(recipe(model, held, training={**one, "pull_to_start": strength}), quiet())
    began, moved, pulled = weights(model), weights(free / "model"), weights(held / "model")
    for name, start in began.items():
        expected = moved[name] + rate * strength * (start - moved[name])
        assert torch.allclose(pulled[name], expected, atol=1e-7), name
    assert not torch.equal(pulled["qa_outputs.weight"], moved["qa_outputs.weight"])
    with pytest.raises(ValidationError, match="must stay below 1"):
        recipe(model, tmp_path, training={"pull_to_start": 1000.0})


def test_a_run_that_goes_on_is_pulled_to_where_it_began(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pulled: dict[str, Any] = {"epochs": 1, "pull_to_start": 300.0, "save_steps": 2}
    began = tmp_path / "began"
    shutil.copytree(model, began)
    stop_after(monkeypatch, 3)
    with pytest.raises(RunStopped):
        run_recipe(recipe(began, tmp_path / "run", training=pulled), quiet())
    monkeypatch.undo()
    weights = load_file(began / "model.safetensors")
    weights["qa_outputs.bias"] += 1
    save_file(weights, began / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match="began with other weights than the recipe's model has now"):
        run_recipe(recipe(began, tmp_path / "run", training=pulled), quiet())
    shutil.copy(model / "model.safetensors", began / "model.safetensors")
    run_recipe(recipe(began, tmp_path / "run", training=pulled), quiet())
    run_recipe(recipe(model, tmp_path / "whole", training=pulled), quiet())
    assert digest(tmp_path / "run") == digest(tmp_path / "whole")


def test_the_first_epoch_has_questions_in_the_language_of_their_context_first(model: Path, tmp_path: Path) -> None:
    windows = trainer(model, tmp_path / "a").windows
    batches = EpochBatches(windows, 1024, seed=1, same_language_first=True)

    def crosses(batch: list[int]) -> set[bool]:
        pairs = [windows.pairs[windows.pair_index[index]] for index in batch]
        return {pair.question_language != pair.context_language for pair in pairs}

    first = list(batches)
    kinds = [crosses(batch) for batch in first]
    assert all(len(kind) == 1 for kind in kinds)
    flat = [next(iter(kind)) for kind in kinds]
    assert flat == sorted(flat)
    assert len(set(flat)) == 2
    batches.set_epoch(1)
    second = list(batches)
    assert sorted(map(tuple, second)) == sorted(map(tuple, first))
    later = [next(iter(crosses(batch))) for batch in second]
    assert later != sorted(later)
    assert sorted(index for batch in first for index in batch) == list(range(len(windows)))
    assert len(batches) == len(first)


def test_pairs_are_drawn_by_what_they_lack(tmp_path: Path) -> None:
    languages = ["en", "de"]
    scores = {("en", "en"): 90.0, ("en", "de"): 70.0, ("de", "en"): 70.0, ("de", "de"): 50.0}
    table = tmp_path / "scores.json"
    pairs = [{"question_language": q, "context_language": c, "f1": f1} for (q, c), f1 in scores.items()]
    table.write_text(json.dumps({"pairs": pairs}), encoding="utf-8")
    counts: Counter[tuple[str, str]] = Counter()
    for seed in range(12):
        data = Data(
            path="commons/train", languages=languages, target_languages=1, pairs_per_seed=1, pair_weights=str(table)
        )
        counts.update((pair.question_language, pair.context_language) for pair in prepare(data, seed).pairs)
    drawn = sum(counts.values())
    for languages_, f1 in scores.items():
        share = (100 - f1) / 120
        assert abs(counts[languages_] / drawn - share) < 4 * math.sqrt(share * (1 - share) / drawn), languages_
    wider = Data(
        path="commons/train", languages=["en", "es"], target_languages=1, pairs_per_seed=1, pair_weights=str(table)
    )
    with pytest.raises(PrepareError, match=r"data.pair_weights: .*scores.json: no weight for .*; evaluate these"):
        prepare(wider, 1)
    table.write_text("[]", encoding="utf-8")
    with pytest.raises(PrepareError, match="holds no scores of language pairs"):
        prepare(wider, 1)
    table.unlink()
    with pytest.raises(PrepareError, match=r"scores.json: No such file"):
        prepare(wider, 1)
    with pytest.raises(ValidationError, match="they need pairs_per_seed"):
        recipe(tmp_path, tmp_path, data={"pair_weights": "scores.json"})


def test_a_model_without_a_list_of_layers_has_none_to_slow(tmp_path: Path) -> None:
    sizes: dict[str, Any] = {"vocab_size": 400, "num_attention_heads": 2, "num_hidden_layers": 2}
    config = AlbertConfig(embedding_size=32, hidden_size=32, intermediate_size=64, **sizes)
    made = recipe(tmp_path, tmp_path, training={"layer_decay": 0.9, "frozen_layers": 0})
    with pytest.raises(RunError, match=r"training.layer_decay: 0.9, but a AlbertModel has no layers"):
        check_layers(AlbertForQuestionAnswering(config), made.training)
