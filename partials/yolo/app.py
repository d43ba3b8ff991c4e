"""Finds objects in images."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from compute_modules.context import QueryContext
from PIL import Image

from device import pick_device, timed
from images import ImageError, read_image
from startup import CallerError, function, load, start
from weights import weights_folder

if TYPE_CHECKING:
    from ultralytics.models import YOLO

# The checkpoint, as weights.lock names it: a pickle, which is loaded only when its hash is the locked one.
CHECKPOINT = {{ weights_files[0] | to_json }}
MOST_IMAGES = 64
BATCH_SIZE = 16

# A predictor keeps state while it works, so calls take turns at it.
TURN = threading.Lock()
READERS = ThreadPoolExecutor(8, "images")


{% include pathjoin('partials', 'yolo', 'read_model.py') %}


# Loaded once, when the container starts; handlers only read them. Anything heavy belongs here.
DEVICE = load(pick_device)
MODEL = load(read_model)


@dataclass
class ImageReference:
    """Where one image is; `kind` says what `parent` and `item` are.

    `media_item`: a media set and one of its items; `dataset_file`: a dataset and a path in it;
    `source`: the name of a REST Source and a path; `inline`: nothing, and the image as base64.
    """

    kind: str
    parent: str
    item: str


@dataclass
class DetectPayload:
    """What goes in."""

    images: list[ImageReference]
    min_confidence: float


@dataclass
class Detection:
    """One object; its box in pixels of the upright image, from the top left corner, y downwards."""

    label: str
    class_id: int
    confidence: float
    left: float
    top: float
    right: float
    bottom: float


@dataclass
class ImageResult:
    """What comes back for each image, in their order.

    An image that cannot be looked at has a code in `error`, such as `not_found`, and the reason in
    `message`; the others are answered all the same.
    """

    width: int
    height: int
    detections: list[Detection]
    error: str
    message: str


@function
def detect(context: QueryContext, event: DetectPayload) -> list[ImageResult]:
    """Find the objects in each image that the model is at least `event.min_confidence` sure of."""
    if len(event.images) > MOST_IMAGES:
        raise CallerError(f"{len(event.images)} images in one call; send at most {MOST_IMAGES}.")
    if not 0 <= event.min_confidence <= 1:
        raise CallerError(f"min_confidence is {event.min_confidence}; give a number from 0 to 1.")
    read = list(READERS.map(read_or_say_why, event.images))
    images = [item for item in read if isinstance(item, Image.Image)]
    found = iter(find(images, event.min_confidence))
    return [
        ImageResult(item.width, item.height, next(found), error="", message="")
        if isinstance(item, Image.Image)
        else ImageResult(0, 0, [], error=item.code, message=str(item))
        for item in read
    ]


def read_or_say_why(reference: ImageReference) -> Image.Image | ImageError:
    """The image, or what is wrong with it: one bad image must not cost its caller the others."""
    try:
        return read_image(reference.kind, reference.parent, reference.item)
    except ImageError as error:
        return error


def find(images: list[Image.Image], min_confidence: float) -> list[list[Detection]]:
    """The objects in each image, the surest first.

    Images of one size go through the model together. Others would be padded to a common shape, and
    what is found in an image would depend on its neighbours.
    """
    by_size: dict[tuple[int, int], list[int]] = {}
    for place, image in enumerate(images):
        by_size.setdefault(image.size, []).append(place)
    found: list[list[Detection]] = [[] for _ in images]
    for places in by_size.values():
        for first in range(0, len(places), BATCH_SIZE):
            batch = places[first : first + BATCH_SIZE]
            with TURN:
                results = MODEL.predict(
                    [images[place] for place in batch],
                    conf=min_confidence,
                    device=DEVICE,
                    verbose=False,
                )
            for place, result in zip(batch, results, strict=True):
                found[place] = detections_of(result)
    return found


def detections_of(result: Any) -> list[Detection]:
    """The records for what ultralytics found in one image."""
    rows = result.boxes.data.tolist()
    return [
        Detection(result.names[int(kind)], int(kind), confidence, left, top, right, bottom)
        for left, top, right, bottom, confidence, kind in rows
    ]


if __name__ == "__main__":
    start()
