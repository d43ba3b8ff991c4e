"""What the checks stand on: what a name, a call or a table is, read from small files."""

from __future__ import annotations

import ast
import tempfile
from pathlib import Path

from foundry_cm.checks import (
    Module,
    calls,
    circles,
    columns,
    container,
    credentials,
    dependencies,
    distributions,
    fixes,
    program,
    source,
)
from foundry_cm.checks.finding import Edit, Finding
from foundry_cm.checks.registry import checks
from foundry_cm.checks.runner import run_checks


def one_file(text: str, path: str = "app.py") -> source.Source:
    return source.Source(path, text)


def whole(**files: str) -> program.Program:
    """The files as one program, by the names they are imported by."""
    return program.Program({name: one_file(text, f"{name}.py") for name, text in files.items()})


def columns_of(value: str, before: str = "") -> set[str] | None:
    """The columns of what process() returns; its batch has a and b."""
    text = f"import pyarrow as pa\ndef process(batch, rest):\n    {before}\n    return {value}\n"
    read = one_file(text)
    function = read.tree.body[1]
    assert isinstance(function, ast.FunctionDef)
    returned = function.body[-1]
    assert isinstance(returned, ast.Return) and returned.value
    return columns.columns_of(read, function, returned.value, {"a", "b"})


def test_columns_of_a_table() -> None:
    assert columns_of("batch") == {"a", "b"}
    assert columns_of("rest") is None
    assert columns_of("wide", "wide = batch.append_column('c', [])") == {"a", "b", "c"}
    assert columns_of("batch", "batch = batch.select(['a'])") == {"a"}
    assert (
        columns_of("batch", "batch = batch.append_column('c', [])") is None
    )  # of itself, without an end
    assert columns_of("one", "one = batch; one = rest") is None
    assert columns_of("batch.select(['a'])") == {"a"}
    assert columns_of("rest.select(('a', 'c'))") == {"a", "c"}
    assert columns_of("rest.rename_columns(['x'])") == {"x"}
    assert columns_of("batch.drop(['a'])") == {"b"}
    assert columns_of("batch.drop_columns('a')") == {"b"}
    assert columns_of("batch.slice(3).combine_chunks()") == {"a", "b"}
    assert columns_of("batch.group_by('a')") is None
    assert columns_of("batch.select([name, 'a'])") is None
    assert columns_of("batch.select(name)") is None
    assert columns_of("batch.drop()") is None
    assert columns_of("rest.append_column('c', [])") is None
    assert columns_of("pa.table({'a': [], 'c': []})") == {"a", "c"}
    assert columns_of("pa.table({'a': [], **rest})") is None
    assert columns_of("pa.table([[]], names=['a'])") == {"a"}
    assert columns_of("pa.table([[]], schema=None)") is None
    assert columns_of("pa.table(rest)") is None
    assert columns_of("pa.Table.from_pydict({'a': []})") == {"a"}
    assert columns_of("process(batch)") is None
    assert columns_of("batch + rest") is None


ADDED = """
import compute_modules
from compute_modules import add_function, add_functions
class Shop:
    def sell(self, context, event): ...
    @staticmethod
    def buy(context, event): ...
    name = 'shop'
SHOP = Shop()
def one(context, event): ...
def two(context, event): ...
def three(context, event): ...
BOTH = [one, two]
"""


def added(call: str) -> list[tuple[str, bool, bool]]:
    """The name of each function that a call registers, whether it streams, and whether it has self."""
    found = whole(app=ADDED + call).handlers
    return [(each.node.name, each.streaming, each.method) for each in found]


def test_functions_that_a_call_registers() -> None:
    assert added("add_function(one)") == [("one", False, False)]
    assert added("add_function(function_ref=one)") == [("one", False, False)]
    assert added("add_function(one, streaming=True)") == [("one", True, False)]
    assert added("add_function(one, streaming=False)") == [("one", False, False)]
    assert added("add_function(one, edits=two)") == [("one", False, False)]
    assert added("add_functions(one, two)") == [("one", False, False), ("two", False, False)]
    assert added("add_functions(*BOTH)") == [("one", False, False), ("two", False, False)]
    assert added("add_functions(*[one, three])") == [
        ("one", False, False),
        ("three", False, False),
    ]
    assert added("for each in BOTH:\n    add_function(each)") == [
        ("one", False, False),
        ("two", False, False),
    ]
    loops = "for each in (three,):\n    add_function(each)\nfor other in BOTH:\n    print(other)"
    assert added(loops) == [("three", False, False)]
    assert added("add_function(SHOP.sell)") == [("sell", False, True)]
    assert added("add_function(Shop().sell)") == [("sell", False, True)]
    assert added("add_function(Shop.buy)") == [("buy", False, False)]
    assert added("add_function(SHOP.name)") == []
    assert added("add_function(one.sell)") == []
    assert added("add_function(BOTH.sell)") == []
    assert added("add_function(unknown)") == []
    assert added("add_function(unknown.sell)") == []
    assert added("compute_modules.start_compute_module(one)") == []
    assert added("def add_function(f): ...\nadd_function(one)") == []


