"""A rendered YOLO pipeline looks at every image of a media set once, and a bad one costs only itself."""

from __future__ import annotations

import inspect
import io
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from foundry_cm.testing import Pipeline
from tests.conftest import Render
from tests.models import debian_torch
from tests.models.conftest import check_rendered, pull_weights
from tests.models.hub import Hub
from tests.models.shapes import draw

pytestmark = pytest.mark.slow

UNSEEN = range(1000, 1024)


@pytest.fixture(scope="session")
def folder(render: Render, started_hub: Hub, detector: Path) -> Path:
    """A detecting pipeline with the trained weights pulled, run by the Python that has torchvision."""
    started_hub.repos["shapes"] = detector.parent
    module = render(
        execution_mode="pipeline",
        example="yolo",
        module_name="shapes",
        weights_url=f"{started_hub.url}/plain/shapes/",
        weights_files=["shapes.pt"],
        python_version="3.13",
    )
    pull_weights(module)
    debian_torch.runs(module)
    return module


@pytest.fixture
def album(folder: Path, tmp_path: Path) -> Pipeline:
    """The module with unseen drawings in three shapes, a damaged one, and one with nothing on it."""
    made = Pipeline(folder, tmp_path)
    for place, seed in enumerate(UNSEEN):
        image = draw(seed)[0]
        sizes = [image.size, (220, 120), (90, 200)]
        made.put("input", f"{seed}.png", png(image.resize(sizes[place % 3])))
    made.put("input", "damaged.png", png(draw(1)[0])[:300])
    made.put("input", "nothing.png", png(Image.new("RGB", (160, 160))))
    return made


def png(image: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def found(pipeline: Pipeline) -> dict[str, list[list[Any]]]:
    """The detections by path, each as label, confidence and box, the surest first."""
    by_path: dict[str, list[list[Any]]] = {}
    for row in pipeline.rows("output"):
        box = [row[side] for side in ("left", "top", "right", "bottom")]
        by_path.setdefault(row["path"], []).append([row["label"], row["confidence"], *box])
    return {path: sorted(rows, key=lambda row: -row[1]) for path, rows in by_path.items()}


def ultralytics_finds(detector: Path, paths: list[Path]) -> list[list[list[Any]]]:
    program = Path(inspect.getfile(draw))
    command = [debian_torch.python(), program, "predict", detector, "0.25", *paths]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
    found: list[list[list[Any]]] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def test_detections_are_those_of_ultralytics_and_a_bad_image_costs_only_itself(
    album: Pipeline, detector: Path
) -> None:
    # The first commit is that of the items' numbers.
    run = album.run(faults=["kill@before-commit#2"])
    assert run.kills == 1
    assert run.written["output-errors"] == 1
    [refused] = album.rows("output-errors")
    assert refused["origin"] == "damaged.png"
    assert refused["reason"].startswith("process() raised ImageError: the image is damaged: ")

    paths = [album.root / "data/input" / f"{seed}.png" for seed in UNSEEN]
    direct = ultralytics_finds(detector, paths)
    assert sum(map(len, direct)) >= len(UNSEEN)
    rows = found(album)
    assert rows.keys() == {path.name for path, wanted in zip(paths, direct, strict=True) if wanted}
    for path, wanted in zip(paths, direct, strict=True):
        mine = rows.get(path.name, [])
        assert [row[0] for row in mine] == [row[0] for row in wanted]
        for row, theirs in zip(mine, wanted, strict=True):
            assert row[1:] == pytest.approx(theirs[1:], abs=0.02)


def test_an_image_is_looked_at_once_also_when_nothing_was_found(album: Pipeline) -> None:
    album.run()
    before = album.rows("output")
    album.put("input", "late.png", png(draw(UNSEEN[0])[0]))
    run = album.run()
    assert run.read == {"input": 1}
    assert run.written["output-errors"] == 0
    assert len(album.rows("output")) == len(before) + run.written["output"]


def test_rendered_tests_and_linters_pass(folder: Path) -> None:
    check_rendered(folder, ["ruff format --check .", "ruff check .", "pytest"])
    check_rendered(folder, ["mypy src"], str(debian_torch.python()))
