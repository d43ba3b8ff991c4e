"""What a module has said of its functions, and what that leaves open."""

from __future__ import annotations

import difflib
from typing import Any

from foundry_cm.errors import FAILURE, USAGE, CmError, near_miss
from foundry_cm.module.code import Program
from foundry_cm.module.functions import Function
from foundry_cm.module.tracebacks import Failure


class Declared:
    """The functions that a module declared with its last post; nothing before the first."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self.schemas: list[Any] | None = None
        self.functions: dict[str, Function] = {}
        self.warnings: list[str] = []
        self._refused: dict[str, CmError] = {}
        self._broken: Failure | None = None
        self._complete = False

    def take(self, schemas: list[Any], *, broken: Failure | None, complete: bool) -> None:
        """Take the schemas of one post, the good ones and those that nobody can read.

        `broken`: what the module raised before. `complete`: there are no functions besides; the
        TypeScript SDK serves those as well that are not among its definitions.
        """
        self.schemas, self._broken, self._complete = schemas, broken, complete
        self.functions, self._refused, self.warnings = {}, {}, []
        for schema in schemas:
            try:
                function = Function(schema)
            except CmError as error:
                name = schema.get("functionName") if isinstance(schema, dict) else None
                self._refused[str(name)] = error
                self.warnings.append(error.what)
            else:
                self.functions[function.name] = function
                self.warnings += function.warnings()
        self.warnings = self.of_import + self.warnings
        if not schemas:
            self.warnings.append("the module declares no functions")

    @property
    def of_import(self) -> list[str]:
        """What is to be said of a module that has raised and goes on."""
        if self._broken is None:
            return []
        return [f"the module {_raised(self._broken)}{self._missing()}"]

    def _missing(self) -> str:
        """Which functions its code registers and it has not declared, as the end of a sentence."""
        names = sorted(self._program.registered() - self.functions.keys())
        if not names:
            return ""
        return f": {', '.join(names)} {'is' if len(names) == 1 else 'are'} missing"

    def find(self, name: str) -> Function | None:
        """The function of a name; None where the module may have it without having declared it.

        Raises the `CmError` of one that there is not, or that nobody can read.
        """
        if name in self.functions:
            return self.functions[name]
        if name in self._refused:
            raise self._refused[name].again()
        if self.schemas is None:
            return None
        if not self._complete and not difflib.get_close_matches(name, self.functions):
            return None
        raise CmError(
            f'The module has no function "{name}"'
            + (f": it {_raised(self._broken)}" if self._broken else ""),
            where=self._broken.where if self._broken else None,
            fix=self._mend(near_miss(name, self.functions)),
            code="UnknownFunction",
            exit_code=USAGE,
        )

    def _mend(self, advice: str) -> str:
        """How to mend what the module raised; the advice where it raised nothing."""
        if self._broken is None:
            return advice
        return self._broken.fix or "Mend that first: the SDK serves what was registered before."

    def whole(self) -> list[Any]:
        """The schemas as they were posted.

        Raises `CmError` where they are none, cannot be read, or are those of half a module.
        """
        if self.schemas is None:
            raise CmError(
                "The module declares no functions: it asked for work and posted no schema",
                fix="With the Python SDK, @function posts one; with the TypeScript SDK, what is in "
                "`definitions`.",
                code="NoSchema",
            )
        for error in self._refused.values():
            raise error.again()
        if self._broken:
            raise CmError(
                f"The module {_raised(self._broken)}{self._missing()}",
                where=self._broken.where,
                fix=self._mend(""),
                details=self._broken.trimmed,
                code="BrokenImport",
            )
        return self.schemas


def _raised(failure: Failure) -> str:
    place = f", {failure.where}" if failure.where else ""
    return f"raised while it was imported ({failure.summary}{place}) and the SDK started it all the same"


def no_listener(name: str, declared: bool) -> CmError:
    """The failure of a call to a function that the TypeScript SDK serves no listener for."""
    known = "declares it among its definitions, and" if declared else "neither declares nor"
    return CmError(
        f'The module has no listener for "{name}": it {known} registers it nowhere',
        fix=f'Register one: .register("{name}", ...)',
        code="UnknownFunction",
        exit_code=FAILURE if declared else USAGE,
    )
