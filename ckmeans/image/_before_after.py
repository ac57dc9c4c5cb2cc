"""Draw an image next to its quantized version."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ckmeans.image._read import read

if TYPE_CHECKING:
    from PIL import Image

    from ckmeans.image._quantized import Quantized
    from ckmeans.image._types import ImageInput

__all__ = ["before_after"]


def before_after(image: ImageInput, result: Quantized) -> Image.Image:
    """Draw an image next to its quantized version, with the palette as a strip below.

    Parameters
    ----------
    image : path, bytes, binary file, PIL.Image.Image, or ndarray
        The original, as in `quantize`.
    result : Quantized
        What `quantize` returned for it.

    Returns
    -------
    PIL.Image.Image
        In mode RGB, on white; the palette colours have equal widths, the most common first.
    """
    from PIL import Image, ImageDraw

    margin, strip = 12, 40
    before = Image.fromarray(np.ascontiguousarray(read(image).pixels)).convert("RGBA")
    width, height = before.size
    sheet = Image.new("RGB", (2 * width + 3 * margin, height + strip + 3 * margin), "white")
    for column, shown in enumerate((before, result.image.convert("RGBA"))):
        sheet.paste(shown, (margin + column * (width + margin), margin), mask=shown)
    draw = ImageDraw.Draw(sheet, "RGBA")
    edges = np.linspace(margin, sheet.width - margin, len(result.palette) + 1).round().astype(int)
    top = height + 2 * margin
    for left, right, color in zip(edges[:-1], edges[1:], result.palette, strict=True):
        corners = (int(left), top, max(int(left), int(right) - 1), top + strip - 1)
        draw.rectangle(corners, fill=tuple(color.tolist()))
    return sheet
