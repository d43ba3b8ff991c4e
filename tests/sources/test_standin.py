"""Stand-ins for the systems behind Sources: a server on this machine, answers from files, recordings."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from foundry_cm.errors import CmError
from foundry_cm.local.reporter import Reporter
from foundry_cm.local.sources.answers import Answers, Asked
from foundry_cm.local.sources.declared import LocalSources, Source
from foundry_cm.local.sources.recording import check_folder
from foundry_cm.local.sources.redaction import logs_in, of_query, of_source, redacted
from foundry_cm.local.sources.standin import StandIn
from foundry_cm.testing import CallFailed, Foundry, Pipeline
from tests.conftest import Render

APP = """
import json
import os
import urllib.request
from dataclasses import dataclass
import httpx
import requests
from compute_modules.context import QueryContext
from compute_modules.sources_v2 import get_source
from cmkit import function, sources, start

@dataclass
class Payload:
    method: str
    path: str
    body: str

@dataclass
class Result:
    text: str

@function
def ask(context: QueryContext, event: Payload) -> Result:
    address = get_source("PartsApi").get_https_connection().url
    if event.method == "plainly":
        there = address + event.path
        read = urllib.request.urlopen(there).read().decode()
        return Result(json.dumps([address, requests.get(there).text, httpx.get(there).text, read]))
    if event.method == "swallow":
        return Result(str(requests.get(address + event.path).status_code))
    answer = sources.parts_api().request(event.method, event.path, data=event.body or None)
    return Result(answer.text)

if __name__ == "__main__":
    start()
