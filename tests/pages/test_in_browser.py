"""Each page, made by its command, in a real browser: one for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_for_tests import MISSING, Browser, browser, check_page
from click.testing import CliRunner
from models_for_tests import MODELS

from bbcompress.cli import main

pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING or "there is a browser")

DATA = Path(__file__).resolve().parents[1] / "data"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(autouse=True)
def tiny_models_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BBC_MODELS", str(MODELS))


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
