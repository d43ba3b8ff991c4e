"""A corpus of modules for `cm check`: good ones, and each of them with one mistake made by script.

    python -m tests.checks.corpus [EVERY]

prints how many of the bad ones are caught with the right code on the right line, how much is found in
the good ones, and how long it takes. EVERY tries only each so many-th mistake.
"""

from __future__ import annotations

import ast
import json
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foundry_cm.checks import Finding, Module, Severity, run
from foundry_cm.checks.registry import Files
from tests.checks import mistakes_beside
from tests.checks.styles import STYLES

# Every example in both modes, and the answers that change the code.
ANSWERS: list[dict[str, Any]] = [
    {},
    {"example": "blank", "payload_fields": "{text: str, lines: list[{price: float}]}", "returns_list": True},
    {"example": "embedding"},
    {"example": "embedding", "weights_strategy": "downloaded", "multi_stage": True},
    {"example": "yolo", "weights_strategy": "downloaded", "gpu": "t4"},
    {"execution_mode": "pipeline"},
    {"execution_mode": "pipeline", "example": "embedding"},
    {"execution_mode": "pipeline", "example": "yolo"},
    {"permissions": "application", "sources": "[Zed, {name: Erp, kind: generic, secrets: [b, a]}]", "ci": "github"},
]  # fmt: skip
TYPES = {
    "dict": "CM221", "tuple[int, int]": "CM221", "int | str": "CM221", "typing.Literal['a']": "CM221",
    "typing.Any": "CM222", "object": "CM222", "list": "CM222", "complex": "CM222", "bytes": "CM226",
    "datetime.timedelta": "CM222", "uuid.UUID": "CM221", "'Query'": "CM201",
    "datetime.datetime | None": "CM223", "typing.Sequence[str]": "CM221", "list[dict]": "CM221",
}  # fmt: skip
RESULTS = {"set[str]": "CM224", "bytes": "CM224", "decimal.Decimal": "CM224", "list[set[int]]": "CM224", "dict": "CM221", "typing.Any": "CM222"}  # fmt: skip
LINES = {
    "return {1, 2}": "CM227",
    "return float('nan')": "CM227",
    "return (each for each in '')": "CM227",
    "yield 1": "CM211",
    "rows = open('rows.csv').read()": "CM241",
    "rows = pandas.read_csv('rows.csv')": "CM241",
    "model = sentence_transformers.SentenceTransformer('m')": "CM241",
    "rates = requests.get('https://example.com').json()": "CM241",
    "CORPUS.append(1)": "CM246",
    "CORPUS[0] = 1": "CM246",
    "uvicorn.run('app:web', port=8945)": "CM249",
    "image = base64.b64decode(event.text)": "CM247",
    "row = {}; row['up'] = [row]; return [row]": "CM227",
    "return base64.b64encode(b'')": "CM227",
    "words = set('ab'); return words": "CM227",
    "return map(str, event.text)": "CM227",
    "return {'a': 1}.keys()": "CM227",
    "return uuid.uuid4()": "CM227",
    "return next(COUNTER)": "CM246",
}
TOP = {
    "print('starting')": "CM245",
    "RATES = requests.get('https://example.com').json()": "CM251",
    "SERVER = http.server.HTTPServer(('', 8946), None)": "CM249",
    "def broken(:": "CM001",
    "COUNT = 1  # cm: ignore[CM203]": "CM002",
    "COUNT = 1  # cm: ignore[CM203] for no reason": "CM003",
}
PROCESS = {
    "when = datetime.datetime.now()": "CM265",
    "chance = random.random()": "CM265",
    "key = uuid.uuid4()": "CM265",
    "CORPUS.append(1)": "CM266",
    "return pa.table({'nothing': []})": "CM264",
}
IMPORTS = "import base64, datetime, decimal, http.server, random, typing, uuid\n"
ABSENT = "import pandas, requests, sentence_transformers, uvicorn\n"


