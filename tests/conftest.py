"""Settings that every test shares: no network, and the real data where there is any."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real data sets in their publishers' layouts."""
    setting = os.environ.get("POLYSPAN_DATA")
    if not setting:
        pytest.skip("POLYSPAN_DATA is not set: the real data sets are not here")
    return Path(setting)
