"""One command on several processes: which of them this is, what it does of the work, how the parts are joined.

``torchrun`` and ``accelerate launch`` start the processes and number them in the environment. A
command that was started by neither is one process, and everything here does nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch

Item = TypeVar("Item")


def process_count() -> int:
    """How many processes work on this command."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def process_index() -> int:
    """Which of them this is, from 0."""
    return int(os.environ.get("RANK", "0"))


def is_main_process() -> bool:
    """True in the one process that speaks and writes."""
    return process_index() == 0


def join_group() -> torch.device:
    """Meet the other processes, if there are any, and take this one's device."""
    import torch
    from accelerate import PartialState

    return PartialState(cpu=not torch.accelerator.is_available()).device  # type: ignore[no-any-return]


def wait_for_all() -> None:
    """Go on when every process has come here."""
    from accelerate import PartialState

    if process_count() > 1:
        PartialState().wait_for_everyone()


def from_main(make: Callable[[], Item]) -> Item:
    """What ``make`` gives in the main process, in every process; the others do not call it."""
    from accelerate.utils import broadcast_object_list

    if process_count() == 1:
        return make()
    made = [make() if is_main_process() else None]
    broadcast_object_list(made)
    return made[0]  # type: ignore[return-value]


def share(items: Sequence[Item]) -> list[Item]:
    """This process's part: every n-th item, so that long and short ones are dealt out alike."""
    return list(items[process_index() :: process_count()])


def join_shares(mine: Sequence[Item], total: int) -> list[Item]:
    """What the processes made of their shares, in the order of all items; the same list on each.

    Args:
        mine: one result for each item of `share`.
        total: how many items were dealt out.

    Raises:
        ValueError: a process has more or fewer results than it had items.
    """
    from accelerate.utils import gather_object

    parts = gather_object([list(mine)]) if process_count() > 1 else [list(mine)]
    joined: list[Item | None] = [None] * total
    for index, part in enumerate(parts):
        joined[index :: len(parts)] = part
    return joined  # type: ignore[return-value]
