"""Charts: numbers of axes, names and labels that lie over no other."""

from __future__ import annotations

import re

import pytest

from bbcompress.pages.charts import Chart, Series, drawn, log_ticks, short, ticks, told_apart


def test_numbers_of_an_axis_are_round() -> None:
    assert ticks(0, 10, 5) == [0, 2, 4, 6, 8, 10]
    assert ticks(1.31, 1.37, 5) == pytest.approx([1.32, 1.34, 1.36])
    assert ticks(3, 3, 5) == [3]
    assert log_ticks(0.05, 130, 20) == pytest.approx([0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100])
    assert log_ticks(0.05, 130, 4) == pytest.approx([0.1, 1, 10, 100])
    assert [short(value) for value in (0, 0.5, 1500, 2e6, 1e-5)] == ["0", "0.5", "1500", "2e6", "1e-5"]


def test_numbers_of_a_narrow_axis_are_told_apart() -> None:
    assert told_apart(ticks(1.0848, 1.0872, 5)) == ["1.0850", "1.0855", "1.0860", "1.0865", "1.0870"]
    assert told_apart(ticks(12.3456, 12.3471, 5)) == ["12.3460", "12.3465", "12.3470"]
    assert told_apart(ticks(99.9, 100, 2)) == ["99.9", "99.95", "100"]
    assert told_apart(ticks(0, 10, 5)) == ["0", "2", "4", "6", "8", "10"]
    assert told_apart(ticks(-0.2, 0.3, 5)) == ["-0.2", "-0.1", "0", "0.1", "0.2", "0.3"]
    assert told_apart(ticks(1e5, 2e5, 2)) == ["100000", "150000", "200000"]
    assert told_apart([3.0]) == ["3"] and told_apart([0.0]) == ["0"] and told_apart([]) == []


def test_long_numbers_have_room() -> None:
    """None begins left of the drawing, under the name of the axis, or ends right of it."""
    points = Series("a", [(0.0, 1.08505), (1.0, 1.08515)], marked=True)
    page = drawn(Chart("t", "x", "whole-file bits", [points], percent_of=(1.08515, "a")))
    for drawing, width in zip(page.split("<svg")[1:], (1000, 380), strict=True):
        words = re.findall(r'<text x="([\d.]+)" y="[\d.]+" text-anchor="(\w+)">(.*?)</text>', drawing)
        numbers = [(float(x), anchor, number) for x, anchor, number in words if re.fullmatch(r"[\d.]+(?: %)?", number)]
        assert {"1.08510", "100.000 %"} <= {number for _, _, number in numbers} and len(numbers) > 6
        for x, anchor, number in numbers:
            wide = len(number) * 13 * 0.58
            assert x - wide > 20 if anchor == "end" else x + wide / (2 if anchor == "middle" else 1) <= width


def test_epochs_are_whole_numbers() -> None:
    page = drawn(Chart("t", "epoch", "y", [Series("a", [(1.0, 2.0)])], x_is_whole=True))
    assert "1.02" not in page and page.count('text-anchor="middle">1</text>') == 2


def test_the_gap_is_shaded_where_both_lines_are() -> None:
    train = Series("train", [(float(x), 3.0 - 0.1 * x) for x in range(1, 11)])
    test = Series("test", [(5.0, 2.6), (10.0, 2.4)], "c1")
    page = drawn(Chart("t", "x", "y", [train, test], gap=(0, 1)))
    (wide, _) = re.findall('<polygon class="gap" points="(.*?)"', page)
    assert len(wide.split()) == 6 + 2  # from epoch 5 on, and back


def test_markup_in_names_is_text_and_odd_numbers_are_drawn() -> None:
    series = [
        Series("<b>", [(1.0, 1.0)], told=["<b>\nb"]),
        Series("none", []),
        Series("flat", [(1.0, 2.0), (2.0, 2.0)]),
    ]
    page = drawn(Chart('"<i>', "x", "y", series, percent_of=(2.0, "flat"), note="<u>"))
    assert 'data-t="&lt;b&gt;&#10;b"' in page
    assert not re.search("<[biu]>", page) and "nan" not in page and "inf" not in page.replace("info", "")
