"""`make bench-pipeline`: 200 random kills counted, and a million rows for memory and speed, each with its bar."""

from __future__ import annotations

import asyncio
import dataclasses
import random
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import psutil
from copier import run_copy
from rich.console import Console

from foundry_cm.local.pipeline.pipeline import LocalPipeline
from foundry_cm.local.reporter import Reporter
from foundry_cm.testing import Pipeline
from tests.conftest import snapshot

KILLS, LANES = 67, 3
KINDS: dict[str, dict[str, str]] = {
    "datasets": {},
    "streams": {
        "inputs": "{input: dataset, events: stream}",
        "outputs": "{output: stream, kept: dataset}",
    },
    "media sets": {
        "inputs": "{input: media_set}",
        "outputs": "{output: stream, kept: dataset}",
        "result_fields": "{path: str, length: int}",
    },
}
POINTS = [
    *(f"{phase}-{point}" for point in ("history", "list", "open") for phase in ("before", "after")),
    *(
        f"{phase}-{point}"
        for point in ("read", "upload", "checkpoint")
        for phase in ("before", "mid", "after")
    ),
    "before-commit",
    "after-commit",
]
STREAM_POINTS = [
    f"{phase}-{point}"
    for point in ("offsets", "records", "publish")
    for phase in ("before", "after")
]
MEDIA_POINTS = [
    f"{phase}-{point}" for point in ("publish", "checkpoint") for phase in ("before", "after")
]
SMALL, LARGE, REPEATS = 100_000, 1_000_000, 5
MEMORY_BAR, SPEED_BAR = 1.5, 0.75
console = Console()


def render(template: Path, folder: Path, **answers: Any) -> Path:
    """A pipeline module with the default answers and these."""
    answers["execution_mode"] = "pipeline"
    run_copy(str(template), folder, answers, defaults=True, quiet=True)
    return folder


def in_small_parts(module: Path) -> Path:
    """The module, but what it reads at once is small enough to be cut at many places."""
    for name, before, after in (
        ("formats.py", "BLOCK_BYTES = 1 << 20", "BLOCK_BYTES = 1 << 10"),
        ("inputs.py", "STREAM_RECORDS = 1000", "STREAM_RECORDS = 50"),
        ("media.py", "CHUNK_ITEMS = 16", "CHUNK_ITEMS = 4"),
    ):
        file = module / "src/cmkit/pipelines" / name
        if file.exists():
            assert before in file.read_text()
            file.write_text(file.read_text().replace(before, after))
    return module


def fill(pipeline: Pipeline, kind: str, chance: random.Random) -> list[str]:
    """Put rows into the inputs, or items; what of each of them has to come out, once."""
    if kind == "media sets":
        names = [f"{index % 3}/{index}.bin" for index in range(chance.randint(5, 60))]
        for name in names:
            pipeline.put("input", name, chance.randbytes(chance.randint(1, 2000)))
        return names
    rows = [f"row {index}" for index in range(chance.randint(50, 500))]
    parts = 5 if kind == "streams" else 3
    for index in range(3):
        pipeline.put("input", f"{index}.csv", "text\n" + "\n".join(rows[index::parts]) + "\n")
    for index in range(3, parts):
        lines = "\n".join(f'{{"text": "{row}"}}' for row in rows[index::parts])
        pipeline.put("events", f"partition-{index - 3}.jsonl", lines + "\n")
    return rows


def killed(number: int, module: Path, root: Path, kind: str) -> tuple[int, list[str], bool]:
    """One run that is killed at one to three random moments: kills, where, whether all was right."""
    chance = random.Random(number)
    own = {"datasets": [], "streams": STREAM_POINTS, "media sets": MEDIA_POINTS}[kind]
    points = [
        f"kill@{chance.choice(own + POINTS)}#{chance.randint(1, 3)}"
        for _ in range(chance.randint(1, 3))
    ]
    pipeline = Pipeline(module, root)
    expected = sorted(fill(pipeline, kind, chance))
    run = pipeline.run(faults=points, build=chance.random() < 0.25)
    column = "path" if kind == "media sets" else "text"
    found = [pipeline.rows("output" if kind == "datasets" else "kept")]
    if kind != "datasets":
        # A stream gets a record at least once, under the same key.
        found.append(list({row["record_key"]: row for row in pipeline.rows("output")}.values()))
    right = all(sorted(row[column] for row in each) == expected for each in found)
    return run.kills, points, right and pipeline.rows("output-errors") == []


