"""For a module's own tests: the module under the local Foundry, called from ordinary functions."""

from __future__ import annotations

import asyncio
import queue
import re
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundry_cm.errors import USAGE, CmError, near_miss, printable
from foundry_cm.local.background import Background
from foundry_cm.local.function.foundry import LocalFoundry, Settings
from foundry_cm.local.function.heard import Heard
from foundry_cm.local.reporter import Reporter
from foundry_cm.module.functions import Function
from foundry_cm.module.project import Project

if TYPE_CHECKING:
    from foundry_cm.local.pipeline import pipeline as pipelines
    from foundry_cm.local.platform.ontologies.store import Ontology


# What a module of the template says to its caller, and prints with the traceback.
_JOB = re.compile(r"failed on job [\w-]+")
_LATE_SECONDS, _SHOWN_LINES = 1.0, 40
_READ_SECONDS = 0.05


class CallFailed(AssertionError):
    """The module died, raised, or gave a result that Foundry could not use."""


class EventRefused(ValueError):
    """The event does not fit the function's declared inputs; the module never saw it."""


class Foundry:
    """A module running under the local Foundry; use it as a context manager.

    `command` and the size limit default to what `cm serve` would use in `folder`, and as there a
    module with application permissions sees what lies in `data/`; `settings` are those of
    `foundry_cm.local.function.foundry.Settings`. Among them, `sources` are the Sources of the module in
    place of those in `sources.local.toml`: `{"PartsApi": {"answers": "tests/answers/PartsApi"}}`, or
    `{"PartsApi": {"url": "http://127.0.0.1:PORT"}}`.
    """

    def __init__(
        self, folder: Path | str = ".", command: Sequence[str] = (), **settings: Any
    ) -> None:
        project = Project.read(Path(folder))
        defaults = {"timeout_seconds": 60.0, "restart": False}
        self._settings = Settings.of(
            project, command=project.command(command), **(defaults | settings)
        )
        self._log = _Log()
        self._background = Background()
        self._foundry: LocalFoundry | None = None

    def __enter__(self) -> Foundry:
        self._background.start()
        try:
            self._foundry = self._background.run(self._open())
        except BaseException:
            self._background.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._foundry:
                self._background.run(self._foundry.__aexit__(), to_its_end=True)
        finally:
            self._background.close()

    async def _open(self) -> LocalFoundry:
        foundry = LocalFoundry(self._settings, self._log)
        await foundry.__aenter__()
        try:
            await foundry.ready()
        except BaseException:
            await foundry.__aexit__()
            raise
        return foundry

    @property
    def local(self) -> LocalFoundry:
        """The local Foundry itself, for what this class does not offer."""
        if self._foundry is None:
            raise RuntimeError("Use Foundry as a context manager: with Foundry() as foundry: ...")
        return self._foundry

    @property
    def functions(self) -> dict[str, Function]:
        """The functions that the module declared, by name."""
        return self.local.functions

    @property
    def data(self) -> dict[str, str]:
        """The RIDs of what the module may read on the platform, by the names of the folders in `data/`."""
        registry = self.local.registry
        return {each.alias: each.rid for each in registry.resources} if registry else {}

    def items(self, media_set: str) -> dict[str, str]:
        """The RIDs of the items of a media set in `data/`, by their paths."""
        registry = self.local.registry
        if registry is None:
            raise RuntimeError(
                "The module has no application permissions: it cannot read media sets"
            )
        if media_set not in self.data:
            raise LookupError(f"There is no data/{media_set}/. {near_miss(media_set, self.data)}")
        found = registry.media_set(self.data[media_set]).items()
        return {item.path: rid for rid, item in found.items()}

    def objects(self, object_type: str) -> list[dict[str, Any]]:
        """The objects of a type in `data/ontology/`, as the actions of the module have left them."""
        return _objects(self._ontology(), object_type)

    def forget_edits(self) -> None:
        """Undo what actions have edited: the next test finds the objects as the files have them."""
        self._background.run(_soon(self._ontology().edits.forget))

    def _ontology(self) -> Ontology:
        registry = self.local.registry
        if registry is None:
            raise RuntimeError(
                "The module has no application permissions: it cannot read the Ontology"
            )
        if registry.ontology is None:
            raise LookupError("There is no data/ontology/schema.toml")
        return registry.ontology

    @property
    def warnings(self) -> list[str]:
        """What the local Foundry noticed about the declared functions."""
        return self._log.warnings

    @property
    def output(self) -> str:
        """The last lines that the module printed, with those of a call that has just been answered."""
        # What it printed before it answered lies in the pipe already, and is read a moment later.
        if self._background.runs:
            self._background.run(asyncio.sleep(_READ_SECONDS))
        return "\n".join(self._log.lines)

    def call(
        self,
        function: str,
        event: Any,
        *,
        timeout: float | None = None,
        as_user: str | None = None,
    ) -> Any:
        """The result of one call as JSON data; `timeout` in seconds.

        With `as_user` the call names that user and carries a token of the local platform, as calls do in
        some modes of Foundry. Raises `EventRefused` for an event (or function name) that Foundry would refuse, and
        `CallFailed` for everything that goes wrong after that, with what the module printed meanwhile.
        """
        before = self._log.count
        self._log.unanswered_requests.clear()
        try:
            calling = self.local.call(function, event, timeout, as_user=as_user)
            result = self._background.run(calling).value
            self._log.check_answered()
            return result
        except CmError as error:
            raise self._failure(error, before) from None

    def stream(
        self, function: str, event: Any, *, timeout: float | None = None
    ) -> Generator[Any, None, None]:
        """The items of a streamed result, each as soon as the handler has yielded it; raises as `call` does.

        Whoever stops in between is not waited for: the handler goes on to its end.
        """
        before = self._log.count
        self._log.unanswered_requests.clear()
        # An item comes in a tuple, so that None is one as well.
        arrived: queue.SimpleQueue[tuple[Any] | None] = queue.SimpleQueue()
        heard = Heard(lambda item: arrived.put((item,)))
        calling = self.local.call(function, event, timeout, heard=heard)
        running = self._background.begin(calling)
        running.add_done_callback(lambda _: arrived.put(None))
        items = 0
        try:
            while each := arrived.get():
                items += 1
                yield each[0]
            value = running.result().value
            self._log.check_answered()
        except CmError as error:
            raise self._failure(error, before) from None
        finally:
            running.cancel()
        if not items and value != []:
            raise CallFailed(f"{function} gave one result and no stream: use call()")

    def _failure(self, error: CmError, before: int) -> Exception:
        failure = _as_test_error(error)
        # Notes, since the message is what a caller in Foundry gets to read.
        if isinstance(failure, CallFailed):
            if printed := self._log.since(before, error.what):
                failure.add_note(f"The module printed:\n{printed}")
            for unanswered in self._log.unanswered_requests:
                if unanswered is not error:
                    failure.add_note(told(unanswered))
        return failure


