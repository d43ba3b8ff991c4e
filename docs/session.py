"""Draws docs/session.svg, the terminal session in the README, from a real one: `make picture`."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

from tests.conftest import REPOSITORY, snapshot

COLOURS = {**os.environ, "FORCE_COLOR": "1", "COLUMNS": "100"}
BIN = Path(sys.executable).parent


def main() -> None:
    """Run the session and write the picture."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        template = snapshot(folder / "template", "v0.0.0")
        module = folder / "parts-search"
        subprocess.run([BIN / "copier", "copy", "--defaults", "-q", template, module], check=True)
        log = (folder / "serve.log").open("w")
        server = subprocess.Popen(
            [BIN / "cm", "serve"], cwd=module, env=COLOURS, stdout=log, stderr=log
        )
        while "next" not in (folder / "serve.log").read_text():
            time.sleep(0.05)
        call = subprocess.run(
            [BIN / "cm", "call", "search"],
            cwd=module, env=COLOURS, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        server.send_signal(signal.SIGTERM)
        server.wait()
        draw((folder / "serve.log").read_text().replace(str(sys.executable), "python"), call.stdout)


def draw(serve: str, call: str) -> None:
    """Write the picture of what both commands printed."""
    console = Console(record=True, width=100, file=io.StringIO(), force_terminal=True)
    for command, output in (
        ("copier copy TEMPLATE parts-search && cd parts-search", ""),
        ("cm serve", serve),
        ("cm call search", call),
    ):
        console.print(Text.assemble(("$ ", "bold green"), (command, "bold")))
        console.print(
            Text.from_ansi(
                output.split("call search answered")[0].rstrip()
                if command == "cm serve"
                else output.rstrip()
            )
        )
    svg = console.export_svg(title="cm serve: a compute module under the local Foundry")
    # Without the web fonts: the picture must not fetch anything.
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    (REPOSITORY / "docs" / "session.svg").write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
