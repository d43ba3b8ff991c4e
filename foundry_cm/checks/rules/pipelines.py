"""Pipelines: what `process()` may do with a batch, and what it is given."""

from __future__ import annotations

import ast
import csv
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from foundry_cm.checks.calls import Visit, visits
from foundry_cm.checks.changes import changes
from foundry_cm.checks.columns import columns_of
from foundry_cm.checks.finding import Finding, Severity
from foundry_cm.checks.hint import Hint
from foundry_cm.checks.hints import Reader
from foundry_cm.checks.module import Module
from foundry_cm.checks.program import Definition, FunctionNode
from foundry_cm.checks.registry import Bad, check
from foundry_cm.checks.shown import marked
from foundry_cm.checks.source import Source, own_nodes
from foundry_cm.errors import CmError
from foundry_cm.module.places import Place
from foundry_cm.module.records import as_record
from foundry_cm.module.resources import FILE, Declared

RESOURCES = FILE.as_posix()
_RUN = {"cmkit.run", "cmkit.pipelines.run", "cmkit.pipelines.loop.run"}
_CHANCE = re.compile(
    r"^(time\.(time|time_ns|ctime|localtime|gmtime)|datetime\.datetime\.(now|utcnow|today)|datetime\.date\.today"
    r"|random\.\w+|uuid\.uuid[14]|numpy\.random\.\w+|secrets\.\w+|os\.urandom)$"
)
_LARGEST_HEAD = 100


@dataclass(frozen=True)
class Pipeline:
    """The function that a pipeline gives each batch to, and the records that go in and come out."""

    source: Source
    node: FunctionNode
    incoming: Hint | None
    outgoing: Hint | None


def pipeline(module: Module) -> Pipeline | None:
    """The pipeline of a module, where it is run by `run` of cmkit, or its function is `process`."""
    for source in module.python.values():
        for call in source.nodes:
            if isinstance(call, ast.Call) and source.resolve(call.func) in _RUN and call.args:
                found = module.program.find(source, call.args[0])
                if isinstance(found, Definition) and isinstance(found.node, FunctionNode):
                    reader = Reader(module.program)
                    records = [reader.read(source, each) for each in call.args[1:3]] + [None, None]
                    return Pipeline(found.source, found.node, records[0], records[1])
    entry = module.entry
    node = entry.top.get("process") if entry and module.text(RESOURCES) is not None else None
    if entry and isinstance(node, FunctionNode):
        return Pipeline(entry, node, None, None)
    return None


_HEAD = """from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from cmkit import run

COUNTS: dict[str, int] = {}


@dataclass
class InputRecord:
    pump: str
    bar: float


@dataclass
class OutputRecord:
    pump: str
    high: bool


"""
_TAIL = '\n\nif __name__ == "__main__":\n    run(process, InputRecord, OutputRecord)\n'
_BODY = """def process(batch: pa.Table) -> pa.Table:
    high = [bar > 8 for bar in batch["bar"].to_pylist()]
    return pa.table({"pump": batch["pump"], "high": high})
"""
_DECLARED = '{"inputs": {"readings": "dataset"}, "outputs": {"alarms": "dataset"}}\n'


def _module(
    body: str = _BODY, declared: str = _DECLARED, rows: str = "pump,bar\nsouth,9.1\n"
) -> dict[str, str]:
    """A pipeline with a body for its process()."""
    data = {"data/readings/readings.csv": rows} if rows else {}
    return {"src/app.py": _HEAD + body + _TAIL, RESOURCES: declared, **data}


def _bad(body: str) -> Bad:
    return marked(_module(body))


@check(
    "CM261",
    "resources-wrong",
    bad=(
        Bad(f"{RESOURCES}:1", _module(declared='{"inputs": {"readings": "table"}, "outputs": {}}\n')),
        Bad(f"{RESOURCES}:2", _module(declared='{"inputs": {"readings": "dataset"},\n"outputs": {"alarms": }}\n')),
    ),
    good=_module(),
)  # fmt: skip
def resources(module: Module) -> Iterator[Finding]:
    """A `src/resources.json` that `cm run` and the pipeline cannot read."""
    if isinstance(found := _declared(module), CmError):
        line = re.search(r":(\d+)", (found.where or "").rpartition(RESOURCES)[2])
        wanted = re.search(r" has to be (.+), not ", found.what)
        fix = found.fix or (
            f"Write {wanted[1]}."
            if wanted
            else 'Write it as {"inputs": {"orders": "dataset"}, "outputs": {"prices": "dataset"}}.'
        )
        last = max(1, len(module.lines(RESOURCES)))
        yield Finding(found.what, RESOURCES, fix, min(int(line[1]), last) if line else 1)


def _declared(module: Module) -> Declared | CmError | None:
    text = module.text(RESOURCES)
    if text is None:
        return None
    place = Place(module.folder / FILE)
    try:
        return as_record(Declared, json.loads(text), place, "BadResources")
    except json.JSONDecodeError as error:
        return CmError(f"{FILE.name} is not JSON: {error.msg}", where=f"{place}:{error.lineno}")
    except CmError as error:
        return error


