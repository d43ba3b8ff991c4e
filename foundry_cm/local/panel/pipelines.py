"""The panel of a pipeline: what has gone in and come out, the transactions, and what is left to read."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from aiohttp import web

from foundry_cm.local.panel.access import told
from foundry_cm.local.panel.app import Panel, create_app
from foundry_cm.local.panel.feed import Topic
from foundry_cm.local.panel.findings import Findings
from foundry_cm.local.panel.recorder import Recorder
from foundry_cm.local.pipeline.pipeline import LocalPipeline
from foundry_cm.local.platform.datasets.store import OutputDataset
from foundry_cm.local.platform.resources import DEFAULT_BRANCH, Resource
from foundry_cm.local.platform.tables import count_rows, hidden

_BETWEEN_SECONDS = 0.5
# Without a page that looks, nothing is counted.
_LOOKS_SECONDS = 3.0
_SHOWN_TRANSACTIONS, _SHOWN_FILES = 20, 200


def pipeline_app(
    pipeline: LocalPipeline,
    recorder: Recorder,
    *,
    findings: Findings | None = None,
    secret: str = "",
) -> web.Application:
    """The panel of a local pipeline."""
    view = _View(pipeline, recorder)
    facts = {
        "mode": "pipeline",
        "command": list(pipeline.settings.command),
        "errors": pipeline.errors_alias,
    }
    topics: dict[str, Topic] = {"pipeline": view.since}
    app = create_app(Panel(recorder, facts, lambda: pipeline.registry, topics, findings, secret))

    async def end(_app: web.Application) -> None:
        view.stop()

    app.on_cleanup.append(end)
    return app


# The files of an input, and its rows in all.
_Content = tuple[set[Path], int]


class _View:
    """What the page shows of a pipeline, counted again and again while a page is open."""

    def __init__(self, pipeline: LocalPipeline, recorder: Recorder) -> None:
        self._pipeline, self._recorder = pipeline, recorder
        self._version = 0
        self._shown: dict[str, Any] | None = None
        self._looked = 0.0
        self._task: asyncio.Task[None] | None = None
        self._rows: dict[Path, tuple[int, float, int]] = {}
        # What lay in an input when it was listed, and after how many polls; and what of that the module
        # has left alone, being at rest: an earlier run has processed it.
        self._listed: dict[str, tuple[int, _Content]] = {}
        self._done: dict[str, _Content] = {}

    def since(self, version: int) -> tuple[int, Any] | None:
        """What has changed; for the live feed."""
        self._looked = time.monotonic()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._count())
        if self._shown is None or version == self._version:
            return None
        return self._version, self._shown

    def stop(self) -> None:
        """Count no more."""
        if self._task:
            self._task.cancel()

    async def _count(self) -> None:
        while time.monotonic() - self._looked < _LOOKS_SECONDS:
            now = await self._now()
            if now != self._shown:
                self._shown, self._version = now, self._version + 1
            await asyncio.sleep(_BETWEEN_SECONDS)

    async def _now(self) -> dict[str, Any]:
        pipeline = self._pipeline
        resources = [self._known(each) for each in pipeline.resources]
        for found, resource in zip(resources, pipeline.resources, strict=True):
            found["files"] = await asyncio.to_thread(self._files, resource)
        rests = pipeline.at_rest()
        for found, resource in zip(resources, pipeline.resources, strict=True):
            self._sum(found, resource, rests)
        failure = pipeline.failure or None
        return {
            "phase": self._phase(rests),
            "failure": told(failure) if failure else None,
            "edit": self._recorder.edit,
            "refused": self._recorder.refused,
            "kills": pipeline.kills,
            "faults": list(pipeline.faults.struck),
            "resources": resources,
        }

    def _phase(self, rests: bool) -> str:
        pipeline = self._pipeline
        if pipeline.failure:
            return "crashed"
        if pipeline.ended:
            return "ended"
        if not any(replica.alive for replica in pipeline.replicas):
            return "starting"
        return "resting" if rests else "running"

    def _known(self, resource: Resource) -> dict[str, Any]:
        """What the platform knows of a resource without looking at its files."""
        registry = self._pipeline.registry
        activity = registry.activity
        role = "output" if resource.writable else "input"
        if resource.alias == self._pipeline.errors_alias:
            role = "errors"
        return {
            "alias": resource.alias,
            "kind": resource.kind,
            "rid": resource.rid,
            "role": "reference" if resource.is_reference else role,
            "transactions": self._transactions(resource),
            "read": set(activity.files_read.get(resource.alias, ())),
            "records": activity.records(resource.alias) if resource.kind == "stream" else 0,
            "polls": activity.lists[resource.alias],
        }

    def _transactions(self, resource: Resource) -> list[dict[str, Any]]:
        if not (resource.writable and resource.kind == "dataset"):
            return []
        dataset = self._pipeline.registry.dataset(resource.rid)
        if not isinstance(dataset, OutputDataset):
            return []
        newest = dataset.history(DEFAULT_BRANCH)[::-1][:_SHOWN_TRANSACTIONS]
        return [{**each.as_json(), "files": len(each.files), "job": each.job} for each in newest]

    def _files(self, resource: Resource) -> list[dict[str, Any]]:
        """The files of a resource with their rows; a file that is as it was is not counted again."""
        found = []
        folder = resource.folder(self._pipeline.settings.root)
        for path in resource.files(self._pipeline.settings.root):
            try:
                status = path.stat()
            except OSError:  # gone meanwhile
                continue
            known = self._rows.get(path)
            if known is None or known[:2] != (status.st_size, status.st_mtime):
                rows = 0 if hidden(str(path.relative_to(folder))) else count_rows(path)
                known = self._rows[path] = (status.st_size, status.st_mtime, rows)
            name = path.relative_to(folder).as_posix()
            found.append(
                {
                    "path": name,
                    "bytes": known[0],
                    "rows": known[2],
                    "at": known[1],
                    "location": path,
                }
            )
        return found

    def _sum(self, found: dict[str, Any], resource: Resource, rests: bool) -> None:
        """Rows in all, those that were read, and those that are left."""
        files, read, records = found["files"], found.pop("read"), found.pop("records")
        one = resource.kind == "media_set"
        rows = {each["location"]: 1 if one else each["rows"] for each in files}
        total = sum(rows.values())
        self._learn(resource.alias, found.pop("polls"), (set(rows), total), rests)
        done, done_rows = self._done.get(resource.alias, (set(), 0))
        left: int | None = sum(rows[path] for path in rows.keys() - read - done)
        got = sum(rows[path] for path in rows.keys() & read)
        if resource.kind == "stream" and not resource.writable:
            got, left = records, max(0, total - max(records, done_rows))
        if resource.writable or resource.is_reference:
            left = None
        for each in files:
            each["isRead"] = each.pop("location") in read | done
        sizes = sum(each["bytes"] for each in files)
        found |= {"rows": total, "bytes": sizes, "count": len(files), "read": got, "left": left}
        found["files"] = files[-_SHOWN_FILES:]

    def _learn(self, alias: str, polls: int, content: _Content, rests: bool) -> None:
        """A module at rest that has polled since an input was listed wants none of what lay there."""
        before, listed = self._listed.get(alias, (-1, (set(), 0)))
        if polls > before:
            if rests and before >= 0:
                self._done[alias] = listed
            self._listed[alias] = (polls, content)
