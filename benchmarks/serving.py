"""Does `polyspan serve` keep its word when twice as many ask as it can answer?

    python benchmarks/serving.py [--model NAME] [--clients 200] [--seconds 60] [--quick] [--json FILE]

A server is started on the loopback, in a process of its own. Questions are those of the shipped corpus'
test part, every one in every pair of languages in turn. Then:

1. the same questions are answered offline, by `Answerer`, one at a time;
2. capacity: twice as many clients as a batch holds ask one question after another, for a quarter
   of the time;
3. load: ``--clients`` clients together ask at twice that rate. A client that still waits for its reply
   asks late, so what was really offered is reported too.

Every request must end in an answer or a 503 with Retry-After. An answer equals the offline one when its
best stretch is the same; where rounding differs between batches of different shapes, two stretches of
nearly the same score may change places, and those are counted apart. Memory is the server's resident
set: the median of each quarter of the load. It rises while torch meets new shapes of batches, for each of
which it keeps what it has worked out, up to a bound; a leak would go on rising in a long run (--seconds).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NEAR = 0.03
"""Scores that differ by less may change places between batches."""
IDLE = 20.0
"""Seconds after which a connection is not used again; the server closes it after 30."""
OVER = 2.0


def main() -> None:
    """Measure, print, write JSON; exit code 1 where the server did not keep its word."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=None, help="shipped name, folder or hub id")
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60, help="of load")
    parser.add_argument("--quick", action="store_true", help="40 clients, 12 seconds, 60 questions")
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    arguments = parser.parse_args()
    clients, seconds, count = (40, 12.0, 60) if arguments.quick else (arguments.clients, arguments.seconds, 400)
    questions = pick(count)
    offline = answer_offline(arguments.model, questions)
    # Batch and queue together are smaller than the crowd, so that some must be refused.
    batch = max(1, clients // 7)
    command = [sys.executable, "-m", "polyspan", "serve", "--port", "0", "--batch-windows", str(batch)]
    command += ["--queue-windows", str(clients // 2)]
    command += ["--model", arguments.model] if arguments.model else []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline().rsplit(":", 1)[1].strip().rstrip("/"))
            report = asyncio.run(measure(port, questions, offline, batch, clients, seconds))
        finally:
            server.terminate()
    show(report)
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if report["broken"] or report["answers"]["different"]:
        sys.exit("a request got neither an answer nor a 503, or an answer differs from the offline one")


def pick(count: int) -> list[dict[str, Any]]:
    """Questions of the shipped corpus, spread over its pairs of languages."""
    from polyspan.corpus import load_corpus

    corpus = load_corpus("commons/test")
    pairs = corpus.pairs()
    random.Random(1).shuffle(pairs)
    return [{"question": corpus.question(pair), "context": corpus.context(pair), "top_k": 3} for pair in pairs[:count]]


def answer_offline(model: str | None, questions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What `Answerer` says to each, asked alone."""
    from polyspan.answering import Answerer

    answerer = Answerer(model)
    return [answerer.answer(**question).to_dict() for question in questions]


@dataclass
class Seen:
    """What became of the requests.

    Attributes:
        seconds: of each answered request, from sending to the whole reply.
        statuses: how many replies of each.
        broken: what happened instead of an answer or a proper 503.
        replies: question and reply of every answer.
    """

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    replies: list[tuple[int, dict[str, Any]]] = field(default_factory=list)


class Client:
    """One connection that is kept: a plain HTTP client, so that clients cost little beside the server."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.used = 0.0

    async def send(self, method: str, path: str, body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
        """Send a request, and give status, headers and body of its reply."""
        if self.streams is not None and time.perf_counter() - self.used > IDLE:
            self.streams[1].close()
            self.streams = None
        if self.streams is None:
            self.streams = await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = self.streams
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        content = await reader.readexactly(int(headers["content-length"]))
        self.used = time.perf_counter()
        if headers.get("connection") == "close":
            writer.close()
            self.streams = None
        return int(lines[0].split()[1]), headers, content


async def ask(client: Client, at: int, body: bytes, seen: Seen) -> None:
    """Ask one question and note what came of it."""
    began = time.perf_counter()
    try:
        async with asyncio.timeout(120):
            status, headers, content = await client.send("POST", "/v1/answers", body)
    except (OSError, EOFError, ValueError, TimeoutError) as error:
        client.streams = None
        seen.broken.append(type(error).__name__)
        return
    seen.statuses[status] += 1
    if status == 200:
        seen.seconds.append(time.perf_counter() - began)
        seen.replies.append((at, json.loads(content)))
    elif status != 503 or "retry-after" not in headers:
        seen.broken.append(f"status {status}: {content[:200]!r}")


async def crowd(port: int, bodies: list[bytes], clients: int, seconds: float, per_second: float) -> tuple[Seen, float]:
    """Many clients ask for a while; what they saw, and how many seconds it was until the last reply.

    Args:
        per_second: of all clients together; infinite for one question right after another.
    """
    seen = Seen()
    began = time.perf_counter()
    interval = clients / per_second

    async def one(number: int) -> None:
        client, turn = Client(port), began + interval * number / clients
        generator = random.Random(number)
        while (now := time.perf_counter()) < began + seconds:
            if now < turn:
                await asyncio.sleep(min(turn, began + seconds) - now)
                continue
            turn = max(turn + interval, now)
            at = generator.randrange(len(bodies))
            await ask(client, at, bodies[at], seen)

    await asyncio.gather(*(one(number) for number in range(clients)))
    return seen, time.perf_counter() - began


async def measure(
    port: int, questions: list[dict[str, Any]], offline: list[dict[str, Any]], batch: int, clients: int, seconds: float
) -> dict[str, Any]:
    """Capacity, load, memory."""
    bodies = [json.dumps(question, ensure_ascii=False).encode() for question in questions]
    side = Client(port)
    while (await side.send("GET", "/health/ready"))[0] != 200:
        await asyncio.sleep(0.2)
    await crowd(port, bodies, 2 * batch, seconds / 12, float("inf"))  # warm
    calm, calm_seconds = await crowd(port, bodies, 2 * batch, seconds / 4, float("inf"))
    capacity = len(calm.seconds) / calm_seconds
    memory: list[float] = []
    watching = asyncio.create_task(watch(side, memory.append))
    seen, load_seconds = await crowd(port, bodies, clients, seconds, OVER * capacity)
    watching.cancel()
    quarter = len(memory) // 4
    sent = sum(seen.statuses.values()) + len(seen.broken)
    return {
        "clients": clients,
        "seconds": load_seconds,
        "capacity_per_second": capacity,
        "calm_seconds": percentiles(calm.seconds),
        "asked_per_second": sent / load_seconds,
        "answered_per_second": len(seen.seconds) / load_seconds,
        "requests": sent,
        "statuses": {str(status): number for status, number in sorted(seen.statuses.items())},
        "broken": dict(Counter(seen.broken)),
        "accepted_seconds": percentiles(seen.seconds),
        "answers": compare(calm.replies + seen.replies, offline),
        "memory_mib": {
            "quarters": [statistics.median(memory[quarter * at : quarter * (at + 1)]) for at in range(4)],
            "most": max(memory),
        },
    }


async def watch(side: Client, note: Callable[[float], None]) -> None:
    """The server's resident set in MiB, twice a second."""
    while True:
        _, _, content = await side.send("GET", "/metrics")
        note(float(content.decode().split("\nprocess_resident_memory_bytes ")[1].split()[0]) / 2**20)
        await asyncio.sleep(0.5)


def percentiles(seconds: list[float]) -> dict[str, float]:
    """Median, p95 and the longest."""
    ordered = sorted(seconds)
    return {"median": statistics.median(ordered), "p95": ordered[int(0.95 * (len(ordered) - 1))], "most": ordered[-1]}


def compare(replies: list[tuple[int, dict[str, Any]]], offline: list[dict[str, Any]]) -> dict[str, float]:
    """How many best answers are the offline ones, are nearly as good ones, or differ."""
    kinds: Counter[str] = Counter()
    difference = 0.0
    for at, reply in replies:
        found, wanted = reply["answers"], offline[at]["answers"]
        scores = {(answer["start"], answer["end"]): answer["score"] for answer in wanted}
        if not found or not wanted:
            kinds["same" if found == wanted else "different"] += 1
            continue
        best = (found[0]["start"], found[0]["end"])
        difference = max(
            [difference, *(abs(a["score"] - scores.get((a["start"], a["end"]), a["score"])) for a in found)]
        )
        if best == (wanted[0]["start"], wanted[0]["end"]):
            kinds["same"] += 1
        else:
            kinds["near_tie" if wanted[0]["score"] - scores.get(best, -1) < NEAR else "different"] += 1
    return {
        "compared": len(replies),
        **{kind: kinds[kind] for kind in ("same", "near_tie", "different")},
        "largest_score_difference": difference,
    }


def show(report: dict[str, Any]) -> None:
    """Print what matters."""
    calm, load, memory, answers = (report[key] for key in ("calm_seconds", "accepted_seconds", "memory_mib", "answers"))
    print(f"capacity           {report['capacity_per_second']:.1f} answers/s; median {calm['median']:.2f} s")
    print(
        f"load               {report['clients']} clients, {report['seconds']:.0f} s,"
        f" {report['asked_per_second']:.1f} requests/s asked, {report['answered_per_second']:.1f} answered"
    )
    print(f"replies            {report['statuses']}, neither an answer nor a 503: {sum(report['broken'].values())}")
    for what, number in report["broken"].items():
        print(f"                   {number} x {what}")
    print(f"accepted requests  median {load['median']:.2f} s, p95 {load['p95']:.2f} s, most {load['most']:.2f} s")
    print(
        f"answers            {answers['compared']} compared, {answers['same']} the same as offline,"
        f" {answers['near_tie']} near ties, {answers['different']} different;"
        f" scores differ by {answers['largest_score_difference']:.4f} at most"
    )
    quarters = ", ".join(f"{size:.0f}" for size in memory["quarters"])
    print(f"memory             {quarters} MiB in the quarters of the load, {memory['most']:.0f} at most")


if __name__ == "__main__":
    main()
