"""The parallel-question teacher (ours): the same passage is asked in another language, or in all.

For a question in language i over a context in language j the plain teacher reads the hard form,
(q_i, c_j). The corpus is parallel, so the teacher can be asked an easier form of the same question
over the same context: q_j, the source language's, or every sampled one. What it says is a
distribution over context tokens, which are the same tokens whatever the question.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from polyspan.corpus.model import Pair
from polyspan.encoding.predict import read_windows
from polyspan.encoding.windows import Windows

TeacherQuestion = Literal["same", "context", "source", "ensemble"]


def teacher_pairs(pairs: Iterable[Pair], question: TeacherQuestion, source_language: str) -> list[Pair]:
    """What the teacher reads: for each seed and context language the questions it is asked.

    Args:
        pairs: what the student is trained on.
        question: ``context`` asks in the context's language, ``source`` in the source language,
            ``ensemble`` in every language that the student is asked in over this context; ``same``
            gives the pairs themselves.
        source_language: of the corpus.

    Returns:
        pairs without repetition, in the order of the student's.
    """
    if question == "context":
        asked = (Pair(pair.id, pair.context_language, pair.context_language) for pair in pairs)
    elif question == "source":
        asked = (Pair(pair.id, source_language, pair.context_language) for pair in pairs)
    else:
        asked = (pair for pair in pairs)
    return list(dict.fromkeys(asked))


@dataclass(frozen=True)
class _Reading:
    """What the teacher said of one context.

    Attributes:
        tokens: (2, context tokens), mean over questions of the logit of each token as the start and
            as the end.
        windows: by question language, its windows: begin, end, and (2,), logits of the first
            special token.
    """

    tokens: NDArray[np.float32]
    windows: dict[str, list[tuple[int, int, NDArray[np.float32]]]]


class ParallelTeacher:
    """Logits of a teacher's generation, kept by seed and context language.

    The teacher reads whole contexts in windows of its own, once a generation; a token that stands
    in several windows has the logit of the one where it stands furthest from the edge. Over several
    questions the mean of logits is taken (a geometric mean of the distributions: what one question
    rules out stays out). The student's window takes the stretch that it sees, wherever its own
    windows begin; a distribution it becomes there, so that what several windows say of one text is
    weighed as the model weighs it, and not each as if the answer were in it.

    The number of teacher passes is that of distinct pairs, at most the student's in one epoch.

    Args:
        windows: of `teacher_pairs`, over the whole contexts.
        students: the student's windows.
        progress: called with the tokens read and their total, first with 0.
    """

    def __init__(self, windows: Windows, students: Windows, progress: Callable[[int, int], None] | None = None) -> None:
        self.progress = progress
        self.windows = windows
        self.students = students
        self.generation: int | None = None
        self._readings: dict[tuple[str, str], _Reading] = {}

    def read(self, teacher: nn.Module, generation: int, batch_tokens: int | None = None) -> None:
        """Ask this generation of the teacher everything; under the caller's precision."""
        self._readings = {}
        for pair in self.windows.pairs:
            shape = (2, len(self.windows.passage(pair).ids))
            fresh = _Reading(np.zeros(shape, np.float32), {})
            self._readings.setdefault((pair.id, pair.context_language), fresh).windows[pair.question_language] = []
        if self.progress is not None:
            self.progress(0, int(self.windows.lengths().sum()))
        for indices, _, starts, ends in read_windows(teacher, self.windows, batch_tokens, self.progress):
            said = torch.stack([starts, ends], dim=1).cpu().numpy()
            for row, index in enumerate(indices):
                pair = self.windows.pairs[self.windows.pair_index[index]]
                begin, end = int(self.windows.begin[index]), int(self.windows.end[index])
                first = self.windows.context_position(pair)
                reading = self._readings[pair.id, pair.context_language]
                tokens = np.where(_nearest_to_it(self.windows, index), said[row][:, first : first + end - begin], 0)
                reading.tokens[:, begin:end] += tokens / len(reading.windows)
                reading.windows[pair.question_language].append((begin, end, said[row][:, 0].copy()))
        for reading in self._readings.values():
            for found in reading.windows.values():
                found.sort(key=_order)
        self.generation = generation

    def logits(self, indices: Sequence[int], length: int) -> tuple[Tensor, Tensor]:
        """Start and end logits of these windows of the student, each (batch, length).

        Context tokens and the first special token have values; the rest is 0 and must be masked.
        """
        said = np.zeros((len(indices), 2, length), np.float32)
        for row, index in enumerate(indices):
            pair = self.students.pairs[self.students.pair_index[index]]
            begin, end = int(self.students.begin[index]), int(self.students.end[index])
            first = self.students.context_position(pair)
            reading = self._readings[pair.id, pair.context_language]
            said[row, :, first : first + end - begin] = reading.tokens[:, begin:end]
            said[row, :, 0] = np.mean([_nearest(found, begin, end) for found in reading.windows.values()], axis=0)
        both = torch.from_numpy(said)
        return both[:, 0], both[:, 1]


def _nearest_to_it(windows: Windows, index: int) -> NDArray[np.bool_]:
    """Of a window's context tokens those that stand further from its edge than from any other's of its pair.

    The first of several as far has a token.
    """
    begin, end = int(windows.begin[index]), int(windows.end[index])
    owner = windows.pair_index[index]
    first, last = np.searchsorted(windows.pair_index, np.array([owner, owner + 1], windows.pair_index.dtype))
    total = int(windows.end[last - 1])
    margins = np.full((last - first, total), -1, np.int32)
    for row, sibling in enumerate(range(first, last)):
        at = slice(int(windows.begin[sibling]), int(windows.end[sibling]))
        margins[row, at] = _margins(at.start, at.stop, total)
    nearest: NDArray[np.bool_] = margins.argmax(axis=0)[begin:end] == index - first
    return nearest


def _margins(begin: int, end: int, total: int) -> NDArray[np.int32]:
    """(end - begin,), tokens from each to the nearer edge of its window; the text's own edges do not count."""
    at = np.arange(begin, end, dtype=np.int32)
    left = at - begin if begin else np.full_like(at, total)
    right = end - 1 - at if end < total else np.full_like(at, total)
    return np.minimum(left, right)


def _order(window: tuple[int, int, NDArray[np.float32]]) -> tuple[int, int]:
    return window[:2]


def _nearest(windows: Sequence[tuple[int, int, NDArray[np.float32]]], begin: int, end: int) -> NDArray[np.float32]:
    """What the window said that shares most tokens with the stretch; the first of several."""
    return max(windows, key=lambda window: min(window[1], end) - max(window[0], begin))[2]
