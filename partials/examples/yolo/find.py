def find(images: list[Image.Image], min_confidence: float) -> list[list[Box]]:
    """The objects in each image, the surest first.

    The model gets images of one size together. Other sizes would be padded to a common shape, and the
    detections in an image would depend on its neighbours.
    """
    by_size: dict[tuple[int, int], list[int]] = {}
    for place, image in enumerate(images):
        by_size.setdefault(image.size, []).append(place)
    found: dict[int, list[Box]] = {}
    for places in by_size.values():
        for first in range(0, len(places), BATCH_SIZE):
            batch = places[first : first + BATCH_SIZE]
            results = MODEL.predict(
                [images[place] for place in batch],
                conf=min_confidence,
                device=DEVICE,
                verbose=False,
            )
            found |= zip(batch, map(boxes_of, results), strict=True)
    return [found[place] for place in range(len(images))]


def boxes_of(result: Any) -> list[Box]:
    """What ultralytics found in one image."""
    return [
        (result.names[int(kind)], int(kind), confidence, left, top, right, bottom)
        for left, top, right, bottom, confidence, kind in result.boxes.data.tolist()
    ]