@check(
    "CM262",
    "data-and-resources",
    severity=Severity.WARNING,
    bad=(
        Bad(f"{RESOURCES}:1", _module(rows="")),
        Bad(f"{RESOURCES}:1", _module() | {"data/reading/readings.csv": "pump,bar\n"}),
        Bad(
            f"{RESOURCES}:3",
            _module(rows="", declared='{\n"inputs": {\n"readings": "dataset"},\n"outputs": {}}\n'),
        ),
    ),
    good=_module(),
)
def data(module: Module) -> Iterator[Finding]:
    """Inputs in `src/resources.json` and folders in `data/` that do not go together.

    `cm run` reads an input from the folder of its name. A folder that is no input is never read; most
    often its name, or that of the input, is mistyped.
    """
    declared = _declared(module)
    if not isinstance(declared, Declared):
        return
    lines = module.lines(RESOURCES)
    folder = module.folder / "data"
    present = (
        {path.name for path in folder.iterdir() if path.is_dir()} if folder.is_dir() else set()
    )
    for alias in sorted(declared.inputs.keys() - present):
        line = next((n for n, text in enumerate(lines, 1) if f'"{alias}"' in text), 1)
        message = f"There is no data for the input {alias}"
        yield Finding(message, RESOURCES, f"Put a file into data/{alias}/.", line)
    for name in sorted(present - declared.inputs.keys() - {".cm"}):
        message = f"data/{name} is no input of the pipeline"
        yield Finding(message, RESOURCES, "Declare it in inputs, or delete the folder.")


@check(
    "CM263",
    "columns-of-the-data",
    bad=(
        Bad("data/readings/readings.csv:1", _module(rows="pump,pressure\nsouth,9.1\n")),
        Bad("data/readings/readings.csv:1", _module(rows="pump\nsouth\n") | {"data/other/a.csv": "pump\n"}),
        Bad("data/readings/readings.jsonl:1", _module(rows="") | {"data/readings/readings.jsonl": '{"pump": "south"}\n'}),
    ),
    good=(
        _module(),
        _module(rows="bar,pump,when\n9.1,south,today\n"),
        _module(rows="pump,pressure\n", declared="{}"),
        _module(rows="pump,pressure\n") | {"src/app.py": "print(1)\n"},
        _module(rows="pump,pressure\n") | {"src/app.py": "def process(batch):\n    return batch\n"},
        {"src/app.py": _HEAD.replace("bar: float", "bar: float = 0.0\n    when: datetime | None = None") + _BODY + _TAIL,
         RESOURCES: _DECLARED, "data/readings/readings.csv": "pump\nsouth\n"},
    ),
)  # fmt: skip
def columns(module: Module) -> Iterator[Finding]:
    """Data of an input that lacks a column of the record which the pipeline reads."""
    declared, found = _declared(module), pipeline(module)
    if not isinstance(declared, Declared) or found is None or found.incoming is None:
        return
    wanted = {
        f.name for f in found.incoming.fields if f.default is None and f.hint.kind != "optional"
    }
    for alias, kind in declared.inputs.items():
        for path in module.files if kind != "media_set" else ():
            if path.startswith(f"data/{alias}/") and (names := _columns(module, path)):
                for name in sorted(wanted - names):
                    message = f"There is no column {name}, which the pipeline reads"
                    fix = f"Add it, or take it out of {found.incoming.text}."
                    yield Finding(message, path, fix)


def _columns(module: Module, path: str) -> set[str]:
    """The columns of a CSV or JSON Lines file; none where they cannot be told."""
    lines = [line for line in module.lines(path)[:_LARGEST_HEAD] if line.strip()]
    if not lines:
        return set()
    if path.endswith(".csv"):
        return {name.strip() for name in next(csv.reader(lines[:1]), [])}
    if not path.endswith(".jsonl"):
        return set()
    try:
        rows = [json.loads(line) for line in lines]
    except ValueError:
        return set()
    return {key for row in rows if isinstance(row, dict) for key in row}


