"""`make demo`: render a module, run it under the local Foundry, call its function.

Everything is done as a user does it, with the commands of the README, in the folder `demo/`.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.conftest import REPOSITORY, commit, snapshot

DEMO = REPOSITORY / "demo"


def run(*command: str | Path, cwd: Path = DEMO) -> None:
    """Show a command, run it, and end the demo where it fails."""
    shown = " ".join(os.path.relpath(w, cwd) if isinstance(w, Path) else w for w in command)
    print(f"\n\033[1m$ {shown}\033[0m", flush=True)
    if subprocess.run([str(word) for word in command], cwd=cwd).returncode:
        sys.exit(f"demo: the command failed: {shown}")


def main() -> None:
    """Go from nothing to an answer."""
    began = time.monotonic()
    shutil.rmtree(DEMO, ignore_errors=True)
    # The working tree as a release, so that the demo shows what is here, committed or not.
    source = snapshot(DEMO / "template", "v0.0.0")
    module = DEMO / "my-module"
    run(Path(sys.executable).with_name("copier"), "copy", "--defaults", "--quiet", source, module)
    commit(module, "my module")
    run(sys.executable, "-m", "venv", ".venv", cwd=module)
    bin_folder = module / ".venv" / "bin"
    run(bin_folder / "pip", "install", "-q", "-r", "requirements-dev.txt", cwd=module)
    server = subprocess.Popen([bin_folder / "cm", "serve"], cwd=module)
    try:
        while not (module / ".cm" / "serve.json").exists() and server.poll() is None:
            time.sleep(0.05)
        run(bin_folder / "cm", "call", "search", cwd=module)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()
    print(f"\nThe module answered, {time.monotonic() - began:.0f} s after nothing was there.")
    print("next: cd demo/my-module && . .venv/bin/activate && cm serve")


if __name__ == "__main__":
    main()
