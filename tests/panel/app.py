"""A module with a function for each thing that the panel shows; it runs by itself, under `cm serve`."""

import logging
import math
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime

from compute_modules.annotations import function
from compute_modules.context import QueryContext
from compute_modules.function_registry.types import Long
from compute_modules.startup import ConcurrencyType, start_compute_module

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
log = logging.getLogger("app")
HOSTILE = "<img src=x onerror=\"document.title='owned'\"> \x1b[31mred\x1b]0;owned\x07 \u202eabc"


@dataclass
class Line:
    """A part of an order."""

    sku: str
    amount: int
    price: float


@dataclass
class Order:
    """One field of each kind."""

    customer: str
    lines: list[Line]
    tags: list[str]
    express: bool
    due: date
    at: datetime
    labels: dict[str, str]
    number: Long
    note: str | None


@dataclass
class Row:
    """A line of a bill."""

    sku: str
    total: float


@function
def price(context: QueryContext, event: Order) -> list[Row]:
    log.info("pricing for %s", event.customer)
    if event.customer == "nobody":
        raise ValueError("there is no customer nobody")
    if event.customer == "deadly":
        os._exit(3)
    return [Row(line.sku, line.amount * line.price) for line in event.lines]


@dataclass
class Texts:
    """What is embedded."""

    texts: list[str]


@dataclass
class Embedding:
    """A vector."""

    vector: list[float]


@function
def embed(context: QueryContext, event: Texts) -> list[Embedding]:
    return [
        Embedding([math.sin(place * number / 20) / 14 for place in range(384)])
        for number, _ in enumerate(event.texts, 1)
    ]


@dataclass
class ImageReference:
    """As the YOLO example has it."""

    kind: str
    parent: str
    item: str


@dataclass
class Images:
    """What is looked at."""

    images: list[ImageReference]


@dataclass
class Detection:
    """A box."""

    label: str
    confidence: float
    left: float
    top: float
    right: float
    bottom: float


@dataclass
class ImageResult:
    """What was found in an image."""

    detections: list[Detection]
    error: str


@function
def detect(context: QueryContext, event: Images) -> list[ImageResult]:
    return [
        ImageResult(
            [Detection("disc", 0.87, 20, 10, 60, 50), Detection("bar", 0.5, 70, 40, 110, 70)], ""
        )
        for _ in event.images
    ]


@dataclass
class Seconds:
    """How long it takes."""

    seconds: float


@function
def wait(context: QueryContext, event: Seconds) -> str:
    time.sleep(event.seconds)
    return "done"


@dataclass
class Count:
    """How many items, and how many seconds lie between them."""

    items: int
    seconds: float


@function(streaming=True)
def count(context: QueryContext, event: Count) -> Iterable[str]:
    for number in range(event.items):
        yield f"item {number}; "
        time.sleep(event.seconds)


@dataclass
class Nothing:
    """What does not matter."""

    text: str


def hostile(context: QueryContext, event: Nothing) -> list[Row]:
    print(HOSTILE)
    log.error("%s", HOSTILE)
    if event.text == "raise":
        raise ValueError(HOSTILE)
    return [Row(HOSTILE, 1.0)]


hostile.__name__ = "<b>hostile</b>"
function(hostile)

if __name__ == "__main__":
    start_compute_module(ConcurrencyType.THREAD_POOL)
