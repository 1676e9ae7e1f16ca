"""The recipes and sweeps that come with the package."""

from __future__ import annotations

from importlib import resources
from pathlib import Path


def shipped_recipes() -> dict[str, Path]:
    """Recipes and sweeps by name, such as ``small/skd``; beside the sources in a checkout."""
    installed = Path(str(resources.files("polyspan.experiments"))) / "recipes"
    folder = installed if installed.is_dir() else Path(__file__).parents[3] / "recipes"
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.rglob("*.yaml"))}
