"""Write the pages of the checks, from the checks themselves.

python -m docs.pages
"""

from __future__ import annotations

from pathlib import Path

from foundry_cm.checks import checks, pages

ROOT = Path(__file__).parent.parent


def expected() -> dict[str, str]:
    """Each page by its path."""
    return {"docs/checks/README.md": pages.index()} | {
        pages.path(check): pages.page(check) for check in checks()
    }


def main() -> None:
    """Write the pages, and delete those of checks that are gone."""
    wanted = expected()
    (ROOT / "docs" / "checks").mkdir(exist_ok=True)
    for file in (ROOT / "docs" / "checks").glob("*.md"):
        if file.relative_to(ROOT).as_posix() not in wanted:
            file.unlink()
    for path, text in wanted.items():
        (ROOT / path).write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
