"""`make bench`: how fast the template renders and the local Foundry answers, each against its bar."""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import yaml
from rich.console import Console
from rich.table import Table

from foundry_cm.load.plan.calls import simulate
from foundry_cm.load.plan.demand import constant
from foundry_cm.load.plan.service import Service
from foundry_cm.local.function.foundry import LocalFoundry, Settings
from foundry_cm.module.scaler import Rules
from tests.batching import batching_gain
from tests.conftest import REPOSITORY, commit, git, release, snapshot
from tests.template.conftest import FIRST, history_in, module_of, quiet_update
from tests.template.test_update import ANSWERS, edit, lines_of_mine, releases

TRIVIAL = """
import time
from dataclasses import dataclass
from compute_modules import ConcurrencyType, start_compute_module
from compute_modules.annotations import function

@dataclass
class Payload:
    text: str

@function
def echo(context, event: Payload) -> str:
    return event.text

@function
def wait(context, event: Payload) -> str:
    time.sleep(0.02)
    return event.text

if __name__ == "__main__":
    start_compute_module(ConcurrencyType.THREAD_POOL)
"""
CALLS = 1500
# The last commit before the local Foundry learned to explain failures and to watch over workers.
EARLY = "650f3a7"


@dataclass
class Figure:
    """A measured figure and the bar it has to meet."""

    name: str
    value: float
    unit: str
    bar: float | None
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether the figure is on the right side of its bar; without one, it is told for comparison."""
        if self.bar is None:
            return True
        return self.value >= self.bar if self.at_least else self.value <= self.bar


def seconds(*command: str | Path, cwd: Path | None = None) -> float:
    """How long a command takes; its output is thrown away."""
    began = time.perf_counter()
    subprocess.run([str(word) for word in command], cwd=cwd, check=True, capture_output=True)
    return time.perf_counter() - began


def tool(name: str) -> Path:
    """A command that is installed beside this Python."""
    return Path(sys.executable).with_name(name)


def one_file_template(folder: Path, questions: int) -> Path:
    """A template with a single file and some questions, the least that Copier can do."""
    single = folder / f"single-{questions}"
    (single / "template").mkdir(parents=True)
    asked = "".join(
        f"name{number}: {{type: str, help: Some text, default: x}}\n" for number in range(questions)
    )
    (single / "copier.yml").write_text(f"_subdirectory: template\n{asked}")
    (single / "template/file.txt.jinja").write_text("{{ name0 }}\n")
    (single / "template/{{ _copier_conf.answers_file }}.jinja").write_text(
        "{{ _copier_answers|to_nice_yaml -}}\n"
    )
    commit(single, "one file")
    return release(single, "v1.0.0")


def beside_our_files(single: Path, template: Path) -> Path:
    """A template with a single file, in a repository with all other files of this one."""
    crowded = single.with_name("crowded")
    ignored = shutil.ignore_patterns(".git", "copier.yml", "template")
    shutil.copytree(template, crowded, ignore=ignored)
    shutil.copytree(single, crowded, ignore=shutil.ignore_patterns(".git"), dirs_exist_ok=True)
    commit(crowded, "one file beside many")
    return release(crowded, "v1.0.0")


def render_ratios(folder: Path, template: Path) -> list[Figure]:
    """`copier copy` and `copier update` of this template and of templates with one file, in turn.

    Copier gets them by address, as from a host: it keeps a mirror of each, and the first run that
    makes it is not counted.
    """
    config = yaml.safe_load((template / "copier.yml").read_text("utf-8"))
    questions = [name for name, question in config.items() if name[0] != "_" and "help" in question]
    like, least = (one_file_template(folder, count) for count in (len(questions), 1))
    crowded = beside_our_files(like, template)
    compared = (like, least, crowded)
    copy, update = ((tool("copier"), verb, "--defaults", "--quiet") for verb in ("copy", "update"))
    ratios: dict[tuple[str, Path], list[float]] = defaultdict(list)
    for run in range(8):
        modules = {source: folder / f"{source.name}-{run}" for source in (template, *compared)}
        copies = {
            source: seconds(*copy, f"git+{source.as_uri()}", module)
            for source, module in modules.items()
        }
        for module in modules.values():
            commit(module, "as rendered")
        updates = {source: seconds(*update, module) for source, module in modules.items()}
        for verb, took in (("copy", copies), ("update", updates)):
            for single in compared if run else ():
                ratios[verb, single].append(took[template] / took[single])
    bars = {("copy", like): 1.5, ("update", like): 2.0}
    like_name = f"one file, {len(questions)} questions"
    against = {like: like_name, least: "one file, one question", crowded: "one file beside ours"}
    return [
        Figure(
            f"copier {verb} / {against[single]}", median(found), "times", bars.get((verb, single))
        )
        for (verb, single), found in ratios.items()
    ]


def update_matrix(folder: Path) -> list[Figure]:
    """Edited modules of every earlier version, updated to the working tree: what is lost on the way."""
    history = history_in(folder)
    sets = [(version, answers) for version in releases() for answers in ANSWERS.values()]
    conflicts = lost = 0
    for number, (version, answers) in enumerate(sets):
        tag = "v0.0.1" if version == FIRST else version
        module = module_of(history, folder.parent / f"edited-{number}", tag, answers)
        edit(module)
        before = lines_of_mine(module)
        quiet_update(module)
        conflicts += len(git(module, "ls-files", "--unmerged").splitlines())
        after = lines_of_mine(module)
        lost += sum(line not in after.get(name, []) for name in before for line in before[name])
    return [
        Figure("answer sets times versions updated", len(sets), "updates", 4, at_least=True),
        Figure("conflicts in them", conflicts, "files", 0),
        Figure("lines of the owner lost in them", lost, "lines", 0),
    ]


async def round_trips(folder: Path) -> list[Figure]:
    """Calls of a handler that does nothing, one after the other and eight at a time."""
    (folder / "app.py").write_text(TRIVIAL)

    async def serve(concurrency: int, measure: Callable[[LocalFoundry], Awaitable[float]]) -> float:
        settings = Settings(
            command=[sys.executable, "app.py"], folder=folder, concurrency=concurrency
        )
        async with LocalFoundry(settings) as foundry:
            await foundry.ready()
            for _ in range(50):
                await foundry.call("echo", {"text": "warm"})
            return await measure(foundry)

    async def p50(foundry: LocalFoundry) -> float:
        times = []
        for _ in range(CALLS):
            began = time.perf_counter()
            await foundry.call("echo", {"text": "hi"})
            times.append(time.perf_counter() - began)
        return median(times) * 1000

    async def rate(foundry: LocalFoundry) -> float:
        async def caller() -> None:
            for _ in range(CALLS // 8):
                await foundry.call("echo", {"text": "hi"})

        began = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(8)))
        return CALLS // 8 * 8 / (time.perf_counter() - began)

    return [
        Figure("call round trip, p50", await serve(1, p50), "ms", 5),
        Figure(
            "calls with one replica, concurrency 1",
            await serve(1, rate),
            "per s",
            350,
            at_least=True,
        ),
        Figure(
            "calls with one replica, concurrency 8",
            await serve(8, rate),
            "per s",
            350,
            at_least=True,
        ),
    ]


class Racer:
    """A local Foundry of some commit, which makes calls when it is its turn; see `tests.speed`."""

    def __init__(self, code: Path, module: Path, function: str, *numbers: int) -> None:
        self.seen: list[dict[str, float]] = []
        script = REPOSITORY / "tests" / "speed.py"
        self._process = subprocess.Popen(
            [sys.executable, "-P", script, module, function, *map(str, numbers)],
            env={**os.environ, "PYTHONPATH": str(code)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def turn(self, *, counts: bool) -> None:
        """Have it make its calls; the first turn only warms it up."""
        assert self._process.stdin and self._process.stdout
        print(file=self._process.stdin, flush=True)
        took = json.loads(self._process.stdout.readline())
        self.seen += [took] if counts else []

    def best(self, name: str) -> float:
        """The median of the best half of its turns: what else the machine does spoils the others."""
        ordered = sorted((each[name] for each in self.seen), reverse=name == "rate")
        return median(ordered[: (len(ordered) + 1) // 2])

    def end(self) -> None:
        """End it, and its module."""
        self._process.communicate()


def race(rounds: int, *racers: Racer) -> None:
    """Let them take turns."""
    try:
        for number in range(rounds + 1):
            for racer in racers if number % 2 else reversed(racers):
                racer.turn(counts=number > 0)
    finally:
        for racer in racers:
            racer.end()


def against_the_first(folder: Path) -> list[Figure]:
    """One replica, beside the local Foundry of an early commit that did less; then four beside one."""
    early = folder / "early"
    early.mkdir()
    (folder / "app.py").write_text(TRIVIAL)
    archive = subprocess.run(
        ["git", "archive", EARLY, "foundry_cm"], cwd=REPOSITORY, check=True, capture_output=True
    )
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(early, filter="data")
    figures = []
    for callers in (1, 8):
        old, new = (
            Racer(code, folder, "echo", 1, callers, callers, 120) for code in (early, REPOSITORY)
        )
        race(30, old, new)
        name = f"one replica, {callers} caller{'s' if callers > 1 else ''}"
        for figure, value in (
            ("calls/s", new.best("rate") / old.best("rate")),
            ("1 / p50", old.best("p50") / new.best("p50")),
        ):
            title = f"{name}, {figure} / that of {EARLY}"
            figures.append(Figure(title, value, "times", 0.95, at_least=True))
    one, four = (Racer(REPOSITORY, folder, "wait", count, 1, 16, 160) for count in (1, 4))
    race(5, one, four)
    ratio = four.best("rate") / one.best("rate")
    title = "4 replicas / 1, 16 callers, calls that wait 20 ms"
    return [*figures, Figure(title, ratio, "times", 2.5, at_least=True)]


def call_from_nothing(folder: Path, template: Path) -> Figure:
    """`cm call search` in a fresh module, from the command to the answer."""
    module = folder / "search"
    seconds(tool("copier"), "copy", "--defaults", "--quiet", template, module)
    times = [seconds(tool("cm"), "call", "search", cwd=module) for _ in range(5)]
    return Figure("cm call search, from nothing", median(times), "s", 3)


def simulated_week() -> Figure:
    """A week at 60 calls a minute, simulated call by call, as `cm plan` does for one setting."""
    began = time.perf_counter()
    rules = Rules(minimum=0, maximum=3, concurrency=2)
    simulate(rules, Service.typed(2.0, 4.0), (20.0,), constant(60, 7))
    took = time.perf_counter() - began
    return Figure("a week at 60 calls a minute, simulated", took, "s", 10)


def demo() -> Figure:
    """`make demo` with warm package caches."""
    seconds(sys.executable, "-m", "tests.demo")
    return Figure("make demo, warm caches", seconds(sys.executable, "-m", "tests.demo"), "s", 60)


def show(figures: list[Figure]) -> None:
    """Print the figures with their bars, and end with 1 where one is missed."""
    table = Table("figure", "measured", "bar", "", width=100)
    for figure in figures:
        sign = "at least" if figure.at_least else "at most"
        measured = f"{figure.value:.2f} {figure.unit}"
        bar = "" if figure.bar is None else f"{sign} {figure.bar:g} {figure.unit}"
        table.add_row(
            figure.name, measured, bar, ("met" if figure.met else "MISSED") if bar else ""
        )
    Console().print(table)
    sys.exit(0 if all(figure.met for figure in figures) else 1)


def main() -> None:
    """Measure, print, and end with 1 where a bar is missed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["COPIER_CACHE_DIR"] = str(folder / "cache")
        template = snapshot(folder / "template", "v1.0.0")
        (history := folder / "history").mkdir()
        (folder / "trivial").mkdir()
        (early := folder / "early").mkdir()
        figures = [
            *render_ratios(folder, template),
            *update_matrix(history),
            *asyncio.run(round_trips(folder / "trivial")),
            *against_the_first(early),
            Figure(
                "16 callers who share passes of a model / one caller",
                batching_gain(template, folder),
                "times",
                8,
                at_least=True,
            ),
            simulated_week(),
            call_from_nothing(folder, template),
            demo(),
        ]
    show(figures)


if __name__ == "__main__":
    main()
