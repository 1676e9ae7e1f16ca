"""Attention for training on a CPU: two batched matrix products with a softmax between them.

PyTorch's fused attention recomputes the scores block by block in its backward pass, which on a CPU
took 40% of a training step of this project's default encoder where the products themselves are 10%.
Sequences of a reader are short, so keeping the probabilities (batch x heads x tokens^2, in the
compute precision) costs little memory and buys that time back. Registered with ``transformers``
under the name ``matmul``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

NAME = "matmul"
EXCLUDED = -1e4


class _MatmulAttention(torch.autograd.Function):
    """softmax(q k^T + bias) v with its own backward, so that only the probabilities are kept."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
        scores = torch.matmul(query, key.transpose(-1, -2))
        if bias is not None:
            scores += bias
        probabilities = torch.softmax(scores, dim=-1)
        ctx.save_for_backward(query, key, value, probabilities)
        return torch.matmul(probabilities, value)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        query, key, value, probabilities = ctx.saved_tensors
        grad = grads[0].contiguous()
        grad_value = torch.matmul(probabilities.transpose(-1, -2), grad)
        grad_probabilities = torch.matmul(grad, value.transpose(-1, -2))
        grad_scores = torch._softmax_backward_data(grad_probabilities, probabilities, -1, probabilities.dtype)
        grad_query = torch.matmul(grad_scores, key)
        grad_key = torch.matmul(grad_scores.transpose(-1, -2), query)
        return grad_query, grad_key, grad_value, None


def matmul_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention as ``transformers`` calls it.

    Args:
        module: the attention layer, unused.
        query, key, value: (batch, heads, tokens, head size).
        attention_mask: (batch, 1, tokens or 1, tokens), True or 0 where a token may be read.
        scaling: of the scores; one over the root of the head size by default.
        dropout: must be 0; this path exists to do without it.

    Returns:
        (batch, tokens, heads, head size), and no attention weights.
    """
    if dropout:
        raise ValueError("matmul attention has no dropout; set the model's attention dropout to 0")
    bias = None
    if attention_mask is not None:
        # Where keys are excluded for all queries alike, one row is enough; local attention needs every row.
        rows = attention_mask[:, :, :1]
        if not torch.equal(rows.expand_as(attention_mask), attention_mask):
            rows = attention_mask
        if rows.dtype == torch.bool:
            bias = torch.zeros(rows.shape, dtype=query.dtype, device=query.device).masked_fill_(~rows, EXCLUDED)
        else:
            bias = rows.to(query.dtype).clamp_min(EXCLUDED)
    scaled = query * (scaling if scaling is not None else query.shape[-1] ** -0.5)
    mixed = _MatmulAttention.apply(scaled, key, value, bias)  # type: ignore[no-untyped-call]
    return mixed.transpose(1, 2).contiguous(), None


def register() -> str:
    """Make the name known to ``transformers``; returns it."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import eager_mask

    AttentionInterface.register(NAME, matmul_attention)
    # Numbers to add, not booleans: encoders without exchangeable attention add whatever mask they get to their scores.
    AttentionMaskInterface.register(NAME, eager_mask)
    return NAME