@check(
    "CM264",
    "columns-of-the-result",
    bad=(
        _bad('def process(batch: pa.Table) -> pa.Table:\n    return pa.table({"pump": batch["pump"]})  #<\n'),
        _bad('def process(batch: pa.Table) -> pa.Table:\n    return batch  #<\n'),
        _bad('def process(batch: pa.Table) -> pa.Table:\n    high = [True] * len(batch)\n    wide = batch.append_column("high", [high])\n    return wide  #<\n'),
    ),
    good=(
        _module(),
        _module('def process(batch: pa.Table) -> pa.Table:\n    wide = batch.append_column("high", [[True] * len(batch)])\n    return wide.drop_columns(["bar"])\n'),
        {"src/app.py": "from cmkit import run\n\n\ndef process(batch):\n    return batch\n\n\nrun(process)\n"},
        {"src/app.py": "from acme import Out\nfrom cmkit import run\n\n\ndef process(batch):\n    return batch\n\n\nrun(process, str, Out)\n"},
        {"src/app.py": "from acme import process\nfrom cmkit import run\n\nrun(process)\n", RESOURCES: "{}"},
        {"src/app.py": "from cmkit import run\n\nprocess = print\nrun(process)\n", RESOURCES: "{}"},
    ),
)  # fmt: skip
def result(module: Module) -> Iterator[Finding]:
    """A `process()` that returns other columns than its output record has."""
    found = pipeline(module)
    if found is None or found.outgoing is None or found.outgoing.kind != "record":
        return
    wanted = {field.name for field in found.outgoing.fields}
    given = {field.name for field in found.incoming.fields} if found.incoming else set()
    for node in own_nodes(found.node):
        if isinstance(node, ast.Return) and node.value is not None:
            names = columns_of(found.source, found.node, node.value, given)
            if names is not None and names != wanted:
                less, more = sorted(wanted - names), sorted(names - wanted)
                parts = [f"without {', '.join(less)}"] if less else []
                parts += [f"with {', '.join(more)}"] if more else []
                message = (
                    f"process() returns a table {' and '.join(parts)}, unlike {found.outgoing.text}"
                )
                fix = f"Return the columns of {found.outgoing.text}, or change the record."
                yield Finding(message, found.source.path, fix, node.lineno)


@check(
    "CM265",
    "not-repeatable",
    severity=Severity.WARNING,
    bad=(
        _bad('def process(batch: pa.Table) -> pa.Table:\n    when = datetime.now()  #<\n    return pa.table({"pump": batch["pump"], "high": [when.hour > 8] * len(batch)})\n'),
        marked({**_module('def process(batch: pa.Table) -> pa.Table:\n    return pa.table({"pump": batch["pump"], "high": chance(len(batch))})\n\n\ndef chance(count: int) -> list[bool]:\n    import random\n\n    return [random.random() > 0.5 for _ in range(count)]  #<\n')}),
        marked({"src/app.py": "import time\n\n\ndef process(batch):\n    return [time.time() for _ in batch]  #<\n", RESOURCES: "{}"}),
        _bad('def process(batch: pa.Table) -> pa.Table:\n    import random\n\n    return pa.table({"pump": [random.choice([1, 2])], "high": []})  #<\n'),
        _bad('def process(batch: pa.Table) -> pa.Table:\n    import random\n\n    chance = random.Random()  #<\n    return pa.table({"pump": [chance.random()], "high": []})\n'),
    ),
    good=(
        _module(),
        _module('def process(batch: pa.Table) -> pa.Table:\n    import random\n\n    chance = random.Random(7)\n    return pa.table({"pump": [chance.random()], "high": []})\n'),
        {"src/app.py": "import time\n\n\ndef process(batch):\n    return [time.time() for _ in batch]\n"},
        {"src/app.py": "import time\n\nprocess = time.time\n", RESOURCES: "{}"},
        {"src/one.py": "", "src/two.py": "", RESOURCES: "{}"},
    ),
)  # fmt: skip
def repeatable(module: Module) -> Iterator[Finding]:
    """A `process()` whose result depends on the time or on chance.

    After a crash, a batch that was not committed is processed again. The rows then differ from those
    that somebody may have seen already.
    """
    for visit in _visits(module):
        for call in own_nodes(visit.node):
            target = (
                module.program.dotted(visit.source, call.func) if isinstance(call, ast.Call) else ""
            )
            if isinstance(call, ast.Call) and _CHANCE.match(target) and not _is_seeded(call):
                message = f"{ast.unparse(call.func)}() gives another value when the batch is processed again"
                fix = "Take it from a column of the batch, or give chance a fixed seed."
                yield Finding(message, visit.source.path, fix, call.lineno)


def _is_seeded(call: ast.Call) -> bool:
    made = ast.unparse(call.func).rpartition(".")[2] in (
        "Random",
        "default_rng",
        "RandomState",
        "seed",
    )
    return made and bool(call.args)


@check(
    "CM266",
    "state-between-batches",
    severity=Severity.WARNING,
    bad=_bad('def process(batch: pa.Table) -> pa.Table:\n    COUNTS["rows"] = len(batch)  #<\n    return pa.table({"pump": batch["pump"], "high": [True] * len(batch)})\n'),
    good=_module(),
)  # fmt: skip
def kept(module: Module) -> Iterator[Finding]:
    """A `process()` that changes what lies at the top of a file.

    After a crash the module begins without it, in the middle of its input.
    """
    for visit in _visits(module):
        for line, name in changes(module.program, visit):
            message = f"process() changes {name}, which is lost when the module starts again"
            fix = "Let the result of a batch depend on the batch alone."
            yield Finding(message, visit.source.path, fix, line)


def _visits(module: Module) -> Iterator[Visit]:
    found = pipeline(module)
    for visit in visits(module.program, found.source, found.node) if found else ():
        if module.is_owned(visit.source):
            yield visit