def test_only_decorators_of_the_sdk_register_a_function() -> None:
    app = "from {0} import {1} as f\n@f\ndef one(context, event): ...\n"
    for module, name, count in (
        ("compute_modules.annotations", "function", 1),
        ("cmkit", "function", 1),
        ("compute_modules.annotations", "other", 0),
        ("acme", "function", 0),
    ):
        assert len(whole(app=app.format(module, name)).handlers) == count, module


def test_names_across_files() -> None:
    files = {
        "app": "import shop as s\nfrom shop import Order, np, price\nimport a.b\n",
        "shop": "import numpy as np\nfrom far import price\nclass Order: ...\nRATE = 1\n",
    }
    read = whole(**files)
    app = read.sources["app"]

    def find(text: str) -> str:
        found = read.find(app, ast.parse(text, mode="eval").body)
        return found if isinstance(found, str) else f"{found.source.path} {found.name}"

    assert find("Order") == "shop.py Order"
    assert find("s.Order") == "shop.py Order"
    assert find("s.np.float32") == find("np.float32") == "numpy.float32"
    assert find("price") == "far.price"
    assert find("s.RATE.real") == ""  # of a value, of which nothing is known
    assert find("Order.code") == ""
    assert find("a.b.c") == "a.b.c"
    assert find("print") == "print"
    assert find("s.unknown") == "shop.unknown"
    assert find("f()") == ""
    assert find("f().x") == ""
    assert read.outside("shop.np.float32") == "numpy.float32"
    assert read.outside("shop.Order.code") == ""


def test_files_that_a_started_file_reaches() -> None:
    read = program.Program(
        {
            "halls": one_file("import late\n", "halls/__init__.py"),
            "halls.north": one_file("from .south import level\n", "halls/north.py"),
            "halls.south": one_file("", "halls/south.py"),
            "late": one_file("", "late.py"),
            "other": one_file("", "other.py"),
        }
    )
    reached = read.reached(read.sources["halls.north"])
    assert reached == {"halls/__init__.py", "halls/north.py", "halls/south.py", "late.py"}
    assert read.reached(read.sources["late"]) == {"late.py"}
    south = read.reached(read.sources["halls.south"])  # its package runs first
    assert south == {"halls/__init__.py", "halls/south.py", "late.py"}


def depends(body: str, more: str = "") -> set[str]:
    """The functions in which the name `x` depends on the event, in a handler with this body."""
    text = f"{more}\ndef handler(context, event):\n    {body}\n"
    read = whole(app=text)
    handler = read.sources["app"].top["handler"]
    assert isinstance(handler, ast.FunctionDef)
    found = calls.visits(read, read.sources["app"], handler)
    return {visit.node.name for visit in found if "x" in visit.given}


def test_what_depends_on_the_event() -> None:
    for body in (
        "x = event.text",
        "x: str = event.text",
        "x = 1; x += event.number",
        "for x in event.lines: pass",
        "y = event.text; x = y.upper()",
        "with open(event.path) as x: pass",
        "[x for x in event.lines]",
        "(x := event.text)",
        "a, x = event",
    ):
        assert depends(body) == {"handler"}, body
    for body in ("x = 1", "x: str", "for x in range(3): pass", "with open('a') as x: pass"):
        assert depends(body) == set(), body
    inner = "def inner(y, x): ..."
    assert depends("inner(1, event.text)", inner) == {"inner"}
    assert depends("inner(event.text, 1)", inner) == set()
    assert depends("inner(1, x=event.text)", inner) == {"inner"}
    assert depends("inner(1, x=2)", inner) == set()
    assert depends("inner(y=event.text, x=2)", inner) == set()
    assert depends("inner(1, **event)", inner) == set()


