"""What torchrun does after a process of a training has died: it starts all of them anew, with the same command.

torchrun keeps one store for all these starts, that of its agent. Two things are done with it here:

* The processes of each start meet in a store of their own. In the agent's, torch 2.13 would have them read under which
  addresses the processes of the start before could be reached, which are dead: one gives up, and the others wait.
* It is noted there which run has begun, so that the next start goes on with it from its last checkpoint. A run that was
  there before torchrun is refused at every start.
"""

from __future__ import annotations

import itertools
import os
import secrets
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import torch.distributed as dist

from bbcompress.errors import TrainingError

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store, TCPStore

PLACE = "bbc/meeting-place/"
"""The key under which the first process says where the others find it: a port, and a word. How many times they have met
before in this start stands behind it."""
BEGUN = "bbc/begun/"
"""The key of a run that has begun, before its directory."""
ATTEMPT = timedelta(seconds=10)
"""How long a process waits for an answer of what may be the store of an earlier start."""
_meetings = itertools.count()
PAUSE = 0.1
"""Seconds between two looks at a store. Waiting in the store itself would keep signals from ending the process."""


def by_torchrun() -> bool:
    """Whether torchrun has started this process."""
    return dist.is_available() and "TORCHELASTIC_RUN_ID" in os.environ


def has_begun(out: Path) -> bool:
    """Whether an earlier start of this process by torchrun has begun the run in `out`.

    Where torchrun shares no store with its processes (as with TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1), every start but
    the first takes a run that is there for its own.

    Raises:
        TrainingError: torchrun has ended.
    """
    if not by_torchrun():
        return False
    try:
        agent = _agent()
        if agent is None:
            return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"
        return bool(agent.check([_key(out)]))
    except RuntimeError as error:
        raise TrainingError("torchrun cannot be reached") from error


def note_begun(out: Path) -> None:
    """Note for later starts by torchrun that the run in `out` has begun. Raises TrainingError: torchrun has ended."""
    try:
        if by_torchrun() and (agent := _agent()) is not None:
            agent.set(_key(out), "")
    except RuntimeError as error:
        raise TrainingError("torchrun cannot be reached") from error


def meeting_place(rank: int, size: int, patience: timedelta) -> Store | None:
    """The store in which the processes of this start by torchrun meet, when all have come; None without an agent that
    has one.

    Raises:
        RuntimeError: they have not come in time, or torchrun has ended.
    """
    agent = _agent(patience)
    if agent is None:
        return None
    deadline = time.monotonic() + patience.total_seconds()
    key = f"{PLACE}{next(_meetings)}"
    place = _opened(agent, key, patience) if rank == 0 else _found(agent, key, patience, deadline)
    arrived = place.add("arrived", 1)
    while arrived < size:
        _pause(deadline)
        arrived = place.add("arrived", 0)
    return place


def _agent(patience: timedelta = timedelta(minutes=5)) -> TCPStore | None:
    """The store of torchrun's agent, if it shares it. Raises RuntimeError where it cannot be reached."""
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != str(True):
        return None
    return _store(int(os.environ["MASTER_PORT"]), False, patience)


def _key(out: Path) -> str:
    """That of a run that has begun."""
    return f"{BEGUN}{out}"


def _opened(agent: Store, key: str, patience: timedelta) -> TCPStore:
    """A new store in the first process, which the others find by that of the agent."""
    place = _store(0, True, patience)
    word = secrets.token_hex(8)
    place.set("word", word)
    agent.set(key, f"{place.port} {word}")
    return place


def _found(agent: Store, key: str, patience: timedelta, deadline: float) -> TCPStore:
    """The store that the first process of this start has opened; what is noted may still be that of an earlier one."""
    while True:
        if agent.check([key]):
            port, word = agent.get(key).decode().split()
            try:
                place = _store(int(port), False, ATTEMPT)
                if place.get("word").decode() == word:
                    place.set_timeout(patience)
                    return place
            except RuntimeError:  # nobody answers there any more, or somebody else does
                pass
        _pause(deadline)


def _store(port: int, serves: bool, patience: timedelta) -> TCPStore:
    """A store on the machine of the first process: served by this one (at any port: 0), or by another.

    Raises:
        RuntimeError: it cannot be reached.
    """
    return dist.TCPStore(  # type: ignore[attr-defined]
        os.environ["MASTER_ADDR"], port, is_master=serves, wait_for_workers=False, timeout=patience
    )


def _pause(deadline: float) -> None:
    if time.monotonic() > deadline:
        raise RuntimeError("some have not come in time")
    time.sleep(PAUSE)
