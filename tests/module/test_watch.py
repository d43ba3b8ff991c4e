"""Which changed files restart a module."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import watchfiles

from foundry_cm.cli.reload import reload_on_change
from foundry_cm.module import watch
from foundry_cm.module.project import Project
from foundry_cm.module.watch import Code, changed_files
from tests.conftest import git


def change(*files: Path) -> list[Path]:
    for number, file in enumerate(files):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{file.name} {number} {file.stat().st_size if file.exists() else 0}\n")
    return list(files)


def test_code_alone_counts_where_there_is_no_folder_for_it(tmp_path: Path) -> None:
    code = Code(tmp_path, tmp_path, ["python", "app.py"])
    files = change(
        tmp_path / "app.py", tmp_path / "last.json", tmp_path / "schema.json", tmp_path / "page.js"
    )
    assert code.sort(files) == ([tmp_path / "app.py"], [])
    assert code.sort([tmp_path / "app.py"]) == ([], []), "its content is as it was"


def test_code_of_node_counts_for_a_module_on_node(tmp_path: Path) -> None:
    code = Code(tmp_path, tmp_path, ["node", "app.js"])
    files = change(*(tmp_path / f"a.{suffix}" for suffix in ("js", "mjs", "cjs", "ts", "json")))
    assert code.sort(files) == (files[:4], [])


def test_program_that_the_command_names_counts_as_code(tmp_path: Path) -> None:
    change(tmp_path / "module.jar")
    code = Code(tmp_path, tmp_path, ["java", "-jar", "module.jar"])
    (tmp_path / "module.jar").write_text("built again")
    assert code.sort([tmp_path / "module.jar"]) == ([tmp_path / "module.jar"], [])


def test_other_files_below_src_count_but_for_what_git_ignores(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    (tmp_path / ".gitignore").write_text("*.log\n")
    source = tmp_path / "src"
    code = Code(tmp_path, source, ["python", "src/app.py"])
    files = change(source / "app.py", source / "words.json", source / "calls.log")
    assert code.sort(files) == ([source / "app.py"], [source / "words.json"])


def test_a_system_that_watches_no_more_files_is_looked_at_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def limited(*args: Any, force_polling: bool | None, **options: Any) -> AsyncIterator[Any]:
        if not force_polling:
            raise OSError("OS file watch limit reached")
        return watchfiles.awatch(*args, force_polling=True, poll_delay_ms=20, **options)

    async def first_change() -> list[Path]:
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(0.5, (tmp_path / "app.py").write_text, "x = 1\n")
        async for files in changed_files(tmp_path, stop):
            return files
        return []

    monkeypatch.setattr(watch, "awatch", limited)
    assert tmp_path / "app.py" in asyncio.run(asyncio.wait_for(first_change(), 20))


def test_a_watch_that_the_system_ends_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*args: Any, **options: Any) -> AsyncIterator[Any]:
        raise OSError("no more files may be open")

    async def watched() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(0.2, stop.set)
        await reload_on_change(Project.read(tmp_path), stop, lambda _: asyncio.sleep(0))

    monkeypatch.setattr(watch, "awatch", refused)
    asyncio.run(watched())
    assert (
        "cm no longer sees changes: no more files may be open. Restart it to reload again"
        in capsys.readouterr().err
    )
