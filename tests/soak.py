"""`make soak`: the local Foundry over 100,000 calls and 200 kills, whose memory has to stay flat."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import psutil

from foundry_cm.errors import CmError
from foundry_cm.local.function.foundry import LocalFoundry, Settings
from tests.bench import TRIVIAL, Figure, show

CALLS, KILLS = int(os.environ.get("CALLS", "100000")), int(os.environ.get("KILLS", "200"))
REPLICAS, CONCURRENCY, CALLERS = 2, 8, 16
SAMPLES = 40
# What a process gains without losing anything: caches that fill, and what the allocator keeps.
MOST_MEGABYTES = 8.0
MOST_MINUTES = 30.0


def megabytes(process: psutil.Process) -> float:
    """The memory that a process has now."""
    return float(process.memory_info().rss) / 1e6


def growth(samples: list[float]) -> float:
    """How much more there is in the last quarter than in the second: the first fills the caches."""
    quarter = len(samples) // 4
    return median(samples[-quarter:]) - median(samples[quarter : 2 * quarter])


async def calls(foundry: LocalFoundry, own: psutil.Process) -> list[Figure]:
    """Many calls by many callers, while both ends are weighed."""
    replica = psutil.Process(foundry.replicas[0].pid)
    server, module, lost = [], [], 0
    began = time.monotonic()
    for _ in range(SAMPLES):
        left = iter(range(CALLS // SAMPLES))
        lost += sum(await asyncio.gather(*(caller(foundry, left) for _ in range(CALLERS))))
        server.append(megabytes(own))
        module.append(megabytes(replica))
    minutes = (time.monotonic() - began) / 60
    return [
        Figure("calls without the right answer", lost, f"of {CALLS:,}", 0),
        Figure("memory of the local Foundry, growth", growth(server), "MB", MOST_MEGABYTES),
        Figure("memory of the local Foundry", server[-1], "MB", None),
        Figure("memory of a replica, growth", growth(module), "MB", MOST_MEGABYTES),
        Figure("time", minutes, "minutes", MOST_MINUTES),
    ]


async def caller(foundry: LocalFoundry, numbers: Iterator[int]) -> int:
    """Call with each of some numbers; gives how many calls had no right answer."""
    failed = 0
    for number in numbers:
        text = f"call {number}"
        try:
            failed += (await foundry.call("echo", {"text": text})).value != text
        except CmError:
            failed += 1
    return failed


async def kills(foundry: LocalFoundry, own: psutil.Process) -> list[Figure]:
    """Many kills, each while calls run; after the last one the replicas are soon back."""
    server = []
    for _ in range(KILLS // REPLICAS):
        running = [asyncio.create_task(foundry.call("echo", {"text": "x"})) for _ in range(4)]
        for replica in foundry.replicas:
            replica.kill()
        await asyncio.gather(*running, return_exceptions=True)
        await until_back(foundry)
        server.append(megabytes(own))
    for replica in foundry.replicas:
        os.kill(replica.pid or 0, 9)
    await asyncio.sleep(0.1)
    return [
        Figure("memory over kills, growth", growth(server), "MB", MOST_MEGABYTES),
        Figure("back after the last kill", await until_back(foundry), "seconds", 10.0),
    ]


async def until_back(foundry: LocalFoundry) -> float:
    """How long it takes until every replica is responsive."""
    began = time.monotonic()
    while not all(replica.responsive and replica.alive for replica in foundry.replicas):
        await asyncio.sleep(0.02)
    return time.monotonic() - began


async def soak() -> list[Figure]:
    """All the figures."""
    own = psutil.Process()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "app.py").write_text(TRIVIAL)
        settings = Settings(
            command=[sys.executable, "app.py"],
            folder=folder,
            replicas=REPLICAS,
            concurrency=CONCURRENCY,
        )
        async with LocalFoundry(settings) as foundry:
            await until_back(foundry)
            return [*await calls(foundry, own), *await kills(foundry, own)]


if __name__ == "__main__":
    show(asyncio.run(soak()))
