"""Pixels of 8 bits a channel from arrays as other libraries hand them over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ckmeans.image._types import Bytes

__all__ = ["with_channels", "with_color", "without_hidden", "without_more_bits"]

_ROUNDING = 1e-6  # by how much floats may leave 0 to 1, as they do after a change of size


def without_more_bits(array: NDArray[Any]) -> Bytes:
    """Return an array of bytes, or of floats from 0 to 1, as bytes."""
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind != "f":
        way_out = {
            "b": "image.astype('uint8') * 255",
            "u": "(image >> 8).astype('uint8') if the values fill 16 bits",
        }.get(array.dtype.kind, "image.astype('uint8')")
        raise TypeError(
            f"image must be an array of uint8 (0 to 255) or of floats from 0 to 1, found {array.dtype}: "
            f"for instance {way_out}"
        )
    if array.size and not (array.min() >= -_ROUNDING and array.max() <= 1 + _ROUNDING):
        raise ValueError(
            "image must be an array of uint8 (0 to 255) or of floats from 0 to 1, "
            f"found {array.dtype} from {array.min():g} to {array.max():g}"
        )
    scaled: Bytes = np.rint(array * array.dtype.type(255)).clip(0, 255).astype(np.uint8)
    return scaled


def with_color(pixels: Bytes) -> Bytes:
    """Return pixels of shape (h, w), (h, w, 1), 2 (grey and alpha), 3 or 4 with 3 or 4 channels."""
    shape = pixels.shape
    if not (pixels.ndim == 2 or (pixels.ndim == 3 and shape[2] in (1, 2, 3, 4))):
        raise ValueError(
            "image must have shape (h, w) or (h, w, channels) with 1 (grey), 2 (grey and alpha), 3 or 4 "
            f"channels, found shape {shape}{_shape_hint(shape)}"
        )
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.shape[2] == 2:
        return pixels[..., [0, 0, 0, 1]]
    return np.broadcast_to(pixels, (*shape[:2], 3)) if pixels.shape[2] == 1 else pixels


def _shape_hint(shape: tuple[int, ...]) -> str:
    if len(shape) == 3 and shape[0] in (1, 2, 3, 4):
        return ": numpy.moveaxis(image, 0, -1) puts the channels last"
    return ": pass one image of these at a time, such as images[0]" if len(shape) == 4 else ""


def without_hidden(pixels: Bytes) -> Bytes:
    """Return RGBA pixels without alpha if all are opaque, and without the colours that nobody sees."""
    if pixels.shape[2] == 3 or pixels[..., 3].min() == 255:
        return pixels[..., :3]
    hidden = (pixels[..., 3] == 0) & pixels[..., :3].any(axis=2)
    if hidden.any():
        pixels = pixels.copy()
        pixels[hidden] = 0
    return pixels


def with_channels(pixels: Bytes, channels: int) -> Bytes:
    """Return RGB or RGBA pixels with this number of channels: opaque, if alpha is new."""
    if pixels.shape[2] == channels:
        return pixels
    return np.concatenate([pixels, np.full((*pixels.shape[:2], 1), 255, np.uint8)], axis=2)
