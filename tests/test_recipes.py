"""Every shipped recipe: its first line runs it, it loads, and it trains a tiny model for a few steps."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest

from polyspan.analysis.paper import load_paper
from polyspan.corpus import load_corpus
from polyspan.experiments.plan import PlanError, is_plan, load_plan
from polyspan.experiments.recipe import RecipeError, load_recipe
from polyspan.experiments.run import read_metrics, run_recipe
from polyspan.experiments.shipped import shipped_recipes
from tiny_models import tiny_bert
from tiny_runs import quiet

SHIPPED = shipped_recipes()
SWEEPS = [name for name in SHIPPED if name.startswith("sweeps/")]
RECIPES = [name for name in SHIPPED if name not in SWEEPS]
ROWS = {"ce", "skd", "skd-first-hit", "skd-eq5", "skd-first-hit-no-ce", "skd-no-ce"}
PAPER = [name for name in RECIPES if name.startswith("paper/")]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a user of own-language/ has: each question in English and in the new language."""
    path = tmp_path_factory.mktemp("own") / "my-questions.csv"
    corpus = load_corpus("commons/train", languages=["en", "eu"])
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "language", "context", "question", "answer", "answer_start"])
        for seed in corpus.seeds.values():
            for language in ("en", "eu"):
                answer = seed.answers[language][0]
                text = corpus.passages[seed.passages[language]].text
                writer.writerow([seed.id, language, text, seed.questions[language], answer.text, answer.start])
    return path


def comments(name: str) -> list[str]:
    lines = SHIPPED[name].read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.startswith("#")]


def test_the_groups_are_whole() -> None:
    assert {name.partition("/")[2] for name in PAPER} == {"phase1", *ROWS}
    assert {name.partition("/")[2] for name in RECIPES if name.startswith("small/")} >= {"phase1", "skd-ap", *ROWS}
    base = {name.partition("/")[2] for name in RECIPES if name.startswith("base/")}
    assert {name.removesuffix("-phase1") for name in base} == {"xlm-r-base", "mdeberta", "mmbert", "minilm"}
    assert len(base) == 8
    assert {n for n in RECIPES if n.startswith("own")} == {f"own-language/{n}-questions" for n in (50, 200, 1000)}
    assert {"sweeps/paper", "sweeps/small-ntl", "sweeps/small-temperature"} <= set(SWEEPS)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_first_line_is_the_command_that_runs_it(name: str) -> None:
    command, about, *_ = comments(name)
    runs = {"demo": "# polyspan demo"}.get(name)
    verb = "sweep" if name in SWEEPS else "train"
    assert command == (runs or f"# polyspan {verb} recipes/{name}.yaml")
    assert len(about) > 30
    assert SHIPPED[name].read_text(encoding="utf-8").isascii()


@pytest.mark.parametrize("name", RECIPES)
def test_each_recipe_trains_and_is_judged(name: str, model: Path, table: Path, tmp_path: Path) -> None:
    recipe = load_recipe(SHIPPED[name])
    settings = [
        f"run_dir={tmp_path / 'run'}",
        f"model={model}",
        "data.seeds=2",
        f"data.target_languages={min(recipe.data.target_languages, 2)}",
        "training.epochs=1",
        f"training.frozen_layers={min(recipe.training.frozen_layers, 1)}",
    ]
    own = recipe.data.kind == "table"
    if recipe.data.replay is not None:
        settings += ["data.replay.path=commons/dev", "data.replay.kind=null", "data.replay.seeds=1"]
        settings += ["data.replay.certain_answers=false"]
    settings += [f"data.path={table}"] if own else ["data.path=commons/train", "data.kind=null"]
    if recipe.evaluation is not None:
        settings += [f"evaluation.path={table}"] if own else ["evaluation.path=commons/dev", "evaluation.kind=null"]
        settings += ["evaluation.limit=1", "evaluation.languages=[en,eu]"]
    result = run_recipe(load_recipe(SHIPPED[name], settings), quiet(), leakage="ignore")
    assert (tmp_path / "run/model/model.safetensors").is_file()
    steps = read_metrics(tmp_path / "run")
    # Before its first step the student is its teacher: a divergence of 0, up to rounding of either sign.
    assert all(step["loss"] > -1e-6 for step in steps)
    assert any(step["kl"] != 0 for step in steps) <= (recipe.objective.alpha_kl > 0)
    if recipe.evaluation is not None:
        assert result.matrix is not None
        assert len(result.matrix.cells) == 4


