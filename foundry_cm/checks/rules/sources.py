"""Sources: the ways out of the container, and the file that stands for them on a laptop."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from foundry_cm.checks.container import containers
from foundry_cm.checks.finding import Edit, Finding, Severity
from foundry_cm.checks.module import ANSWERS, Module
from foundry_cm.checks.registry import Bad, check
from foundry_cm.checks.source import Source
from foundry_cm.module.git import told

LOCAL = "sources.local.toml"
EXAMPLE = "sources.example.toml"
_KIT = "src/cmkit/"
_SCHEME = r"(?:https?|wss?|ftps?|grpcs?|amqps?|mqtts?|postgres(?:ql)?|mysql|mongodb|redis|s3)(?:\+\w+)?://"
_ADDRESS = re.compile(rf"{_SCHEME}\S+")
_IN_SCRIPT = re.compile(rf"""["'`]({_SCHEME}[^\s"'`]+)["'`]""")
# Names of standards, which look like addresses and are none.
_NAMES_ONLY = re.compile(
    r"(www\.w3\.org|json-schema\.org|schemas?\..*|purl\.org|xmlns\..*|ns\..*|.*opengis\.net|schema\.org)"
)
_NOWHERE = re.compile(
    r"localhost|.*\.(local|localhost|internal|test|invalid|example|svc)|(.*\.)?example\.(com|org|net)"
    r"|127\..*|0\.0\.0\.0|10\..*|192\.168\..*|::1|[^.:]*"
)
_CLIENTS = {
    "aiohttp", "botocore", "ftplib", "grpc", "http", "httpx", "paho", "pika", "psycopg", "psycopg2", "pymongo",
    "pymysql", "redis", "requests", "smtplib", "socket", "sqlalchemy", "urllib", "urllib3", "websocket",
    "websockets", "minio", "elasticsearch", "openai", "boto3", "huggingface_hub", "gql", "zeep",
}  # fmt: skip
_TAKES_HOST = {"HTTPSConnection", "HTTPConnection", "SMTP", "SMTP_SSL", "FTP", "create_connection"}
_SOURCE_WORDS = re.compile(r"SOURCE_CREDENTIALS|SOURCE_CONFIGURATIONS_PATH")
_JAVASCRIPT = re.compile(r"src/.*\.[mc]?[jt]s|[^/]+\.[mc]?[jt]s")

CALL = "import requests\n\n\ndef price(item: str) -> str:\n"
GET = CALL + '    return requests.get("https://api.acme.io/v1/price", timeout=5).text\n'
TOML = '# Copy it.\n[Prices]\nkind = "rest"\nurl = "https://api.acme.io"\n'
IGNORES = {
    ".gitignore": "*.local.toml\n",
    ".dockerignore": "*\n!src\n",
    "Dockerfile": "FROM a:1\nCOPY src .\n",
}


@dataclass(frozen=True)
class Declared:
    """The Sources that a module is known to have, and where each is named."""

    module: Module

    @cached_property
    def names(self) -> dict[str, tuple[str, int]]:
        """Their API names, with the file and the line."""
        found: dict[str, tuple[str, int]] = {}
        for path in (LOCAL, EXAMPLE):
            for name in self._tables(path):
                found[name] = path, self._line(path, name)
        asked = self.module.answers.get("sources")
        for item in asked if isinstance(asked, list) else ():
            if isinstance(api := item.get("name") if isinstance(item, dict) else item, str):
                found.setdefault(api, (ANSWERS, self._line(ANSWERS, api)))
        return found

    @cached_property
    def are_used(self) -> bool:
        """Whether the code takes anything from Sources, whatever they are called."""
        return any(
            found.target.startswith(("compute_modules.sources", "external_systems", "cmkit.sources"))
            for source in self.module.python.values()
            for found in source.imports
        ) or any(
            (isinstance(node, ast.Constant) and isinstance(node.value, str) and _is_of_sources(node.value))
            or (isinstance(node, ast.Attribute) and node.attr in {"sources", "source_configs"})
            for source in self.module.python.values()
            for node in source.nodes
        )  # fmt: skip

    def _tables(self, path: str) -> dict[str, Any]:
        try:
            return tomllib.loads(self.module.text(path) or "")
        except tomllib.TOMLDecodeError:
            return {}

    def _line(self, path: str, name: str) -> int:
        lines = self.module.lines(path)
        return next((n for n, line in enumerate(lines, 1) if name in line), 1)


def declared(module: Module) -> Declared:
    """The Sources of a module."""
    return module.once(Declared)


def _is_of_sources(text: str) -> bool:
    return bool(_SOURCE_WORDS.fullmatch(text)) or text in {"sources", "source_configs"}


@check(
    "CM404",
    "undeclared-host",
    severity=Severity.WARNING,
    bad=(
        Bad("src/app.py:5", {"src/app.py": GET}),
        Bad("app.py:3", {"app.py": 'import httpx\n\nBASE = "https://api.acme.io/v1"\n'}),
        Bad("app.py:4", {"app.py": 'import httpx\n\ndef f(a):\n    return httpx.get(f"https://acme.io/{a}")\n'}),
        Bad("app.py:2", {"app.py": 'from http.client import HTTPSConnection as C\nC("api.acme.io")\n'}),
        Bad("app.py:2", {"app.py": 'import socket\nsocket.create_connection(("db.acme.io", 5432))\n'}),
        Bad("src/app.js:2", {"src/app.js": 'const a = 1;\nawait fetch("https://api.acme.io/v1");\n'}),
    ),
    good=(
        {"src/app.py": GET, EXAMPLE: TOML, **IGNORES},
        {"src/app.py": "from compute_modules.sources_v2 import get_source\n" + GET},
        {"src/app.py": GET.replace("https://api.acme.io", "http://localhost:8080")},
        {"src/app.py": GET.replace("api.acme.io", "api.example.com")},
        {"app.py": 'import requests\n\n"""https://docs.acme.io"""\nprint("see https://docs.acme.io")\n'},
        {"app.py": 'import requests, os\nrequests.get(f"https://{os.environ[\'FOUNDRY_URL\']}/api")\n'},
        {"app.py": "import requests\n\ndef f(t):\n    return requests.get(f'https://api.acme.{t}/v1')\n"},
        {"app.py": "import socket\n\ndef f(host):\n    socket.create_connection((host, 1))\n"},
        {"app.py": 'import requests\n\ndef f(c, e):\n    c["sources"]\n    requests.get("https://acme.io")\n'},
        {"app.py": 'import lxml\nNS = "https://acme.io/ns"\n'},
        {"app.py": 'import requests\nNS = "http://www.w3.org/2001/XMLSchema"\n'},
        {"src/app.py": "x = 1\n", "tests/test_app.py": GET},
        {"src/app.js": '// see "https://docs.acme.io"\n'},
    ),
)  # fmt: skip
def undeclared_host(module: Module) -> Iterator[Finding]:
    """A host that the code calls, in a module without any Source.

    A container has no network of its own, not to the rest of Foundry either: the call waits until it
    times out. A Source opens the way and holds the credentials.
    """
    if declared(module).names or declared(module).are_used:
        return
    for path, line, host in sorted(set(_hosts(module)), key=lambda found: found[:2]):
        yield Finding(
            f"The code calls {host}, and the module has no Source",
            path,
            f"Make a Source for {host} in Foundry, import it into the module, and take its client: "
            'get_source("NAME").get_https_connection().get_client(). For this machine name it in '
            f"{LOCAL}.",
            line,
        )


def _hosts(module: Module) -> Iterator[tuple[str, int, str]]:
    for path, source in module.python.items():
        imported = {found.target.partition(".")[0] for found in source.imports}
        if imported & _CLIENTS and not path.startswith(_KIT):
            yield from (
                (path, line, host) for line, host in _of_python(source) if not _is_none(host)
            )
    for path in filter(_JAVASCRIPT.fullmatch, module.files):
        for number, line in enumerate(module.lines(path), 1):
            for match in (
                _IN_SCRIPT.finditer(line) if not line.lstrip().startswith(("//", "*")) else ()
            ):
                if not _is_none(host := _host(match[1])):
                    yield path, number, host


def _of_python(source: Source) -> Iterator[tuple[int, str]]:
    said = {id(node.value) for node in source.nodes if isinstance(node, ast.Expr)}
    texts = [node for node in source.nodes if isinstance(node, ast.JoinedStr)]
    pieces = {id(value) for text in texts for value in text.values}
    for text in texts:
        yield from ((text.lineno, host) for host in _of_text(source, text))
    for node in source.nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
            # What stands before the first value of an f-string may be half a host.
            whole = id(node) not in pieces or re.match(r"[\w+]+://[^/]+/", node.value)
            if dsn := re.search(r"(?:^|\s)host=([\w-]+(?:\.[\w-]+)+)(?=\s|$)", node.value):
                yield node.lineno, dsn[1]
            if whole and _ADDRESS.fullmatch(node.value):
                yield node.lineno, _host(node.value)
        elif isinstance(node, ast.Call) and _last(source.resolve(node.func)) in _TAKES_HOST:
            first = node.args[0] if node.args else None
            first = first.elts[0] if isinstance(first, ast.Tuple) and first.elts else first
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield node.lineno, first.value


def _of_text(source: Source, text: ast.JoinedStr) -> Iterator[str]:
    """The host of an address that is put together from a name at the top of the file."""
    known, put = "", False
    for value in text.values:
        if isinstance(value, ast.FormattedValue):
            named = source.top.get(value.value.id) if isinstance(value.value, ast.Name) else None
            value, put = getattr(named, "value", None) or value, True
        if not isinstance(value, ast.Constant) or not isinstance(value.value, str):
            break
        known += value.value
        if re.match(r"[\w+]+://[^/]+/", known):
            break
    if put and re.match(r"[\w+]+://[^/]+/", known):
        yield _host(known)


def _last(dotted: str) -> str:
    return dotted.rpartition(".")[2]


def _host(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def _is_none(host: str) -> bool:
    """Whether a host is this machine's, a made-up one, or a name and no host."""
    return bool(
        _NOWHERE.fullmatch(host) or _NAMES_ONLY.fullmatch(host) or set(host) & set("{}<>$%")
    )


@check(
    "CM405",
    "unused-source",
    severity=Severity.WARNING,
    bad=(
        Bad(f"{EXAMPLE}:2", {"src/app.py": "x = 1\n", EXAMPLE: TOML, **IGNORES}),
        Bad(".copier-answers.yml:3", {"src/app.py": "x = 1\n", ANSWERS: "a: 1\nsources:\n- Erp\n"}),
    ),
    good=(
        {"src/app.py": 'SOURCE = "Prices"\n', EXAMPLE: TOML, **IGNORES},
        {"app.js": 'credentials["Prices"]\n', EXAMPLE: TOML, **IGNORES},
        {ANSWERS: "sources: [Erp]\nweights_source: Erp\n", "src/app.py": "x = 1\n"},
    ),
)
def unused_source(module: Module) -> Iterator[Finding]:
    """A Source that is declared and that no code uses.

    It gives the module credentials and a way out of its container that it does not need. In a
    module of the template, whose `cmkit/sources.py` names each Source, this is only told.
    """
    texts = {
        path: module.text(path) or ""
        for path in module.files
        if path in module.python or _JAVASCRIPT.fullmatch(path)
    }
    own = "\n".join(text for path, text in texts.items() if not path.startswith(_KIT))
    kit = "\n".join(text for path, text in texts.items() if path.startswith(_KIT))
    for name, (path, line) in declared(module).names.items():
        accessor = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|-", "_", name).lower()
        named = re.search(rf"\b({re.escape(name)}|{re.escape(accessor)})\b", own)
        if not named and name != module.answers.get("weights_source"):
            yield Finding(
                f"No code uses the Source {name}",
                path,
                f"Use it, or take {name} out of the module in Foundry and here.",
                line,
                Severity.NOTICE if name in kit else None,
            )


@check(
    "CM406",
    "local-sources-shared",
    bad=(
        Bad(".gitignore:1", {EXAMPLE: TOML, "app.py": 'A = "Prices"\n', **IGNORES, ".gitignore": ".venv/\n"}),
        Bad(
            ".gitignore:1",
            {LOCAL: TOML, "app.py": 'A = "Prices"\n', **IGNORES, ".gitignore": "*.local.toml\n!sources.local.toml\n"},
        ),
        Bad(".dockerignore:1", {EXAMPLE: TOML, "app.py": 'A = "Prices"\n', **IGNORES, ".dockerignore": ".venv\n"}),
        Bad("Dockerfile:1", {LOCAL: TOML, "app.py": 'A = "Prices"\n', "Dockerfile": "FROM a:1\nCOPY src .\n"}),
    ),
    good=(
        {EXAMPLE: TOML, "app.py": 'A = "Prices"\n', **IGNORES},
        {LOCAL: TOML, "app.py": 'A = "Prices"\n', **IGNORES, ".gitignore": f"/{LOCAL}\n"},
        {EXAMPLE: TOML, "app.py": 'A = "Prices"\n', **IGNORES, ".dockerignore": "**/*.local.*\n"},
        {"app.py": "x = 1\n", ".gitignore": "\n", "Dockerfile": "FROM a:1\n"},
    ),
)  # fmt: skip
def local_sources_shared(module: Module) -> Iterator[Finding]:
    """`sources.local.toml` is ignored by neither git nor Docker, or by only one of them.

    It holds the credentials of this machine: a commit or an image would hand them to everyone.
    """
    if not {LOCAL, EXAMPLE} & {*module.files, *module.on_disk}:
        return
    if not _git_ignores(module):
        yield _unshared(module, ".gitignore", ".gitignore", "A commit takes", LOCAL)
    for container in containers(module):
        if not container.ignored.covers(LOCAL):
            path = container.ignored.path
            yield _unshared(
                module, path or container.path, ".dockerignore", "The build gets", f"**/{LOCAL}"
            )


def _unshared(module: Module, path: str, into: str, what: str, line: str) -> Finding:
    lines = module.lines(path)
    edit = (Edit(path, len(lines) + 1, len(lines) + 1, (line,)),) if path == into else ()
    return Finding(
        f"{what} {LOCAL}, with the credentials of this machine",
        path,
        f"Write {line} into {into}.",
        edit=edit,
    )


def _git_ignores(module: Module) -> bool:
    """Whether git ignores the file; outside a repository, whether `.gitignore` would see to it."""
    if told(module.folder, "rev-parse", "--git-dir") is not None:
        return told(module.folder, "check-ignore", LOCAL) is not None
    ignored = module.text(".gitignore") is None
    for line in map(str.strip, module.lines(".gitignore")):
        if fnmatch(LOCAL, line.removeprefix("!").removeprefix("**").strip("/")):
            ignored = not line.startswith("!")
    return ignored
