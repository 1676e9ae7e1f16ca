"""Whatever is wrong with what a user gives, it is one clear line, an exit code, and nothing half-written."""

from __future__ import annotations

import gzip
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from test_cli import polyspan, refused
from tiny_models import tiny_bert

ROW = {"id": "a", "language": "en", "context": "The door is red.", "question": "What colour?", "answer": "red"}
HEADER = "id,language,context,question,answer\n"
ANSWER = {"text": "red", "answer_start": 12}


def squad(**changes: Any) -> str:
    qa = {"id": "a", "question": "What colour?", "answers": [ANSWER], **changes}
    context = qa.pop("context", "The door is red.")
    again = [{**qa, "question": "Why?"}] if qa.pop("twice", False) else []
    return json.dumps({"data": [{"title": "t", "paragraphs": [{"context": context, "qas": [qa, *again]}]}]})


# name of the file, what is in it, what the message must say beside the name of the file
DATA: dict[str, tuple[str, str | bytes, list[str]]] = {
    "empty": ("a.json", "", ["empty"]),
    "blank": ("a.json", " \n ", ["empty"]),
    "cut short": ("a.json", '{"data": [\n {"title": "x",', ["line 2", "not valid JSON"]),
    "endless": ("a.json", "[" * 100_000, ["cannot be read"]),
    "huge number": ("a.json", '{"data": ' + "9" * 5000 + "}", ["cannot be read"]),
    "a list": ("a.json", "[1]", ["SQuAD's layout", "'data'"]),
    "not UTF-8": ("a.json", '{"data": "für"}'.encode("latin-1"), ["UTF-8", "byte 11"]),
    "no paragraphs": ("a.json", '{"data": [{"title": "x"}]}', ["article 1", "paragraphs"]),
    "no questions": ("a.json", '{"data": [{"paragraphs": [{"context": "x"}]}]}', ["paragraph 1", "qas"]),
    "no id": ("a.json", squad(id=None), ["paragraph 1", "id"]),
    "no question": ("a.json", squad(question=None), ["'a'", "question"]),
    "no context": ("a.json", squad(context=None), ["'a'", "context"]),
    "no answers": ("a.json", squad(answers=[]), ["'a'", "answers"]),
    "answers are text": ("a.json", squad(answers="red"), ["'a'", "answers"]),
    "no start": ("a.json", squad(answers=[{"text": "red"}]), ["'a'", "answer_start"]),
    "start is text": ("a.json", squad(answers=[{"text": "red", "answer_start": "12"}]), ["'a'", "answer_start"]),
    "answer elsewhere": ("a.json", squad(answers=[{"text": "red", "answer_start": 3}]), ["'a'", "'red'", "3"]),
    "negative start": ("a.json", squad(answers=[{"text": "red", "answer_start": -4}]), ["'a'", "-4"]),
    "start past the end": ("a.json", squad(answers=[{"text": "red", "answer_start": 10**9}]), ["'a'", "1000000000"]),
    "empty answer": ("a.json", squad(answers=[{"text": " ", "answer_start": 3}]), ["'a'", "empty"]),
    "empty question": ("a.json", squad(question="  "), ["'a'", "question is empty"]),
    "empty id": ("a.json", squad(id=""), ["id is empty"]),
    "duplicate id": ("a.json", squad(twice=True), ["'a'", "used before"]),
    "half a surrogate": ("a.json", squad(question="\ud83d?"), ["'a'", "surrogate"]),
    "half a surrogate in the id": ("a.json", squad(id="\ud83d"), ["surrogate"]),
    "no column": ("a.csv", "id,language,context,question\nx,en,y,z\n", ["line 1", "'answer'"]),
    "two columns": ("a.csv", "id,language,context,question,answer,answer\n", ["line 1", "two columns", "'answer'"]),
    "header only": ("a.csv", HEADER, ["no question"]),
    "a cell too many": ("a.csv", HEADER + "a,en,The door, is red,What?,red\n", ["line 2", "6 cells", "5"]),
    "open quotes": ("a.csv", HEADER + 'a,en,"The door is red.,What?,red\n', ["line 2", "not a readable table"]),
    "open quotes before other rows": (
        "a.csv",
        HEADER + 'a,en,"The door is red.,What?,red\n' + "b,en,The door is red.,What?,red\n" * 3,
        ["line 2: not a readable table", "is not closed", "line 5)"],
    ),
    "answer never": ("a.csv", HEADER + "a,en,The door is red.,What?,blue\n", ["line 2", "'a'", "'blue'"]),
    "answer twice": ("a.csv", HEADER + "a,en,red and red,What?,red\n", ["line 2", "'a'", "more than once"]),
    "language missing": ("a.csv", HEADER + "a,,The door is red.,What?,red\n", ["line 2", "language"]),
    "id missing": ("a.csv", HEADER + ",en,The door is red.,What?,red\n", ["line 2", "id"]),
    "line of the second row": (
        "a.csv",
        HEADER + 'a,en,"The door\nis red.",What?,red\nb,en,The door is red.,What?,blue\n',
        ["line 4", "'b'"],
    ),
    "start is a word": (
        "a.tsv",
        "id\tlanguage\tcontext\tquestion\tanswer\tanswer_start\na\ten\tThe door is red.\tWhat?\tred\ttwelve\n",
        ["line 2", "'twelve'"],
    ),
    "languages in two spellings": (
        "a.csv",
        HEADER + "a,EN,The door is red.,What?,red\nb,en,The door is red.,Why?,red\n",
        ["line 3", "'b'", "'en', before it was 'EN'"],
    ),
    "an answer and none": (
        "a.csv",
        HEADER + "a,en,The door is red.,What?,red\na,en,The door is red.,What?,\n",
        ["line 3", "'a'", "both an answer and no answer"],
    ),
    "other question": (
        "a.csv",
        HEADER + "a,en,The door is red.,What?,red\na,en,The door is red.,Why?,red\n",
        ["line 3", "another question"],
    ),
    "UTF-16": ("a.csv", HEADER.encode("utf-16"), ["UTF-16", "UTF-8"]),
    "broken line": ("a.jsonl", json.dumps(ROW) + "\n{\n", ["line 2", "not valid JSON"]),
    "a line that is a list": ("a.jsonl", "[]\n[]\n", ["line 1", "not a JSON object"]),
    "an endless line": ("a.jsonl", "[" * 100_000, ["line 1"]),
    "infinite start": ("a.jsonl", json.dumps({**ROW, "answer_start": float("inf")}), ["line 1", "'inf'"]),
    "fractional start": ("a.jsonl", json.dumps({**ROW, "answer_start": 12.5}), ["line 1", "'12.5'"]),
    "id is an object": ("a.jsonl", json.dumps({**ROW, "id": {}}), ["line 1", "id"]),
    "context is a list": ("a.jsonl", json.dumps({**ROW, "context": ["x"]}), ["line 1", "context"]),
    "answer is not a number": (
        "a.jsonl",
        json.dumps({**ROW, "context": "A banana.", "answer": float("nan")}),
        ["line 1", "'a'", "answer"],
    ),
    "question is true": ("a.jsonl", json.dumps({**ROW, "question": True}), ["line 1", "'a'", "question"]),
    "id is true": ("a.jsonl", json.dumps({**ROW, "id": True}), ["line 1", "id"]),
    "language is a list": ("a.jsonl", json.dumps({**ROW, "language": ["en"]}), ["line 1", "'a'", "language"]),
    "no language key": ("a.jsonl", json.dumps({k: v for k, v in ROW.items() if k != "language"}), ["line 1"]),
    "SQuAD's layout named as a table": ("a.jsonl", squad() + "\n", ["SQuAD's layout", ".json", "--kind squad"]),
    "the same over several lines": ("a.jsonl", json.dumps(json.loads(squad()), indent=1), ["SQuAD's layout"]),
    "JSON lines named as SQuAD": ("a.json", f"{json.dumps(ROW)}\n" * 2, ["line 2", ".jsonl"]),
    "JSON lines named as CSV": ("a.csv", f"{json.dumps(ROW)}\n", ["is JSON", ".jsonl"]),
    "packed": ("a.csv.gz", gzip.compress(HEADER.encode()), ["is packed", "unpack"]),
    "unknown ending": ("a.txt", "x", ["--kind"]),
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("model") / "tiny")


