"""What rounding an exported reader to fewer bits costs: F1 and answers, way by way.

    POLYSPAN_DATA=... python benchmarks/quantisation.py [--limit 20] [--only TEXT] [--json FILE]

Every way of rounding answers the same MLQA dev questions, each over its own language's context, and is compared
with the export in fp32: F1 by MLQA's rules, the share of rows with the same best answer, seconds of processor time.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

LANGUAGES = ["en", "de", "ar", "hi", "zh"]


def main() -> None:
    """Round, ask, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, default=20, help="questions of each language")
    parser.add_argument("--model", default="polyspan-qa-en", help="shipped name or folder")
    parser.add_argument("--only", default="", help="ways whose names hold this text, and fp32")
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    arguments = parser.parse_args()
    from polyspan.answering.onnx_export import calibration_feeds, trace
    from polyspan.answering.onnx_precision import input_ranges, unpack_attention
    from polyspan.corpus import load_corpus
    from polyspan.evaluation.evaluate import limit_pairs
    from polyspan.models import load_model

    data = os.environ.get("POLYSPAN_DATA")
    if not data:
        sys.exit("POLYSPAN_DATA is not set: it names the folder that holds mlqa/dev")
    corpus = load_corpus(Path(data) / "mlqa" / "dev", kind="mlqa", languages=LANGUAGES)
    pairs = limit_pairs([p for p in corpus.pairs() if p.question_language == p.context_language], arguments.limit)
    loaded = load_model(arguments.model, attn_implementation="eager")
    whole = trace(loaded.model, loaded.tokenizer)
    unpack_attention(whole)
    ranges = input_ranges(whole, calibration_feeds(loaded.tokenizer))
    rows: list[dict[str, Any]] = []
    first: list[str | None] = []
    for name, way in ways(ranges).items():
        if name != "fp32" and arguments.only not in name:
            continue
        graph = type(whole)()
        graph.CopyFrom(whole)
        row, best = measure(loaded.tokenizer, way(graph), corpus, pairs)
        first = first or best
        row = {"way": name, **row, "same": fmean(a == b for a, b in zip(best, first, strict=True))}
        rows.append(row)
        by_language = " ".join(f"{language} {row[language]:.1f}" for language in LANGUAGES)
        print(f"{name}: F1 {row['f1']:.1f} ({by_language}), same {row['same']:.0%}, {row['seconds']:.1f} s", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def ways(ranges: Any) -> dict[str, Callable[[Any], Any]]:
    """Name to a function from the fp32 graph to the rounded one."""
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    from polyspan.answering.onnx_precision import SAFE_LEVELS, linears, quantise, quantise_embeddings

    def ours(leave_out: bool = False, **options: Any) -> Callable[[Any], Any]:
        def way(graph: Any) -> Any:
            down = [name for name, weight in linears(graph).items() if weight.shape[0] > weight.shape[1]]
            quantise(graph, ranges, keep=down if leave_out else (), **options)
            quantise_embeddings(graph)
            return graph

        return way

    def blocks(bits: int, size: int) -> Callable[[Any], Any]:
        def way(graph: Any) -> Any:
            heads = [n.name for n in graph.graph.node if n.op_type == "MatMul" and n.name not in linears(graph)]
            rounder = MatMulNBitsQuantizer(
                graph, bits=bits, block_size=size, is_symmetric=True, accuracy_level=4, nodes_to_exclude=heads
            )
            rounder.process()
            return rounder.model.model

        return way

    return {
        "fp32": lambda graph: graph,
        "naive: dynamic, one scale a matrix": dynamic(per_channel=False),
        "dynamic, a scale an output": dynamic(per_channel=True),
        "fixed ranges, a scale an output": ours(apart=0.0),
        "the same, FFN output layers in fp32": ours(leave_out=True, apart=0.0),
        "the same, 1% of input units apart": ours(apart=0.01),
        "the same, 2% of input units apart (shipped)": ours(),
        "the same, 2% apart, 7-bit weights": ours(levels=SAFE_LEVELS),
        "the same, 5% of input units apart": ours(apart=0.05),
        "weights only, 8 bits in blocks of 128": blocks(8, 128),
        "weights only, 4 bits in blocks of 32": blocks(4, 32),
    }


def dynamic(per_channel: bool) -> Callable[[Any], Any]:
    """The dynamic quantisation of ``onnxruntime``, heads included."""
    import logging

    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    def way(graph: Any) -> Any:
        logging.disable(logging.INFO)
        with tempfile.TemporaryDirectory() as folder:
            onnx.save(graph, f"{folder}/fp32.onnx")
            quantize_dynamic(
                f"{folder}/fp32.onnx",
                f"{folder}/int8.onnx",
                per_channel=per_channel,
                weight_type=QuantType.QInt8,
                extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
            )
            return onnx.load(f"{folder}/int8.onnx")

    return way


def measure(tokenizer: Any, graph: Any, corpus: Any, pairs: Any) -> tuple[dict[str, float], list[str | None]]:
    """F1 by language and their mean, in points of 100; seconds; and the best answers."""
    import torch
    from transformers.modeling_outputs import QuestionAnsweringModelOutput

    from polyspan.answering.onnx_model import open_session
    from polyspan.encoding.predict import predict
    from polyspan.evaluation.evaluate import score_rows

    class Reader(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.session = open_session(graph.SerializeToString())
            self.place = torch.nn.Parameter(torch.empty(0), requires_grad=False)

        def forward(self, **inputs: Any) -> QuestionAnsweringModelOutput:
            feed = {entry.name: inputs[entry.name].numpy() for entry in self.session.get_inputs()}
            start, end = (torch.from_numpy(logits) for logits in self.session.run(None, feed))
            return QuestionAnsweringModelOutput(start_logits=start, end_logits=end)

    reader, begin = Reader(), time.process_time()
    predictions = predict(reader, tokenizer, corpus, pairs, batch_tokens=2048)
    seconds = time.process_time() - begin
    scores = score_rows(corpus, predictions, "mlqa")
    f1 = {lang: 100 * fmean(s.f1 for s in scores if s.context_language == lang) for lang in LANGUAGES}
    best = [found.spans[0].text if found.spans else None for found in predictions]
    return {"f1": fmean(f1.values()), **f1, "seconds": seconds}, best


if __name__ == "__main__":
    main()
