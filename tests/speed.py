"""How fast a local Foundry answers: run by itself, with the code of any commit in PYTHONPATH.

`python -P tests/speed.py FOLDER FUNCTION REPLICAS CONCURRENCY CALLERS CALLS` starts the module in a folder. For
each line that it reads it makes so many calls, and prints calls per second and their p50 as JSON. So
two of them take turns, and a machine that is busy with other things slows both.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any


def local_foundry() -> Any:
    """The module with `LocalFoundry` and `Settings`, which had another name once."""
    try:
        return import_module("foundry_cm.local.function.foundry")
    except ModuleNotFoundError:
        return import_module("foundry_cm.runtime")


async def serve(
    folder: Path, function: str, replicas: int, concurrency: int, callers: int, calls: int
) -> None:
    """So many callers, each of which calls again once it is answered."""
    code = local_foundry()
    settings = code.Settings(
        command=[sys.executable, "app.py"],
        folder=folder,
        replicas=replicas,
        concurrency=concurrency,
    )
    async with code.LocalFoundry(settings) as foundry:
        await foundry.ready()
        while not all(replica.responsive for replica in foundry.replicas):
            await asyncio.sleep(0.05)
        while await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(await burst(foundry, function, callers, calls)), flush=True)


async def burst(foundry: Any, function: str, callers: int, calls: int) -> dict[str, float]:
    """What one round of calls took."""
    times: list[float] = []

    async def caller() -> None:
        for _ in range(calls // callers):
            began = time.perf_counter()
            await foundry.call(function, {"text": "hi"})
            times.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(callers)))
    return {"rate": len(times) / (time.perf_counter() - began), "p50": median(times)}


if __name__ == "__main__":
    folder, function, *numbers = sys.argv[1:]
    asyncio.run(serve(Path(folder), function, *map(int, numbers)))
