"""Many cases that say one thing, as one test that names every case that fails."""

from __future__ import annotations

import functools
import inspect
import itertools
import reprlib
from collections.abc import Callable, Iterable
from typing import Any

import pytest

Test = Callable[..., None]
FAILURES = (Exception, pytest.fail.Exception)


def _name(value: Any) -> str:
    return getattr(value, "__name__", None) or reprlib.repr(value)


def one_test_of(names: str | tuple[str, ...], values: Iterable[Any]) -> Callable[[Test], Test]:
    """As `pytest.mark.parametrize`, but one test goes through all cases, whichever of them fail.

    Decorators of one function multiply their cases, the lowest one going fastest. Other arguments are fixtures, which
    all cases share. The failure names each case that failed; the first one's traceback lies above it.
    """
    cases = [{names: value} if isinstance(names, str) else dict(zip(names, value, strict=True)) for value in values]
    assert cases

    def decorate(test: Test) -> Test:
        body: Test = getattr(test, "body", test)
        every = [outer | inner for outer, inner in itertools.product(cases, getattr(test, "cases", [{}]))]

        @functools.wraps(body)
        def through_all(**fixtures: Any) -> None:
            failed, first = [], None
            for case in every:
                try:
                    body(**case, **fixtures)
                except FAILURES as error:
                    first = first or error
                    named = ", ".join(f"{name}={_name(value)}" for name, value in case.items())
                    failed.append(f"{named}: {type(error).__name__}: {str(error).partition(chr(10))[0]}")
            if first:
                raise AssertionError("\n".join([f"{len(failed)} of {len(every)} cases fail:", *failed])) from first

        signature = inspect.signature(body)
        fixtures = [parameter for name, parameter in signature.parameters.items() if name not in every[0]]
        through_all.__signature__ = signature.replace(parameters=fixtures)  # type: ignore[attr-defined]
        through_all.body, through_all.cases = body, every  # type: ignore[attr-defined]
        return through_all

    return decorate
