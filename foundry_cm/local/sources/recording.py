"""Answers of a real system, written down as files that can be committed: without credentials."""

from __future__ import annotations

import hashlib
import json
import mimetypes
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from foundry_cm.errors import USAGE, CmError
from foundry_cm.local.sources.answers import Answers, Asked
from foundry_cm.local.sources.redaction import hidden_in, redacted
from foundry_cm.module.files import check_inside, check_no_link, replace_text

# What a client goes by; all else, cookies among it, is of the day on which it was recorded.
_KEPT = re.compile(
    r"content-(type|language|disposition)|etag|last-modified|link|location|retry-after"
    r"|x-total(-\w+)*|x-(next-)?page(-\w+)*|x-rate-?limit(-\w+)*",
    re.IGNORECASE,
)
_READABLE = re.compile(r"[^\x00-\x08\x0b-\x1f\x7f]*")


class NotRecorded(ValueError):
    """An answer that cannot be written down without a credential in it."""


@dataclass(frozen=True)
class Received:
    """What a system answered."""

    status: int
    headers: Iterable[tuple[str, str]]
    content: bytes


def check_folder(module: Path, folder: Path) -> None:
    """Raise the `CmError` of a folder for recordings that lies outside of its module."""
    if not folder.absolute().is_relative_to(module.absolute()) or ".." in folder.parts:
        raise CmError(
            "Answers can only be recorded into a folder of the module",
            where=str(folder),
            fix='Write, for example: answers = "answers/parts"',
            code="Sources",
            exit_code=USAGE,
        )
    check_inside(module, folder)
    check_no_link(module, folder)


def record(folder: Path, asked: Asked, received: Received, secrets: set[str]) -> Path:
    """Write an answer down, in place of an older one to the same request; gives its file.

    Raises `NotRecorded` where a credential cannot be left out.
    """
    if hidden_in(secrets, str(asked).encode()):
        raise NotRecorded("its path has a credential in it")
    folder.mkdir(parents=True, exist_ok=True)
    older = next((each.file for each in Answers.read(folder).all if each.asked == asked), None)
    file = older or folder / f"{_name(asked)}.toml"
    headers = {
        name: redacted(secrets, value) for name, value in received.headers if _KEPT.fullmatch(name)
    }
    text = _text(received.content)
    body: dict[str, object] = {}
    if text is not None:
        body = {"body": redacted(secrets, text)}
    elif hidden_in(secrets, received.content):
        raise NotRecorded("its body is no text, and has a credential in it")
    elif received.content:
        beside = file.with_suffix(_suffix(headers))
        draft = beside.with_name(f".{beside.name}.new")
        draft.write_bytes(received.content)
        draft.replace(beside)
        body = {"file": beside.name}
    replace_text(file, _toml(asked, received.status, headers, body))
    return file


def _toml(asked: Asked, status: int, headers: Mapping[str, str], body: Mapping[str, object]) -> str:
    lines = [f"method = {_quoted(asked.method)}", f"path = {_quoted(asked.target)}"]
    if asked.digest:
        lines += [
            "# Of the body of the request, which is not written down.",
            f"asked-sha256 = {_quoted(asked.digest)}",
        ]
    lines += [f"status = {status}"]
    for key, value in body.items():
        lines.append(f"{key} = {_block(str(value)) if key == 'body' else _quoted(str(value))}")
    if headers:
        lines += [
            "",
            "[headers]",
            *(f"{_quoted(name)} = {_quoted(value)}" for name, value in headers.items()),
        ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    # A string of JSON is one of TOML, but for one character.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _block(text: str) -> str:
    """Text as it is between three quotes where it can stand there, since people read and edit it."""
    if (
        "'''" in text
        or text.endswith("'")
        or ("\n" not in text and "'" not in text and len(text) < 60)
    ):
        return _quoted(text) if "'" in text else f"'{text}'"
    return f"'''\n{text}'''"


def _text(content: bytes) -> str | None:
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return None
    return text if _READABLE.fullmatch(text) else None


def _name(asked: Asked) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", f"{asked.method} {asked.path}".lower()).strip("-")
    mark = hashlib.sha256(f"{asked} {asked.digest}".encode()).hexdigest()[:8]
    return f"{words[:60]}-{mark}"


def _suffix(headers: Mapping[str, str]) -> str:
    kind = next((value for name, value in headers.items() if name.lower() == "content-type"), "")
    return mimetypes.guess_extension(kind.partition(";")[0].strip()) or ".bin"