@dataclass(frozen=True)
class Mistake:
    """One mistake in a module: the text of a file with it, and where it is found."""

    code: str
    path: str
    text: str
    at: str

    def line(self) -> int:
        """The line that it is found on: the first that holds `at`."""
        return next(n for n, line in enumerate(self.text.splitlines(), 1) if self.at in line)


class App:
    """The app.py of a module, to make mistakes in."""

    def __init__(self, path: str, text: str) -> None:
        self.path, self.text = path, text
        self.lines = text.splitlines()
        functions = [n for n in ast.parse(text).body if isinstance(n, ast.FunctionDef)]
        self.handler = next((f for f in functions if _is_handler(f)), None)

    def with_imports(self, text: str, marked: str) -> str:
        """Only what a mistake needs is imported, so that nothing else is found."""
        wanted = [
            name
            for line in (IMPORTS, ABSENT)
            for name in line.removeprefix("import ").strip().split(", ")
            if f"{name}." in marked
        ]
        head = [f"import {name}" for name in wanted]
        head += ["CORPUS = []"] if "CORPUS" in marked else []
        head += ["import itertools; COUNTER = itertools.count()"] if "COUNTER" in marked else []
        return "\n".join([*head, text]) + "\n"

    def first_line(self, node: ast.FunctionDef, line: str, code: str) -> Mistake:
        """With a line at the beginning of a function, below its docstring."""
        is_text = isinstance(node.body[0], ast.Expr) and isinstance(
            node.body[0].value, ast.Constant
        )
        after = (node.body[0].end_lineno or 0) if is_text else node.body[0].lineno - 1
        text = "\n".join([*self.lines[:after], f"    {line}", *self.lines[after:]])
        return Mistake(code, self.path, self.with_imports(text, line), line)

    def top_line(self, line: str, code: str) -> Mistake:
        """With a line at the top of the file, before the first class or function."""
        functions = (ast.FunctionDef, ast.ClassDef)
        first = next((n for n in ast.parse(self.text).body if isinstance(n, functions)), None)
        starts = [first.lineno, *(d.lineno for d in first.decorator_list)] if first else [1]
        before = min(starts) - 1
        text = "\n".join([*self.lines[:before], line, *self.lines[before:]])
        return Mistake(code, self.path, self.with_imports(text, line), line)

    def edited(
        self, code: str, old: str, new: str, at: str = "", count: int = 1
    ) -> Iterator[Mistake]:
        """With a text in the place of another, where that is there."""
        if old in self.text:
            text = self.with_imports(self.text.replace(old, new, count), new)
            yield Mistake(code, self.path, text, at or new.splitlines()[0])


def _is_handler(node: ast.FunctionDef) -> bool:
    return any(ast.unparse(d).startswith(("function", "cm.function")) for d in node.decorator_list)


def mistakes(path: str, text: str) -> Iterator[Mistake]:
    """Every mistake that can be made in an app.py."""
    app = App(path, text)
    yield from (
        app.top_line(line, code) for line, code in TOP.items() if app.handler or code < "CM2"
    )
    if app.handler:
        yield from _in_handler(app, app.handler)
    process = next(
        (n for n in ast.parse(text).body if isinstance(n, ast.FunctionDef) and n.name == "process"),
        None,
    )
    if process and not app.handler:
        yield from (app.first_line(process, line, code) for line, code in PROCESS.items())


