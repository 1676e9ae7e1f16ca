"""On which devices bf16 pays; on the others it is emulated or slow, and fp32 is several times as fast."""

from __future__ import annotations

import functools
import time

import torch

TRIALS = 7
SHAPE = (1024, 384, 384)
"""Rows, columns and depth of the product that is timed: a small encoder's, 2 milliseconds or less."""


@functools.cache
def faster_in_bf16(device: str) -> bool:
    """Whether the hardware does matrix products in bf16, and faster than in fp32.

    A processor that has the instructions of AVX-512 BF16 without AMX may take twice as long for them as for
    fp32 (Intel's since Sapphire Rapids, where AMX is hidden from a virtual machine) or half as long (AMD's
    since Zen 4), so that there both are timed, once in a process: some 20 milliseconds.

    Args:
        device: its type, such as "cpu" or "cuda".
    """
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device != "cpu":
        return False
    if torch.cpu._is_amx_tile_supported():
        return True
    return bool(torch.cpu._is_avx512_bf16_supported()) and product_seconds(torch.bfloat16) < product_seconds(
        torch.float32
    )


def product_seconds(precision: torch.dtype) -> float:
    """Seconds of a matrix product of `SHAPE` on the processor: the best of `TRIALS`, as others may be at work."""
    rows, columns, depth = SHAPE
    left, right = torch.ones(rows, depth, dtype=precision), torch.ones(columns, depth, dtype=precision)
    seconds = []
    with torch.inference_mode():
        for _ in range(TRIALS + 1):
            started = time.perf_counter()
            torch.nn.functional.linear(left, right)
            seconds.append(time.perf_counter() - started)
    return min(seconds[1:])  # the first one prepares
