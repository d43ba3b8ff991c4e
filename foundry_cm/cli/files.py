"""`cm call --file`: files as base64 in an event, in place of what its sample has there."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from foundry_cm.errors import USAGE, CmError, near_miss

# A reference to a file, as the records of the template's examples have it.
_REFERENCE = {"kind", "parent", "item"}


def with_files(event: Any, given: Sequence[str]) -> Any:
    """The event with each `FIELD=PATH` in it; raises CmError for a field or a file that is not there.

    A list gets all files of its field, and any other field its one file. Where the sample has
    references, the files become references that have their content in them.
    """
    by_field: dict[str, list[str]] = {}
    for each in given:
        field, equals, path = each.partition("=")
        if not equals or not path:
            raise CmError(
                f'"{each}" does not say which field gets the file',
                fix="Write FIELD=PATH, such as: --file images=photo.jpg",
                exit_code=USAGE,
            )
        by_field.setdefault(field, []).append(_content(Path(path)))
    for field, contents in by_field.items():
        if not isinstance(event, dict) or field not in event:
            known = list(event) if isinstance(event, dict) else []
            raise CmError(
                f'The event has no field "{field}" for a file',
                fix=near_miss(field, known),
                exit_code=USAGE,
            )
        event = {**event, field: _filled(field, event[field], contents)}
    return event


def _content(path: Path) -> str:
    try:
        return base64.b64encode(path.read_bytes()).decode()
    except OSError as error:
        raise CmError(
            f"The file cannot be read: {error.strerror}", where=str(path), exit_code=USAGE
        ) from None


def _filled(field: str, sample: Any, contents: list[str]) -> Any:
    if isinstance(sample, list):
        first = sample[0] if sample else ""
        return [_one(first, content) for content in contents]
    if len(contents) > 1:
        raise CmError(
            f'The field "{field}" takes one file, not {len(contents)}',
            fix=f"Give --file {field}=PATH once.",
            exit_code=USAGE,
        )
    return _one(sample, contents[0])


def _one(sample: Any, content: str) -> Any:
    if isinstance(sample, dict) and sample.keys() == _REFERENCE:
        return {"kind": "inline", "parent": "", "item": content}
    return content
