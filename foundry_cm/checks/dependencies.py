"""What the files of other tools ask for: `pyproject.toml`, Pipfile and the environments of conda.

Each dependency is given as pip would write it, whatever its file calls it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from foundry_cm.checks.module import Module

PROJECT, PIPFILE, PIXI = "pyproject.toml", "Pipfile", "pixi.toml"
ENVIRONMENTS = (
    "environment.yml", "environment.yaml", "conda.yml", "conda.yaml", "conda-lock.yml", "meta.yaml",
    "conda_recipe/meta.yaml", "conda.recipe/meta.yaml", "recipe/meta.yaml",
)  # fmt: skip
_PLATFORM = "linux-64"
# What conda calls otherwise than PyPI.
_OF_CONDA = {
    "pytorch": "torch", "pytorch-cpu": "torch", "pytorch-gpu": "torch", "opencv": "opencv-python-headless",
    "py-opencv": "opencv-python-headless", "matplotlib-base": "matplotlib", "tensorflow-cpu": "tensorflow",
    "pytables": "tables", "msgpack-python": "msgpack", "python-graphviz": "graphviz", "psycopg2": "psycopg2",
    "dask-core": "dask", "seaborn-base": "seaborn", "xarray-base": "xarray", "py-xgboost": "xgboost",
    "faiss": "faiss-cpu", "pyarrow-core": "pyarrow", "google-cloud-storage-core": "google-cloud-storage",
}  # fmt: skip
_TABLE = re.compile(r"\s*\[+\s*([^\]]+?)\s*\]+\s*(#.*)?$")


@dataclass(frozen=True)
class Listed:
    """A dependency as pip writes it, or what cannot be read as one; and the line that lists it.

    `beside`: it may be there for another purpose than to be imported, such as the tools of a group.
    """

    text: str
    line: int
    beside: bool = False
    from_url: bool = False


def of_project(module: Module, groups: tuple[str, ...] = (), tools: bool = False) -> list[Listed]:
    """The dependencies in `pyproject.toml`, with these groups or extras; `tools`: those for developers."""
    project = module.pyproject.get("project", {})
    found = [*_texts(module, project.get("dependencies"))]
    for extra, asked in _table(project.get("optional-dependencies")).items():
        if canonicalize_name(extra) in groups or "*" in groups:
            found += _texts(module, asked)
    for group, asked in _table(module.pyproject.get("dependency-groups")).items():
        if canonicalize_name(group) in groups or "*" in groups or (tools and group == "dev"):
            found += _texts(module, asked, beside=True)
    poetry = _tool(module, "poetry")
    tables = [("tool.poetry.dependencies", poetry.get("dependencies"), False)]
    for group, asked in _table(poetry.get("group")).items():
        of_tools = canonicalize_name(group) not in groups
        if tools or not of_tools:
            name = f"tool.poetry.group.{group}.dependencies"
            tables.append((name, _table(asked).get("dependencies"), of_tools))
    for table, asked, beside in tables:
        found += _of_table(module, PROJECT, table, asked, beside)
    if tools:
        for asked in _table(_tool(module, "pdm").get("dev-dependencies")).values():
            found += _texts(module, asked, beside=True)
        found += _texts(module, _tool(module, "uv").get("dev-dependencies"), beside=True)
    found += _of_pixi(module, PROJECT, "tool.pixi.", _tool(module, "pixi"))
    # A project may say both, and the table of Poetry then only tells where a library comes from.
    origins = _table(_tool(module, "uv").get("sources")) | _table(poetry.get("dependencies"))
    elsewhere = {canonicalize_name(name) for name, where in origins.items() if _is_elsewhere(where)}
    return [
        Listed(each.text, each.line, each.beside, each.from_url or _name(each.text) in elsewhere)
        for each in found
    ]


def files_of_project(module: Module) -> list[str]:
    """The files of requirements that setuptools reads as the dependencies of the project."""
    dynamic = _table(_table(_tool(module, "setuptools").get("dynamic")).get("dependencies"))
    named = dynamic.get("file", [])
    return [named] if isinstance(named, str) else [each for each in named if isinstance(each, str)]


def has_list(module: Module) -> bool:
    """Whether `pyproject.toml` lists dependencies, be they none."""
    project = _table(module.pyproject.get("project"))
    poetry = _tool(module, "poetry")
    pixi = _tool(module, "pixi").keys() & {"dependencies", "pypi-dependencies"}
    return isinstance(project.get("dependencies"), list) or "dependencies" in poetry or bool(pixi)


def indexes_of_project(module: Module) -> Iterator[tuple[str, int]]:
    """The package indexes that uv or Poetry read, each with the line of its address."""
    lines = module.lines(PROJECT)
    for asked in (_tool(module, "uv").get("index"), _tool(module, "poetry").get("source")):
        for index in asked if isinstance(asked, list) else []:
            if isinstance(index, dict) and isinstance(url := index.get("url"), str):
                yield url, next((n for n, line in enumerate(lines, 1) if url in line), 1)


def of_pipfile(module: Module, tools: bool = False) -> list[Listed]:
    """The dependencies in a Pipfile; `tools`: those for developers as well."""
    try:
        asked = tomllib.loads(module.text(PIPFILE) or "")
    except tomllib.TOMLDecodeError:
        return []
    found = _of_table(module, PIPFILE, "packages", asked.get("packages"), False)
    more = asked.get("dev-packages") if tools else None
    return [*found, *_of_table(module, PIPFILE, "dev-packages", more, True)]


def of_pixi(module: Module) -> list[Listed]:
    """The dependencies in a `pixi.toml`; those of its features may be there for another environment."""
    try:
        return _of_pixi(module, PIXI, "", tomllib.loads(module.text(PIXI) or ""))
    except tomllib.TOMLDecodeError:
        return []


def _of_pixi(module: Module, path: str, before: str, asked: dict[str, Any]) -> list[Listed]:
    places = [(before, asked)]
    places += [
        (f"{before}{kind}.{name}.", _table(inner))
        for kind in ("target", "feature")
        for name, inner in _table(asked.get(kind)).items()
        if kind == "feature" or name in (_PLATFORM, "linux", "unix")
    ]
    found = []
    for start, table in places:
        of_feature = start.startswith(f"{before}feature.")
        name = f"{start}pypi-dependencies"
        found += _of_table(module, path, name, table.get("pypi-dependencies"), of_feature)
        name = f"{start}dependencies"
        for each in _of_table(module, path, name, table.get("dependencies"), True):
            for text in of_conda(each.text):
                found.append(Listed(text, each.line, True, each.from_url))
    return found


def of_environment(module: Module, path: str) -> list[Listed]:
    """The dependencies in an environment of conda, a lock or a recipe, and those that it has pip install."""
    import yaml

    # A recipe is a template: what it sets is not known, and may be anything.
    text = re.sub(r"\{\{.*?\}\}", "x", re.sub(r"(?m)^.*\{%.*$", "", module.text(path) or ""))
    try:
        asked = _table(yaml.safe_load(text))
    except yaml.YAMLError:
        return []
    lines, found = module.lines(path), []
    packages = asked.get("package")
    for each in packages if isinstance(packages, list) else []:
        if (locked := _table(each)).get("platform") in (_PLATFORM, None):
            name, pinned = str(locked.get("name", "")), f"=={locked.get('version')}"
            asked_for = (
                [name + pinned] if locked.get("manager") == "pip" else of_conda(name + pinned)
            )
            line = _line(lines, f"name: {name}")
            found += [Listed(text, line, locked.get("manager") != "pip") for text in asked_for]
    recipe = _table(asked.get("requirements"))
    listed = asked.get("dependencies") or recipe.get("run")
    if isinstance(listed, list) and isinstance(recipe.get("pip"), list):
        listed = [*listed, {"pip": recipe["pip"]}]
    for each in listed if isinstance(listed, list) else []:
        inner = _table(each).get("pip")
        for text in inner if isinstance(inner, list) else []:
            found.append(Listed(str(text), _line(lines, str(text))))
        if isinstance(each, str):
            found += [Listed(text, _line(lines, each), True) for text in of_conda(each)]
    return found


def of_conda(text: str) -> list[str]:
    """A library as conda names it (`conda-forge::numpy=2.1`), as pip does; none for Python itself."""
    match = re.fullmatch(r"(?:[\w./-]+::)?([\w.-]+)\s*(.*)", text.strip())
    name = canonicalize_name(match[1]) if match else ""
    if not match or name in {"", "python", "pip"}:
        return []
    asked = match[2].split(" ")[0].strip("[]\"'")
    if begins := re.fullmatch(r"=(\d[\w.]*?)(\.?\*)?(=\w+)?", asked):
        asked = f"=={begins[1]}.*"
    elif exact := re.fullmatch(r"==(\d[\w.]*)(=\w+)?", asked):
        asked = f"=={exact[1]}"
    known = _OF_CONDA.get(name, name)
    return [known + asked if _name(known + asked) == known else known]


def _texts(module: Module, asked: Any, *, beside: bool = False) -> Iterator[Listed]:
    lines = module.lines(PROJECT)
    for text in asked if isinstance(asked, list) else []:
        if isinstance(text, str):
            yield Listed(text, _line(lines, text), beside)


def _of_table(module: Module, path: str, table: str, asked: Any, beside: bool) -> list[Listed]:
    """The dependencies in a table of names and versions, as Poetry and pipenv write them."""
    found = []
    for name, given in _table(asked).items():
        if canonicalize_name(name) == "python":
            continue
        # A list has one entry for each marker.
        first = given[0] if isinstance(given, list) and given else given
        more = _table(first)
        version = more.get("version", "") if more else first
        extras = more.get("extras") or ()
        named = f"{name}[{','.join(map(str, extras))}]" if isinstance(extras, list) else name
        line = _line_of_key(module.lines(path), table, name)
        text = named + _range(str(version))
        found.append(Listed(text, line, beside, _is_elsewhere(more)))
    return found


def _range(version: str) -> str:
    """A range of Poetry (`^1.2`, `~1.2`, `1.2.*`) as pip writes it; nothing for any version."""
    parts = [_part(part) for part in re.split(r"[,\s]+(?=[\^~<>=!\d*])", version.strip())]
    found = ",".join(filter(None, parts))
    return found if "||" not in version and _name(f"x{found}") == "x" else ""


def _part(part: str) -> str:
    match = re.fullmatch(r"(\^|~(?!=))?\s*v?(\d+(?:\.\d+)*)((?:\.\*)?.*)", part)
    if not match:
        return "" if part == "*" else part
    numbers = [int(number) for number in match[2].split(".")]
    if match[1] == "^":
        kept = next((n for n, number in enumerate(numbers) if number), len(numbers) - 1)
    elif match[1] == "~":
        kept = min(1, len(numbers) - 1)
    else:
        return f"=={match[2]}{match[3]}"
    end = [*numbers[:kept], numbers[kept] + 1]
    return f">={match[2]}{match[3]},<{'.'.join(map(str, end))}"


def _is_elsewhere(given: Any) -> bool:
    return bool(_table(given).keys() & {"git", "url", "path", "file", "workspace"})


def _name(text: str) -> str:
    try:
        return canonicalize_name(Requirement(text).name)
    except InvalidRequirement:
        return ""


def _tool(module: Module, name: str) -> dict[str, Any]:
    return _table(_table(module.pyproject.get("tool")).get(name))


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _line(lines: list[str], text: str) -> int:
    return next((n for n, line in enumerate(lines, 1) if text in line), 1)


def _line_of_key(lines: list[str], table: str, name: str) -> int:
    """The line of a key in a table of TOML."""
    inside = False
    key = re.compile(rf"""\s*["']?{re.escape(name)}["']?\s*=""")
    for number, line in enumerate(lines, 1):
        if header := _TABLE.match(line):
            inside = header[1] == table
            if header[1] == f"{table}.{name}":
                return number
        elif inside and key.match(line):
            return number
    return 1
