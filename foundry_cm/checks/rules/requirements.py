"""Requirements: the SDK and the libraries that fit the image."""

from __future__ import annotations

from collections.abc import Iterator

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from foundry_cm.checks.finding import Finding, Severity
from foundry_cm.checks.module import Module
from foundry_cm.checks.registry import Bad, check
from foundry_cm.checks.requirements import (
    Asked,
    Requirements,
    is_lock,
    is_template,
    requirements,
)

SDK = "foundry-compute-modules"
# They pin what pyproject.toml asks for.
_LOCKS = {"uv.lock", "pdm.lock", "poetry.lock", "pylock.toml"}
_OLDEST = Version("0.34")
SDK_RANGE = f"{SDK}>=0.34,<0.35"

APP = "from compute_modules.annotations import function\n"
DOCKERFILE = """\
FROM --platform=linux/amd64 python:3.12-slim
COPY requirements.txt .
RUN pip install -r requirements.txt
COPY src .
USER 5000
CMD ["python", "app.py"]
"""


def asking(*lines: str, app: str = APP, **files: str) -> dict[str, str]:
    """A module that asks for these libraries."""
    text = "".join(f"{line}\n" for line in lines)
    return {"requirements.txt": text, "src/app.py": app, **files}


def sdk_imports(module: Module) -> list[tuple[str, int]]:
    """Where the module imports the SDK."""
    return [
        (source.path, found.line)
        for source in module.python.values()
        for found in source.imports
        if found.target.partition(".")[0] == "compute_modules"
    ]


@check(
    "CM301",
    "sdk-missing",
    bad=(
        Bad("requirements.txt:1", asking("requests")),
        Bad(
            "Dockerfile:2",
            {"Dockerfile": "FROM python:3.12\nRUN pip install numpy\n", "app.py": APP},
        ),
        Bad(
            "pyproject.toml:1",
            {"pyproject.toml": '[project]\nname = "m"\ndependencies = []\n', "src/app.py": APP},
        ),
    ),
    good=(
        asking("Foundry_Compute.Modules>=0.34,<0.35"),
        asking("-r base.txt", **{"base.txt": f"{SDK}==0.34.0\n"}),
        asking("requests", app="import requests\n"),
        asking("requests", Dockerfile=DOCKERFILE.replace("python:3.12-slim", "acme/runtime:4")),
        {"src/app.py": APP},
    ),
)
def sdk_missing(module: Module) -> Iterator[Finding]:
    """The module imports the SDK, and nothing installs it into the image."""
    found = requirements(module)
    if found and found.is_whole and SDK not in found.installed and sdk_imports(module):
        path, line = found.paths[0] if found.paths else found.asked[0].path, 1
        if not found.paths:
            line = found.asked[0].line
        yield Finding(f"{SDK} is not asked for", path, f"Add {SDK_RANGE}.", line)


@check(
    "CM302",
    "sdk-version",
    severity=Severity.WARNING,
    bad=(
        Bad("requirements.txt:2", asking("# The SDK.", SDK)),
        Bad("requirements.txt:1", asking(f"{SDK}[sources]==0.31.0")),
        Bad("requirements.txt:1", asking(f"{SDK}<0.34")),
        Bad("requirements.txt:1", asking(f"{SDK}>=0.20")),
        Bad("requirements.txt:1", asking(f"{SDK}<0.40")),
        Bad("requirements.txt:1", asking(f"{SDK}>=0.20,<0.35")),
        Bad("requirements.txt:1", asking(f"{SDK}!=0.30")),
        Bad(
            "image.txt:1",
            {
                "Dockerfile": "FROM python:3.12\nRUN if [ -f a.lock ]; then set -- -r a.lock; "
                'else set -- -r image.txt; fi; pip install "$@"\n',
                "image.txt": f"{SDK}\n",
                "app.py": APP,
            },
        ),
        Bad(
            "deploy/all.txt:1",
            {
                "Dockerfile": "FROM python:3.12\nRUN --mount=type=bind,source=deploy/all.txt,target=/t/all.txt "
                "pip install -r /t/all.txt\n",
                "deploy/all.txt": f"{SDK}\n",
                "app.py": APP,
            },
        ),
        Bad(
            "Dockerfile:2",
            {"Dockerfile": f"FROM python:3.12\nRUN pip install {SDK}\n", "app.py": APP},
        ),
    ),
    good=(
        asking(SDK_RANGE),
        asking(f"{SDK}==0.34.*"),
        asking(f"{SDK}~=0.34"),
        asking(f"{SDK}>=0.35"),
        asking(f"{SDK} @ https://example.com/sdk.whl"),
        asking(SDK, "-r requirements.lock", **{"requirements.lock": f"{SDK}==0.34.0\n"}),
        {
            "Dockerfile": "FROM python:3.12\nRUN uv sync --frozen\n",
            "pyproject.toml": f'[project]\nname = "m"\ndependencies = ["{SDK}"]\n',
            "uv.lock": "version = 1\n",
            "app.py": APP,
        },
    ),
)
def sdk_version(module: Module) -> Iterator[Finding]:
    """The SDK is not pinned, or may be older than 0.34.

    0.34 is the first in which fields with a default are optional, as they are written. A build that
    takes whatever is newest can change the schema that Foundry knows.
    """
    found = requirements(module)
    asked = found.of(SDK) if found else []
    pinned = [one for one in asked if is_lock(one.path)]
    for one in pinned or asked:
        oldest = _lowest(one.specifier)
        is_locked = one.path == "pyproject.toml" and bool(_LOCKS & set(module.files))
        if one.from_url or (is_locked and not one.specifier):
            continue
        if not one.specifier or oldest is None:
            yield _version(f"{SDK} is not pinned", one, None)
        elif not any(one.specifier.contains(v) for v in ("0.34", "0.34.99", "0.99", "1", "99")):
            yield _version(f"{SDK}{one.specifier} is older than 0.34", one, Severity.ERROR)
        elif oldest < _OLDEST:
            yield _version(f"{SDK}{one.specifier} may be older than 0.34", one, None)


