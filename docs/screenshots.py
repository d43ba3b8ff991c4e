"""Pictures of the query panel in its main states, light and dark, wide and narrow: `make screenshots`.

They are written to screenshots/, which git ignores, to be looked at after a change of the page. Two of
them go to docs/, for the README.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from copier import run_copy
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.cli.conftest import CM, Server
from tests.conftest import REPOSITORY, snapshot
from tests.panel.conftest import BROWSERS, choose, free_port, run, view, write, write_module
from tests.panel.test_event import ORDER

FOLDER = REPOSITORY / "screenshots"
SEARCH = {"partition": "pumps", "query": "centrifugal pump", "limit": 8}
WIDE, LAPTOP, NARROW = (1600, 950), (1440, 800), (390, 844)
Size = tuple[int, int]


def main() -> None:
    """Take all pictures."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        sys.exit(f"needs a browser: {', '.join(BROWSERS)}")
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name, sync_playwright() as driver:
        folder = Path(name)
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        template = snapshot(folder / "template", "v1000.0.0")
        _of_the_search(browser, template, folder)
        _of_each_state(browser, folder)
        _of_a_pipeline(browser, template, folder)
        browser.close()


def _of_the_search(browser: Browser, template: Path, folder: Path) -> None:
    """The module with the default answers, as the README shows it."""
    module = folder / "parts-search"
    run_copy(str(template), module, defaults=True, quiet=True)
    with _served(module, "--replicas", "2", "--concurrency", "4") as server:
        with _page(browser, server.panel, LAPTOP, "light") as page:
            _wait_for_findings(page)
            for query in ("seal", "gear pump", "hydraulic filter", "pump, centrifugal", "bearing"):
                write(page, json.dumps({**SEARCH, "query": query}))
                run(page)
            write(page, json.dumps({**SEARCH, "partition": "PUMPS"}))
            run(page, "Failed")
            _load_event(page)
            run(page)
            view(page, "Table")
            page.get_by_role("tab", name="Form").click()
            page.get_by_label("Search the logs").fill("cmkit")
            page.wait_for_timeout(1500)
            _take(page, "search-light", docs="panel-light.png")
        with _page(browser, server.panel, LAPTOP, "dark") as page:
            page.locator(".call", has=page.locator(".state.bad")).first.click()
            page.locator(".failure").wait_for()
            page.get_by_role("tab", name="Form").click()
            page.get_by_role("button", name="Logs of this call").click()
            page.wait_for_timeout(1500)
            _take(page, "search-dark", docs="panel-dark.png")


def _load_event(page: Page) -> None:
    page.locator(".menu").filter(has_text="Event").locator("summary").click()
    page.get_by_role("button", name="events/search.json").click()
    expect(page.get_by_label("The event as JSON")).to_have_value(re.compile('"limit": 3'))


def _of_each_state(browser: Browser, folder: Path) -> None:
    """The module of the tests, in the states that a page can be in."""
    module = write_module(folder / "orders")
    with _served(module, "--replicas", "2") as server:
        for theme in ("light", "dark"):
            with _page(browser, server.panel, WIDE, theme) as page:
                _calls(page, theme)
            with _page(browser, server.panel, NARROW, theme) as page:
                for button in ("Call", "History", "Live", "Logs"):
                    page.locator(".views").get_by_role("button", name=button).click()
                    page.wait_for_timeout(300)
                    _take(page, f"narrow-{button.lower()}-{theme}")
        app = module / "src/app.py"
        app.write_text("import no_such_package\n" + app.read_text())
        with _page(browser, server.panel, WIDE, "light", wait=False) as page:
            expect(page.locator(".phase")).to_have_text("Not running", timeout=30_000)
            _take(page, "crashed-light")


def _calls(page: Page, theme: str) -> None:
    def take(name: str) -> None:
        _take(page, f"{name}-{theme}")

    _wait_for_findings(page)
    choose(page, "price")
    page.get_by_role("tab", name="Form").click()
    take("form")
    write(page, json.dumps({**ORDER, "customer": "nobody"}))
    run(page, "Failed")
    take("failed")
    choose(page, "embed")
    write(page, json.dumps({"texts": ["one", "two", "three"]}))
    run(page)
    view(page, "Tree")
    take("vectors")
    choose(page, "detect")
    page.get_by_role("tab", name="Form").click()
    page.get_by_role("button", name="Add an image").click()
    page.wait_for_timeout(500)
    take("picker")
    page.get_by_role("button", name="parts.png").click()
    page.get_by_role("button", name="Remove item 0").click()
    run(page)
    page.wait_for_timeout(500)
    take("images")
    choose(page, "count")
    write(page, '{"items": 6, "seconds": 0.5}')
    page.keyboard.press("Control+Enter")
    page.wait_for_timeout(1700)
    take("stream")
    expect(page.locator(".result .badge")).to_have_text("OK")
    write(page, '{"items": 5, "seconds": 0}')
    run(page)
    view(page, "Compare")
    page.wait_for_timeout(500)
    take("compare")
    page.locator(".findings").click()
    take("findings")


def _of_a_pipeline(browser: Browser, template: Path, folder: Path) -> None:
    module = folder / "clean-orders"
    answers = {"execution_mode": "pipeline", "example": "blank"}
    run_copy(str(template), module, data=answers, defaults=True, quiet=True)
    (module / "data/input/more.jsonl").write_text('{"text": "a"}\n{"text": 5}\nno JSON\n' * 40)
    port = free_port()
    words = [CM, "run", "--follow", "--port", "0", "--panel-port", str(port)]
    process = subprocess.Popen(words, cwd=module, stderr=subprocess.DEVNULL)
    try:
        time.sleep(5)
        for theme in ("light", "dark"):
            with _page(browser, f"http://127.0.0.1:{port}", WIDE, theme, wait=False) as page:
                expect(page.locator(".phase")).to_have_text("At rest", timeout=30_000)
                page.locator(".look table").wait_for()
                _take(page, f"pipeline-{theme}")
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def _served(folder: Path, *args: str) -> Iterator[Server]:
    server = Server(folder, *args)
    try:
        server.wait_for("next: cm call", seconds=60)
        yield server
    finally:
        server.stop()


@contextmanager
def _page(
    browser: Browser, address: str, size: Size, theme: str, *, wait: bool = True
) -> Iterator[Page]:
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if theme == "dark" else "light",
    )
    page = context.new_page()
    page.goto(address)
    if wait:
        page.locator(".function").first.wait_for(state="attached")
    yield page
    context.close()


def _wait_for_findings(page: Page) -> None:
    expect(page.locator(".findings")).to_contain_text(re.compile("finding|notice"), timeout=60_000)


def _take(page: Page, name: str, *, docs: str = "") -> None:
    """Write a picture, and a small copy of it where the README shows it."""
    path = FOLDER / f"{name}.png"
    page.screenshot(path=path)
    if docs:
        small = Image.open(path).convert("RGB").quantize(256, dither=Image.Dither.NONE)
        small.save(REPOSITORY / "docs" / docs, optimize=True)


if __name__ == "__main__":
    main()
