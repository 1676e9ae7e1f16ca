"""Attention of a CPU's training against PyTorch's own."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from polyspan.models.attention import matmul_attention

SEQUENCES, HEADS, TOKENS, SIZE = 5, 3, 7, 4
MASKS = {
    "none": None,
    "of each sequence": torch.arange(TOKENS) < torch.tensor([7, 3, 5, 1, 6])[:, None, None, None],
    "of all sequences": torch.arange(TOKENS)[None, None, None] < 5,
    "of each query": (torch.arange(TOKENS)[:, None] - torch.arange(TOKENS)).abs()[None, None] < 3,
}


@pytest.mark.parametrize("at_a_time", [1, 2, 5])
@pytest.mark.parametrize("mask", MASKS)
def test_values_and_gradients_are_those_of_the_library(
    mask: str, at_a_time: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polyspan.models.attention.CACHED_SCORES", at_a_time * HEADS * TOKENS**2 * 8)
    drawn = torch.Generator().manual_seed(1)
    inputs = [
        torch.randn(SEQUENCES, HEADS, TOKENS, SIZE, dtype=torch.float64, generator=drawn).requires_grad_()
        for _ in range(3)
    ]
    weights = torch.randn(SEQUENCES, TOKENS, HEADS, SIZE, dtype=torch.float64, generator=drawn)

    mixed, _ = matmul_attention(torch.nn.Identity(), *inputs, MASKS[mask])
    ours = torch.autograd.grad((mixed * weights).sum(), inputs)
    expected = scaled_dot_product_attention(*inputs, attn_mask=MASKS[mask]).transpose(1, 2)
    theirs = torch.autograd.grad((expected * weights).sum(), inputs)

    assert mixed.is_contiguous()
    torch.testing.assert_close(mixed, expected)
    for gradient, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(gradient, other)


def test_heads_that_share_a_key_are_those_of_the_library() -> None:
    drawn = torch.Generator().manual_seed(1)
    query = torch.randn(SEQUENCES, 4, TOKENS, SIZE, generator=drawn).requires_grad_()
    key, value = (torch.randn(SEQUENCES, 2, TOKENS, SIZE, generator=drawn).requires_grad_() for _ in range(2))
    layer = torch.nn.Identity()
    layer.num_key_value_groups = 2  # type: ignore[assignment]
    mask = MASKS["of each sequence"]

    mixed, _ = matmul_attention(layer, query, key, value, mask)
    ours = torch.autograd.grad(mixed.square().sum(), (query, key, value))
    expected = scaled_dot_product_attention(query, key, value, attn_mask=mask, enable_gqa=True).transpose(1, 2)
    theirs = torch.autograd.grad(expected.square().sum(), (query, key, value))

    torch.testing.assert_close(mixed, expected)
    for gradient, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(gradient, other)


def test_mixed_precision_is_the_librarys() -> None:
    """Some encoders turn queries and keys by their positions in fp32, and leave the values in bf16."""
    drawn = torch.Generator().manual_seed(1)
    query, key, value = (torch.randn(SEQUENCES, HEADS, TOKENS, SIZE, generator=drawn) for _ in range(3))
    leaves = [part.requires_grad_() for part in (query, key, value.bfloat16())]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed, _ = matmul_attention(torch.nn.Identity(), *leaves, None)
        expected = scaled_dot_product_attention(*leaves).transpose(1, 2)
    assert mixed.dtype == expected.dtype == torch.bfloat16
    torch.testing.assert_close(mixed, expected, rtol=0.05, atol=0.05)
    gradients = torch.autograd.grad(mixed.float().sum(), leaves)
    assert [gradient.dtype for gradient in gradients] == [torch.float32, torch.float32, torch.bfloat16]


@pytest.mark.parametrize("at_a_time", [1, 5])
@pytest.mark.parametrize("start", [0.0, 1.0])
@pytest.mark.parametrize("shape", [(1, HEADS, TOKENS, TOKENS), (SEQUENCES, 1, TOKENS, TOKENS)])
def test_a_bias_is_learnt(
    shape: tuple[int, ...], start: float, at_a_time: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is added to the scores can be learnt, where it is given in place of a mask."""
    monkeypatch.setattr("polyspan.models.attention.CACHED_SCORES", at_a_time * HEADS * TOKENS**2 * 8)
    drawn = torch.Generator().manual_seed(1)
    inputs = [torch.randn(SEQUENCES, HEADS, TOKENS, SIZE, dtype=torch.float64, generator=drawn) for _ in range(3)]
    bias = (start * torch.randn(shape, dtype=torch.float64, generator=drawn)).requires_grad_()

    mixed, _ = matmul_attention(torch.nn.Identity(), *inputs, bias)
    (ours,) = torch.autograd.grad(mixed.square().sum(), bias)
    expected = scaled_dot_product_attention(*inputs, attn_mask=bias).transpose(1, 2)
    (theirs,) = torch.autograd.grad(expected.square().sum(), bias)

    torch.testing.assert_close(mixed, expected)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("mask", MASKS)
def test_distances_are_learnt_beside_a_mask(mask: str) -> None:
    """T5 and its kin give what their distances add by a name of its own."""
    drawn = torch.Generator().manual_seed(1)
    inputs = [torch.randn(SEQUENCES, HEADS, TOKENS, SIZE, dtype=torch.float64, generator=drawn) for _ in range(3)]
    distances = torch.randn(1, HEADS, TOKENS, TOKENS, dtype=torch.float64, generator=drawn).requires_grad_()

    mixed, _ = matmul_attention(torch.nn.Identity(), *inputs, MASKS[mask], position_bias=distances)
    (ours,) = torch.autograd.grad(mixed.square().sum(), distances)
    allowed = MASKS[mask]
    bias = distances if allowed is None else distances.masked_fill(~allowed, -torch.inf)
    expected = scaled_dot_product_attention(*inputs, attn_mask=bias).transpose(1, 2)
    (theirs,) = torch.autograd.grad(expected.square().sum(), distances)

    torch.testing.assert_close(mixed, expected)
    torch.testing.assert_close(ours, theirs)


def test_dropout_is_refused() -> None:
    states = torch.ones(1, 1, 1, 1)
    with pytest.raises(ValueError, match="no dropout"):
        matmul_attention(torch.nn.Identity(), states, states, states, None, dropout=0.1)
    with pytest.raises(ValueError, match="no cap"):
        matmul_attention(torch.nn.Identity(), states, states, states, None, softcap=30.0)