def _version(what: str, asked: Asked, severity: Severity | None) -> Finding:
    return Finding(what, asked.path, f"Write {SDK_RANGE}.", asked.line, severity)


def _lowest(specifier: SpecifierSet) -> Version | None:
    """The oldest version that a range has at its lower end; None where it has none."""
    ends = [
        Version(part.version.removesuffix(".*"))
        for part in specifier
        if part.operator in {">=", "==", "~=", ">", "==="}
    ]
    if ends:
        return max(ends)
    return Version("0") if any(part.operator in {"<", "<="} for part in specifier) else None


@check(
    "CM303",
    "sources-extra",
    bad=(
        Bad(
            "requirements.txt:1",
            asking(SDK_RANGE, app="from compute_modules.sources_v2 import get_source\n"),
        ),
        Bad(
            "requirements.txt:1", asking(SDK_RANGE, app="import compute_modules.sources_v2 as s\n")
        ),
    ),
    good=(
        asking(
            f"{SDK}[sources]>=0.34,<0.35",
            app="from compute_modules.sources_v2 import get_source\n",
        ),
        asking(
            SDK_RANGE, "external-systems", app="from compute_modules.sources_v2 import get_source\n"
        ),
        asking(SDK_RANGE, app="from compute_modules.sources import get_source_secret\n"),
    ),
)
def sources_extra(module: Module) -> Iterator[Finding]:
    """`get_source` is used, and the SDK is asked for without `[sources]`.

    The import fails in the image: what it stands on is only in that extra.
    """
    uses = any(
        f"{found.target}.".startswith(("compute_modules.sources_v2.", "external_systems."))
        for source in module.python.values()
        for found in source.imports
    )
    found = requirements(module)
    asked = found.of(SDK) if found and uses else []
    if found and asked and "external-systems" not in found.installed:
        yield Finding(
            "get_source needs the extra [sources] of the SDK",
            asked[0].path,
            f"Write {SDK}[sources]>=0.34,<0.35.",
            asked[0].line,
        )


@check(
    "CM308",
    "two-indexes",
    severity=Severity.WARNING,
    bad=(
        Bad("requirements.txt:2", asking("--index-url https://a.example/simple", "--extra-index-url https://pypi.org/simple", SDK_RANGE)),
        Bad("requirements.txt:1", asking("--extra-index-url=https://a.example/simple", SDK_RANGE)),
        Bad("base.txt:2", asking("-r base.txt", **{"base.txt": f"-i https://a.example/s\n-i https://b.example/s\n{SDK_RANGE}\n"})),
    ),
    good=(
        asking("--index-url https://a.example/simple", SDK_RANGE),
        asking("-r requirements.lock", **{"requirements.lock": f"--index-url https://a/s\n--extra-index-url https://b/s\n{SDK}==0.34.0\n"}),
    ),
)  # fmt: skip
def two_indexes(module: Module) -> Iterator[Finding]:
    """A file of requirements that reads two package indexes.

    pip takes the newest version of a name from either one: whoever registers the name of your
    private library on the public index gets into the image. A lock with hashes is safe from it.
    """
    found = requirements(module) or Requirements()
    for path in found.paths:
        own = [index for index in found.indexes if index.path == path]
        if is_lock(path) or is_template(path) or not own:
            continue
        second = own[1] if len(own) > 1 else own[0]
        if len(own) > 1 or own[0].extra:
            yield Finding(
                "pip looks for each library on two indexes",
                path,
                "Keep one --index-url, of an index that has all; or give the libraries of the other "
                "one a file of their own.",
                second.line,
            )