def written(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("case", DATA)
def test_bad_data(case: str, tmp_path: Path, tiny: Path) -> None:
    """The same line from every command that reads data; ``train`` and ``evaluate`` write nothing."""
    name, content, said = DATA[case]
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    run, out = tmp_path / "run", tmp_path / "out"
    commands = {
        "check": ("data", "check", file, "--on-bad", "fail"),
        "evaluate": ("evaluate", "--model", tiny, "--data", file, "--output", out),
        "train": ("train", "recipes/smoke.yaml", "--set", f"run_dir={run}", "--set", f"data.path={file}"),
    }
    messages = {
        command: refused(*arguments, *(("--set", f"model={tiny}") if command == "train" else ()))
        for command, arguments in commands.items()
    }
    assert len(set(messages.values())) == 1, messages
    for part in (name, *said):
        assert part in messages["check"]
    assert set(written(tmp_path)) <= {name, "run/recipe.yaml", "run/environment.json"}


def truncate(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])


def disguise(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(pickle.dumps({"weights": 1}))


def only_pickle(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"weights": 1}))


def configure(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **changes}), encoding="utf-8")

    return change


def remove(*names: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        for name in names:
            (folder / name).unlink(missing_ok=True)

    return change


def overwrite(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text, encoding="utf-8") and None


MODELS: dict[str, tuple[Callable[[Path], None], str]] = {
    "cut weights": (truncate, "cannot be loaded"),
    "pickle called safetensors": (disguise, "cannot be loaded"),
    "pickle": (only_pickle, "pickle"),
    "no weights": (remove("model.safetensors"), "no weights"),
    "no configuration": (remove("config.json"), "no config.json"),
    "broken configuration": (overwrite("config.json", "{"), "cannot be loaded"),
    "empty configuration": (overwrite("config.json", "{}"), "cannot be loaded"),
    "unknown architecture": (configure(model_type="nix"), "nix"),
    "not an encoder": (configure(model_type="vit"), "cannot be loaded"),
    "other sizes": (configure(hidden_size=64), "cannot be loaded"),
    "more layers than weights": (configure(num_hidden_layers=3), "no weights for"),
    "own code": (configure(model_type="own", auto_map={"AutoConfig": "own.Config"}), "own"),
    "no tokeniser": (remove("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"), "tokeni"),
    "broken tokeniser": (overwrite("tokenizer.json", "{"), "cannot be loaded"),
}


@pytest.mark.parametrize("case", MODELS)
def test_bad_models(case: str, tmp_path: Path, tiny: Path) -> None:
    damage, said = MODELS[case]
    folder = tmp_path / "model"
    shutil.copytree(tiny, folder)
    damage(folder)
    before = written(folder)
    text = tmp_path / "text.txt"
    text.write_text("The door is red.", encoding="utf-8")
    messages = [
        refused("ask", "-q", "What colour?", "--context-file", text, "--model", folder),
        refused("evaluate", "--model", folder, "--data", "commons/dev", "--output", tmp_path / "out"),
        refused("train", "recipes/smoke.yaml", "--set", f"run_dir={tmp_path / 'run'}", "--set", f"model={folder}"),
    ]
    for message in messages:
        assert str(folder) in message
        assert said in message
    assert written(folder) == before
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "run" / "model").exists()


