"""A module under the local Foundry, tried out for the live checks: what each of them finds."""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from foundry_cm.checks.container import containers
from foundry_cm.checks.finding import Finding, Severity
from foundry_cm.checks.hook import OFF, exits_at_sigterm, hooks
from foundry_cm.checks.module import Module
from foundry_cm.errors import CmError
from foundry_cm.image.engines import Buildah, Engine, find_engine
from foundry_cm.image.image import Image
from foundry_cm.image.launch import in_container
from foundry_cm.local import readonly
from foundry_cm.local.environment import needed
from foundry_cm.local.function.foundry import LocalFoundry, Settings
from foundry_cm.local.replica import Launch, Replica
from foundry_cm.module.functions import Function
from foundry_cm.module.project import Project

_SECONDS = 30.0
_TIMED = 5
# Enough calls at a time that both of two replicas get some.
_TOGETHER = 8
_TRIES, _PAUSE = 5, 0.5
# How often it is looked whether a call has been taken up, and after how many seconds each.
_POLLS, _TAKEN = 100, 0.02
_READ_ONLY = "Read-only file system"

Found = tuple[str, Finding]


def findings(module: Module, code: str) -> list[Finding]:
    """What the check of a code finds; the module is tried out once for all of them."""
    return [finding for each, finding in _tried(module).found if each == code]


def untried(module: Module) -> str | None:
    """Why the module was not tried on a read-only root; None where it was, or never got so far."""
    return _tried(module).untried


def _tried(module: Module) -> Trial:
    if "trial" not in module.memory:
        module.memory["trial"] = trial = Trial(module)
        asyncio.run(trial.run())
    found: Trial = module.memory["trial"]
    return found


