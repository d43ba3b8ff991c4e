"""What the panel knows of a run: it hears of everything that happens, and keeps what a page shows."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundry_cm.errors import CmError
from foundry_cm.local.panel.access import told
from foundry_cm.local.panel.history import Call, History
from foundry_cm.local.panel.load import Load
from foundry_cm.local.panel.logs import LogStore
from foundry_cm.local.reporter import Reporter
from foundry_cm.module.coldstart import ColdStart

if TYPE_CHECKING:
    from foundry_cm.module.functions import Function


class Recorder(Reporter):
    """The logs, the calls and the load of one run, and what went wrong with its replicas.

    `only_job` tells which job a replica works on, where it is one alone: what it prints meanwhile
    belongs to that.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.only_job: Callable[[int], str] = lambda _replica: ""
        self.started_at: Callable[[int], float] = lambda _replica: 0.0
        self.history = History(folder)
        self.load = Load()
        self.logs = LogStore(self.history.has_job, lambda replica: self.only_job(replica))
        self.began = time.time()
        # The last death of each replica: why, and when it starts again.
        self.deaths: dict[int, dict[str, Any]] = {}
        # By replica, with the moment of the start that it is of: what the module says of that start, and
        # the milliseconds of the first call after it.
        self._starts: dict[int, tuple[float, ColdStart]] = {}
        self._first_calls: dict[int, tuple[float, float]] = {}
        self.declarations = 0
        # What was changed last, and that it could not be taken in.
        self.edit = ""
        self.refused: dict[str, Any] | None = None

    def printed(self, replica: int, texts: Sequence[str]) -> None:
        """A replica printed lines."""
        self.logs.add(replica, texts)
        for text in texts:
            if start := ColdStart.parse(text):
                self._starts[replica] = (self.started_at(replica), start)

    def start_of(self, replica: int) -> dict[str, Any] | None:
        """The steps of the last start of a replica in seconds, and its first call, as far as known."""
        began = self.started_at(replica)
        found: dict[str, Any] = {}
        when, start = self._starts.get(replica, (0.0, None))
        if start and when == began:
            found["steps"] = start.steps
        when, milliseconds = self._first_calls.get(replica, (0.0, 0.0))
        return found | ({"firstCall": milliseconds} if when == began else {}) or None

    def died(self, replica: int, error: CmError, delay: float | None) -> None:
        """A replica died: the page says why, until it works again."""
        self.deaths[replica] = {
            "error": told(error),
            "at": time.time(),
            "again": None if delay is None else time.time() + delay,
        }
        self.logs.say(f"Replica {replica}: {error.what}", "error")

    def scaled(self, before: int, wished: int, why: str) -> None:
        """The scaler wishes another number of replicas."""
        self.logs.say(f"Scaler: {before} -> {wished} replicas: {why}")

    def leaves(self, replica: int, why: str) -> None:
        """A replica is to end."""
        self.logs.say(f"Replica {replica} takes no more calls: {why}")

    def standing_in(self, text: str) -> None:
        """Something answers in place of a Source."""
        self.logs.say(text)

    def unanswered(self, error: CmError) -> None:
        """A stand-in had no answer."""
        self.logs.say(f"{error.what}. {error.fix or ''}".strip(), "warning")

    def declared(self, functions: Sequence[Function], warnings: Sequence[str]) -> None:
        """The functions are others now."""
        self.declarations += 1

    def noted(self, text: str) -> None:
        """Something that the owner may want to know."""
        self.logs.say(text, "warning")

    def ended(self, call: Call) -> None:
        """A call was answered, or given up."""
        self.history.ended(call)
        self.load.ended(call.milliseconds, failed=call.state == "failed")
        began = self.started_at(call.replica) if call.replica >= 0 else 0.0
        if call.state == "ok" and self._first_calls.get(call.replica, (0.0,))[0] != began:
            self._first_calls[call.replica] = (began, call.milliseconds)

    def edited(self, what: str) -> None:
        """Files of the module changed, and it starts again with them."""
        self.edit, self.refused = what, None
        self.logs.say(f"{what}: the module starts again")

    def refuses(self, error: CmError) -> None:
        """A change is not taken in: the version before it goes on."""
        self.refused = told(error)
        self.logs.say(error.what, "error")
