"""Images that a client has sent, as pixels; how many they have is read in their headers before one is decoded."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from PIL import Image, ImageOps

from variorum.core import VariorumError
from variorum.data.pixels import decoding_errors, fitted
from variorum.runtime.serve.limits import Limits
from variorum.runtime.serve.refusal import Refusal
from variorum.runtime.serve.upload import File

PICTURES = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
"""Formats that are decoded by libraries alone; PIL hands others to programs."""


def pictures(files: Sequence[File], limits: Limits, size: tuple[int, int, int]) -> list[np.ndarray]:
    """Each image at the size (height, width, channels) of the model's input, as (height, width[, 3]) bytes.

    One that cannot be decoded raises VariorumError; too many pixels, in one or in all, are a :class:`Refusal`.
    """
    areas = [_area(file, limits) for file in files]
    if sum(areas) > limits.all_pixels:
        raise Refusal(413, "images_too_large", f"{len(files)} images have {sum(areas):,} pixels, at most "
                      f"{limits.all_pixels:,} are taken at a time. Make them smaller, or send fewer.")  # fmt: skip
    return [_decoded(file, size) for file in files]


def _area(file: File, limits: Limits) -> int:
    with _opened(file) as image:
        area = image.width * image.height
        if area > limits.pixels:
            raise Refusal(413, "image_too_large", f"{file.name[:80]}: {image.width} x {image.height} pixels, "
                          f"at most {limits.pixels:,} are taken. Make it smaller.")  # fmt: skip
        return area


def _decoded(file: File, size: tuple[int, int, int]) -> np.ndarray:
    height, width, channels = size
    with _opened(file) as image:
        image.load()
        pixels = fitted(ImageOps.exif_transpose(image), height, width, channels)
    return pixels[0] if channels == 1 else pixels.transpose(1, 2, 0)


@contextmanager
def _opened(file: File) -> Iterator[Image.Image]:
    """The image, of which the header alone has been read; what goes wrong with its bytes is a VariorumError."""
    try:
        with Image.open(io.BytesIO(file.content), formats=PICTURES) as image:
            yield image
    except decoding_errors():
        raise VariorumError(file.name[:80], expected=f"an image that can be decoded ({', '.join(PICTURES)})",
                            found=f"{len(file.content):,} bytes that are none",
                            do="Send an image.") from None  # fmt: skip
