"""What a command ran on."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from typing import Any

from polyspan.processes import process_count


def describe_environment() -> dict[str, Any]:
    """Versions and machine, for the run folder and for ``polyspan doctor``."""
    import torch

    packages = ("polyspan", "torch", "transformers", "accelerate", "tokenizers", "safetensors", "numpy")
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "processes": process_count(),
        "device": torch.cuda.get_device_name(0) if torch.cuda.is_available() else "cpu",
        **{name: metadata.version(name) for name in packages},
    }
