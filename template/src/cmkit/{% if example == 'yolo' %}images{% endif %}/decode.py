"""Decodes image files within limits."""

import io

from PIL import Image, ImageOps, UnidentifiedImageError

MOST_PIXELS = 50_000_000

# Kept from before ultralytics replaces it: its own installs a package when a file is no image.
open_image = Image.open


class ImageError(Exception):
    """Why there is no image to look at.

    `code` is for programs: `bad_reference`, `not_found`, `not_permitted`, `unavailable`, `too_large`
    or `not_an_image`.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def decode(content: bytes) -> Image.Image:
    """The image in an encoded file, upright and in RGB; raises ImageError."""
    try:
        image = open_image(io.BytesIO(content))
        if image.width * image.height > MOST_PIXELS:
            raise ImageError(
                "too_large",
                f"the image has {image.width} x {image.height} pixels, "
                f"more than {MOST_PIXELS // 1_000_000} million",
            )
        ImageOps.exif_transpose(image, in_place=True)
        return image.convert("RGB")
    except Image.DecompressionBombError:
        raise ImageError("too_large", "the image has too many pixels to be decoded") from None
    except UnidentifiedImageError:
        raise ImageError("not_an_image", "the file is in no image format") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise ImageError("not_an_image", f"the image is damaged: {error}") from None
