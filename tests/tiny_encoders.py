"""Tiny random encoders of the kinds people bring: without a question-answering head, as they are published."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertModel,
    DebertaV2Config,
    DebertaV2Model,
    DistilBertConfig,
    DistilBertModel,
    JinaEmbeddingsV3Config,
    JinaEmbeddingsV3Model,
    ModernBertConfig,
    ModernBertModel,
    MPNetConfig,
    MPNetModel,
    MT5Config,
    MT5Model,
    PreTrainedTokenizerFast,
    RemBertConfig,
    RemBertModel,
    UltrabertConfig,
    UltrabertModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from tiny_models import TEXTS, tiny_bert, tiny_unigram

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


def byte_level_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE, as ModernBERT has it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=["[CLS]", "[PAD]", "[SEP]", "[UNK]"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 0), ("[SEP]", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        cls_token="[CLS]",
        pad_token="[PAD]",
        sep_token="[SEP]",
        unk_token="[UNK]",
        model_input_names=["input_ids", "attention_mask"],
    )


def _save(kind: Any, config: Any, tokenizer: Any, folder: Path) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        kind(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _unigram(folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(tiny_unigram(folder / "tokenizer"))


def _with_unigram(kind: Any, config: Any, folder: Path, **settings: Any) -> Path:
    tokenizer = _unigram(folder)
    return _save(kind, config(vocab_size=len(tokenizer), pad_token_id=1, **settings), tokenizer, folder / "encoder")


def bert(folder: Path) -> Path:
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert(folder / "tokenizer"))
    config = BertConfig(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **SIZES)
    return _save(BertModel, config, tokenizer, folder / "bert")


def distil_bert(folder: Path) -> Path:
    """With names of its own for sizes, layers and dropouts."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert(folder / "tokenizer"))
    config = DistilBertConfig(
        vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, dim=32, n_layers=2, n_heads=2, hidden_dim=64
    )
    return _save(DistilBertModel, config, tokenizer, folder / "distil-bert")


def xlm_roberta(folder: Path) -> Path:
    sizes = {**SIZES, "max_position_embeddings": 514, "type_vocab_size": 1}
    return _with_unigram(XLMRobertaModel, XLMRobertaConfig, folder, **sizes)


def deberta_v2(folder: Path) -> Path:
    """With mDeBERTa's relative positions and no token types."""
    return _with_unigram(
        DebertaV2Model,
        DebertaV2Config,
        folder,
        type_vocab_size=0,
        relative_attention=True,
        position_buckets=16,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        pos_att_type=["p2c", "c2p"],
        position_biased_input=False,
        **SIZES,
    )


def modern_bert(folder: Path) -> Path:
    """Local and global attention, and a head that is not called ``qa_outputs``."""
    tokenizer = byte_level_tokenizer()
    config = ModernBertConfig(
        vocab_size=len(tokenizer),
        pad_token_id=1,
        cls_token_id=0,
        bos_token_id=0,
        sep_token_id=2,
        eos_token_id=2,
        global_attn_every_n_layers=2,
        local_attention=32,
        **SIZES,
    )
    return _save(ModernBertModel, config, tokenizer, folder / "modern-bert")


def rem_bert(folder: Path) -> Path:
    """Adds whatever mask it gets to its scores: its attention cannot be exchanged."""
    sizes = {**SIZES, "input_embedding_size": 16, "output_embedding_size": 32}
    return _with_unigram(RemBertModel, RemBertConfig, folder, **sizes)


def mp_net(folder: Path) -> Path:
    """Adds its mask too; positions begin after that of padding."""
    return _with_unigram(MPNetModel, MPNetConfig, folder, max_position_embeddings=514, **SIZES)


def jina_v3(folder: Path) -> Path:
    """Turns queries and keys by their positions in fp32."""
    return _with_unigram(JinaEmbeddingsV3Model, JinaEmbeddingsV3Config, folder, max_position_embeddings=512, **SIZES)


def ultra_bert(folder: Path) -> Path:
    """Heads of the queries share those of the keys."""
    return _with_unigram(
        UltrabertModel,
        UltrabertConfig,
        folder,
        num_key_value_heads=1,
        max_position_embeddings=512,
        sliding_window=32,
        prediction_head_size=32,
        **SIZES,
    )


def mt5(folder: Path) -> Path:
    """An encoder and a decoder, with learnt distances for positions."""
    return _with_unigram(
        MT5Model,
        MT5Config,
        folder,
        decoder_start_token_id=0,
        d_model=32,
        d_kv=16,
        d_ff=64,
        num_layers=2,
        num_decoder_layers=2,
        num_heads=2,
    )


ENCODERS: dict[str, Callable[[Path], Path]] = {
    "bert": bert,
    "distil-bert": distil_bert,
    "xlm-roberta": xlm_roberta,
    "deberta-v2": deberta_v2,
    "modern-bert": modern_bert,
    "rem-bert": rem_bert,
    "mp-net": mp_net,
    "jina-v3": jina_v3,
    "ultra-bert": ultra_bert,
    "mt5": mt5,
}
EMBEDDINGS = r"\bembeddings\.|embed_tokens|shared"
"""In the names of parameters that belong to the embeddings."""
LAYER = r"^(encoder\.(block|layers?)|(?!encoder|decoder).*\blayers?)\."
"""In the names of parameters of an encoder's layer, before its number."""
