"""The chart of a result, for those who have matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from foundry_cm.errors import USAGE, CmError
from foundry_cm.load.result import Measurement, Result, Setting

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# What installs it, as pip wants it.
EXTRA = "foundry-cm[bench]"


def blank() -> Figure:
    """An empty chart of the size that all have; raises `ImportError` without matplotlib."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7.5), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, file: Path) -> None:
    """Write a chart as PNG; raises `CmError` where that cannot be."""
    try:
        figure.savefig(file, format="png", dpi=110)
    except OSError as error:
        raise CmError(
            f"The chart cannot be written: {error.strerror}", where=str(file), exit_code=USAGE
        ) from None


def draw(result: Result, file: Path) -> bool:
    """Draw the result into a PNG; gives whether matplotlib is there to do so."""
    try:
        figure = blank()
    except ImportError:
        return False
    (latency, throughput), (starts, memory) = figure.subplots(2, 2)
    figure.suptitle(f"{result.module} under load, {result.began[:16].replace('T', ' ')}")
    _latencies(latency, result)
    _throughputs(throughput, result)
    _starts(starts, result)
    _memories(memory, result)
    save(figure, file)
    return True


def _latencies(axes: Axes, result: Result) -> None:
    """p95 over the rate at which calls arrive, a line for each setting."""
    for setting in result.settings:
        points = sorted(
            (each.rate or 0.0, each.latency.p95 * 1000, each.latency.p50 * 1000)
            for each in setting.open
            if each.calls and not each.overloaded
        )
        if points:
            rates, p95, p50 = zip(*points, strict=True)
            (line,) = axes.plot(rates, p95, "o-", label=f"{setting.name}, p95")
            axes.plot(rates, p50, ":", color=line.get_color())
    if result.target_p95:
        axes.axhline(result.target_p95 * 1000, color="red", linestyle="--", linewidth=1)
    axes.set(title="Calls that arrive at random (dotted: p50)", xlabel="calls/s", ylabel="ms")
    axes.set_ylim(bottom=0)
    if axes.lines:
        axes.legend(fontsize="small")


def _throughputs(axes: Axes, result: Result) -> None:
    """Calls per second with as many callers as places; the whisker goes over all runs."""
    values = [setting.closed.throughput for setting in result.settings]
    spread = [_spread(setting.closed) for setting in result.settings]
    axes.bar(
        _names(result.settings),
        values,
        yerr=[[low for low, _ in spread], [high for _, high in spread]],
        capsize=4,
    )
    axes.set(title="As many callers as places (replicas x concurrency)", ylabel="calls/s")
    axes.tick_params(axis="x", rotation=30)


def _spread(measured: Measurement) -> tuple[float, float]:
    runs = [run.throughput for run in measured.runs]
    low, high = min(runs, default=0.0), max(runs, default=0.0)
    return max(0.0, measured.throughput - low), max(0.0, high - measured.throughput)


def _starts(axes: Axes, result: Result) -> None:
    """What a start spends its time on, as the mean of all starts of a setting."""
    names = _names(result.settings)
    below = [0.0] * len(names)
    for part in ("process", "importing", "load", "warm_up", "first_call"):
        values = []
        for setting in result.settings:
            known = [value for start in setting.cold_starts if (value := getattr(start, part))]
            values.append(sum(known) / len(known) if known else 0.0)
        if any(values):
            label = {"importing": "import"}.get(part, part.replace("_", " "))
            axes.bar(names, values, bottom=below, label=label)
        below = [low + value for low, value in zip(below, values, strict=True)]
    axes.set(title="Cold start", ylabel="s")
    axes.tick_params(axis="x", rotation=30)
    if axes.patches:
        # Above the bars, not over them.
        axes.set_ylim(top=1.3 * max(below))
        axes.legend(fontsize="small", ncols=5, loc="upper left")


def _memories(axes: Axes, result: Result) -> None:
    """The most memory of one replica."""
    names = _names(result.settings)
    axes.bar(names, [(setting.closed.memory or 0) / 1e6 for setting in result.settings])
    axes.set(title="Peak memory of one replica", ylabel="MB")
    axes.tick_params(axis="x", rotation=30)


def _names(settings: tuple[Setting, ...]) -> list[str]:
    return [setting.name for setting in settings]
