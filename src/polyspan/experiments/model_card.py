"""The README.md of a model folder: what it was made of, how it scores, what it cannot do.

Everything in it comes from the run folder, so that it can be written again at any time. Its head is
metadata for the Hugging Face hub.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from polyspan.analysis.facts import leakage_lines
from polyspan.analysis.languages import language_name
from polyspan.analysis.paper import load_paper
from polyspan.analysis.run_files import DataFile, LeakageFile, read_object
from polyspan.analysis.runs import data_name, without_homes
from polyspan.errors import PolyspanError
from polyspan.evaluation.compare import Interval, score_intervals
from polyspan.evaluation.matrix import AVERAGES, METRICS, NOTHING, Average, Metric, ScoreMatrix, to_markdown
from polyspan.evaluation.rows import PREDICTIONS, Method, read_rows
from polyspan.experiments.leakage import LEAKAGE_FILE, from_its_place
from polyspan.experiments.provenance import Provenance, Source, data_source, provenance
from polyspan.experiments.recipe import MODEL_FOLDER, RECIPE_FILE, Evaluation, Recipe, dump_recipe, load_recipe
from polyspan.files import read_text, write_text
from polyspan.models.load import CALIBRATION_FILE

CARD = "README.md"
DRAWS = 2_000
"""Of the bootstrap; enough for one decimal."""
METRIC_IDS: dict[Metric, str] = {"f1": "f1", "em": "exact_match"}
"""What the hub calls them."""
REPORTED: tuple[Average, ...] = ("gxlt", "xlt")


_ABSOLUTE = re.compile(r"(?<!\S)/[^\s:;,]+")


CALIBRATED = f"Its scores are calibrated: by `{CALIBRATION_FILE}` they say how often an answer is right."
NOT_CALIBRATED = (
    "Its scores are not calibrated: `polyspan calibrate` says how far they can be trusted as probabilities."
)


class CardError(PolyspanError):
    """A folder that no card can be written of."""


@dataclass(frozen=True)
class _Scored:
    evaluation: Evaluation
    source: Source
    matrix: ScoreMatrix
    intervals: dict[Metric, dict[Any, Interval]]


def write_model_card(folder: Path) -> Path:
    """Write ``model/README.md`` of a run folder, instead of an older one.

    Raises:
        CardError: the folder holds no finished run, or a broken file.
    """
    model = folder / MODEL_FOLDER
    if not (folder / RECIPE_FILE).is_file() or not model.is_dir():
        raise CardError(f"{folder}: holds no finished run; `polyspan train` makes one")
    recipe = load_recipe(folder / RECIPE_FILE)
    origin = provenance(from_its_place(recipe, folder / RECIPE_FILE))
    data = read_object(folder / "data.json", DataFile, CardError) or {}
    languages = sorted(data.get("languages") or [recipe.data.source_language])
    scored = _scored(folder, recipe)
    public = Recipe.model_validate(without_homes(recipe.model_dump(mode="json")))
    parts = [
        _head(folder, origin, languages, scored),
        f"# {folder.resolve().name}\n",
        _about(recipe, origin, languages, data),
        _use(),
        *(["## Scores\n", _scores(scored)] if scored else []),
        "## Data and licences\n",
        _licences(origin, scored),
        "## Leakage\n",
        _leakage(read_object(folder / LEAKAGE_FILE, LeakageFile, CardError)),
        "## Limits\n",
        "\n".join(f"- {line}" for line in _limits(recipe, languages, data, model)) + "\n",
        "## How it was trained\n",
        f"`polyspan train recipe.yaml` with Polyspan {metadata.version('polyspan')} and this recipe:\n",
        f"```yaml\n{dump_recipe(public)}```\n",
        "## How to cite\n",
        _citation(),
    ]
    write_text(model / CARD, "\n".join(parts))
    return model / CARD


def _head(folder: Path, origin: Provenance, languages: list[str], scored: _Scored | None) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    results = []
    for average in REPORTED if scored else ():
        for metric in METRICS:
            assert scored is not None
            value = scored.matrix.average(average, metric)
            if value is None:
                continue
            results.append(
                EvalResult(
                    task_type="question-answering",
                    task_name="Question answering",
                    dataset_type=scored.source.hub_id or data_name(scored.evaluation.path).replace("/", "-"),
                    dataset_name=_asked(scored),
                    metric_type=METRIC_IDS[metric],
                    metric_name=f"{metric.upper()}, {AVERAGES[average]}",
                    metric_value=round(100 * value, 2),
                )
            )
    licence = origin.licence
    # The hub takes a value of None for one that is not there.
    head = ModelCardData(
        language=languages,
        license=licence,
        license_name="see-data-and-licences" if licence == "other" else None,
        license_link=CARD if licence == "other" else None,
        library_name="transformers",
        pipeline_tag="question-answering",
        base_model=origin.encoder,
        datasets=[source.hub_id for source in origin.sources if source.hub_id] or None,
        tags=["polyspan", "extractive-qa", "multilingual", "cross-lingual"],
        metrics=list(METRIC_IDS.values()),
        model_name=folder.resolve().name,
        eval_results=results or None,
    )
    return f"---\n{head.to_yaml()}\n---\n"


def _about(recipe: Recipe, origin: Provenance, languages: list[str], data: dict[str, Any]) -> str:
    objective = recipe.objective
    how = "cross-entropy"
    if objective.alpha_kl:
        coefficient = "" if objective.coefficient == "constant" else f", mAP@k coefficient {objective.coefficient}"
        distilled = f"self-distillation (T {objective.temperature:g}{coefficient})"
        how = f"{how} and {distilled}" if objective.alpha_ce else f"{distilled} without cross-entropy"
    size = f"{data['pairs']:,} pairs out of {data['seeds']:,} questions" if "pairs" in data else "the questions"
    encoder = f", an encoder that began as {origin.encoder}" if origin.encoder else ""
    return (
        f"A model that reads a question in one language and finds the answer, a span, in a text in another or the same"
        f" language.\nIt started from `{without_homes(recipe.model)}`{encoder}, and was trained on {size} of"
        f" {data_source(recipe.data.path, recipe.data.kind).name}, by {how}.\nLanguages:"
        f" {', '.join(map(language_name, languages))}.\n"
    )


def _use() -> str:
    return (
        "```python\n"
        "from polyspan import Answerer\n\n"
        'answerer = Answerer("FOLDER OR HUB ID OF THIS MODEL")\n'
        'answers = answerer.answer("Who opened the bridge?", "A text in any of its languages.")\n'
        "for span in answers.spans:\n"
        "    print(span.score, span.start, span.end, span.text)\n"
        "```\n\n"
        "It is an ordinary folder of transformers, too: `AutoModelForQuestionAnswering.from_pretrained` loads it.\n"
    )


def _scores(scored: _Scored) -> str:
    lines = ["| average | F1 (%) | EM (%) |", "| --- | --: | --: |"]
    for name, label in AVERAGES.items():
        cells = [_cell(scored, name, metric) for metric in METRICS]
        if cells != [NOTHING, NOTHING]:
            lines.append(f"| {label} | {' | '.join(cells)} |")
    table = "\n".join(lines)
    return (
        f"On {_asked(scored)}; in brackets intervals at 95%, of a bootstrap over questions.\n\n{table}\n\n"
        f"F1 by language of the question and of the text:\n\n{to_markdown(scored.matrix)}"
    )


def _licences(origin: Provenance, scored: _Scored | None) -> str:
    rows = [("encoder", origin.encoder or "a folder whose origin no recipe tells", origin.encoder_licence)]
    rows += [("trained on", source.name, source.licence) for source in origin.sources]
    if scored:
        rows.append(("scored on", scored.source.name, scored.source.licence))
    lines = ["| part | name | licence |", "| --- | --- | --- |"]
    lines += [f"| {part} | {name} | {licence or 'not known here: ask its makers'} |" for part, name, licence in rows]
    said = {
        "other": "One of these licences is not known to the tool that wrote this card: read it before you publish the"
        " weights.",
        "cc-by-sa-4.0": "The careful reading is that texts under share-alike licences hand their licence on to weights"
        " trained on them; so it is given above.",
    }.get(origin.licence, "The weights are under the encoder's licence.")
    return "\n".join(lines) + f"\n\n{said}\n"


def note_calibration(model: Path) -> None:
    """Let the card beside a model say that it is calibrated now; what else was written into it stays.

    Raises:
        CardError: the card cannot be read.
    """
    card = model / CARD
    if card.is_file():
        text = read_text(card, CardError)
        if NOT_CALIBRATED in text:
            write_text(card, text.replace(NOT_CALIBRATED, CALIBRATED))


def _leakage(found: Any) -> str:
    if found is None:
        return "Training and test data were not compared.\n"
    return (
        "\n".join(f"- {_ABSOLUTE.sub(lambda path: data_name(path[0]), line['text'])}" for line in leakage_lines(found))
        + "\n"
    )


def _limits(recipe: Recipe, languages: list[str], data: dict[str, Any], model: Path) -> Iterator[str]:
    yield "It marks a span of the given text; it does not write answers, count, or join parts of the text."
    yield "In other languages than those above it was not trained here; measure before you rely on it."
    if "seeds" in data:
        yield f"It has seen {data['seeds']:,} questions in this training, and prefers short answers like theirs."
    if recipe.data.replay is None and len(languages) > 1:
        yield "Such a training can cost some of what the model knew in English: compare with the model it started from."
    yield CALIBRATED if (model / CALIBRATION_FILE).is_file() else NOT_CALIBRATED
    yield "What its data got wrong or left out, about people too, it may have learnt; nobody has checked it for bias."


def _citation() -> str:
    source = load_paper().source
    return (
        f"Polyspan {metadata.version('polyspan')}, and the paper whose method it makes available:\n\n"
        "```bibtex\n"
        f"@misc{{carrino{source.year}promoting,\n"
        f"  title = {{{source.title}}},\n"
        "  author = {Carrino, Casimiro Pio and Escolano, Carlos and Fonollosa, José A. R.},\n"
        f"  year = {{{source.year}}},\n"
        f"  eprint = {{{source.arxiv}}},\n"
        "  archivePrefix = {arXiv}\n"
        "}\n"
        "```\n"
    )


def _scored(folder: Path, recipe: Recipe) -> _Scored | None:
    if recipe.evaluation is None or not (folder / PREDICTIONS).is_file():
        return None
    rows = read_rows(folder)
    intervals: dict[Metric, dict[Any, Interval]] = {}
    if len({row.id for row in rows}) > 1:
        found = score_intervals(Method(folder.name, [rows]), draws=DRAWS)
        intervals = {metric: found[metric]["average"] for metric in METRICS}
    asked = recipe.evaluation
    return _Scored(asked, data_source(asked.path, asked.kind), ScoreMatrix.from_rows(rows), intervals)


def _asked(scored: _Scored) -> str:
    """Such as ``MLQA, mlqa/dev, 49 pairs of languages``."""
    limit = f", first {scored.evaluation.limit} questions of each" if scored.evaluation.limit else ""
    short = data_name(scored.evaluation.path)
    name = short if short in scored.source.name else f"{scored.source.name}, {short}"
    return f"{name}, {len(scored.matrix.cells)} pairs of languages{limit}"


def _cell(scored: _Scored, name: Average, metric: Metric) -> str:
    value = scored.matrix.average(name, metric)
    if value is None:
        return NOTHING
    interval = scored.intervals.get(metric, {}).get(name)
    if interval is None or interval.low is None or interval.high is None:
        return f"{100 * value:.1f}"
    return f"{100 * value:.1f} ({100 * interval.low:.1f} to {100 * interval.high:.1f})"
