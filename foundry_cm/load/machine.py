"""What replicas take of this machine, and how fast the machine itself is."""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

from foundry_cm.load.result import Machine
from foundry_cm.local.replica import Replica

_BETWEEN_SAMPLES = 0.2
_PASSES = 20_000


class Gpus:
    """Memory of the NVIDIA cards, as NVML tells it; `there` is false without a card or nvidia-ml-py."""

    def __init__(self) -> None:
        self._nvml: Any = None
        self.name: str | None = None
        with contextlib.suppress(Exception):
            import pynvml

            pynvml.nvmlInit()
            count = pynvml.nvmlDeviceGetCount()
            self._cards = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
            name = pynvml.nvmlDeviceGetName(self._cards[0])
            self.name = name.decode() if isinstance(name, bytes) else str(name)
            self._nvml = pynvml
            self._before = self._used()

    @property
    def there(self) -> bool:
        """Whether there is a card to ask."""
        return self._nvml is not None

    def memory(self, processes: Iterable[set[int]]) -> int | None:
        """The most bytes that one of these groups of processes has on the cards.

        Where the driver does not tell whose the memory is (in a container, on Windows), that of all
        since the beginning is shared out evenly.
        """
        if not self.there:
            return None
        groups = list(processes)
        with contextlib.suppress(Exception):
            held = self._by_process()
            of_group = [sum(held.get(pid, 0) for pid in group) for group in groups]
            if any(of_group) or not groups:
                return max(of_group, default=0)
            return max(0, self._used() - self._before) // len(groups)
        return None

    def _used(self) -> int:
        return sum(int(self._nvml.nvmlDeviceGetMemoryInfo(card).used) for card in self._cards)

    def _by_process(self) -> dict[int, int]:
        held: dict[int, int] = {}
        for card in self._cards:
            for process in self._nvml.nvmlDeviceGetComputeRunningProcesses(card):
                held[process.pid] = held.get(process.pid, 0) + int(process.usedGpuMemory or 0)
        return held


@dataclass
class Usage:
    """What replicas took: cores in a stretch of time, and the most memory of one since its start."""

    cores: float | None = None
    # The local Foundry's own, which is at most 1.
    local: float | None = None
    memory: int | None = None
    gpu_memory: int | None = None


@dataclass
class Watch:
    """Samples the processes of replicas while it is entered; `mark` begins the stretch that counts."""

    replicas: Callable[[], Iterable[Replica]]
    gpus: Gpus
    usage: Usage = field(default_factory=Usage)
    _marked: tuple[float, float, float] | None = None
    # The module's process of each start of a replica: an engine takes its time to tell it.
    _roots: dict[tuple[int, int], int] = field(default_factory=dict)

    async def __aenter__(self) -> Watch:
        self._task = asyncio.create_task(self._sample())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def mark(self) -> None:
        """Count the cores from here on."""
        self._marked = (time.perf_counter(), self._seconds(), time.process_time())

    def measured(self) -> Usage:
        """What was taken since `mark`."""
        self._look()
        if self._marked:
            began, before, own = self._marked
            seconds = time.perf_counter() - began
            # A process that ended meanwhile took its seconds with it.
            self.usage.cores = max(0.0, self._seconds() - before) / seconds
            self.usage.local = (time.process_time() - own) / seconds
            self._marked = None
        return replace(self.usage)

    async def _sample(self) -> None:
        while True:
            new = [
                each for each in self.replicas() if each.alive and _start(each) not in self._roots
            ]
            for replica in new:
                if root := await asyncio.to_thread(replica.module_pid):
                    self._roots[_start(replica)] = root
            self._look()
            await asyncio.sleep(_BETWEEN_SAMPLES)

    def _trees(self) -> list[list[psutil.Process]]:
        alive = [_start(each) for each in self.replicas() if each.alive]
        roots = [self._roots[start] for start in alive if start in self._roots]
        return [tree for root in roots if (tree := _tree(root))]

    def _seconds(self) -> float:
        return sum(_cpu_seconds(process) for tree in self._trees() for process in tree)

    def _look(self) -> None:
        trees = self._trees()
        if memory := max(map(_memory, trees), default=0):
            self.usage.memory = max(memory, self.usage.memory or 0)
        on_cards = self.gpus.memory({process.pid for process in tree} for tree in trees)
        if on_cards is not None:
            self.usage.gpu_memory = max(on_cards, self.usage.gpu_memory or 0)


def _start(replica: Replica) -> tuple[int, int]:
    return replica.index, replica.starts


def _tree(root: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(root)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def _cpu_seconds(process: psutil.Process) -> float:
    with contextlib.suppress(psutil.Error):
        times = process.cpu_times()
        return float(times.user + times.system)
    return 0.0


def _memory(tree: list[psutil.Process]) -> int:
    """Bytes of a process and of what its children have for themselves: what they share counts once."""
    size = 0
    with contextlib.suppress(psutil.Error):
        size = max(int(tree[0].memory_info().rss), _highest(tree[0].pid))
    for child in tree[1:]:
        with contextlib.suppress(psutil.Error):
            size += int(child.memory_full_info().uss)
    return size


def _highest(pid: int) -> int:
    """The most that a process ever had, as Linux keeps it: what came and went between two samples."""
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path(f"/proc/{pid}/status").read_text("ascii", "replace").splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024
    return 0


def pace() -> float:
    """How fast this machine is now: passes per second through a fixed piece of work, the best of five."""

    def once() -> float:
        began = time.perf_counter()
        sum(number * number for number in range(_PASSES))
        return _PASSES / (time.perf_counter() - began)

    return max(once() for _ in range(5))


def this_machine(gpus: Gpus) -> Machine:
    """What is measured on."""
    return Machine(
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        cores=usable_cores(),
        memory=int(psutil.virtual_memory().total),
        gpu=gpus.name,
    )


def usable_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
