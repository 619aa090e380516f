"""Pictures and sounds as data URIs, small enough to stand in a page."""

import base64
import io
import wave
from collections.abc import Callable

import numpy as np

RATE = 8000
"""Samples a second of a sound in a page, of 8 bits each."""
SECONDS = 2.0
"""That are heard of it, from its middle."""


def png(pixels: np.ndarray) -> str:
    """Bytes (channels, height, width), of one channel or three, as a PNG."""
    from PIL import Image

    image = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
    return _uri("image/png", lambda file: image.save(file, "png", optimize=True))


def wav(samples: np.ndarray, rate: int) -> str:
    """Samples (n,) as a WAV of at most two seconds, as loud as it may be."""
    keep = round(SECONDS * rate)
    start = max(0, (len(samples) - keep) // 2)
    samples = samples[start : start + keep]
    every = max(1, rate // RATE)
    # The mean of neighbours keeps the tones that the lower rate cannot hold from coming back as others.
    samples = samples[: len(samples) // every * every].reshape(-1, every).mean(axis=1)
    samples = samples / max(1e-9, float(np.abs(samples).max(initial=0.0)))
    heard = np.round(samples * 127 + 128).clip(0, 255).astype(np.uint8)

    def write(file: io.BytesIO) -> None:
        with wave.open(file, "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(1)
            out.setframerate(rate // every)
            out.writeframes(heard.tobytes())

    return _uri("audio/wav", write)


def _uri(kind: str, write: Callable[[io.BytesIO], None]) -> str:
    file = io.BytesIO()
    write(file)
    return f"data:{kind};base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
