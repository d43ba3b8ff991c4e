"""Writing an event: the form, the JSON of it, samples, files."""

from __future__ import annotations

import json
from typing import Any

from playwright.sync_api import Page, expect

from tests.cli.conftest import Server
from tests.panel.conftest import choose, run, view, write

ORDER: dict[str, Any] = {
    "customer": "ada",
    "lines": [{"sku": "b", "amount": 2, "price": 1.5}, {"sku": "a", "amount": 10, "price": 2.0}],
    "tags": [],
    "express": False,
    "due": "2026-02-03",
    "at": "2026-01-31T12:00:00.000001Z",
    "labels": {"floor": "2"},
    "number": 9223372036854775807,
    "note": None,
}


def as_json(page: Page) -> str:
    page.get_by_role("tab", name="JSON").first.click()
    text = page.get_by_label("The event as JSON").input_value()
    page.get_by_role("tab", name="Form").click()
    return str(text)


def test_an_edit_in_the_form_is_in_the_json_and_the_other_way_round(page: Page) -> None:
    choose(page, "price")
    page.get_by_label("customer").fill("grace")
    page.get_by_label("amount").fill("7")
    page.get_by_label("express").uncheck()
    page.get_by_label("due").fill("2027-03-04")
    event = json.loads(as_json(page))
    assert (event["customer"], event["lines"][0]["amount"], event["express"], event["due"]) == (
        "grace", 7, False, "2027-03-04",
    )  # fmt: skip
    write(page, json.dumps(ORDER))
    page.get_by_role("tab", name="Form").click()
    expect(page.get_by_label("customer")).to_have_value("ada")
    expect(page.get_by_label("price")).to_have_count(2)


def test_json_that_is_none_is_said_and_not_sent(page: Page) -> None:
    choose(page, "price")
    write(page, '{"customer": ')
    expect(page.locator(".json-body .complaint")).to_contain_text("JSON")
    expect(page.get_by_role("button", name="Run Ctrl")).to_be_disabled()
    page.get_by_role("tab", name="Form").click()
    expect(page.locator("#event-form")).to_contain_text("The event is not JSON now.")


def test_lists_maps_and_nulls_grow_and_shrink(page: Page) -> None:
    choose(page, "price")
    lines = page.locator("[data-path='event.lines']")
    lines.locator(".inner > .line").get_by_role("button", name="Add").click()
    lines.get_by_label("sku").last.fill("second")
    page.locator("[data-path='event.tags']").get_by_role("button", name="Remove item 0").click()
    labels = page.locator("[data-path='event.labels']")
    labels.get_by_role("button", name="Add").click()
    labels.get_by_label("Key 1").fill("colour")
    labels.get_by_label("Key 1").press("Tab")
    labels.get_by_label("colour", exact=True).fill("red")
    page.locator("[data-path='event.note']").get_by_role("switch").uncheck()
    event = json.loads(as_json(page))
    assert [line["sku"] for line in event["lines"]] == ["some text", "second"]
    assert (event["tags"], event["labels"]["colour"], event["note"]) == ([], "red", None)


def test_whole_numbers_keep_all_their_digits_and_times_their_microseconds(page: Page) -> None:
    choose(page, "price")
    write(page, json.dumps(ORDER))
    page.get_by_role("tab", name="Form").click()
    expect(page.get_by_label("number")).to_have_value("9223372036854775807")
    expect(page.locator("[data-path='event.at'] input").first).to_have_value(
        "2026-01-31T12:00:00.000001Z"
    )
    page.get_by_label("number").fill("9223372036854775808")
    expect(page.locator("[data-path='event.number'] .complaint")).to_have_text(
        "too large for 64 bits"
    )
    page.get_by_label("number").fill("-9223372036854775808")
    assert json.loads(as_json(page))["number"] == -(2**63)


def test_the_edge_event_is_answered(page: Page) -> None:
    choose(page, "price")
    page.locator(".menu").filter(has_text="Event").locator("summary").click()
    page.get_by_role("button", name="Edge event").click()
    assert json.loads(as_json(page))["number"] == -(2**63)
    run(page)


