"""Spans stretched to the words of the model's tokeniser."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Words:
    """The words of one text, as its tokeniser splits them before it looks for pieces.

    In a text written without spaces such a word can be a whole sentence, and with tokenisers that
    split at spaces only, a full stop or comma belongs to the word before it.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, text: str) -> None:
        encoded = tokenizer(text, add_special_tokens=False, verbose=False)
        self._encoding = encoded.encodings[0] if encoded.encodings else None
        self._text = text

    def around(self, start: int, end: int) -> tuple[int, int]:
        """The words that ``text[start:end]`` touches, without white space at the edges."""
        if self._encoding is None or start >= end:
            return start, end
        first, last = self._encoding.char_to_word(start), self._encoding.char_to_word(end - 1)
        if first is not None and (stretch := self._encoding.word_to_chars(first)) is not None:
            start = min(start, stretch[0])
        if last is not None and (stretch := self._encoding.word_to_chars(last)) is not None:
            end = max(end, stretch[1])
        while start < end and self._text[start].isspace():
            start += 1
        while end > start and self._text[end - 1].isspace():
            end -= 1
        return start, end
