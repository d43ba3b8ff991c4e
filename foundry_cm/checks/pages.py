"""The documentation of the checks, written from the checks themselves."""

from __future__ import annotations

import textwrap

from foundry_cm.checks.registry import Bad, Check, Files, checks

_SUBJECTS = {
    "CM0": "The files and the comments themselves",
    "CM1": "Image",
    "CM2": "Handlers, types, work in the wrong place, pipelines",
    "CM3": "Requirements",
    "CM4": "Secrets and Sources",
    "CM5": "Live: the module runs under the local Foundry",
    "CM6": "Template",
}
_LANGUAGES = {
    "py": "python",
    "toml": "toml",
    "json": "json",
    "yml": "yaml",
    "yaml": "yaml",
    "md": "text",
}
_FIRST = "This page is written from the checks by `make docs-checks`."


def path(check: Check) -> str:
    """Where the page of a check is."""
    return f"docs/checks/{check.code}.md"


def page(check: Check) -> str:
    """The page of one check: what it looks for and why, a module that has it, and one that does not."""
    parts = [
        f"# {check.code}: {check.name}",
        f"<!-- {_FIRST} -->",
        f"*{_severity(check)}*",
        check.text,
    ]
    if check.bad:
        bad = check.bad[0]
        places = ", ".join(f"`{place}`" for place in bad.at)
        parts += ["## Found", f"At {places}:", *_files(_shown(bad))]
    if check.good:
        parts += [
            "## Right",
            *_files(_changed(check.good[0], check.bad[0].files if check.bad else {})),
        ]
    parts += ["## Switch it off", _off(check)]
    return "\n\n".join(parts) + "\n"


def index() -> str:
    """The list of all checks."""
    parts = ["# Checks", f"<!-- {_FIRST} -->", _INTRODUCTION]
    for start, subject in _SUBJECTS.items():
        rows = [
            f"| [{each.code}]({each.code}.md) | {each.name} | {each.severity} | {_summary(each)} |"
            for each in checks()
            if each.code.startswith(start)
        ]
        parts += [
            f"## {subject}",
            "\n".join(["| Code | Name | Severity | Finds |", "|---|---|---|---|", *rows]),
        ]
    return "\n\n".join(parts) + "\n"


_INTRODUCTION = textwrap.dedent("""\
    `cm check` reads a module and runs nothing of it. It works on modules that never saw the template.
    `cm check --live` also starts the module under the local Foundry.

    An error fails the command with exit code 1. A warning fails it only with `--strict-exit`. A notice
    is only told.

    The settings are in `pyproject.toml`:

    ```toml
    [tool.foundry-cm.check]
    profile = "strict"     # or "sdk", the default: all types that the SDK converts
    ignore = ["CM204"]     # checks that are switched off
    ```

    A comment switches a check off for one line. It needs a reason:

    ```python
    async def legacy(context, event):  # cm: ignore[CM203] the caller is a test of ours
    ```""")


def _severity(check: Check) -> str:
    live = ", found by `cm check --live`" if check.live else ""
    return f"{check.severity.capitalize()}{live}"


def _summary(check: Check) -> str:
    return " ".join(check.text.partition("\n\n")[0].split()).replace("|", "\\|").rstrip(".")


def _off(check: Check) -> str:
    where = "on the line, or alone on the line above it" if check.bad else "on the line"
    return textwrap.dedent(f"""\
        Write a comment {where}, with the reason:

        ```text
        # cm: ignore[{check.code}] the reason
        ```

        For the whole module, put `{check.code}` into `ignore` of `[tool.foundry-cm.check]` in `pyproject.toml`.""")


def _shown(bad: Bad) -> Files:
    """The files of a bad example that say something: those that are not empty."""
    return {name: text for name, text in bad.files.items() if text.strip()}


def _changed(good: Files, bad: Files) -> Files:
    """The files of a good example, less those that the bad one has as well."""
    return {name: text for name, text in good.items() if text.strip() and bad.get(name) != text}


def _files(files: Files) -> list[str]:
    return [
        f"`{name}`\n\n```{_language(name)}\n{text.rstrip()}\n```" for name, text in files.items()
    ]


def _language(name: str) -> str:
    if name.rpartition("/")[2].startswith("Dockerfile"):
        return "dockerfile"
    return _LANGUAGES.get(name.rpartition(".")[2], "text")
