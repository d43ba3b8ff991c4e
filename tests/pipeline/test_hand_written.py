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

from foundry_cm.errors import CmError
from foundry_cm.module.project import Project
from foundry_cm.module.resources import read_resources
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
    # What the caller's shell says of authorities does not reach the module.
    gone = dict.fromkeys(("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"), str(folder / "gone.pem"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    command = ["run", "--format", "json", "--port", port, "--", sys.executable, "app.py"]
    done = cm(folder, *command, env={**os.environ, **gone, "FOUNDRY_URL": "elsewhere"})
    assert done.returncode == 0, done.stderr
    assert "runtime 204 404 waits" in done.stderr
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
        'A pipeline names its inputs and outputs there: {"inputs": {"readings": "dataset"}, '
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