def test_a_refused_event_is_explained_beside_its_field(page: Page) -> None:
    choose(page, "price")
    write(page, json.dumps({**ORDER, "due": "2026-02-30"}))
    page.get_by_role("tab", name="Form").click()
    run(page, "Failed")
    said = 'price refused the event: event.due is "2026-02-30", not a date such as 2026-01-31'
    expect(page.locator(".failure .what")).to_have_text(said)
    expect(page.locator("[data-path='event.due'] .complaint")).to_have_text(said)


def test_a_form_says_what_does_not_fit_and_sends_only_what_it_shows(page: Page) -> None:
    choose(page, "count")
    write(page, '{"items": "two"}')
    page.get_by_role("tab", name="Form").click()
    items, seconds = page.get_by_label("items"), page.get_by_label("seconds")
    expect(page.locator(".complaint:visible")).to_have_text(
        ["a whole number is wanted", "it is missing"]
    )
    seconds.fill("0")
    items.fill("two or three")
    seconds.focus()
    page.keyboard.press("Control+Enter")
    expect(items).to_be_focused()
    expect(page.locator(".result .badge")).to_be_hidden()
    items.fill("2")
    run(page)


def test_an_event_is_saved_in_events_and_nowhere_else(page: Page, server: Server) -> None:
    choose(page, "wait")
    write(page, '{"seconds": 0.25}')
    page.get_by_role("button", name="Save as event").click()
    name = page.get_by_label("Name of the file in events/")
    for bad in ("../up.json", "a/b.json", ".hidden.json", "no-suffix", "x" * 200 + ".json"):
        name.fill(bad)
        page.get_by_role("button", name="Save", exact=True).click()
        expect(page.get_by_role("alert")).to_contain_text("cannot be the name of an event")
    name.fill("wait.json")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    saved = server.folder / "events" / "wait.json"
    assert json.loads(saved.read_text()) == {"seconds": 0.25}
    assert {path.name for path in server.folder.iterdir() if path.suffix == ".json"} == set()

    write(page, '{"seconds": 0.5}')
    page.get_by_role("button", name="Save as event").click()
    page.get_by_label("Name of the file in events/").fill("wait.json")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("events/wait.json already exists")
    assert json.loads(saved.read_text()) == {"seconds": 0.25}
    page.get_by_role("button", name="Replace it").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert json.loads(saved.read_text()) == {"seconds": 0.5}
    saved.unlink()


def test_a_call_is_copied_as_a_command_a_request_and_a_test(page: Page, server: Server) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    choose(page, "wait")
    write(page, '{"seconds": 0}')
    run(page)

    def copied(what: str) -> str:
        page.locator(".menu").filter(has_text="Copy as").locator("summary").click()
        page.get_by_role("button", name=what).click()
        expect(page.locator("#toast")).to_have_text("Copied")
        return str(page.evaluate("navigator.clipboard.readText()"))

    write(page, '{"seconds": 0, "turned": "\u202e"}')
    assert copied("cm call") == """cm call wait --json '{"seconds":0,"turned":"\\u202e"}'"""
    write(page, '{"seconds": 0}')
    assert copied("cm call") == """cm call wait --json '{"seconds":0}'"""
    assert copied("curl") == (
        f"curl -sS '{server.panel}/api/functions/wait/invoke' "
        """-H 'Content-Type: application/json' -d '{"seconds":0}'"""
    )
    assert copied("A test") == (
        "def test_wait_answers(foundry: Foundry) -> None:\n"
        '    event = {"seconds": 0}\n'
        '    assert foundry.call("wait", event) == "done"\n'
    )


def test_an_image_is_chosen_and_its_boxes_are_drawn(page: Page, server: Server) -> None:
    choose(page, "detect")
    page.locator("[data-path='event.images']").get_by_role("button", name="Remove item 0").click()
    page.get_by_role("button", name="Add an image").click()
    page.get_by_role("button", name="parts.png").click()
    run(page)
    assert page.get_by_role("tab", name="Images").get_attribute("aria-selected") == "true"
    boxes = page.locator(".stage rect")
    expect(boxes).to_have_count(2)
    assert [boxes.first.get_attribute(name) for name in ("x", "y", "width", "height")] == [
        "20", "10", "40", "40",
    ]  # fmt: skip
    assert page.locator(".stage svg").get_attribute("viewBox") == "0 0 120 80"
    expect(page.locator(".labels")).to_contain_text("disc 87 %")
    view(page, "Tree")
    expect(page.locator(".tree")).to_contain_text("disc")
