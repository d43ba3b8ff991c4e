"""What the verbs that run a module do alike: they show its output, and end when they are told to."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from rich.segment import Segment, Segments
from rich.style import Style

from foundry_cm.cli.console import err, say
from foundry_cm.local.reporter import Reporter

_DIM = Style(dim=True)
Result = TypeVar("Result")


class Output(Reporter):
    """Shows what the module prints, with the number of the replica where there are several."""

    def __init__(self, replicas: int = 1) -> None:
        self._many = replicas > 1
        self._noted: set[str] = set()

    def line(self, replica: int, text: str) -> None:
        """Show a line of a replica."""
        self.printed(replica, [text])

    def printed(self, replica: int, texts: Sequence[str]) -> None:
        """Show lines of a replica; at once, for a module can print a million of them."""
        before = f"{replica} | " if self._many else "  | "
        shown = "".join(f"{before}{text}\n" for text in texts)
        # As one piece: rich would wrap and style each line by itself. The console makes it printable.
        err.print(Segments([Segment(shown, _DIM)]))

    def standing_in(self, text: str) -> None:
        """Show what answers in place of a Source."""
        say(f"  source   {text}")

    def noted(self, text: str) -> None:
        """Show what the local Foundry noticed; once, however often it happens."""
        if text not in self._noted:
            self._noted.add(text)
            say(text, "yellow")


def told_to_stop() -> asyncio.Event:
    """An event that is set by Ctrl-C, by SIGTERM, and by a terminal that is closed."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def told(*_: object) -> None:
        if loop.is_closed():  # only the summary is left to be printed
            raise KeyboardInterrupt
        loop.call_soon_threadsafe(stop.set)

    for number in _stopping():
        signal.signal(number, told)
    return stop


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run to the end what prints one result; whatever stops it leaves no module behind.

    asyncio has an answer to Ctrl-C, which cancels the work and so ends the module; the other signals
    get the same.
    """

    # A shell starts what runs in the background with Ctrl-C ignored. asyncio would leave that as it is,
    # and the others would be ignored as well.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)

    async def stoppable() -> Result:
        for number in _stopping():
            signal.signal(number, signal.getsignal(signal.SIGINT))
        return await work

    return asyncio.run(stoppable())


def _stopping() -> list[signal.Signals]:
    numbers = [signal.SIGINT, signal.SIGTERM]
    # Who is started by nohup outlives the terminal.
    if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    return numbers
