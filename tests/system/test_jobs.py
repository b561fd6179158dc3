"""Work over processes: order, errors, progress, memory, and that no process outlives its work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from bbcompress.errors import BBCError, FormatError
from bbcompress.system.jobs import AHEAD, MIN_COST, Progress, Work, Workers
from bbcompress.system.threads import limit_threads, processors, threads

HERE = Path(__file__).resolve().parents[1]


def make(added: int = 0) -> Work[int, tuple[int, int]]:
    """Work that gives its process and the task plus a number; tasks from 1000 on are errors of several kinds."""

    def work(task: int, progress: Progress) -> tuple[int, int]:
        if task == 1000:
            raise FormatError("damaged")
        if task == 1001:
            os._exit(3)
        if task == 1002:
            raise ValueError("a fault of the program")
        if task == 1003:
            progress(10**6)
            time.sleep(600)
        progress(task)
        time.sleep(0.05 if task % 3 == 0 else 0)  # so that they end in another order
        return os.getpid(), task + added

    return work


@pytest.mark.parametrize("count", [1, 3])
def test_results_come_in_order(count: int) -> None:
    told: list[int] = []
    with Workers(count, partial(make, 5)) as workers:
        results = list(workers.map(range(20), told.append))
        again = list(workers.map(range(3)))  # by the processes that are there
    assert [result for _, result in results] == list(range(5, 25))
    assert [result for _, result in again] == [5, 6, 7]
    assert sorted(told) == list(range(20))
    found = {process for process, _ in results}
    assert found == {os.getpid()} if count == 1 else os.getpid() not in found
    assert 1 <= len(found) <= count
    assert not any(map(lives, found - {os.getpid()}))


def test_processes_only_for_work_that_is_worth_them() -> None:
    tasks = [1, 1, MIN_COST, 1, MIN_COST, MIN_COST, 1, 1]
    with Workers(3, make, lambda task: task) as workers:
        results = list(workers.map(tasks))
    assert [result for _, result in results] == tasks
    assert [process == os.getpid() for process, _ in results] == [True] * 4 + [False] * 4
    with Workers(3, make) as workers:
        assert list(workers.map([7])) == [(os.getpid(), 7)]
        assert list(workers.map([])) == []


def test_few_tasks_are_taken_in_advance() -> None:
    taken: list[int] = []

    def tasks() -> Iterator[int]:
        for number in range(30):
            taken.append(number)
            yield number

    with Workers(2, make) as workers:
        for done, _ in enumerate(workers.map(tasks())):
            assert len(taken) <= done + 2 * AHEAD + 2


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize(("task", "error"), [(1000, FormatError), (1002, ValueError)])
def test_errors_come_when_it_is_their_turn(count: int, task: int, error: type[Exception]) -> None:
    results = []
    with pytest.raises(error), Workers(count, make) as workers:
        for _, result in workers.map([3, 1, task, 2]):
            results.append(result)
    assert results == [3, 1]


def test_a_process_that_is_gone_is_an_error() -> None:
    with pytest.raises(BBCError, match="so many jobs"), Workers(2, make) as workers:
        list(workers.map([1, 1001, 2]))


def test_an_error_of_the_tasks_ends_all() -> None:
    def tasks() -> Iterator[int]:
        yield from range(3)
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"), Workers(2, make) as workers:
        list(workers.map(tasks()))


def lives(process: int) -> bool:
    """Whether there is such a process that has not ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until(condition: Callable[[], bool]) -> bool:
    """Whether it comes true before long."""
    deadline = time.monotonic() + 200
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


PROGRAM = """
import os, sys
from test_jobs import make
from bbcompress.system.jobs import Workers
from bbcompress.system.signals import signals_raise
if __name__ == "__main__":
    with signals_raise(), Workers(2, make) as workers:
        list(workers.map([1003, 1003], lambda _: print("busy", flush=True)))
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_the_one_that_started_it(number: signal.Signals, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    paths = [str(HERE / "system"), str(HERE.parent), *sys.path]
    process = subprocess.Popen(
        [sys.executable, str(program)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # shells ignore it for what is behind an &
    )
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(2)] == ["busy\n"] * 2
    children = [int(child) for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    assert len(children) >= 2
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does
    else:
        process.send_signal(number)
    assert process.wait(200) != 0
    assert until(lambda: not any(map(lives, children)))
    process.stdout.close()


def test_threads() -> None:
    assert threads() == processors() >= 1
    try:
        limit_threads(1)
        assert threads() == 1
    finally:
        limit_threads(processors())
