"""A rendered YOLO module finds what ultralytics finds, in images that it has never seen."""

import inspect
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image

from foundry_cm.errors import CmError
from foundry_cm.module.coldstart import ColdStart
from foundry_cm.testing import Foundry
from tests.conftest import Render
from tests.models import debian_torch, untrained
from tests.models.conftest import check_rendered, pass_on_the_hub, pull_weights
from tests.models.hub import Hub
from tests.models.shapes import draw, inline

pytestmark = pytest.mark.slow

UNSEEN = range(1000, 1030)

Modules = Callable[[str], Path]


@pytest.fixture(scope="session")
def modules(render: Render, started_hub: Hub, detector: Path) -> Modules:
    """Rendered detectors by strategy, with the trained weights pulled from the hub."""
    started_hub.repos["shapes"] = detector.parent
    made: dict[str, Path] = {}

    def module(strategy: str) -> Path:
        if strategy not in made:
            folder = render(
                example="yolo",
                module_name="shapes",
                weights_strategy=strategy,
                weights_origin="https",
                weights_url=f"{started_hub.url}/plain/shapes/",
                weights_files=["shapes.pt"],
                python_version="3.13",
            )
            for seed in UNSEEN[:4]:
                draw(seed)[0].save(folder / f"data/images/{seed}.png")
            pass_on_the_hub(folder)
            assert "shapes.pt can run its author's code" in pull_weights(folder)
            made[strategy] = folder
        return made[strategy]

    return module


@pytest.fixture(scope="module", params=["baked", "downloaded"])
def running(request: pytest.FixtureRequest, modules: Modules) -> Iterator[Foundry]:
    """The module of each strategy under the local Foundry."""
    command = [str(debian_torch.python()), "src/app.py"]
    with Foundry(modules(request.param), command, concurrency=2) as foundry:
        yield foundry


def detect(foundry: Foundry, images: list[dict[str, str]], min_confidence: float = 0.4) -> Any:
    return foundry.call("detect", {"images": images, "min_confidence": min_confidence}, timeout=120)


def test_shapes_in_unseen_drawings_are_found(running: Foundry) -> None:
    drawings = [draw(seed) for seed in UNSEEN]
    results = detect(running, [inline(image) for image, _ in drawings])
    shapes = found = 0
    for (_, drawn), result in zip(drawings, results, strict=True):
        boxes = [
            (item["label"], item["left"], item["top"], item["right"], item["bottom"])
            for item in result["detections"]
        ]
        shapes += len(drawn)
        found += sum(
            any(label == shape.label and shape.overlap(*box) > 0.6 for label, *box in boxes)
            for shape in drawn
        )
    assert found >= 0.9 * shapes


def test_shapes_are_found_in_items_of_a_media_set_without_any_setting(running: Foundry) -> None:
    parent, items = running.data["images"], running.items("images")
    drawn = [items[f"{seed}.png"] for seed in UNSEEN[:4]]
    references = [{"kind": "media_item", "parent": parent, "item": item} for item in drawn]
    results = detect(running, references)
    labels = {found["label"] for result in results for found in result["detections"]}
    assert labels == {"square", "circle"}


def test_detections_are_those_of_ultralytics(
    running: Foundry, detector: Path, tmp_path: Path
) -> None:
    drawings = [draw(seed)[0] for seed in UNSEEN[:6]]
    # Other shapes of image, one of them twice, so that a batch holds several sizes.
    drawings += [drawings[0].resize((220, 120)), drawings[1].resize((90, 200)), drawings[0]]
    paths = [tmp_path / f"{number}.png" for number in range(len(drawings))]
    for path, image in zip(paths, drawings, strict=True):
        image.save(path, "PNG")
    program = Path(inspect.getfile(draw))
    command = [debian_torch.python(), program, "predict", detector, "0.25", *paths]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
    direct = json.loads(done.stdout.strip().splitlines()[-1])
    results = detect(running, [inline(image) for image in drawings], 0.25)
    assert sum(map(len, direct)) >= len(drawings)
    for wanted, result in zip(direct, results, strict=True):
        got = [
            [
                item["label"],
                *(item[key] for key in ("confidence", "left", "top", "right", "bottom")),
            ]
            for item in result["detections"]
        ]
        assert [item[0] for item in got] == [item[0] for item in wanted]
        for mine, theirs in zip(got, wanted, strict=True):
            assert mine[1:] == pytest.approx(theirs[1:], abs=0.02)


def test_one_bad_image_costs_the_others_nothing(running: Foundry) -> None:
    good = inline(draw(UNSEEN[0])[0])
    alone = detect(running, [good])
    first, bad, missing, last = detect(
        running, [good, {**good, "item": "AAAA"}, {**good, "kind": "x"}, good]
    )
    assert (bad["error"], missing["error"]) == ("not_an_image", "bad_reference")
    assert first["error"] == last["error"] == ""
    assert [item["label"] for item in first["detections"]] == [
        item["label"] for item in alone[0]["detections"]
    ]
    assert first["detections"] == last["detections"]


