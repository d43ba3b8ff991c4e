"""How quick the page stays with 5,000 calls in its history and 100,000 lines in its log: `make bench-panel`."""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

from foundry_cm.local.panel.history import MOST_CALLS, History
from foundry_cm.local.panel.logs import MOST_LINES
from tests.cli.conftest import Server
from tests.panel.conftest import BROWSERS, choose, write_module

KEYS = "a long sentence, typed"
# From a key to the frame that shows what it did.
TYPED = """(element) => {
  window.times = [];
  element.addEventListener("keydown", () => {
    const began = performance.now();
    requestAnimationFrame(() => setTimeout(() => window.times.push(performance.now() - began)));
  });
}"""


def main() -> None:
    """Fill the history and the log, type, and print the times."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        sys.exit(f"needs a browser: {', '.join(BROWSERS)}")
    with tempfile.TemporaryDirectory() as name:
        folder = write_module(Path(name) / "full")
        _fill_history(folder)
        app = folder / "src/app.py"
        flood = f"for number in range({MOST_LINES}):\n    log.info('line %d', number)\n"
        app.write_text(app.read_text().replace("@dataclass", flood + "\n\n@dataclass", 1))
        server = Server(folder)
        try:
            server.wait_for("next: cm call", seconds=120)
            with sync_playwright() as driver:
                browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
                _measure(browser.new_page(viewport={"width": 1600, "height": 950}), server.panel)
                browser.close()
        finally:
            server.stop()


def _fill_history(folder: Path) -> None:
    history = History(folder)
    for number in range(MOST_CALLS):
        call = history.begin("wait", b'{"seconds": 0}')
        call.state, call.milliseconds, call.result = "ok", float(number % 90), '"done"'
        history.ended(call)


def _measure(page: Page, address: str) -> None:
    began = time.perf_counter()
    page.goto(address)
    page.locator(".function").first.wait_for()
    print(f"first view      {time.perf_counter() - began:6.2f} s")
    lines = page.locator(".logs .count")
    expect(lines).to_have_text(f"{MOST_LINES:,}", timeout=60_000)
    print(f"all lines there {time.perf_counter() - began:6.2f} s")
    choose(page, "price")
    page.get_by_role("tab", name="Form").click()
    fields = {
        "a field": page.get_by_label("customer"),
        "search the logs": page.get_by_label("Search the logs"),
        "filter the history": page.get_by_label("Filter the history"),
    }
    for name, field in fields.items():
        field.evaluate(TYPED)
        field.press_sequentially(KEYS, delay=30)
        page.wait_for_timeout(300)
        times = sorted(page.evaluate("window.times"))
        print(f"{name:<20} p50 {statistics.median(times):5.1f} ms, slowest {times[-1]:5.1f} ms")


if __name__ == "__main__":
    main()
