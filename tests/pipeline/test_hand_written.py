"""Pipelines that never saw the template, under `cm run -- COMMAND`."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import sys
from pathlib import Path

import pytest
import trustme

from foundry_cm.errors import CmError
from foundry_cm.module.project import Project
from foundry_cm.module.resources import read_resources
from foundry_cm.testing import EventRefused, Pipeline
from tests.cli.conftest import cm

RESOURCES = {"inputs": {"readings": "dataset"}, "outputs": {"alarms": "stream"}}

# With no setting for TLS, and ends with 0.
BATCH = """
import csv, json, os, ssl, urllib.request
from pathlib import Path
import httpx, requests

def text(name):
    return Path(os.environ[name]).read_text()

runtime = {"Module-Auth-Token": text("MODULE_AUTH_TOKEN")}
schemas = requests.post(os.environ["POST_SCHEMA_URI"], json=[], headers=runtime, timeout=9)
result = requests.post(os.environ["POST_RESULT_URI"] + "/none", headers=runtime, timeout=9)
try:
    requests.get(os.environ["GET_JOB_URI"], headers=runtime, timeout=1)
except requests.ReadTimeout:
    print("runtime", schemas.status_code, result.status_code, "waits")

base = "https://" + os.environ["FOUNDRY_URL"]
headers = {"Authorization": "Bearer " + text("BUILD2_TOKEN")}
aliases = json.loads(text("RESOURCE_ALIAS_MAP"))
table = f"{base}/api/v2/datasets/{aliases['readings']['rid']}/readTable?format=CSV"
read = httpx.get(table, headers=headers).text
with urllib.request.urlopen(urllib.request.Request(table, headers=headers)) as answer:
    assert answer.read().decode() == read
high = [row for row in csv.DictReader(read.splitlines()) if float(row["bar"]) > 8]
records = f"{base}/stream-proxy/api/streams/{aliases['alarms']['rid']}/branches/master/jsonRecords"
requests.post(records, json=high, headers=headers, timeout=9).raise_for_status()
bundle = ssl.create_default_context(cafile=os.environ["REQUESTS_CA_BUNDLE"])
print("person", [name for name in ("FOUNDRY_HOSTNAME", "FOUNDRY_TOKEN") if name in os.environ])
print("public authorities", len(bundle.get_ca_certs()) > 100, "at", os.environ["FOUNDRY_URL"])
"""

NODE = """
const fs = require("fs");
const base = `https://${process.env.FOUNDRY_URL}`;
const headers = { Authorization: `Bearer ${fs.readFileSync(process.env.BUILD2_TOKEN, "utf-8")}` };
const aliases = JSON.parse(fs.readFileSync(process.env.RESOURCE_ALIAS_MAP, "utf-8"));
const url = `${base}/stream-proxy/api/streams/${aliases.alarms.rid}/branches/master/jsonRecord`;
fetch(url, { method: "POST", headers, body: '{"pump": "south"}' }).then((answer) => {
  if (!answer.ok) process.exit(1);
});
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/resources.json").write_text(json.dumps(RESOURCES))
    (tmp_path / "data/readings").mkdir(parents=True)
    (tmp_path / "data/readings/a.csv").write_text("pump,bar\nnorth,3.5\nsouth,9.1\n")
    (tmp_path / "app.py").write_text(BATCH)
    (tmp_path / "app.js").write_text(NODE)
    return tmp_path


