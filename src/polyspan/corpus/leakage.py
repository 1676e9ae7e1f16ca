"""What a test set shares with training data: ids, passages, near copies, translated questions."""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, NamedTuple

from polyspan.corpus.model import CorpusError, ParallelCorpus, Seed

KINDS = {
    "ids": "questions with the same id",
    "passages": "passages that are the same",
    "near_passages": "passages that are nearly the same",
    "parallel_questions": "questions that are known in another language",
}
"""Every kind of leakage and what a reader sees of its name."""

NEAR = 0.7
"""Share of common shingles (Jaccard) from which on two passages are nearly the same."""
CANDIDATES = 0.5
"""MinHash proposes pairs from here on, well below `NEAR`, so that its error loses next to none."""
SHINGLE = 3
"""Tokens of a shingle."""
DIGEST = re.compile(r"[0-9a-f-]{24,}", re.IGNORECASE)
"""Ids that two sets do not have in common by chance: digests and UUIDs."""
EXAMPLES = 5
BEGINS = 60
"""Characters of a passage that are shown."""

# Scripts written without spaces, of which each character is a token: Thai and Lao, Burmese, Khmer, kana, Han.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff"
# Scripts of India and Sri Lanka without their full stops: the marks at their letters are vowels.
_INDIC = "\u0900-\u0963\u0966-\u0dff"
_TOKEN = re.compile(rf"[{_UNSPACED}]|(?:[^\W_{_UNSPACED}]|[{_INDIC}])+")
_MARKED = re.compile(f"[{_UNSPACED}{_INDIC}]")
"""Of these scripts marks are kept."""


class SharedPassage(NamedTuple):
    """Ids of a test passage and of the training passage like it, and how the test passage begins."""

    test: str
    train: str
    begins: str