class Trial:
    """One trial of a module, and what it found.

    Raises `CmError` for an image that is not there, or an engine that does not answer.
    """

    def __init__(self, module: Module) -> None:
        self.module = module
        self.project = Project.read(module.folder)
        self.found: list[Found] = []
        self.answered: dict[str, Any] = {}
        self.seconds: dict[str, float] = {}
        self.untried: str | None = None
        self.image: tuple[Engine, Image] | None = None
        if module.container:
            engine = find_engine(module.engine)
            self.image = engine, engine.inspect(module.container)

    async def run(self) -> None:
        """Start the module, call it, stop it; again with two replicas, one of which dies; on a locked root."""
        try:
            settings = self._settings(replicas=1, restart=False)
            async with self._started(settings) as foundry:
                self._declared(foundry.functions)
                for function in foundry.functions.values():
                    await self._call(foundry, function)
                await self._stop(foundry.replicas[0])
            if self.answered:
                settings = self._settings(replicas=2, restart=True)
                async with self._started(settings) as foundry:
                    await self._compare(foundry)
                    if await self._kill(foundry):
                        await self._end(foundry)
                await self._on_a_locked_root()
        except CmError as error:
            self._note(
                "CM500", None, f"The module cannot be tried: {error.what}", error.fix, error.where
            )

    def _settings(self, **chosen: Any) -> Settings:
        command = [] if self.image else self.project.command()
        settings = Settings.of(self.project, command=command, timeout_seconds=_SECONDS, **chosen)
        return in_container(settings, *self.image) if self.image else settings

    @asynccontextmanager
    async def _started(self, settings: Settings) -> AsyncIterator[LocalFoundry]:
        began = time.perf_counter()
        async with LocalFoundry(settings) as foundry:
            await foundry.ready()
            if not self.answered:
                self._budget(
                    None,
                    "cold start",
                    time.perf_counter() - began,
                    self.module.settings.cold_start_seconds,
                )
            yield foundry

    def _note(
        self,
        code: str,
        function: str | None,
        message: str,
        fix: str | None,
        where: str | None = None,
        severity: Severity | None = None,
    ) -> None:
        """Keep a finding: at its own place in the module, at its handler, or at the started file."""
        handler = next((h for h in self.module.program.handlers if h.node.name == function), None)
        path, line = (handler.source.path, handler.node.lineno) if handler else (self._entry(), 1)
        file, _, number = (where or "").rpartition(":")
        inside = file.removeprefix(f"{self.module.folder}/")
        if self.image:
            inside = next((c.files[file] for c in containers(self.module) if file in c.files), "")
        if number.isdecimal() and inside in self.module.files:
            path, line = inside, int(number)
        fix = fix or "The log of cm serve says more."
        self.found.append((code, Finding(message, path, fix, line, severity)))

    def _entry(self) -> str:
        return self.module.entry.path if self.module.entry else "."

    def _budget(
        self, function: str | None, what: str, seconds: float, budget: float | None
    ) -> None:
        if budget is not None and seconds > budget:
            message = f"The {what} took {seconds:.3g} s, over the budget of {budget:g} s"
            self._note(
                "CM506", function, message, "Load less, or raise the budget in pyproject.toml."
            )

    def _declared(self, functions: dict[str, Function]) -> None:
        written = {handler.node.name for handler in self.module.program.handlers}
        for name in sorted(written - functions.keys()):
            message = f"{name} is not among the functions that the module posts"
            self._note("CM501", name, message, "See what the module prints: cm serve")
        for name in sorted(functions.keys() - written) if written else []:
            message = f"The module posts {name}, which is no handler in its files"
            self._note("CM501", None, message, "Register it by its name in a file of the module.")

    async def _call(self, foundry: LocalFoundry, function: Function) -> None:
        sample = self._sample(function)
        times = []
        for _ in range(_TIMED):
            began = time.perf_counter()
            if not await self._answers(foundry, function, sample, edge=False):
                break
            times.append(time.perf_counter() - began)
        if times:
            budget = self.module.settings.p50_ms
            name = f"median call of {function.name}"
            self.seconds[function.name] = statistics.median(times)
            self._budget(
                function.name,
                name,
                self.seconds[function.name],
                budget / 1000 if budget else None,
            )
            await self._answers(foundry, function, function.sample_event(edge=True), edge=True)
        await self._wrong(foundry, function)

    def _has_event(self, function: Function) -> bool:
        return self.module.text(f"events/{function.name}.json") is not None

    def _sample(self, function: Function) -> Any:
        """The owner's event for a function, or one made from its types."""
        text = self.module.text(f"events/{function.name}.json")
        try:
            return json.loads(text) if text else function.sample_event()
        except ValueError:
            return function.sample_event()

    async def _answers(
        self, foundry: LocalFoundry, function: Function, event: Any, *, edge: bool
    ) -> bool:
        which = "an extreme event" if edge else "its sample event"
        try:
            result = await foundry.call(function.name, event)
        except CmError as error:
            if error.code == "HandlerFailed" and error.details:
                message = f"{function.name} tells its caller the traceback: {error.what}"
                fix = "Catch it in the handler, log it, and raise a message for the caller."
                self._note("CM505", function.name, message, fix, severity=Severity.WARNING)
            if error.code in ("InvalidResult", "ResultTooLarge"):
                self._note("CM503", function.name, error.what, error.fix, error.where)
            elif error.code == "HandlerFailed" and edge:
                pass  # a handler may refuse an extreme event
            elif error.code == "HandlerFailed" and not (
                function.inputs or self._has_event(function)
            ):
                message = f"skipped: {function.name} declares no inputs, and fails without any: {error.what}"
                fix = f"Write an event for it: events/{function.name}.json"
                self._note("CM510", function.name, message, fix)
            else:
                message = f"{function.name} does not answer {which}: {error.what}"
                self._note("CM502", function.name, message, error.fix, error.where)
            return False
        if not edge:
            self.answered[function.name] = result.value
        return True

    async def _wrong(self, foundry: LocalFoundry, function: Function) -> None:
        """An event of the wrong shape must not harm the module."""
        if not foundry.replicas[0].alive:
            return
        job = foundry.jobs.submit(function.name, b'{"no such field": [null]}')
        await asyncio.wait({job.answer}, timeout=_SECONDS / 3)
        if not job.answer.done():
            foundry.jobs.give_up(job)
        elif not job.answer.cancelled():
            job.answer.exception()  # asked for, or asyncio prints it
        if not job.answer.done() or not foundry.replicas[0].alive:
            message = f"A wrong event for {function.name} is not answered"
            self._note("CM504", function.name, message, "Let nothing but the call fail.")

    async def _stop(self, replica: Replica) -> None:
        if not replica.alive:
            return
        limit, began = self.module.settings.stop_seconds, time.perf_counter()
        await replica.stop(limit)
        if time.perf_counter() - began >= limit:
            message = f"The module does not stop within {limit:g} s of SIGTERM"
            fix, where = "Handle SIGTERM, and exit with code 0.", None
            if exits_at_sigterm(self.module) and (found := hooks(self.module)):
                fix = f"The SDK's exit hook starts it again. {OFF}"
                where = f"{found[0][0].path}:{found[0][1]}"
            self._note("CM508", None, message, fix, where)

    async def _compare(self, foundry: LocalFoundry) -> None:
        """The answers of two replicas to one event."""
        for name in self.answered:
            event = self._sample(foundry.functions[name])
            calls = (foundry.call(name, event) for _ in range(_TOGETHER))
            results = await asyncio.gather(*calls, return_exceptions=True)
            given = [result for result in results if not isinstance(result, BaseException)]
            if len({json.dumps(result.value, sort_keys=True) for result in given}) > 1:
                message = f"{name} gives different answers to one event"
                fix = "Keep no state between calls: each replica has its own."
                self._note("CM507", name, message, fix, severity=Severity.WARNING)

    async def _kill(self, foundry: LocalFoundry) -> bool:
        """A replica that is killed comes back, and answers; gives whether it did."""
        name = next(iter(self.answered))
        for replica in foundry.replicas:
            replica.kill()
        for left in reversed(range(_TRIES)):
            try:
                await foundry.call(name, self._sample(foundry.functions[name]))
                return True
            except CmError as error:
                # A call may have gone to the process that was just dying.
                if left and error.code == "ModuleDied" and any(r.alive for r in foundry.replicas):
                    await asyncio.sleep(_PAUSE)
                    continue
                message = f"After the module was killed, it does not come back: {error.what}"
                self._note("CM509", None, message, error.fix, error.where)
                break
        return False

    async def _end(self, foundry: LocalFoundry) -> None:
        """A call that runs when SIGTERM comes is answered before the process ends."""
        name = min(self.seconds, key=lambda each: self.seconds[each])
        limit = self.module.settings.stop_seconds
        # buildah, which builds images and runs them only by the way, ends what runs in them at once.
        by_buildah = self.image is not None and isinstance(self.image[0], Buildah)
        if by_buildah or self.seconds[name] > limit / 2:
            return
        job = foundry.jobs.submit(name, json.dumps(self._sample(foundry.functions[name])).encode())
        # It may fail after all, when nobody waits for it any more.
        job.answer.add_done_callback(lambda done: done.cancelled() or done.exception())
        for _ in range(_POLLS):
            await asyncio.sleep(_TAKEN)
            if job.replica is not None:
                break
        await asyncio.gather(*(replica.stop(limit) for replica in foundry.replicas))
        is_lost = not job.answer.done() or job.answer.cancelled() or job.answer.exception()
        if job.replica is not None and is_lost:
            message = f"A call of {name} is lost when SIGTERM comes while it runs"
            fix = "At SIGTERM ask for no more work, finish and post what runs, then exit."
            self._note("CM512", name, message, fix, severity=Severity.WARNING)

    async def _on_a_locked_root(self) -> None:
        """The calls that were answered, where only HOME and the folder for temporary files are writable."""
        settings = self._settings(replicas=1, restart=False)
        try:
            locked = self._locked(settings)
        except CmError as error:
            self.untried = error.what
        if self.untried:
            return
        fix = "Write below HOME or in the folder for temporary files, and not beside the code."
        try:
            async with self._started(locked) as foundry:
                for name in self.answered:
                    try:
                        await foundry.call(name, self._sample(foundry.functions[name]))
                    except CmError as error:
                        message = f"{name} does not answer on a read-only root: {error.what}"
                        if reason := _refused(foundry.replicas[0].output, error.what):
                            message += f" It says {reason}"
                        self._note("CM511", name, message, fix, error.where)
        except CmError as error:
            message = f"The module does not start on a read-only root: {error.what}"
            self._note("CM511", None, message, fix, error.where)

    def _locked(self, settings: Settings) -> Settings:
        """The same on a read-only root; sets `untried` where that cannot be had here."""
        if self.image:
            engine, image = self.image
            if isinstance(engine, Buildah):
                self.untried = readonly.why_not()
            writable = [home] if (home := engine.home(image)).strip("/") else []
            writable.append("/tmp")  # noqa: S108  (of the container)
            return in_container(settings, engine, image, writable=writable)
        self.untried = readonly.why_not()
        writable = [str(Path.home()), tempfile.gettempdir()]

        def launch(_: int, env: dict[str, str], files: Path) -> Launch:
            inside = (str(self.project.folder), str(files))
            command = readonly.locked(settings.command, writable=writable, inside=inside)
            return Launch(command, {**needed(), **env})

        return replace(settings, launch=launch)


def _refused(output: list[str], told: str) -> str:
    """What a module printed last of a file that it cannot write, unless that is told already."""
    found = [line.strip() for line in output if _READ_ONLY in line]
    return found[-1] if found and _READ_ONLY not in told else ""
