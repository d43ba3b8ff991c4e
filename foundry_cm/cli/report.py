"""What `cm check` finds, for people and for the programs that read it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rich.text import Text

from foundry_cm import __version__
from foundry_cm.checks import Check, Finding, Module, Severity, checks, pages
from foundry_cm.cli.console import err, show_annotation
from foundry_cm.errors import printable

_STYLES = {
    Severity.ERROR: "bold red",
    Severity.WARNING: "bold yellow",
    Severity.NOTICE: "bold cyan",
}
_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTICE: "note"}
_WIDEST = 160


def show_text(module: Module, findings: Iterable[Finding]) -> None:
    """Print findings by file, each with its line of code and its mend."""
    for path, group in groupby(findings, lambda finding: finding.path):
        err.print(Text(printable(path), "bold underline"))
        for finding in group:
            style = _STYLES[finding.severity or Severity.ERROR]
            err.print(
                Text.assemble(
                    (f"{finding.line:>5} ", "dim"),
                    (f"{finding.severity} {finding.code} {finding.name}: ", style),
                    printable(finding.message),
                )
            )
            if code := _line(module, finding):
                err.print(Text(f"      | {code}", "dim"))
            err.print(Text.assemble(("      fix: ", "bold"), printable(finding.fix)))


def _line(module: Module, finding: Finding) -> str:
    """The line of code of a finding; nothing where it holds a secret."""
    lines = [] if finding.secret else module.lines(finding.path)
    if not 0 < finding.line <= len(lines):
        return ""
    return printable(lines[finding.line - 1]).strip()[:_WIDEST]


def summary(findings: Iterable[Finding], count: int) -> str:
    """The findings in one line."""
    found = Counter(finding.severity or Severity.ERROR for finding in findings)
    parts = [
        f"{found[kind]} {kind}{'s' if found[kind] != 1 else ''}" for kind in Severity if found[kind]
    ]
    return (
        f"{', '.join(parts)}; {count} checks" if parts else f"{count} checks found nothing to mend"
    )


def as_json(findings: Iterable[Finding]) -> dict[str, list[dict[str, Any]]]:
    """The findings for programs."""
    docs = {check.code: pages.path(check) for check in checks()}
    return {
        "findings": [
            {
                "code": finding.code,
                "severity": str(finding.severity),
                "path": finding.path,
                "line": finding.line,
                "message": finding.message,
                "fix": finding.fix,
                "docs": docs[finding.code],
            }
            for finding in findings
        ]
    }


def show_github(findings: Iterable[Finding], folder: Path) -> None:
    """Print findings as annotations of GitHub Actions; nothing in them can be read as a command."""
    for finding in findings:
        show_annotation(
            str(finding.severity),
            f"{finding.message}. {finding.fix}",
            file=_from_here(folder) + finding.path,
            line=finding.line,
            title=f"{finding.code} {finding.name}",
        )


def as_sarif(findings: Iterable[Finding], folder: Path) -> dict[str, Any]:
    """The findings as a SARIF 2.1.0 log, which code scanning of GitHub and GitLab reads."""
    found = list(findings)
    codes = {finding.code for finding in found}
    rules = [_rule(check) for check in checks() if check.code in codes]
    prefix = _from_here(folder)
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": "foundry-cm", "version": __version__, "rules": rules}},
                "columnKind": "unicodeCodePoints",
                "results": [_result(finding, prefix, rules) for finding in found],
            }
        ],
    }


def _rule(check: Check) -> dict[str, Any]:
    return {
        "id": check.code,
        "name": check.name,
        "shortDescription": {"text": check.text.partition("\n\n")[0]},
        "fullDescription": {"text": check.text},
        "help": {"text": check.text, "markdown": pages.page(check)},
        "defaultConfiguration": {"level": _LEVELS[check.severity]},
    }


def _result(finding: Finding, prefix: str, rules: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "ruleId": finding.code,
        "ruleIndex": next(n for n, rule in enumerate(rules) if rule["id"] == finding.code),
        "level": _LEVELS[finding.severity or Severity.ERROR],
        "message": {"text": f"{finding.message}. {finding.fix}"},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": quote(prefix + finding.path)},
                    "region": {"startLine": max(1, finding.line)},
                }
            }
        ],
    }


def _from_here(folder: Path) -> str:
    """The way from the working directory to a module below it, for what reads paths from there."""
    here, there = Path.cwd().resolve(), folder.resolve()
    return (
        f"{there.relative_to(here).as_posix()}/"
        if there != here and there.is_relative_to(here)
        else ""
    )
