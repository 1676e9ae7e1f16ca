"""Where the workers of a sweep meet: a journal file, or a database server, both with heartbeats."""

from __future__ import annotations

import json
import os
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage, JournalStorage, RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.storages._heartbeat import BaseHeartbeat
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.trial import TrialState

from polyspan.errors import PolyspanError

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

RECORD = b'{"op_code":'
"""What each line of a journal begins with."""
MISSED = 3
"""A worker that misses so many heartbeats is taken for dead."""


class StorageError(PolyspanError):
    """A storage that cannot be opened; a password in its address is not shown."""


class JournalWithHeartbeat(JournalStorage, BaseHeartbeat):
    """A journal file whose workers show that they live by touching a file each.

    Optuna has heartbeats for databases alone. Times are those of the file system, so that workers
    on machines with other clocks agree.
    """

    def __init__(self, path: Path, interval: int) -> None:
        super().__init__(JournalFileBackend(str(path)))
        self.path = path
        self.interval = interval
        self.folder = path.with_name(f"{path.name}.heartbeats")
        self.folder.mkdir(exist_ok=True)

    def record_heartbeat(self, trial_id: int) -> None:
        """Touch the trial's file."""
        (self.folder / str(trial_id)).touch()

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        running = self.get_all_trials(study_id, deepcopy=False, states=(TrialState.RUNNING,))
        if not running:
            return []
        clock = self.folder / f"clock-{uuid.uuid4().hex}"  # workers in containers may share host name and process id
        clock.touch()
        now = clock.stat().st_mtime
        clock.unlink()
        stale = []
        for trial in running:
            beat = self.folder / str(trial._trial_id)
            if not beat.exists():  # killed before its first heartbeat, or just begun: counted from now
                beat.touch()
            elif now - beat.stat().st_mtime > MISSED * self.interval:
                stale.append(trial._trial_id)
        return stale

    def get_heartbeat_interval(self) -> int:
        """Seconds."""
        return self.interval

    def get_heartbeat_stale_trial_callback(self) -> Callable[[Study, FrozenTrial], None]:
        """A dead worker's trial is put up again."""
        return put_up_again


def put_up_again(study: Study, trial: FrozenTrial) -> None:
    """Let the next worker that is free take the trial; its run folder has what was reached."""
    with no_warning():
        RetryHeartbeatStaleTrialCallback()(study, trial)


def study_name(storage: BaseStorage, folder: Path) -> str:
    """Of the sweep of a folder: its path as it is written, or one name for all where the journal lies in the folder.

    So a sweep with its own journal is found again wherever its folder was moved to.
    """
    own = isinstance(storage, JournalWithHeartbeat) and storage.path.parent.resolve() == folder.resolve()
    return "sweep" if own else folder.as_posix()


def open_storage(address: str | None, folder: Path, interval: int, existing: bool = False) -> BaseStorage:
    """The storage of an address, or ``study.journal`` in the sweep's folder.

    Args:
        address: a database URL of SQLAlchemy such as ``postgresql://user@host/name``, or the path
            of a journal file.
        folder: of the sweep.
        interval: seconds between heartbeats.
        existing: make no journal where there is none.

    Raises:
        StorageError: it cannot be reached, a driver is missing, a line of the journal is damaged or
            of another file, or there is no journal and none is to be made.
    """
    if address is None or "://" not in address:
        path = Path(address) if address is not None else folder / "study.journal"
        if existing and not path.exists():
            raise StorageError(f"{path}: no such journal, so there is no sweep to report; nothing was written")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists():
                _check_journal(path)
            return JournalWithHeartbeat(path, interval)
        except OSError as error:
            raise StorageError(f"{path}: cannot be written ({error.strerror})") from error
    if address.startswith("postgresql://"):
        address = address.replace("postgresql://", "postgresql+psycopg://", 1)
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, IntegrityError, ProgrammingError

    try:
        shown = make_url(address).render_as_string(hide_password=True)
    except (ArgumentError, ValueError) as error:
        raise StorageError("--storage: not a database URL; write it as postgresql://USER@HOST/NAME") from error
    tries = 20
    for left in reversed(range(tries)):
        try:
            with no_warning():
                return RDBStorage(
                    address,
                    engine_kwargs={"pool_pre_ping": True},
                    heartbeat_interval=interval,
                    grace_period=MISSED * interval,
                    heartbeat_stale_trial_callback=put_up_again,
                )
        except (IntegrityError, ProgrammingError) as error:
            # Workers that start together on an empty database all make its tables; all but one are too late.
            if not left or "already exists" not in str(error):
                raise StorageError(f"{shown}: cannot be opened ({_first_line(error)})") from error
            time.sleep(0.5)
        except Exception as error:  # drivers raise kinds of their own
            raise StorageError(f"{shown}: cannot be opened ({_first_line(error)})") from error
    raise AssertionError("not reached")


def _check_journal(path: Path) -> None:
    """Read a journal before Optuna does, which would write behind a damaged line, and into any other file."""
    *lines, last = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict) or "op_code" not in record:
            raise StorageError(
                f"{path}: line {number} is none of a sweep's journal; name another file, or mend the line"
            )
    if not last:
        return
    if not last.startswith(RECORD) and not RECORD.startswith(last):
        raise StorageError(f"{path}: line {len(lines) + 1} is none of a sweep's journal; name another file")
    _cut_last_line(path)


def _cut_last_line(path: Path) -> None:
    """Remove what a worker that died in the middle of a line left; others may have written meanwhile."""
    lock = JournalFileSymlinkLock(str(path))
    lock.acquire()
    try:
        text = path.read_bytes()
        os.truncate(path, text.rfind(b"\n") + 1)
    finally:
        lock.release()


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:200]


@contextmanager
def no_warning() -> Iterator[None]:
    """Optuna has called its heartbeats experimental since 2021."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield
