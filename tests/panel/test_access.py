"""The page by keyboard, on a narrow screen, in both themes, and for those who do not see it."""

from __future__ import annotations

import json

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.cli.conftest import Server
from tests.panel.conftest import Open, choose, run, view, write
from tests.panel.test_event import ORDER


def violations(page: Page) -> list[str]:
    """What axe finds, in a line each."""
    found = Axe().run(page).response["violations"]
    return [
        f"{each['id']}: {node['html'][:200]} {node['any'][:1]}"
        for each in found
        for node in each["nodes"]
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(server: Server, opened: Open, theme: str) -> None:
    page = opened(server.panel, color_scheme=theme, reduced_motion="reduce", bypass_csp=True)
    choose(page, "price")
    write(page, json.dumps({**ORDER, "customer": "nobody"}))
    run(page, "Failed")
    page.get_by_role("tab", name="Form").click()
    assert violations(page) == []
    write(page, json.dumps(ORDER))
    run(page)
    view(page, "Table")
    page.locator(".log").first.click()
    assert violations(page) == []
    choose(page, "detect")
    page.get_by_role("tab", name="Form").click()
    page.get_by_role("button", name="Add an image").click()
    assert violations(page) == []
    page.get_by_role("button", name="parts.png").click()
    run(page)
    page.locator(".menu").filter(has_text="Copy as").locator("summary").click()
    assert violations(page) == []
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Settings").click()
    assert violations(page) == []


def test_the_theme_is_chosen_and_remembered(page: Page, server: Server) -> None:
    def ground() -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    before = ground()
    page.get_by_role("button", name="Switch to").click()
    chosen = ground()
    assert chosen != before
    page.reload()
    page.locator(".function").first.wait_for()
    assert ground() == chosen


def test_everything_is_reached_by_keyboard(page: Page) -> None:
    choose(page, "wait")
    write(page, '{"seconds": 0}')
    run(page)
    page.locator("body").focus()
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("f")
    expect(page.locator(".function").first).to_be_focused()
    page.keyboard.press("e")
    expect(page.get_by_label("The event as JSON")).to_be_focused()
    page.keyboard.press("Control+Enter")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("h")
    expect(page.locator("#history-list")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.locator(".call[aria-selected=true]")).to_have_count(1)
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("/")
    expect(page.get_by_label("Search the logs")).to_be_focused()
    page.keyboard.type("f")
    expect(page.get_by_label("Search the logs")).to_have_value("f")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("run the function")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_role("tab", name="JSON").first.focus()
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("tab", name="Form")).to_be_focused()


def test_a_line_of_the_log_is_read_in_full_by_keyboard(page: Page) -> None:
    choose(page, "price")
    write(page, json.dumps({**ORDER, "customer": "keyboard"}))
    run(page)
    page.get_by_label("Search the logs").fill("for keyboard")
    expect(page.locator(".log")).to_have_count(1)
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(page.get_by_role("listbox", name="Log lines")).to_be_focused()
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    detail = page.get_by_role("region", name="A line of the log")
    expect(detail).to_contain_text("pricing for keyboard")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Show the call of price")).to_be_focused()
    page.keyboard.press("Escape")
    expect(detail).to_be_hidden()
    expect(page.get_by_role("listbox", name="Log lines")).to_be_focused()


@pytest.mark.parametrize("width", [390, 820, 1100])
def test_a_narrow_screen_has_everything_and_scrolls_one_way(
    server: Server, opened: Open, width: int
) -> None:
    size = {"width": width, "height": 844}
    page = opened(server.panel, viewport=size, reduced_motion="reduce", bypass_csp=True)
    page.locator(".top .phase").wait_for()
    for name in ["Call", *(["History"] if width < 860 else []), "Live", "Logs"]:
        page.locator(".views").get_by_role("button", name=name).click()
        pane = {"Call": ".request", "History": ".rail", "Live": ".live", "Logs": ".logs"}[name]
        expect(page.locator(pane)).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert violations(page) == []
