"""The runtime of a generated OSDK for TypeScript, from npm and unmodified."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.platform.ontology import write_ontology
from tests.platforms import running_platform

pytestmark = [pytest.mark.node, pytest.mark.slow]

# The definitions are those that Foundry's generator writes, without the types of TypeScript.
SCRIPT = """
import { createClient } from "@osdk/client";

const rid = "ri.ontology.main.ontology.00000000-0000-0000-0000-000000000001";
const client = createClient(process.env.URL, rid, async () => process.env.TOKEN);
const osdkMetadata = { extraUserAgent: "test" };
const Ticket = { type: "object", apiName: "Ticket", osdkMetadata };
const closeTicket = { type: "action", apiName: "close-ticket", osdkMetadata };
const tickets = client(Ticket);
const ids = async (set) => (await set.fetchPage()).data.map((each) => each.$primaryKey);

const found = { open: await ids(tickets.where({ status: "open" })) };
found.text = await ids(tickets.where({ subject: { $containsAnyTerm: "toner jam" } }));
const one = await tickets.fetchOne(1);
found.title = one.$title;
found.assignee = (await one.$link.assignee.fetchOne()).name;
found.watchers = await ids(tickets.where({ id: { $eq: 1 } }).pivotTo("watchers"));
found.union = await ids(tickets.where({ id: 3 }).union(tickets.where({ id: 1 })));
found.groups = await tickets.aggregate({
  $select: { $count: "unordered", "points:max": "unordered" },
  $groupBy: { owner: "exact" },
});
const edits = await client(closeTicket).applyAction({ ticket: 1 }, { $returnEdits: true });
found.modified = edits.modifiedObjects;
found.after = (await tickets.fetchOne(1)).status;
found.refused = await client(closeTicket).applyAction({ points: 2 }).catch((error) => error.constructor.name);
found.properties = Object.keys((await client.fetchMetadata(Ticket)).properties).length;
console.log(JSON.stringify(found));
"""


def run(command: list[str], folder: Path, **variables: str) -> str:
    done = subprocess.run(
        command, cwd=folder, text=True, capture_output=True, env=os.environ | variables
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_runtime_of_the_typescript_osdk_reads_and_edits(tmp_path: Path) -> None:
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed: apt-get install nodejs npm")
    (tmp_path / "script.mjs").write_text(SCRIPT)
    write_ontology(tmp_path)
    options = ["--no-audit", "--no-fund", "--ignore-scripts"]
    run(["npm", "install", *options, "@osdk/client@2.22.0"], tmp_path)
    with running_platform(tmp_path, []) as running:
        found = run(
            ["node", "script.mjs"],
            tmp_path,
            URL=running.url,
            TOKEN=running.tokens.pipeline,
            NODE_EXTRA_CA_CERTS=str(running.ca),
        )
    assert json.loads(found) == {
        "open": [1, 2],
        "text": [2, 3],
        "title": "Printer on fire",
        "assignee": "ann",
        "watchers": ["bob", "cy"],
        "union": [3, 1],
        "groups": [
            {"$group": {"owner": "ann"}, "$count": 2, "points": {"max": 3}},
            {"$group": {"owner": "bob"}, "$count": 1, "points": {"max": 1.5}},
        ],
        "modified": [{"objectType": "Ticket", "primaryKey": 1}],
        "after": "closed",
        "refused": "ActionValidationError",
        "properties": 12,
    }
