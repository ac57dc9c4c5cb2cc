"""Error diffusion with a given palette, after Floyd and Steinberg."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ckmeans.image._spaces import on_grounds

if TYPE_CHECKING:
    from ckmeans.image._types import Bytes

__all__ = ["dither"]

_SHARES = ((0, 1, 7 / 16), (1, -1, 3 / 16), (1, 0, 5 / 16), (1, 1, 1 / 16))  # down, right, share


def dither(pixels: Bytes, palette: Bytes) -> Bytes:
    """Return the palette row (h, w) of each pixel.

    With alpha, the error of the colour on grey is diffused and that of alpha is not. Transparent pixels
    take and pass on nothing; they and the opaque ones keep their alpha, if the palette has it.
    """
    return _with_alpha(pixels, palette) if pixels.shape[2] == 4 else _by_pillow(pixels, palette)


def _by_pillow(pixels: Bytes, palette: Bytes) -> Bytes:
    from PIL import Image

    holder = Image.new("P", (1, 1))
    holder.putpalette(palette.tobytes())
    image = Image.fromarray(np.ascontiguousarray(pixels))
    return np.asarray(image.quantize(palette=holder, dither=Image.Dither.FLOYDSTEINBERG))


def _with_alpha(pixels: Bytes, palette: Bytes) -> Bytes:
    """Pixels on a slanted line depend only on lines before it, so that a line is done at once."""
    height, width = pixels.shape[:2]
    alpha = pixels[..., 3]
    wanted = on_grounds(pixels.reshape(-1, 4)).reshape(height, width, 4)
    entries = on_grounds(palette)
    scores_at_0 = _allowed(palette)
    scores_at_0 += (entries**2).sum(axis=1)
    kind = np.where(alpha == 0, 0, np.where(alpha == 255, 2, 1))
    lightest = (255 + alpha.astype(np.float64)) / 2  # of the colour on grey
    errors = np.zeros((height + 1, width + 2, 3))  # with a margin left, right and below
    rows = np.empty((height, width), np.uint8)
    for line in range(width + 2 * (height - 1)):
        y = np.arange(max(0, (line - width + 2) // 2), min(height - 1, line // 2) + 1)
        x = line - 2 * y
        points, top = wanted[y, x], lightest[y, x, None]
        points[:, :3] = (points[:, :3] + errors[y, x + 1]).clip(255 - top, top)
        row = (scores_at_0[kind[y, x]] - 2 * (points @ entries.T)).argmin(axis=1)
        rows[y, x] = row
        error = (points - entries[row])[:, :3] * (alpha[y, x, None] > 0)
        for down, right, share in _SHARES:
            errors[y + down, x + 1 + right] += share * error
    return rows


def _allowed(palette: Bytes) -> np.ndarray:
    """Return 0 for the entries (k,) that transparent, translucent and opaque pixels may take, else
    infinity."""
    allowed = np.zeros((3, len(palette)))
    for kind, alpha in ((0, 0), (2, 255)):
        if (palette[:, 3] == alpha).any():
            allowed[kind, palette[:, 3] != alpha] = np.inf
    return allowed