def _in_handler(app: App, node: ast.FunctionDef) -> Iterator[Mistake]:
    begin = f"def {node.name}("
    args = [ast.unparse(arg) for arg in node.args.args]
    pair = ", ".join(args)
    yield from app.edited("CM203", begin, f"async {begin}")
    yield from app.edited("CM202", begin + pair, begin + args[1])
    yield from app.edited("CM202", begin + pair, f"{begin}{pair}, extra")
    yield from app.edited("CM202", begin + pair, f"{begin}event, context")
    yield from app.edited("CM202", begin + pair, f"{begin}*args")
    yield from app.edited("CM204", begin + pair, f"{begin}context, event")
    yield from app.edited("CM206", begin + pair, f"{begin}context: dict, {args[1]}")
    for kind, code in {
        "str": "CM205",
        "dict": "CM205",
        "list[str]": "CM205",
        f"'{args[1][7:]}'": "CM201",
    }.items():
        yield from app.edited(code, begin + pair, f"{begin}{args[0]}, event: {kind}")
    if node.returns:
        result = ast.unparse(node.returns)
        yield from app.edited("CM204", f"{pair}) -> {result}:", f"{pair}):")
        for kind, code in RESULTS.items():
            yield from app.edited(code, f"{pair}) -> {result}:", f"{pair}) -> {kind}:")
    streaming = "streaming=True" in app.text
    for line, code in LINES.items():
        if not (streaming and code in ("CM211", "CM227")):
            yield app.first_line(node, line, code)
    again = f"@function\ndef {node.name}(context, event: int) -> str:  # again\n    return ''\n"
    if "@function\n" in app.text:
        yield Mistake("CM207", app.path, f"{app.text}\n\n{again}", "# again")
    record = re.search(
        rf"^class {args[1].partition(': ')[2]}.*?^    (\w+): [\w\[\]., |]+$", app.text, re.S | re.M
    )
    for kind, code in TYPES.items() if record and "__init__" not in app.text else ():
        if kind.startswith("datetime.") and "from datetime" in app.text:
            continue
        field = f"    {record[1]}: {kind}" if record else ""
        text = (
            app.text.replace(record[0], record[0].rpartition("\n")[0] + "\n" + field)
            if record
            else ""
        )
        yield Mistake(code, app.path, app.with_imports(text, kind), field)
    yield from app.edited(
        "CM201", "import atexit\n", "from __future__ import annotations\nimport atexit\n"
    )
    yield from app.edited(
        "CM242",
        "start_compute_module(concurrency_type=ConcurrencyType.THREAD_POOL)",
        "start_compute_module()\n    import torch  # noqa",
        "start_compute_module()",
    )
    yield from app.edited(
        "CM244",
        "\natexit.unregister(start_compute_module)\n",
        "\n",
        "from compute_modules.annotations",
    )
    if "import ConcurrencyType, start_compute_module" in app.text:
        yield from app.edited(
            "CM208",
            "\n\n@function\n",
            "\n\nstart_compute_module(ConcurrencyType.THREAD_POOL)\n\n\n@function\n",
            begin,
        )


def beside(files: Files) -> Iterator[Mistake]:
    """Mistakes in the files beside app.py."""
    orders = "from dataclasses import dataclass\n\nfrom compute_modules.annotations import function\n\n\n@dataclass\nclass Order:\n    code: str\n\n\n@function\ndef price_of(context, event: Order) -> float:\n    return 1.0\n"
    resources = files.get("src/resources.json")
    if "src/app.py" in files and "@function" in files["src/app.py"]:
        yield Mistake("CM209", "src/orders_late.py", orders, "def price_of")
    readme = files.get("README.md", "A module.\n")
    yield Mistake(
        "CM601",
        "README.md",
        f"{readme}<<<<<<< before\na\n=======\nb\n>>>>>>> after\n",
        "<<<<<<< before",
    )
    yield Mistake("CM602", "README.md.rej", "@@ -1 +1 @@\n", "@@")
    if resources:
        declared = json.loads(resources)
        yield Mistake(
            "CM261", "src/resources.json", resources.replace('"inputs"', '"input"'), '"input"'
        )
        yield Mistake(
            "CM261",
            "src/resources.json",
            resources.rstrip().rstrip("}"),
            resources.rstrip().splitlines()[-2].strip(),
        )
        declared["inputs"]["nowhere"] = "dataset"
        yield Mistake("CM262", "src/resources.json", json.dumps(declared), "nowhere")
    if "sigterm" in files.get("src/app.py", "").lower() and "Dockerfile" in files:
        yield Mistake(
            "CM253",
            "src/app.py",
            files["src/app.py"].replace("signal.signal(signal.SIGTERM", "print((1"),
            "",
        )


