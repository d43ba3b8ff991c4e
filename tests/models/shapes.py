"""Drawings of squares and circles, and a YOLO that learns to find them.

As a program, inside a Python that has ultralytics: `shapes.py train FOLDER` writes FOLDER/shapes.pt,
`shapes.py predict CHECKPOINT CONFIDENCE IMAGE ...` prints what ultralytics finds, as JSON.
"""

from __future__ import annotations

import base64
import io
import json
import random
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

SIZE = 160
LABELS = ["square", "circle"]


@dataclass(frozen=True)
class Shape:
    """What was drawn, and the pixels that it fills."""

    label: str
    left: int
    top: int
    right: int
    bottom: int

    def overlap(self, left: float, top: float, right: float, bottom: float) -> float:
        """Intersection over union with a box."""
        width = min(self.right, right) - max(self.left, left)
        height = min(self.bottom, bottom) - max(self.top, top)
        both = max(0.0, width) * max(0.0, height)
        own = (self.right - self.left) * (self.bottom - self.top)
        return both / (own + (right - left) * (bottom - top) - both)


def draw(seed: int) -> tuple[Image.Image, list[Shape]]:
    """One to three bright shapes apart from each other on a dark ground."""
    dice = random.Random(seed)
    image = Image.new("RGB", (SIZE, SIZE), tuple(dice.randrange(90) for _ in range(3)))
    pen = ImageDraw.Draw(image)
    shapes: list[Shape] = []
    for _ in range(dice.randint(1, 3)):
        side = dice.randint(24, 56)
        left, top = dice.randint(2, SIZE - side - 2), dice.randint(2, SIZE - side - 2)
        shape = Shape(dice.choice(LABELS), left, top, left + side, top + side)
        box = (shape.left, shape.top, shape.right, shape.bottom)
        if any(other.overlap(*box) for other in shapes):
            continue
        colour = tuple(dice.randrange(140, 256) for _ in range(3))
        (pen.rectangle if shape.label == "square" else pen.ellipse)(box, fill=colour)
        shapes.append(shape)
    return image, shapes


def inline(image: Image.Image) -> dict[str, str]:
    """A reference that has its image in itself."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return {"kind": "inline", "parent": "", "item": base64.b64encode(file.getvalue()).decode()}


def train(folder: Path, *, epochs: int = 10, images: int = 160) -> None:
    """Train YOLO11n on drawings; writes shapes.pt only when it is done."""
    from ultralytics import YOLO

    work = folder / "training"
    shutil.rmtree(work, ignore_errors=True)
    for part in ("images", "labels"):
        (work / part).mkdir(parents=True)
    for seed in range(images):
        image, shapes = draw(seed)
        image.save(work / "images" / f"{seed}.png")
        lines = (
            f"{LABELS.index(shape.label)} {(shape.left + shape.right) / 2 / SIZE} "
            f"{(shape.top + shape.bottom) / 2 / SIZE} {(shape.right - shape.left) / SIZE} "
            f"{(shape.bottom - shape.top) / SIZE}\n"
            for shape in shapes
        )
        (work / "labels" / f"{seed}.txt").write_text("".join(lines))
    data = {"path": str(work), "train": "images", "val": "images", "names": dict(enumerate(LABELS))}
    (work / "data.yaml").write_text(json.dumps(data))
    YOLO("yolo11n.yaml").train(
        data=str(work / "data.yaml"),
        epochs=epochs,
        imgsz=SIZE,
        batch=8,
        nbs=8,
        optimizer="AdamW",
        lr0=0.002,
        cos_lr=True,
        warmup_epochs=1,
        mosaic=0.0,
        amp=False,
        val=False,
        plots=False,
        workers=0,
        device="cpu",
        seed=0,
        project=str(work),
        name="run",
        verbose=False,
    )
    (work / "run" / "weights" / "last.pt").replace(folder / "shapes.pt")
    shutil.rmtree(work)


def predict(checkpoint: Path, confidence: float, images: list[Path]) -> None:
    """Print what ultralytics itself finds in each image: label, confidence, box."""
    from ultralytics import YOLO

    model = YOLO(checkpoint)
    found = []
    for path in images:
        (result,) = model.predict(Image.open(path), conf=confidence, verbose=False)
        found.append(
            [
                [result.names[int(box.cls)], float(box.conf), *box.xyxy[0].tolist()]
                for box in result.boxes
            ]
        )
    sys.stdout.write("\n" + json.dumps(found) + "\n")


if __name__ == "__main__":
    verb, *words = sys.argv[1:]
    if verb == "train":
        train(Path(words[0]))
    else:
        predict(Path(words[0]), float(words[1]), [Path(word) for word in words[2:]])
