"""How a module starts and stops: explicitly, with threads, and on SIGTERM."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from foundry_cm.checks import pythons
from foundry_cm.checks.calls import visits
from foundry_cm.checks.finding import Edit, Finding, Severity
from foundry_cm.checks.hook import OFF, exits_at_sigterm, hooks
from foundry_cm.checks.module import Module
from foundry_cm.checks.registry import Bad, check
from foundry_cm.checks.rules.handlers import STRICT, at
from foundry_cm.checks.shown import APP, ECHO, HEAD, TAIL, bad, good
from foundry_cm.checks.source import Source, at_import
from foundry_cm.checks.start import starts

# Libraries whose threads do not survive a fork.
_THREADED = (
    "torch", "sentence_transformers", "transformers", "ultralytics", "tensorflow", "keras", "jax",
    "onnxruntime", "faiss", "spacy", "easyocr", "paddleocr", "vllm", "llama_cpp",
)  # fmt: skip
_MAIN = (
    "",
    "",
    'if __name__ == "__main__":',
    "    from compute_modules.startup import ConcurrencyType, start_compute_module",
    "",
    "    start_compute_module(ConcurrencyType.THREAD_POOL)",
)
_PLAIN = HEAD.replace("atexit.unregister(start_compute_module)\n", "").replace(
    "import atexit\n", ""
)
_BARE = _PLAIN.replace(
    "from compute_modules.startup import ConcurrencyType, start_compute_module\n", ""
)
_STOPS = "import signal\nimport sys\n"
_SIGNAL = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n\n\n"
_POOL = TAIL.replace("ConcurrencyType.THREAD_POOL", "")


@check(
    "CM242",
    "process-pool-with-threads",
    severity=Severity.WARNING,
    bad=(
        bad(imports="import torch\n", tail=_POOL.replace("module()", "module()  #<")),
        bad(imports="import torch  #<\n", head=_BARE, tail=""),
        bad(
            "MODEL = SentenceTransformer('all-MiniLM-L6-v2')\n\n\n" + ECHO,
            imports="from sentence_transformers import SentenceTransformer\n",
            tail=_POOL.replace("module()", "module()  #<"),
        ),
    ),
    good=(good(imports="import torch\n"), good(tail=_POOL)),
)
def process_pool(module: Module) -> Iterator[Finding]:
    """The SDK's pool of processes in a module that imports PyTorch or the like.

    The pool is the default, and it forks. A library that has started threads by then hangs in every
    worker, so that no call is ever answered. It is an error where something of the library is made
    while the file is imported, a warning otherwise.
    """
    if not module.program.handlers:
        return
    heavy = [
        (source, each)
        for source in module.python.values()
        for each in source.imports
        if each.target.partition(".")[0] in _THREADED
    ]
    if not heavy:
        return
    loaded = any(_loads(source) for source in module.python.values())
    name = heavy[0][1].target.partition(".")[0]
    message = f"The SDK forks its workers, and {name} does not survive a fork once it has threads"
    fix = "Start with start_compute_module(ConcurrencyType.THREAD_POOL)."
    severity = Severity.ERROR if loaded else Severity.WARNING
    for source, line in _pools(module) or (
        [] if module.program.starts else [(heavy[0][0], heavy[0][1].line)]
    ):
        yield Finding(message, source.path, fix, line, severity)


def _loads(source: Source) -> bool:
    """Whether something of such a library is made at import."""
    return any(
        isinstance(call, ast.Call) and source.resolve(call.func).partition(".")[0] in _THREADED
        for line in at_import(source.tree)
        if isinstance(line, ast.Assign | ast.AnnAssign | ast.Expr)
        for call in ast.walk(line)
    )


def _pools(module: Module) -> list[tuple[Source, int]]:
    """The starts with the default, a pool of processes."""
    return [(s.source, s.node.lineno) for s in module.program.starts if not s.threads]


@check(
    "CM243",
    "no-explicit-start",
    severity=Severity.WARNING,
    bad=(
        bad(head=_BARE.replace("import function\n", "import function  #<\n"), tail=""),
        bad(
            "def echo(context, event: Query) -> str:\n    return event.text\n\n\nadd_function(echo)  #<\n",
            head=_BARE.replace("from compute_modules.annotations import function", "from compute_modules import add_function"),
            tail="",
        ),
        bad(ECHO.replace("@function", "@function  #<"), tail=""),
        bad(
            imports="import area  # noqa: F401\n",
            head=_BARE.replace("import function\n", "import function  #<\n"),
            tail="",
            files={"src/a.py": "from compute_modules.annotations import function\n", "src/area.py": "import a\n"},
        ),
    ),
    good=good(),
)  # fmt: skip
def no_start(module: Module) -> Iterator[Finding]:
    """A module that leans on the SDK to start itself while Python ends.

    The SDK does so from an exit hook. On Python 3.12.1 it cannot fork there and the module dies, and
    after a failed import it serves half a module. A module that has taken the hook away, or that only
    calls `add_function` and never imports `compute_modules.annotations`, ends at once: an error.
    """
    handlers = module.program.handlers
    if not handlers or module.program.starts:
        return
    hooked = hooks(module)
    entry = module.entry
    fix = 'End the file with start_compute_module(), below if __name__ == "__main__".'
    if not hooked:
        message = "Nothing starts the SDK: the module ends at once"
        yield Finding(message, handlers[0].by.path, fix, handlers[0].at.lineno, Severity.ERROR)
        return
    source, line = next(((s, n) for s, n in hooked if s is entry), hooked[0])
    end = len(source.lines) + 1
    edit = (Edit(source.path, end, end, _MAIN),) if "__main__" not in source.text else ()
    message = "The module starts from the SDK's exit hook, which Python 3.12.1 cannot do"
    yield Finding(message, source.path, fix, line, edit=edit)


@check(
    "CM244",
    "exit-hook-on",
    severity=Severity.NOTICE,
    bad=(
        bad(head=_PLAIN.replace("import function\n", "import function  #<\n"), files=STRICT),
        bad(
            _SIGNAL + ECHO,
            imports=_STOPS,
            head=_PLAIN.replace("import function\n", "import function  #<\n"),
        ),
    ),
    good=(good(), good(head=_BARE, tail="")),
)
def exit_hook(module: Module) -> Iterator[Finding]:
    """A module that starts the SDK itself, and has left the SDK's exit hook on.

    Where an import fails, the hook starts the module all the same, with the functions that were
    registered before: it looks healthy, and the others are missing. The hook also runs when a handler
    of SIGTERM calls `sys.exit`: the module starts again, and never stops. It is a warning then and in
    the profile `strict`, a notice otherwise.
    """
    if not any(not start.wrapped for start in module.program.starts):
        return
    for source, line in hooks(module)[:1]:
        goes_on = exits_at_sigterm(module)
        what = "starts the module again" if goes_on else "serves half a module"
        when = "when SIGTERM ends it" if goes_on else "after a failed import"
        message = f"The SDK's exit hook is still on: it {what} {when}"
        severity = Severity.WARNING if goes_on or module.strict else None
        yield Finding(message, source.path, OFF, line, severity)


@check(
    "CM250",
    "file-name-gone",
    bad=bad(
        "@function\ndef here(context, event: Query) -> str:\n    return __file__  #<\n",
        head=_BARE,
        tail="",
    ),
    good=(good("@function\ndef here(context, event: Query) -> str:\n    return __file__\n"), good("HERE = __file__\n\n\n" + ECHO)),
)  # fmt: skip
def file_name(module: Module) -> Iterator[Finding]:
    """`__file__` in a handler of the started file, where the SDK starts from its exit hook.

    Python has removed the name by then: the call ends in a NameError.
    """
    if module.program.starts:
        return
    used = {n for each in module.python.values() for n in module.program.imports_of(each)}
    for handler in module.program.handlers:
        if handler.source.dotted in used:
            continue
        for visit in visits(module.program, handler.source, handler.node):
            for node in ast.walk(visit.node):
                if (
                    isinstance(node, ast.Name)
                    and node.id == "__file__"
                    and visit.source is handler.source
                ):
                    message = "__file__ is gone when the SDK starts from its exit hook"
                    fix = "Keep the path in a name at the top of the file, or start the SDK explicitly."
                    yield at(handler, node, message, fix)


_NODE = 'FROM node:24\nCOPY app.js app.py /\nCMD ["node", "app.js"]\n'
_DOCKER = (
    'FROM --platform=linux/amd64 python:3.13-slim\nCOPY src .\nUSER 5000\nCMD ["python", "app.py"]'
)


@check(
    "CM253",
    "sigterm-ignored",
    severity=Severity.WARNING,
    bad=(
        Bad("Dockerfile:4", good(files={"Dockerfile": _DOCKER + "\n"})),
        Bad("Dockerfile:3", {"Dockerfile": _NODE, "app.js": "const started = 1;\n"}),
    ),
    good=(
        good(_SIGNAL + ECHO, imports=_STOPS, files={"Dockerfile": _DOCKER + "\n"}),
        good(files={"Dockerfile": _DOCKER.replace("CMD [", "ENTRYPOINT [\"tini\", \"--\"]\nCMD [") + "\n"}),
        good(files={"Dockerfile": _DOCKER + "\nSTOPSIGNAL SIGINT\n"}),
        good("import stop\n" + ECHO, files={"Dockerfile": _DOCKER + "\n", "src/stop.py": "import signal as s\ns.SIGTERM\n"}),
        good(files={"Dockerfile": _DOCKER.replace("[", "").replace("]", "") + "\n"}),
        {"Dockerfile": _NODE, "app.js": 'process.on("SIGTERM", () => process.exit(0));\n'},
        {"Dockerfile": _NODE.replace("node", "uvicorn"), "app.py": "print(1)\n"},
    ),
)  # fmt: skip
def sigterm(module: Module) -> Iterator[Finding]:
    """Python or Node.js as the first process of the container, without a handler for SIGTERM.

    The kernel does not end process 1 on a signal that it does not handle. Every stop then waits until
    Foundry kills the container, and the calls in flight are lost.
    """
    for start in starts(module):
        if not start.gets_signals or start.handles_stop:
            continue
        path, line = start.place
        if start.language == "node":
            message = (
                "Node.js is process 1 and handles no SIGTERM: it does not stop when it is told to"
            )
            fix = 'Write process.on("SIGTERM", () => process.exit(0)) before the start.'
        else:
            message = (
                "Python is process 1 and handles no SIGTERM: it does not stop when it is told to"
            )
            fix = "Write signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)) before the start."
            if hooks(module):
                fix = f"{fix} {OFF}"
        yield Finding(message, path, fix, line)


@check(
    "CM254",
    "process-pool-without-fork",
    bad=(
        Bad(f"{APP}:21", good(tail=_POOL, files={"Dockerfile": "FROM python:3.14-slim\n"})),
        Bad(f"{APP}:21", good(tail=_POOL, files={".python-version": "3.14\n"})),
        Bad(
            f"{APP}:21",
            good(
                tail=_POOL, files={"Dockerfile": "ARG VERSION=3.14\nFROM python:${VERSION}-slim\n"}
            ),
        ),
        Bad(
            f"{APP}:21",
            good(
                tail=_POOL,
                files={"Dockerfile": "FROM ghcr.io/astral-sh/uv:python3.14-bookworm-slim\n"},
            ),
        ),
    ),
    good=(
        good(files={"Dockerfile": "FROM python:3.14-slim\n"}),
        good(tail=_POOL, files={".python-version": "3.13\n"}),
    ),
)
def no_fork(module: Module) -> Iterator[Finding]:
    """The SDK's pool of processes on Python 3.14.

    From 3.14 on, Python does not fork by default on Linux. The workers of the SDK need a fork: they
    die as they start, again and again, and no call is answered.
    """
    if (pythons.version(module) or (0, 0)) < (3, 14):
        return
    message = "The SDK's workers need fork, which Python 3.14 does not do by default"
    fix = "Start with start_compute_module(ConcurrencyType.THREAD_POOL)."
    for source, line in _pools(module):
        yield Finding(message, source.path, fix, line)
