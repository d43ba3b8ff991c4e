"""`cm call` puts files into an event, and shows a person the beginning of a vector."""

import base64
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from foundry_cm.cli.console import show_json
from foundry_cm.cli.files import with_files
from foundry_cm.errors import CmError

SAMPLE = {
    "image": "sample",
    "texts": [],
    "images": [{"kind": "media_item", "parent": "ri.set", "item": "ri.item"}],
    "min_confidence": 0.25,
}


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "a=photo.jpg"
    path.write_bytes(b"\xff\xd8 photo")
    return path


def test_a_file_takes_the_place_of_the_sample(photo: Path) -> None:
    text = base64.b64encode(photo.read_bytes()).decode()
    inline = {"kind": "inline", "parent": "", "item": text}
    assert with_files(SAMPLE, [f"image={photo}"]) == SAMPLE | {"image": text}
    assert with_files(SAMPLE, [f"texts={photo}"]) == SAMPLE | {"texts": [text]}
    two = with_files(SAMPLE, [f"images={photo}", f"images={photo}"])
    assert two == SAMPLE | {"images": [inline, inline]}
    assert with_files(SAMPLE, []) is SAMPLE


@pytest.mark.parametrize(
    ("given", "what", "fix"),
    [
        ("photo.jpg", "not say which field gets the file", "such as: --file images=photo.jpg"),
        ("pictures=PHOTO", 'The event has no field "pictures" for a file', "images"),
        ("image=nowhere.jpg", "The file cannot be read: No such file", None),
    ],
)
def test_a_file_that_has_no_place_is_refused(
    photo: Path, given: str, what: str, fix: str | None
) -> None:
    with pytest.raises(CmError) as refused:
        with_files(SAMPLE, [given.replace("PHOTO", str(photo))])
    assert what in refused.value.what
    assert fix is None or fix in (refused.value.fix or "")


def test_a_terminal_gets_the_beginning_of_a_vector_and_a_pipe_all_of_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    result: Any = {"embeddings": [{"vector": [0.5] * 384, "truncated": False}], "box": [1, 2, 3]}
    show_json(result)
    assert json.loads(capsys.readouterr().out) == result
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    show_json(result)
    shown = json.loads(capsys.readouterr().out)
    assert shown["embeddings"][0]["vector"] == "0.5, 0.5, 0.5, ... (384 numbers)"
    assert shown["box"] == [1, 2, 3]