SMOKE = "recipes/smoke.yaml"
COMMANDS: dict[str, tuple[list[str], list[str]]] = {
    "no such data": (["data", "check", "none.json"], ["none.json", "no such file"]),
    "no such part": (["data", "check", "commons/nix"], ["commons/nix", "train, dev, test"]),
    "unknown kind": (["data", "check", "commons/dev", "--kind", "nix"], ["'nix'", "mlqa"]),
    "unknown on-bad": (["data", "check", "commons/dev", "--on-bad", "nix"], ["nix", "skip"]),
    "no such language": (["data", "check", "commons/dev", "--languages", "en,tlh"], ["'tlh'", "sw"]),
    "two languages of one file": (["evaluate", "--model", "x", "--data", "none.json", "--limit", "1"], ["x"]),
    "name too long": (["data", "check", "x" * 300], ["too long"]),
    "hub without split": (["data", "check", "a/b", "--kind", "hub"], ["a/b", "split"]),
    "unknown set": (["data", "get", "nix"], ["'nix'", "squad, xquad"]),
    "unknown recipe": (["recipe", "copy", "nix", "x.yaml"], ["'nix'", "polyspan recipe list"]),
    "misspelt recipe": (["recipe", "copy", "small/sdk", "x.yaml"], ["did you mean small/skd"]),
    "name of a recipe for its file": (["train", "small/skd"], ["polyspan recipe copy small/skd"]),
    "a sweep to train": (["train", "recipes/sweeps/small-ntl.yaml"], ["polyspan sweep recipes/sweeps/small-ntl.yaml"]),
    "a recipe to sweep": (["sweep", SMOKE], [f"polyspan train {SMOKE}"]),
    "a public set that was not fetched": (["data", "check", "none/mlqa/dev"], ["polyspan data get mlqa"]),
    "the same with its kind": (
        ["data", "check", "none/xquad", "--kind", "xquad"],
        ["no such file", "polyspan data get xquad"],
    ),
    "misspelt shipped model": (
        ["ask", "-q", "Who?", "--context-file", "README.md", "--model", "polyspan-smal"],
        ["polyspan-smal:", "polyspan-qa-en, polyspan-small"],
    ),
    "recipe is a folder": (["recipe", "check", "recipes"], ["recipes", "directory"]),
    "no recipe": (["train", "none.yaml"], ["none.yaml"]),
    "unknown key": (["train", SMOKE, "--set", "training.epoks=1"], ["training.epoks", "epochs"]),
    "unknown section": (["train", SMOKE, "--set", "trainning.epochs=1"], ["trainning", "training"]),
    "not a setting": (["train", SMOKE, "--set", "epochs"], ["epochs", "key=value"]),
    "broken value": (["train", SMOKE, "--set", "model=[x"], ["model=[x"]),
    "value as section": (["train", SMOKE, "--set", "seed.x=1"], ["seed"]),
    "infinite rate": (["train", SMOKE, "--set", "training.learning_rate=.inf"], ["learning_rate", "finite"]),
    "rate of zero": (["train", SMOKE, "--set", "training.learning_rate=0"], ["learning_rate", "greater than 0"]),
    "nothing to learn": (
        ["train", SMOKE, "--set", "objective.alpha_ce=0", "--set", "objective.alpha_kl=0"],
        ["alpha_ce", "alpha_kl"],
    ),
    "no such source language": (
        ["train", SMOKE, "--set", "data.source_language=tlh", "--set", "run_dir=RUN"],
        ["'tlh'"],
    ),
    "no room in the windows": (
        ["train", SMOKE, "--set", "data.max_length=3", "--set", "training.frozen_layers=0", "--set", "run_dir=RUN"],
        ["max_length 3"],
    ),
    "more frozen layers than there are": (
        ["train", SMOKE, "--set", "training.frozen_layers=99", "--set", "run_dir=RUN"],
        ["frozen_layers", "99"],
    ),
    "teacher asks in a language that is not there": (
        [
            "train",
            SMOKE,
            "--set",
            "data={path: commons/train, languages: [de, es], sampling: diagonal, seeds: 3}",
            "--set",
            "objective.teacher_question=source",
            "--set",
            "training.frozen_layers=0",
            "--set",
            "run_dir=RUN",
        ],
        ["teacher_question", "'en'"],
    ),
    "nothing to ask, and nobody looks for leakage": (
        [
            "train",
            SMOKE,
            "--set",
            "evaluation.path=none.json",
            "--set",
            "training.frozen_layers=0",
            "--set",
            "run_dir=RUN",
            "--leakage",
            "ignore",
        ],
        ["none.json"],
    ),
    "no run to resume": (["train", SMOKE, "--resume", "--set", "run_dir=RUN"], ["--resume"]),
    "no such text": (["ask", "-q", "Who?", "--context-file", "none.txt"], ["none.txt"]),
    "text is a folder": (["ask", "-q", "Who?", "--context-file", "recipes"], ["recipes"]),
    "unknown model": (
        ["ask", "-q", "Who?", "--context-file", "README.md", "--model", "nix"],
        ["nix", "polyspan-qa-en"],
    ),
    "empty question": (["ask", "-q", " ", "--context-file", "README.md", "--model", "TINY"], ["question"]),
    "no key in the file": (["serve", "--api-key-file", "LATIN", "--port", "0"], ["LATIN", "not UTF-8 at byte 0"]),
    "no host's name": (["serve", "--host", "a..b"], ["a..b", "--host"]),
    "output is a file": (
        [
            "evaluate",
            "--model",
            "TINY",
            "--data",
            "commons/dev",
            "--limit",
            "1",
            "--languages",
            "en",
            "--output",
            "FILE",
        ],
        ["FILE"],
    ),
}


