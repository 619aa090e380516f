"""One image as bytes: decoded, its mode made grey or RGB, its sides resized."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from variorum.core import VariorumError

if TYPE_CHECKING:
    from PIL import Image


def open_image(path: Path) -> "Image.Image":
    """Decode an image wholly. What cannot be decoded raises VariorumError that names the file."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            image.load()
            return ImageOps.exif_transpose(image)
    except decoding_errors() as error:
        raise VariorumError(
            str(path),
            expected="an image that can be decoded",
            found=str(error) or type(error).__name__,
            do="Remove or replace the file.",
        ) from None


def decoding_errors() -> tuple[type[Exception], ...]:
    """What decoders raise when they meet broken bytes."""
    from PIL import Image

    return (OSError, ValueError, SyntaxError, EOFError, ArithmeticError, LookupError, TypeError, MemoryError,
            Image.DecompressionBombError)  # fmt: skip


def fitted(image: "Image.Image", height: int, width: int, channels: int) -> np.ndarray:
    """Bytes (channels, height, width): the mode made grey or RGB on white, the sides resized."""
    from PIL import Image

    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        image = from_array(np.asarray(image))
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("L" if channels == 1 else "RGB")
    if image.size != (width, height):
        image = image.resize(
            (width, height),
            Image.Resampling.BOX if min(image.size) > 8 * max(height, width) else Image.Resampling.BILINEAR,
        )
    pixels = np.asarray(image, np.uint8)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def from_array(pixels: np.ndarray) -> "Image.Image":
    """Bytes; or floats and wide integers, which are stretched to 0..255 unless they are floats in 0..1."""
    from PIL import Image

    if pixels.ndim == 3 and pixels.shape[0] in (1, 3) and pixels.shape[2] not in (1, 3):
        pixels = pixels.transpose(1, 2, 0)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3) or not pixels.size:
        raise VariorumError(
            "image",
            expected="an array (height, width) or (height, width, 3)",
            found=f"shape {pixels.shape}",
            do="Give one image an array.",
        )
    if pixels.dtype != np.uint8:
        values = np.nan_to_num(pixels.astype(np.float64))
        low, high = (
            (0.0, 1.0)
            if pixels.dtype.kind == "f" and values.min() >= 0 and values.max() <= 1
            else (values.min(), values.max())
        )
        pixels = np.round((values - low) * (255 / max(high - low, 1e-12))).astype(np.uint8)
    return Image.fromarray(pixels)
