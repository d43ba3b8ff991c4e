"""Requirements: the SDK and the libraries that fit the image."""

from __future__ import annotations

import re
from collections.abc import Iterator

from packaging.specifiers import SpecifierSet
from packaging.version import VERSION_PATTERN, Version

from foundry_cm.checks.dependencies import PROJECT
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
# They pin what a file asks for.
_LOCKS = {
    "pyproject.toml": {"uv.lock", "pdm.lock", "poetry.lock", "pylock.toml"},
    "Pipfile": {"Pipfile.lock"},
}
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


PYTHON = "FROM python:3.12-slim\n"
CONDA = "FROM mambaorg/micromamba:2.3\n"


def installing(run: str, app: str = APP, base: str = PYTHON, **files: str) -> dict[str, str]:
    """A module whose image installs what a RUN says; `__` in the name of a file is a dot."""
    named = {name.replace("__", "."): text for name, text in files.items()}
    return {"Dockerfile": f"{base}RUN {run}\n", "src/app.py": app, **named}


def poetry(asked: str) -> str:
    """A `pyproject.toml` of Poetry with these dependencies."""
    return f'[tool.poetry.dependencies]\npython = "^3.12"\n{asked}\n'


def project(*asked: str, more: str = "") -> str:
    """A `pyproject.toml` with these dependencies."""
    lines = "".join(f'    "{each}",\n' for each in asked)
    return f'[project]\nname = "m"\ndependencies = [\n{lines}]\n{more}'