def random_kills(module: Path, folder: Path, kind: str) -> bool:
    """Kill until the count is reached; every committed output is compared row by row."""
    kills, runs, wrong, began = 0, 0, [], time.perf_counter()
    seed = random.SystemRandom().randrange(1 << 30)
    with ThreadPoolExecutor(LANES) as pool:
        while kills < KILLS:
            numbers = range(seed + runs, seed + runs + LANES)
            lanes = [pool.submit(killed, n, module, folder / f"run-{n}", kind) for n in numbers]
            for number, lane in zip(numbers, lanes, strict=True):
                count, points, right = lane.result()
                kills, runs = kills + count, runs + 1
                if not right:
                    wrong.append(f"{number}: {', '.join(points)}")
    console.print(
        f"random kills      {kills} over {kind} in {runs} runs, {time.perf_counter() - began:.0f} s"
    )
    console.print(f"  outputs that differ from a run without faults: {len(wrong)}  (bar: 0)")
    for each in wrong:
        console.print(f"  {each}")
    return not wrong


async def measured(module: Path, root: Path) -> tuple[float, float]:
    """Peak memory of the module in MB, and seconds from its first read to its last commit."""
    settings = Pipeline(module, root).settings(poll_seconds=0.1)
    async with LocalPipeline(settings) as running:
        # The guard of the local Foundry is a child too.
        children = psutil.Process().children()
        [process] = [child for child in children if "src/app.py" in child.cmdline()]
        activity = running.registry.activity
        while not activity.files_read:
            await asyncio.sleep(0.001)
        began = time.perf_counter()
        await running.idle()
        # A commit is followed by a poll of the inputs; waiting for the next ones is no work.
        ended = began + (activity.last_change - began)
        peak = float(Path(f"/proc/{process.pid}/status").read_text().split("VmHWM:")[1].split()[0])
        await running.finish()
    return peak / 1024, ended - began


LOCAL = """
import sys, time
import pyarrow as pa
from pyarrow import csv
sys.path.insert(0, "src")
from app import process
began = time.perf_counter()
source = csv.open_csv(sys.argv[1], read_options=csv.ReadOptions(use_threads=False, block_size=1 << 20))
for number, batch in enumerate(source):
    csv.write_csv(process(pa.Table.from_batches([batch])), f"{sys.argv[2]}/{number}.csv")
print("seconds", time.perf_counter() - began)
"""
# The same bytes in and out with the official client: with pyarrow in between, or alone.
REMOTE = """
import io, signal, sys, time
import pyarrow as pa
from pyarrow import csv
sys.path.insert(0, "src")
from app import process
from compute_modules.resources import get_pipeline_resources
from cmkit.platform import platform
datasets, resources = platform().datasets.Dataset, get_pipeline_resources()
source, target = resources["input"].rid, resources["output"].rid

def worked(content):
    options = csv.ReadOptions(use_threads=False, block_size=1 << 20)
    for batch in csv.open_csv(io.BytesIO(content), read_options=options):
        sink = io.BytesIO()
        csv.write_csv(process(pa.Table.from_batches([batch])), sink)
        yield sink.getvalue()

def moved(content):
    return (content[first : first + (1 << 20)] for first in range(0, len(content), 1 << 20))

began = time.perf_counter()
[file] = datasets.File.list(source)
content = datasets.File.content(source, file.path)
opened = datasets.Transaction.create(target, transaction_type="APPEND")
for number, part in enumerate({kind}(content)):
    datasets.File.upload(target, f"{{number}}.csv", part, transaction_rid=opened.rid)
datasets.Transaction.commit(target, opened.rid)
print("seconds", time.perf_counter() - began, flush=True)
signal.pause()
"""


