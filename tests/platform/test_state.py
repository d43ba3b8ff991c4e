"""What an earlier run has kept in `outputs/ALIAS/.cm/` may have come with a repository."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from foundry_cm.errors import CmError
from foundry_cm.local.platform.datasets.store import OutputDataset
from foundry_cm.local.platform.media.store import MediaSet
from foundry_cm.local.platform.resources import Resource
from foundry_cm.local.platform.streams.store import Stream

RID = "ri.foundry.main.transaction.00000000-0000-0000-0000-000000000000"
ITEM = "ri.mio.main.media-item.00000000-0000-0000-0000-000000000000"


def dataset(rid: str = RID, **changed: Any) -> dict[str, Any]:
    kept = {"type": "APPEND", "status": "COMMITTED", "created": "", "closed": None, "job": None}
    return {
        "rid": "",
        "schema": None,
        "transactions": {rid: {**kept, "files": ["a.csv"], **changed}},
    }


STATES = [
    *((OutputDataset, "state.json", text) for text in ("", "{", "[]", "[" * 100_000, "\x00")),
    *(
        (OutputDataset, "state.json", json.dumps(dataset(**change)))
        for change in (
            {"rid": "../../../.."},
            {"files": ["../../src/app.py"]},
            {"files": ["/etc/passwd"]},
            {"files": [".cm/state.json"]},
            {"status": "GONE"},
        )
    ),
    (MediaSet, "items.json", json.dumps({ITEM: {"rid": ITEM, "path": "../../x", "stamp": 1}})),
    (MediaSet, "items.json", json.dumps({"x": {"rid": "../x", "path": "x", "stamp": 1}})),
    (Stream, "stream.json", json.dumps({"schema": None, "partitions": 10**12, "type": ""})),
    (Stream, "stream.json", "[]"),
    *(
        (Stream, "stream.json", json.dumps({"schema": schema}))
        for schema in (
            {"fields": ["text"]},
            {"fields": None},
            {"fields": [{"name": "text", "schema": "string"}]},
            {"fields": [], "keyFieldNames": "id"},
        )
    ),
]


@pytest.mark.parametrize(
    ("kind", "name", "text"), STATES, ids=[f"{k.__name__} {t[:60]}" for k, _, t in STATES]
)
def test_state_that_no_run_has_written_is_refused(
    tmp_path: Path, kind: type[Any], name: str, text: str
) -> None:
    state = tmp_path / "outputs/output/.cm"
    state.mkdir(parents=True)
    (state / name).write_text(text)
    with pytest.raises(CmError) as refused:
        kind(tmp_path, Resource("output", "dataset", True))
    assert (refused.value.what, refused.value.where, refused.value.exit_code) == (
        f".cm/{name} is not what cm run writes",
        str(state / name),
        2,
    )
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [name]


def test_file_that_somebody_has_removed_from_the_state_is_gone(tmp_path: Path) -> None:
    state = tmp_path / "outputs/output/.cm"
    state.mkdir(parents=True)
    (state / "state.json").write_text(json.dumps(dataset()))
    assert OutputDataset(tmp_path, Resource("output", "dataset", True)).view("master") == {}
