"""Properties that are computed once, without a lock that a fork would leave held."""

from __future__ import annotations

from dataclasses import dataclass

from bbcompress.lazy import cached_property


@dataclass(frozen=True)
class Doubled:
    number: int

    @cached_property
    def twice(self) -> list[int]:
        """A new list each time that it is computed."""
        return [2 * self.number]


def test_computed_once_and_without_a_lock() -> None:
    one, other = Doubled(3), Doubled(4)
    assert one.twice == [6] and other.twice == [8]
    assert one.twice is one.twice
    assert Doubled.twice.__doc__ == "A new list each time that it is computed."
    assert not hasattr(vars(Doubled)["twice"], "lock")
