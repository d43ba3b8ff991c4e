"""One command of a container engine: as it runs, and as `--dry-run` prints it."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from foundry_cm.errors import CmError

_TAIL_LINES = 12


@dataclass(frozen=True)
class Command:
    """A command line without a shell, and where its secrets come from.

    `stdin_env` names the environment variable whose value is written to standard input, so that
    no secret is ever an argument (arguments are readable by every user of the machine).
    """

    argv: tuple[str, ...]
    stdin_env: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)

    def shown(self) -> str:
        """The line a person would type in a shell; secrets stay variables."""
        line = shlex.join(self.argv)
        if self.stdin_env is None:
            return line
        return f"printf '%s' \"${self.stdin_env}\" | {line}"

    def run(self, *, fix: str | None = None) -> None:
        """Run it with the engine's own output on standard error.

        Raises `CmError` when it cannot start or ends with another code than 0.
        """
        stdin = None if self.stdin_env is None else os.environ[self.stdin_env]
        done = self._started(input=stdin, stdout=sys.stderr)
        if done.returncode != 0:
            raise CmError(
                f"{self.name} failed with exit code {done.returncode}",
                where=self.shown(),
                fix=fix or "The lines above are the engine's own.",
                code="EngineFailed",
            )

    def output(self) -> str:
        """Run it and return its standard output.

        Raises `CmError` with the last lines of its standard error when it fails.
        """
        done = self._started(stdin=subprocess.DEVNULL, capture_output=True)
        if done.returncode != 0:
            raise CmError(
                f"{self.name} failed: {_last_line(done.stderr)}",
                where=self.shown(),
                code="EngineFailed",
                details="\n".join(done.stderr.splitlines()[-_TAIL_LINES:]) or None,
            )
        return done.stdout

    def _started(self, **streams: Any) -> subprocess.CompletedProcess[str]:
        """Run it to its end; raises `CmError` when it cannot start."""
        environment = {**os.environ, **self.env}
        try:
            return subprocess.run(self.argv, text=True, env=environment, check=False, **streams)
        except OSError as error:
            raise CmError(
                f"{self.argv[0]} does not start: {error.strerror}", code="EngineMissing"
            ) from error

    def attempt(self) -> None:
        """Run it and let it fail: for a clean-up that may find nothing to clean."""
        with contextlib.suppress(CmError):
            self.output()

    @property
    def name(self) -> str:
        """The engine and its verb, such as `docker push`."""
        return " ".join(self.argv[:2])


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "it gave no reason"
