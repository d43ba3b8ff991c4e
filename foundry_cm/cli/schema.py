"""`cm schema`: what the module posts to Foundry, and how it differs from what callers rely on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from foundry_cm.cli import session, terminal
from foundry_cm.cli.console import say, say_next, show_json
from foundry_cm.cli.options import Command, Env, Folder, Port, Timeout
from foundry_cm.errors import FAILURE, USAGE, CmError
from foundry_cm.local.function.foundry import check_mode
from foundry_cm.module import datatypes
from foundry_cm.module.files import replace_text
from foundry_cm.module.places import read_file
from foundry_cm.module.project import Project

COMMITTED = "schema.json"


def schema(
    command: Command = None,
    diff: Annotated[
        bool,
        typer.Option(
            "--diff", help=f"Compare with {COMMITTED}; exit with code 1 if callers would notice."
        ),
    ] = False,
    write: Annotated[bool, typer.Option("--write", help=f"Write it to {COMMITTED}.")] = False,
    breaking: Annotated[
        bool,
        typer.Option("--breaking", help="With --write: accept a change that breaks callers."),
    ] = False,
    timeout: Timeout = None,
    port: Port = None,
    env: Env = None,
    folder: Folder = Path(),
) -> None:
    """Print exactly what the SDK posts to Foundry.

    Foundry registers every function as version 0.0.0 and overwrites it, so a breaking change
    reaches callers at once. Commit schema.json and run --diff in CI. --write refuses a breaking
    change unless you pass --breaking.
    """
    if diff and write:
        raise CmError(
            "Both --diff and --write were given", fix="Give one of them.", exit_code=USAGE
        )
    if breaking and not write:
        raise CmError(
            "--breaking goes with --write", fix="cm schema --write --breaking", exit_code=USAGE
        )
    project = Project.read(folder).passing(env or [])
    check_mode(project.folder)
    committed = project.folder / COMMITTED
    guarded = write and not breaking and committed.exists()
    before = read_committed(committed) if diff or guarded else []
    start = session.Start(project, command or [], port=port, timeout=timeout)
    after = terminal.run(session.posted_schemas(start, at_server=not command))
    if guarded:
        _check_compatible(before, after)
    if write:
        replace_text(committed, json.dumps(after, indent=2) + "\n")
        say(f"Wrote {COMMITTED}", "green")
        say_next("cm schema --diff", "compares the module with it")
    elif diff:
        _show_changes(list(changes(before, after)))
    else:
        show_json(after)


def read_committed(committed: Path) -> list[Any]:
    """The schemas in a committed file; raises `CmError` where it is none that `--write` has written."""
    if not committed.is_file():
        raise CmError(
            f"There is no {COMMITTED} to compare with",
            where=str(committed),
            fix="Write it and commit it: cm schema --write",
            exit_code=USAGE,
        )
    schemas = read_file(committed)
    try:
        for schema in _by_name(schemas).values():
            _places(schema)
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError):
        raise CmError(
            f"{COMMITTED} is not what cm schema --write writes",
            where=str(committed),
            fix="Write it again: cm schema --write --breaking",
            exit_code=USAGE,
        ) from None
    return list(schemas)


def _check_compatible(before: list[Any], after: list[Any]) -> None:
    """Raise the `CmError` of changes that break callers: nobody writes them down by the way."""
    found = [text for breaks, text in changes(before, after) if breaks]
    if found:
        count = "1 change breaks" if len(found) == 1 else f"{len(found)} changes break"
        raise CmError(
            f"{count} callers, so {COMMITTED} stays as it is",
            where=found[0],
            fix="Keep that function, and give the new one another name. If all callers change with "
            "it: cm schema --write --breaking",
            code="Breaking",
            details="\n".join(found[1:]) or None,
        )


def _show_changes(found: list[tuple[bool, str]]) -> None:
    if not found:
        say(f"The module posts what {COMMITTED} says", "green")
        return
    for breaking, text in found:
        say(
            f"{'breaks callers' if breaking else 'compatible':15} {text}",
            "red" if breaking else "yellow",
        )
    if any(breaking for breaking, _ in found):
        say_next("cm schema --write --breaking", "accepts this, where every caller changes with it")
    else:
        say_next("cm schema --write", "accepts this, once it is meant")
    raise typer.Exit(FAILURE)


def changes(before: list[Any], after: list[Any]) -> Iterator[tuple[bool, str]]:
    """Each difference between two posted schemas, with whether it breaks callers.

    A caller breaks by a function or input that is gone or of another type, by a new input that is
    required, and by a field of the result that is gone or of another type.
    """
    old, new = _by_name(before), _by_name(after)
    for name in old.keys() - new.keys():
        yield True, f"{name}: the function is gone"
    for name in new.keys() - old.keys():
        yield False, f"{name}: a new function"
    for name in sorted(old.keys() & new.keys()):
        yield from _compare(name, _places(old[name]), _places(new[name]))


def _by_name(schemas: list[Any]) -> dict[str, Any]:
    return {item["functionName"]: item for item in schemas}


def _places(function: dict[str, Any]) -> dict[str, tuple[str, bool]]:
    """Each place in a function's types, with its type and whether a caller must fill it in."""
    places: dict[str, tuple[str, bool]] = {}
    for item in function["inputs"]:
        required = bool(item.get("required", True))
        for path, kind in datatypes.flatten(item["dataType"], f"event.{item['name']}"):
            places[path] = kind, required
    for path, kind in datatypes.flatten(function["output"]["single"]["dataType"], "result"):
        places[path] = kind, False
    return places


def _compare(
    name: str, old: dict[str, tuple[str, bool]], new: dict[str, tuple[str, bool]]
) -> Iterator[tuple[bool, str]]:
    for path in old:
        if path not in new:
            yield True, f"{name}: {path} is gone"
        elif old[path][0] != new[path][0]:
            yield True, f"{name}: {path} was {old[path][0]} and is {new[path][0]}"
        elif old[path][1] != new[path][1]:
            yield (
                new[path][1],
                f"{name}: {path} is now {'required' if new[path][1] else 'optional'}",
            )
    for path, (kind, required) in new.items():
        if path not in old:
            yield required, f"{name}: {path} is new ({kind}{', required' if required else ''})"
