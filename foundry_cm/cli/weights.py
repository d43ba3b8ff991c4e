"""`cm weights`: brings a model's files here, locks them by hash, and checks them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from foundry_cm.cli.console import err, say, say_next
from foundry_cm.cli.options import Folder
from foundry_cm.errors import CmError
from foundry_cm.module.project import Project

if TYPE_CHECKING:
    from foundry_cm.weights.request import Pulled

app = typer.Typer(
    name="weights",
    help="Download the model's files and lock them by hash in weights.lock.",
    no_args_is_help=True,
    add_completion=False,
)


@app.command("pull")
def pull(
    update: Annotated[
        bool,
        typer.Option("--update", help="Lock what the origin has now."),
    ] = False,
    folder: Folder = Path(),
) -> None:
    """Download the files of weights.lock; write the lock first if there is none."""
    project = Project.read(folder)
    with _packages():
        from foundry_cm.weights import pull as weights
    pulled = weights.pull(project, _progress, update=update)
    _say_what(pulled)
    if pulled.relocked:
        say("Wrote weights.lock; commit it, and not the files.")
    say_next("cm serve", "runs the module with them")


@app.command("verify")
def verify(folder: Folder = Path()) -> None:
    """Check the files against weights.lock, byte by byte; exit with code 1 if they differ."""
    from foundry_cm.weights.request import check

    with _packages():
        checked = check(Project.read(folder))
    _say_what(checked)
    say_next("cm serve", "runs the module with them")


@app.command("export")
def export(
    to: Annotated[
        Path | None,
        typer.Option("--to", help="The folder to write, if the origin is not a folder itself."),
    ] = None,
    folder: Folder = Path(),
) -> None:
    """Convert the model to ONNX if its origin only has safetensors."""
    project = Project.read(folder)
    with _packages("export"):
        from foundry_cm.weights import pull as weights
        from foundry_cm.weights.export import FILE
        from foundry_cm.weights.export import export as convert
    exported = convert(project, to, _progress)
    say(
        f"Wrote {exported.folder / FILE}; its vectors are those of PyTorch "
        f"to within {exported.difference:.1g}"
    )
    if exported.is_origin:
        _say_what(weights.pull(project, _progress, update=True))
        say("Wrote weights.lock; commit it, and not the files.")
        say_next("cm serve", "runs the module with them")
        return
    say("Use that folder as the origin in [tool.foundry-cm.weights], or copy its files to another:")
    say('  origin = "folder"')
    say(f"  folder = {json.dumps(str(exported.folder), ensure_ascii=False)}")
    say_next("cm weights pull", "locks its files by hash")


def _say_what(pulled: Pulled) -> None:
    count = len(pulled.lock.files)
    size = f"{pulled.lock.size / 1e6:,.1f} MB"
    say(f"{count} file{'s'[: count != 1]}, {size}, as weights.lock says, in {pulled.folder}")
    for path in pulled.pickles:
        say(f"{path} can run its author's code when it loads. Its hash is locked.", "yellow")


@contextmanager
def _packages(*more: str) -> Iterator[None]:
    """Say how to install what not every module needs."""
    try:
        yield
    except ImportError as error:
        raise CmError(
            f"Weights need the package {error.name}",
            fix=f"pip install 'foundry-cm[{','.join(('weights', *more))}]'",
            code="MissingPackage",
        ) from None


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task("weights", total=total)
        yield lambda count: progress.advance(task, count)
