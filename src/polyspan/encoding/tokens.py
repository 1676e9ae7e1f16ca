"""Each text tokenised once, however many pairs it takes part in."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from polyspan.corpus.model import Pair, ParallelCorpus
from polyspan.corpus.pairs import PairTable
from polyspan.errors import PolyspanError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CHUNK = 1000


class EncodingError(PolyspanError):
    """A tokeniser or a length that cannot be worked with."""


@dataclass(frozen=True, slots=True)
class Template:
    """The special tokens around a question and a context, with their token types."""

    before: tuple[int, ...]
    between: tuple[int, ...]
    after: tuple[int, ...]
    context_type: int
    between_types: tuple[int, ...]

    @property
    def specials(self) -> int:
        """How many tokens of a window are neither question nor context."""
        return len(self.before) + len(self.between) + len(self.after)


def pair_template(tokenizer: PreTrainedTokenizerBase) -> Template:
    """Read the template off one tokenised pair, so that any tokeniser's own layout is kept.

    Raises:
        EncodingError: the tokeniser is not a fast one, or puts the context first.
    """
    if not tokenizer.is_fast:
        raise EncodingError("this tokeniser has no character offsets; a fast tokeniser (tokenizer.json) is needed")
    encoded = tokenizer("a", "b", return_token_type_ids=True)
    ids, types, owners = encoded["input_ids"], encoded["token_type_ids"], encoded.sequence_ids(0)
    question = [at for at, owner in enumerate(owners) if owner == 0]
    context = [at for at, owner in enumerate(owners) if owner == 1]
    if not question or not context or question[0] > context[0]:
        raise EncodingError("this tokeniser does not put the question before the context")
    between = slice(question[-1] + 1, context[0])
    return Template(
        before=tuple(ids[: question[0]]),
        between=tuple(ids[between]),
        after=tuple(ids[context[-1] + 1 :]),
        context_type=types[context[0]],
        between_types=tuple(types[between]),
    )


@dataclass(frozen=True, slots=True)
class TokenisedText:
    """Token ids of one text and the characters each token covers.

    Attributes:
        ids: (tokens,), int32.
        offsets: (tokens, 2), int32: first character and the one after the last.
    """

    ids: NDArray[np.int32]
    offsets: NDArray[np.int32]


def tokenise(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[TokenisedText]:
    """Tokenise texts without special tokens and without truncation."""
    result = []
    for start in range(0, len(texts), CHUNK):
        encoded = tokenizer(
            texts[start : start + CHUNK],
            add_special_tokens=False,
            return_offsets_mapping=True,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )
        for ids, offsets in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True):
            result.append(TokenisedText(np.asarray(ids, np.int32), np.asarray(offsets, np.int32).reshape(-1, 2)))
    return result


@dataclass(frozen=True)
class TokenisedCorpus:
    """The texts that some pairs need: questions by (id, language), passages by id."""

    corpus: ParallelCorpus
    questions: dict[tuple[str, str], TokenisedText]
    passages: dict[str, TokenisedText]
    template: Template
    uses_token_types: bool
    pad_id: int


def tokenise_corpus(
    corpus: ParallelCorpus, pairs: Iterable[Pair], tokenizer: PreTrainedTokenizerBase
) -> TokenisedCorpus:
    """Tokenise the texts of these pairs, each once per language."""
    table = PairTable.of(pairs)
    questions: dict[tuple[str, str], str] = {}
    passages: dict[str, str] = {}
    for seed, language in distinct(table.seeds, table.questions):
        pair = Pair(table.ids[seed], table.languages[language], "")
        questions[pair.id, pair.question_language] = corpus.question(pair)
    for seed, language in distinct(table.seeds, table.contexts):
        passage = corpus.passage(Pair(table.ids[seed], "", table.languages[language]))
        passages[passage.id] = passage.text
    return TokenisedCorpus(
        corpus=corpus,
        questions=dict(zip(questions, tokenise(tokenizer, list(questions.values())), strict=True)),
        passages=dict(zip(passages, tokenise(tokenizer, list(passages.values())), strict=True)),
        template=pair_template(tokenizer),
        uses_token_types="token_type_ids" in tokenizer.model_input_names,
        pad_id=tokenizer.pad_token_id or 0,
    )


def distinct(seeds: array[int], languages: array[int]) -> list[tuple[int, int]]:
    """Each pair of numbers once, in the order of its first row."""
    codes = np.asarray(seeds, np.int64) << 16 | np.asarray(languages, np.int64)
    values, first = np.unique(codes, return_index=True)
    return [(int(code) >> 16, int(code) & 0xFFFF) for code in values[np.argsort(first)]]
