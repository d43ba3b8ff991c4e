"""Answers of a system outside, as files: one in each, in a folder for each Source.

A file names what is asked (method and path, below the address of the Source) and what comes back
(status, headers, and a body in it or in a file beside it).
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
from yarl import URL

from foundry_cm.errors import CmError
from foundry_cm.local.sources.redaction import without_query
from foundry_cm.module.files import check_inside
from foundry_cm.module.places import Place, read_file
from foundry_cm.module.records import Record, Wrong, as_record

_METHOD = re.compile(r"[A-Z]+")
_HEADER = re.compile(r"[\w!#$%&'*+.^`|~-]+", re.ASCII)
_SHOWN = 8
# Before a path that is read: what begins with // would name a host.
_ANY = "http://any"


class Answer(Record, frozen=True, kw_only=True):
    """What is asked, and what comes back."""

    path: Annotated[str, msgspec.Meta(extra_json_schema={"examples": ["/parts/7?full=true"]})]
    method: str = "GET"
    # The body of the request, where only one body gets this answer; or what `digest` makes of it.
    asked: str | None = None
    asked_sha256: str | None = None
    status: Annotated[int, msgspec.Meta(ge=200, le=599)] = 200
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    body: str | None = None
    file: str | None = None

    def __post_init__(self) -> None:
        if not self.path.startswith("/"):
            fix = "It is below the address of the Source, such as /parts/7?full=true."
            raise Wrong("path", "path does not begin with /", fix)
        if not _METHOD.fullmatch(self.method):
            raise Wrong(
                "method", "method is not one of HTTP", "Write it in capitals, such as POST."
            )
        for name, value in self.headers.items():
            if not _HEADER.fullmatch(name) or not value.isprintable():
                raise Wrong("headers", f'The header "{name}" is none that HTTP can carry')
        if self.body is not None and self.file is not None:
            raise Wrong("file", "There is both a body and a file", "Leave one of them out.")
        if self.asked is not None and self.asked_sha256 is not None:
            raise Wrong("asked", "There is both asked and asked-sha256", "Leave one of them out.")


@dataclass(frozen=True)
class Asked:
    """A request, without what its Source adds to each: a path with its parameters, and a body."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    digest: str | None = None

    @classmethod
    def of(
        cls, method: str, target: str, body: bytes = b"", own: Mapping[str, str] | None = None
    ) -> Asked:
        """The request for a target, as HTTP writes it; `own` are parameters of the Source."""
        url = URL(f"{_ANY}{target}", encoded=True)
        query = without_query(url.query.items(), own or {})
        return cls(method, url.path_safe, tuple(query), digest(body) if body else None)

    @property
    def target(self) -> str:
        """Path and parameters as a person writes them, with the escapes that are needed."""
        plain = str(self).partition(" ")[2]
        try:
            if Asked.of(self.method, URL(f"{_ANY}{plain}").raw_path_qs) == self.without_body:
                return plain
        except ValueError:
            pass
        path = self.path.replace("?", "%3F").replace("#", "%23")
        return URL(f"{_ANY}{path}").with_query(list(self.query)).raw_path_qs

    @property
    def without_body(self) -> Asked:
        """The same, whatever its body."""
        return Asked(self.method, self.path, self.query)

    def __str__(self) -> str:
        """`GET /parts/7?full=true`, readable and without escapes."""
        query = "&".join(f"{name}={value}" for name, value in self.query)
        return f"{self.method} {self.path}{'?' if query else ''}{query}"


@dataclass(frozen=True)
class Canned:
    """An answer, the file that it stands in, and what it answers."""

    file: Path
    answer: Answer
    asked: Asked

    def content(self) -> bytes:
        """The body; raises `CmError` for a file that cannot be read."""
        if self.answer.file is None:
            return (self.answer.body or "").encode()
        beside = self.file.parent / self.answer.file
        check_inside(self.file.parent, beside)
        try:
            return beside.read_bytes()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            what = f"The file of an answer cannot be read: {reason}"
            raise Place(self.file).below("file").error(what, code="Answers") from None

    def headers(self) -> dict[str, str]:
        """Its headers; a body in the file is JSON or text where they do not say."""
        known = {name.lower() for name in self.answer.headers}
        if "content-type" in known or self.answer.body is None:
            return self.answer.headers
        kind = "application/json" if _is_json(self.answer.body) else "text/plain; charset=utf-8"
        return self.answer.headers | {"Content-Type": kind}


@dataclass(frozen=True)
class Answers:
    """All answers of a folder."""

    folder: Path
    all: Sequence[Canned]

    @classmethod
    def read(cls, folder: Path) -> Answers:
        """Read them; raises `CmError` for a file that is none, and for two that answer one request."""
        files = sorted(path for path in folder.rglob("*.toml") if path.is_file())
        found: dict[Asked, Canned] = {}
        for file in files:
            place = Place(file)
            answer = as_record(Answer, read_file(file), place, "Answers")
            canned = Canned(file, answer, _asked(answer))
            if canned.asked in found:
                other = found[canned.asked].file.relative_to(folder)
                what = f"{other} answers the same request"
                raise place.below("path").error(what, "Remove one of them.", "Answers")
            found[canned.asked] = canned
        return cls(folder, list(found.values()))

    def find(self, asked: Asked) -> Canned | None:
        """The answer to a request: one for just this body, or one for any."""
        known = {each.asked: each for each in self.all}
        return known.get(asked) or known.get(asked.without_body)

    def nearest(self, asked: Asked) -> str:
        """A sentence on what there is in place of an answer that is missing."""
        same = [each for each in self.all if str(each.asked) == str(asked)]
        if same:
            return f"{same[0].file.name} answers it with another body of the request."
        names = [str(each.asked) for each in self.all]
        if close := difflib.get_close_matches(str(asked), names, n=1, cutoff=0.6):
            return f'Nearest is "{close[0]}".'
        shown = ", ".join(f'"{name}"' for name in names[:_SHOWN])
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        return f"There are {shown}{more}." if names else "The folder has no answers."


def digest(body: bytes) -> str:
    """What tells one body of a request from another; JSON counts by its value."""
    try:
        value: Any = json.loads(body)
        body = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    except (ValueError, RecursionError):
        body = body.strip()
    return hashlib.sha256(body).hexdigest()


def missing(name: str, answers: Answers, asked: Asked, folder: Path) -> CmError:
    """The error of a request that no file answers."""
    return CmError(
        f"The Source {name} has no answer for {asked}",
        where=str(
            answers.folder.relative_to(folder)
            if answers.folder.is_relative_to(folder)
            else answers.folder
        ),
        fix=answers.nearest(asked),
        code="NoAnswer",
    )


def _asked(answer: Answer) -> Asked:
    asked = Asked.of(answer.method, URL(f"{_ANY}{answer.path}").raw_path_qs)
    body = answer.asked_sha256 if answer.asked is None else digest(answer.asked.encode())
    return Asked(asked.method, asked.path, asked.query, body)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
