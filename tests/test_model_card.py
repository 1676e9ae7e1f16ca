"""The model card: true to the run, valid for the hub; and push, against a hub of our own on loopback."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard, constants
from huggingface_hub.utils import validate_repo_id

from polyspan.corpus.publishers import DATA_SETS
from polyspan.experiments.model_card import (
    CALIBRATED,
    NOT_CALIBRATED,
    CardError,
    note_calibration,
    write_model_card,
)
from polyspan.experiments.provenance import ENCODERS, data_source, provenance
from polyspan.experiments.recipe import Evaluation, Recipe, dump_recipe, load_recipe
from polyspan.experiments.run import run_recipe
from polyspan.experiments.shipped import shipped_recipes
from test_cli import polyspan, refused
from tiny_models import tiny_bert
from tiny_runs import quiet, recipe

LICENCES = {"mit", "apache-2.0", "cc-by-sa-4.0", "other"}
"""Those that we write; all are identifiers of the hub."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with an evaluation."""
    folder = tmp_path_factory.mktemp("card")
    asked = Evaluation(path="commons/dev", languages=["en", "de"], limit=3)
    made = recipe(tiny_bert(folder / "tiny"), folder / "my-run", data={"languages": ["en", "de", "hi"]})
    run_recipe(made.model_copy(update={"evaluation": asked}), quiet())
    return folder / "my-run"


def test_the_card_of_a_run_is_valid_and_true(run: Path) -> None:
    text = (run / "model/README.md").read_text(encoding="utf-8")
    card = ModelCard.load(run / "model/README.md")  # reads metadata strictly; broken results raise
    data = card.data
    assert (data.pipeline_tag, data.library_name) == ("question-answering", "transformers")
    assert data.language == ["de", "en", "hi"]
    assert data.license in LICENCES
    assert data.license == "other"  # the tiny model's origin is not known
    assert data.license_name
    assert data.base_model is None
    scores = json.loads((run / "scores.json").read_text(encoding="utf-8"))["averages"]
    stated = {(result.metric_name, result.metric_type): result.metric_value for result in data.eval_results}
    assert stated == {
        ("F1, G-XLT (all pairs)", "f1"): round(scores["gxlt"]["f1"], 2),
        ("EM, G-XLT (all pairs)", "exact_match"): round(scores["gxlt"]["em"], 2),
        ("F1, XLT (diagonal)", "f1"): round(scores["xlt"]["f1"], 2),
        ("EM, XLT (diagonal)", "exact_match"): round(scores["xlt"]["em"], 2),
    }
    row = re.search(r"^\| G-XLT \(all pairs\) \| ([\d.]+) \(([\d.]+) to ([\d.]+)\)", text, re.MULTILINE)
    assert row is not None
    assert float(row[2]) <= float(row[1]) == pytest.approx(scores["gxlt"]["f1"], abs=0.05)
    assert float(row[1]) <= float(row[3])
    for heading in ("Scores", "Data and licences", "Leakage", "Limits", "How it was trained", "How to cite"):
        assert f"\n## {heading}\n" in text
    assert "| trained on | commons/train (ships with Polyspan) | CC0 1.0 |" in text
    assert "commons/dev against commons/train: nothing is shared" in text
    assert str(run.parent) not in text  # nobody's home folder is published
    block = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert block is not None
    again = Recipe.model_validate(yaml.safe_load(block[1]))
    assert again.objective == load_recipe(run / "recipe.yaml").objective


