"""Keys, tokens and passwords in text: by the form that their makers give them, or by the name they have.

Nothing is verified: no value leaves this machine. docs/decisions/0006 says why the forms are
a table here.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from foundry_cm.checks.source import Source
from foundry_cm.image.facts import is_secret

# Each as its maker documents it. They begin with what is rare: a search for that is fast.
_FORMS = {
    "An AWS access key": r"(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}\b",
    "An Anthropic key": r"sk-ant-[\w-]{24,}",
    "An Azure storage key": r"AccountKey=[A-Za-z0-9+/]{86}==",
    "A Databricks token": r"dapi[0-9a-f]{32}\b",
    "A GitHub token": r"(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{50,})",
    "A GitLab token": r"gl(?:pat|dt|rt|cbt|ptt|ft|soat|agent)-[\w-]{20,}",
    "A Google API key": r"AIza[\w-]{35}(?![\w-])",
    "A Hugging Face token": r"hf_[A-Za-z0-9]{30,}\b",
    "A JSON Web Token, as those of Foundry are,": r"eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}",
    "An npm token": r"npm_[A-Za-z0-9]{36}\b",
    "An OpenAI key": r"sk-(?:(?:proj|svcacct)-[\w-]{40,}|[A-Za-z0-9]{20}T3BlbkFJ[A-Za-z0-9]{20})",
    "A PyPI token": r"pypi-AgEIcHlwaS5vcmc[\w-]{40,}",
    "A private key": r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----(?:\\r|\\n|\s)+[A-Za-z0-9+/=\\\s]{60,}",
    "A SendGrid key": r"SG\.[\w-]{22}\.[\w-]{43}",
    "A Slack token": r"xox[abposr]-[\w-]{20,}|hooks\.slack\.com/services/T\w+/B\w+/\w{20,}",
    "A Stripe key": r"[rs]k_live_[0-9a-zA-Z]{24,}",
    "A Telegram token": r"\d{8,10}:AA[\w-]{33}(?![\w-])",
    "A Twilio key": r"SK[0-9a-f]{32}\b",
}
_PATTERNS = [(kind, re.compile(pattern)) for kind, pattern in _FORMS.items()]
_ADDRESS = re.compile(r"://[^\s:/@\"'<>]+:([^\s/@\"'<>]{3,})@[\w.-]+")
_PLACEHOLDER = re.compile(
    r"<.*|\$.*|[{%@*].*|.*\.\.\..*|[-x*.#_]+|.*(example|placeholder|change.?me|dummy|fake|sample|redacted"
    r"|your[-_ ]|my[-_ ]|todo|fixme|insert|replace|not[-_ ]?a?[-_ ]?(real|secret)).*|(pass|password|passwd|pwd"
    r"|secret|token|key|user|test|none|null|true|false|local|string|hidden|unused)\d{0,3}",
    re.IGNORECASE,
)
_WORDS = re.compile(r"[a-z]+([-_. ][a-z]+)*\d{0,3}|[A-Z]+(_[A-Z0-9]+)*|[a-z]+([A-Z][a-z]+)*\d{0,3}")
_PASSWORD = re.compile(r"(PASSWORD|PASSWD|PASSPHRASE)$", re.IGNORECASE)
_SETTING = re.compile(
    r"""^[ \t]*(?:-[ \t]+|(?:export|const|let|var)[ \t]+)*(["']?)([A-Za-z_][\w.-]*)\1[ \t]*[:=][ \t]*(["']?)([^\s"'#,;]+)\3[ \t]*[,;]?[ \t]*(?:\#.*)?$""",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Secret:
    """Something secret in a text; `kind` says what it is, and `value` is not to be shown."""

    kind: str
    line: int
    value: str


def by_form(text: str) -> Iterator[Secret]:
    """The secrets that are known by their form, and passwords in addresses."""
    for kind, pattern in _PATTERNS:
        for match in pattern.finditer(text):
            begins = not text[match.start() - 1 : match.start()].isalnum()
            if begins and not _shows_a_form(match[0]):
                yield Secret(kind, _line(text, match.start()), match[0])
    for match in _ADDRESS.finditer(text):
        if not _PLACEHOLDER.fullmatch(match[1]):
            yield Secret("A password in an address", _line(text, match.start()), match[1])


def by_name(text: str, source: Source | None) -> Iterator[Secret]:
    """The secrets that are known by the name of the variable, the argument or the key."""
    found = _settings(text) if source is None else _literals(source)
    for name, value, line in found:
        if is_secret(name, value) and _is_plausible(name, value):
            yield Secret(name, line, value)


def _literals(source: Source) -> Iterator[tuple[str, str, int]]:
    """The names in Python code that get a text: variables, attributes, arguments, defaults, keys."""
    for node in source.nodes:
        pairs: list[tuple[str, ast.expr | None]] = []
        if isinstance(node, ast.Assign):
            pairs = [(_name(target), node.value) for target in node.targets]
        elif isinstance(node, ast.AnnAssign):
            pairs = [(_name(node.target), node.value)]
        elif isinstance(node, ast.Dict):
            pairs = [(_name(key), value) for key, value in zip(node.keys, node.values, strict=True)]
        elif isinstance(node, ast.keyword):
            pairs = [(node.arg or "", node.value)]
        elif isinstance(node, ast.arguments):
            names = [*node.posonlyargs, *node.args][::-1]
            pairs = [(a.arg, d) for a, d in zip(names, node.defaults[::-1], strict=False)]
            pairs += [(a.arg, d) for a, d in zip(node.kwonlyargs, node.kw_defaults, strict=True)]
        elif isinstance(node, ast.Call) and _name(node.func) in {"getenv", "get", "setdefault"}:
            pairs = [(_name(node.args[0]), node.args[1])] if len(node.args) == 2 else []
        for name, value in pairs:
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield name, value.value, value.lineno


def _name(node: ast.expr | None) -> str:
    """The last part of a name, or the text of a key."""
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Subscript):
        return _name(node.slice)
    if isinstance(node, ast.Constant):
        return str(node.value)
    return node.id if isinstance(node, ast.Name) else ""


def _settings(text: str) -> Iterator[tuple[str, str, int]]:
    """The names in a file of settings that get a value: `name: value`, `name = value`."""
    for match in _SETTING.finditer(text):
        yield match[2], match[4], _line(text, match.start(2))


def _line(text: str, place: int) -> int:
    return text.count("\n", 0, place) + 1


def _shows_a_form(value: str) -> bool:
    """Whether a value is there to show what one looks like: EXAMPLE, or a few characters repeated."""
    return "EXAMPLE" in value.upper() or len(set(value[-20:])) < 6


def _is_plausible(name: str, value: str) -> bool:
    if _PLACEHOLDER.fullmatch(value) or value.lower() in name.lower():
        return False
    if _PASSWORD.search(name):
        return len(value) >= 4 and not re.search(r"\s|^[./]|://", value)
    return (
        len(value) >= 12
        and len(set(value)) >= 8
        and bool(re.search(r"\d", value))
        and not re.search(r"\s|^[./]|://|[()\[\]{}]", value)
        and not _WORDS.fullmatch(value)
    )
