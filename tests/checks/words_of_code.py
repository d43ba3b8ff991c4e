"""What findings in code say, and the mends that are offered for them: see `test_words`."""

from __future__ import annotations

from foundry_cm.checks.registry import Files
from foundry_cm.checks.rules import pipelines, requirements
from foundry_cm.checks.rules.handlers import STRICT
from foundry_cm.checks.shown import APP, ECHO, HEAD, TAIL, good

_USE = "Use str, int, float, bool, lists of them, or a dataclass of such fields."
_TWO = "Write def echo(context, event: YourRecord) -> YourResult."
_POOL = TAIL.replace("ConcurrencyType.THREAD_POOL", "")
_THREADS = "Start with start_compute_module(ConcurrencyType.THREAD_POOL)."
_PLAIN = HEAD.replace("atexit.unregister(start_compute_module)\n", "").replace(
    "import atexit\n", ""
)
_BARE = _PLAIN.replace(
    "from compute_modules.startup import ConcurrencyType, start_compute_module\n", ""
)
_FUTURE = "from __future__ import annotations\n"


def _handler(signature: str) -> Files:
    return good(f"@function\ndef echo({signature} -> str:\n    return ''\n")


def _returning(kind: str, imports: str = "") -> Files:
    return good(
        f"@function\ndef echo(context, event: Query) -> {kind}:\n    ...\n", imports=imports
    )


WORDS: list[tuple[str, Files, str, str]] = [
    ("CM202", _handler(")"), "error src/app.py:16 echo takes no argument, and the SDK gives two", _TWO),
    ("CM202", _handler("event: Query)"), "error src/app.py:16 echo takes one argument, and the SDK gives two", _TWO),
    ("CM202", _handler("*given)"), "warning src/app.py:16 echo takes *given: no inputs are declared", _TWO),
    (
        "CM204",
        _handler("context, event)"),
        "warning src/app.py:16 echo has no type for its event: it declares no inputs",
        "Annotate the event with a dataclass, and say what the function returns.",
    ),
    (
        "CM204",
        good("@function\ndef echo(context, event):\n    return ''\n", files=STRICT),
        "error src/app.py:16 echo has no type for its event: it declares no inputs, and no result but text",
        "Annotate the event with a dataclass, and say what the function returns.",
    ),
    (
        "CM221",
        _returning("int | str"),
        "error src/app.py:16 The result of echo is int | str, at which the SDK raises: a value has one type in Foundry",
        "Use one of them, or a dataclass with a field for each.",
    ),
    (
        "CM222",
        _returning("None"),
        "warning src/app.py:16 The result of echo is None, which Foundry sees as a record without fields",
        "Return something, such as a text or a bool.",
    ),
    (
        "CM222",
        _returning("object"),
        "error src/app.py:16 The result of echo is object, which Foundry sees as a record without fields",
        _USE,
    ),
    (
        "CM222",
        _returning("list"),
        "error src/app.py:16 The result of echo is list, which Foundry sees as a record without fields",
        "Use a list that says of what, such as list[str].",
    ),
    (
        "CM223",
        good(ECHO.replace("Query", "Order"), head=HEAD + "@dataclass\nclass Order:\n    text: Query | None = None\n\n\n"),
        "error src/app.py:17 Order.text is Query | None: the SDK hands over a dict, unconverted",
        "Leave out the Optional, and send a value that means none, such as an empty text.",
    ),
    (
        "CM223",
        good(
            ECHO.replace("Query", "Order"),
            imports="from datetime import date\n\n",
            head=HEAD + "@dataclass\nclass Order:\n    text: date | None = None\n\n\n",
        ),
        "error src/app.py:19 Order.text is date | None: the SDK hands over as it stands in the JSON, unconverted",
        "Leave out the Optional, and send a value that means none, such as an empty text.",
    ),
    (
        "CM207",
        good(f"{ECHO}\n\n{ECHO}"),
        "error src/app.py:21 There is a function echo already, src/app.py:16",
        "Give it another name.",
    ),
    (
        "CM207",
        good(f"{ECHO}\n\nadd_function(echo)\n", imports="from compute_modules import add_function\n"),
        "error src/app.py:17 echo is registered twice",
        "Decorate it, or give it to add_function: one of both.",
    ),
    (
        "CM241",
        good("@function\ndef echo(context, event: Query) -> str:\n    return YOLO('a').names\n", imports="from ultralytics import YOLO\n"),
        "error src/app.py:18 YOLO() runs on each call of echo, and gives the same each time",
        "Load it once, at the top of the file, and only read it in the handler.",
    ),
    (
        "CM241",
        good("@function\ndef echo(context, event: Query) -> str:\n    return open('a').read()\n"),
        "warning src/app.py:17 open() runs on each call of echo, and gives the same each time",
        "Load it once, at the top of the file, and only read it in the handler.",
    ),
    (
        "CM242",
        good("SIZE = len('a')\n\n\n" + ECHO, imports="import torch\n", tail=_POOL),
        "warning src/app.py:25 The SDK forks its workers, and torch does not survive a fork once it has threads",
        _THREADS,
    ),
    (
        "CM242",
        good("MODEL: object = torch.load('a')\n\n\n" + ECHO, imports="import torch\n", tail=_POOL),
        "error src/app.py:25 The SDK forks its workers, and torch does not survive a fork once it has threads",
        _THREADS,
    ),
    (
        "CM242",
        good("def load():\n    return torch.load('a')\n\n\n" + ECHO, imports="import torch\n", tail=_POOL),
        "warning src/app.py:26 The SDK forks its workers, and torch does not survive a fork once it has threads",
        _THREADS,
    ),
    (
        "CM244",
        good(head=_PLAIN),
        "notice src/app.py:3 The SDK's exit hook is still on: it serves half a module after a failed import",
        "Write atexit.unregister(start_compute_module) below the imports.",
    ),
    (
        "CM244",
        good(head=_PLAIN, files=STRICT),
        "warning src/app.py:3 The SDK's exit hook is still on: it serves half a module after a failed import",
        "Write atexit.unregister(start_compute_module) below the imports.",
    ),
    (
        "CM249",
        good("SERVER = HTTPServer(('', 8945), None)\n\n\n" + ECHO, imports="from http.server import HTTPServer\n"),
        "error src/app.py:16 This serves on port 8945, which Foundry's runtime uses",
        "Use another one from 1024 to 65535, without 8945 and 8946.",
    ),
    (
        "CM249",
        good("SERVER = HTTPServer(('', 80), None)\n\n\n" + ECHO, imports="from http.server import HTTPServer\n"),
        "error src/app.py:16 This serves on port 80, which only root may open",
        "Use another one from 1024 to 65535, without 8945 and 8946.",
    ),
    (
        "CM261",
        pipelines._module(declared='{"inputs": {}\n'),
        "error src/resources.json:1 resources.json is not JSON: Expecting ',' delimiter",
        'Write it as {"inputs": {"orders": "dataset"}, "outputs": {"prices": "dataset"}}.',
    ),
    (
        "CM261",
        pipelines._module(declared='{"inputs": {}, "outputs": {}, "poll_seconds": "often"}\n'),
        "error src/resources.json:1 poll_seconds has to be a number, not text",
        "Write a number.",
    ),
    (
        "CM264",
        pipelines._module('def process(batch: pa.Table) -> pa.Table:\n    return pa.table({"pump": [], "bar": []})\n'),
        "error src/app.py:24 process() returns a table without high and with bar, unlike OutputRecord",
        "Return the columns of OutputRecord, or change the record.",
    ),
    (
        "CM264",
        pipelines._module('def process(batch: pa.Table) -> pa.Table:\n    return pa.table({"pump": []})\n'),
        "error src/app.py:24 process() returns a table without high, unlike OutputRecord",
        "Return the columns of OutputRecord, or change the record.",
    ),
    (
        "CM302",
        requirements.asking(f"{requirements.SDK}<0.40"),
        "warning requirements.txt:1 foundry-compute-modules<0.40 may be older than 0.34",
        f"Write {requirements.SDK_RANGE}.",
    ),
    (
        "CM302",
        requirements.asking(f"{requirements.SDK}!=0.30"),
        "warning requirements.txt:1 foundry-compute-modules is not pinned",
        f"Write {requirements.SDK_RANGE}.",
    ),
]  # fmt: skip

