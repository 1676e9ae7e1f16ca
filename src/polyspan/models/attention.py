"""Attention for training on a CPU: two batched matrix products with a softmax between them.

PyTorch's fused attention recomputes the scores block by block in its backward pass, which on a CPU
took 40% of a training step of this project's default encoder where the products themselves are 10%.
Sequences of a reader are short, so keeping the probabilities (batch x heads x tokens^2, in the
compute precision) costs little memory and buys that time back. Registered with ``transformers``
under the name ``matmul``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

NAME = "matmul"
EXCLUDED = -1e4
CACHED_SCORES = 2**22
"""Bytes of scores at a time; all at once take twice as long on sequences of 384 tokens."""


class _MatmulAttention(torch.autograd.Function):
    """softmax(q k^T + bias) v with its own backward, so that only the probabilities are kept."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
        sequences, heads, tokens, _ = query.shape
        # As the next layer wants it, (sequences, tokens, heads, head size), seen as the products give it.
        mixed = query.new_empty(sequences, tokens, heads, value.shape[-1]).transpose(1, 2)
        kept = []
        for part in _parts(query, key):
            scores = torch.matmul(query[part], key[part].transpose(-1, -2))
            if bias is not None:
                scores += bias[part]
            probabilities = torch.softmax(scores, dim=-1)
            mixed[part] = torch.matmul(probabilities, value[part])
            kept.append(probabilities)
        ctx.save_for_backward(query, key, value, bias, *kept)
        return mixed

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        query, key, value, bias, *kept = ctx.saved_tensors
        grad_query, grad_key, grad_value = (torch.empty_like(tensor) for tensor in (query, key, value))
        grad_bias = torch.empty_like(bias) if ctx.needs_input_grad[3] else None
        for part, probabilities in zip(_parts(query, key), kept, strict=True):
            grad = grads[0][part].contiguous()
            grad_value[part] = torch.matmul(probabilities.transpose(-1, -2), grad)
            grad_probabilities = torch.matmul(grad, value[part].transpose(-1, -2))
            grad_scores = torch._softmax_backward_data(grad_probabilities, probabilities, -1, probabilities.dtype)
            grad_query[part] = torch.matmul(grad_scores, key[part])
            grad_key[part] = torch.matmul(grad_scores.transpose(-1, -2), query[part])
            if grad_bias is not None:
                grad_bias[part] = grad_scores.sum_to_size(bias[part].shape)
        return grad_query, grad_key, grad_value, grad_bias


def _parts(query: Tensor, key: Tensor) -> Iterator[slice]:
    """A few sequences at a time, whose scores the processor's caches hold from one product to the next."""
    sequences, heads, tokens, _ = query.shape
    each = heads * tokens * key.shape[2] * query.element_size()
    size = max(1, CACHED_SCORES // each)
    for first in range(0, sequences, size):
        yield slice(first, first + size)


def matmul_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    position_bias: Tensor | None = None,
    softcap: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention as ``transformers`` calls it.

    Args:
        module: the attention layer, which knows how many heads of the queries share one of the keys.
        query: (batch, heads, tokens, head size).
        key, value: the same, or with as many times fewer heads.
        attention_mask: (batch, 1 or heads, tokens or 1, tokens), True or 0 where a token may be read; or what is
            added to the scores, which may be learnt.
        scaling: of the scores; one over the root of the head size by default.
        dropout: must be 0; this path exists to do without it.
        position_bias: (1 or batch, heads, tokens, tokens), added to the scores and learnt: the distances of T5's kin.
        softcap: must be None; no encoder asked for it yet.

    Returns:
        (batch, tokens, heads, head size), and no attention weights.
    """
    if dropout:
        raise ValueError("matmul attention has no dropout; set the model's attention dropout to 0")
    if softcap is not None:
        raise ValueError("matmul attention has no cap on its scores; give the model's attention a dropout")
    place = query.device.type
    if torch.is_autocast_enabled(place):  # as PyTorch's own does; what turns positions may come in fp32
        query, key, value = (part.to(torch.get_autocast_dtype(place)) for part in (query, key, value))
    bias = None
    if attention_mask is not None:
        # Where keys are excluded for all queries alike, one row is enough; local attention needs every row, and so
        # does what is learnt, in which rows can be alike by chance.
        rows = attention_mask[:, :, :1]
        if attention_mask.requires_grad or not torch.equal(rows.expand_as(attention_mask), attention_mask):
            rows = attention_mask
        if rows.dtype == torch.bool:
            bias = torch.zeros(rows.shape, dtype=query.dtype, device=query.device).masked_fill_(~rows, EXCLUDED)
        else:
            bias = rows.to(query.dtype).clamp_min(EXCLUDED)
    if position_bias is not None:
        distances = position_bias.to(query.dtype)
        bias = distances if bias is None else distances + bias
    if bias is not None:
        bias = bias.expand(query.shape[0], -1, -1, -1)
    groups = getattr(module, "num_key_value_groups", 1)
    if groups > 1:
        key, value = (part.repeat_interleave(groups, dim=1) for part in (key, value))
    scaled = query * (scaling if scaling is not None else query.shape[-1] ** -0.5)
    mixed = _MatmulAttention.apply(scaled, key, value, bias)  # type: ignore[no-untyped-call]
    return mixed.transpose(1, 2), None


def register() -> str:
    """Make the name known to ``transformers``; returns it."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import eager_mask

    AttentionInterface.register(NAME, matmul_attention)
    # Numbers to add, not booleans: encoders without exchangeable attention add whatever mask they get to their scores.
    AttentionMaskInterface.register(NAME, eager_mask)
    return NAME
