"""`cm check --format sarif` against the schema of SARIF 2.1.0, which Microsoft publishes on npm."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from foundry_cm.checks import Finding, Severity, checks
from foundry_cm.cli.report import as_sarif

PACKAGE = "@microsoft/jest-sarif@1.0.0-beta.0"
SCHEMA = "package/lib/schemas/sarif-2.1.0-rtm.5.json"


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Any:
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed: apt-get install nodejs npm")
    folder = tmp_path_factory.mktemp("schema")
    subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=folder, check=True)
    [archive] = folder.glob("*.tgz")
    with tarfile.open(archive) as packed:
        content = packed.extractfile(SCHEMA)
        assert content
        return json.load(content)


@pytest.mark.node
@pytest.mark.slow
def test_every_check_and_severity_is_valid_sarif(schema: Any, tmp_path: Path) -> None:
    found = [
        Finding(
            "It says: ä \u2028", "a b/ü%.py", "Mend it.", line, severity, check.code, check.name
        )
        for check in checks()
        for line, severity in ((1, check.severity), (0, None), (7, Severity.NOTICE))
    ]
    jsonschema.validate(as_sarif(found, tmp_path), schema)
    jsonschema.validate(as_sarif([], tmp_path), schema)
    wrong = as_sarif(found, tmp_path)
    wrong["runs"][0]["results"][0]["level"] = "notice"
    with pytest.raises(jsonschema.ValidationError, match="'notice' is not one of"):
        jsonschema.validate(wrong, schema)
