"""Spans stretched to the words of the model's tokeniser."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Encoding
    from transformers import PreTrainedTokenizerBase


class Words:
    """The words of one text, as its tokeniser splits them before it looks for pieces.

    In a text written without spaces such a word can be a whole sentence, and with tokenisers that
    split at spaces only, a full stop or comma belongs to the word before it.
    """

    def __init__(self, text: str, encoding: Encoding) -> None:
        self._text = text
        self._tokens: list[tuple[int, int, int]] = []
        self._stretch: dict[int, tuple[int, int]] = {}
        # The tokeniser's own look-ups go through the whole text each time.
        for word, (start, end) in zip(encoding.word_ids, encoding.offsets, strict=True):
            if word is None:
                continue
            known = self._stretch.get(word, (start, end))
            self._stretch[word] = min(start, known[0]), max(end, known[1])
            if end > start:
                self._tokens.append((start, end, word))
        self._starts = [start for start, _, _ in self._tokens]

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, texts: Iterable[str]) -> dict[str, Words]:
        """The words of each of these texts, tokenised together."""
        distinct = list(dict.fromkeys(texts))
        encoded = tokenizer(distinct, add_special_tokens=False, verbose=False)
        return {text: cls(text, encoding) for text, encoding in zip(distinct, encoded.encodings or (), strict=True)}

    def around(self, start: int, end: int) -> tuple[int, int]:
        """The words that ``text[start:end]`` touches, without white space at the edges."""
        if start >= end:
            return start, end
        start = min(start, self._word_at(start, (start, end))[0])
        end = max(end, self._word_at(end - 1, (start, end))[1])
        while start < end and self._text[start].isspace():
            start += 1
        while end > start and self._text[end - 1].isspace():
            end -= 1
        return start, end

    def _word_at(self, character: int, otherwise: tuple[int, int]) -> tuple[int, int]:
        """Where the word begins and ends whose token holds this character."""
        at = bisect_right(self._starts, character) - 1
        while at > 0 and self._tokens[at - 1][1] > character:  # tokens can share characters: the first
            at -= 1
        if at < 0 or character >= self._tokens[at][1]:
            return otherwise
        return self._stretch[self._tokens[at][2]]