def test_calibrating_is_told_in_the_card(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    model = tmp_path / "run/model"
    text = (model / "README.md").read_text(encoding="utf-8").replace("# my-run", "# Mine, and my own words")
    assert text.count(NOT_CALIBRATED) == 1
    (model / "README.md").write_text(text, encoding="utf-8")
    note_calibration(model)
    assert (model / "README.md").read_text(encoding="utf-8") == text.replace(NOT_CALIBRATED, CALIBRATED)
    (model / "calibration.json").write_text("{}", encoding="utf-8")
    assert CALIBRATED in write_model_card(tmp_path / "run").read_text(encoding="utf-8")


def test_a_run_without_evaluation_has_a_card_without_scores(run: Path, tmp_path: Path) -> None:
    made = load_recipe(run / "recipe.yaml", [f"run_dir={tmp_path / 'run'}", "evaluation=null", "objective.alpha_ce=0"])
    run_recipe(made, quiet())
    card = ModelCard.load(tmp_path / "run/model/README.md")
    assert card.data.eval_results is None
    assert "## Scores" not in card.text
    assert "Training and test data were not compared." in card.text
    assert "mAP@k coefficient first_hit) without cross-entropy" in card.text
    with pytest.raises(CardError, match="no finished run"):
        write_model_card(tmp_path)


def test_a_card_does_not_name_the_home_of_replayed_questions(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    replay = f"data.replay={{path: {tmp_path}/squad/train.json}}"
    made = load_recipe(run / "recipe.yaml", [f"run_dir={tmp_path / 'run'}", replay])
    (tmp_path / "run/recipe.yaml").write_text(dump_recipe(made), encoding="utf-8")
    text = write_model_card(tmp_path / "run").read_text(encoding="utf-8")
    assert "path: squad/train.json" in text
    assert str(tmp_path) not in text


def test_origin_data_and_licences_follow_the_run_folders_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shipped = shipped_recipes()
    paper = load_recipe(shipped["paper/skd"])
    # Phase 1 is not here: what the model came from is not known, and so no licence is claimed.
    assert provenance(paper).licence == "other"
    phase1 = tmp_path / "runs/paper/phase1"
    (phase1 / "model").mkdir(parents=True)
    (phase1 / "recipe.yaml").write_text(shipped["paper/phase1"].read_text(encoding="utf-8"), encoding="utf-8")
    for path in ("data/squad/train-v1.1.json", "data/xquad/xquad.en.json"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("{}", encoding="utf-8")
    found = provenance(paper)
    assert found.encoder == "google-bert/bert-base-multilingual-cased"
    assert [source.name for source in found.sources] == ["SQuAD 1.1", "XQuAD"]
    assert found.licence == "cc-by-sa-4.0"
    small = provenance(load_recipe(shipped["small/skd"]))
    assert (small.encoder, small.licence) == ("intfloat/multilingual-e5-small", "cc-by-sa-4.0")
    assert [source.hub_id for source in small.sources] == ["rajpurkar/squad", "google/xquad"]
    # A file in SQuAD's layout is not SQuAD.
    (tmp_path / "ours.json").write_text("{}", encoding="utf-8")
    assert data_source("ours.json", "squad").licence is None
    own = small_with(load_recipe(shipped["small/skd"]), "ours.json", "squad")
    assert provenance(own).licence == "other"


def small_with(made: Recipe, path: str, kind: str) -> Recipe:
    return made.model_copy(update={"data": made.data.model_copy(update={"path": path, "kind": kind})})


def test_every_encoder_of_the_recipes_has_a_known_licence() -> None:
    for name in shipped_recipes():
        if name.endswith("phase1"):
            started = load_recipe(shipped_recipes()[name]).model
            assert started == "embedded" or ENCODERS[started] in LICENCES
    for hub_id in (*ENCODERS, *(data_set.hub_id for data_set in DATA_SETS.values())):
        validate_repo_id(hub_id)


class Hub(ThreadingHTTPServer):
    """As much of the hub as an upload needs; files come in plain commits and by LFS."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.requests: list[str] = []
        self.created: dict[str, Any] = {}
        self.stored: dict[str, bytes] = {}
        self.files: dict[str, bytes] = {}
        self.refuse = ""
        self.tokens: set[str | None] = set()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Answer(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *_: object) -> None:
        pass

    def reply(self, tree: Any, code: int = 200) -> None:
        body = json.dumps(tree).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def do_GET(self) -> None:
        self.server.requests.append(f"GET {self.path}")
        self.reply({"id": "me/model", "modelId": "me/model", "sha": "0" * 40, "siblings": [], "private": True})

    def do_PUT(self) -> None:
        self.server.requests.append(f"PUT {self.path}")
        content = self.body()
        assert hashlib.sha256(content).hexdigest() == self.path.rpartition("/")[2]
        self.server.stored[self.path.rpartition("/")[2]] = content
        self.reply({})

    def do_POST(self) -> None:
        hub, path, body = self.server, self.path.partition("?")[0], self.body()
        hub.requests.append(f"POST {path}")
        hub.tokens.add(self.headers.get("Authorization"))
        if path == "/api/validate-yaml":
            metadata = yaml.safe_load(json.loads(body)["content"].split("---")[1])
            self.reply({} if metadata["license"] in LICENCES else {"error": "licence"}, 400 if hub.refuse else 200)
        elif path == "/api/repos/create":
            hub.created = json.loads(body)
            self.reply({"url": f"{hub.address}/me/model", "id": "me/model"})
        elif path.startswith("/api/models/me/model/preupload/"):
            kind = {True: "lfs", False: "regular"}
            files = [
                {"path": f["path"], "uploadMode": kind[f["path"].endswith(".safetensors")], "shouldIgnore": False}
                for f in json.loads(body)["files"]
            ]
            self.reply({"files": files})
        elif path.endswith("/info/lfs/objects/batch"):
            upload = [
                {**item, "actions": {"upload": {"href": f"{hub.address}/lfs/{item['oid']}", "header": {}}}}
                for item in json.loads(body)["objects"]
            ]
            self.reply({"transfer": "basic", "objects": upload})
        elif path.startswith("/api/models/me/model/commit/"):
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    hub.files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    hub.files[value["path"]] = hub.stored[value["oid"]]
            self.reply({"success": True, "commitUrl": f"{hub.address}/me/model/commit/1", "commitOid": "1" * 40})
        else:
            self.reply({"error": path}, 404)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub on loopback, which the library is pointed to."""
    with Hub() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        monkeypatch.setattr(constants, "ENDPOINT", server.address)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", "hf_only_here")
        yield server
        server.shutdown()
        thread.join()


def test_push_sends_the_model_and_its_card(run: Path, hub: Hub) -> None:
    (run / "model/notes.bin").write_bytes(b"not a part of the model")
    done = polyspan("push", run, "me/model")
    assert done.stdout == f"{hub.address}/me/model\n"
    assert hub.created["name"] == "model"
    assert is_private(hub)
    assert {"README.md", "config.json", "model.safetensors", "tokenizer.json"} <= hub.files.keys()
    assert "notes.bin" not in hub.files
    for name, content in hub.files.items():
        assert content == (run / "model" / name).read_bytes()
    assert hub.tokens == {"Bearer hf_only_here"} or hub.tokens == {None, "Bearer hf_only_here"}
    assert hub.requests.index("POST /api/validate-yaml") < hub.requests.index("POST /api/repos/create")
    polyspan("push", run / "model", "me/model", "--public")
    assert not is_private(hub)


def is_private(hub: Hub) -> bool:
    """As older and newer versions of the library ask for it."""
    return hub.created.get("private") is True or hub.created.get("visibility") == "private"


def test_what_cannot_be_sent_is_one_line(run: Path, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.refuse = "licence"
    assert "me/model: not sent" in refused("push", run, "me/model")
    assert not hub.created
    hub.refuse = ""
    assert "not sent" in refused("push", run, "a/b/c")
    assert "holds no model" in refused("push", tmp_path, "me/model")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "offline" in refused("push", run, "me/model").lower()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert "not sent" in refused("push", run, "me/model")
