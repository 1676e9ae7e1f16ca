"""Which devices multiply in bf16; on the others it is emulated, and many times slower than fp32."""

from __future__ import annotations

import torch


def multiplies_in_bf16(device: str) -> bool:
    """Whether matrix products in bf16 are done by the hardware.

    Args:
        device: its type, such as "cpu" or "cuda".
    """
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device == "cpu" and bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