@dataclass(frozen=True)
class Leakage:
    """What was found, on the side of the test set.

    Attributes:
        train, test: names of the two sets.
        questions, test_passages: how many the test set has.
        ids: of test questions whose id is among the training data, in whatever language.
        parallel_questions: those of them that are asked in words which training does not hold, as
            in another language.
        passages: those with the same words as a training passage.
        near_passages: the same for near copies, and not for those above; None where it was not
            looked for.
    """

    train: str
    test: str
    questions: int
    test_passages: int
    ids: list[str]
    parallel_questions: list[str]
    passages: list[SharedPassage]
    near_passages: list[SharedPassage] | None

    def __bool__(self) -> bool:
        return bool(self.ids or self.passages or self.near_passages)

    def counts(self) -> dict[str, int | None]:
        """How many of each kind, in the order of `KINDS`."""
        return {kind: None if (found := getattr(self, kind)) is None else len(found) for kind in KINDS}

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON: counts by kind, sizes, and a few examples of each kind."""
        return {
            **self.counts(),
            "train": self.train,
            "test": self.test,
            "questions": self.questions,
            "test_passages": self.test_passages,
            "examples": {
                kind: [
                    found._asdict() if isinstance(found, SharedPassage) else found
                    for found in (getattr(self, kind) or [])[:EXAMPLES]
                ]
                for kind in KINDS
            },
        }

    def __str__(self) -> str:
        parts = [f"{count} {KINDS[kind]}" for kind, count in self.counts().items() if count]
        return f"{self.test} shares with {self.train}: {', '.join(parts) or 'nothing'}"


def find_leakage(train: ParallelCorpus, test: ParallelCorpus, near: bool = True) -> Leakage:
    """Look for each kind of leakage, whatever languages the two sets are said to be in.

    Texts are compared by their words alone: case, width, punctuation, white space and marks at letters
    (but where they are vowels, as in India) make no difference. Near copies share 70% of all runs of three
    words (of three characters in scripts without spaces), found by MinHash and then counted exactly. A
    passage that is a small part of a longer one is not found. An id that two sets have in common is no
    leak where the two questions are others in every language that both have, unless it is a digest.

    Args:
        train: what is trained on.
        test: what is measured on.
        near: also look for near copies, which needs the extra ``leakage``.

    Raises:
        CorpusError: near copies are asked for and the extra is missing.
    """
    common = [seed for id_, seed in test.seeds.items() if id_ in train.seeds and _same(seed, train.seeds[id_])]
    train_tokens, test_tokens = (
        {id_: _tokens(passage.text) for id_, passage in corpus.passages.items()} for corpus in (train, test)
    )
    first = {"".join(tokens): id_ for id_, tokens in reversed(train_tokens.items()) if tokens}
    exact = {id_: same for id_, tokens in test_tokens.items() if (same := first.get("".join(tokens)))}
    near_copies = _near_copies(train_tokens, test_tokens, exact) if near else None

    def described(shared: dict[str, str]) -> list[SharedPassage]:
        return [SharedPassage(id_, same, test.passages[id_].text[:BEGINS]) for id_, same in shared.items()]

    return Leakage(
        train=train.name,
        test=test.name,
        questions=len(test),
        test_passages=len(test.passages),
        ids=[seed.id for seed in common],
        parallel_questions=[seed.id for seed in common if _words(seed) - _words(train.seeds[seed.id])],
        passages=described(exact),
        near_passages=None if near_copies is None else described(near_copies),
    )


def _tokens(text: str) -> list[str]:
    decomposed = unicodedata.normalize("NFKD", text)
    plain = "".join(one for one in decomposed if unicodedata.category(one) != "Mn" or _MARKED.match(one))
    return _TOKEN.findall(unicodedata.normalize("NFKC", plain).casefold())


def _same(one: Seed, other: Seed) -> bool:
    """Whether two questions with one id may be one question: sets that number theirs have ids in common by chance.

    An id that can be counted means one question where both have half of their words in common in a language that both
    have.
    """
    if DIGEST.fullmatch(one.id):
        return True
    both = one.questions.keys() & other.questions.keys()
    words = [(set(_tokens(one.questions[code])), set(_tokens(other.questions[code]))) for code in both]
    return not words or any(2 * len(first & second) >= len(first | second) for first, second in words)


def _words(seed: Seed) -> set[str]:
    return {"".join(_tokens(question)) for question in seed.questions.values()}


def _near_copies(train: dict[str, list[str]], test: dict[str, list[str]], known: Collection[str]) -> dict[str, str]:
    """The nearest training passage of each test passage that has a near copy and is not known yet."""
    try:
        from datasketch import MinHash, MinHashLSH
    except ImportError as error:
        raise CorpusError(
            "near copies are found with datasketch, which is not here: pip install 'polyspan[leakage]'"
        ) from error
    wanted = {id_: _shingles(tokens) for id_, tokens in test.items() if tokens and id_ not in known}
    # Digits of hashes are of no interest to anybody, so the quickest of the steady hashes will do.
    index = MinHashLSH(threshold=CANDIDATES)
    for id_, sketch in zip(wanted, MinHash.bulk(wanted.values(), hashfunc=zlib.crc32), strict=True):
        index.insert(id_, sketch)
    best: defaultdict[str, tuple[float, str]] = defaultdict(lambda: (NEAR, ""))
    sketches = MinHash.generator(map(_shingles, train.values()), hashfunc=zlib.crc32)
    for train_id, sketch in zip(train, sketches, strict=True):
        candidates = index.query(sketch)
        shingles = _shingles(train[train_id]) if candidates else set()
        for test_id in candidates:
            other = wanted[test_id]
            shared = len(shingles & other) / len(shingles | other)
            if shared >= best[test_id][0]:
                best[test_id] = (shared, train_id)
    return {id_: best[id_][1] for id_ in wanted if id_ in best and best[id_][1]}


def _shingles(tokens: list[str]) -> set[bytes]:
    return {" ".join(tokens[i : i + SHINGLE]).encode() for i in range(max(1, len(tokens) - SHINGLE + 1))}