def reached(body: str, more: str) -> list[str]:
    """The functions that a call of a handler with this body runs."""
    read = whole(app=f"import functools\n{more}\ndef handler(context, event):\n    {body}\n")
    handler = read.sources["app"].top["handler"]
    assert isinstance(handler, ast.FunctionDef)
    return [visit.node.name for visit in calls.visits(read, read.sources["app"], handler)]


def test_functions_that_run_for_each_call() -> None:
    load = "MODEL = None\ndef load(): ..."
    assert reached("load()", load) == ["handler", "load"]
    assert reached("print(event)", load) == ["handler"]
    assert reached("load()", f"{load}\nload = functools.cache(load)") == ["handler"]
    assert reached("load()", load.replace("def", "@functools.lru_cache(1)\ndef")) == ["handler"]
    assert reached("load()", load.replace("def", "@functools.wraps(print)\ndef")) == [
        "handler",
        "load",
    ]
    for test in ("MODEL is None", "not MODEL", "event.text not in KNOWN", "not MODEL or event"):
        assert reached(f"if {test}: load()", load) == ["handler"], test
    for test in ("MODEL == 1", "MODEL in KNOWN", "MODEL is not None", "event", "-MODEL"):
        assert reached(f"if {test}: load()", load) == ["handler", "load"], test
    assert reached("handler(context, event)", "") == ["handler"]
    shop = "class Shop:\n  def __init__(self): ...\n  def sell(self, x): ...\n  @staticmethod\n  def buy(x): ...\nSHOP = Shop()"
    assert reached("Shop()", shop) == ["handler", "__init__"]
    assert reached("SHOP.sell(1)", shop) == ["handler", "sell"]
    assert reached("Shop.buy(1)", shop) == ["handler", "buy"]
    assert reached("SHOP.other(1)", shop) == ["handler"]
    assert reached("event.sell(1)", shop) == ["handler"]
    assert depends("SHOP.sell(event.text)", shop) == {"sell"}
    assert depends("Shop.buy(event.text)", shop) == {"buy"}
    assert depends("SHOP.sell(1)", shop) == set()


def test_what_runs_while_a_file_is_imported() -> None:
    text = """
if x:
    a
else:
    b
try:
    c
except E:
    d
finally:
    e
def f():
    g
class H:
    i
{main}:
    j
else:
    k
"""
    for main in ('if __name__ == "__main__"', 'if "__main__" == __name__'):
        read = one_file(text.format(main=main))
        found = [ast.unparse(n) for n in source.at_import(read.tree) if isinstance(n, ast.Expr)]
        assert found == ["a", "b", "c", "d", "e", "k"], main
    read = one_file(text.format(main="if name == 'main'"))
    assert "j" in [ast.unparse(n) for n in source.at_import(read.tree) if isinstance(n, ast.Expr)]


def test_relative_imports_are_made_absolute() -> None:
    def targets(path: str, text: str) -> list[str]:
        return [found.target for found in source.Source(path, text, "src").imports]

    assert targets("src/a/b.py", "from . import c") == ["a.c"]
    assert targets("src/a/b.py", "from .d import c") == ["a.d.c"]
    assert targets("src/a/__init__.py", "from . import c") == ["a.c"]
    assert targets("src/a/b/c.py", "from ..d import e") == ["a.d.e"]
    assert targets("src/b.py", "from d import e") == ["d.e"]
    assert targets("src/b.py", "import d.e") == ["d", "d.e"]
    assert targets("src/b.py", "import d.e as f") == ["d.e"]


def test_libraries_and_what_they_bring() -> None:
    assert distributions.libraries_of("yaml") == {"pyyaml"}
    assert distributions.libraries_of("Some_Thing") == {"some-thing"}
    assert "yaml" in distributions.imports_of("pyyaml")
    assert distributions.imports_of("typing-extensions") == {"typing_extensions"}
    assert distributions.imports_of("packaging") == {"packaging"}
    assert distributions.imports_of("acme-of-nobody") == set()
    found, unknown = distributions.closure([("timm", frozenset()), ("acme-x", frozenset())])
    assert {"timm", "torch", "safetensors", "acme-x"} <= found
    assert "acme-x" in unknown and "timm" not in unknown
    plain, _ = distributions.closure([("foundry-compute-modules", frozenset())])
    more, _ = distributions.closure([("foundry-compute-modules", frozenset({"sources"}))])
    assert "external-systems" in more - plain and "requests" in plain


def test_secrets_by_their_form() -> None:
    text = 'A = "ghp_' + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8" + '"\n'
    assert [(found.line, found.kind) for found in credentials.by_form(text)] == [
        (1, "A GitHub token")
    ]