def test_start_says_device_and_seconds(running: Foundry) -> None:
    for line in ("Model: import took", "Model: load took", "Model: warm-up took", "Device: cpu,"):
        assert line in running.output
    start = ColdStart.last_in(running.output)
    assert start and list(start.steps) == ["import", "weights", "load", "warm-up"]


def test_checkpoint_whose_hash_is_not_locked_is_not_loaded(
    modules: Modules, tmp_path: Path
) -> None:
    import shutil

    folder = shutil.copytree(modules("baked"), tmp_path / "module")
    checkpoint = folder / "models" / "shapes.pt"
    checkpoint.write_bytes(checkpoint.read_bytes() + b"\0")
    with pytest.raises(CmError) as died:
        with Foundry(folder, [str(debian_torch.python()), "src/app.py"]):
            pass
    assert "No weights: models/shapes.pt has " in died.value.what


@pytest.fixture
def untrained_module(render: Render, detector: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A module with a model of some kind that has learned nothing."""

    def module(name: str) -> Path:
        checkpoint = tmp_path / "other" / "other.pt"
        checkpoint.parent.mkdir()
        command = [debian_torch.python(), untrained.__file__, name, checkpoint]
        subprocess.run(list(map(str, command)), check=True, capture_output=True, cwd=tmp_path)
        folder = render(
            example="yolo",
            weights_origin="folder",
            weights_folder=str(checkpoint.parent),
            weights_files=["other.pt"],
        )
        pull_weights(folder)
        return folder

    return module


TASKS = {"cls": "classify", "obb": "obb", "pose": "pose", "seg": "segment"}


@pytest.mark.parametrize(("name", "task"), TASKS.items())
def test_a_checkpoint_of_another_task_is_refused_at_the_start(
    untrained_module: Callable[[str], Path], name: str, task: str
) -> None:
    with pytest.raises(CmError) as died:
        with Foundry(
            untrained_module(f"yolo26n-{name}"), [str(debian_torch.python()), "src/app.py"]
        ):
            pass
    assert died.value.what.endswith(
        f"No model: other.pt is for the task '{task}', not for 'detect': take a detector"
    )


def test_the_head_of_yolo26_that_needs_no_suppression_gives_the_same_results(
    untrained_module: Callable[[str], Path],
) -> None:
    folder = untrained_module("yolo26n")
    app = folder / "src/app.py"
    app.write_text(app.read_text().replace("verbose=False", "verbose=False, nms=False"))
    with Foundry(folder, [str(debian_torch.python()), "src/app.py"]) as foundry:
        (result,) = detect(foundry, [inline(draw(UNSEEN[0])[0])], 0.0)
    # It gives its 300 best, whatever they are.
    assert len(result["detections"]) == 300
    assert {
        0 <= box["left"] <= box["right"] <= result["width"] for box in result["detections"]
    } == {True}
    assert {type(box["label"]) for box in result["detections"]} == {str}


def test_the_largest_call_fits_into_a_default_replica(running: Foundry) -> None:
    # 0.06 MB each, and 47 million pixels. All 64 in one call take 1.9 GB; the last eight tell no more.
    large = inline(Image.new("L", (7000, 6700), 128))
    results = detect(running, [large] * 8)
    assert {(result["width"], result["error"]) for result in results} == {(7000, "")}
    module = max(psutil.Process().children(recursive=True), key=lambda each: each.memory_info().rss)
    status = Path(f"/proc/{module.pid}/status").read_text()
    peak = int(status.partition("VmHWM:")[2].split()[0])
    assert peak < 3_000_000  # kB, of 4 GB


@pytest.mark.parametrize("strategy", ["baked", "downloaded"])
def test_rendered_tests_and_linters_pass(modules: Modules, tmp_path: Path, strategy: str) -> None:
    import shutil

    folder = shutil.copytree(modules(strategy), tmp_path / "module")
    check_rendered(folder, ["ruff format --check .", "ruff check ."])
    check_rendered(folder, ["mypy src"], str(debian_torch.python()))
    debian_torch.runs(folder)
    check_rendered(folder, ["pytest"])


def test_static_inference_reads_the_types_without_the_model(modules: Modules) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "compute_modules.bin.static_inference.infer", "src"],
        cwd=modules("baked"),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert [item["functionName"] for item in json.loads(done.stdout)] == ["detect"]


def test_licence_is_said_where_people_decide(render: Render) -> None:
    from tests.conftest import REPOSITORY

    module = render(example="yolo")
    readme = (module / "README.md").read_text()
    assert "AGPL-3.0" in readme
    assert "Ultralytics Enterprise License" in readme
    assert "AGPL-3.0 or enterprise licence" in (REPOSITORY / "copier.yml").read_text()
    assert "ultralytics-opencv-headless" in (module / "requirements.txt").read_text()
