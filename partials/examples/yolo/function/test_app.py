"""Calls the module as Foundry does: through the official SDK, under the local Foundry."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
from foundry_cm.testing import CallFailed, Foundry
from PIL import Image

EVENTS = sorted((Path(__file__).parents[1] / "events").glob("*.json"))


def inline(width: int = 160, height: int = 160, form: str = "PNG") -> dict[str, str]:
    file = io.BytesIO()
    Image.new("RGB", (width, height), "gray").save(file, form)
    return reference(base64.b64encode(file.getvalue()).decode())


def reference(item: str, kind: str = "inline", parent: str = "") -> dict[str, str]:
    return {"kind": kind, "parent": parent, "item": item}


def detect(foundry: Foundry, *images: dict[str, str], min_confidence: float = 0.25) -> Any:
    return foundry.call("detect", {"images": list(images), "min_confidence": min_confidence})


@pytest.mark.parametrize("event", EVENTS, ids=lambda path: path.stem)
def test_sample_event_is_answered(foundry: Foundry, event: Path) -> None:
    results = foundry.call(event.stem, json.loads(event.read_text(encoding="utf-8")))
    assert [result["error"] for result in results] == [""]


def test_pictures_in_data_are_read_by_their_references(foundry: Foundry) -> None:
    media_set, items = foundry.data["images"], foundry.items("images")
    results = detect(foundry, *(reference(rid, "media_item", media_set) for rid in items.values()))
    assert {result["error"] for result in results} == {""}


def test_results_keep_the_order_of_the_images(foundry: Foundry) -> None:
    sizes = [(160, 160), (64, 32), (160, 160), (300, 200)]
    results = detect(foundry, *(inline(width, height) for width, height in sizes))
    assert [(result["width"], result["height"]) for result in results] == sizes


def test_boxes_lie_in_the_image(foundry: Foundry) -> None:
    (result,) = detect(foundry, inline(200, 100), min_confidence=0)
    for box in result["detections"]:
        assert 0 <= box["left"] <= box["right"] <= 200
        assert 0 <= box["top"] <= box["bottom"] <= 100


def test_no_image_gives_no_result(foundry: Foundry) -> None:
    assert detect(foundry) == []


def test_bad_image_costs_no_other_image_its_answer(foundry: Foundry) -> None:
    text = base64.b64encode(b"no image").decode()
    bad = (reference(text), reference("!"), reference("a", "file"), reference("a", "media_item"))
    results = detect(foundry, inline(), *bad, inline(form="JPEG"))
    assert [result["error"] for result in results] == [
        "",
        "not_an_image",
        "not_an_image",
        "bad_reference",
        "bad_reference",
        "",
    ]


def test_too_large_inline_image_is_refused(foundry: Foundry) -> None:
    (result,) = detect(foundry, reference("A" * 1_400_000))
    assert result["error"] == "too_large"
    assert result["message"].startswith("an inline image has at most 1,000,000 bytes")


def test_image_of_too_many_pixels_is_refused(foundry: Foundry) -> None:
    (result,) = detect(foundry, inline(8000, 7000))
    assert (result["error"], result["detections"]) == ("too_large", [])


def test_too_many_images_are_refused(foundry: Foundry) -> None:
    with pytest.raises(CallFailed, match="65 images in one call; send at most 64"):
        detect(foundry, *[reference("x")] * 65)


@pytest.mark.parametrize("confidence", [-0.1, 1.1])
def test_confidence_out_of_range_is_refused(foundry: Foundry, confidence: float) -> None:
    with pytest.raises(CallFailed, match="give a number from 0 to 1"):
        detect(foundry, min_confidence=confidence)
