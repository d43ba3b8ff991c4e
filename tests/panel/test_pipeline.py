"""The page of `cm run --follow`."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.cli.conftest import CM
from tests.conftest import Render
from tests.panel.conftest import Open, free_port
from tests.panel.test_access import violations

pytest.importorskip("pyarrow")


@pytest.fixture
def pipeline(render: Render, tmp_path: Path) -> Iterator[tuple[Path, str]]:
    folder = render(tmp_path / "pipeline", execution_mode="pipeline", example="blank")
    (folder / "data/input/<b>more.jsonl").write_text('{"text": "a"}\n{"text": 5}\nno JSON\n')
    port = free_port()
    process = subprocess.Popen(
        [CM, "run", "--follow", "--port", "0", "--panel-port", str(port)],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=(folder / "run.log").open("w"),
    )
    yield folder, f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait(30)


def test_inputs_outputs_errors_and_files_of_a_pipeline_are_shown(
    pipeline: tuple[Path, str], opened: Open
) -> None:
    folder, address = pipeline
    while "panel " not in (folder / "run.log").read_text():
        pass
    page = opened(address, bypass_csp=True)
    expect(page.locator(".phase")).to_have_text("At rest")
    stops = page.locator(".stop:not(.module)")
    expect(stops).to_have_text(["input6all read", "output4rows", "output-errors2rows"])
    # The refused records come first to those who look.
    expect(page.locator(".title")).to_have_text("output-errors")
    expect(page.locator(".look")).to_contain_text('column "text" should be str, is 5')
    expect(page.locator(".transactions")).to_contain_text("COMMITTED")
    page.locator(".function").filter(has_text="input").first.click()
    page.get_by_role("button", name="<b>more.jsonl").click()
    expect(page.locator(".look")).to_contain_text("no JSON")
    (folder / "data/input/later.jsonl").write_text('{"text": "later"}\n')
    expect(stops.first).to_have_text("input7all read")
    expect(stops.nth(1)).to_have_text("output5rows")
    expect(page.locator(".files .badge")).to_have_text(["read", "read", "read"])
    assert violations(page) == []
