"""Work in the wrong place: what a file does while it is imported, and the ports it takes."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from foundry_cm.checks.calls import visits
from foundry_cm.checks.finding import Finding, Severity
from foundry_cm.checks.module import Module
from foundry_cm.checks.program import Definition, FunctionNode
from foundry_cm.checks.registry import check
from foundry_cm.checks.rules.pipelines import pipeline
from foundry_cm.checks.rules.work import NETWORK
from foundry_cm.checks.shown import ECHO, bad, good, marked
from foundry_cm.checks.source import Source, at_import, own_nodes

_RESERVED = (8945, 8946)
_PRINTS = {
    "print", "pprint.pprint", "rich.print", "sys.stdout.write", "sys.stdout.writelines", "click.echo",
    "typer.echo",
}  # fmt: skip


def _at_import(module: Module, source: Source) -> Iterator[tuple[Source, ast.AST]]:
    """All that runs while a file is imported: its own lines, and the functions that these call."""
    for line in at_import(source.tree):
        if isinstance(line, FunctionNode | ast.ClassDef):
            continue
        body = {
            id(inner)
            for name in ("body", "orelse", "finalbody", "handlers")
            for inner in getattr(line, name, [])
        }
        heads = [child for child in ast.iter_child_nodes(line) if id(child) not in body]
        for node in (inner for head in heads for inner in (head, *own_nodes(head))):
            yield source, node
            found = module.program.find(source, node.func) if isinstance(node, ast.Call) else ""
            if (
                isinstance(found, Definition)
                and isinstance(found.node, FunctionNode)
                and module.is_owned(found.source)
            ):
                for visit in visits(module.program, found.source, found.node):
                    yield from ((visit.source, inner) for inner in own_nodes(visit.node))


def _imported(module: Module) -> Iterator[tuple[Source, ast.Call, str]]:
    """Each call that is made at import, in a module with functions, and the name of what is called."""
    yield from _made_by(module, module.imported if module.program.handlers else [])


def _made_by(module: Module, sources: list[Source]) -> Iterator[tuple[Source, ast.Call, str]]:
    for source in sources:
        for place, node in _at_import(module, source) if module.is_owned(source) else ():
            if isinstance(node, ast.Call):
                yield place, node, module.program.dotted(place, node.func)


@check(
    "CM245",
    "output-at-import",
    severity=Severity.WARNING,
    bad=(
        bad("print('starting')  #<\n\n\n" + ECHO),
        bad("sys.stdout.write('starting')  #<\nprint('starting', file=sys.stdout)  #<\nshow('starting')  #<\n\n\n" + ECHO, imports="import sys\nfrom rich import print as show\n\n"),
        bad("logging.basicConfig(stream=sys.stdout)  #<\nlogging.info('starting')\n\n\n" + ECHO, imports="import logging\nimport sys\n\n"),
    ),
    good=(
        good("print('starting', file=sys.stderr)\n\n\n" + ECHO, imports="import sys\n\n"),
        good("logging.basicConfig(stream=sys.stdout)\n\n\n" + ECHO, imports="import logging\nimport sys\n\n"),
        good("logging.basicConfig(level='INFO')\nlogging.info('starting')\n\n\n" + ECHO, imports="import logging\n\n"),
        good("logging.basicConfig(stream=sys.stderr)\nlogging.getLogger('a').addFilter(sys.stdout)\nlogging.info('starting')\n\n\n" + ECHO, imports="import logging\nimport sys\n\n"),
    ),
)  # fmt: skip
def output_at_import(module: Module) -> Iterator[Finding]:
    """Something printed to standard output while a file is imported.

    In a Code Repository, Foundry imports the files and reads the functions as JSON from standard
    output. A line of text among them spoils it, and no function is found.
    """
    loggers, logged = [], False
    for source, call, target in _imported(module):
        out = any(
            _is_stdout(source, value) for value in [*call.args, *(k.value for k in call.keywords)]
        )
        elsewhere = [key.value for key in call.keywords if key.arg in ("file", "stream")]
        if target in _PRINTS and not any(not _is_stdout(source, value) for value in elsewhere):
            message = "This prints to standard output while the file is imported"
            fix = 'Print it to standard error, or below if __name__ == "__main__".'
            yield Finding(message, source.path, fix, call.lineno)
        elif target in ("logging.basicConfig", "logging.StreamHandler") and out:
            loggers.append((source, call))
        elif isinstance(call.func, ast.Attribute) and call.func.attr in (
            "debug",
            "info",
            "warning",
            "error",
        ):
            logged = True
    for source, call in loggers if logged else ():
        message = (
            "The log goes to standard output, and something is logged while the file is imported"
        )
        yield Finding(
            message,
            source.path,
            "Log to standard error, which Foundry can collect too.",
            call.lineno,
        )


def _is_stdout(source: Source, value: ast.expr) -> bool:
    return source.resolve(value) == "sys.stdout"


@check(
    "CM249",
    "reserved-port",
    bad=(
        bad("@function\ndef serve(context, event: Query) -> str:\n    uvicorn.run('app:web', port=8945)  #<\n    return ''\n", imports="import uvicorn\n"),
        bad("PORT = 8945\nSERVER = HTTPServer(('', PORT), None)  #<\n\n\n" + ECHO, imports="from http.server import HTTPServer\n"),
        bad("SERVER = HTTPServer(('', 80), None)  #<\n\n\n" + ECHO, imports="from http.server import HTTPServer\n"),
    ),
    good=(
        good("SERVER = HTTPServer(('', 8080), None)\n\n\n" + ECHO, imports="from http.server import HTTPServer\n"),
        good("SERVER = HTTPServer(('', PORT), None)\n\n\n" + ECHO, imports="from http.server import HTTPServer\nfrom ports import PORT\n"),
    ),
)  # fmt: skip
def reserved_port(module: Module) -> Iterator[Finding]:
    """A server on a port that is not the module's.

    Foundry's runtime uses 8945 and 8946 in the container. Below 1024 a user other than root may open
    no port.
    """
    for source in module.python.values():
        for call in source.nodes:
            if not isinstance(call, ast.Call) or not module.is_owned(source):
                continue
            port = _port(source, call)
            if port is not None and (port in _RESERVED or 0 < port < 1024):
                why = "Foundry's runtime uses" if port in _RESERVED else "only root may open"
                fix = "Use another one from 1024 to 65535, without 8945 and 8946."
                yield Finding(
                    f"This serves on port {port}, which {why}", source.path, fix, call.lineno
                )


def _port(source: Source, call: ast.Call) -> int | None:
    name = (source.resolve(call.func) or ast.unparse(call.func)).rpartition(".")[2]
    if not (
        name.endswith("Server")
        or name in ("run", "run_app", "serve", "bind", "start_server", "create_server", "TCPSite")
    ):
        return None
    values = [key.value for key in call.keywords if key.arg == "port"]
    values += [
        arg.elts[1] for arg in call.args if isinstance(arg, ast.Tuple) and len(arg.elts) == 2
    ]
    for value in values:
        named = source.top.get(value.id) if isinstance(value, ast.Name) else None
        value = getattr(named, "value", value)
        if isinstance(value, ast.Constant) and type(value.value) is int:
            return value.value
    return None


@check(
    "CM251",
    "network-at-import",
    severity=Severity.WARNING,
    bad=(
        bad("RATES = requests.get('https://example.com/rates').json()  #<\n\n\n" + ECHO, imports="import requests\n"),
        bad("def rates() -> dict[str, float]:\n    return requests.get('https://example.com').json()  #<\n\n\nRATES = rates()\n\n\n" + ECHO, imports="import requests\n"),
        marked({
            "src/app.py": "import requests\nfrom cmkit import run\n\nRATES = requests.get('https://example.com').json()  #<\n\n\ndef process(batch):\n    return batch\n\n\n"
            'if __name__ == "__main__":\n    run(process)\n',
        }),
        bad("TOKEN = oauth('acme.palantirfoundry.com', ['api:read-data'])  #<\n\n\n" + ECHO, imports="from compute_modules.auth import oauth\n"),
    ),
    good=(
        good("@function\ndef fetch(context, event: Query) -> str:\n    return requests.get(event.text).text\n", imports="import requests\n"),
        # A script that is a pipeline as a whole does its work where it stands.
        {"app.py": "import requests\n\nROWS = requests.get('https://example.com').json()\n"},
        good("TOKEN = RefreshingOauthToken(hostname='acme.palantirfoundry.com', scope=[])\n\n\n" + ECHO, imports="from compute_modules.auth import RefreshingOauthToken\n"),
    ),
)  # fmt: skip
def network_at_import(module: Module) -> Iterator[Finding]:
    """A call over the network while a file is imported.

    Foundry also imports the files where it reads the functions, and there is no network then. What is
    fetched at import is kept as long as the replica lives, up to 22 hours: a token has expired by then.
    So it is in a pipeline that gives its batches to a function.
    """
    batches = list(module.python.values()) if pipeline(module) else []
    for source, call, target in [*_imported(module), *_made_by(module, batches)]:
        if target.startswith("compute_modules.auth.") and target.endswith("oauth"):
            message = "This token is fetched once, and kept until it has expired"
            fix = "Use RefreshingOauthToken from compute_modules.auth, and read it in the handler."
        elif NETWORK.match(target):
            message = f"{target}() is called while the file is imported"
            fix = (
                'Call it below if __name__ == "__main__", or in a handler, and keep what it gives.'
            )
        else:
            continue
        yield Finding(message, source.path, fix, call.lineno)
