"""Small runs of tiny models on the shipped corpus."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import socket
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

from accelerate.state import AcceleratorState
from rich.console import Console

from polyspan.experiments.recipe import Recipe
from polyspan.experiments.run import run_recipe


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


def digest(folder: Path, model: str = "model") -> str:
    return hashlib.sha256((folder / model / "model.safetensors").read_bytes()).hexdigest()


def start(work: Callable[..., Any], *arguments: Any) -> Any:
    """Begin the work in a process of its own, which has this one's modules already."""
    child = multiprocessing.get_context("fork").Process(target=work, args=arguments)
    child.start()
    return child


def run_together(made: Recipe, processes: int = 2) -> list[str]:
    """Run a recipe in several processes; what each of them raised, or nothing."""
    return together(lambda: run_recipe(made, quiet()), processes)


def together(work: Callable[[], object], processes: int = 2) -> list[str]:
    """Do the same in several processes, numbered as a launcher does; what each of them raised, or nothing."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    raised = multiprocessing.get_context("fork").SimpleQueue()

    def numbered(rank: int) -> None:
        environment = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
        environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": 1}
        os.environ.update({name: str(value) for name, value in environment.items()})
        AcceleratorState._reset_state(reset_partial_state=True)
        try:
            work()
            raised.put("")
        except Exception as error:
            raised.put(f"{type(error).__name__}: {error}")

    children = [start(numbered, rank) for rank in range(processes)]
    for child in children:
        child.join()
    return sorted(raised.get() for _ in children)
