"""The state of a process that a test may change and leave changed, and how it is set back."""

from __future__ import annotations

import functools
import locale
import logging
import os
import random
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image, ImageFile
from threadpoolctl import ThreadpoolController

from bbcompress.system import kernel_files, threads
from bbcompress.system.signals import SIGNALS


def logger_state() -> tuple[Any, ...]:
    logger = logging.getLogger("bbcompress")
    return list(logger.handlers), logger.level, logger.propagate, logger.disabled


def set_logger_state(state: tuple[Any, ...]) -> None:
    """`setLevel` also empties the logger's memory of which levels are enabled; an assignment to `level` does not."""
    logger = logging.getLogger("bbcompress")
    logger.handlers, level, logger.propagate, logger.disabled = state
    logger.setLevel(level)


def _folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it is gone
        return None


def _set_folder(path: str | None) -> None:
    if path is not None:
        os.chdir(path)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}


def _set_environment(state: dict[str, str]) -> None:
    for name in _environment():
        if name not in state:
            del os.environ[name]
    os.environ.update(state)


def _set_handlers(state: list[Any]) -> None:
    for number, handler in zip(SIGNALS, state, strict=True):
        if handler is not None:  # else it is none of Python
            signal.signal(number, handler)


def _limits_of_pillow() -> tuple[Any, ...]:
    return Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES


def _set_limits_of_pillow(state: tuple[Any, ...]) -> None:
    Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = state


@functools.cache
def _pools() -> list[Any]:
    return list(ThreadpoolController().lib_controllers)


def _threads() -> list[int]:
    return [pool.num_threads for pool in _pools()]


def _set_threads(state: list[int]) -> None:
    for pool, count in zip(_pools(), state, strict=True):
        pool.set_num_threads(count)


def _torch() -> dict[str, Any]:
    """Settings of PyTorch, where a test has imported it."""
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "get_rng_state"):
        return {}
    return {
        "set_default_dtype": torch.get_default_dtype(),
        "set_grad_enabled": torch.is_grad_enabled(),
        "set_num_threads": torch.get_num_threads(),
        "set_float32_matmul_precision": torch.get_float32_matmul_precision(),
        "use_deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "set_rng_state": torch.get_rng_state().numpy().tobytes(),
    }


def _set_torch(state: dict[str, Any]) -> None:
    torch = sys.modules["torch"]
    for name, value in state.items():
        getattr(torch, name)(
            torch.frombuffer(bytearray(value), dtype=torch.uint8) if name == "set_rng_state" else value
        )


def _random_of_numpy() -> tuple[Any, ...]:
    state: Any = np.random.get_state()
    kind, key, *rest = state
    return kind, key.tobytes(), *rest


def _set_random_of_numpy(state: tuple[Any, ...]) -> None:
    kind, key, *rest = state
    np.random.set_state((kind, np.frombuffer(key, np.uint32), *rest))


STATES: list[tuple[Callable[[], Any], Callable[[Any], object]]] = [
    (logger_state, set_logger_state),
    (_folder, _set_folder),
    (_umask, os.umask),
    (_environment, _set_environment),
    (lambda: [signal.getsignal(number) for number in SIGNALS], _set_handlers),
    (_limits_of_pillow, _set_limits_of_pillow),
    (_threads, _set_threads),
    (lambda: threads._most, threads.limit_threads),
    (_torch, _set_torch),
    (np.geterr, lambda state: np.seterr(**state)),
    (lambda: locale.setlocale(locale.LC_ALL), lambda state: locale.setlocale(locale.LC_ALL, state)),
    (random.getstate, random.setstate),
    (_random_of_numpy, _set_random_of_numpy),
    (lambda: list(sys.path), lambda state: sys.path.__setitem__(slice(None), state)),
    (lambda: kernel_files._shared, kernel_files.share),
]
"""How a state of the process is read, and how it is set."""


@contextmanager
def process_kept() -> Iterator[None]:
    """What is changed of the process within the block, and is not undone there, is undone behind it."""
    before = [read() for read, _ in STATES]
    yield
    for (read, write), state in zip(STATES, before, strict=True):
        if state != {} and read() != state:
            write(state)