@pytest.mark.parametrize("name", [name for name in RECIPES if "/" in name and not name.startswith("own")])
def test_paths_are_those_of_the_publishers(name: str, data_dir: Path) -> None:
    tree = load_recipe(SHIPPED[name])
    assert tree.evaluation is not None
    for path in (tree.data.path, tree.evaluation.path, *([tree.data.replay.path] if tree.data.replay else [])):
        assert (data_dir / path.removeprefix("data/")).exists()


@pytest.mark.parametrize("name", PAPER)
def test_paper_recipes_state_the_papers_numbers(name: str) -> None:
    text = " ".join(line.removeprefix("#").strip() for line in comments(name))
    found = re.search(
        r"Expected \(paper, Table (\d), F1/EM\): mlqa-dev G-XLT ([\d.]+)/([\d.]+), XLT ([\d.]+)/([\d.]+);"
        r" mlqa-test G-XLT ([\d.]+)/([\d.]+), XLT ([\d.]+)/([\d.]+)",
        text,
    )
    assert found is not None
    assert "Where paper and code disagree" in text
    recipe = load_recipe(SHIPPED[name])
    method = "zero-shot" if name == "paper/phase1" else "ce"
    if recipe.objective.alpha_kl:
        method = "skd" if recipe.objective.coefficient == "constant" else "skd-map"
    paper = load_paper()
    printed = (paper.table2 if recipe.objective.alpha_ce else paper.table5).row(method)
    assert printed is not None
    assert found[1] == ("2" if recipe.objective.alpha_ce else "5")
    numbers = [
        number
        for data in ("mlqa-dev", "mlqa-test")
        for average in ("gxlt", "xlt")
        for number in (printed.scores[data][average].f1, printed.scores[data][average].em)  # type: ignore[index]
    ]
    assert [float(value) for value in found.groups()[1:]] == numbers
    if recipe.objective.alpha_ce and printed.target_languages:
        assert recipe.data.target_languages == printed.target_languages
        assert f"= {printed.examples:,} examples" in SHIPPED[name].read_text(encoding="utf-8")
        assert 1190 * (1 + recipe.data.target_languages) ** 2 == printed.examples


def test_small_rows_differ_in_the_objective_alone() -> None:
    rows = [f"small/{name}" for name in (*ROWS, "skd-ap")]
    trees = {name: load_recipe(SHIPPED[name]) for name in rows}
    shared = {
        json.dumps(tree.model_dump(mode="json", exclude={"run_dir", "objective", "training"}), sort_keys=True)
        for tree in trees.values()
    }
    assert len(shared) == 1
    assert {tree.run_dir.as_posix() for tree in trees.values()} == {f"runs/{name}" for name in rows}
    assert len({tree.objective for tree in trees.values()}) == len(rows)


def test_the_papers_sweep_is_its_grid() -> None:
    plan = load_plan(SHIPPED["sweeps/paper"])
    grid = load_paper().grid
    trials = plan.grid()
    assert len(trials) == plan.trials == 6 + 2 * 4 * 6
    for method, temperatures in (("ce", [2]), ("skd", grid.temperatures), ("skd-first_hit", grid.temperatures)):
        found = [t for t in trials if t["method"] == method]
        assert {(t["objective.temperature"], t["data.target_languages"]) for t in found} == {
            (heat, number) for heat in temperatures for number in grid.target_languages
        }
    ce = plan.trial_recipe(next(t for t in trials if t["method"] == "ce" and t["data.target_languages"] == 4))
    assert ce.objective.alpha_kl == 0
    assert ce.data.target_languages == 4
    assert ce.training == plan.recipe.training
    assert len({plan.trial_recipe(t).run_dir for t in trials}) == len(trials)