def good(folder: Path, render: Callable[..., Path]) -> Iterator[tuple[str, Path]]:
    """Every good module, written below a folder."""
    for answers in ANSWERS:
        name = "-".join(str(value)[:12] for value in answers.values()) or "default"
        yield f"rendered: {name}", render(**answers)
    for name, files in STYLES.items():
        module = folder / name
        for path, text in files.items():
            (module / path).parent.mkdir(parents=True, exist_ok=True)
            (module / path).write_text(text, encoding="utf-8")
        yield f"by hand: {name}", module


def bad(module: Path, first: int = 0, step: int = 1) -> Iterator[tuple[Mistake, list[Finding]]]:
    """Each mistake in a module, with what is found; the module is as before afterwards.

    With `step`, only every so many, and `first` is the first of them.
    """
    files = {
        path.relative_to(module).as_posix(): path.read_text("utf-8", errors="replace")
        for path in sorted(module.rglob("*"))
        if path.is_file()
        and path.suffix in (".py", ".json", ".md", ".txt", ".toml", ".yml", "")
        and ".git" not in path.parts
    }
    app = next((path for path in ("src/app.py", "app.py") if path in files), None)
    if app and "cm: ignore" in files[app]:
        return
    made = [
        *(mistakes(app, files[app]) if app else ()),
        *beside(files),
        *(Mistake(*each) for each in mistakes_beside.beside(files, app)),
    ]
    for mistake in made[first % step :: step]:
        file = module / mistake.path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(mistake.text, encoding="utf-8")
        try:
            yield mistake, run(module)
        finally:
            if mistake.path in files:
                file.write_text(files[mistake.path], encoding="utf-8")
            else:
                file.unlink()


def is_caught(mistake: Mistake, found: list[Finding]) -> bool:
    """Whether a mistake is found by its code, on its line (that of SIGTERM is in the Dockerfile)."""
    if mistake.code == "CM253":
        return any(finding.code == "CM253" and finding.path == "Dockerfile" for finding in found)
    where = f"{mistake.path}:{mistake.line()}"
    return any(finding.code == mistake.code and finding.where == where for finding in found)


def false_findings(module: Path) -> list[Finding]:
    """What is found in a good module."""
    return [finding for finding in run(module) if finding.severity != Severity.NOTICE]


def seconds(module: Path) -> float:
    """How long all checks of a module take: the shortest of three times."""
    times = []
    for _ in range(3):
        began = time.perf_counter()
        run(module)
        times.append(time.perf_counter() - began)
    return min(times)


def main() -> int:
    """Print the figures; 1 where something is missed, or found in a good module."""
    from copier import run_copy

    from foundry_cm.checks import carried
    from tests.conftest import commit, snapshot

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        template = snapshot(folder / "template", "v1000.0.0")

        def render(**answers: Any) -> Path:
            module = folder / f"rendered-{len(list(folder.iterdir()))}"
            run_copy(str(template), module, data=answers, defaults=True, quiet=True)
            return module

        caught, missed, false, modules = 0, [], [], list(good(folder, render))
        timed = modules[0][1]
        commit(timed, "as rendered")
        content = carried.archive(template)
        assert content
        carried.find = lambda: carried.Carried(content)  # type: ignore[assignment]
        files, compared = len(Module.read(timed).files), seconds(timed)
        carried.find = lambda: None  # type: ignore[assignment]  # another commit than that of the modules
        alone = seconds(timed)
        every = int(sys.argv[1]) if sys.argv[1:] else 1
        for number, (label, module) in enumerate(modules):
            false += [
                f"{label}: {finding.code} {finding.where}" for finding in false_findings(module)
            ]
            for mistake, found in bad(module, number, every):
                if is_caught(mistake, found):
                    caught += 1
                else:
                    missed.append(f"{label}: {mistake.code} {mistake.path}: {mistake.at}")
    print(f"bad modules: {caught} of {caught + len(missed)} caught, with the right code and line")
    print(f"good modules: {len(false)} findings in {len(modules)}")
    print(
        f"a module of {files} files: {compared:.2f} s with the comparison of template files, {alone:.2f} s without"
    )
    print("\n".join([*missed, *false]))
    return int(bool(missed or false))


if __name__ == "__main__":
    sys.exit(main())
