"""bf16 is taken where it is faster than fp32, which on some processors only a measurement tells."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from polyspan.encoding import precision
from polyspan.encoding.precision import faster_in_bf16, product_seconds


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    faster_in_bf16.cache_clear()
    yield
    faster_in_bf16.cache_clear()


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> list[torch.dtype]:
    """A processor where a product in bf16 takes twice as long as in fp32; which precisions were timed."""
    asked: list[torch.dtype] = []

    def seconds(dtype: torch.dtype) -> float:
        asked.append(dtype)
        return 2e-3 if dtype == torch.bfloat16 else 1e-3

    monkeypatch.setattr(precision, "product_seconds", seconds)
    return asked


def processor(monkeypatch: pytest.MonkeyPatch, *, avx512_bf16: bool, amx: bool) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512_bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)


def test_instructions_that_are_slower_are_not_taken(monkeypatch: pytest.MonkeyPatch, timed: list[torch.dtype]) -> None:
    processor(monkeypatch, avx512_bf16=True, amx=False)
    assert [faster_in_bf16("cpu") for _ in range(3)] == [False] * 3
    assert sorted(map(str, timed)) == ["torch.bfloat16", "torch.float32"]  # once in a process


def test_instructions_that_are_faster_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    processor(monkeypatch, avx512_bf16=True, amx=False)
    monkeypatch.setattr(precision, "product_seconds", lambda dtype: 1e-3 if dtype == torch.bfloat16 else 2e-3)
    assert faster_in_bf16("cpu")


@pytest.mark.parametrize("amx", [False, True])
def test_what_is_known_is_not_measured(monkeypatch: pytest.MonkeyPatch, timed: list[torch.dtype], amx: bool) -> None:
    processor(monkeypatch, avx512_bf16=amx, amx=amx)
    assert faster_in_bf16("cpu") is amx
    assert not faster_in_bf16("mps")
    assert not timed


def test_here_the_faster_one_is_taken() -> None:
    taken, other = torch.bfloat16, torch.float32
    if not faster_in_bf16("cpu"):
        taken, other = other, taken
    assert product_seconds(taken) < 1.5 * product_seconds(other)  # others may be at work