def records(folder: Path) -> list[dict[str, object]]:
    lines = (folder / "outputs/alarms/partition-0.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_a_batch_module_reaches_everything_and_its_end_is_a_success(folder: Path) -> None:
    # What the caller's shell says of authorities and of a real Foundry does not reach the module.
    shell = dict.fromkeys(("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"), str(folder / "gone.pem"))
    shell |= {"FOUNDRY_HOSTNAME": "acme.palantirfoundry.com", "FOUNDRY_TOKEN": "canary-person"}
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    command = ["run", "--format", "json", "--port", port, "--", sys.executable, "app.py"]
    done = cm(folder, *command, env={**os.environ, **shell, "FOUNDRY_URL": "elsewhere"})
    assert done.returncode == 0, done.stderr
    assert "runtime 204 404 waits" in done.stderr
    assert "  | person []\n" in done.stderr
    assert f"public authorities True at localhost:{port}" in done.stderr
    assert f"platform  https://localhost:{port}" in done.stderr
    assert json.loads(done.stdout)["resources"] == {"readings": 2, "alarms": 1}
    assert records(folder) == [{"pump": "south", "bar": "9.1"}]


def test_a_module_on_node_trusts_the_platform(folder: Path) -> None:
    if shutil.which("node") is None:
        pytest.skip("node is not installed: apt-get install nodejs")
    done = cm(folder, "run", "--", "node", "app.js")
    assert done.returncode == 0, done.stderr
    assert records(folder) == [{"pump": "south"}]
    assert re.search(r"platform  https://localhost:89\d\d\n", done.stderr)
    assert "The module ended by itself, with code 0." in done.stderr
    assert "next: cm run --fresh -- node app.js" in done.stderr


OPEN = """
import os
from pathlib import Path
import requests, json
base = "https://" + os.environ["FOUNDRY_URL"] + "/api/v2/datasets/"
headers = {"Authorization": "Bearer " + Path(os.environ["BUILD2_TOKEN"]).read_text()}
rid = json.loads(Path(os.environ["RESOURCE_ALIAS_MAP"]).read_text())["kept"]["rid"]
body = {"transactionType": "APPEND"}
requests.post(base + rid + "/transactions", json=body, headers=headers).raise_for_status()
"""


def test_a_transaction_that_is_left_open_is_said(folder: Path) -> None:
    outputs = {"kept": "dataset"}
    (folder / "src/resources.json").write_text(json.dumps({"inputs": {}, "outputs": outputs}))
    (folder / "app.py").write_text(OPEN)
    done = cm(folder, "run", "--", sys.executable, "app.py")
    assert done.returncode == 0, done.stderr
    assert "A transaction on kept is still open: nothing in it is committed.\n" in done.stderr


def test_a_port_that_is_taken_is_named(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = cm(folder, "run", "--port", str(port), "--", "true")
    assert (done.returncode, f"Port {port} on 127.0.0.1 is not free" in done.stderr) == (2, True)


def test_a_folder_without_resources_hears_what_to_write(tmp_path: Path) -> None:
    (tmp_path / "data/readings").mkdir(parents=True)
    with pytest.raises(CmError) as missing:
        read_resources(tmp_path)
    assert missing.value.fix == (
        'A pipeline lists its inputs and outputs there: {"inputs": {"readings": "dataset"}, '
        '"outputs": {"results": "dataset"}}. The kinds are dataset, stream, media_set. '
        "A module that answers calls is run by: cm serve"
    )
    with pytest.raises(CmError) as none:
        Project.read(tmp_path).command(verb="run")
    assert none.value.fix and none.value.fix.endswith("such as: cm run -- python my_module.py")


def test_outputs_that_cannot_be_written_are_said_before_the_module_starts(folder: Path) -> None:
    (folder / "outputs").write_text("a file")
    done = cm(folder, "run", "--", sys.executable, "app.py")
    assert done.returncode == 1
    assert done.stderr.startswith("error: outputs cannot be written: Not a directory\n")
    assert "Traceback" not in done.stderr


def test_a_company_s_authority_is_trusted_where_it_is_passed_on(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    company = tmp_path_factory.mktemp("company") / "ca.pem"
    company.write_bytes(trustme.CA().cert_pem.bytes())
    (folder / "app.py").write_text(
        "import os, ssl\nfrom pathlib import Path\n"
        "assert os.environ['SSL_CERT_FILE'] == os.environ['REQUESTS_CA_BUNDLE']\n"
        f"company = Path({str(company)!r}).read_text()\n"
        "assert company in Path(os.environ['SSL_CERT_FILE']).read_text()\n"
        "ssl.create_default_context()\n"
    )
    pipeline = Pipeline(folder, folder)
    (folder / "pyproject.toml").write_text(
        f"[tool.foundry-cm]\ncommand = [{sys.executable!r}, 'app.py']\n"
        f"env = ['REQUESTS_CA_BUNDLE={company}']\n"
    )
    pipeline.run()
    with pytest.raises(EventRefused) as refused:
        pipeline.run(env={"SSL_CERT_FILE": str(folder / "gone.pem")})
    assert str(refused.value).startswith("SSL_CERT_FILE names a file that cannot be read: ")
