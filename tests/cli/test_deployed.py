"""`cm call --deployed` and `cm verify`, with a local Foundry in the place of the real one."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pexpect
import pytest

from foundry_cm.testing import Foundry
from tests.cli.conftest import CM, cm, serving
from tests.function.conftest import HEAD, THREADS

CANARY = "canary-deployed-token"
BODY = """
from compute_modules.function_registry.types import Long

@dataclass
class Parcel:
    id: Long
    weights: list[float]

@dataclass
class Price:
    id: Long
    total: float
    seen: bool

@function
def price(context, event: Parcel) -> Price:
    if not event.weights:
        raise ValueError("an empty parcel")
    seen = any("canary" in value for value in os.environ.values())
    return Price(event.id, sum(event.weights) * FACTOR, seen)
"""
EVENT = '{"id": 9007199254740993, "weights": [0.5, 0.25]}'


def write(folder: Path, factor: str = "1.0", body: str = BODY) -> Path:
    (folder / "events").mkdir(parents=True, exist_ok=True)
    (folder / "events/price.json").write_text(EVENT)
    (folder / "app.py").write_text(HEAD + f"FACTOR = {factor}\n" + body + THREADS)
    (folder / "pyproject.toml").write_text(
        f"[tool.foundry-cm]\ncommand = ['{sys.executable}', 'app.py']\n"
        "[tool.foundry-cm.api-names]\nprice = 'com.acme.computemodules.Price'\n"
    )
    return folder


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Foundry]:
    with Foundry(write(tmp_path_factory.mktemp("real"))) as foundry:
        foundry.local.tokens.caller = CANARY
        yield foundry


@pytest.fixture
def shell(real: Foundry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOUNDRY_HOSTNAME", real.local.platform)
    monkeypatch.setenv("FOUNDRY_TOKEN", CANARY)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", real.local.ca)


@pytest.mark.usefixtures("shell")
def test_the_deployed_function_is_called_once_somebody_agrees(
    real: Foundry, tmp_path: Path
) -> None:
    module = write(tmp_path)
    asked = f"com.acme.computemodules.Price on {real.local.platform}"
    done = cm(module, "call", "price", "--deployed", stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"error: There is no terminal to confirm the call of {asked}" in done.stderr
    done = cm(module, "call", "price", "--deployed", "--yes")
    assert json.loads(done.stdout) == {"id": 9007199254740993, "total": 0.75, "seen": False}
    assert f"This calls the deployed function {asked}, which may write there" in done.stderr
    assert CANARY not in done.stdout + done.stderr
    # At a terminal it asks, and no is no.
    with closing(
        pexpect.spawn(CM, ["call", "price", "--deployed"], cwd=module, encoding="utf-8", timeout=60)
    ) as terminal:
        terminal.expect_exact("[y/N]")
        terminal.sendline("n")
        terminal.expect(pexpect.EOF)
    assert terminal.exitstatus == 1 and CANARY not in str(terminal.before)


@pytest.mark.usefixtures("shell")
def test_what_goes_wrong_there_is_told_without_the_token(
    real: Foundry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = write(tmp_path)
    empty = '{"id": 1, "weights": []}'
    done = cm(module, "call", "price", "--deployed", "--yes", "--json", empty)
    assert done.returncode == 1
    assert "failed in Foundry: QueryRuntimeError: ValueError: an empty parcel" in done.stderr
    done = cm(module, "call", "prise", "--deployed", "--yes", "--json", "{}")
    assert done.returncode == 2
    assert f'{real.local.platform} has no query "prise", or you have no access to it' in done.stderr
    told = done.stdout + done.stderr
    for name, value, code, text in (
        ("FOUNDRY_TOKEN", "canary-wrong", 1, "refuses the token"),
        ("FOUNDRY_TOKEN", "canary-line\nend", 2, "FOUNDRY_TOKEN contains white space"),
        ("FOUNDRY_TOKEN", "", 2, "--deployed needs FOUNDRY_TOKEN, which is not set here"),
        ("FOUNDRY_HOSTNAME", "https://acme.com", 2, "which is not a host"),
        ("FOUNDRY_HOSTNAME", "localhost:9", 1, "localhost:9 cannot be reached"),
        ("REQUESTS_CA_BUNDLE", "", 1, "export REQUESTS_CA_BUNDLE=company-ca.pem"),
        ("REQUESTS_CA_BUNDLE", "none.pem", 2, "names a file that cannot be read as PEM"),
    ):
        with monkeypatch.context() as one:
            one.setenv(name, value)
            done = cm(module, "call", "price", "--deployed", "--yes")
        assert (done.returncode, text in done.stderr) == (code, True), done.stderr
        told += done.stdout + done.stderr
    assert "canary" not in told


@pytest.mark.usefixtures("shell")
def test_verify_compares_the_module_with_what_is_deployed(tmp_path: Path) -> None:
    module = write(tmp_path, "1.0000001")
    done = cm(module, "verify", "--deployed", "--yes")
    assert done.returncode == 0, done.stderr
    assert "The same answers from the module and deployed, within 1e-05" in done.stderr
    # The module that runs here sees no token.
    assert CANARY not in done.stdout + done.stderr

    changed = BODY.replace("    seen: bool\n", "    seen: bool\n    note: str = ''\n")
    write(tmp_path, "1.1", changed.replace("id: Long\n    weights", "id: int\n    weights"))
    (module / "events/price.empty.json").write_text('{"id": 1, "weights": []}')
    (module / "events/price.json").write_text('{"id": 1, "weights": [0.5, 0.25]}')
    done = cm(module, "verify", "--deployed", "--yes", "--format", "json")
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert told["schema"] == [
        "deployed: price: parameter id is integer here, and long deployed",
        "deployed: price: the output has the fields id, note, seen, total here, and id, seen, "
        "total deployed",
    ]
    empty, full = told["events"]
    assert [text.split(":")[0] for text in empty["differences"]] == ["module", "deployed"]
    assert full["differences"] == ["deployed: result.note is missing"]
    one = ("--event", "events/price.json")
    done = cm(module, "verify", "--deployed", "--yes", *one, "--format", "json")
    assert [each["event"] for each in json.loads(done.stdout)["events"]] == ["price.json"]
    assert full["milliseconds"].keys() == {"module", "deployed"}


def test_verify_needs_something_to_compare_with(tmp_path: Path) -> None:
    done = cm(write(tmp_path), "verify")
    assert done.returncode == 2
    assert "error: There is nothing to compare the module with" in done.stderr
    (tmp_path / "events/price.json").unlink()
    done = cm(tmp_path, "verify", "--deployed")
    assert done.returncode == 2
    assert "error: There are no events to compare with" in done.stderr


def test_serve_prints_what_an_application_needs_and_a_call_names_its_user(tmp_path: Path) -> None:
    who = "\n@function\ndef who(context, event: Payload) -> str:\n    return context['userId']\n"
    module = write(tmp_path, body=BODY + who)
    with serving(module) as server:
        line = next(line for line in server.output.splitlines() if "FOUNDRY_HOSTNAME" in line)
        named = dict(word.split("=", 1) for word in shlex.split(line) if "=" in word)
        shell = os.environ | named
        done = cm(module, "call", "price", "--deployed", "--yes", env=shell)
        assert json.loads(done.stdout)["total"] == 0.75
        server.wait_for("call price answered")
        kept = (module / ".cm/history.jsonl").read_text().splitlines()
        assert [json.loads(each)["function"] for each in kept] == ["price"]
        done = cm(module, "call", "who", "--as", "u-7 & more", "--json", '{"text": ""}')
        assert json.loads(done.stdout) == "u-7 & more"
    done = cm(module, "call", "who", "--as", "", "--json", '{"text": ""}')
    assert (done.returncode, "--as needs the id of a user" in done.stderr) == (2, True)
