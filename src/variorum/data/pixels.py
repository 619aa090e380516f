"""One image as bytes: decoded, its mode made grey or RGB, its sides resized."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from variorum.core import VariorumError
from variorum.data.folders import shown

FRAMES = "variorum frames"
"""Under which the information of an opened image tells how many frames its file has."""

if TYPE_CHECKING:
    from PIL import Image


def open_image(path: Path) -> "Image.Image":
    """Decode an image wholly. What cannot be decoded raises VariorumError that names the file."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as file:
            file.load()
            image = ImageOps.exif_transpose(file)
            image.info[FRAMES] = getattr(file, "n_frames", 1)  # of formats that know of several
            return image
    except decoding_errors() as error:
        raise VariorumError(
            shown(path),
            expected="an image that can be decoded",
            found=str(error) or type(error).__name__,
            do="Remove or replace the file.",
        ) from None


def repairs_of(image: "Image.Image") -> list[str]:
    """What :func:`fitted` does to an opened image beside resizing, where something is lost, as ends of sentences."""
    told = {
        "of several frames or pages are read as the first of them": image.info.get(FRAMES, 1) > 1,
        "with transparency are laid on white": _transparent(image),
        "of more than 8 bits a channel are stretched, each to its own range": _deep(image),
    }
    return [says for says, applies in told.items() if applies]


def _transparent(image: "Image.Image") -> bool:
    return "A" in image.getbands() or "transparency" in image.info


def _deep(image: "Image.Image") -> bool:
    return image.mode.startswith("I;16") or image.mode in ("I", "F")


def decoding_errors() -> tuple[type[Exception], ...]:
    """What decoders raise when they meet broken bytes."""
    from PIL import Image

    return (OSError, ValueError, SyntaxError, EOFError, ArithmeticError, LookupError, TypeError, MemoryError,
            Image.DecompressionBombError)  # fmt: skip


def fitted(image: "Image.Image", height: int, width: int, channels: int) -> np.ndarray:
    """Bytes (channels, height, width): the mode made grey or RGB on white, the sides resized."""
    from PIL import Image

    if _deep(image):
        image = from_array(np.asarray(image))
    if _transparent(image):
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
    if pixels.dtype.kind not in "buif":
        raise VariorumError("image", expected="an array of numbers", found=f"dtype {pixels.dtype}", do="Convert it.")
    if pixels.dtype != np.uint8:
        values = np.nan_to_num(pixels.astype(np.float64))
        low, high = (
            (0.0, 1.0)
            if pixels.dtype.kind == "f" and values.min() >= 0 and values.max() <= 1
            else (values.min(), values.max())
        )
        pixels = np.round((values - low) * (255 / max(high - low, 1e-12))).astype(np.uint8)
    return Image.fromarray(pixels)
