"""The embedded encoder's tokeniser against a second version written from its description."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from polyspan.models.embedded import find_data_file, read_embedded
from polyspan.models.load import EMBEDDED, resolve_model
from polyspan.models.unigram import Vocabulary
from test_windows import assert_same_as_pair

TEXTS = {
    "Latin": "Die Brücke über den Fluß kostete 1.200 Gulden, señor, và cây cầu đẹp.",
    "Greek": "Η γέφυρα άνοιξε το 1902, και πλήρωσαν 17 φλορίνια· ωραία!",
    "Cyrillic": "Мост открыли в 1902 году; Ёлка стоила 17 рублей, їжак спав.",
    "Arabic": "افتُتح الجسر عام ١٩٠٢، ودفعت آنا ١٧ فلورينًا ثمنًا للحجارة.",
    "Hebrew": "הגשר נפתח בשנת 1902, והיא שילמה שבע־עשרה מטבעות.",
    "Devanagari": "पुल 1902 में खुला था; अन्ना ने १७ फ़्लोरिन दिए।",
    "Bengali": "সেতুটি ১৯০২ সালে খোলা হয়েছিল, দাম ছিল ১৭ ফ্লোরিন।",
    "Telugu": "వంతెన 1902 లో తెరవబడింది, రాళ్లకు 17 ఫ్లోరిన్లు.",
    "Han": "这座桥于１９０２年启用，石料花了十七弗罗林。",
    "Kana": "橋は1902年に開通し、ｱﾝﾅが石代を払った。",
    "Hangul": "다리는 1902년에 열렸고 안나가 돌값을 냈다.",
    "Thai": "สะพานเปิดในปี ๑๙๐๒ น้ำใสไหลเย็น",
    "Khmer": "ស្ពានបានបើកនៅឆ្នាំ ១៩០២ ដោយអាណា។",
    "Georgian": "ხიდი 1902 წელს გაიხსნა.",
    "Ethiopic": "ድልድዩ በ1902 ተከፈተ።",
    "emoji": "The 👩\u200d👩\u200d👧 family 😀😀 paid ½ of 3\u00a0㎞ 🏳️\u200d🌈!",
    "marks": "e\u0301clair, a\u0323\u0302n, ﬁnally ｆｕｌｌ　width\u2028next\ttab\x07bell\ufeff ①",
}
DELETED = {*range(0x01, 0x09), 0x0B, *range(0x0E, 0x20), 0x7F, 0x8F, 0x9F}
SPACES = {0x09, 0x0A, 0x0C, 0x0D, 0x1680, *range(0x200B, 0x2010), 0x2028, 0x2029, 0x2581, 0xFEFF, 0xFFFD}
UNKNOWN_PENALTY = 10
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(resolve_model(EMBEDDED))


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return read_embedded(find_data_file()).vocabulary


@pytest.fixture(scope="module")
def scores(vocabulary: Vocabulary) -> dict[str, tuple[int, float]]:
    found = {
        piece: (at, score)
        for at, (piece, score) in enumerate(zip(vocabulary.pieces, vocabulary.scores, strict=True))
        if piece not in SPECIAL
    }
    return {**found, "<lowest>": (vocabulary.unknown_id, min(vocabulary.scores))}


def plain_normal_form(text: str) -> str:
    kept = "".join(" " if ord(c) in SPACES else c for c in text if ord(c) not in DELETED)
    return re.sub(" {2,}", " ", unicodedata.normalize("NFKC", kept))


def plain_words(text: str) -> list[str]:
    marked = plain_normal_form(text).replace(" ", "▁")
    if not marked:
        return []
    return re.findall("▁[^▁]*|[^▁]+", marked if marked.startswith("▁") else "▁" + marked)


def plain_ids(text: str, scores: dict[str, tuple[int, float]], unknown: int) -> list[int]:
    """The most probable segmentation of each word, unknown characters side by side as one token."""
    lowest = scores["<lowest>"][1] - UNKNOWN_PENALTY
    ids: list[int] = []
    for word in plain_words(text):
        best: list[tuple[float, int, int]] = [(0.0, 0, -1)]
        for end in range(1, len(word) + 1):
            ways = []
            for start in range(max(0, end - 24), end):
                if (found := scores.get(word[start:end])) is not None:
                    ways.append((best[start][0] + found[1], start, found[0]))
                elif end - start == 1:
                    ways.append((best[start][0] + lowest, start, unknown))
            best.append(max(ways))
        pieces, at = [], len(word)
        while at > 0:
            pieces.append(best[at][2])
            at = best[at][1]
        for piece in reversed(pieces):
            if piece != unknown or not ids or ids[-1] != unknown or pieces[-1] is piece:
                ids.append(piece)
    return ids


def encode(tokenizer: Any, text: str) -> tuple[list[int], list[tuple[int, int]]]:
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    return encoded["input_ids"], [tuple(offset) for offset in encoded["offset_mapping"]]


@pytest.mark.parametrize("script", TEXTS)
def test_ids_and_offsets_in_every_script(
    tokenizer: Any, vocabulary: Vocabulary, scores: dict[str, tuple[int, float]], script: str
) -> None:
    text = TEXTS[script]
    ids, offsets = encode(tokenizer, text)
    assert ids == plain_ids(text, scores, vocabulary.unknown_id)
    last = 0
    for token, (start, end) in zip(ids, offsets, strict=True):
        assert last <= start + 1
        assert start <= end
        last = start
        piece = vocabulary.pieces[token].replace("▁", "")
        if token == vocabulary.unknown_id or not piece:
            continue
        while end < len(text) and unicodedata.combining(text[end]):
            end += 1  # a mark that NFKC put into the letter before it
        assert piece in plain_normal_form(text[start:end]).replace(" ", ""), (piece, text[start:end])
    covered = {at for start, end in offsets for at in range(start, end)}
    for at, character in enumerate(text):
        odd = ord(character) in DELETED or ord(character) in SPACES
        assert at in covered or odd or character.isspace() or unicodedata.combining(character), (at, character)


def test_known_ids_of_the_published_vocabulary(tokenizer: Any) -> None:
    assert tokenizer("Hello world!")["input_ids"] == [0, 35378, 8999, 38, 2]
    assert tokenizer("a", "b")["input_ids"] == [0, 10, 2, 2, 876, 2]
    assert tokenizer.convert_tokens_to_ids(SPECIAL) == [0, 1, 2, 3, 250001]


@settings(max_examples=300, deadline=None)
@given(text=st.text(max_size=60))
@example("…  \u2581\u2581x")
@example("\U0001f9ff\U0001f9ff a\u0301\u0328")
@example("ﷺ")
def test_ids_of_any_text(
    tokenizer: Any, vocabulary: Vocabulary, scores: dict[str, tuple[int, float]], text: str
) -> None:
    assume(not any(token in text for token in SPECIAL))
    assert encode(tokenizer, text)[0] == plain_ids(text, scores, vocabulary.unknown_id)


@pytest.mark.parametrize("script", TEXTS)
def test_windows_of_the_embedded_tokeniser_equal_tokenising_the_pair(tokenizer: Any, script: str) -> None:
    assert_same_as_pair(tokenizer, TEXTS[script][:30], " ".join([TEXTS[script]] * 12), max_length=96, overlap=24)
