"""Tiny random readers of both tokeniser kinds, built in a second from a seed."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertForQuestionAnswering, PreTrainedTokenizerFast

from polyspan.models.load import load_model, save_model
from polyspan.models.unigram import Vocabulary, build_tokenizer, wrap_tokenizer

TEXTS = [
    "The bridge was opened in 1902 by Anna Keller, who paid 17 florins for the stones.",
    "Die Brücke wurde 1902 von Anna Keller eröffnet, die 17 Gulden für die Steine zahlte.",
    "El puente fue inaugurado en 1902 por Anna Keller, que pagó 17 florines por las piedras.",
    "افتُتح الجسر عام 1902 على يد آنا كيلر التي دفعت 17 فلورينًا ثمنًا للحجارة.",
    "पुल 1902 में अन्ना केलर ने खोला था, जिन्होंने पत्थरों के लिए 17 फ्लोरिन दिए।",
    "这座桥于1902年由安娜·凯勒启用，她为石料支付了17弗罗林。",
    "Cây cầu được khánh thành năm 1902 bởi Anna Keller, người đã trả 17 florin cho đá.",
    "สะพานเปิดในปี 1902 โดยแอนนา เคลเลอร์ ซึ่งจ่ายเงิน 17 ฟลอรินสำหรับหิน",
    "Who paid for the stones? When was it opened? 😀 🏔️ é",
]


def _config(tokenizer: PreTrainedTokenizerFast, layers: int = 2) -> BertConfig:
    return BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=512,
        pad_token_id=tokenizer.pad_token_id,
    )


def _save(tokenizer: PreTrainedTokenizerFast, folder: Path, seed: int) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = BertForQuestionAnswering(_config(tokenizer))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tiny_bert(folder: Path, seed: int = 0) -> Path:
    """A WordPiece BERT with token types, like mBERT."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(
        TEXTS, trainers.WordPieceTrainer(vocab_size=400, special_tokens=special, show_progress=False)
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        cls_token="[CLS]",
        sep_token="[SEP]",
        pad_token="[PAD]",
        unk_token="[UNK]",
        mask_token="[MASK]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )
    return _save(wrapped, folder, seed)


def tiny_unigram(folder: Path, seed: int = 0) -> Path:
    """A Unigram BERT without token types, like the embedded encoder."""
    trained = Tokenizer(models.Unigram())
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    trained.train_from_iterator(
        TEXTS,
        trainers.UnigramTrainer(
            vocab_size=300,
            special_tokens=["<s>", "<pad>", "</s>", "<unk>"],
            unk_token="<unk>",
            show_progress=False,
        ),
    )
    pieces = sorted(trained.get_vocab().items(), key=lambda item: item[1])
    # The trainer does not show its scores; any that prefer longer pieces will do.
    scores = [0.0 if at < 4 else -8.0 + 0.5 * min(len(piece), 6) for piece, at in pieces]
    vocabulary = Vocabulary([piece for piece, _ in pieces] + ["<mask>"], [*scores, 0.0], unknown_id=3)
    return _save(wrap_tokenizer(build_tokenizer(vocabulary), 512), folder, seed)


def decided(folder: Path) -> Path:
    """A random head hardly prefers anything; make it decided."""
    loaded = load_model(str(folder))
    with torch.no_grad():
        loaded.model.qa_outputs.weight.mul_(100)  # type: ignore[union-attr, operator]
    save_model(loaded.model, loaded.tokenizer, folder)
    return folder
