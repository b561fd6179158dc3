"""A real browser, Debian's chromium without a window, and what every page owes its readers."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
MISSING = (
    "chromium is not installed" if CHROMIUM is None else "chromedriver is not installed" if DRIVER is None
    else "selenium is not installed" if find_spec("selenium") is None else ""
)  # fmt: skip
"""Why there is no browser; empty where there is one."""
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--disable-default-apps",
)
WIDTHS = (400, 1400)
CONTROLS = "a[href], button, input, select, summary, [tabindex='0']"
MOST_TABS = 60
"""More controls than that are not gone through by the keyboard."""

FAULTS = """
const faults = [];
const all = (selector) => [...document.querySelectorAll(selector)];
if (all("h1").length !== 1) faults.push(`${all("h1").length} h1`);
if (!document.documentElement.lang) faults.push("no language");
for (const image of all("img")) {
  if (!image.getAttribute("alt")) faults.push(`no alt text: ${image.outerHTML.slice(0, 80)}`);
  if (image.src && image.complete && !image.naturalWidth) faults.push("an image that is none");
}
for (const drawing of all("svg")) {
  const isImage = drawing.getAttribute("role") === "img";
  if (isImage && !drawing.getAttribute("aria-label")) faults.push("a drawing without words");
}
for (const table of all("table")) {
  if (!table.querySelector("thead th[scope=col]")) faults.push("a table without headers");
}
for (const control of all("input, select")) {
  if (!control.labels.length && !control.getAttribute("aria-label")) faults.push(`no label: ${control.outerHTML}`);
}
const ids = all("[id]").map((element) => element.id);
for (const id of new Set(ids)) if (ids.filter((other) => other === id).length > 1) faults.push(`twice: ${id}`);
return faults;
"""


class Browser:
    """A browser that opens pages from files and tells what is wrong with them."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, path: Path, width: int = 1400, dark: bool = False) -> None:
        """Open a page in a window so wide; what earlier pages logged is forgotten."""
        for kind in ("browser", "performance"):
            self.driver.get_log(kind)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        self.resize(width)
        self.driver.get(path.as_uri())

    def resize(self, width: int, height: int = 900) -> None:
        """Make the window so large."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def run(self, script: str, *arguments: Any) -> Any:
        """The value that a script returns."""
        return self.driver.execute_script(script, *arguments)

    def press(self, key: str) -> None:
        """Press a key where the focus is."""
        self.driver.switch_to.active_element.send_keys(key)

    def point_at(self, selector: str, across: float, down: float) -> None:
        """Move the pointer to a place in an element, in shares of its width and height."""
        box = self.run("return document.querySelector(arguments[0]).getBoundingClientRect().toJSON();", selector)
        x, y, width, height = (box[name] for name in ("x", "y", "width", "height"))
        event = {"type": "mouseMoved", "x": x + across * width, "y": y + down * height}
        self.driver.execute_cdp_cmd("Input.dispatchMouseEvent", event)

    def wait_for(self, script: str, part: str) -> str:
        """The text that a script returns, once this is a part of it."""
        end = time.monotonic() + 120
        while part not in (found := str(self.run(script))):
            assert time.monotonic() < end, found
            time.sleep(0.05)
        return found

    def wait_until(self, script: str) -> None:
        """Wait until a script returns true."""
        self.wait_for(script, "True")

    def messages(self) -> list[str]:
        """What the console says of the page, warnings of its policy among it."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """What the page asked for beside itself."""
        entries = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        sent = [entry["params"] for entry in entries if entry["method"] == "Network.requestWillBeSent"]
        own = self.driver.current_url
        urls = [event["request"]["url"] for event in sent if event["documentURL"] == own]
        assert own in urls, "the log of requests is empty"
        return [url for url in urls if url != own and not url.startswith("data:")]

    def unreached(self) -> list[str]:
        """The controls that the key Tab does not come to."""
        from selenium.webdriver.common.keys import Keys

        script = """
            document.activeElement.blur();
            const all = [...document.querySelectorAll(arguments[0])].filter((e) => e.checkVisibility() && !e.disabled);
            for (const element of all) element.dataset.reached = 'no';
            document.addEventListener('focusin', (event) => { event.target.dataset.reached = 'yes'; });
            return all.length;
        """
        count = self.run(script, CONTROLS)
        if count > MOST_TABS:
            return []
        self.driver.switch_to.active_element.send_keys(Keys.TAB * count)
        return list(self.run("return [...document.querySelectorAll('[data-reached=no]')].map((e) => e.outerHTML);"))

    def overflow(self) -> int:
        """Pixels by which the page is wider than its window."""
        return int(self.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth;"))


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A browser with an empty profile of its own."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    try:
        yield Browser(driver)
    finally:
        driver.quit()


def check_page(browser: Browser, path: Path) -> None:
    """What every page owes: no word on the console, no request, nothing beyond a narrow or wide window, controls that
    the keyboard reaches, words for pictures, headers of tables."""
    for width in WIDTHS:
        browser.open(path, width, dark=width == WIDTHS[0])
        assert browser.run(FAULTS) == []
        assert browser.overflow() <= 0, f"the page is too wide for {width} pixels"
        assert browser.unreached() == []
        assert browser.requests() == []
        assert browser.messages() == []
