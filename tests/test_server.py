"""The server: answers as offline, refuses what it must in one form, lets nothing out, ends in order."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from schemathesis.generation import GenerationMode
from starlette.testclient import TestClient
from typer.testing import CliRunner

from polyspan.answering import Answerer, Answers, AskedError, Reading
from polyspan.answering.asked import Asked
from polyspan.answering.calibration import Calibration, PairTemperature, Threshold
from polyspan.cli.main import app
from polyspan.encoding.spans import Span
from polyspan.errors import PolyspanError
from polyspan.server.app import create_app
from polyspan.server.batching import Batcher
from polyspan.server.examples import load_examples
from polyspan.server.metrics import Metrics
from polyspan.server.refusal import Refusal
from polyspan.server.run import serve
from polyspan.server.schemas import REQUEST_EXAMPLES, Wanted, parse_request
from polyspan.server.settings import Limits, Settings
from serving import post, running, wait_for
from tiny_models import TEXTS, tiny_bert

LIMITS = Limits(body_bytes=20_000, characters=5_000, items=8, windows=8, top_k=5, body_seconds=1.5)
SECRET = "Zebrafinkengesang"
KEY = "a key of this test"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("served") / "tiny")


@pytest.fixture(scope="module")
def client(tiny: Path) -> Iterator[TestClient]:
    with TestClient(create_app(Settings(model=str(tiny), limits=LIMITS)), base_url="http://127.0.0.1") as found:
        wait_for(lambda: found.get("/health/ready").status_code == 200)
        yield found


@pytest.fixture(scope="module")
def address(tiny: Path) -> Iterator[str]:
    with running(Settings(model=str(tiny), limits=LIMITS)) as found:
        yield found


# ---- answers


def test_answers_equal_the_offline_ones_whoever_asks_at_the_same_time(address: str, tiny: Path) -> None:
    offline = Answerer(str(tiny))
    asked = [(question, text, top_k) for question in TEXTS[:3] for text in TEXTS for top_k in (1, 3)]
    with ThreadPoolExecutor(12) as pool:
        replies = list(
            pool.map(lambda a: post(address, {"question": a[0], "context": a[1], "top_k": a[2]}).json(), asked)
        )
    for (question, context, top_k), reply in zip(asked, replies, strict=True):
        same(reply, offline.answer(question, context, top_k), context)
    figures = httpx.get(f"{address}/metrics").text
    batches = float(figures.split("polyspan_batch_windows_count ")[1].split()[0])
    assert f"polyspan_windows_total {float(len(asked))}" in figures
    assert batches < len(asked) / 2  # they were read together


def same(reply: dict[str, Any], wanted: Answers, context: str) -> None:
    assert reply["no_answer"] == pytest.approx(wanted.no_answer, rel=0.05)
    found = sorted(answer["score"] for answer in reply["answers"])
    assert found == pytest.approx(sorted(span.score for span in wanted.spans), rel=0.05)
    # A random model likes many spans the same; rounding may change their order, not the best one's score.
    for answer in reply["answers"]:
        assert context[answer["start"] : answer["end"]] == answer["answer"]


def test_items_come_back_in_their_order(client: TestClient) -> None:
    items = [{"question": "Who?", "context": text, "top_k": at % 3 + 1} for at, text in enumerate(TEXTS[:8])]
    reply = client.post("/v1/answers", json={"items": items})
    assert reply.status_code == 200
    assert len(reply.json()["items"]) == len(items)
    for item, found in zip(items, reply.json()["items"], strict=True):
        assert len(found["answers"]) == item["top_k"]
        for answer in found["answers"]:
            assert item["context"][answer["start"] : answer["end"]] == answer["answer"]  # type: ignore[index, misc]


def test_precision_and_languages_are_those_of_each_question(tiny: Path, tmp_path: Path) -> None:
    """Asked at once, so that they are read together."""
    calibrated = Path(shutil.copytree(tiny, tmp_path / "calibrated"))
    offline = Answerer(tiny).answer("Who?", TEXTS[0], 2).spans
    Calibration(
        model="tiny",
        data="made up",
        rows=100,
        no_answer_share=0.5,
        temperature=1.0,
        null_slope=1.0,
        null_bias=0.0,
        pairs=(PairTemperature(question_language="de", context_language="en", rows=50, temperature=4.0),),
        thresholds=(
            Threshold(precision=0.5, score=0.0, coverage=1.0),
            Threshold(precision=0.8, score=1.0, coverage=0.0),
        ),
    ).save(calibrated)
    one = {"question": "Who?", "context": TEXTS[0], "top_k": 2}
    german = {"question_language": "de", "context_language": "en"}
    items = [one, {**one, **german}, {**one, "precision": 0.5}, {**one, "precision": 0.6}]
    with running(Settings(model=str(calibrated), limits=LIMITS)) as address:
        plain, in_german, sure, surer = post(address, {"items": items}).json()["items"]
        assert [answer["answer"] for answer in plain["answers"]] == [span.text for span in offline]
        assert plain == sure
        same(in_german, Answerer(calibrated).answer("Who?", TEXTS[0], 2, languages=("de", "en")), TEXTS[0])
        assert in_german["answers"][0]["score"] != plain["answers"][0]["score"]
        assert surer == {"answers": [], "no_answer": plain["no_answer"]}
        error = post(address, {"items": [one, {**one, "precision": 0.9}]})
    assert (error.status_code, error.json()["error"]) == (
        409,
        {
            "code": "precision",
            "message": "no precision of 0.9: the model was not seen to reach more than 0.8",
            "field": "items.1.precision",
        },
    )


def test_a_question_that_was_cut_is_told(client: TestClient) -> None:
    short = {"question": "Who?", "context": "Anna Keller."}
    found = client.post("/v1/answers", json={"items": [short, {**short, "question": "Who? " * 200}]}).json()["items"]
    assert [reply.get("question_cut") for reply in found] == [None, True]


def test_the_examples_of_the_description_can_be_asked(client: TestClient) -> None:
    for example in REQUEST_EXAMPLES.values():
        assert client.post("/v1/answers", json=example["value"]).status_code == 200
    for shown in load_examples():
        body = {"question": shown["question"], "context": shown["context"]}
        assert client.post("/v1/answers", json=body).status_code == 200


def test_models_and_health(client: TestClient) -> None:
    [model] = client.get("/v1/models").json()["models"]
    assert (model["name"], model["ready"], model["backend"], model["limits"]["top_k"]) == ("tiny", True, "torch", 5)
    assert client.get("/health/live").json() == {"status": "ok"}
    assert client.get("/health/ready").json()["status"] == "ready"


# ---- what is refused

ONE = {"question": "Who?", "context": TEXTS[0]}
HOSTILE: list[tuple[bytes, int, str]] = [
    (b"", 400, "not_json"),
    (b"[" * 9_000, 400, "not_json"),
    (b'{"items":' * 2_000, 400, "not_json"),
    (b'{"question":"\xff\xfe","context":"x"}', 400, "not_utf8"),
    (json.dumps(ONE).encode("utf-16"), 400, "not_utf8"),
    (json.dumps(ONE).encode("utf-16-be"), 400, "not_json"),
    (b'{"question":"\\ud83d","context":"x"}', 400, "not_json"),
    (b'{"question":"\\udc00\\ud83d","context":"x"}', 400, "not_json"),
    (b'{"question":"a","context":"b","top_k":NaN}', 400, "not_json"),
    (b'{"question":"a","context":"b","top_k":1e999}', 422, "invalid"),
    (b'{"question":"a","context":"b","top_k":' + b"9" * 4_000 + b"}", 422, "top_k"),
    (b'{"question":"a","context":"b","top_k":' + b"9" * 9_000 + b"}", 400, "not_json"),
    (b'{"question":"a","context":"b","top_k":-1}', 422, "top_k"),
    (b'{"question":"a","context":"b","precision":0.5}', 409, "precision"),  # not calibrated
    (b'{"question":"a","context":"b","precision":1}', 422, "invalid"),
    (b'{"question":"a","context":"b","question_language":"de"}', 422, "invalid"),
    (b'{"question":"a","context":"b","top_k":6}', 422, "top_k"),
    (b'{"question":"a","context":"b","top_k":"1"}', 422, "invalid"),
    (b'{"question":"a","context":"b","top_k":true}', 422, "invalid"),
    (b'{"question":"a","context":"b","top_k":1.5}', 422, "invalid"),
    (b'{"question":"a","context":"b","topk":1}', 422, "invalid"),
    (b'{"question":"a","context":["b"]}', 422, "invalid"),
    (b'{"question":"a","context":"b","items":[]}', 422, "invalid"),
    (b'{"question":"a"}', 422, "invalid"),
    (b'{"question":" \\u3000\\n","context":"b"}', 422, "empty"),
    (b'{"question":"a","context":""}', 422, "empty"),
    (b'{"items":[]}', 422, "invalid"),
    (b'{"items":{"0":1}}', 422, "invalid"),
    (json.dumps({"items": [ONE] * 9}).encode(), 422, "items"),
    (json.dumps({"items": [ONE, {**ONE, "top_k": 9}]}).encode(), 422, "top_k"),
    (json.dumps({"question": "a", "context": "b" * 5_000}).encode(), 422, "characters"),
    (json.dumps({"items": [{"question": "a", "context": "x " * 750}] * 3}).encode(), 422, "windows"),
    (json.dumps({"items": [{}] * 2_500}).encode(), 422, "items"),
    (json.dumps({"items": [ONE, {**ONE, **{f"x{at}": 1 for at in range(9)}}]}).encode(), 422, "invalid"),
    (json.dumps({**ONE, **{f"x{at}": 1 for at in range(500)}}).encode(), 422, "invalid"),
    (b"null", 422, "invalid"),
    (b'"text"', 422, "invalid"),
]


@pytest.mark.parametrize(("body", "status", "code"), HOSTILE, ids=[f"{h[0][:30]!r}-{h[2]}" for h in HOSTILE])
def test_hostile_bodies_are_refused_in_one_form(client: TestClient, body: bytes, status: int, code: str) -> None:
    reply = client.post("/v1/answers", content=body, headers={"Content-Type": "application/json"})
    assert (reply.status_code, reply.json()["error"]["code"]) == (status, code)
    message = reply.json()["error"]["message"]
    assert 0 < len(message) < 400
    assert "\n" not in message


def test_a_million_mistakes_are_refused_at_sight() -> None:
    for body in ({"items": [{}] * 600_000}, {"items": [{f"k{at}": 0 for at in range(150_000)}]}):
        whole = json.dumps(body).encode()
        began = time.process_time()
        with pytest.raises(Refusal):
            parse_request(whole, Limits())
        assert time.process_time() - began < 1.0, "seconds for which nobody else is served"


def test_a_refusal_says_where(client: TestClient) -> None:
    error = client.post("/v1/answers", json={"items": [ONE, {**ONE, "top_k": 9}]}).json()["error"]
    assert error == {"code": "top_k", "message": "top_k must be between 1 and 5", "field": "items.1.top_k"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": "application/json; charset=latin-1"}, 415),
        ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, 415),
        ({"Content-Type": 'application/json; charset="UTF-8"'}, 200),
        ({"Content-Type": "application/json; charset=utf-8; profile=x"}, 200),
        ({"Content-Type": "application/json; profile=x; charset=latin-1"}, 415),
        ({"Content-Type": "application/json", "Host": "evil.example"}, 400),
        ({"Content-Type": "application/json", "Host": "localhost:9"}, 200),
        ({"Content-Type": "application/json", "Host": "[::1]:9"}, 200),
    ],
)
def test_headers(client: TestClient, headers: dict[str, str], status: int) -> None:
    assert client.post("/v1/answers", content=json.dumps(ONE), headers=headers).status_code == status


def test_names_that_are_allowed_come_beside_the_loopbacks_own(tiny: Path) -> None:
    settings = Settings(model=str(tiny), allowed_hosts=("answers.example",))
    with TestClient(create_app(settings), base_url="http://localhost") as client:
        for name, status in (("answers.example", 200), ("localhost:9", 200), ("127.0.0.1", 200), ("evil.example", 400)):
            assert client.get("/health/live", headers={"Host": name}).status_code == status
    assert Settings(host="0.0.0.0", allowed_hosts=("answers.example",)).allowed_hosts == ("answers.example",)


@pytest.mark.parametrize(
    "host", ["LOCALHOST", "127.0.0.2", "127.1", "::ffff:127.0.0.1", "0:0:0:0:0:0:0:1", "localhost."]
)
def test_a_loopback_spelt_otherwise_answers_to_its_own_names_alone(host: str) -> None:
    assert set(Settings(host=host).allowed_hosts) == {"127.0.0.1", "::1", "localhost", host.lower().rstrip(".")}


def test_allowed_names_are_written_in_any_way_that_means_a_host() -> None:
    allowed = ("Answers.example:8443", "[2001:db8::1]", "[2001:db8::2]:80", "2001:db8::3", "a.example.")
    names = ("answers.example", "2001:db8::1", "2001:db8::2", "2001:db8::3", "a.example")
    assert Settings(host="0.0.0.0", allowed_hosts=allowed).allowed_hosts == names
    for wrong in ("https://answers.example", ""):
        with pytest.raises(ValueError, match="is not the name of a host"):
            Settings(allowed_hosts=(wrong,))


def test_a_name_that_is_none_is_one_line_at_the_command() -> None:
    done = CliRunner().invoke(app, ["serve", "--allowed-host", "https://a.example"])
    assert isinstance(done.exception, PolyspanError)
    assert str(done.exception).startswith("allowed_hosts: 'https://a.example' is not the name of a host")


def test_monitors_may_ask_for_the_head_alone(client: TestClient) -> None:
    for path in ("/", "/page/page.js", "/page/examples.json", "/health/live", "/health/ready"):
        assert client.head(path).status_code == 200


def test_a_byte_order_mark_before_a_body_does_not_matter(client: TestClient) -> None:
    body = json.dumps({"question": "Who?", "context": "Anna Keller."}).encode()
    replies = [
        client.post("/v1/answers", content=mark + body, headers={"Content-Type": "application/json"})
        for mark in (b"", b"\xef\xbb\xbf")
    ]
    assert [reply.status_code for reply in replies] == [200, 200]
    assert replies[0].json() == replies[1].json()


def test_every_refusal_is_counted_by_its_reason(tiny: Path) -> None:
    with TestClient(create_app(Settings(model=str(tiny))), base_url="http://localhost") as client:
        client.get("/nothing")
        client.get("/v1/answers")
        client.get("/openapi.json")
        client.get("/health/live", headers={"Host": "evil.example"})
        told = client.get("/metrics").text
    for code in ("not_found", "method_not_allowed", "host"):
        assert f'polyspan_refusals_total{{code="{code}"}} 1.0' in told
    assert 'polyspan_requests_total{route="/openapi.json",status="200"} 1.0' in told


@pytest.mark.parametrize("characters", ["\x00", "\x00\x01", "\u200b", "\u0301", "👩\u200d👧", "\U0010ffff", "\ufdd0"])
def test_odd_characters_are_answered(client: TestClient, characters: str) -> None:
    reply = client.post("/v1/answers", json={"question": characters, "context": f"{characters} a {characters}"})
    assert reply.status_code == 200


def test_other_routes_and_methods_have_the_same_form(client: TestClient) -> None:
    for path in ("/nothing", "/page/nothing", "/page/more/nothing", "/v1/nothing"):
        assert client.get(path).status_code == 404
        assert client.get(path).json() == {"error": {"code": "not_found", "message": "Not Found"}}
    reply = client.get("/v1/answers")
    assert (reply.status_code, reply.headers["allow"]) == (405, "POST")
    assert client.get("/page/../settings.py").status_code == 404
    assert client.get("/page/%2e%2e%2fsettings.py").status_code == 404


def test_a_key_is_asked_for(tiny: Path) -> None:
    with TestClient(create_app(Settings(model=str(tiny), api_key=KEY)), base_url="http://localhost") as client:
        for path in ("/v1/models", "/metrics"):
            assert client.get(path).status_code == 401
            assert client.get(path, headers={"Authorization": f"Bearer {KEY}"}).status_code == 200
        for wrong in (KEY, f"Basic {KEY}", f"Bearer {KEY}x", "Bearer", "Bearer Schlüssel".encode()):
            reply = client.post("/v1/answers", json=ONE, headers={"Authorization": wrong})
            assert (reply.status_code, reply.headers["www-authenticate"]) == (401, "Bearer")
        assert client.get("/health/live").status_code == client.get("/").status_code == 200
        assert client.get("/openapi.json").json()["components"]["securitySchemes"]
        assert KEY not in repr(Settings(api_key=KEY))


def test_white_space_around_the_key_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Settings] = []
    monkeypatch.setattr("polyspan.server.run.serve", lambda settings, announce: started.append(settings))
    (tmp_path / "key").write_text(f" {KEY}\r\n", encoding="utf-8")
    (tmp_path / "two").write_text(f"{KEY}\n{KEY}", encoding="utf-8")
    refused = CliRunner().invoke(app, ["serve", "--api-key-file", str(tmp_path / "two")])
    assert "must be one line" in str(refused.exception)
    monkeypatch.setenv("POLYSPAN_API_KEY", f"{KEY}\n")
    for arguments in ([], ["--api-key-file", str(tmp_path / "key")]):
        CliRunner().invoke(app, ["serve", *arguments], catch_exceptions=False)
    assert [settings.api_key for settings in started] == [KEY, KEY]


def test_not_ready_while_it_loads(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()
    load = Answerer._find_calibration
    monkeypatch.setattr(Answerer, "_find_calibration", lambda self: go_on.wait(60) and load(self))
    with TestClient(create_app(Settings(model=str(tiny))), base_url="http://localhost") as client:
        wait_for(lambda: client.get("/health/ready").json()["stage"] == "model")
        ready = client.get("/health/ready")
        assert (ready.status_code, ready.json()["status"]) == (503, "loading")
        refused = client.post("/v1/answers", json=ONE)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "loading")
        assert int(refused.headers["retry-after"]) >= 1
        assert client.get("/").status_code == client.get("/health/live").status_code == 200
        go_on.set()
        wait_for(lambda: client.get("/health/ready").status_code == 200)


def test_nothing_of_a_request_is_logged_and_no_trace_goes_out(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(self: Answerer, asked: Sequence[Asked], *_: Any) -> list[Answers]:
        raise RuntimeError(f"cannot read {asked}")

    caplog.set_level(logging.DEBUG)
    client.post("/v1/answers", json={"question": SECRET, "context": f"{SECRET}."})
    client.post("/v1/answers", content=f'{{"question":"{SECRET}"')
    client.get(f"/{SECRET}?{SECRET}={SECRET}")
    monkeypatch.setattr(Answerer, "answer_many", broken)
    reply = client.post("/v1/answers", json={"question": SECRET, "context": f"{SECRET}."})
    assert (reply.status_code, reply.json()["error"]["code"]) == (500, "internal")
    assert SECRET not in reply.text
    assert "Traceback" not in reply.text
    written = [record.getMessage() for record in caplog.records if record.name.startswith(("polyspan", "uvicorn"))]
    assert any("RuntimeError" in line for line in written)
    assert sum("/v1/answers" in line for line in written) == 3
    assert SECRET not in "\n".join(written)


# ---- against its own description


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_it_keeps_to_its_own_description(address: str, mode: GenerationMode) -> None:
    schema = schemathesis.openapi.from_url(f"{address}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) == 5
    for operation in operations:
        if mode.is_negative and operation.method != "post":
            continue  # takes nothing that could be wrong

        @hypothesis_settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
        @given(case=operation.as_strategy(generation_mode=mode))
        def keeps_to_it(case: schemathesis.Case) -> None:
            case.call_and_validate()

        keeps_to_it()


# ---- batches and the queue


class Slow:
    """An answerer that takes its time in a few steps, and notes what it was asked together and how far it came."""

    calibration = None
    steps = 4
    least_score = staticmethod(lambda precision: 0.0)

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.batches: list[list[str]] = []
        self.done: list[int] = []

    def answer_many(
        self,
        asked: Sequence[Asked],
        reading: Reading,
        progress: Callable[[int, int], None],
        languages: Sequence[tuple[str, str] | None],
    ) -> list[Answers]:
        self.batches.append([item.question for item in asked])
        self.done.append(0)
        for step in range(1, self.steps + 1):
            time.sleep(self.seconds / self.steps)
            self.done[-1] = step
            progress(step, self.steps)
        if any(item.question == "broken" for item in asked):
            raise AskedError("cannot be read")
        assert list(languages) == [None] * len(asked)
        return [Answers([Span(a.question, 0, 1, 0.5)] * reading.top_k, 0.1) for a in asked]


def batched(answerer: Slow, limits: Limits, scenario: Any) -> Any:
    async def main() -> Any:
        with ThreadPoolExecutor(1) as executor:
            batcher = Batcher(answerer, executor, limits, Metrics())  # type: ignore[arg-type]
            running = asyncio.create_task(batcher.run())
            try:
                return await scenario(batcher)
            finally:
                running.cancel()

    return asyncio.run(main())


def wanted(*questions: str, top_k: int = 1) -> list[Wanted]:
    return [Wanted(Asked(question, "x"), top_k) for question in questions]


def test_requests_are_read_together_and_each_gets_its_own() -> None:
    async def scenario(batcher: Batcher) -> list[list[Answers]]:
        asked = [wanted(f"{at}", f"{at}b", top_k=at % 3 + 1) for at in range(10)]
        return await asyncio.gather(*(batcher.answer(items, [1, 1]) for items in asked))

    answerer = Slow(0.02)
    replies = batched(answerer, Limits(batch_windows=8), scenario)
    for at, (first, second) in enumerate(replies):
        assert [span.text for span in first.spans] == [f"{at}"] * (at % 3 + 1)
        assert [span.text for span in second.spans] == [f"{at}b"] * (at % 3 + 1)
    assert [len(batch) for batch in answerer.batches] == [8, 8, 4]


def test_a_question_that_breaks_the_model_breaks_alone() -> None:
    async def scenario(batcher: Batcher) -> list[Any]:
        asked = [batcher.answer(wanted(question), [1]) for question in ("a", "broken", "b")]
        return await asyncio.gather(*asked, return_exceptions=True)

    first, broken, second = batched(Slow(), Limits(), scenario)
    assert isinstance(broken, AskedError)
    assert [reply[0].spans[0].text for reply in (first, second)] == ["a", "b"]


def test_a_full_queue_refuses_and_says_when_to_come_back() -> None:
    async def scenario(batcher: Batcher) -> list[Any]:
        asked = []
        for at in range(12):
            asked.append(asyncio.create_task(batcher.answer(wanted(str(at)), [2])))
            await asyncio.sleep(0.001)
        return await asyncio.gather(*asked, return_exceptions=True)

    replies = batched(Slow(0.2), Limits(queue_windows=6, batch_windows=2, batch_milliseconds=0), scenario)
    refused = [reply for reply in replies if isinstance(reply, Refusal)]
    assert len(refused) == 8  # one at work, three wait
    assert all(reply.status == 503 and int(reply.headers["Retry-After"]) >= 1 for reply in refused)
    assert [reply[0].spans[0].text for reply in replies if not isinstance(reply, Refusal)] == ["0", "1", "2", "3"]


def test_a_large_request_is_taken_when_nothing_waits() -> None:
    async def scenario(batcher: Batcher) -> list[Answers]:
        return await batcher.answer(wanted("long"), [500])

    assert batched(Slow(), Limits(queue_windows=8), scenario)[0].spans[0].text == "long"


def test_questions_of_those_who_left_are_not_read() -> None:
    async def scenario(batcher: Batcher) -> None:
        asked = [asyncio.create_task(batcher.answer(wanted(name), [1])) for name in ("a", "gone", "b")]
        await asyncio.sleep(0.05)
        asked[1].cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        assert batcher.waiting_windows == 0

    answerer = Slow(0.2)
    batched(answerer, Limits(batch_windows=1), scenario)
    assert answerer.batches == [["a"], ["b"]]


def test_nothing_of_those_who_left_is_kept() -> None:
    async def scenario(batcher: Batcher) -> None:
        asked = [asyncio.create_task(batcher.answer(wanted(name), [1])) for name in ("a", "gone", "b")]
        await asyncio.sleep(0.05)
        asked[1].cancel()
        await asyncio.wait([asked[1]])
        assert [job.wanted.asked.question for job in batcher._waiting] == ["b"]
        await asyncio.gather(asked[0], asked[2])

    batched(Slow(0.2), Limits(batch_windows=1), scenario)


def test_a_read_is_given_up_when_all_who_asked_have_left() -> None:
    async def scenario(batcher: Batcher) -> list[Answers]:
        asked = [asyncio.create_task(batcher.answer(wanted(name), [1])) for name in ("left", "stays")]
        await asyncio.sleep(0.1)  # both are being read
        asked[0].cancel()
        await asked[1]
        asked = [asyncio.create_task(batcher.answer(wanted(name), [1])) for name in ("left", "gone")]
        await asyncio.sleep(0.1)
        for task in asked:
            task.cancel()
        return await batcher.answer(wanted("next"), [1])

    answerer = Slow(0.4)
    [found] = batched(answerer, Limits(), scenario)
    assert found.spans[0].text == "next"
    assert answerer.batches == [["left", "stays"], ["left", "gone"], ["next"]]
    assert answerer.done[0] == answerer.done[2] == Slow.steps
    assert answerer.done[1] < Slow.steps


# ---- real connections


def test_a_body_that_comes_too_slowly_and_one_too_large(address: str) -> None:
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as slow:
        slow.sendall(b"POST /v1/answers HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
        slow.sendall(b'Content-Length: 50\r\n\r\n{"question":')
        assert slow.recv(100).startswith(b"HTTP/1.1 408")
    with socket.create_connection((host, int(port))) as slow:
        slow.sendall(b"POST /v1/answers HTTP/1.1\r\nHost: localho")
        began = time.monotonic()
        assert slow.recv(100) == b""  # the head did not come either
        assert time.monotonic() - began < 10
    with socket.create_connection((host, int(port)), timeout=10) as slow:
        for _ in range(2):
            slow.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
            got = b""
            while not got.endswith(b'{"status":"ok"}'):
                got += slow.recv(1000) or pytest.fail("closed")
            time.sleep(LIMITS.body_seconds + 0.3)  # silence between requests is fine
        slow.sendall(b"GET /health/live HTTP/1.1\r\nHost: localho")
        assert slow.recv(100) == b""  # nor that of a later request
    for content in (b"x" * 1_000_000, (b"x" * 10_000 for _ in range(50))):
        reply = httpx.post(f"{address}/v1/answers", content=content, headers={"Content-Type": "application/json"})
        assert (reply.status_code, reply.json()["error"]["code"]) == (413, "body_too_large")
    assert post(address, ONE).status_code == 200


def test_a_client_that_sends_before_it_reads_is_told_that_its_body_is_too_large(address: str) -> None:
    body = b"x" * (30 * LIMITS.body_bytes)
    asked = urllib.request.Request(f"{address}/v1/answers", body, {"Content-Type": "application/json"})
    for _ in range(3):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(asked)
        assert refused.value.code == 413


def test_an_answer_that_takes_too_long_is_given_up(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = Limits(answer_seconds=0.3)
    with running(Settings(model=str(tiny), limits=limits)) as address:
        answer_many = Answerer.answer_many
        monkeypatch.setattr(Answerer, "answer_many", lambda *args: time.sleep(0.8) or answer_many(*args))
        reply = post(address, ONE)
        assert (reply.status_code, reply.json()["error"]["code"]) == (503, "timeout")
        assert int(reply.headers["retry-after"]) >= 1


def test_a_model_that_is_not_there_ends_the_server_with_a_reason(tmp_path: Path) -> None:
    with pytest.raises(PolyspanError, match="no such folder"):
        serve(Settings(model=str(tmp_path / "none"), port=0), lambda address: None)


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(PolyspanError, match="already in use"):
        serve(Settings(port=taken.getsockname()[1]), lambda address: None)


def test_told_to_stop_it_answers_what_it_has_taken_on(tiny: Path) -> None:
    command = [sys.executable, "-m", "polyspan", "serve", "--model", str(tiny), "--port", "0"]
    with subprocess.Popen(
        [*command, "--batch-milliseconds", "4000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        address = process.stdout.readline().split()[-1].rstrip("/")
        wait_for(lambda: _status(f"{address}/health/ready") == 200)
        with ThreadPoolExecutor(4) as pool:
            replies = [pool.submit(post, address, {"question": SECRET, "context": TEXTS[0]}) for _ in range(4)]
            wait_for(lambda: "polyspan_requests_in_flight 4.0" in httpx.get(f"{address}/metrics").text)
            process.send_signal(signal.SIGTERM)
            assert [reply.result().status_code for reply in replies] == [200] * 4
        assert process.wait(timeout=30) in (0, -signal.SIGTERM)
        errors = process.stderr.read()
    assert "POST /v1/answers 200" in errors
    assert SECRET not in errors
    assert "Traceback" not in errors


SLOW = """
import time
from polyspan.answering import Answerer
from polyspan.cli.main import run
answer_many = Answerer.answer_many
def slow(self, asked, *rest, **more):
    if asked[0].question == "slow" or {loading}:
        time.sleep(90)
    return answer_many(self, asked, *rest, **more)
Answerer.answer_many = slow
run()
"""


@pytest.mark.parametrize("loading", [True, False], ids=["loads", "reads"])
def test_a_second_interrupt_ends_it_at_once(tiny: Path, loading: bool) -> None:
    command = [sys.executable, "-c", SLOW.format(loading=loading), "serve", "--model", str(tiny), "--port", "0"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().split()[-1].rstrip("/")
        if loading:
            wait_for(lambda: httpx.get(f"{address}/health/ready").json()["stage"] == "warm-up")
        else:
            wait_for(lambda: _status(f"{address}/health/ready") == 200)
            threading.Thread(target=_ask_slowly, args=[address]).start()
            wait_for(lambda: "polyspan_requests_in_flight 1.0" in httpx.get(f"{address}/metrics").text)
        process.send_signal(signal.SIGINT)
        time.sleep(1.5)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(timeout=10) == -signal.SIGINT
        finally:
            process.kill()


def _ask_slowly(address: str) -> None:
    with suppress(httpx.HTTPError):
        post(address, {"question": "slow", "context": TEXTS[0]})


def _status(address: str) -> int:
    try:
        return httpx.get(address).status_code
    except httpx.HTTPError:
        return 0