MENDS: list[tuple[Files, str, str]] = [
    # The import goes, and the blank line below it where it stands at the top or below another.
    (good(head=f"{_FUTURE}\n{HEAD}"), APP, good()[APP]),
    (good(head=f'"""An app."""\n{_FUTURE}\n{HEAD}'), APP, '"""An app."""\n\n' + good()[APP]),
    (good(head=f'"""An app."""\n\n{_FUTURE}\n{HEAD}'), APP, '"""An app."""\n\n' + good()[APP]),
    (good(head=f"{_FUTURE.rstrip()}  # why\n{HEAD}"), APP, good()[APP]),
    (
        good(head=_BARE, tail=""),
        APP,
        good(head=_BARE, tail="")[APP]
        + '\n\nif __name__ == "__main__":\n'
        + "    from compute_modules.startup import ConcurrencyType, start_compute_module\n\n"
        + "    start_compute_module(ConcurrencyType.THREAD_POOL)\n",
    ),
    ({APP: "# cm: ignore[CM203] no longer\nprint(1)\n"}, APP, "print(1)\n"),
]

UNMENDED: list[Files] = [
    good(head=f"from __future__ import annotations, generator_stop\n{HEAD}"),
    good(
        ECHO.replace("Query", "Order") + "\n\n@dataclass\nclass Order:\n    text: str\n",
        head=f"{_FUTURE}\n{HEAD}",
    ),
    good(head=f"{_FUTURE}\nfrom typing import TYPE_CHECKING\n{HEAD}"),
    good(head=_BARE, tail='\n\nif __name__ == "__main__":\n    print(1)\n'),
    {APP: "print(1)  # cm: ignore[CM203] no longer\n"},
    {APP: "# cm: ignore[CM203, CM999] no longer\nprint(1)\n"},
]
