"""Sweeps: every trial once, whoever dies; stopped and resumed; the table at any time."""

from __future__ import annotations

import json
import multiprocessing
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from optuna.trial import TrialState
from transformers import TrainerState

from polyspan.analysis.table import to_markdown
from polyspan.evaluation.matrix import Cell, ScoreMatrix
from polyspan.experiments import sweep, sweep_report
from polyspan.experiments.plan import METHOD, Plan, PlanError, load_plan, same
from polyspan.experiments.recipe import Evaluation, Recipe, dump_recipe, load_recipe
from polyspan.experiments.run import RunResult, RunStopped, read_metrics, run_recipe
from polyspan.experiments.storage import StorageError, open_storage
from polyspan.experiments.study import SETTINGS, Tally, open_study, tally
from polyspan.experiments.sweep import work
from polyspan.experiments.sweep_report import read_sweep, sweep_table, write_sweep
from polyspan.training.progress import MetricsLog
from test_cli import polyspan, refused
from tiny_runs import digest, quiet, recipe

BEAT = 4
"""Seconds; a busy machine may well hold a worker up for two."""
KEYS: dict[str, Any] = {"data.target_languages": [1, 2], "seed": [1, 2]}
ONE_PAIR = {("en", "en"): Cell(1, 0.5, 0.5)}
METHODS = {
    "ce": {"objective.alpha_kl": 0, "objective.coefficient": "constant"},
    "skd-first_hit": {"objective.coefficient": "first_hit"},
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def make(model: Path, tmp_path: Path) -> Callable[..., Plan]:
    """A function that writes a sweep of tiny runs and reads it."""
    asked = Evaluation(path="commons/dev", languages=["en", "de"], limit=2)
    base = recipe(model, tmp_path / "unused", data={"seeds": 2}, training={"epochs": 1, "save_steps": 1})
    (tmp_path / "base.yaml").write_text(dump_recipe(base.model_copy(update={"evaluation": asked})), encoding="utf-8")

    def write(**changes: Any) -> Plan:
        tree = {"recipe": "base.yaml", "folder": str(tmp_path / "sweep"), "methods": METHODS, "keys": KEYS, **changes}
        (tmp_path / "sweep.yaml").write_text(json.dumps(tree), encoding="utf-8")
        return load_plan(tmp_path / "sweep.yaml")

    return write


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    """A database server of our own on loopback, as a user that is not root."""
    found = [*sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")), *filter(None, [shutil.which("initdb")])]
    if not found:
        pytest.skip("PostgreSQL is not installed here (Debian: postgresql-15)")
    binaries = Path(found[-1]).parent
    prefix: list[str] = []
    folder = Path(tempfile.mkdtemp(prefix="polyspan-pg-"))
    if os.getuid() == 0:
        try:
            owner = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
        os.chown(folder, owner.pw_uid, owner.pw_gid)
        prefix = ["runuser", "-u", "postgres", "--"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def command(*words: str) -> None:
        done = subprocess.run([*prefix, *words], capture_output=True, text=True, check=False, cwd="/")
        assert done.returncode == 0, done.stderr

    data = str(folder / "data")
    options = f"-c listen_addresses=127.0.0.1 -p {port} -k {folder} -c fsync=off"
    command(str(binaries / "initdb"), "-D", data, "-U", "polyspan", "-A", "trust", "--no-sync")
    command(str(binaries / "pg_ctl"), "-D", data, "-w", "-o", options, "-l", str(folder / "log"), "start")
    try:
        yield f"postgresql://polyspan@127.0.0.1:{port}/postgres"
    finally:
        command(str(binaries / "pg_ctl"), "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


def run_worker(plan: Plan, address: str | None, retry_failed: bool = False) -> Tally:
    study = open_study(plan, open_storage(address, plan.file.folder, BEAT))
    return work(plan, study, quiet(), heartbeat=BEAT, retry_failed=retry_failed)


def worker(plan: Plan, address: str | None, log: Path, dies: bool) -> None:
    """A process of its own; notes each run it begins, and may kill itself after some steps of its first."""
    torch.set_num_threads(1)
    run, step_end = sweep.run_recipe, MetricsLog.on_step_end

    def noted(recipe: Any, *rest: Any) -> Any:
        with log.open("a", encoding="utf-8") as file:
            file.write(f"{os.getpid()} {recipe.run_dir}\n")
        return run(recipe, *rest)

    def dying(self: MetricsLog, args: Any, state: TrainerState, *rest: Any, **kwargs: Any) -> None:
        step_end(self, args, state, *rest, **kwargs)
        if state.global_step == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    sweep.run_recipe = noted  # type: ignore[assignment]
    if dies:
        MetricsLog.on_step_end = dying  # type: ignore[method-assign]
    run_worker(plan, address)


def start_workers(plan: Plan, address: str | None, log: Path, dying: int, alive: int) -> list[int | None]:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=worker, args=(plan, address, log, at < dying)) for at in range(dying + alive)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    return [process.exitcode for process in processes]


def check_every_trial_once(plan: Plan, address: str | None, log: Path, kills: int) -> None:
    study = open_study(plan, open_storage(address, plan.file.folder, BEAT))
    trials = study.get_trials()
    complete = Counter(same(t.user_attrs[SETTINGS]) for t in trials if t.state == TrialState.COMPLETE)
    assert complete == {same(settings): 1 for settings in plan.grid()}
    begun = Counter(line.partition(" ")[2] for line in log.read_text(encoding="utf-8").splitlines())
    folders = {str(plan.trial_recipe(settings).run_dir) for settings in plan.grid()}
    assert set(begun) == folders
    assert sum(begun.values()) == len(folders) + kills
    assert sum(t.state == TrialState.FAIL for t in trials) == kills
    assert not [t for t in trials if t.state in (TrialState.RUNNING, TrialState.WAITING)]
    for trial in trials:
        if trial.state == TrialState.COMPLETE:
            scores = json.loads((Path(trial.user_attrs["folder"]) / "scores.json").read_text(encoding="utf-8"))
            assert trial.value == pytest.approx(scores["averages"]["gxlt"]["f1"])
            assert trial.user_attrs["scores"] == scores


@pytest.mark.slow
def test_four_workers_on_postgresql_and_one_is_killed(
    make: Callable[..., Plan], postgresql: str, tmp_path: Path
) -> None:
    plan = make()
    log = tmp_path / "log"
    codes = start_workers(plan, postgresql, log, dying=1, alive=3)
    assert codes == [-signal.SIGKILL, 0, 0, 0]
    check_every_trial_once(plan, postgresql, log, kills=1)
    workers = {line.partition(" ")[0] for line in log.read_text(encoding="utf-8").splitlines()}
    assert len(workers) == 4
    # The killed one's trial went on from its checkpoint to the weights of an undisturbed run.
    killed = log.read_text(encoding="utf-8").splitlines()
    twice = next(folder for folder, n in Counter(line.partition(" ")[2] for line in killed).items() if n == 2)
    again = load_recipe(Path(twice) / "recipe.yaml", [f"run_dir={tmp_path / 'undisturbed'}"])
    run_recipe(again, quiet())
    assert digest(Path(twice)) == digest(tmp_path / "undisturbed")
    assert read_metrics(Path(twice)) == read_metrics(tmp_path / "undisturbed")


@pytest.mark.slow
def test_three_workers_on_a_journal_and_one_is_killed(make: Callable[..., Plan], tmp_path: Path) -> None:
    plan = make(keys={"seed": [1, 2, 3]})
    log = tmp_path / "log"
    assert start_workers(plan, None, log, dying=1, alive=2) == [-signal.SIGKILL, 0, 0]
    check_every_trial_once(plan, None, log, kills=1)


def test_a_stopped_sweep_goes_on_with_the_same_command(
    make: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make(methods={}, keys={"seed": [1, 2, 3]})
    log, begun = MetricsLog.on_step_end, Counter[str]()

    def signalled(self: MetricsLog, args: Any, state: TrainerState, *rest: Any, **kwargs: Any) -> None:
        log(self, args, state, *rest, **kwargs)
        begun[str(self.path.parent)] += 1
        if len(begun) == 2 and state.global_step == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(MetricsLog, "on_step_end", signalled)
    with pytest.raises(RunStopped):
        run_worker(plan, None)
    monkeypatch.undo()
    study = open_study(plan, open_storage(None, plan.file.folder, BEAT))
    now = tally(study, plan)
    assert (now.done, now.running, now.waiting, now.failed) == (1, 0, 2, 0)
    unfinished = sweep_table(read_sweep(study, plan))
    assert [row.cells[0] for row in unfinished.rows] == [1]
    assert "1 of 3 trials are done, 0 run, 2 wait, 0 failed." in to_markdown(unfinished)
    finished = {path: path.stat().st_mtime_ns for path in tmp_path.glob("sweep/trials/*/model/model.safetensors")}
    assert len(finished) == 1
    assert run_worker(plan, None).finished
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert len(list(tmp_path.glob("sweep/trials/*/model"))) == 3
    grown = make(methods={}, keys={"seed": [1, 2, 3, 4, 5, 6, 7]})
    assert tally(open_study(grown, open_storage(None, grown.file.folder, 1)), grown).waiting == 4


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_outside_the_training_puts_the_trial_up_too(
    make: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    plan = make(methods={}, keys={"seed": [1, 2]})

    def evaluating(*rest: Any) -> RunResult:
        try:
            os.kill(os.getpid(), number)
            time.sleep(5)
        except Exception:  # as libraries do
            pytest.fail("the signal was taken for an error")
        raise AssertionError("the signal was passed over")

    def child() -> None:
        monkeypatch.setattr(sweep, "run_recipe", evaluating)
        try:
            run_worker(plan, None)
        except RunStopped as stopped:
            os._exit(stopped.exit_code)
        except KeyboardInterrupt:
            os._exit(128 + signal.SIGINT)

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(60)
    assert process.exitcode == 128 + number
    now = tally(open_study(plan, open_storage(None, plan.file.folder, BEAT)), plan)
    assert (now.done, now.running, now.waiting, now.failed) == (0, 0, 2, 0)


def test_a_worker_that_does_not_stay_takes_up_what_a_dead_one_left(
    make: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make(methods={}, keys={"data.target_languages": [1]})
    process = multiprocessing.get_context("fork").Process(target=die_in_a_trial, args=(plan,))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    time.sleep(4)  # three beats of a second are missed
    study = open_study(plan, open_storage(None, plan.file.folder, 1))
    assert tally(study, plan).running == 1
    monkeypatch.setattr(sweep, "run_recipe", lambda tree, *rest: RunResult(tree.run_dir, ScoreMatrix(ONE_PAIR)))
    assert work(plan, study, quiet(), stay=False, heartbeat=1).finished


def die_in_a_trial(plan: Plan) -> None:
    def dying(*rest: Any) -> RunResult:
        time.sleep(0.5)  # after the first heartbeat
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("not reached")

    sweep.run_recipe = dying
    work(plan, open_study(plan, open_storage(None, plan.file.folder, 1)), quiet(), heartbeat=1)


def test_a_trial_that_fails_is_named_and_can_be_tried_again(
    make: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make(keys={"seed": [2]})
    run = sweep.run_recipe

    def breaks(recipe: Any, *rest: Any) -> Any:
        if recipe.seed == 2 and recipe.objective.alpha_kl:
            raise RuntimeError("out of memory")
        return run(recipe, *rest)

    monkeypatch.setattr(sweep, "run_recipe", breaks)
    done = polyspan("sweep", plan.path, "--heartbeat", BEAT, "--json", code=1)
    assert "RuntimeError: out of memory" in done.stderr
    found = json.loads(done.stdout)
    assert found["trials"] == {"planned": 2, "done": 1, "running": 0, "waiting": 0, "failed": 1}
    assert found["errors"][0]["settings"] == {METHOD: "skd-first_hit", "seed": 2}
    monkeypatch.undo()
    polyspan("sweep", plan.path, "--heartbeat", BEAT, code=1)
    shown = polyspan("sweep", plan.path, "--heartbeat", BEAT, "--retry-failed").stdout
    assert "2 of 2 trials are done" in " ".join(shown.split())


def test_table_figures_and_the_best_recipe(
    make: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trials are made up here, so that the means are known."""

    def made_up(tree: Recipe, *rest: Any) -> RunResult:
        base = tree.data.target_languages + 10 * (tree.objective.alpha_kl > 0) + tree.objective.temperature
        cells = {
            (question, context): Cell(5, (base + tree.seed + 3 * (question == context)) / 100, 0.01)
            for question in ("de", "en")
            for context in ("de", "en")
        }
        return RunResult(tree.run_dir / "model", ScoreMatrix(cells))

    monkeypatch.setattr(sweep, "run_recipe", made_up)
    methods = {**METHODS, "ce": {**METHODS["ce"], "objective.temperature": 2}}
    keys = {"data.target_languages": [1, 2], "objective.temperature": [2, 4], "seed": [1, 2]}
    plan = make(methods=methods, keys=keys)
    assert plan.trials == 2 * 2 + 2 * 2 * 2
    run_worker(plan, None)
    found = read_sweep(open_study(plan, open_storage(None, plan.file.folder, BEAT)), plan)
    table = sweep_table(found)
    assert table.columns[:4] == ["method", "target_languages", "temperature", "seeds"]
    shown = [(*row.cells[:4], *(cell.value for cell in row.cells[4:8])) for row in table.rows]  # type: ignore[union-attr]
    # Mean over both seeds (1.5); half of the pairs are the diagonal, which has 3 more.
    expected = [
        ("skd-first_hit", "2", "4", 2, 2 + 10 + 4 + 1.5 + 1.5, 1, 2 + 10 + 4 + 1.5 + 3, 1),
        ("skd-first_hit", "1", "4", 2, 1 + 10 + 4 + 1.5 + 1.5, 1, 1 + 10 + 4 + 1.5 + 3, 1),
        ("skd-first_hit", "2", "2", 2, 2 + 10 + 2 + 1.5 + 1.5, 1, 2 + 10 + 2 + 1.5 + 3, 1),
        ("skd-first_hit", "1", "2", 2, 1 + 10 + 2 + 1.5 + 1.5, 1, 1 + 10 + 2 + 1.5 + 3, 1),
        ("ce", "2", "2", 2, 2 + 2 + 1.5 + 1.5, 1, 2 + 2 + 1.5 + 3, 1),
        ("ce", "1", "2", 2, 1 + 2 + 1.5 + 1.5, 1, 1 + 2 + 1.5 + 3, 1),
    ]
    for row, wanted in zip(shown, expected, strict=True):
        assert row[:4] == wanted[:4]
        assert row[4:] == pytest.approx(wanted[4:])
    assert (table.rows[0].cells[4].low, table.rows[0].cells[4].high) == pytest.approx((18.5, 19.5))  # type: ignore[union-attr]
    written = write_sweep(found)
    figures = {"figures/target-languages.svg", "figures/temperature-skd-map.svg"}
    names = {path.relative_to(tmp_path / "sweep").as_posix() for path in written}
    assert names == {"sweep.md", "sweep.json", "best.yaml", *figures}
    assert all(path.stat().st_size for path in written)
    best = load_recipe(tmp_path / "sweep/best.yaml")
    assert (best.data.target_languages, best.objective.temperature) == (2, 4)
    said = (tmp_path / "sweep/best.yaml").read_text(encoding="utf-8").splitlines()
    assert said[0] == f"# polyspan train {tmp_path}/sweep/best.yaml"
    # 19 is the mean; the recipe has the first seed, which is not the better one.
    mean, first = "19.00, the mean of 2 runs", "this is the first of them, with 18.50"
    assert said[1] == f"# The best of 6 settings by gxlt F1: {mean}; {first}"
    assert said[2].startswith("# 12 of 12 trials are done.")
    assert best.seed == 1
    unfinished = replace(found, tally=replace(found.tally, done=1), done=found.done[:1])
    write_sweep(unfinished)
    said = (tmp_path / "sweep/best.yaml").read_text(encoding="utf-8").splitlines()
    assert said[1] == "# The best of one setting so far by gxlt F1: 5.50"
    assert said[2].startswith("# 1 of 12 trials are done.")


def reports(plan: Plan, monkeypatch: pytest.MonkeyPatch, languages: tuple[str, ...] = ("de", "en")) -> list[str]:
    """Work with made-up trials; which ran. Their F1 falls with the frozen layers and ntl, but XLT's rises with ntl."""
    ran = []

    def made_up(tree: Recipe, *rest: Any) -> RunResult:
        ran.append(tree.run_dir.name)
        ntl = tree.data.target_languages
        cells = {
            (question, context): Cell(
                5, (60 - tree.training.frozen_layers + ntl * (2 if question == context else -3)) / 100, 0
            )
            for question in languages
            for context in languages
        }
        return RunResult(tree.run_dir / "model", ScoreMatrix(cells))

    monkeypatch.setattr(sweep, "run_recipe", made_up)
    run_worker(plan, None)
    return ran


def read(plan: Plan) -> sweep_report.Found:
    return read_sweep(open_study(plan, open_storage(None, plan.file.folder, BEAT)), plan)


def test_a_method_that_was_changed_makes_other_trials(
    make: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {"data.target_languages": [1, 2]}
    methods = {"a": {"training.frozen_layers": 6}, "b": {"training.frozen_layers": 3}}
    plan = make(methods=methods, keys=keys)
    assert len(reports(plan, monkeypatch)) == 4
    changed = make(methods={**methods, "a": {"training.frozen_layers": 0}}, keys=keys)
    assert (tally(open_study(changed, open_storage(None, changed.file.folder, BEAT)), changed)).waiting == 2
    ran = reports(changed, monkeypatch)
    assert ran == [name for name, settings in changed.named_grid.items() if settings[METHOD] == "a"]
    assert not reports(changed, monkeypatch)
    found = read(changed)
    assert {Path(trial.folder).name for trial in found.done} == set(changed.named_grid)
    write_sweep(found)
    best = load_recipe(changed.file.folder / "best.yaml")
    assert best.training.frozen_layers == 0
    assert found.by_setting()[0][1][0].score == pytest.approx(60 - 0.5)
    # What was done before is not lost: the old file shows the old trials.
    again = make(methods=methods, keys=keys)
    assert not reports(again, monkeypatch)
    assert {Path(trial.folder).name for trial in read(again).done} == set(again.named_grid)


def test_a_method_may_be_written_in_sections(make: Callable[..., Plan]) -> None:
    methods = {
        "ce": {"objective": {"alpha_kl": 0}},
        "replayed": {"data": {"replay": {"path": "commons/dev"}}, "objective.temperature": 4},
    }
    plan = make(methods=methods, keys={"seed": [1, 2], "objective.temperature": [2, 3]})
    assert plan.trials == 2 * 2 + 2
    for settings in plan.grid():
        tree, base = plan.trial_recipe(settings), plan.recipe
        if settings[METHOD] == "ce":
            assert (tree.objective.alpha_kl, tree.objective.coefficient) == (0, base.objective.coefficient)
            assert tree.objective.temperature == settings["objective.temperature"]
        else:
            assert tree.data.replay is not None
            assert (tree.data.path, tree.data.replay.path) == (base.data.path, "commons/dev")
            assert tree.objective.temperature == 4


def test_a_grid_is_judged_by_the_average_that_the_file_names_now(
    make: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {"data.target_languages": [1, 2]}
    reports(make(methods={}, keys=keys), monkeypatch)
    plan = make(methods={}, keys=keys, select="xlt")
    assert not reports(plan, monkeypatch)
    write_sweep(read(plan))
    said = (plan.file.folder / "best.yaml").read_text(encoding="utf-8")
    assert "by xlt F1: 63.00\n" in said
    assert load_recipe(plan.file.folder / "best.yaml").data.target_languages == 2


def test_a_search_whose_trials_were_made_or_judged_otherwise_is_refused(
    make: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    search = {"search": "tpe", "trials": 2, "keys": {"data.target_languages": [1, 2]}}
    methods = {"a": {"training.frozen_layers": 1}}
    assert len(reports(make(**search, methods=methods), monkeypatch)) == 2
    with pytest.raises(PlanError, match="select: trial 0 of this search was made before"):
        read(make(**search, methods=methods, select="xlt"))
    with pytest.raises(PlanError, match=r"methods\.a: trial 0 of this search was made before"):
        read(make(**search, methods={"a": {"training.frozen_layers": 0}}))
    assert len(read(make(**search, methods=methods)).done) == 2


def test_a_search_draws_whole_numbers_for_keys_that_are(
    make: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {
        "data.target_languages": {"low": 1, "high": 5},
        "training.batch_tokens": {"low": 1024, "high": 4096, "log": True},
        "data.crop": {"low": 64, "high": 128, "step": 32},
        "training.warmup": {"low": 0, "high": 0.5},
        "training.epochs": [1, 2],
    }
    plan = make(search="tpe", trials=4, methods=METHODS, keys=keys)
    assert len(reports(plan, monkeypatch)) == 4
    for trial in read(plan).done:
        tree = plan.trial_recipe(trial.settings)
        assert 1 <= tree.data.target_languages <= 5
        assert 1024 <= tree.training.batch_tokens <= 4096
        assert tree.data.crop in (64, 96, 128)
        assert isinstance(trial.settings["training.warmup"], float)
    for wrong in ({"low": 1.5, "high": 5}, {"low": 1, "high": 5, "step": 0.5}):
        with pytest.raises(PlanError, match=r"keys\.data\.target_languages: .* whole numbers"):
            make(search="tpe", trials=4, methods={}, keys={"data.target_languages": wrong})


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([1, 2], [1, 2, 3]),
        ([1, 2], {"low": 1, "high": 2}),
        ({"low": 1, "high": 4}, {"low": 1, "high": 4, "log": True}),
    ],
)
def test_a_search_over_other_values_is_refused(
    make: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch, before: Any, after: Any
) -> None:
    search: dict[str, Any] = {"search": "tpe", "methods": {}}
    key = "data.target_languages"
    assert len(reports(make(**search, trials=2, keys={key: before}), monkeypatch)) == 2
    changed = make(**search, trials=4, keys={key: after})
    with pytest.raises(PlanError, match=r"keys\.data\.target_languages: trial 0 .* another folder"):
        run_worker(changed, None, retry_failed=True)
    # More trials are no other search.
    assert len(reports(make(**search, trials=3, keys={key: before}), monkeypatch)) == 1


def test_an_average_of_no_pairs_is_no_score(make: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {"data.target_languages": [1, 2]}
    plan = make(methods={}, keys=keys, select="gxlt_off_diagonal")
    with pytest.raises(PlanError, match=r"no pair .* gxlt_off_diagonal"):
        reports(plan, monkeypatch, languages=("en",))
    mended = make(methods={}, keys=keys)
    now = tally(open_study(mended, open_storage(None, mended.file.folder, BEAT)), mended)
    assert (now.waiting, now.failed) == (2, 0)
    reports(mended, monkeypatch, languages=("en",))
    with pytest.raises(PlanError, match=r"no pair .* gxlt_off_diagonal"):
        read(plan)


def test_figures_show_trials_that_differ_in_what_they_show(make: Callable[..., Plan]) -> None:
    methods = {name: {"objective.coefficient": name} for name in ("first_hit", "eq5", "constant")}
    keys = {"data.target_languages": [1, 2], "training.learning_rate": [0.1, 0.2], "seed": [1]}
    plan = make(methods=methods, keys=keys)
    matrix = ScoreMatrix(ONE_PAIR)
    done = [
        sweep_report.Done(number, settings, float(settings[METHOD] == "eq5") - number, matrix, "", 1.0, "here")
        for number, settings in enumerate(plan.grid())
    ]
    found = sweep_report.Found(plan, Tally(len(done), 0, 0, 0, len(done)), done, [])
    recipes = [run.recipe for run in sweep_report.drawn_trials(found) if run.recipe is not None]
    kept = [
        (r["objective"]["coefficient"], r["training"]["learning_rate"], r["data"]["target_languages"]) for r in recipes
    ]
    # The best is the first trial: first_hit at the rate of 0.1. Eq. 5 would share its line.
    assert sorted(kept) == [("constant", 0.1, 1), ("constant", 0.1, 2), ("first_hit", 0.1, 1), ("first_hit", 0.1, 2)]


def test_figures_do_not_take_methods_for_seeds(make: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch) -> None:
    """Methods that freeze other layers, and another weight of the divergence, are no runs of one setting.

    The level of the coefficient means nothing without a teacher.
    """
    methods = {
        "frozen": {"training.frozen_layers": 6},
        "free": {"training.frozen_layers": 0, "objective.level": "example"},
        "stronger": {"training.frozen_layers": 0, "objective.level": "example", "objective.alpha_kl": 2},
        "ce": {"training.frozen_layers": 0, "objective.alpha_kl": 0},
    }
    plan = make(methods=methods, keys=KEYS)
    reports(plan, monkeypatch)
    recipes = [run.recipe for run in sweep_report.drawn_trials(read(plan)) if run.recipe is not None]
    kept = Counter((r["training"]["frozen_layers"], r["objective"]["alpha_kl"]) for r in recipes)
    assert kept == {(0, 1): 4, (0, 0): 4}


@pytest.mark.slow
def test_a_search_makes_as_many_trials_as_it_may(make: Callable[..., Plan], tmp_path: Path) -> None:
    keys = {
        "training.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
        "objective.temperature": {"low": 1, "high": 4, "step": 1},
        "objective.level": ["batch", "example"],
    }
    plan = make(search="tpe", trials=5, methods={}, keys=keys)
    log = tmp_path / "log"
    assert start_workers(plan, None, log, dying=0, alive=2) == [0, 0]
    found = read_sweep(open_study(plan, open_storage(None, plan.file.folder, BEAT)), plan)
    assert len(found.done) == 5
    assert len(log.read_text(encoding="utf-8").splitlines()) == 5
    for trial in found.done:
        tree = load_recipe(Path(trial.folder) / "recipe.yaml")
        assert tree.training.learning_rate == pytest.approx(trial.settings["training.learning_rate"])
        assert 1e-4 <= tree.training.learning_rate <= 1e-2
        assert tree.objective.temperature in {1, 2, 3, 4}
    assert run_worker(plan, None).done == 5


def test_the_place_of_another_sweep_and_bad_storages_are_one_clear_line(
    make: Callable[..., Plan], tmp_path: Path
) -> None:
    plan = make()
    open_study(plan, open_storage(None, plan.file.folder, BEAT))
    other = load_plan(plan.path, ["training.learning_rate=0.5"])
    with pytest.raises(PlanError, match="another recipe"):
        open_study(other, open_storage(None, plan.file.folder, BEAT))
    with pytest.raises(StorageError) as hidden:
        open_storage("postgresql://me:secret@127.0.0.1:1/none", tmp_path, 1)
    assert "secret" not in str(hidden.value)
    with pytest.raises(StorageError, match="not a database URL"):
        open_storage("postgresql://me:sec/ret@[::/none", tmp_path, 1)
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(StorageError, match="cannot be written"):
        open_storage(str(tmp_path / "file/journal"), tmp_path, 1)
    assert "nothing.yaml" in refused("sweep", tmp_path / "nothing.yaml")


def test_a_sweep_is_found_however_its_folder_is_spelt(
    make: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    keys = {"data.target_languages": [1, 2]}
    plan = make(methods={}, keys=keys)
    assert len(reports(plan, monkeypatch)) == 2
    assert not reports(load_plan(plan.path, folder=Path("sweep")), monkeypatch)
    polyspan("sweep", plan.path, "--folder", f"{tmp_path}/../{tmp_path.name}/sweep", "--report")
    assert "2 of 2 trials are done" in (tmp_path / "sweep/sweep.md").read_text(encoding="utf-8")
    (tmp_path / "sweep").rename(tmp_path / "moved")
    assert not reports(load_plan(plan.path, folder=Path("moved")), monkeypatch)
    # In a storage that sweeps share each folder has its own.
    for folder in ("one", "two"):
        other = load_plan(plan.path, folder=Path(folder))
        open_study(other, open_storage("shared.journal", other.file.folder, BEAT))
    assert len(open_storage("shared.journal", tmp_path, BEAT).get_all_studies()) == 2


def test_a_report_of_no_sweep_writes_nothing(make: Callable[..., Plan], tmp_path: Path) -> None:
    plan = make(methods={}, keys={"seed": [1]})
    assert "no sweep" in refused("sweep", plan.path, "--report")
    assert not plan.file.folder.exists()
    shared = tmp_path / "shared.journal"
    open_study(plan, open_storage(str(shared), plan.file.folder, BEAT))
    before = shared.read_bytes()
    assert "no sweep" in refused("sweep", plan.path, "--report", "--folder", tmp_path / "other", "--storage", shared)
    assert not (tmp_path / "other").exists()
    # A report puts no trial up either.
    grown = make(methods={}, keys={"seed": [1, 2]})
    polyspan("sweep", grown.path, "--report", "--storage", shared)
    assert shared.read_bytes() == before


def test_a_line_that_was_cut_off_is_written_anew(make: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make(methods={}, keys={"data.target_languages": [1, 2]})
    reports(plan, monkeypatch)
    journal = plan.file.folder / "study.journal"
    whole = journal.read_bytes()
    for left in (20, len(whole.splitlines()[-1]) - 3):  # the last record says that a trial is complete
        journal.write_bytes(whole[:-left])
        for _ in range(2):
            assert tally(open_study(plan, open_storage(None, plan.file.folder, BEAT)), plan).done == 1
        assert journal.read_bytes().startswith(whole[: whole.rstrip().rfind(b"\n") + 1])
        assert all("op_code" in json.loads(line) for line in journal.read_bytes().splitlines())
    assert not list(plan.file.folder.glob("*.lock"))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("recipe: x\n", 1),
        ("recipe: x", 1),
        ("[1]\n", 1),
        ('{"a": 1}\n', 1),
        ('{"op_code":0}\n{"op_code":0{"op_code":1}\n', 2),
    ],
)
def test_a_file_that_is_no_journal_is_left_as_it_is(tmp_path: Path, text: str, line: int) -> None:
    file = tmp_path / "notes.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(StorageError, match=rf"notes\.yaml: line {line} is none of a sweep's journal"):
        open_storage(str(file), tmp_path, BEAT)
    assert file.read_text(encoding="utf-8") == text
    assert list(tmp_path.iterdir()) == [file]


def test_an_unknown_leakage_policy_ends_a_sweep_before_its_trials(make: Callable[..., Plan]) -> None:
    plan = make(methods={}, keys={"seed": [1, 2]})
    assert (
        "--leakage is fail, warn, ignore, not 'wran'"
        in polyspan("sweep", plan.path, "--leakage", "wran", code=1).stderr
    )
    assert tally(open_study(plan, open_storage(None, plan.file.folder, BEAT)), plan).waiting == 2


def test_two_that_drew_the_same_trial_run_it_once(make: Callable[..., Plan]) -> None:
    plan = make(keys={"seed": [1]}, methods={})
    study = open_study(plan, open_storage(None, plan.file.folder, BEAT))
    study.enqueue_trial({}, user_attrs=study.trials[0].user_attrs)
    assert work(plan, study, quiet(), heartbeat=BEAT).finished
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE, TrialState.PRUNED]


def test_workers_with_one_process_id_have_clocks_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers that share a folder may share host name and process id too."""
    storage = open_storage(None, tmp_path, BEAT)
    study = optuna.create_study(storage=storage)
    study.ask()
    touch, clocks = Path.touch, []

    def noted(path: Path, *rest: Any, **kwargs: Any) -> None:
        touch(path, *rest, **kwargs)
        if path.name.startswith("clock-"):
            clocks.append(path)

    monkeypatch.setattr(Path, "touch", noted)
    for _ in range(2):
        assert storage._get_stale_trial_ids(study._study_id) == []  # type: ignore[attr-defined]
    assert len(set(clocks)) == 2
    assert not any(clock.exists() for clock in clocks)