async def _soon(call: Callable[[], None]) -> None:
    call()


def _objects(ontology: Ontology, object_type: str) -> list[dict[str, Any]]:
    types = ontology.schema.objects
    if object_type not in types:
        raise LookupError(
            f'There is no object type "{object_type}". {near_miss(object_type, types)}'
        )
    return ontology.written(types[object_type])


def told(error: CmError) -> str:
    """An error in the lines that pytest prints."""
    parts = filter(None, [error.what, error.where, error.fix])
    lines = [printable(part) for part in parts] + [printable(error.details or "", lines=True)]
    return "\n".join(filter(None, lines))


def _as_test_error(error: CmError) -> Exception:
    text = told(error)
    return EventRefused(text) if error.exit_code == USAGE else CallFailed(text)


class _Log(Reporter):
    def __init__(self) -> None:
        self.lines: deque[str] = deque(maxlen=1000)
        self.count = 0
        self.warnings: list[str] = []
        self.unanswered_requests: list[CmError] = []

    def line(self, replica: int, text: str) -> None:
        self.lines.append(text)
        self.count += 1

    def since(self, before: int, failure: str) -> str:
        """What was printed since that many lines; of the job that a failure names, where it names one.

        A line can arrive later than the result that it tells of.
        """
        job = _JOB.search(failure)
        deadline = time.monotonic() + _LATE_SECONDS
        while True:
            lines = list(self.lines)
            new = lines[max(0, len(lines) - (self.count - before)) :]
            of_job = next((n for n, line in enumerate(new) if job and job[0] in line), None)
            if job is None or of_job is not None or time.monotonic() > deadline:
                break
            time.sleep(0.02)
        shown = new[of_job:][:_SHOWN_LINES] if of_job is not None else new[-_SHOWN_LINES:]
        return printable("\n".join(shown), lines=True)

    def noted(self, text: str) -> None:
        self.line(0, text)

    def unanswered(self, error: CmError) -> None:
        super().unanswered(error)
        self.unanswered_requests.append(error)

    def check_answered(self) -> None:
        """Raise the error of a request that no stand-in answered, even where the module coped."""
        if self.unanswered_requests:
            raise self.unanswered_requests[0]

    def declared(self, functions: Sequence[Function], warnings: Sequence[str]) -> None:
        self.warnings = list(warnings)