def test_libraries_as_conda_and_poetry_ask_for_them() -> None:
    for text, wanted in {
        "numpy": ["numpy"],
        "conda-forge::numpy=2.1": ["numpy==2.1.*"],
        "numpy=2.1=py312_0": ["numpy==2.1.*"],
        "numpy=2.1.*": ["numpy==2.1.*"],
        "numpy 2.1.*": ["numpy"],
        "numpy==2.1=py312_0": ["numpy==2.1"],
        "numpy >=2,<3": ["numpy>=2,<3"],
        "pytorch::pytorch 2.1": ["torch"],
        "py-opencv": ["opencv-python-headless"],
        "python=3.12": [],
        "pip": [],
        "": [],
    }.items():
        assert dependencies.of_conda(text) == wanted, text
    for version, asked in {
        "^1.2.3": ">=1.2.3,<2",
        "^0.34": ">=0.34,<0.35",
        "^0.0.3": ">=0.0.3,<0.0.4",
        "^0": ">=0,<1",
        "~1.2.3": ">=1.2.3,<1.3",
        "~1": ">=1,<2",
        "~=1.2": "~=1.2",
        "1.2.3": "==1.2.3",
        "1.2.*": "==1.2.*",
        "*": "",
        "": "",
        ">=1,<2": ">=1,<2",
        ">=1 <2": ">=1,<2",
        "^1 || ^2": "",
        "next": "",
    }.items():
        assert dependencies._range(version) == asked, version


def closed(*body: str) -> list[str]:
    """The lines of a function that make what it returns hold itself."""
    text = "def give(context, event):\n    " + "\n    ".join(body)
    function = ast.parse(text).body[0]
    assert isinstance(function, ast.FunctionDef)
    return [ast.unparse(node) for node, _ in circles.circles(function)]


def test_values_that_hold_themselves() -> None:
    for line in (
        "a['b'] = a",
        "a.b = [a]",
        "a.b['c'].append({'d': a})",
        "a.add(TreeRow(up=a))",
        "a[0] = (1, a)",
    ):
        assert closed("a = {}", line, "return a") == [line], line
        assert closed("a = {}", line, "return [a]") == [line], line
        assert closed("a = {}", line, "return a.name") == [], line
        assert closed("a = {}", "b = {}", line, "return b") == [], line
        assert closed("a = {}", "a = {}", line, "return a") == [], line
    assert closed("event.up = event", "return {'event': event}") == ["event.up = event"]
    assert closed("a = {}", "b = {'up': a}", "a['b'] = b", "return a") == ["a['b'] = b"]
    assert closed("a = {}", "b: dict = {'up': a}", "a['b'] = b", "return b") == ["a['b'] = b"]
    assert closed("a = {}", "b = {}", "a['b'] = b", "return a") == []
    assert closed("a = {}", "b = 1", "b = 2", "a['b'] = b", "b.a = a", "return a") == []
    assert closed("a = []", "a.remove(a)", "a.b = str(a)", "f(a).b = a", "return a") == []
    assert closed("a = []", "a.append(a)", "return") == []
    assert closed("a: list", "b.append(a)", "return b") == []


def module_of(files: dict[str, str]) -> Module:
    """A module that is read at once, and whose folder is gone."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
            (Path(folder) / name).write_text(text)
        read = Module.read(Path(folder))
        for name in read.files:
            read.text(name)
        assert read.on_disk
        return read


def copied(
    dockerfile: str, *paths: str, at: str = "Dockerfile", ignore: str = ""
) -> dict[str, str]:
    """The module's files that the image of a Dockerfile has, by their paths there."""
    named = {**dict.fromkeys(paths, ""), at: dockerfile}
    if ignore:
        named[".dockerignore"] = ignore
    (found,) = container.containers(module_of(named))
    return found.files


