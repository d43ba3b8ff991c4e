"""The chart of a plan: load, replicas and latency over the week."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from foundry_cm.load.chart import blank, save
from foundry_cm.load.plan.demand import Demand
from foundry_cm.load.plan.outcome import Outcome


def draw(demand: Demand, outcome: Outcome, target_p95: float, file: Path) -> None:
    """Draw one simulated deployment into a PNG; raises `CmError` where it cannot be written."""
    from matplotlib.dates import DateFormatter, DayLocator

    figure = blank()
    load, replicas, latency = figure.subplots(3, 1, sharex=True)
    start = datetime.fromtimestamp(demand.begins, demand.zone)

    def times(seconds: list[float]) -> list[datetime]:
        return [start + timedelta(seconds=each) for each in seconds]

    load.plot(times([60.0 * minute for minute in range(len(demand.rates))]), demand.rates)
    load.set(title=demand.name, ylabel="calls a minute", ylim=(0, None))
    steps = [*outcome.moments, replace(outcome.moments[-1], time=demand.seconds)]
    moments = times([each.time for each in steps])
    replicas.step(
        moments, [each.there for each in steps], where="post", label="with those that start"
    )
    replicas.step(moments, [each.ready for each in steps], where="post", label="ready")
    replicas.set(ylabel="replicas", ylim=(0, None))
    replicas.legend(fontsize="small")
    hours = times([3600.0 * hour for hour in range(len(outcome.hours))])
    latency.step(hours, outcome.hours, where="post", label="p95 of each hour")
    latency.axhline(target_p95, color="red", linestyle="--", linewidth=1, label="target")
    latency.set(ylabel="seconds", ylim=(0, None))
    latency.legend(fontsize="small")
    latency.xaxis.set_major_locator(DayLocator(tz=demand.zone))  # type: ignore[no-untyped-call]
    latency.xaxis.set_major_formatter(DateFormatter("%a", demand.zone))  # type: ignore[no-untyped-call]
    save(figure, file)
