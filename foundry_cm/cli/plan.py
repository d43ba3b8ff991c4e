"""`cm plan`: how many replicas, for a load and a latency."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich import box
from rich.progress import Progress
from rich.table import Column, Table

from foundry_cm.cli.bench import OUTPUT
from foundry_cm.cli.console import err, label, out, say, say_next, show_json
from foundry_cm.cli.options import Folder, Format, duration, finite
from foundry_cm.errors import USAGE, CmError
from foundry_cm.load.chart import EXTRA
from foundry_cm.load.plan import demand as demands
from foundry_cm.load.plan.service import Service, measured, measured_starts
from foundry_cm.load.result import Result
from foundry_cm.module.project import Project
from foundry_cm.module.scaler import Override, Rules

if TYPE_CHECKING:
    from foundry_cm.load.plan.outcome import Outcome
    from foundry_cm.load.plan.search import Plan

CHART = "plan.png"


def plan(
    calls: Annotated[
        float | None,
        typer.Option(
            callback=finite, help="The calls per minute that you expect.", show_default=False
        ),
    ] = None,
    hours: Annotated[
        str | None,
        typer.Option(
            metavar="HOURS",
            help='When they arrive, such as "mon-fri 08:00-18:00 Europe/Berlin". Default: always.',
            show_default=False,
        ),
    ] = None,
    outside: Annotated[float, typer.Option(min=0, help="Calls per minute at other hours.")] = 0,
    load: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.csv",
            help='Read the load from a file instead: a column "calls", with a line for each minute.',
            show_default=False,
        ),
    ] = None,
    target_p95: Annotated[
        float | None,
        typer.Option(
            parser=duration,
            metavar="TIME",
            help="The p95 that callers should see, such as 2s. Default: the target of cm bench.",
            show_default=False,
        ),
    ] = None,
    bench: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json",
            help="A result of cm bench. Default: bench.json in the module's folder.",
            show_default=False,
        ),
    ] = None,
    service: Annotated[
        float | None,
        typer.Option(
            parser=duration,
            metavar="TIME",
            help="Use this instead of a result of cm bench: how long a call typically takes in a "
            "replica.",
            show_default=False,
        ),
    ] = None,
    service_p95: Annotated[
        float | None,
        typer.Option(
            parser=duration,
            metavar="TIME",
            help="With --service: the p95 of that time.",
            show_default=False,
        ),
    ] = None,
    cold_start: Annotated[
        float | None,
        typer.Option(
            parser=duration,
            metavar="TIME",
            help="How long a replica takes to start in Foundry, pull of the image included.",
            show_default=False,
        ),
    ] = None,
    vcpus: Annotated[float, typer.Option(callback=finite, help="vCPUs of a replica.")] = 1.0,
    memory_gb: Annotated[
        float, typer.Option(callback=finite, help="Memory of a replica, in GB.")
    ] = 4.0,
    gpu: Annotated[
        Literal["t4", "v100", "a100", "a10g", "l4", "h100"] | None,
        typer.Option(help="GPU of a replica.", show_default=False),
    ] = None,
    days: Annotated[
        int, typer.Option(min=1, max=demands.MOST_DAYS, help="Days to simulate, from a Monday on.")
    ] = 7,
    seed: Annotated[int, typer.Option(help="Of the arrivals.")] = 1,
    chart: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.png",
            help=f"Write the chart here. Default: {CHART}.",
            show_default=False,
        ),
    ] = None,
    format: Format = "text",
    folder: Folder = Path(),
) -> None:
    """Find the cheapest replicas, concurrency and schedule that keep a latency target under a load.

    It simulates Foundry's documented scaler over a week. Foundry also scales by a forecast of
    its own; how it does that is not published, so the simulation leaves it out.
    """
    project = Project.read(folder)
    try:
        from foundry_cm.load.plan import chart as charts
        from foundry_cm.load.plan import search
        from foundry_cm.load.plan.outcome import Size
    except ImportError as error:
        raise CmError(
            f"cm plan needs a package that is not installed: {error.name}",
            fix=f"pip install '{EXTRA}'",
            exit_code=USAGE,
        ) from None
    result = _measured(project, bench, service)
    demand = _demand(calls, hours, outside, load, days).enough()
    services, cold_starts = _times(result, project, service, service_p95, cold_start)
    target = target_p95 or (result.target_p95 if result else None)
    if not target:
        raise CmError(
            "The latency target is missing", fix="Give one: --target-p95 2s", exit_code=USAGE
        )
    settings = project.settings
    question = search.Question(
        demand=demand,
        services=services,
        cold_starts=cold_starts,
        target_p95=target,
        size=Size(vcpus=vcpus, gib=memory_gb, gpu=gpu),
        today=Rules(
            minimum=settings.min_replicas,
            maximum=settings.max_replicas,
            concurrency=settings.concurrency,
        ),
        seed=seed,
    )
    with Progress(console=err, transient=True) as bar:
        task = bar.add_task("Simulating")
        found = search.plan(question, lambda done, of: bar.update(task, completed=done, total=of))
    file = chart or project.folder / CHART
    shown = found.recommended or found.others[1].outcome
    charts.draw(demand, shown, target, file)
    _show(found, format)
    label("chart: ", str(file))
    if not found.recommended:
        raise CmError(
            f"Nothing keeps a p95 of {target:g} s under this load",
            fix="Allow more time, or make the calls faster: the table shows the fastest setting",
            code="TargetMissed",
        )
    _say_how(found.recommended.rules, project)


def _measured(project: Project, bench: Path | None, service: float | None) -> Result | None:
    """The result of cm bench that the plan stands on; None where a time was typed."""
    if service and bench:
        raise CmError("Give --bench or --service, not both", exit_code=USAGE)
    if service:
        return None
    file = bench or project.folder / OUTPUT
    if not bench and not file.is_file():
        raise CmError(
            "The duration of a call is missing",
            fix="Measure it: cm bench. Or give it: cm plan --service 200ms --cold-start 20s ...",
            exit_code=USAGE,
        )
    return Result.read(file)


def _demand(
    calls: float | None, hours: str | None, outside: float, load: Path | None, days: int
) -> demands.Demand:
    """The calls that are planned for."""
    if (calls is None) == (load is None):
        raise CmError(
            "The load is missing" if load is None else "Give --calls or --load, not both",
            fix="Give the calls per minute, such as --calls 60, or a file: --load calls.csv",
            exit_code=USAGE,
        )
    if load is not None:
        return demands.from_csv(load, days)
    assert calls is not None
    if hours is None:
        return demands.constant(calls, days)
    try:
        busy = Override.parse(f"{hours} 0-1")
    except CmError:
        raise CmError(
            f'--hours "{hours}" cannot be read',
            fix='Days, hours and time zone, such as: --hours "mon-fri 08:00-18:00 Europe/Berlin"',
            exit_code=USAGE,
        ) from None
    return demands.office(calls, busy, outside, days)


def _times(
    result: Result | None,
    project: Project,
    typical: float | None,
    p95: float | None,
    cold_start: float | None,
) -> tuple[dict[int, Service], tuple[float, ...]]:
    """How long calls take, by concurrency, and how long starts do."""
    if result is None:
        if typical is None or cold_start is None:
            raise CmError(
                "--service needs --cold-start as well",
                fix="Such as: --cold-start 20s",
                exit_code=USAGE,
            )
        return {project.concurrency: Service.typed(typical, p95)}, (cold_start,)
    services = measured(result)
    if not services:
        raise CmError(
            "This result has no setting with one replica, which cm plan needs",
            fix="Measure again: cm bench --replicas 1",
            exit_code=USAGE,
        )
    starts = (cold_start,) if cold_start else measured_starts(result)
    if not cold_start:
        say(
            "Cold starts are those of this machine. Foundry also pulls the image: plan for more "
            "with --cold-start 60s",
            "yellow",
        )
    return services, starts


def _show(found: Plan, format: str) -> None:
    if format == "json":
        show_json(_as_json(found))
        return
    demand = found.question.demand
    how = "call by call" if found.single else "with the calls of each 10 s together"
    days = "day" if demand.days == 1 else "days"
    say(f"{demand.name}; {demand.days:g} {days} from Monday on, {how}")
    names = ("replicas", "limit", "p95", "worst h", "starts", "hours", "compute s")
    table = Table(
        Column("", no_wrap=True),
        *(Column(name, justify="right", no_wrap=True) for name in names),
        collapse_padding=True,
        caption="limit: concurrency. p95: of all calls, and of the worst hour. The rest: a day.",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
    )
    for name, outcome in _rows(found):
        rules = outcome.rules
        p95 = _seconds(outcome.p95) + ("" if outcome.keeps(found.question.target_p95) else " *")
        table.add_row(
            name,
            f"{rules.minimum}-{rules.maximum}",
            str(rules.concurrency),
            p95,
            _seconds(outcome.worst_hour),
            f"{outcome.starts_a_day:.1f}",
            f"{outcome.replica_hours:.1f}",
            f"{outcome.compute_seconds(found.question.size):,.0f}",
        )
    out.print(table)
    for name, outcome in _rows(found):
        if outcome.rules.override:
            say(f"{name}: with the scheduled override {outcome.rules.override}")
    if not all(outcome.keeps(found.question.target_p95) for _, outcome in _rows(found)):
        say(f"* misses the target of {_seconds(found.question.target_p95)}", "dim")
    known, today = found.question.services, found.question.today.concurrency
    if today not in known:
        measured = ", ".join(map(str, sorted(known)))
        say(
            f"Today's concurrency limit, {today}, was not measured (only {measured}): its calls are taken "
            f"to last as long as at {found.question.nearest(today)}",
            "yellow",
        )


def _rows(found: Plan) -> list[tuple[str, Outcome]]:
    first = [("recommended", found.recommended)] if found.recommended else []
    return [*first, *((choice.name, choice.outcome) for choice in found.others)]


def _as_json(found: Plan) -> dict[str, Any]:
    size, target = found.question.size, found.question.target_p95
    return {
        "load": found.question.demand.name,
        "days": found.question.demand.days,
        "target_p95": target,
        "call_by_call": found.single,
        "plans": [
            {
                "name": name,
                "min_replicas": outcome.rules.minimum,
                "max_replicas": outcome.rules.maximum,
                "concurrency_limit": outcome.rules.concurrency,
                "schedule": str(outcome.rules.override) if outcome.rules.override else None,
                "keeps_target": outcome.keeps(target),
                "p50": _number(outcome.p50),
                "p95": _number(outcome.p95),
                "p99": _number(outcome.p99),
                "p95_of_worst_hour": _number(outcome.worst_hour),
                "starts_per_day": round(outcome.starts_a_day, 2),
                "replica_hours_per_day": round(outcome.replica_hours, 2),
                "compute_seconds_per_day": round(outcome.compute_seconds(size), 1),
            }
            for name, outcome in _rows(found)
        ],
    }


def _say_how(rules: Rules, project: Project) -> None:
    """How the recommended settings get into the module."""
    if rules.override:
        say(f"In the Configure tab, Scaling, add the scheduled override: {rules.override}")
    if (project.folder / ".copier-answers.yml").is_file():
        say_next(
            f"copier update -d min_replicas={rules.minimum} -d max_replicas={rules.maximum} "
            f"-d concurrency_limit={rules.concurrency}",
            "puts them into the module and its DEPLOY.md",
        )
    else:
        say(
            f"In the Configure tab: minimum {rules.minimum}, maximum {rules.maximum}, concurrency limit "
            f"{rules.concurrency}"
        )


def _number(seconds: float) -> float | None:
    """For JSON, which has no NaN: null where no call was answered."""
    return None if math.isnan(seconds) else round(seconds, 4)


def _seconds(seconds: float) -> str:
    if math.isnan(seconds):
        return "-"
    if seconds >= 7200:
        return f"{seconds / 3600:,.0f} h"
    if seconds >= 120:
        return f"{seconds / 60:,.0f} min"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
