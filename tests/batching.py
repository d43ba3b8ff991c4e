"""How much sooner callers are answered who share the passes of a model."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from copier import run_copy

from foundry_cm.local.function.foundry import LocalFoundry, Settings

CALLERS, CALLS = 16, 30
# A model whose cost is per pass, whatever is in it.
MODEL = """
import time
from dataclasses import dataclass

from cmkit import batched, function, start


@dataclass
class Payload:
    text: str


@batched(most=64)
def model(texts: list[str]) -> list[str]:
    time.sleep(0.05)
    return texts


@function
def ask(context, event: Payload) -> str:
    return model([event.text])[0]


if __name__ == "__main__":
    start()
"""


async def _rate(foundry: LocalFoundry, callers: int) -> float:
    async def caller() -> None:
        for _ in range(CALLS):
            await foundry.call("ask", {"text": "x"})

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(callers)))
    return callers * CALLS / (time.perf_counter() - began)


async def _gain(module: Path) -> float:
    settings = Settings(command=[sys.executable, "src/app.py"], folder=module, concurrency=CALLERS)
    async with LocalFoundry(settings) as foundry:
        await foundry.ready()
        one = await _rate(foundry, 1)
        return await _rate(foundry, CALLERS) / one


def batching_gain(template: Path, folder: Path) -> float:
    """Calls a second of 16 callers at once, as a multiple of one caller's."""
    module = folder / "batching"
    run_copy(str(template), module, {"example": "embedding"}, defaults=True, quiet=True)
    (module / "src/app.py").write_text(MODEL)
    return asyncio.run(_gain(module))