async def local(module: Path, data: Path, folder: Path) -> float:
    """Seconds for the same transformation from file to files, with pyarrow and nothing else."""
    folder.mkdir()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", LOCAL, str(data), str(folder), cwd=module, stdout=-1
    )
    out, _ = await process.communicate()
    return float(out.split()[1])


async def remote(kind: str, module: Path, data: Path, root: Path) -> float:
    """Seconds for a script with the official client that checks nothing."""
    pipeline = Pipeline(module, root)
    pipeline.put("input", "rows.csv", data.read_bytes())
    said: list[str] = []

    class Said(Reporter):
        def line(self, replica: int, text: str) -> None:
            said.append(text)

    settings = dataclasses.replace(
        pipeline.settings(), command=[sys.executable, "-c", REMOTE.format(kind=kind)]
    )
    async with LocalPipeline(settings, Said()) as running:
        while not said:
            await asyncio.sleep(0.01)
            running.check()
    return float(said[0].split()[1])


def million_rows(template: Path, folder: Path) -> bool:
    """Memory must not grow with the input, and the loop must not cost more than the work.

    The work is what pyarrow does from file to files, and the way of the bytes through the platform's
    API, by the official client over TLS.
    """
    module = render(template, folder / "blank")
    peaks = dict[int, float]()
    took: dict[str, list[float]] = {"ours": [], "alone": [], "moved": [], "worked": []}
    for rows, name in ((SMALL, "small"), *((LARGE, f"large-{n}") for n in range(REPEATS))):
        pipeline = Pipeline(module, folder / name)
        lines = "\n".join(f"row number {number} of a table" for number in range(rows))
        data = pipeline.put("input", "rows.csv", f"text\n{lines}\n")
        peaks[rows], seconds = asyncio.run(measured(module, pipeline.root))
        assert sum(1 for _ in pipeline.rows("output")) == rows
        # One after the other, so that what else the machine does meets all of them.
        took["ours"].append(seconds)
        took["alone"].append(asyncio.run(local(module, data, folder / f"{name}-local")))
        for kind in ("moved", "worked"):
            took[kind].append(asyncio.run(remote(kind, module, data, folder / f"{name}-{kind}")))
    ours, alone, moved, worked = (median(each[1:]) for each in took.values())
    memory, speed = peaks[LARGE] / peaks[SMALL], (alone + moved) / ours
    say = console.print
    say(
        f"peak memory       {peaks[SMALL]:.0f} MB for {SMALL:,} rows, {peaks[LARGE]:.0f} MB for {LARGE:,}"
    )
    say(f"  {memory:.2f} times  (bar: at most {MEMORY_BAR})")
    say(f"rows a second     {LARGE / ours:,.0f}, the median of {REPEATS} runs")
    say(f"  {alone / ours:.2f} times pyarrow on local files, without a platform")
    say(
        f"  moving the bytes alone takes {moved / alone:.2f} times as long as all that pyarrow does"
    )
    say(f"  {speed:.2f} times pyarrow and the way of the bytes  (bar: at least {SPEED_BAR})")
    say(
        f"  {worked / ours:.2f} times a script with the official client and pyarrow, which checks nothing"
    )
    return memory <= MEMORY_BAR and speed >= SPEED_BAR


def main() -> None:
    """Run both and fail when a bar is missed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        template = folder / "template"
        template.mkdir()
        snapshot(template, "v1000.0.0")
        passed = [million_rows(template, folder)]
        for kind, answers in KINDS.items():
            module = in_small_parts(render(template, folder / f"kills {kind}", **answers))
            passed.append(random_kills(module, folder / f"runs {kind}", kind))
    sys.exit(0 if all(passed) else 1)


if __name__ == "__main__":
    main()
