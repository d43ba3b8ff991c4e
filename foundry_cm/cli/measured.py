"""The tables of `cm bench`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from rich import box
from rich.table import Table
from rich.text import Text

from foundry_cm.cli.console import err, label, milliseconds, out, say
from foundry_cm.errors import printable
from foundry_cm.load.compare import Change
from foundry_cm.load.result import ColdStart, Measurement, Result, Setting
from foundry_cm.load.sweep import shape_name

# Beyond this part of its one core, the local Foundry itself is what is measured.
_BUSY = 0.8
_VERDICTS = {"better": "green", "worse": "bold red", "same": "dim", "unknown": "yellow"}


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """What tells of the progress: one line that changes at a terminal, and lines elsewhere."""
    if not err.is_terminal:
        yield lambda text: say(text, "dim")
        return
    with err.status("starting") as status:
        yield lambda text: status.update(printable(text))


def as_json(result: Result) -> Any:
    """The result as its file has it."""
    return msgspec.to_builtins(result)


def show(result: Result, notes: Sequence[str]) -> None:
    """Print what was measured, as tables on standard output, and what has to be said of it."""
    out.print(_closed(result))
    if any(setting.open for setting in result.settings):
        out.print(_open(result))
    out.print(_starts(result))
    for text in _failures(result):
        label("errors: ", text, style="bold red")
    for text in [*notes, *_remarks(result)]:
        label("note:   ", text, style="bold yellow")
    if result.target_p95:
        _show_best(result, result.target_p95)


def _closed(result: Result) -> Table:
    """As many callers as places: how much it can do."""
    table = _table(
        "Setting: replicas x concurrency, with as many callers as that gives places",
        ("setting", "calls/s", "p50", "p95", "p99", "errors", "cores", "memory"),
    )
    has_gpu = any(setting.closed.gpu_memory is not None for setting in result.settings)
    if has_gpu:
        table.add_column("GPU memory", justify="right")
    for setting in result.settings:
        closed = setting.closed
        cells: list[str | Text] = [
            setting.name,
            _rate(closed.throughput),
            *_times(closed),
            _errors(closed),
            "" if closed.cores is None else f"{closed.cores:.2f}",
            _megabytes(closed.memory),
        ]
        table.add_row(*cells, *([_megabytes(closed.gpu_memory)] if has_gpu else []))
    return table


def _open(result: Result) -> Table:
    """Calls that arrive at random: what callers wait, with all queueing."""
    title = f"Calls that arrive at random (Poisson, seed {result.seed}); times from the arrival"
    table = _table(title, ("setting", "calls/s", "p50", "p95", "p99", "errors"))
    target = result.target_p95
    if target:
        table.add_column(f"p95 within {_time(target)}")
    for setting in result.settings:
        for measured in _shown(setting, target):
            cells: list[str | Text] = [
                setting.name,
                _rate(measured.rate or 0),
                *_times(measured),
                _errors(measured),
            ]
            table.add_row(*cells, *([_outcome(measured, target)] if target else []))
    return table


def _shown(setting: Setting, target: float | None) -> list[Measurement]:
    """Of a search, the load that keeps the target, and the lowest that does not."""
    measured = sorted(setting.open, key=lambda each: each.rate or 0)
    if target is None:
        return measured
    kept = [each for each in setting.open if each.rate == setting.highest_rate][-1:]
    beyond = [
        each
        for each in measured
        if not each.keeps(target) and (each.rate or 0) > (setting.highest_rate or 0)
    ]
    return [*kept, *beyond[:1]]


def _outcome(measured: Measurement, target: float) -> str:
    if measured.overloaded:
        return "overloaded"
    return "kept" if measured.keeps(target) else "missed"


def _starts(result: Result) -> Table:
    """What a start spends its time on; the medians of all starts of a setting."""
    table = _table(
        "Cold start, medians",
        ("setting", "process", "import", "load", "warm-up", "first call", "starts"),
    )
    for setting in result.settings:
        parts = ("process", "importing", "load", "warm_up", "first_call")
        cells = [_median(setting.cold_starts, part) for part in parts]
        table.add_row(setting.name, *cells, str(len(setting.cold_starts)))
    return table


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, title_style="bold")
    for name in columns:
        table.add_column(name, justify="left" if name == columns[0] else "right")
    return table


def _times(measured: Measurement) -> list[str]:
    latency = measured.latency
    if not latency.count:
        return ["-"] * 3
    return [_time(value) for value in (latency.p50, latency.p95, latency.p99)]


def _errors(measured: Measurement) -> Text:
    return Text(str(measured.errors), "bold red" if measured.errors else "")


def _rate(rate: float) -> str:
    return f"{rate:.0f}" if rate >= 100 else f"{rate:.3g}"


def _megabytes(size: int | None) -> str:
    return "" if size is None else f"{size / 1e6:.0f} MB"


def _median(starts: Sequence[ColdStart], part: str) -> str:
    known = sorted(value for start in starts if (value := getattr(start, part)) is not None)
    return _time(known[len(known) // 2]) if known else "-"


def _failures(result: Result) -> list[str]:
    """Each error once, the most frequent first."""
    counts: dict[str, int] = {}
    for setting in result.settings:
        for measured in (setting.closed, *setting.open):
            for what, count in measured.kinds.items():
                counts[what] = counts.get(what, 0) + count
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return [f"{count} x {what}" for what, count in ordered[:5]]


def _remarks(result: Result) -> list[str]:
    """What a reader has to know to read the figures right."""
    found = []
    if any((setting.closed.local or 0) > _BUSY for setting in result.settings):
        found.append(
            "The local Foundry itself was busy nearly all the time: the module can do more than the "
            "highest calls/s here say"
        )
    if any(setting.replicas > 1 for setting in result.settings):
        found.append(
            f"Replicas share the {result.machine.cores} cores of this machine; in Foundry each has "
            "its own"
        )
    if result.events and all(event.origin == "cm event" for event in result.events):
        found.append("The events are samples made from the types: real ones tell more (--event)")
    return found


def _show_best(result: Result, target: float) -> None:
    """The setting that keeps the target at the highest load, or that there is none."""
    best = result.best
    if best is None:
        label("target: ", f"no setting keeps p95 within {_time(target)}", style="bold red")
        return
    confirmed = _confirmed(best)
    label(
        "target: ",
        f"p95 within {_time(target)} up to {_rate(best.highest_rate or 0)} calls/s, with "
        f"{shape_name(best.replicas, best.concurrency)}"
        + (f" (p95 {_time(confirmed)})" if confirmed else ""),
        style="bold green",
    )


def _confirmed(setting: Setting) -> float | None:
    at = [each for each in setting.open if each.rate == setting.highest_rate]
    return at[-1].latency.p95 if at else None


def _time(seconds: float) -> str:
    """A duration in three digits or so, for a narrow column."""
    return f"{seconds * 1000:.0f} ms" if 0.1 <= seconds < 1 else milliseconds(seconds)


def show_changes(changes: Sequence[Change], other: Sequence[str]) -> None:
    """Print what is different from an earlier result, and what is only noise."""
    if not changes:
        say("The two results have no setting in common", "yellow")
        return
    table = _table("Against the earlier result", ("setting", "", "before", "now"))
    table.add_column("", justify="left")
    for change in changes:
        shown = [
            _rate(value) if change.more_is_better else _time(value)
            for value in (change.before, change.after)
        ]
        verdict = Text(printable(str(change)), _VERDICTS[change.verdict])
        table.add_row(change.setting, change.figure, *shown, verdict)
    out.print(table)
    say("In brackets: where the change lies, with 95 % confidence from the runs of both", "dim")
    for text in other:
        label("note:   ", text, style="bold yellow")
