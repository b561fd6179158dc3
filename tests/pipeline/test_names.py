"""Names of the files that images become: always distinct, always possible."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from cases_for_tests import one_test_of
from hypothesis import given, settings
from hypothesis import strategies as st

from bbcompress.archive.names import name_fault
from bbcompress.errors import BBCError
from bbcompress.pipeline import names as module
from bbcompress.pipeline.names import (
    MAX_DEPTH,
    NameLimits,
    image_names,
    list_names,
    lone_name,
    odd_names,
    simple_name,
)
from bbcompress.system.output import NewFolder
from bbcompress.system.windows import windows_name


@one_test_of(
    ("name", "expected"),
    [
        ("a/b.png", "a/b.png"),
        ("a:b.png", "a_b.png"),
        ("<x>/?*|.png", "_x_/___.png"),
        ("tab\t/a .png", "tab_/a .png"),
        ("dots./a.", "dots_/a_"),
        ("con.png", "_con.png"),
        ("aux/lpt1.tar.gz", "_aux/_lpt1.tar.gz"),
        ("console.png", "console.png"),
    ],
)
def test_names_for_windows(name: str, expected: str) -> None:
    assert windows_name(name) == expected
    assert windows_name(expected) == expected
    assert bool(list(odd_names([name]))) == (name != expected)


def test_names_that_differ_only_in_case_are_told_of() -> None:
    (line,) = odd_names(["b.png", "a/A.png", "A/a.png", "c.png"])
    assert line.startswith("2 names differ only in case or in how Unicode composes a letter, such as 'a/A.png'")
    (line,) = odd_names(["e\u0301.png", "\u00e9.png"])
    assert line.startswith("2 names differ only in case or in how Unicode composes a letter, such as 'e\u0301.png'")
    assert list(odd_names(["a.png", "b.png"])) == []


@one_test_of(
    ("names", "expected"),
    [
        ([], []),
        ([None, None], ["00000.png", "00001.png"]),
        (["a.png", "b.PNG", "c.jpg", "d", "e/f.tar.gz"], ["a.png", "b.PNG", "c.png", "d.png", "e/f.tar.png"]),
        (["a.png", "a.jpg"], ["a.png", "a.jpg.png"]),
        (["a.jpg", "a.png"], ["a.jpg.png", "a.png"]),
        (["a.jpg", "A.bmp"], ["a.png", "A.bmp.png"]),
        (["a.png", "a.jpg", "a.jpg.png"], ["a.png", "a.jpg-2.png", "a.jpg.png"]),
        (["a.png", "a.jpg", "a.jpg.png", "a.jpg-2.png"], ["a.png", "a.jpg-3.png", "a.jpg.png", "a.jpg-2.png"]),
        ([None, "00000.png", "00000"], ["00000-2.png", "00000.png", "00000-3.png"]),
        (["a.d/b", "a.d/b.jpg"], ["a.d/b.png", "a.d/b.jpg.png"]),
        ([".png", ".jpg", "é.jpeg"], [".png", ".jpg.png", "é.png"]),
        (["x.png/inner.png", "x.bmp"], ["x.png/inner.png", "x.bmp.png"]),
        (["X.PNG/inner.png", "x.bmp"], ["X.PNG/inner.png", "x.bmp.png"]),
        (["x.png/inner.png", "x.png"], ["x.png/inner.png", "x-2.png"]),
        (
            ["x.png", "x.png/inner.png", "x-2.png", "x-3.png/a"],
            ["x-4.png", "x.png/inner.png", "x-2.png", "x-3.png/a.png"],
        ),
        (["a", "a/b", "a/b/c"], ["a.png", "a/b.png", "a/b/c.png"]),
        (["a.png", "a.png/b.png", "a.png/b.png/c"], ["a-2.png", "a.png/b-2.png", "a.png/b.png/c.png"]),
        ([None, "00000.png/a"], ["00000-2.png", "00000.png/a.png"]),
        (["\u00e9.jpg", "e\u0301.bmp"], ["\u00e9.png", "e\u0301.bmp.png"]),
        (["\u00df.png", "SS.jpg"], ["\u00df.png", "SS.jpg.png"]),
        (["a..", "...", "..a", "a/.b"], ["a..png", "....png", "..a.png", "a/.b.png"]),
        ([f"{'a' * 255}", f"{'a' * 251}.png"], [f"{'a' * 249}-2.png", f"{'a' * 251}.png"]),
        ([f"{'é' * 200}/{'b' * 255}.png"], [f"{'é' * 127}/{'b' * 251}.png"]),
        ([f"{'é' * 200}/a.png", f"{'é' * 300}/a.png"], [f"{'é' * 127}/a.png", f"{'é' * 127}/a-2.png"]),
        (["/".join("f" * 300) + "/a"], ["/".join("f" * 100) + "/a.png"]),
    ],
)
def test_image_names(names: list[str | None], expected: list[str]) -> None:
    assert image_names(names) == expected


def test_each_may_have_a_suffix_of_its_own() -> None:
    long = ".x" + "é" * 150
    names = ["a.0001", "b.0002", "b.0002/c", "d" * 255 + ".0003", f"e{long}"]
    suffixes = [".0001", ".0002", "", ".0003", long]
    result = image_names(names, suffixes)
    assert result == ["a.0001", "b-2.0002", "b.0002/c", f"{'d' * 250}.0003", f"e{'.x' + 'é' * 5}"]


def test_image_names_are_distinct() -> None:
    stems = ["a", "a.jpg", "a.jpg-2", "a.bmp", "00000", "00003", "A"]
    wanted = [stem + suffix for stem in stems for suffix in ("", ".png", ".jpg", ".PNG")]
    names = image_names([None, *wanted, None])
    lower = [name.lower() for name in names if name.lower() not in [name.lower() for name in wanted]]
    assert len(set(names)) == len(names)
    assert len(set(lower)) == len(lower)  # of ours none differ only in case
    assert [name for name in wanted if name.lower().endswith(".png")] == [name for name in names if name in wanted]


def test_so_many_names_are_refused() -> None:
    """A forged archive of a few bytes may claim billions."""
    forged: Any = range(1 << 31)
    for function in (image_names, list_names):
        with pytest.raises(BBCError, match="at most"):
            function(forged)


PARTS = st.one_of(
    st.sampled_from(["a", "A", "a.png", "a.PNG", "a.jpg", "a.jpg-2", "a-2.png", "ß", "ss", "00000"]),
    st.sampled_from(["\u00e9.png", "e\u0301.png"]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\\\0"), min_size=1, max_size=6),
    st.builds(lambda letter, count, end: letter * count + end, st.sampled_from("aé日"), st.integers(80, 300),
              st.sampled_from(["", ".png", ".jpg", "b"])),
)  # fmt: skip
NAMES = st.lists(PARTS, min_size=1, max_size=4).map("/".join).filter(lambda name: name_fault(name) is None)
ARCHIVES = st.lists(st.one_of(st.none(), NAMES), max_size=12).filter(
    lambda names: len(names) - names.count(None) == len({*names} - {None})
)


@given(ARCHIVES, st.sampled_from([".png", ".tiff", ".gif"]), st.sampled_from([NameLimits(), NameLimits(143, 300)]))
def test_any_names_come_out_as_that_many_files(names: list[str | None], suffix: str, limits: NameLimits) -> None:
    result = image_names(names, suffix, limits)
    assert len(result) == len({*result}) == len(names)
    folders = {name[:place] for name in result for place, c in enumerate(name) if c == "/"}
    assert not folders & {*result}
    for given_name, name in zip(names, result, strict=True):
        assert name_fault(name) is None
        assert name.lower().endswith(suffix)
        assert max(len(part.encode()) for part in name.split("/")) <= limits.part
        assert len(name.encode()) <= limits.whole
        if given_name is not None and name == given_name:
            continue
        assert [folded(other) for other in result].count(folded(name)) == 1  # what is changed is safe everywhere
        assert folded(name) not in map(folded, folders)


def folded(name: str) -> str:
    return module._folded(name)


@given(names=ARCHIVES)
def test_names_that_need_no_change_have_none(names: list[str | None]) -> None:
    result = image_names(names)
    for name, out in zip(names, result, strict=True):
        simple = None if name is None else simple_name(name, ".png")
        others = [other for other in result if other != out]
        if simple is not None and name == simple and max(len(part.encode()) for part in simple.split("/")) <= 255:
            assert out == name or any(other.startswith(f"{name}/") for other in others)


@settings(max_examples=30)
@given(ARCHIVES)
def test_any_names_can_be_brought_out(names: list[str | None]) -> None:
    """As that many files, for a folder of this system."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "out"
        with NewFolder(folder, force=False) as new:
            for number, name in enumerate(image_names(names, ".png", NameLimits.of(folder))):
                new.write(name, str(number).encode())
        found = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
        assert sorted(map(int, found)) == list(range(len(names)))


