"""A pipeline over a media set: every item once, whatever order the listing has and whatever happens."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from foundry_cm.local.platform.media import routes as media_routes
from foundry_cm.testing import CallFailed, Pipeline
from tests.conftest import Render
from tests.pipeline.conftest import MakePipeline, refused, replace_process, texts

pytestmark = pytest.mark.slow

PROCESS = """
def process(batch: pa.Table) -> pa.Table:
    contents = batch["content"].to_pylist()
    if b"poison" in contents:
        raise ValueError("poison")
    return pa.table({"text": [content.decode() for content in contents if content != b"nothing"]})
"""
ITEMS = 40


@pytest.fixture(scope="session")
def media_module(render: Render) -> Callable[[str], Path]:
    """A module that turns items into rows; the kind of its output is given."""
    made: dict[str, Path] = {}

    def make(kind: str = "dataset") -> Path:
        if kind not in made:
            folder = render(
                execution_mode="pipeline",
                inputs={"images": "media_set"},
                outputs={"output": kind},
                result_fields={"text": "str"},
            )
            replace_process(folder, PROCESS)
            made[kind] = folder
        return made[kind]

    return make


@pytest.fixture
def album(media_module: Callable[[str], Path], tmp_path: Path) -> MakePipeline:
    """Items of which one is poison, one gives no row and one is too large."""

    def make(kind: str = "dataset") -> Pipeline:
        made = Pipeline(media_module(kind), tmp_path)
        for number in range(ITEMS):
            add(made, f"{number % 3}/{number}.txt", f"item {number}", number)
        add(made, "poison.txt", "poison", 50)
        add(made, "nothing.txt", "nothing", 51)
        add(made, "large.txt", "x" * 20_000_001, 52)
        return made

    return make


def add(pipeline: Pipeline, path: str, content: str, seconds: float) -> None:
    os.utime(pipeline.put("images", path, content), (seconds, seconds))


EXPECTED = sorted(f"item {number}" for number in range(ITEMS))
REFUSED = [
    ("it has more than 20,000,000 bytes", "large.txt"),
    ("process() raised ValueError: poison", "poison.txt"),
]


def test_every_item_is_read_once(album: MakePipeline) -> None:
    module = album()
    run = module.run()
    assert (run.read, run.written) == ({"images": ITEMS + 3}, {"output": ITEMS, "output-errors": 2})
    assert texts(module) == EXPECTED
    assert refused(module) == REFUSED
    assert not any(module.run().written.values())


def test_a_late_item_that_is_older_than_what_was_read_is_read(album: MakePipeline) -> None:
    module = album()
    module.run()
    add(module, "late.txt", "late", 1)
    assert module.run().written["output"] == 1
    assert texts(module) == sorted([*EXPECTED, "late"])


def test_what_was_replaced_is_a_new_item_and_what_is_gone_is_none(album: MakePipeline) -> None:
    module = album()
    (module.root / "data/images/0/0.txt").unlink()
    add(module, "1/1.txt", "another", 1)
    module.run()
    assert texts(module) == sorted([*EXPECTED[2:], "another"])
    add(module, "1/1.txt", "a third", 2)
    module.run()
    assert texts(module) == sorted([*EXPECTED[2:], "another", "a third"])
    assert (
        module.output.count("images: 1 items were replaced or deleted since they were listed") == 1
    )


def test_a_listing_of_many_pages_is_read_to_its_end(
    album: MakePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media_routes, "PAGE_ITEMS", 7)
    module = album()
    module.run()
    assert texts(module) == EXPECTED


def test_many_files_of_numbers_become_one(
    media_module: Callable[[str], Path], tmp_path: Path
) -> None:
    module = Pipeline(media_module("dataset"), tmp_path)
    source = module.folder / "src/cmkit/pipelines/media.py"
    before = source.read_text()
    try:
        source.write_text(before.replace("LEDGER_FILES = 100", "LEDGER_FILES = 1"))
        for number in range(4):
            add(module, f"{number}.txt", f"item {number}", 9 - number)
            assert module.run().written["output"] == 1
    finally:
        source.write_text(before)
    found = sorted(path.stem for path in tmp_path.glob("outputs/output-errors/_items/images/*"))
    assert [[int(place) for place in each.split("-")] for each in found] == [
        [0, 1],
        [0, 3],
        [1, 2],
        [3, 4],
    ]
    assert texts(module) == [*EXPECTED[:2], "item 2", "item 3"]


async def forbidden(_: web.Request) -> web.Response:
    return web.Response(status=403)


async def endless(_: web.Request) -> web.Response:
    item = {"mediaItemRid": "ri.mio.main.media-item.1", "path": "one.txt"}
    return web.json_response({"records": [item], "nextPageToken": "more"})


async def unheard_of(_: web.Request) -> web.Response:
    return web.json_response({"records": [], "continuationToken": "more"})


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            forbidden,
            "MediaSetError: images: Foundry answers 403 when the media set is listed; a dat",
        ),
        (unheard_of, "MediaSetError: images: the listing goes on by continuationToken; a dataset"),
        (
            endless,
            "MediaSetError: images: the listing repeats itself after 1 items; a dataset of me",
        ),
    ],
)
def test_a_listing_that_cannot_be_trusted_stops_the_module(
    media_module: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: Any,
    message: str,
) -> None:
    monkeypatch.setattr(media_routes, "paging", answer)
    module = Pipeline(media_module("dataset"), tmp_path)
    add(module, "one.txt", "one", 1)
    with pytest.raises(CallFailed, match=message):
        module.run()


POINTS = [
    "before-list",
    "after-list",
    "before-checkpoint",
    "mid-checkpoint",
    "after-checkpoint",
    "before-read",
    "mid-read#20",
    "after-read#40",
    "before-upload",
    "after-upload#2",
    "after-checkpoint#2",
    "before-commit",
    "after-commit",
    "before-commit#2",
    "after-commit#2",
    "before-commit#3",
]


@pytest.mark.parametrize("build", [False, True], ids=["own", "build"])
@pytest.mark.parametrize("point", POINTS)
def test_a_kill_loses_and_doubles_no_item(album: MakePipeline, point: str, build: bool) -> None:
    module = album()
    run = module.run(faults=[f"kill@{point}"], build=build)
    assert run.kills == (0 if build and "commit" in point else 1)
    assert texts(module) == EXPECTED
    assert refused(module) == REFUSED


@pytest.mark.parametrize("point", ["after-publish", "before-commit#2", "after-commit#2"])
def test_a_kill_repeats_only_the_keys_of_a_stream(album: MakePipeline, point: str) -> None:
    module = album("stream")
    assert module.run(faults=[f"kill@{point}"]).kills == 1
    assert texts(module) == EXPECTED


def test_a_media_set_is_listed_again_where_the_platform_asks_for_patience(
    album: MakePipeline,
) -> None:
    module = album()
    module.run(faults=["503@list", "429@list#2", "expire-token@list#3"])
    assert texts(module) == EXPECTED
    assert any("Trying again in 1.0 s" in line for line in module.output.splitlines())


def test_a_record_class_that_is_no_media_item_is_refused(
    album: MakePipeline, media_module: Callable[[str], Path]
) -> None:
    app = media_module("dataset") / "src/app.py"
    before = app.read_text()
    try:
        app.write_text(before.replace("content: bytes", "content: str"))
        with pytest.raises(CallFailed, match=r'images: column "content" is bytes, not str'):
            album().run()
        app.write_text(before.replace("path: str", "name: str"))
        with pytest.raises(CallFailed, match=r'images has no column "name" \(str\); it has'):
            album().run()
    finally:
        app.write_text(before)
