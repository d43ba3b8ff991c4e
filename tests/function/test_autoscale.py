"""`cm serve --autoscale`: the scaler's rules on real processes, in a time that passes faster."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer
from typer.testing import CliRunner

from foundry_cm.cli import app as cm
from foundry_cm.errors import CmError
from foundry_cm.local.function.fleet import Count
from foundry_cm.local.function.foundry import CallResult, LocalFoundry, Settings
from foundry_cm.local.function.settings import Scaling
from foundry_cm.local.panel.functions import functions_app
from foundry_cm.local.panel.recorder import Recorder
from foundry_cm.module.scaler import Rules
from tests import pace

# The scaler's minute passes in 40 ms, its half an hour in 1.2 s, and a start is far below that.
SCALE = pace.scale(most=1500, start=600)
LIVES_SCALE = pace.scale(most=600, start=200)


@pytest.fixture
def module(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(pace.WAITS)
    return tmp_path


def scaled(
    folder: Path, scale: float = SCALE, command: list[str] | None = None, **rules: float
) -> LocalFoundry:
    return LocalFoundry(
        Settings(
            command=command or [sys.executable, "app.py"],
            folder=folder,
            scaling=Scaling(Rules(**rules), scale),  # type: ignore[arg-type]
        )
    )


async def until(foundry: LocalFoundry, present: int) -> None:
    async with asyncio.timeout(30 * 1500 / SCALE):
        while len(foundry.fleet.replicas) != present:
            await asyncio.sleep(0.02)


async def load_and_rest(foundry: LocalFoundry) -> list[Count]:
    """More calls than one replica can do, a rest until none is left, and one call more.

    The counts are those of then: the end of a busy machine's test is another rest.
    """
    async with foundry:
        await foundry.ready()
        while foundry.fleet.counts[-1].ready < 3:
            await asyncio.gather(*(foundry.call("wait", {"seconds": 0.1}) for _ in range(6)))
        async with TestClient(
            TestServer(functions_app(foundry, Recorder(foundry.settings.folder)))
        ) as client:
            await until(foundry, 0)
            host = {"Host": f"localhost:{client.server.port}"}
            status = await (await client.get("/api/status", headers=host)).json()
            assert (status["wished"], status["present"], status["replicas"]) == (0, 0, [])
        assert (await foundry.call("wait", {"seconds": 0.0})).value == 0.0
        return list(foundry.fleet.counts)


def test_replicas_follow_the_load_down_to_zero_and_a_call_brings_one_back(module: Path) -> None:
    foundry = scaled(module, minimum=0, maximum=3)
    counts = asyncio.run(load_and_rest(foundry))
    wished = [count.wished for count in counts]
    steps = [now for before, now in zip([0, *wished], wished, strict=False) if now != before]
    assert steps[:2] == [1, 2] and steps[-5:] == [3, 2, 1, 0, 1]
    assert {count.ready for count in counts} == {0, 1, 2, 3}


async def one_by_one(foundry: LocalFoundry) -> list[CallResult]:
    async with foundry:
        return [await foundry.call("wait", {"seconds": 240 / LIVES_SCALE}) for _ in range(6)]


def test_a_replica_at_the_end_of_its_life_finishes_its_calls_and_is_replaced(module: Path) -> None:
    # One life is a second, and a call less than half of it.
    foundry = scaled(module, scale=LIVES_SCALE, lifetime_seconds=600.0)
    calls = asyncio.run(one_by_one(foundry))
    assert len({call.replica for call in calls}) > 1
    assert {count.wished for count in foundry.fleet.counts} == {1}


def test_a_replica_that_cannot_be_started_fails_the_call_that_waits_for_it(module: Path) -> None:
    start = module / "start"
    start.write_text(f"#!/bin/sh\nexec {sys.executable} app.py\n")
    start.chmod(0o700)

    async def gone(foundry: LocalFoundry) -> None:
        async with foundry:
            await foundry.ready()
            await until(foundry, 0)
            start.unlink()
            with pytest.raises(CmError, match="The module cannot be started: .*: No such file"):
                await foundry.call("wait", {"seconds": 0.0})

    asyncio.run(gone(scaled(module, minimum=0, command=[str(start)])))


def test_options_of_the_scaler_without_it_are_refused(module: Path) -> None:
    for words in (["--min-replicas", "0"], ["--autoscale", "--replicas", "2"]):
        result = CliRunner().invoke(cm, ["serve", "-C", str(module), *words])
        assert isinstance(result.exception, CmError)
        assert result.exception.what == (
            "--min-replicas, --max-replicas, --schedule and --time-scale are for --autoscale, which "
            "finds the number of --replicas itself"
        )
