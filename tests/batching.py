"""How much sooner callers are answered who share the passes of a model."""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

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
    time.sleep(0.1)
    return texts


@function
def ask(context, event: Payload) -> str:
    return model([event.text])[0]


if __name__ == "__main__":
    start()
"""


async def rate(foundry: LocalFoundry, callers: int, function: str, event: Any) -> float:
    """Calls a second of so many callers, each of which calls again once it is answered."""

    async def caller() -> None:
        for _ in range(CALLS):
            await foundry.call(function, event)

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(callers)))
    return callers * CALLS / (time.perf_counter() - began)


def served(module: Path) -> LocalFoundry:
    """A module that takes a call of each caller at a time."""
    command = [sys.executable, "src/app.py"]
    return LocalFoundry(Settings(command=command, folder=module, concurrency=CALLERS))


async def _gain(module: Path) -> float:
    async with served(module) as foundry:
        await foundry.ready()
        one = await rate(foundry, 1, "ask", {"text": "x"})
        return await rate(foundry, CALLERS, "ask", {"text": "x"}) / one


async def _against_turns(shared: Path, alone: Path) -> float:
    async with served(shared) as sharing, served(alone) as taking_turns:
        await asyncio.gather(sharing.ready(), taking_turns.ready())
        event = {"texts": ["a pump that moves water"]}
        ratios = [
            await rate(sharing, CALLERS, "embed", event)
            / await rate(taking_turns, CALLERS, "embed", event)
            for _ in range(5)
        ]
        return median(ratios)


def gain_of_a_model(module: Path, folder: Path) -> float:
    """Calls a second of an embedding module, as a multiple of those without shared passes."""
    alone = folder / "alone"
    shutil.copytree(module, alone)
    app = alone / "src/app.py"
    text = app.read_text(encoding="utf-8")
    without = text.replace("@batched(most=BATCH_SIZE)\n", "").replace(" batched,", "")
    assert text.count("batched") == without.count("batched") + 3
    app.write_text(without, encoding="utf-8")
    return asyncio.run(_against_turns(module, alone))


def batching_gain(template: Path, folder: Path) -> float:
    """Calls a second of 16 callers at once, as a multiple of one caller's."""
    module = folder / "batching"
    run_copy(str(template), module, {"example": "embedding"}, defaults=True, quiet=True)
    (module / "src/app.py").write_text(MODEL)
    return asyncio.run(_gain(module))
