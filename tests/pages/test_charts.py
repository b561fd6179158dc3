"""Charts: numbers of axes, names and labels that lie over no other."""

from __future__ import annotations

import re

import pytest

from bbcompress.pages.charts import Chart, Series, drawn, log_ticks, short, ticks


def test_numbers_of_an_axis_are_round() -> None:
    assert ticks(0, 10, 5) == [0, 2, 4, 6, 8, 10]
    assert ticks(1.31, 1.37, 5) == pytest.approx([1.32, 1.34, 1.36])
    assert ticks(3, 3, 5) == [3]
    assert log_ticks(0.05, 130, 20) == pytest.approx([0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100])
    assert log_ticks(0.05, 130, 4) == pytest.approx([0.1, 1, 10, 100])
    assert [short(value) for value in (0, 0.5, 1500, 2e6, 1e-5)] == ["0", "0.5", "1500", "2e6", "1e-5"]


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
