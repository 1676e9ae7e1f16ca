"""A reader in the form in which other runtimes take it over: inputs by position, logits as a pair."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class Logits(nn.Module):
    """A model with inputs by position, and start and end logits as what it gives.

    Args:
        model: a question-answering model.
        names: of its inputs, in order.
    """

    def __init__(self, model: nn.Module, names: list[str]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        outputs = self.model(**dict(zip(self.names, inputs, strict=True)))
        return outputs.start_logits, outputs.end_logits


def as_logits(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    windows: list[tuple[str, str]],
    max_length: int | None = None,
) -> tuple[Logits, tuple[Tensor, ...]]:
    """A model in this form, and inputs to trace or try it with.

    Args:
        windows: question and context of each.
        max_length: contexts end where a window has so many tokens.

    Returns:
        The model in evaluation mode, and its inputs, each (windows, tokens), padded.
    """
    questions, contexts = zip(*windows, strict=True)
    encoded = tokenizer(
        list(questions),
        list(contexts),
        padding=True,
        truncation="only_second" if max_length else False,
        max_length=max_length,
        return_tensors="pt",
    )
    names = [name for name in tokenizer.model_input_names if name in encoded]
    return Logits(model, names).eval(), tuple(encoded[name] for name in names)


@contextmanager
def quiet() -> Iterator[None]:
    """Without the progress of exporters and their warnings about optional packages."""
    chatty = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "transformers")]
    levels = [logger.level for logger in chatty]
    for logger in chatty:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(chatty, levels, strict=True):
            logger.setLevel(level)