@dataclass(frozen=True)
class PipelineRun:
    """What one run of a pipeline moved: rows or records by alias."""

    read: dict[str, int]
    written: dict[str, int]
    kills: int
    seconds: float


class Pipeline:
    """A pipeline module with inputs and outputs of its own, below `root`."""

    def __init__(self, folder: Path, root: Path) -> None:
        self.folder = folder
        self.root = root
        self._log = _Log()

    @property
    def output(self) -> str:
        """The last lines that the module printed, in all its runs."""
        return "\n".join(self._log.lines)

    def put(self, alias: str, name: str, content: str | bytes) -> Path:
        """Add a file to an input."""
        path = self.root / "data" / alias / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def run(
        self,
        *,
        faults: Sequence[str] = (),
        build: bool = False,
        timeout: float = 120.0,
        env: Mapping[str, str] | None = None,
        sources: Mapping[str, Any] | None = None,
    ) -> PipelineRun:
        """Run until nothing is left to do; `timeout` in seconds, `env` are variables of its own.

        `sources` are its Sources in place of those in `sources.local.toml`, as `Foundry` takes them.
        Raises `AssertionError` with the module's output when it dies by itself or does not end.
        """
        settings = self.settings(
            faults=faults, of_build=build, env=dict(env or {}), sources=sources
        )
        return asyncio.run(self._run(settings, timeout))

    def settings(self, **chosen: Any) -> pipelines.Settings:
        """How `LocalPipeline` runs it: for what this class does not offer."""
        from foundry_cm.local.pipeline import pipeline as pipelines

        project = Project.read(self.folder)
        return pipelines.Settings(
            command=project.command(),
            folder=self.folder,
            passed=project.env,
            scratch=project.scratch,
            root=self.root,
            **chosen,
        )

    def rows(self, alias: str) -> list[dict[str, Any]]:
        """Every row that an output holds, in the order of its files' names."""
        from foundry_cm.local.platform.tables import hidden, read

        folder = self.root / "outputs" / alias
        files = (path for path in sorted(folder.rglob("*")) if path.is_file())
        shown = (path for path in files if not hidden(str(path.relative_to(folder))))
        return [row for path in shown for row in read(path).to_pylist()]

    def objects(self, object_type: str) -> list[dict[str, Any]]:
        """The objects of a type in `data/ontology/`, as the actions of all runs have left them."""
        from foundry_cm.local.platform.ontologies.store import Ontology

        ontology = Ontology.read(self.root, keep=True)
        if ontology is None:
            raise LookupError("There is no data/ontology/schema.toml")
        return _objects(ontology, object_type)

    async def _run(self, settings: pipelines.Settings, timeout: float) -> PipelineRun:
        from foundry_cm.local.pipeline.pipeline import LocalPipeline

        try:
            async with LocalPipeline(settings, self._log) as pipeline:
                await asyncio.wait_for(pipeline.idle(), timeout)
                await pipeline.finish()
                self._log.check_answered()
                moved = pipeline.moved()
                counts = {
                    each.resource.alias: each.rows
                    for each in moved
                    if not each.resource.is_reference
                }
                outputs = {each.resource.alias for each in moved if each.resource.writable}
                return PipelineRun(
                    read={alias: rows for alias, rows in counts.items() if alias not in outputs},
                    written={alias: rows for alias, rows in counts.items() if alias in outputs},
                    kills=pipeline.kills,
                    seconds=pipeline.seconds,
                )
        except CmError as error:
            raise _as_test_error(error) from None
        except TimeoutError:
            raise CallFailed(f"not idle within {timeout:g} s:\n{self.output}") from None
