"""Small runs of tiny models on the shipped corpus."""

from __future__ import annotations

import hashlib
from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Console

from polyspan.experiments.recipe import Recipe


def recipe(model: Path, run_dir: Path, **changes: Any) -> Recipe:
    settings: dict[str, Any] = {
        "run_dir": run_dir,
        "seed": 3,
        "model": str(model),
        "data": {"path": "commons/train", "target_languages": 2, "seeds": 3},
        "objective": {"alpha_kl": 1, "coefficient": "first_hit"},
        "training": {"epochs": 2, "learning_rate": 1e-3, "batch_tokens": 2048, "frozen_layers": 1, "save_steps": 2},
    }
    for section, values in changes.items():
        settings[section] = {**settings.get(section, {}), **values} if isinstance(values, dict) else values
    return Recipe.model_validate(settings)


def quiet() -> Console:
    return Console(file=StringIO())


def digest(folder: Path) -> str:
    return hashlib.sha256((folder / "model" / "model.safetensors").read_bytes()).hexdigest()
