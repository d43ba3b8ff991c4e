"""What a run of a module tells the person who started it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from foundry_cm.errors import CmError

if TYPE_CHECKING:
    from foundry_cm.module.functions import Function


class Reporter:
    """Hears of everything that happens to a module; this one keeps silent."""

    def line(self, replica: int, text: str) -> None:
        """A replica printed a line."""

    def printed(self, replica: int, texts: Sequence[str]) -> None:
        """A replica printed these lines together."""
        for text in texts:
            self.line(replica, text)

    def died(self, replica: int, error: CmError, delay: float | None) -> None:
        """A replica died; it is started again after `delay` seconds, or never where that is None."""

    def scaled(self, before: int, wished: int, why: str) -> None:
        """The scaler wishes another number of replicas."""

    def leaves(self, replica: int, why: str) -> None:
        """A replica takes no more calls, and ends once those that it has are answered."""

    def declared(self, functions: Sequence[Function], warnings: Sequence[str]) -> None:
        """A replica declared its functions."""

    def standing_in(self, text: str) -> None:
        """Something on this machine answers in place of a Source; the text says what."""

    def unanswered(self, error: CmError) -> None:
        """A stand-in for a Source could not answer a request of the module."""
        self.noted(
            ". ".join(part.rstrip(".") for part in (error.what, error.where, error.fix) if part)
        )

    def noted(self, text: str) -> None:
        """The local Foundry saw something that the module's owner may want to know."""


class Several(Reporter):
    """Tells several others."""

    def __init__(self, *others: Reporter) -> None:
        for name in _HEARD:
            setattr(self, name, _each([getattr(other, name) for other in others]))


def _each(told: Sequence[Callable[..., None]]) -> Callable[..., None]:
    def tell(*what: Any) -> None:
        for each in told:
            each(*what)

    return tell


# All that a reporter hears of; lines come together.
_HEARD = [name for name in vars(Reporter) if not name.startswith("_") and name != "line"]


class Listening(Reporter):
    """Passes on what it hears, but for the lines of a module: `printed` gets those."""

    def __init__(self, reporter: Reporter, printed: Callable[[int, Sequence[str]], None]) -> None:
        for name in ("standing_in", "unanswered", "noted"):
            setattr(self, name, getattr(reporter, name))
        self.printed = printed  # type: ignore[assignment,method-assign]
