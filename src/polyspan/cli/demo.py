"""``polyspan demo``: the main job on the shipped corpus, from zero-shot to a cross-lingual answer."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

LIMIT = 6
QUESTION_LANGUAGE, CONTEXT_LANGUAGE = "hi", "de"


def demo(
    run_dir: Annotated[Path, typer.Option(help="Where the run and the figures go.")] = Path("runs/demo"),
) -> None:
    """Watch a reader learn to answer across languages, in a few minutes."""
    from rich.console import Console

    from polyspan.analysis.curves import draw_coefficients
    from polyspan.analysis.heatmap import draw_matrix
    from polyspan.answering import Answerer
    from polyspan.corpus import Pair, load_corpus
    from polyspan.evaluation.matrix import difference, render_averages, render_matrix
    from polyspan.experiments.evaluate import evaluate_model
    from polyspan.experiments.recipe import Evaluation, load_recipe
    from polyspan.experiments.run import read_metrics, run_recipe
    from polyspan.experiments.shipped import shipped_recipes
    from polyspan.models import load_model

    began = time.monotonic()
    console = Console()
    recipe = load_recipe(shipped_recipes()["demo"]).model_copy(update={"run_dir": run_dir})
    test = Evaluation(path="commons/test", limit=LIMIT)

    console.rule("1. Before: an English reader asked in nine languages")
    before_model = load_model(recipe.model)
    before = evaluate_model(before_model.model, before_model.tokenizer, test, None, console)
    console.print(render_matrix(before))

    console.rule("2. Fine-tuning with self-distillation and mAP@k")
    result = run_recipe(recipe, console)

    console.rule("3. After, and the difference")
    after_model = load_model(str(result.model))
    after = evaluate_model(after_model.model, after_model.tokenizer, test, None, console)
    console.print(render_matrix(after))
    gain = difference(after, before)
    console.print(render_matrix(gain, title="gain in F1", signed=True))
    console.print(render_averages(gain, signed=True))
    questions = sum(cell.questions for cell in after.cells.values())
    console.print(f"{questions} answers a matrix: enough to see, too few to conclude from.")
    figures = run_dir / "figures"
    draw_matrix(before, figures / "before.svg", "f1", "Before: a reader trained on English")
    draw_matrix(after, figures / "after.svg", "f1", "After fine-tuning across languages")
    draw_matrix(gain, figures / "gain.svg", "f1", "What fine-tuning changed", signed=True)
    draw_coefficients(read_metrics(run_dir), figures / "coefficient.svg", "mAP@k coefficient of the distillation")
    console.print(f"figures: {figures}", markup=False, soft_wrap=True)

    console.rule("4. A question in Hindi, a text in German")
    corpus = load_corpus("commons/test")
    pair = Pair(next(iter(corpus.seeds)), QUESTION_LANGUAGE, CONTEXT_LANGUAGE)
    question, context = corpus.question(pair), corpus.context(pair)
    answers = Answerer(str(result.model)).answer(question, context, top_k=3)
    console.print(f"[bold]{question}[/bold]\n{context}")
    for span in answers.spans:
        console.print(f"  {span.score:.2f}  characters {span.start}–{span.end}  {span.text}", markup=False)
    console.print(f"expected: {corpus.answers(pair)[0].text}", markup=False)
    seconds = time.monotonic() - began
    console.print(f"\ndone in {seconds:.0f} seconds; the model is in {result.model}", markup=False, soft_wrap=True)
