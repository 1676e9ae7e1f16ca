"""What is in a corpus: languages, alignment, where answers stand, how long texts are."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable
from typing import Any

from polyspan.corpus.model import ParallelCorpus


def describe(corpus: ParallelCorpus, count_tokens: Callable[[list[str]], list[int]] | None) -> dict[str, Any]:
    """Count a corpus, for a table or JSON.

    Args:
        corpus: what to describe.
        count_tokens: tokens of each text; None leaves these columns out.

    Returns:
        ``seeds``, ``pairs``, ``alignment`` (seeds by their number of languages) and ``languages``:
        for each the questions, contexts, unanswerable questions, median relative position of
        answers in percent, answers whose text stands elsewhere in the context too, and median and
        longest context in tokens.
    """
    languages: dict[str, dict[str, int]] = {}
    for language in corpus.languages:
        contexts = [passage.text for passage in corpus.passages.values() if passage.language == language]
        answers = [
            (answer, corpus.passages[seed.passages[language]].text)
            for seed in corpus.seeds.values()
            for answer in seed.answers.get(language, ())
        ]
        positions = [100 * answer.start / len(text) for answer, text in answers] or [0.0]
        languages[language] = {
            "questions": sum(language in seed.questions for seed in corpus.seeds.values()),
            "contexts": len(contexts),
            "unanswerable": sum(
                language in seed.answers and not seed.answers[language] for seed in corpus.seeds.values()
            ),
            "answer_at_%": round(statistics.median(positions)),
            "repeated": sum(text.count(answer.text) > 1 for answer, text in answers),
        }
        if count_tokens is not None:
            lengths = count_tokens(contexts) or [0]
            languages[language] |= {"median_tokens": round(statistics.median(lengths)), "longest": max(lengths)}
    alignment = Counter(len(seed.questions.keys() & seed.passages.keys()) for seed in corpus.seeds.values())
    return {
        "seeds": len(corpus),
        "pairs": sum(len(seed.questions) * len(seed.passages) for seed in corpus.seeds.values()),
        "alignment": dict(sorted(alignment.items(), reverse=True)),
        "languages": languages,
    }