def test_files_that_an_image_gets() -> None:
    app = {"/srv/app.py": "src/app.py"}
    assert copied("FROM a:1\nWORKDIR /srv\nCOPY src .\n", "src/app.py") == app
    assert copied('FROM a:1\nCOPY src /srv\nCMD ["src", "/other"]\n', "src/app.py") == app
    assert copied("FROM a:1\nCOPY src\n", "src/app.py") == {}
    assert copied("FROM a:1\nCOPY src /srv\n", "src/app.py", ignore="\n# *.py\n\nsrc/b*\n") == app
    assert copied("FROM a:1\nCOPY src /srv\n", "src/app.py", ignore="src\n!src/app.py\n") == app
    assert copied("FROM a:1\nCOPY src /srv\n", "src/app.py", ignore="**/*.py\n") == {}
    stages = "FROM a:1 AS x\nCOPY src /b\nFROM c:1\nCOPY --from={} /b /srv\n"
    assert copied(stages.format("X"), "src/app.py") == app
    assert copied(stages.format("0"), "src/app.py") == app
    assert copied(stages.format("acme/x:1"), "src/app.py") == {}
    inner = "FROM a:1 AS x\nFROM a:1\nCOPY --from=x /gone /q\nCOPY app.py /srv/\n"
    assert copied(inner, "m/app.py", "app.py", at="m/Dockerfile") == {"/srv/app.py": "m/app.py"}
    outer = "FROM a:1\nCOPY src /srv\n"
    assert copied(outer, "src/app.py", at="docker/Dockerfile") == app


def test_what_pyproject_lists() -> None:
    read = module_of(
        {
            "pyproject.toml": """
[project]
dependencies = ["numpy>=2"]
[tool.setuptools.dynamic]
dependencies = { file = "all.in" }
[[tool.uv.index]]
url = "https://a.io/cpu"
[[tool.poetry.source]]
url = "https://b.io/simple"
[tool.poetry.dependencies]
torch = { version = "^2.6", extras = ["opt"], source = "b" }
shop = { path = "../shop" }
pandas = [{ version = "<2", python = "<3.11" }, { version = ">=2" }]
[tool.poetry.group.dev.dependencies]
ruff = "*"
"""
        }
    )
    assert dependencies.files_of_project(read) == ["all.in"]
    assert list(dependencies.indexes_of_project(read)) == [
        ("https://a.io/cpu", 7),
        ("https://b.io/simple", 9),
    ]

    def listed(*groups: str, tools: bool = False) -> list[tuple[str, int, bool, bool]]:
        found = dependencies.of_project(read, groups, tools)
        return [(each.text, each.line, each.beside, each.from_url) for each in found]

    main = [
        ("numpy>=2", 3, False, False),
        ("torch[opt]>=2.6,<3", 11, False, False),
        ("shop", 12, False, True),
        ("pandas<2", 13, False, False),
    ]
    assert listed() == main
    assert listed(tools=True) == [*main, ("ruff", 15, True, False)]
    assert listed("dev") == [*main, ("ruff", 15, False, False)]
    both = module_of(
        {"pyproject.toml": '[tool.setuptools.dynamic]\ndependencies = {file = ["a", "b"]}\n'}
    )
    assert dependencies.files_of_project(both) == ["a", "b"]


def after(*edits: tuple[int, int, str], text: str = "one\ntwo\nthree\n") -> str:
    """A file after edits: first line, the first that stays, and what stands there then."""
    read = module_of({"a.txt": text})
    found = [
        Finding("", "a.txt", "", edit=(Edit("a.txt", first, end, tuple(filter(None, [line]))),))
        for first, end, line in edits
    ]
    return "".join(each.after for each in fixes.mended(read, found))


def test_a_mend_keeps_all_else_to_the_letter() -> None:
    before = "\ufeffo\fn\u2028e\r\ntwo\r\n"
    assert after((2, 3, "TWO"), text=before) == before.replace("two", "TWO")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "a.py").write_bytes(b"# coding: latin-1\n# caf\xe9\n")
        found = Finding("", "a.py", "", edit=(Edit("a.py", 1, 2),))
        assert fixes.mended(Module.read(Path(folder)), [found]) == []


def test_edits_of_one_file() -> None:
    assert after((2, 3, "TWO")) == "one\nTWO\nthree\n"
    assert after((2, 3, ""), (1, 2, "ONE")) == "ONE\nthree\n"
    assert after((2, 2, "more")) == "one\nmore\ntwo\nthree\n"
    assert after((2, 3, "TWO"), text="one\r\ntwo\r\n") == "one\r\nTWO\r\n"
    # Of two that touch the same lines, the first; the same one twice counts once.
    assert after((2, 3, "a"), (2, 3, "b")) == "one\na\nthree\n"
    assert after((2, 3, "a"), (2, 3, "a")) == "one\na\nthree\n"
    assert after((1, 3, "a"), (2, 4, "b")) == "a\nthree\n"
    assert after((2, 4, "b"), (1, 3, "a")) == "one\nb\n"
    assert after((2, 2, "a"), (2, 2, "b")) == "one\na\ntwo\nthree\n"
    assert after((2, 2, "a"), (2, 3, "b")) == "one\na\ntwo\nthree\n"
    assert after((3, 3, "a"), (2, 3, "b")) == "one\nb\na\nthree\n"
    assert after() == ""


