"""What `cm serve` and `cm run` do alike for whoever stops inside the module: `--debug` and `--pdb`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from foundry_cm.cli.console import say
from foundry_cm.errors import USAGE, CmError
from foundry_cm.local.addresses import LOOPBACK
from foundry_cm.local.debugger import (
    DEBUG_PORT,
    Debugger,
    LaunchOf,
    chosen_port,
    in_terminal,
)

if sys.platform != "win32":
    import termios

# Typer reads these annotations at run time.
Debug = Annotated[
    bool,
    typer.Option(
        "--debug",
        help="Run the module under debugpy, so that VS Code and other editors can attach.",
    ),
]
DebugPort = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=65535,
        help=f"Port of the debugger, with --debug. Default: {DEBUG_PORT}, or a free one.",
        show_default=False,
    ),
]
Wait = Annotated[
    bool,
    typer.Option(
        "--wait", help="With --debug: wait for a debugger to attach before the module starts."
    ),
]
Pdb = Annotated[
    bool,
    typer.Option("--pdb", help="Give the module this terminal, so that breakpoint() stops here."),
]


@dataclass(frozen=True)
class Asked:
    """What was asked for."""

    debug: bool
    port: int | None
    wait: bool
    pdb: bool

    def __bool__(self) -> bool:
        return self.debugger or self.pdb

    @property
    def debugger(self) -> bool:
        """Whether a debugger may attach; a port of it, or to wait for it, means that as well."""
        return self.debug or self.wait or self.port is not None

    def begin(self, command: Sequence[str], folder: Path) -> Debugging:
        """How the module is run; raises `CmError` where it cannot be debugged so."""
        if self.debugger and self.pdb:
            raise CmError(
                "Both --debug and --pdb were given", fix="Give one of them.", exit_code=USAGE
            )
        if self.debugger:
            debugger = Debugger(command, folder, chosen_port(self.port), wait=self.wait)
            return Debugging(debugger.launch, debugger)
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise CmError(
                "--pdb needs a terminal",
                fix="Without one, --debug lets an editor attach.",
                exit_code=USAGE,
            )
        return Debugging(in_terminal(command, folder), None)


@dataclass(frozen=True)
class Debugging:
    """A module that is debugged: what starts it, and the debugger that an editor attaches to."""

    launch: LaunchOf
    debugger: Debugger | None

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Let editors attach, or leave the terminal as it was found."""
        if self.debugger:
            async with self.debugger:
                yield
        else:
            with _terminal_as_it_was():
                yield

    def show(self) -> None:
        """Say how to stop inside the module."""
        if self.debugger:
            waits = "; the module waits for it" if self.debugger.wait else ""
            say(
                f"  debugger {LOOPBACK}:{self.debugger.port}  attach with F5 in VS Code{waits}",
                "cyan",
            )
        else:
            say("  pdb      breakpoint() in your code stops in this terminal", "cyan")


@contextlib.contextmanager
def _terminal_as_it_was() -> Iterator[None]:
    if sys.platform == "win32":
        yield
    else:
        before = termios.tcgetattr(sys.stdin)
        try:
            yield
        finally:
            # A module that ends at a prompt leaves a terminal that shows nothing of what is typed.
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
