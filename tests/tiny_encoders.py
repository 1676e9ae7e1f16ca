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
    tokenizer = _unigram(folder)
    config = XLMRobertaConfig(
        vocab_size=len(tokenizer), pad_token_id=1, max_position_embeddings=514, type_vocab_size=1, **SIZES
    )
    return _save(XLMRobertaModel, config, tokenizer, folder / "xlm-roberta")


def deberta_v2(folder: Path) -> Path:
    """With mDeBERTa's relative positions and no token types."""
    tokenizer = _unigram(folder)
    config = DebertaV2Config(
        vocab_size=len(tokenizer),
        pad_token_id=1,
        type_vocab_size=0,
        relative_attention=True,
        position_buckets=16,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        pos_att_type=["p2c", "c2p"],
        position_biased_input=False,
        **SIZES,
    )
    return _save(DebertaV2Model, config, tokenizer, folder / "deberta-v2")


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
    tokenizer = _unigram(folder)
    config = RemBertConfig(
        vocab_size=len(tokenizer), pad_token_id=1, input_embedding_size=16, output_embedding_size=32, **SIZES
    )
    return _save(RemBertModel, config, tokenizer, folder / "rem-bert")


def mp_net(folder: Path) -> Path:
    """Adds its mask too; positions begin after that of padding."""
    tokenizer = _unigram(folder)
    config = MPNetConfig(vocab_size=len(tokenizer), pad_token_id=1, max_position_embeddings=514, **SIZES)
    return _save(MPNetModel, config, tokenizer, folder / "mp-net")


def jina_v3(folder: Path) -> Path:
    """Turns queries and keys by their positions in fp32."""
    tokenizer = _unigram(folder)
    config = JinaEmbeddingsV3Config(vocab_size=len(tokenizer), pad_token_id=1, max_position_embeddings=512, **SIZES)
    return _save(JinaEmbeddingsV3Model, config, tokenizer, folder / "jina-v3")


def ultra_bert(folder: Path) -> Path:
    """Heads of the queries share those of the keys."""
    tokenizer = _unigram(folder)
    config = UltrabertConfig(
        vocab_size=len(tokenizer),
        pad_token_id=1,
        num_key_value_heads=1,
        max_position_embeddings=512,
        sliding_window=32,
        prediction_head_size=32,
        **SIZES,
    )
    return _save(UltrabertModel, config, tokenizer, folder / "ultra-bert")


def mt5(folder: Path) -> Path:
    """An encoder and a decoder, with learnt distances for positions."""
    tokenizer = _unigram(folder)
    config = MT5Config(
        vocab_size=len(tokenizer),
        pad_token_id=1,
        decoder_start_token_id=0,
        d_model=32,
        d_kv=16,
        d_ff=64,
        num_layers=2,
        num_decoder_layers=2,
        num_heads=2,
    )
    return _save(MT5Model, config, tokenizer, folder / "mt5")


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
