"""What became of a call, and finding it again."""

from __future__ import annotations

import json
from typing import Any
from urllib.request import Request, urlopen

from playwright.sync_api import Page, expect

from tests.cli.conftest import Server
from tests.panel.conftest import Open, choose, run, view, write
from tests.panel.test_event import ORDER


def test_a_list_of_records_is_a_tree_and_a_table_that_sorts(page: Page) -> None:
    choose(page, "price")
    write(page, json.dumps(ORDER))
    run(page)
    expect(page.locator(".tree")).to_contain_text("2 items")
    view(page, "Table")
    cells = page.locator(".result tbody td:nth-child(2)")
    expect(cells).to_have_text(["b", "a"])
    page.get_by_role("button", name="total").click()
    expect(cells).to_have_text(["b", "a"])
    page.get_by_role("button", name="total").click()
    expect(cells).to_have_text(["a", "b"])
    expect(page.get_by_role("columnheader", name="total")).to_have_attribute(
        "aria-sort", "descending"
    )


def test_time_and_size_are_told_in_their_parts(page: Page) -> None:
    choose(page, "wait")
    write(page, '{"seconds": 0.2}')
    run(page)
    facts = page.locator(".facts")
    for word in ("queue", "handler", "transfer", "in", "out", "100 MB each way", "replica"):
        expect(facts).to_contain_text(word)
    handler = facts.locator("dl > div", has_text="handler").locator("dd").inner_text()
    assert 200 <= float(handler.removesuffix(" ms")) < 900


def test_a_vector_is_its_dimension_and_a_plot(page: Page) -> None:
    choose(page, "embed")
    run(page)
    view(page, "Tree")
    vector = page.locator(".vector")
    expect(vector).to_contain_text("384 numbers")
    assert "384 numbers from" in (vector.locator("svg").get_attribute("aria-label") or "")
    assert len(vector.inner_text()) < 100
    view(page, "Table")
    expect(page.locator(".result td .vector")).to_contain_text("[384]")


def test_a_failed_call_links_the_frames_of_ones_own_code(page: Page, server: Server) -> None:
    choose(page, "price")
    write(page, json.dumps({**ORDER, "customer": "nobody"}))
    run(page, "Failed")
    expect(page.locator(".failure .what")).to_have_text("ValueError: there is no customer nobody")
    app = server.folder / "src/app.py"
    line = (
        app.read_text()
        .splitlines()
        .index('        raise ValueError("there is no customer nobody")')
        + 1
    )
    expect(page.locator(".failure")).to_contain_text("Error code HandlerFailed")
    link = page.locator(".failure a").first
    expect(link).to_have_text(f"src/app.py:{line}")
    expect(link).to_have_attribute("href", f"vscode://file{app}:{line}")
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Open files in").select_option("PyCharm")
    expect(link).to_have_attribute(
        "href", f"pycharm://open?file={str(app).replace('/', '%2F')}&line={line}"
    )
    page.get_by_label("Open files in").select_option("No links")
    expect(page.locator(".failure a")).to_have_count(0)


def test_a_running_call_is_shown_as_that_and_given_up(page: Page) -> None:
    choose(page, "wait")
    write(page, '{"seconds": 1.5}')
    page.keyboard.press("Control+Enter")
    expect(page.locator(".waiting")).to_contain_text("Running on replica")
    expect(page.locator(".replica", has_text="busy")).to_have_count(1)
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".result .badge")).to_have_text("Cancelled")
    expect(page.locator(".call").first).to_contain_text("The caller went away before the answer")


def test_the_items_of_a_stream_are_seen_as_they_arrive(page: Page) -> None:
    choose(page, "count")
    write(page, '{"items": 3, "seconds": 0.6}')
    page.keyboard.press("Control+Enter")
    expect(page.locator(".result-body")).to_contain_text("1 item so far")
    expect(page.locator(".result-body pre")).to_have_text("item 0; ")
    expect(page.locator(".result-body")).to_contain_text("2 items so far")
    expect(page.locator(".result .badge")).to_have_text("OK")
    expect(page.locator(".tree")).to_contain_text("item 2; ")


def test_the_news_of_a_call_is_told_in_lines_of_json(server: Server) -> None:
    def told(name: str, event: str, query: str) -> list[dict[str, Any]]:
        url = f"{server.panel}/api/functions/{name}/invoke{query}"
        accepted = {"Accept": "application/x-ndjson"}
        with urlopen(Request(url, event.encode(), accepted)) as answer:
            return [json.loads(line) for line in answer]

    whole = told("count", '{"items": 2, "seconds": 0}', "?most=100")
    assert [next(iter(news)) for news in whole] == ["call", "started", "item", "item", "result"]
    assert whole[-1]["result"] == ["item 0; ", "item 1; "]
    assert "result" not in told("count", '{"items": 2, "seconds": 0}', "")[-1]
    assert told("count", '{"items": 2, "seconds": 0}', "?most=5")[-1]["tooLarge"] == 24
    failed = told("wait", '{"seconds": "x"}', "?most=5")[-1]
    assert (failed["error"]["code"], failed["about"]["eventBytes"]) == ("InvalidEvent", 16)


def test_the_history_finds_a_call_again_and_makes_it_once_more(
    page: Page, opened: Open, server: Server
) -> None:
    choose(page, "wait")
    write(page, '{"seconds": 0.01}')
    run(page)
    later = opened(server.panel)
    later.locator(".call").first.click()
    expect(later.locator(".title").first).to_have_text("wait")
    expect(later.locator(".tree")).to_have_text("done")
    assert json.loads(later.get_by_label("The event as JSON").input_value()) == {"seconds": 0.01}
    before = int(later.locator(".history-head .muted").inner_text())
    later.get_by_role("button", name="Re-run").click()
    expect(later.locator(".history-head .muted")).to_have_text(str(before + 1))
    later.get_by_label("Filter the history").fill("wait ok")
    expect(later.locator(".call").first).to_contain_text("wait")
    later.get_by_label("Filter the history").fill("no such call")
    expect(later.locator(".call")).to_have_count(0)


def test_a_result_is_compared_with_the_one_before_of_the_same_event(
    page: Page, server: Server
) -> None:
    choose(page, "price")
    write(page, json.dumps({**ORDER, "tags": ["compared"]}))
    run(page)
    view(page, "Compare")
    write(page, json.dumps({**ORDER, "tags": ["other"], "lines": ORDER["lines"][:1]}))
    run(page)
    expect(page.locator(".result")).to_contain_text("with another event")
    app = server.folder / "src/app.py"
    text = app.read_text()
    try:
        app.write_text(text.replace("line.amount * line.price)", "line.amount * line.price + 1)"))
        expect(page.locator(".logs")).to_contain_text("app.py changed: the module starts again")
        expect(page.locator(".replica", has_text="responsive")).to_have_count(2)
        write(page, json.dumps({**ORDER, "tags": ["compared"]}))
        run(page)
        expect(page.locator(".result")).to_contain_text("2 differences")
        expect(page.locator(".result")).to_contain_text(
            "with the same event, before src/app.py changed."
        )
        expect(page.locator(".changes tbody tr").first).to_have_text("[0].total34 +1")
    finally:
        app.write_text(text)
        expect(page.locator(".replica", has_text="2 starts")).to_have_count(0)
        expect(page.locator(".replica", has_text="responsive")).to_have_count(2)
