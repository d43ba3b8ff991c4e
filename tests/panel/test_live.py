"""What happens while the page is open: logs, replicas that die, a server that ends and comes back."""

from __future__ import annotations

import json
import re
from pathlib import Path

from playwright.sync_api import Page, expect

from foundry_cm.local.panel.logs import LogStore
from foundry_cm.local.panel.recorder import Recorder
from tests.cli.conftest import Server
from tests.panel.conftest import Open, choose, free_port, run, write, write_module
from tests.panel.test_event import ORDER


def test_logs_are_filtered_by_level_words_and_call(page: Page) -> None:
    choose(page, "price")
    write(page, json.dumps({**ORDER, "customer": "logged"}))
    run(page)
    write(page, json.dumps({**ORDER, "customer": "nobody"}))
    run(page, "Failed")
    lines = page.locator(".log")
    page.get_by_label("Search the logs").fill("PRICING logged")
    expect(lines).to_have_count(1)
    expect(lines.locator(".of-call")).to_have_text("price")
    page.get_by_label("Search the logs").fill("")
    page.get_by_label("Lowest level").select_option("Errors")
    expect(lines.last).to_contain_text("there is no customer nobody")
    expect(page.locator(".log:not(.l-error)")).to_have_count(0)
    page.get_by_label("Lowest level").select_option("All lines")
    page.get_by_role("button", name="Logs of this call").click()
    expect(page.locator(".chip")).to_contain_text("Call of price")
    expect(lines.first).to_contain_text("pricing for nobody")
    page.locator(".chip").click()
    page.get_by_label("Search the logs").fill("pricing for logged")
    page.locator(".of-call").first.click()
    expect(page.locator(".result .badge")).to_have_text("OK")


def test_a_replica_that_is_lost_is_told_with_the_reason_and_comes_back(page: Page) -> None:
    choose(page, "price")
    write(page, json.dumps({**ORDER, "customer": "deadly"}))
    run(page, "Failed")
    why = "The module exited with code 3"
    expect(page.locator(".failure .what")).to_contain_text(why)
    notice = page.locator(".notice")
    expect(notice).to_contain_text("is lost, the others go on.")
    expect(notice).to_contain_text(why)
    expect(page.locator(".phase")).to_have_text("Ready")
    expect(page.locator(".replica", has_text="responsive")).to_have_count(2)
    expect(notice).to_have_count(0)
    expect(page.locator(".replica .death")).to_contain_text("Died at")


def test_load_and_calls_are_counted_and_the_start_is_timed(page: Page) -> None:
    choose(page, "wait")
    write(page, '{"seconds": 1}')
    page.keyboard.press("Control+Enter")
    expect(page.locator(".meter-box strong")).to_have_text("0.50")
    expect(page.locator(".chart").first.locator("figcaption strong")).not_to_have_text("0")
    assert "Foundry adds a replica at 0.75" in (
        page.locator(".meter").get_attribute("aria-label") or ""
    )
    expect(page.locator(".start")).to_contain_text("Start to ready")


def test_what_cm_check_finds_is_told(page: Page, server: Server) -> None:
    button = page.locator(".findings")
    expect(button).to_have_text(re.compile(r"^\d+ (finding|notice)"))
    dockerfile = server.folder / "Dockerfile"
    dockerfile.write_text("FROM python:3.13\nUSER root\n")
    try:
        banner = page.locator(".notice", has_text="cm check: ")
        expect(banner).to_contain_text("Dockerfile:")
        banner.get_by_role("button", name="Show all").click()
        expect(page.get_by_role("dialog")).to_contain_text("Fix: ")
        page.keyboard.press("Escape")
        banner.get_by_role("button", name="Hide").click()
        expect(banner).to_have_count(0)
    finally:
        dockerfile.unlink()


def test_the_steps_of_a_start_and_the_first_call_are_kept(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recorder.started_at = lambda _replica: 7.0
    line = (
        "INFO cmkit.startup: Cold start: import 3.21 s, load 1.92 s, warm-up 0.41 s, ready 5.54 s"
    )
    recorder.printed(0, [line])
    for milliseconds in (80.0, 5.0):
        call = recorder.history.begin("f", b"{}")
        call.state, call.replica, call.milliseconds = "ok", 0, milliseconds
        recorder.ended(call)
    steps = {"import": 3.21, "load": 1.92, "warm-up": 0.41}
    assert recorder.start_of(0) == {"steps": steps, "firstCall": 80.0}
    recorder.started_at = lambda _replica: 8.0
    assert recorder.start_of(0) is None


def test_a_traceback_behind_a_note_is_an_error_of_its_own() -> None:
    store = LogStore()
    lines = [
        "INFO app: stopped",
        "Traceback (most recent call last):",
        '  File "a.py", line 1',
        "E",
    ]
    store.add(
        0, [*lines, "ERROR app: bad", *lines[1:], "WARNING app: old", *lines[1:], "INFO app: on"]
    )
    levels = [line.level for line in store.before(100)]
    assert levels == ["info", *["error"] * 7, *["warning"] * 4, "info"]


def test_the_page_outlives_its_server_and_the_history_too(opened: Open, tmp_path: Path) -> None:
    port = str(free_port())
    folder = write_module(tmp_path / "again")
    app = folder / "src/app.py"
    text = app.read_text()
    app.write_text("1 / 0\n" + text)
    first = Server(folder, "--panel-port", port)
    first.wait_for("ZeroDivisionError")
    page = opened(f"http://127.0.0.1:{port}")
    expect(page.locator(".phase")).to_have_text("Not running")
    expect(page.locator(".notice")).to_contain_text("ZeroDivisionError: division by zero")
    expect(page.locator(".notice a")).to_have_text(["src/app.py:1", "src/app.py:1"])
    app.write_text(text)
    expect(page.locator(".phase")).to_have_text("Ready")
    choose(page, "wait")
    write(page, '{"seconds": 0.02}')
    run(page)
    first.stop()
    expect(page.locator(".phase")).to_have_text("Not connected")
    expect(page.locator(".notice")).to_contain_text("cm serve")
    history = folder / ".cm/history.jsonl"
    assert history.stat().st_mode & 0o777 == 0o600
    second = Server(folder, "--panel-port", port)
    try:
        expect(page.locator(".phase")).to_have_text("Ready")
        expect(page.locator(".call")).to_have_count(1)
        run(page)
        expect(page.locator(".call")).to_have_count(2)
    finally:
        second.stop()