@pytest.mark.parametrize("case", COMMANDS)
def test_bad_commands(case: str, tmp_path: Path, tiny: Path) -> None:
    arguments, said = COMMANDS[case]
    file = tmp_path / "a file"
    file.write_text("x", encoding="utf-8")
    latin = tmp_path / "latin.txt"
    latin.write_bytes(b"\xfcber alle Berge")
    places = {"RUN": str(tmp_path / "run"), "TINY": str(tiny), "FILE": str(file), "LATIN": str(latin)}
    for name, place in places.items():
        arguments = [argument.replace(name, place) for argument in arguments]
        said = [part.replace(name, place) for part in said]
    if arguments[0] == "train":
        arguments = [*arguments, "--set", f"model={tiny}"]
    message = refused(*arguments)
    for part in said:
        assert part in message
    assert file.read_text(encoding="utf-8") == "x"
    assert not (tmp_path / "run" / "model").exists()


@pytest.mark.parametrize("option", ["--answer-seconds", "--body-seconds", "--batch-milliseconds"])
def test_a_server_is_not_told_to_wait_for_ever(option: str) -> None:
    assert "86400" in polyspan("serve", option, "inf", "--port", "0", code=2).stderr


REPEATED = "run_dir: x\nseed: 1\nseed: 2\ndata: {path: commons/train}\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (REPEATED, ["line 3", "'seed'", "twice"]),
        ("run_dir: ü\n".encode("latin-1"), ["byte 9", "UTF-8"]),
        ("1: x\nrun_dir: y\ndata: {path: z}\n", ["strings"]),
        ("run_dir: y\ndata:\n", ["data"]),
        ("run_dir: y\ndata: commons/train\n", ["data"]),
        ("run_dir: y\n\tdata: z\n", ["line 2"]),
        ("run_dir: y\n[data]: z\n", ["line 2", "key"]),
        ("run_dir: y\nseed: -1\ndata: {path: commons/train}\n", ["seed", "0"]),
        ("run_dir: y\nseed: 4294967296\ndata: {path: commons/train}\n", ["seed", "4294967296"]),
        ("run_dir: y\ndata: {path: commons/train, max_length: 100000000000}\n", ["data.max_length", "2147483648"]),
        (f"run_dir: y\nseed: {'9' * 5000}\ndata: {{path: z}}\n", ["not valid YAML", "4300 digits"]),
        ("run_dir: ''\ndata: {path: commons/train}\n", ["run_dir: empty", "name a folder"]),
        ("run_dir: !!python/object/apply:os.system [ls]\n", ["line 1", "python/object"]),
    ],
)
def test_bad_recipe_files(content: str | bytes, said: list[str], tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    message = refused("recipe", "check", file)
    for part in (str(file), *said):
        assert part in message
