"""What a module, a file name or a page elsewhere must not be able to do."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.cli.conftest import Server
from tests.panel.conftest import HOSTILE_NAME, PAGE, choose, run, view, write

HOSTILE = "<img src=x onerror=\"document.title='owned'\">"
SHOWN = f"{HOSTILE} red\\u001b]0;owned\\u0007 \\u202eabc"


def test_what_a_module_says_stays_text(page: Page) -> None:
    choose(page, "<b>hostile</b>")
    run(page)
    expect(page.locator(".tree")).to_contain_text(HOSTILE)
    view(page, "Table")
    expect(page.locator(".result-body")).to_contain_text(HOSTILE)
    view(page, "JSON")
    expect(page.locator(".result-body")).to_contain_text(json.dumps(HOSTILE)[1:-1])
    expect(page.locator(".result-body")).to_contain_text("\\u001b]0;owned\\u0007 \\u202eabc")
    write(page, '{"text": "raise"}')
    run(page, "Failed")
    expect(page.locator(".failure")).to_contain_text(HOSTILE)
    # As a terminal gets it: no colour, and every other escape written out.
    expect(page.locator(".log-text", has_text="ERROR app").first).to_contain_text(SHOWN)
    expect(page.locator(".call .name").first).to_have_text("<b>hostile</b>")
    choose(page, "detect")
    page.get_by_role("tab", name="Form").click()
    page.get_by_role("button", name="Add an image").click()
    expect(page.get_by_role("button", name=HOSTILE_NAME)).to_be_visible()
    page.get_by_role("button", name=HOSTILE_NAME).click()
    assert page.locator("img[onerror], b, script:not([src^='/page/'])").count() == 0
    assert "owned" not in page.title()


def test_no_text_can_become_a_part_of_the_page(server: Server, browser: Browser) -> None:
    page = browser.new_page()
    page.goto(server.panel)
    tried = "() => { try { document.body.innerHTML = '<i>x</i>'; } catch { return 'refused'; } }"
    assert page.evaluate(tried) == "refused"
    page.close()


def test_the_page_runs_its_own_files_alone(page: Page, server: Server) -> None:
    with urllib.request.urlopen(server.panel) as answer:
        policy = answer.headers["Content-Security-Policy"]
        assert "unsafe" not in policy
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    addresses = page.evaluate(
        "() => performance.getEntriesByType('resource').map((each) => each.name)"
    )
    assert {address.partition("/page/")[0].partition("/api/")[0] for address in addresses} == {
        server.panel
    }


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example.com"},
        {"Origin": "https://evil.example.com"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("GET", "/api/live"), ("GET", "/api/logs"), ("PUT", "/api/events/a.json"), ("DELETE", "/api/calls"), ("GET", "/api/data/image")])  # fmt: skip
def test_nobody_else_gets_the_page_or_its_data(
    server: Server, method: str, path: str, headers: dict[str, str]
) -> None:
    request = urllib.request.Request(
        server.panel + path, method=method, headers=headers, data=b"{}" if method == "PUT" else None
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)
    assert refused.value.code == 403
    assert (
        json.load(refused.value)["error"]["message"] == "The query panel answers this machine only."
    )


@pytest.mark.parametrize("path", ["/page/..%2faccess.py", "/page/%2e%2e/panel/app.py", "/api/events/..%2fpyproject.toml", "/api/events/..json",
                                  "/api/data/image?rid=ri.mio.main.media-set.be6a6e5d-b863-532a-9a86-a9f97b258a22&item=../../src/app.py"])  # fmt: skip
def test_no_path_leads_to_another_file(server: Server, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(server.panel + path, timeout=10)
    assert refused.value.code in (400, 404)


def test_an_event_is_not_written_through_a_link(server: Server) -> None:
    target = server.folder / "elsewhere.json"
    target.write_text("{}")
    (server.folder / "events/link.json").symlink_to(target)
    request = urllib.request.Request(
        f"{server.panel}/api/events/link.json?replace=true", method="PUT", data=b'{"a": 1}'
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)
    (server.folder / "events/link.json").unlink()
    assert (refused.value.code, target.read_text()) == (400, "{}")


def test_the_page_is_small() -> None:
    assert sum(path.stat().st_size for path in PAGE.iterdir()) < 200_000
