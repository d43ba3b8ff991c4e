"""Finds objects in the images of media sets."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from PIL import Image

from device import pick_device, timed
from image_files import decode
from pipeline import load, run
from records import schema_of
from weights import weights_folder

if TYPE_CHECKING:
    from ultralytics.models import YOLO

# The checkpoint, as weights.lock names it: a pickle, which is loaded only when its hash is the locked one.
CHECKPOINT = {{ weights_files[0] | to_json }}
MIN_CONFIDENCE = 0.25
# So many pixels are decoded at a time; each takes three bytes, and three more in the model.
MOST_PIXELS = 200_000_000


{% include pathjoin('partials', 'yolo', 'read_model.py') %}


# Loaded once, when the container starts; process() only reads them. Anything heavy belongs here.
DEVICE = load(pick_device)
MODEL = load(read_model)


@dataclass
class InputRecord:
    """An item of a media set."""

    media_item_rid: str
    path: str
    content: bytes


@dataclass
class OutputRecord:
    """One object; its box in pixels of the upright image, from the top left corner, y downwards."""

    media_item_rid: str
    path: str
    label: str
    class_id: int
    confidence: float
    left: float
    top: float
    right: float
    bottom: float


def process(batch: pa.Table) -> pa.Table:
    """Find the objects in each image that the model is at least MIN_CONFIDENCE sure of.

    An image that cannot be decoded raises, before the model sees those beside it. The loop then puts
    it aside and gives the others once more.
    """
    rows = [row for group in decoded(batch) for row in detections(group)]
    return pa.Table.from_pylist([vars(row) for row in rows], schema_of(OutputRecord))


def decoded(batch: pa.Table) -> Iterator[list[tuple[dict[str, Any], Image.Image]]]:
    """The items with their images, so many at a time that these fit in memory."""
    group, pixels = list[tuple[dict[str, Any], Image.Image]](), 0
    for item in batch.to_pylist():
        image = decode(item["content"])
        group.append((item, image))
        pixels += image.width * image.height
        if pixels >= MOST_PIXELS:
            yield group
            group, pixels = [], 0
    yield group


def detections(group: list[tuple[dict[str, Any], Image.Image]]) -> Iterator[OutputRecord]:
    """The objects in each image, the surest first."""
    found = find([image for _, image in group])
    for (item, _), result in zip(group, found, strict=True):
        for left, top, right, bottom, confidence, kind in result.boxes.data.tolist():
            yield OutputRecord(
                media_item_rid=item["media_item_rid"],
                path=item["path"],
                label=result.names[int(kind)],
                class_id=int(kind),
                confidence=confidence,
                left=left,
                top=top,
                right=right,
                bottom=bottom,
            )


def find(images: list[Image.Image]) -> list[Any]:
    """What ultralytics finds in each image.

    Images of one size go through the model together. Others would be padded to a common shape, and
    what is found in an image would depend on its neighbours.
    """
    by_size: dict[tuple[int, int], list[int]] = {}
    for place, image in enumerate(images):
        by_size.setdefault(image.size, []).append(place)
    found: dict[int, Any] = {}
    for places in by_size.values():
        results = MODEL.predict(
            [images[place] for place in places], conf=MIN_CONFIDENCE, device=DEVICE, verbose=False
        )
        found |= zip(places, results, strict=True)
    return [found[place] for place in range(len(images))]


if __name__ == "__main__":
    run(process, InputRecord, OutputRecord)