@pytest.mark.parametrize("name", SWEEPS)
def test_sweeps_load_and_are_told_from_recipes(name: str) -> None:
    assert is_plan(SHIPPED[name])
    plan = load_plan(SHIPPED[name], ["data.seeds=7"])
    assert plan.trials >= 4
    assert plan.recipe.data.seeds == 7


def test_no_recipe_is_taken_for_a_sweep() -> None:
    assert not any(is_plan(SHIPPED[name]) for name in RECIPES)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"keys": {"data.target_language": [1]}}, "data.target_language"),
        ({"keys": {"objective.temperature": [2, -1]}}, "objective.temperature"),
        ({"keys": {"objective.temperature": {"low": 1, "high": 4}}}, "search: tpe"),
        ({"keys": {"objective.temperature": []}}, "no values"),
        ({"search": "tpe"}, "trials"),
        ({"trials": 3}, "leave it out"),
        ({"recipe": "nothing"}, "small/skd"),
        ({"select": "best"}, "select"),
        ({"sede": 1}, "sede"),
        ({"recipe": "demo"}, "evaluation"),
        ({"methods": {"x": {"objective.alpha": 1}}}, "objective.alpha"),
        ({"keys": {"run_dir": ["a"]}}, "run_dir"),
    ],
)
def test_bad_sweeps_name_the_key(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    tree = {"recipe": "small/skd", "folder": "x", "keys": {"seed": [1, 2]}, **change}
    path = tmp_path / "sweep.yaml"
    path.write_text(json.dumps(tree), encoding="utf-8")
    with pytest.raises((PlanError, RecipeError), match=re.escape(said)):
        load_plan(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "recipe: small/skd\nfolder: x\nkeys:\n  seed: [1]\n  seed: [2]\n",
            "line 5, column 3: not valid YAML (the key 'seed'",
        ),
        ("recipe: small/skd\nfolder: x\nkeys: {seed: [2024-01-01]}\n", "seed: Input should be a valid integer"),
        ("recipe: small/skd\nfolder: x\nmethods: {a: {seed: 2024-01-01}}\nkeys: {}\n", "seed: Input should be a valid"),
        ("recipe: small/skd\nfolder: x\nmethods: {a: {seed: !!binary eA==}}\nkeys: {}\n", "methods.a.seed: "),
        ("- recipe\n", "a sweep is a mapping of keys; this is a list"),
        ("", "the file is empty"),
    ],
)
def test_bad_sweep_files(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text(text, encoding="utf-8")
    with pytest.raises((PlanError, RecipeError), match=re.escape(said)):
        load_plan(tmp_path / "sweep.yaml")


def test_a_folder_named_by_the_date_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("run_dir: 2024-01-01\ndata: {path: commons/train}\n", encoding="utf-8")
    assert load_recipe(tmp_path / "recipe.yaml").run_dir == Path("2024-01-01")
    assert load_recipe(tmp_path / "recipe.yaml", ["run_dir=2024-02-02"]).run_dir == Path("2024-02-02")


def test_norwegian_is_a_language(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text("run_dir: x\ndata: {path: z, languages: [en, no], certain_answers: yes}\n", encoding="utf-8")
    data = load_recipe(file).data
    assert (data.languages, data.certain_answers) == (["en", "no"], True)
    data = load_recipe(file, ["data.languages=[no, sv]", "data.certain_answers=off"]).data
    assert (data.languages, data.certain_answers) == (["no", "sv"], False)
    with pytest.raises(RecipeError, match=r"--set seed=9{5000}: cannot be read \(.*4300 digits"):
        load_recipe(file, [f"seed={'9' * 5000}"])
