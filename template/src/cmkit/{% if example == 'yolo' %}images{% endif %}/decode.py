"""Decodes image files within limits."""

import io
import re
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

MOST_PIXELS = 50_000_000
# Of all images in memory at a time. Each pixel takes up to ten bytes, with the copies of the model.
MOST_PIXELS_TOGETHER = 100_000_000
# The colour behind transparent pixels, and of a measurement without a value.
BACKGROUND = 255

# Taken before ultralytics replaces it: its own installs a package when a file is no image.
open_image = Image.open

# No other formats: Pillow would pass an EPS file to Ghostscript, which runs its program.
Image.init()
FORMATS = tuple(
    name
    for name in ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
    if name in Image.OPEN
)
# How other files begin that people send as images.
OTHERS = {
    "HEIC, as an iPhone saves it": rb".{4}ftyp(hei|hev|mif1|msf1)",
    "AVIF": rb".{4}ftypavi[fs]",
    "a camera's raw file": rb".{4}ftypcrx |FUJIFILMCCD-RAW",
    "a video": rb".{4}(ftyp|moov)|\x1aE\xdf\xa3|RIFF.{4}AVI ",
    "JPEG XL": rb"\xff\x0a|\0\0\0\x0cJXL ",
    "EPS": rb"%!PS|\xc5\xd0\xd3\xc6",
    "PDF": rb"%PDF",
    "SVG": rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?(<!DOCTYPE svg[^>]*>\s*)?<svg",
    "a web page": rb"(?i)\s*<(!doctype )?html",
    "DICOM": rb".{128}DICM",
    "a Photoshop file": rb"8BPS",
    "an icon": rb"\0\0[\x01\x02]\0",
    "a Windows metafile": rb"\xd7\xcd\xc6\x9a|\x01\0\0\0.{36} EMF",
    "OpenEXR": rb"v/1\x01",
    "Radiance HDR": rb"#\?RAD",
    "FITS": rb"SIMPLE  =",
    "a ZIP archive": rb"PK\x03\x04",
}

Given = TypeVar("Given")
Seen = TypeVar("Seen")


class ImageError(Exception):
    """Why there is no image.

    `code` is for programs: `bad_reference`, `not_found`, `not_permitted`, `unavailable`, `too_large`
    or `not_an_image`.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def decode(content: bytes) -> Image.Image:
    """The image in an encoded file, upright and in RGB; raises ImageError.

    Of several pages or frames, it is the first. Transparent pixels are white. In an image with more than
    8 bits of grey, the smallest value is black and the largest white.
    """
    return _decoded(_opened(content))


def look_at(
    files: Iterable[bytes | ImageError],
    look: Callable[[list[Image.Image | ImageError]], list[Seen]],
) -> Iterator[Seen]:
    """The results of `look` for each file, in their order.

    `look` gets the images, or the error of one, as many at a time as fit in memory.
    """
    group, pixels = list[Image.Image | ImageError](), 0
    for file in files:
        opened = file if isinstance(file, ImageError) else _or_why(_opened, file)
        size = 0 if isinstance(opened, ImageError) else opened.width * opened.height
        if pixels + size > MOST_PIXELS_TOGETHER:
            yield from look(group)
            group, pixels = [], 0
        group.append(opened if isinstance(opened, ImageError) else _or_why(_decoded, opened))
        pixels += size
    if group:
        yield from look(group)


def _or_why(step: Callable[[Given], Image.Image], given: Given) -> Image.Image | ImageError:
    try:
        return step(given)
    except ImageError as error:
        return error


def _opened(content: bytes) -> Image.Image:
    """The image, with its size known and nothing decoded yet."""
    if not content:
        raise ImageError("not_an_image", "the file is empty")
    try:
        image = open_image(io.BytesIO(content), formats=FORMATS)
    except Image.DecompressionBombError:
        raise ImageError("too_large", "the image has too many pixels to be decoded") from None
    except UnidentifiedImageError:
        raise ImageError("not_an_image", _what_it_is(content[:1000])) from None
    except Exception as error:  # a decoder raises what it likes on a damaged file
        raise ImageError("not_an_image", f"the image is damaged: {error}") from None
    if image.width * image.height > MOST_PIXELS:
        raise ImageError(
            "too_large",
            f"the image has {image.width} x {image.height} pixels, "
            f"more than {MOST_PIXELS // 1_000_000} million",
        )
    return image


def _what_it_is(head: bytes) -> str:
    for name, begins in OTHERS.items():
        if re.match(begins, head, re.DOTALL):
            return f"the file is {name}; save it as one of {', '.join(FORMATS)}"
    return "the file is in no image format"


def _decoded(image: Image.Image) -> Image.Image:
    try:
        ImageOps.exif_transpose(image, in_place=True)
        image.load()
    except Exception as error:
        raise ImageError("not_an_image", f"the image is damaged: {error}") from None
    if image.mode in ("F", "I") or image.mode.startswith("I;16"):
        return _from_values(image)
    try:
        if not image.has_transparency_data:
            return image if image.mode == "RGB" else image.convert("RGB")
        layer = image if image.mode == "RGBA" else image.convert("RGBA")
    except ValueError:
        raise ImageError(
            "not_an_image", f"the image has {image.mode} colours; save it in RGB"
        ) from None
    ground = Image.new("RGB", layer.size, (BACKGROUND,) * 3)
    ground.paste(layer, mask=layer)
    return ground


def _from_values(image: Image.Image) -> Image.Image:
    """An image of measurements (thermal, depth, X-ray) in 256 steps of grey, in its own range."""
    values = np.asarray(image)
    hidden = image.info.get("transparency")
    step = max(1, 1_000_000 // image.width)

    def rows(top: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        """Some rows, with NaN where there is no value: all at once would take too much memory."""
        some = values[top : top + step].astype(np.float64)
        some[~np.isfinite(some) | (some == hidden)] = np.nan
        return some

    tops = range(0, image.height, step)
    low = min(float(np.fmin.reduce(rows(top), axis=None, initial=np.inf)) for top in tops)
    high = max(float(np.fmax.reduce(rows(top), axis=None, initial=-np.inf)) for top in tops)
    grey = np.empty(values.shape, np.uint8)
    for top in tops:
        shade = (rows(top) - low) * (255 / (high - low) if high > low else 0)
        grey[top : top + step] = np.nan_to_num(np.rint(shade), nan=BACKGROUND)
    return Image.fromarray(grey).convert("RGB")