"""
TABLE = {
    "headers": {"Authorization": "Bearer canary-login"},
    "query": {"key": "canary-query"},
    "secrets": {"webhook": "canary-webhook"},
}


@pytest.fixture(scope="module")
def module(render: Render, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = render(example="blank", sources=["PartsApi"])
    (folder / "src/app.py").write_text(APP)
    return folder


@pytest.fixture(scope="module")
def service() -> Iterator[HTTPServer]:
    """The system outside, which repeats to its callers what they sent."""
    with HTTPServer(host="127.0.0.1") as server:
        server.expect_request("/v1/parts/7").respond_with_handler(echo)
        server.expect_request("/v1/search", method="POST").respond_with_handler(echo)
        server.expect_request("/v1/moved").respond_with_data(
            status=302, headers={"Location": server.url_for("/v1/parts/7")}
        )
        server.expect_request("/v1/photo").respond_with_data(b"\x89PNG\0", content_type="image/png")
        yield server


def echo(request: Request) -> Response:
    said = {
        "path": request.full_path,
        "login": request.headers["Authorization"],
        "asked": len(request.get_data()),
        "next": request.base_url + "?page=2",
        "access_token": "canary-handed-out",
        "next_page_token": "page-2",
    }
    cookie = {"Set-Cookie": "session=canary-cookie", "X-Trace": "canary-trace"}
    return Response(json.dumps(said), headers=cookie, content_type="application/json")


def serve(module: Path, **table: object) -> Foundry:
    record = ["PartsApi"] if table.pop("record", False) else []
    sources = {"PartsApi": TABLE | table}
    return Foundry(module, [sys.executable, "src/app.py"], sources=sources, record=record)


def ask(foundry: Foundry, method: str, path: str, body: str = "") -> str:
    return str(foundry.call("ask", {"method": method, "path": path, "body": body})["text"])


def test_a_server_on_this_machine_is_reached_by_https_with_any_client(
    module: Path, service: HTTPServer
) -> None:
    with serve(module, url=service.url_for("/v1")) as foundry:
        seen = json.loads(ask(foundry, "GET", "/parts/7"))
        assert seen["path"] == "/v1/parts/7?key=canary-query"
        assert seen["login"] == "Bearer canary-login"
        assert json.loads(ask(foundry, "GET", "/moved"))["path"].startswith("/v1/parts/7")
        service.expect_request("/v1/open").respond_with_data("open")
        address, *texts = json.loads(ask(foundry, "plainly", "/open"))
        assert (address[:18], address[-3:]) == ("https://localhost:", "/v1")
        assert texts == ["open"] * 3


def test_a_stand_in_that_does_not_run_is_named(module: Path) -> None:
    with serve(module, url="http://127.0.0.1:9") as foundry:
        with pytest.raises(CallFailed) as failure:
            ask(foundry, "GET", "/")
    (note,) = (text for text in failure.value.__notes__ if "stands in" in text)
    assert note.startswith("What stands in for the Source PartsApi does not answer: ")


def test_what_is_recorded_is_answered_again_and_holds_no_secret(
    module: Path, service: HTTPServer
) -> None:
    questions = [
        ("GET", "/parts/7", ""),
        ("POST", "/search", '{"a": "canary-asked"}'),
        ("POST", "/search", "b"),
    ]
    with serve(module, url=service.url_for("/v1"), answers="answers/parts", record=True) as foundry:
        real = [json.loads(ask(foundry, *question)) for question in questions]
        ask(foundry, "GET", "/photo")
        assert "Recorded GET /parts/7 in answers/parts/get-parts-7-" in foundry.output
        # A credential that the module itself puts into an address is in no Source.
        ask(foundry, "GET", "/parts/7?api_key=canary-own")
        assert (
            "GET /parts/7?api_key=REDACTED was not recorded, for its path has a credential in it."
        ) in foundry.output
    files = list((module / "answers/parts").iterdir())
    texts = "".join(path.read_text(errors="replace") for path in files)
    assert [
        word
        for word in ("canary-", service.host)
        if word in texts.replace(f"{service.url_for('')}", "")
    ] == []
    assert sorted(path.suffix for path in files) == [".png", ".toml", ".toml", ".toml", ".toml"]
    # The system is not asked again: its address is one where nothing is.
    asked_before = len(service.log)
    with serve(module, url=service.url_for("/v1"), answers="answers/parts") as foundry:
        again = [json.loads(ask(foundry, *question)) for question in questions]
        # A link to the system leads to the stand-in.
        assert again[0]["next"].startswith("https://localhost:")
        with pytest.raises(CallFailed) as failure:
            ask(foundry, "GET", "/parts/8")
        assert failure.value.__notes__[-1] == (
            "The Source PartsApi has no answer for GET /parts/8\nanswers/parts\n"
            'Nearest is "GET /parts/7".'
        )
        with pytest.raises(CallFailed, match="has no answer for GET /orders"):
            ask(foundry, "swallow", "/orders")
    assert len(service.log) == asked_before
    hidden = [{**one, "login": "REDACTED", "access_token": "REDACTED"} for one in real]
    for one, other in zip(hidden, again, strict=True):
        one["path"] = one["path"].replace("canary-query", "REDACTED")
        one["next"] = other["next"]
    assert again == hidden


def test_a_pipeline_gets_answers_as_well(render: Render, tmp_path: Path) -> None:
    module = render(execution_mode="pipeline", example="blank", sources=["PartsApi"])
    app = module / "src/app.py"
    text = app.read_text().replace(
        "from cmkit import", "from cmkit import sources\nfrom cmkit import", 1
    )
    app.write_text(
        text.replace(
            "def process(",
            'print(sources.parts_api().request("GET", "/rate").json())\n\n\ndef process(',
            1,
        )
    )
    (module / "answers").mkdir()
    (module / "answers/rate.toml").write_text('path = "/rate"\nbody = \'{"rate": 7}\'\n')
    pipeline = Pipeline(module, tmp_path)
    pipeline.put("input", "a.jsonl", '{"text": "a"}\n')
    pipeline.run(sources={"PartsApi": {"answers": "answers"}})
    assert "{'rate': 7}" in pipeline.output


WRONG = [
    ("path = 'parts'", "path does not begin with /"),
    ("method = 'GET'", "path is missing"),
    ("path = '/a'\nmethod = 'get'", "method is not one of HTTP"),
    ("path = '/a'\nstatus = 99", "status has to be at least 200"),
    ("path = '/a'\nbody = 'a'\nfile = 'b'", "There is both a body and a file"),
    ("path = '/a'\n[headers]\n'a b' = '1'", 'The header "a b" is none that HTTP can carry'),
    ("path = '/a?y=2&x=1'", "first.toml answers the same request"),
]


@pytest.mark.parametrize(("text", "what"), WRONG)
def test_a_fault_in_an_answer_is_named(tmp_path: Path, text: str, what: str) -> None:
    (tmp_path / "first.toml").write_text("path = '/a?x=1&y=2'")
    (tmp_path / "second.toml").write_text(text)
    with pytest.raises(CmError) as failure:
        Answers.read(tmp_path)
    assert failure.value.what == what
    assert str(failure.value.where).startswith(f"{tmp_path}/second.toml")


def test_a_request_is_told_by_method_path_parameters_and_body(tmp_path: Path) -> None:
    (tmp_path / "any.toml").write_text("method = 'POST'\npath = '/søk?q=M8 bolt'")
    (tmp_path / "one.toml").write_text(
        "method = 'POST'\npath = '/søk?q=M8 bolt'\nasked = '{\"a\": 1, \"b\": 2}'"
    )
    answers = Answers.read(tmp_path)

    def file(method: str, target: str, body: bytes = b"") -> str | None:
        found = answers.find(Asked.of(method, target, body, {"key": "secret"}))
        return found.file.name if found else None

    target = "/s%C3%B8k?key=secret&q=M8+bolt"
    assert file("POST", target, b'{"b":2,"a":1}') == "one.toml"
    assert file("POST", target, b"else") == "any.toml"
    assert file("GET", target) is None
    assert file("POST", "/s%C3%B8k?q=M8") is None
    for written in ("/a%2Fb?x=1%262", "/a?b=c&b=d", "/100%25/?", "/a%3Fb", "//a:b/c"):
        asked = Asked.of("GET", written)
        (tmp_path / "again.toml").write_text(f"path = {json.dumps(asked.target)}")
        assert Answers.read(tmp_path).find(asked), asked.target


RECORD = [
    ({}, "Other", 'There is no Source "Other" to record'),
    ({"url": "https://api.example"}, "Api", 'The Source "Api" cannot be recorded'),
    ({"answers": "answers"}, "Api", 'The Source "Api" cannot be recorded'),
]


@pytest.mark.parametrize(("table", "name", "what"), RECORD)
def test_what_cannot_be_recorded_says_what_is_missing(
    tmp_path: Path, table: dict[str, str], name: str, what: str
) -> None:
    with pytest.raises(CmError) as failure:
        LocalSources.read(tmp_path, {"Api": table}, [name])
    assert (failure.value.what, failure.value.exit_code) == (what, 2)


def test_nothing_is_recorded_outside_of_the_module(tmp_path: Path) -> None:
    (tmp_path / "module").mkdir()
    (tmp_path / "module/link").symlink_to(tmp_path)
    for folder in ("..", "../other", "link", "link/other"):
        with pytest.raises(CmError):
            check_folder(tmp_path / "module", tmp_path / "module" / folder)
    check_folder(tmp_path / "module", tmp_path / "module/answers/parts")


def test_answers_without_their_folder_say_so_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(CmError, match="The Source Api has no folder of answers"):
        StandIn("Api", Source(answers="gone"), tmp_path, Reporter()).check()


def test_no_hash_is_kept_of_a_body_that_logs_in() -> None:
    assert logs_in(b"grant_type=client_credentials&client_secret=canary")
    assert logs_in(b'{"user": "a", "Password" : "canary"}')
    assert not logs_in(b'{"secretary": "Ann", "pageToken": "2"}')


def test_a_login_is_found_in_each_form_in_which_it_travels() -> None:
    login = "Basic dXNlcjpjYW5hcnkvcGFzcw=="
    secrets = of_source(Source(headers={"Authorization": login, "Accept": "application/json"}))
    said = f"{login} canary/pass canary%2Fpass application/json"
    assert redacted(secrets, said) == "REDACTED REDACTED REDACTED application/json"


def test_a_credential_in_an_address_is_found_by_its_name() -> None:
    query = [("api_key", "ab"), ("X-Amz-Signature", "0a1b2c"), ("key", "bolt-7"), ("page", "2")]
    assert of_query(query) == {"ab", "0a1b2c"}
