"""What the families that read images share: the sizes of image and patches."""

from typing import Any

from variorum.core import Spec, VariorumError
from variorum.core.spec import says_value
from variorum.layers.embed.patches import Patches
from variorum.runtime.huggingface.config import Config


def patches(config: Config, *, image: int, patch: int) -> dict[str, Any]:
    """The arguments of Patches; ``image`` and ``patch`` are the family's own sides."""
    height, width = _sides(config, "image_size", image)
    side, other = _sides(config, "patch_size", patch)
    if side != other:
        raise VariorumError(
            "config.json: 'patch_size'",
            expected="square patches",
            found=f"{side} x {other}",
            do="Patches of other shapes are not built.",
        )
    return {"channels": config.size("num_channels", 3), "height": height, "width": width, "patch": side}


def write_patches(spec: Spec[Patches]) -> dict[str, Any]:
    """The way back of :func:`patches`."""
    height, width = spec["height"], spec["width"]
    return {
        "image_size": height if height == width else [height, width],
        "patch_size": spec["patch"],
        "num_channels": spec["channels"],
    }


def _sides(config: Config, name: str, default: int) -> tuple[int, int]:
    """Height and width, told as one number or two."""
    value = config.optional(name)
    sides = [default] if value is None else value if isinstance(value, list) else [value]
    if len(sides) not in (1, 2) or any(type(side) is not int or side < 1 for side in sides):
        raise VariorumError(
            f"config.json: {name!r}",
            expected="a number of pixels, or two",
            found=says_value(value),
            do="Write it as in [224, 224].",
        )
    return sides[0], sides[-1]
