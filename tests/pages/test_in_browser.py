"""Each page, made by its command, in a real browser: one for all of them."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_for_tests import MISSING, Browser, browser, check_page
from click.testing import CliRunner
from fixtures_for_tests import tiny_models  # noqa: F401

from bbcompress.bench.peers import peers
from bbcompress.cli import main
from bbcompress.images.preview import viewed
from bbcompress.images.read import read_image
from bbcompress.pages.page import begin, end
from bbcompress.pages.pictures import png
from bbcompress.pages.sheet import CONTROLS, SCRIPTS, item_of

pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=MISSING or "there is a browser"),
    pytest.mark.usefixtures("tiny_models"),
]

DATA = Path(__file__).resolve().parents[1] / "data"


OVERLAPS = """
const boxes = [...document.querySelectorAll('.if-wide svg')].map((drawing) =>
  [...drawing.querySelectorAll('text.name, text.point')].map((e) => [e.textContent, e.getBoundingClientRect()]));
return boxes.flatMap((all) => all.flatMap(([a, p], i) => all.slice(i + 1)
  .filter(([, q]) => p.left < q.right - 1 && q.left < p.right - 1 && p.top < q.bottom - 4 && q.top < p.bottom - 4)
  .map(([b]) => `${a} and ${b}`)));
"""


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def bbc(*arguments: str | Path) -> None:
    result = CliRunner().invoke(main, [*map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output


def test_page_of_an_image(chromium: Browser, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    bbc("explain", DATA / "local" / "middle-0.png", "-m", "tiny-local", "-1", "--html", page)
    check_page(chromium, page)
    # the slider moves the cut between image and map, by the keyboard too
    chromium.run("document.getElementById('cut').focus();")
    for key in ("\ue011", "\ue014"):  # Home, then the arrow to the right
        chromium.press(key)
    assert chromium.run("return document.querySelector('.stage .over').style.clipPath;") == "inset(0px 0px 0px 1%)"
    # the map says what a pixel takes, and the figure is that of the file
    chromium.point_at(".stage .over", 0.5, 0.5)
    place = chromium.wait_for("return document.getElementById('place').textContent;", ", y ")
    assert place.startswith("x ")


def test_page_of_an_image_without_a_map(chromium: Browser, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    bbc("explain", DATA / "kept" / "two-frames.gif", "--html", page)
    check_page(chromium, page)
    assert "byte for byte" in chromium.run("return document.querySelector('.note').textContent;")


def test_page_of_an_archive(chromium: Browser, tmp_path: Path) -> None:
    """Also where a name is markup."""
    folder = tmp_path / "set"
    folder.mkdir()
    for name in ("0001", "0002", "0003", "0004"):
        shutil.copy(DATA / "digits" / "binary" / f"{name}.png", folder)
    shutil.copy(DATA / "local" / "middle-0.png", folder / "<img src=x onerror=alert(1)>.png")
    bbc("compress", folder, "-1", "-o", tmp_path / "set.bbc")
    page = tmp_path / "sheet.html"
    bbc("sheet", tmp_path / "set.bbc", "-o", page)
    check_page(chromium, page)
    names = "return [...document.querySelectorAll('.sheet li:not([hidden]) b')].map((e) => e.textContent);"
    assert set(chromium.run(names)) == {path.name for path in folder.iterdir()}
    chromium.run("const o = document.getElementById('order'); o.value = '2'; o.dispatchEvent(new Event('change'));")
    values = "return [...document.querySelectorAll('.sheet li')].map((e) => Number(e.dataset.v.split(' ')[2]));"
    assert chromium.run(values) == sorted(chromium.run(values))
    chromium.run("document.getElementById('turn').focus();")
    chromium.press(" ")
    assert chromium.run(values) == sorted(chromium.run(values), reverse=True)
    chromium.run("document.getElementById('find').focus();")
    chromium.press("IMG")
    assert chromium.run(names) == ["<img src=x onerror=alert(1)>.png"]
    assert chromium.run("return document.getElementById('count').textContent;") == "1 of 5"
    assert chromium.messages() == []


def test_page_of_ten_thousand_images(chromium: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is there, sorted and searched, and decodes the pictures that come near."""
    image = read_image(DATA / "digits" / "grey" / "0000.png")
    data = png(viewed(image))
    monkeypatch.setattr("bbcompress.pages.sheet.png", lambda _: data)  # made once: the images are one
    items = [item_of(f"{number:05}.png", image, number, 8.0 * (number * 7919 % 10_007)) for number in range(10_000)]
    page = tmp_path / "sheet.html"
    listed = f"<ul class='sheet' id='sheet'>{''.join(items)}</ul>"
    page.write_text(f"{begin('Many', SCRIPTS)}{CONTROLS}{listed}{end(SCRIPTS)}", encoding="utf-8")
    chromium.open(page)
    loaded = "return document.querySelectorAll('.sheet img[src]').length;"
    chromium.wait_until(f"{loaded[:-1]} > 0;")
    assert chromium.run(loaded) < 1000
    chromium.run("const o = document.getElementById('order'); o.value = '2'; o.dispatchEvent(new Event('change'));")
    values = chromium.run("return [...document.querySelectorAll('.sheet li')].map((e) => e.dataset.v.split(' ')[2]);")
    assert list(map(float, values)) == sorted(map(float, values))
    chromium.run("window.scrollTo(0, document.documentElement.scrollHeight);")
    chromium.wait_until("return document.querySelector('.sheet li:last-child img').src.length > 0;")
    assert chromium.run(loaded) < 2000 and chromium.messages() == []


def test_page_of_a_run(chromium: Browser, trained: Path) -> None:
    check_page(chromium, trained / "report.html")
    # a point says what it is, to those who come by the keyboard, too
    chromium.run("document.querySelector('.if-wide circle[data-t]').focus();")
    told = chromium.wait_for("return document.querySelector('.tip').textContent;", "K = ")
    assert "bits/dim" in told and not chromium.run("return document.querySelector('.tip').hidden;")
    chromium.press("\ue00c")  # Escape
    assert chromium.run("return document.querySelector('.tip').hidden;")


@pytest.mark.parametrize("options", [("-K", "0,2", "--repeat", "2"), ("-e", "1")])
def test_page_of_a_benchmark(
    options: tuple[str, ...], chromium: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "imagecodecs", None)  # the others are the same wherever the test runs
    page = tmp_path / "bench.html"
    bbc("bench", DATA / "digits" / "binary", "--images", "12", *options, "--html", page)
    check_page(chromium, page)
    told = chromium.run("return [...document.querySelectorAll('.if-wide circle[data-t]')].map((e) => e.dataset.t);")
    names = [one.split("\n")[0] for one in told]
    by_k = [f"{encoder}, K = {k}" for encoder in ("baseline", "rha") for k in (0, 2)]
    assert names == 2 * (by_k if options[0] == "-K" else ["bbc, effort 1", *(peer.label for peer in peers())])
    assert not chromium.run(OVERLAPS), "a label lies over another"