def conda(*asked: str, pip: str = "") -> str:
    """An environment of conda with these dependencies, and one that pip installs."""
    lines = "".join(f"  - {each}\n" for each in asked)
    return f"dependencies:\n{lines}" + (f"  - pip:\n      - {pip}\n" if pip else "")


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
        Bad("pyproject.toml:1", installing("poetry install", pyproject__toml=poetry('numpy = "*"'))),
        Bad("Pipfile:1", installing("pipenv sync", Pipfile='[packages]\nnumpy = "*"\n')),
        Bad("Pipfile:1", {"src/app.py": APP, "Pipfile": '[packages]\nnumpy = "*"\n'}),
        Bad("environment.yml:1", {"src/app.py": APP, "environment.yml": conda("python=3.12")}),
        Bad(
            "env/conda.yaml:1",
            installing(
                "micromamba install -y -n base -f /tmp/conda.yaml",
                base=CONDA,
                **{"env/conda.yaml": conda("python=3.12", "numpy", pip="pandas")},
            ),
        ),
        Bad("Dockerfile:2", installing("conda install -y -c conda-forge 'numpy>=2'", base=CONDA)),
    ),
    good=(
        asking("Foundry_Compute.Modules>=0.34,<0.35"),
        installing("poetry install --only main", pyproject__toml=poetry(f'{SDK} = "^0.34"')),
        installing(
            "poetry install --with run --without dev",
            pyproject__toml=poetry(f'\n[tool.poetry.group.run.dependencies]\n{SDK} = "^0.34"'),
        ),
        installing("pip install .", pyproject__toml=poetry(f'{SDK} = {{git = "https://a.io/b"}}')),
        installing("pip install '.[run]'", pyproject__toml=project(more=f'[project.optional-dependencies]\nrun = ["{SDK_RANGE}"]\n')),
        installing("pip install -r pyproject.toml", pyproject__toml=project(SDK_RANGE)),
        installing("uv export > /r.txt && pip install -r /r.txt", pyproject__toml=project(SDK_RANGE)),
        installing("uv sync --group run", pyproject__toml=project(more=f'[dependency-groups]\nrun = ["{SDK_RANGE}"]\n')),
        installing("pipenv install --system", Pipfile=f'[packages]\n{SDK} = ">=0.34,<0.35"\n'),
        installing("pipenv sync --dev", Pipfile=f'[dev-packages]\n{SDK} = ">=0.34,<0.35"\n'),
        installing(f"pipenv install '{SDK_RANGE}'", Pipfile=""),
        installing("conda env update -n base", environment__yml=conda("pip", pip=SDK_RANGE), base=CONDA),
        installing("mamba env create --file=e.yml", e__yml=conda(f"conda-forge::{SDK}=0.34"), base=CONDA),
        installing("mamba create -n m --file list.txt", list__txt="numpy\n", base=CONDA),
        installing("conda env create -f gone.yml", base=CONDA),
        installing(f"micromamba install -y {SDK}=0.34.0", base=CONDA),
        installing("pixi install", requirements__txt="numpy\n"),
        installing(
            "pip install .",
            r__in=f"{SDK_RANGE}\n",
            pyproject__toml='[project]\nname = "m"\ndynamic = ["dependencies"]\n[tool.setuptools.dynamic]\ndependencies = { file = ["r.in"] }\n',
        ),
        asking("-r base.txt", **{"base.txt": f"{SDK}==0.34.0\n"}),
        asking("requests", app="import requests\n"),
        asking("requests", Dockerfile=DOCKERFILE.replace("python:3.12-slim", "acme/runtime:4")),
        {"src/app.py": APP},
    ),
)  # fmt: skip
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
        Bad("pyproject.toml:3", installing("poetry install", pyproject__toml=poetry(f'{SDK} = "*"'))),
        Bad("pyproject.toml:3", installing("poetry install", pyproject__toml=poetry(f'{SDK} = "^0.31"'))),
        Bad("pyproject.toml:3", installing("poetry install", pyproject__toml=poetry(f'{SDK} = {{ version = "~0.33.1", extras = ["sources"] }}'))),
        Bad("pyproject.toml:3", installing("poetry install", pyproject__toml=poetry(f'[tool.poetry.dependencies.{SDK}]\nversion = "<1"'))),
        Bad("pyproject.toml:4", installing("uv sync", pyproject__toml=project(SDK))),
        Bad("Pipfile:3", installing("pipenv install", Pipfile=f'[[source]]\n[packages]\n{SDK} = "*"\n')),
        Bad("environment.yml:2", installing("conda env create", environment__yml=conda(f"{SDK}=0.33"), base=CONDA)),
        Bad("environment.yml:4", installing("conda env create", environment__yml=conda("pip", pip=SDK), base=CONDA)),
    ),
    good=(
        asking(SDK_RANGE),
        installing("poetry install", pyproject__toml=poetry(f'{SDK} = "*"'), poetry__lock=""),
        installing("poetry install", pyproject__toml=poetry(f'{SDK} = "~0.34"')),
        installing("poetry install", pyproject__toml=poetry(f'{SDK} = "0.34.*"')),
        installing("poetry install", pyproject__toml=poetry(f'{SDK} = [{{ version = "0.34.0", python = "<4" }}]')),
        installing("pip install .", pyproject__toml=project(SDK, more=f'[tool.uv.sources]\n{SDK} = {{ git = "https://a.io/b" }}\n')),
        installing("pipenv sync", Pipfile=f'[packages]\n{SDK} = "*"\n', **{"Pipfile.lock": ""}),
        installing("conda env create", environment__yml=conda(f"{SDK}=0.34"), base=CONDA),
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
)  # fmt: skip
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
        is_locked = bool(_LOCKS.get(one.path, set()) & set(module.files))
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
    lower = {">=", "==", "~=", ">", "==="}
    texts = [part.version.removesuffix(".*") for part in specifier if part.operator in lower]
    # `===` compares as text, and takes what is no version.
    ends = [
        Version(text)
        for text in texts
        if re.fullmatch(VERSION_PATTERN, text, re.VERBOSE | re.IGNORECASE)
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
        installing("uv sync", pyproject__toml=project(SDK_RANGE, more='[[tool.uv.index]]\nurl = "https://a.io/s"\n[[tool.uv.index]]\nurl = "https://b.io/s"\n')),
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
        if is_lock(path) or is_template(path) or path == PROJECT or not own:
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
