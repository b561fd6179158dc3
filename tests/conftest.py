"""What holds for every test: none sees what another has changed of its process."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from process_state import logger_state, process_kept, set_logger_state

# A machine may be slow, and a first call may compile a kernel: no property depends on time.
settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-machine")

if hasattr(signal, "SIGHUP"):  # under nohup it is ignored, and bbc would leave it so
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Threads of OpenMP that wait leave the processors to others: for PyTorch, which is imported later, and in processes.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# No test sees the models that the user of this machine has added.
os.environ["XDG_DATA_HOME"] = "/nonexistent"

LOGGER_AS_IMPORTED = logger_state()

LONGEST = (
    "exact/test_learning.py",
    "training/test_distributed.py",
    "training/test_elastic.py",
    "training/test_run.py",
    "exact/test_exactness.py",
    "coder/test_kernel_cache.py",
    "cli/test_cli.py",
    "test_scaling.py",
)
"""The modules that take longest, which are begun first: none is left for one process while the others are idle. The
first compiles most kernels, for all that follow; the others that begin meanwhile need few of them."""


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Every second process imports the modules from the last to the first: pytest keeps their byte code, with what it
    has made of their assertions, and so two processes make half of it each."""
    report = yield
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
    if isinstance(collector, pytest.Session | pytest.Directory) and int(worker.removeprefix("gw")) % 2:
        report.result.reverse()
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Modules that take long come first, all others in their usual order, in whichever they were imported."""
    here = Path(__file__).parent
    places = {here / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: (places.get(item.path, len(LONGEST)), item.path.parts))


@pytest.fixture(autouse=True)
def process_as_it_was() -> Iterator[None]:
    """What a test changes of its process, and does not undo, is undone. Warnings are pytest's own to undo.

    The logger of the package is as its import leaves it, whatever commands a fixture of a whole module has run.
    """
    set_logger_state(LOGGER_AS_IMPORTED)
    with process_kept():
        yield


@pytest.fixture
def no_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """No models are installed but those of BBC_MODELS."""
    monkeypatch.setattr("bbcompress.models.zoo.shipped_model_folders", lambda: [])
