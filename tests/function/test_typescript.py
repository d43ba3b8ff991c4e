"""A module in another language: the TypeScript SDK from npm, unmodified."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from foundry_cm.testing import CallFailed, EventRefused, Foundry
from tests.cli.conftest import cm

pytestmark = [pytest.mark.node, pytest.mark.slow]

MODULE = """
import { ComputeModule } from "@palantir/compute-module";
import { Type } from "@sinclair/typebox";

new ComputeModule({
  logger: console,
  definitions: {
    shout: {
      input: Type.Object({ text: Type.String() }),
      output: Type.String(),
    },
  },
})
  .register("shout", async ({ text }) => {
    if (text === "") throw new Error("nothing to shout");
    return text.toUpperCase();
  });
"""

# Needs MODULE_AUTH_TOKEN in every mode, and asks GET_JOB_URI for work.
PIPELINE = """
import { ComputeModule, FoundryService } from "@palantir/compute-module";

const pumps = new ComputeModule({ logger: console });
const { type, buildToken } = pumps.environment;
const { rid, branch } = pumps.getResource("alarms");
const streams = pumps.getServiceApi(FoundryService.STREAM_PROXY);
pumps.on("responsive", async () => {
  const answer = await fetch(`${streams}/streams/${rid}/branches/${branch}/jsonRecord`, {
    method: "POST",
    headers: { Authorization: `Bearer ${buildToken}` },
    body: JSON.stringify({ type }),
  });
  process.exit(answer.ok ? 0 : 1);
});
"""


@pytest.fixture(scope="module")
def node_module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed: apt-get install nodejs npm")
    folder = tmp_path_factory.mktemp("node")
    (folder / "app.mjs").write_text(MODULE)
    packages = ["@palantir/compute-module@0.2.7", "@sinclair/typebox@0.33"]
    done = subprocess.run(
        ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", *packages],
        cwd=folder,
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_module_of_the_typescript_sdk_answers(node_module: Path) -> None:
    with Foundry(node_module, ["node", "app.mjs"]) as foundry:
        assert foundry.call("shout", {"text": "hi"}) == "HI"
        with pytest.raises(CallFailed, match="^Error: nothing to shout"):
            foundry.call("shout", {"text": ""}, timeout=3)


def test_pipeline_of_the_typescript_sdk_publishes(node_module: Path, tmp_path: Path) -> None:
    (tmp_path / "node_modules").symlink_to(node_module / "node_modules")
    (tmp_path / "app.mjs").write_text(PIPELINE)
    (tmp_path / "src").mkdir()
    (tmp_path / "src/resources.json").write_text('{"inputs": {}, "outputs": {"alarms": "stream"}}')
    done = cm(tmp_path, "run", "--", "node", "app.mjs")
    assert done.returncode == 0, done.stderr
    published = (tmp_path / "outputs/alarms/partition-0.jsonl").read_text()
    assert published == '{"type":"pipelines"}\n'


STREAMS = """
const { ComputeModule } = require("@palantir/compute-module");
const { Type } = require("@sinclair/typebox");

const query = { input: Type.Object({ parcel: Type.String() }), output: Type.String() };
const parcels = new ComputeModule({ logger: console, definitions: { track: query, lost: query } });
parcels.registerStreaming("track", async ({ parcel }, out) => {
  out.write(`${parcel} left. `);
  out.end("It comes.");
});
parcels.register("weigh", async () => { throw new TypeError("no scale"); });
"""


def test_typescript_module_is_known_before_its_first_call(node_module: Path) -> None:
    (node_module / "streams.js").write_text(STREAMS)
    with Foundry(node_module, ["node", "streams.js"]) as foundry:
        assert sorted(foundry.functions) == ["lost", "track"]
        with pytest.raises(EventRefused, match='Did you mean "parcel"'):
            foundry.call("track", {"parcle": "P1"})
        with pytest.raises(EventRefused, match='The module has no function "trak"'):
            foundry.call("trak", {"parcel": "P1"})
        assert foundry.call("track", {"parcel": "P1"}) == "P1 left. It comes."
        with pytest.raises(CallFailed, match="TypeError: no scale"):
            foundry.call("weigh", {})
        with pytest.raises(CallFailed, match='The module has no listener for "lost"'):
            foundry.call("lost", {"parcel": "P1"}, timeout=10)


# An application: a generated SDK would bring the definition of the query, which holds no more than this.
APPLICATION = """
import { createClient } from "@osdk/client";
import * as functions from "@osdk/foundry.functions/Query";

const { HOST, TOKEN } = process.env;
const ontology = "ri.ontology.main.ontology.00000000-0000-0000-0000-000000000000";
const client = createClient(`https://${HOST}`, ontology, async () => TOKEN);
const shout = { type: "query", apiName: "shout", osdkMetadata: { extraUserAgent: "" } };
console.log(await client(shout).executeFunction({ text: "hi" }));
const asked = { parameters: { text: "ho" } };
console.log((await functions.execute(client, "shout", asked, { preview: true })).value);
try {
  await client(shout).executeFunction({ text: "" });
} catch (error) {
  console.log(error.errorName, error.parameters.message);
}
"""


def test_application_with_the_typescript_client_calls_the_function(
    node_module: Path, tmp_path: Path
) -> None:
    (tmp_path / "package.json").write_text("{}")
    packages = ["@osdk/client@2.22.0"]
    done = subprocess.run(
        ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", *packages],
        cwd=tmp_path,
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    (tmp_path / "application.mjs").write_text(APPLICATION)
    with Foundry(node_module, ["node", "app.mjs"]) as foundry:
        local = foundry.local
        environment = {"HOST": local.platform, "TOKEN": local.tokens.caller}
        done = subprocess.run(
            ["node", "application.mjs"],
            cwd=tmp_path,
            env=os.environ | environment | {"NODE_EXTRA_CA_CERTS": local.ca},
            text=True,
            capture_output=True,
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "HI",
        "HO",
        "QueryRuntimeError Error: nothing to shout",
    ]
