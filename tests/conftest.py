"""Settings that every test shares: no network, and the real data where there is any."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
if "PYTEST_XDIST_WORKER" in os.environ:  # tests side by side, and what they start, get a core each
    os.environ.setdefault("OMP_NUM_THREADS", "1")
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as shells start what runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real data sets in their publishers' layouts."""
    setting = os.environ.get("POLYSPAN_DATA")
    if not setting:
        pytest.skip("POLYSPAN_DATA is not set: the real data sets are not here")
    return Path(setting)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random model with a Unigram tokeniser; modules that need another have a fixture of this name."""
    from tiny_models import tiny_unigram

    return tiny_unigram(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def one_thread() -> Iterator[None]:
    """A tiny model gains nothing from a second thread and waits for it."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
