"""The panel as a person uses it: one server, and one browser with a fresh page for each test."""

from __future__ import annotations

import re
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from tests.cli.conftest import Server
from tests.conftest import REPOSITORY

PAGE = REPOSITORY / "foundry_cm/local/page"
APP = Path(__file__).parent / "app.py"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
HOSTILE_NAME = "<img src=x onerror=alert(1)>.png"
# In milliseconds: a slow machine takes its time, and nothing waits for longer than it must.
PATIENCE = 60_000
expect.set_options(timeout=PATIENCE)
SETTINGS = '[tool.foundry-cm]\npermissions = "application"\n'


def draw(path: Path) -> None:
    """A photograph of a disc and a bar."""
    image = Image.new("RGB", (120, 80), "#3a4a5a")
    pen = ImageDraw.Draw(image)
    pen.ellipse((20, 10, 60, 50), fill="#d9b44a")
    pen.rectangle((70, 40, 110, 70), fill="#7fb7c9")
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, "PNG")


def write_module(folder: Path) -> Path:
    """The module of `app.py`, with two images that it may read."""
    (folder / "src").mkdir(parents=True)
    (folder / "events").mkdir()
    shutil.copy(APP, folder / "src" / "app.py")
    (folder / "pyproject.toml").write_text(SETTINGS)
    draw(folder / "data" / "photos" / "parts.png")
    draw(folder / "data" / "photos" / HOSTILE_NAME)
    return folder


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


# For this folder alone: a playwright that is open keeps `asyncio.run` from the tests of others.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip(f"needs a browser: {', '.join(BROWSERS)}")
    with sync_playwright() as driver:
        # Without its sandbox, which root has not; it opens nothing but loopback.
        opened = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`cm serve` for the module of `app.py`, with two replicas."""
    running = Server(write_module(tmp_path_factory.mktemp("panel") / "shown"), "--replicas", "2")
    running.wait_for("next: cm call")
    yield running
    running.stop()


def is_complaint(message: ConsoleMessage) -> bool:
    """Whether it is one of the page: a browser itself reports each answer above 399."""
    return message.type == "error" and not message.text.startswith("Failed to load resource")


Open = Callable[..., Page]


@pytest.fixture
def opened(browser: Browser) -> Iterator[Open]:
    """Opens an address in a browser that remembers nothing; a page that complains fails the test."""
    complaints: list[str] = []
    contexts = []

    def open_page(address: str, **options: Any) -> Page:
        size = {"width": 1600, "height": 950}
        context = browser.new_context(viewport=options.pop("viewport", size), **options)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda m: complaints.append(m.text) if is_complaint(m) else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def page(server: Server, opened: Open) -> Page:
    """The page of the server, with its functions."""
    shown = opened(server.panel)
    shown.locator(".function").first.wait_for()
    return shown


def choose(page: Page, name: str) -> None:
    """Show a function."""
    page.locator(".function").filter(
        has=page.locator(".name", has_text=re.compile(f"^{re.escape(name)}$"))
    ).click()
    expect(page.locator(".title").first).to_have_text(name)


def write(page: Page, text: str) -> None:
    """Write the event as JSON."""
    page.get_by_role("tab", name="JSON").first.click()
    page.get_by_label("The event as JSON").fill(text)


def run(page: Page, ends: str = "OK") -> None:
    """Run the function by its key, and wait until it has ended."""
    page.keyboard.press("Control+Enter")
    try:
        expect(page.locator(".result .badge")).to_have_text(ends)
    except AssertionError as error:
        # What the page says of the call tells more than that it is not what was expected.
        error.add_note(page.locator(".result").inner_text())
        raise


def view(page: Page, name: str) -> None:
    """Choose a view of the result."""
    page.get_by_role("tablist", name="Views of the result").get_by_role("tab", name=name).click()
