"""Pictures as people see them."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageOps


def as_seen(image: Image.Image, max_pixels: int) -> Image.Image:
    """The picture as people see it: upright, on white, and no larger than `max_pixels`."""
    factor = math.sqrt(image.width * image.height / max_pixels)
    if factor > 1:
        image.draft("RGB", (round(image.width / factor), round(image.height / factor)))  # a JPEG is made smaller
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16 bits
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    has_colours = image.mode not in ("1", "L")
    image = image.convert("RGBA" if image.has_transparency_data else "RGB" if has_colours else "L")
    factor = math.sqrt(image.width * image.height / max_pixels)
    if factor > 1:
        size = max(1, round(image.width / factor)), max(1, round(image.height / factor))
        image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")