HANDLER = (
    "from compute_modules.annotations import function\n@function\ndef one(context, event): ...\n"
)


def test_files_that_can_be_read() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "inside").mkdir()
        (folder / "inside/a.txt").write_text("a")
        (folder / "inside/large.txt").write_text("a" * 2_000_001)
        (folder / "inside/zero.txt").write_bytes(b"a\0")
        (folder / "inside/gone").symlink_to("nowhere")
        (folder / "b.txt").write_text("b")
        (folder / "inside/out.txt").symlink_to(folder / "b.txt")
        read = Module.read(folder / "inside")
        assert read.files == ["a.txt", "large.txt", "out.txt", "zero.txt"]
        assert [read.text(each) for each in [*read.files, "none"]] == ["a", None, None, None, None]
        assert read.lines("a.txt") == ["a"] and read.lines("zero.txt") == []


def test_files_that_foundry_imports() -> None:
    def imported(**files: str) -> list[str]:
        named = {f"{name.replace('__', '/')}.py": text for name, text in files.items()}
        return [source.path for source in module_of(named).imported]

    both = {"app": f"import more\n{HANDLER}", "more": "", "other": ""}
    assert imported(**both) == ["app.py", "more.py"]
    assert imported(app="import more\n", more="", other=HANDLER) == [
        "app.py",
        "more.py",
        "other.py",
    ]
    assert imported(one="", two="") == []
    inside = {f"src__{name}": text for name, text in both.items()}
    assert imported(**inside, beside="") == ["src/app.py", "src/more.py", "src/other.py"]


def entry(files: dict[str, str]) -> str | None:
    """The file that a module starts with."""
    found = module_of(files).entry
    return found.path if found else None


def test_file_that_is_started() -> None:
    others = {"app.py": "", "jobs/__main__.py": "", "jobs/work.py": "", "serve.py": ""}
    assert entry(others) == "app.py"
    assert entry({"a.py": "", "b.py": ""}) is None
    assert entry({"a.py": ""}) == "a.py"
    assert entry({"a.py": "", "main.py": ""}) == "main.py"
    for command, started in {
        'CMD ["python", "/app/serve.py"]': "serve.py",
        "entrypoint python -u -m jobs": "jobs/__main__.py",
        'CMD ["python", "-m", "jobs.work"]': "jobs/work.py",
        'CMD ["./run.sh"]': "jobs/work.py",
        'CMD ["work"]': "jobs/work.py",
        "RUN python serve.py": "app.py",
    }.items():
        files = {
            **others,
            "Dockerfile": f"FROM a:1\n{command}\n",
            "run.sh": "exec python -m jobs.work\n",
            "other.sh": "exec python serve.py\n",
            "pyproject.toml": '[project.scripts]\nwork = "jobs.work:main"\nmore = "serve:main"\n',
        }
        assert entry(files) == started, command
    assert entry({f"src/{name}": "" for name in others}) == "src/app.py"


def test_answers_of_a_module() -> None:
    answers = {".copier-answers.yml": "# By Copier.\nmore: 1\nmode: function\n"}
    read = module_of({**answers, "src/cmkit/a.py": "", "src/b.py": ""})
    assert (read.line_of("mode"), read.line_of("none")) == (3, 1)
    owned = [path for path, source in read.python.items() if read.is_owned(source)]
    assert owned == ["src/b.py"]
    by_hand = module_of({"src/cmkit/a.py": ""})
    assert by_hand.is_owned(by_hand.python["src/cmkit/a.py"])
    assert read.template is None and read.rendering is None
    assert module_of({".copier-answers.yml": "[]"}).answers == {}
    assert module_of({".copier-answers.yml": "{"}).answers == {}


def test_what_no_tool_would_write_is_read_all_the_same() -> None:
    itself = "FROM a:1 AS b\nCOPY --from=b /x /y\nCOPY --from=1 /x /y\nFROM c:1\n"
    assert copied(itself, "x", ignore="[z-a\n*.[\n") == {}
    odd = module_of({"requirements.txt": "foundry-compute-modules===.34.0\n", "app.py": "x = 1\n"})
    assert run_checks(odd, [check for check in checks() if check.code == "CM302"])
