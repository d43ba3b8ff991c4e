"""The maps of CONTRIBUTING.md that follow from the code; `make maps` writes them."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, cast

import yaml
from aiohttp import web
from jinja2 import Environment, meta, nodes

from foundry_cm.local.function import server
from foundry_cm.local.function.foundry import LocalFoundry, Settings
from foundry_cm.local.panel.functions import functions_app
from foundry_cm.local.panel.recorder import Recorder
from foundry_cm.local.platform.access import Tokens
from foundry_cm.local.platform.app import create_platform
from foundry_cm.local.platform.queries import routes as queries

ROOT = Path(__file__).parent.parent
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
# The line of a rendered module, or of its questions, that keeps a trap of docs/traps.md from springing.
_NO_FORK = "sdk.start_compute_module(concurrency_type=sdk.ConcurrencyType.THREAD_POOL)"
_TYPES = "{% macro type_advice(type) %}"
PREVENTED_BY = {
    1: _NO_FORK,
    2: "atexit.unregister(sdk.start_compute_module)",
    3: '"__future__.annotations".msg',
    4: _TYPES,
    5: _TYPES,
    6: "no Optional: use a sentinel",
    7: 'if hasattr(value, "tolist"):',
    8: "if not math.isfinite(value):",
    9: "which the SDK cannot send",
    10: _NO_FORK,
    11: _NO_FORK,
    12: _NO_FORK,
    13: "{% macro dataclass(",
    14: 'log.error("%s failed on job %s"',
    15: "stream=sys.stderr if INFERENCE else sys.stdout",
    16: "RUN useradd --uid 5000 --create-home module",
    17: "signal.signal(signal.SIGTERM, stop)",
    21: "if problem := forgotten(files):",
    22: "yield failure(error, job_id)",
    26: _NO_FORK,
    27: "client.stopping = True",
    28: "HTTPAdapter(pool_maxsize=self.concurrency + 1)",
}
# As Copier has it.
JINJA = Environment(
    extensions=[
        "copier._jinja_ext.YieldExtension",
        "jinja2_ansible_filters.AnsibleCoreFiltersExtension",
    ],
    autoescape=True,
)


def plain(path: str) -> str:
    """A path without the Jinja in it, and without `template/`; `*` is a name that an answer gives."""
    without = re.sub(r"\{\{.*?\}\}", "*", re.sub(r"\{%.*?%\}", "", path))
    return without.removeprefix("template/")


class Questions:
    """The questions of copier.yml, what is computed from them, and where both are read."""

    def __init__(self, root: Path = ROOT) -> None:
        config = yaml.safe_load((root / "copier.yml").read_text("utf-8"))
        self._all: dict[str, Any] = {k: v for k, v in config.items() if not k.startswith("_")}
        self.asked = [name for name, how in self._all.items() if how.get("when") is not False]
        self.facts = {
            name: self.read(str(how["default"])) - {name}
            for name, how in self._all.items()
            if name not in self.asked
        }
        self.files: dict[str, set[str]] = defaultdict(set)
        for folder in ("template", "partials"):
            for file in filter(Path.is_file, (root / folder).rglob("*")):
                self._note(file, PurePosixPath(file.relative_to(root)))
        for name in self.asked:
            self.files[name] |= _included(str(self._all[name].get("validator", "")))

    def _note(self, file: Path, path: PurePosixPath) -> None:
        in_path: set[str] = set()
        for depth, part in enumerate(path.parts, 1):
            # A folder that is there for an answer stands for all that is in it.
            end = "/" if depth < len(path.parts) else ""
            for name in self.read(part) - in_path:
                self.files[name].add(plain("/".join(path.parts[:depth])) + end)
                in_path.add(name)
        if file.suffix == ".jinja":
            for name in self.read(file.read_text("utf-8")) - in_path:
                self.files[name].add(plain(str(path)))

    def read(self, text: str) -> set[str]:
        """The questions whose answers a piece of Jinja reads."""
        tree = JINJA.parse(text)
        names = meta.find_undeclared_variables(tree) & self._all.keys()
        # An answer that is typed as text is read as data: `parsed.inputs` is the answer `inputs`.
        members = {
            (get.node.name, get.attr)
            for get in tree.find_all(nodes.Getattr)
            if isinstance(get.node, nodes.Name) and get.node.name in names
        }
        known = {(holder, name) for holder, name in members if name in self._all}
        return (names - {holder for holder, _ in known}) | {name for _, name in known}

    def table(self) -> str:
        """Each question with the files that read its answer, or a fact that follows from it."""
        rows = ["| Question | Read in | Through |", "|---|---|---|"]
        for name in self.asked:
            through = (fact for fact, read in self.facts.items() if name in read)
            rows.append(f"| `{name}` | {_listed(self.files[name])} | {_listed(through)} |")
        return "\n".join(rows)

    def facts_table(self) -> str:
        """Each fact with the files that read it."""
        rows = ["| Fact | Read in |", "|---|---|"]
        rows += [f"| `{name}` | {_listed(self.files[name])} |" for name in self.facts]
        return "\n".join(rows)


def _included(text: str) -> set[str]:
    """The files that a piece of Jinja brings in."""
    return {
        "/".join(part.value for part in call.args if isinstance(part, nodes.Const))
        for call in JINJA.parse(text).find_all(nodes.Call)
        if isinstance(call.node, nodes.Name) and call.node.name == "pathjoin"
    }


def _listed(names: Any) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))


def file_with(line: str, root: Path = ROOT) -> str:
    """The one file below template/ or partials/ that has a line."""
    found = [
        plain(file.relative_to(root).as_posix())
        for folder in ("template", "partials")
        for file in (root / folder).rglob("*")
        if file.is_file() and line.encode() in file.read_bytes()
    ]
    assert len(found) == 1, f"exactly one file should have the line {line!r}, not {found}"
    return found[0]


def traps_table(traps: str) -> str:
    """Each trap that docs/traps.md says a rendered module is immune to, with the line behind it."""
    rows = ["| Trap | In the code | Prevented in | By |", "|---|---|---|---|"]
    for row in re.findall(r"^\| *(\d+) \|(.*)\|$", traps, re.M):
        in_code, _, in_module, _ = (cell.strip() for cell in row[1].split(" |"))
        if in_module:
            line = PREVENTED_BY[int(row[0])]
            rows.append(f"| {row[0]} | {in_code} | `{file_with(line)}` | `{line}` |")
    return "\n".join(rows)


def routes_table() -> str:
    """Each route of the local Foundry, up to its first name, with the module that answers."""
    tokens = Tokens()
    tokens.share()
    called = web.Application()
    called.add_routes(queries.routes())
    with TemporaryDirectory() as folder:
        # The routes are known before there is anything to serve.
        nothing = LocalFoundry(Settings(command=[], folder=Path(folder)))
        apps = [
            server.create_app(cast(server.Runtime, None)),
            create_platform(Path(folder), [], access=tokens),
            called,
            functions_app(nothing, Recorder(Path(folder))),
        ]
    found: dict[str, set[str]] = defaultdict(set)
    for app in apps:
        for route in app.router.routes():
            if route.method != "HEAD" and route.resource is not None:
                module = route.handler.__module__.replace(".", "/") + ".py"
                found[module].add(route.resource.canonical.partition("{")[0].rstrip("/"))
    rows = ["| Module | Routes below |", "|---|---|"]
    for module, paths in sorted(found.items()):
        longest = {path for path in paths if not any(path.startswith(f"{p}/") for p in paths)}
        rows.append(f"| `{module}` | {_listed(longest)} |")
    return "\n".join(rows)


def maps() -> dict[str, str]:
    """Each map by its name."""
    questions = Questions()
    return {
        "questions": questions.table(),
        "facts": questions.facts_table(),
        "traps": traps_table((ROOT / "docs" / "traps.md").read_text("utf-8")),
        "routes": routes_table(),
    }


def mapped(text: str) -> str:
    """A text with the maps of today between their marks."""
    for name, table in maps().items():
        begin, end = f"<!-- map: {name} -->\n", "<!-- end -->"
        before, found, rest = text.partition(begin)
        assert found, f"{CONTRIBUTING.name} has no mark for the map {name}"
        text = before + begin + table + "\n" + end + rest.partition(end)[2]
    return text


def main() -> None:
    """Write the maps."""
    CONTRIBUTING.write_text(mapped(CONTRIBUTING.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