def test_the_files_can_be_made(tmp_path: Path) -> None:
    """Names at the limits of the system, in a folder that takes a part of the path."""
    folder = tmp_path / "/".join(["f" * 200] * 3)
    folder.mkdir(parents=True)
    deep = "/".join(["é" * 120] * 16)
    names = [f"{deep}/a.png", f"{deep}/b.jpg", "/".join("d" * 2000), "日" * 1000, f"{'日' * 999}.png", "x" * 4096]
    assert all(name_fault(name) is None for name in names)
    result = image_names(names, ".png", NameLimits.of(folder))
    for name in result:
        path = folder / ".bbc-12345678.tmp" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("x").close()
        assert name.count("/") <= MAX_DEPTH
    assert len({*result}) == len(names)


def test_limits_of_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert NameLimits.of(tmp_path).part <= 255
    shorter = NameLimits.of(tmp_path / "not" / "there")
    assert NameLimits.of(tmp_path).whole - shorter.whole == len("/not/there")
    monkeypatch.setattr(os, "pathconf", lambda place, what: {"PC_NAME_MAX": 143, "PC_PATH_MAX": 1024}[what])
    assert NameLimits.of(tmp_path).part == 143
    assert NameLimits.of(tmp_path).whole < 1024
    monkeypatch.setattr(os, "pathconf", lambda place, what: -1)
    assert NameLimits.of(tmp_path).part == 255


def test_a_lone_image_is_called_as_its_file_but_for_the_suffix(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [lone_name("a.b", suffix) for suffix in (".JPG", "", ".x:y")] == ["a.b.JPG", "a.b", "a.b.x:y"]
    assert lone_name("a" * 254, ".png") == "a" * 251 + ".png"
    assert lone_name("a.b", f".{'x' * 254}") == f"a.b.{'x' * 11}"
    monkeypatch.setattr(os, "name", "nt")
    assert [lone_name("a.b", suffix) for suffix in (".JPG", ".x:y", ".x ")] == ["a.b.JPG", "a.b.x_y", "a.b.x_"]


def test_names_for_windows_are_kept_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "name", "nt")
    assert image_names(["a:.png", "a_.png", "a?/b.png", "a_", "con"]) == [
        "a_.png",
        "a_-2.png",
        "a_/b.png",
        "a_-3.png",
        "_con.png",
    ]
