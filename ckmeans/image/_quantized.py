"""The result of `quantize`."""

from __future__ import annotations

import io
import math
import os
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, BinaryIO

from ckmeans.image._metadata import png_options
from ckmeans.image._png import write_encoded

if TYPE_CHECKING:
    from PIL import Image

    from ckmeans.image._types import Bytes

__all__ = ["Quantized"]


@dataclass(frozen=True, eq=False)
class Quantized:
    """Result of `quantize`: an indexed image, its palette and the quality of the approximation.

    Attributes
    ----------
    image : PIL.Image.Image
        The image in mode P. Its dictionary ``info`` holds what the original's file says beside its pixels,
        as far as a PNG has a place for it: ICC profile, resolution, gamma, EXIF data, texts.
    palette : ndarray of uint8, shape (k, 3) or (k, 4)
        The k <= K colours in use, by descending number of pixels (ties by value); RGBA if the
        original has a pixel that is not opaque, else RGB. Of a frame it is that of all frames.
    indices : ndarray of uint8, shape (h, w)
        Row of `palette` for each pixel: the nearest one in the colour space asked for, unless the
        image was dithered; for opaque pixels the nearest opaque one, for fully transparent pixels the
        transparent one.
    distortion : float
        J of the written palette: the mean over the pixels of the squared distance between a
        pixel's colour and its palette colour, summed over red, green and blue (grey counts as RGB),
        on the scale 0 to 255, whatever the colour space. With transparency it is of what is seen:
        the mean of that on black and on white.
    psnr : float
        Peak signal-to-noise ratio over the same channels in dB; infinity if nothing was lost.
    colors_before, colors_after : int
        Number of distinct colours of the original, fully transparent ones counted as one, and k.
    bytes_before : int
        Size of the file that was read; without a file, of the pixels at one byte per channel.
    bits_before, bits_after : int
        Bits without compression: pixels * 24 before (32 with alpha), and
        k * 24 (32) + pixels * ceil(log2 k) after.
    """

    image: Image.Image = field(repr=False)
    palette: Bytes = field(repr=False)
    indices: Bytes = field(repr=False)
    distortion: float
    psnr: float
    colors_before: int
    colors_after: int
    bytes_before: int
    bits_before: int
    bits_after: int

    @property
    def bit_depth(self) -> int:
        """Bits per pixel of the PNG: the smallest of 1, 2, 4 and 8 that can index the palette."""
        return next(bits for bits in (1, 2, 4, 8) if len(self.palette) <= 1 << bits)

    @property
    def bytes_after(self) -> int:
        """Size of the PNG that `save` writes (encoded on first use)."""
        return len(self._png)

    @cached_property
    def _png(self) -> bytes:
        encoded = io.BytesIO()
        self.image.save(encoded, "PNG", bits=self.bit_depth, **png_options(self.image.info))
        return encoded.getvalue()

    def report(self) -> dict[str, int | float | None]:
        """Return the figures as plain numbers that JSON can hold.

        Returns
        -------
        dict
            The numeric attributes and the image's width, height and channels; ``psnr`` is None if
            nothing was lost, since JSON has no infinity.
        """
        height, width = self.indices.shape
        return {
            "width": width,
            "height": height,
            "channels": self.palette.shape[1],
            "distortion": self.distortion,
            "psnr": self.psnr if math.isfinite(self.psnr) else None,
            "colors_before": self.colors_before,
            "colors_after": self.colors_after,
            "bytes_before": self.bytes_before,
            "bytes_after": self.bytes_after,
            "bits_before": self.bits_before,
            "bits_after": self.bits_after,
            "bit_depth": self.bit_depth,
        }

    def to_bytes(self) -> bytes:
        """Return the content of the PNG that `save` writes.

        Returns
        -------
        bytes
        """
        return self._png

    def save(self, path: str | os.PathLike[str] | BinaryIO) -> None:
        """Write the image as an indexed PNG; on failure an existing file stays as it was.

        Parameters
        ----------
        path : str, path-like or binary file
            Where to write; a name must end in .png.

        Raises
        ------
        ValueError
            If a name does not end in .png.
        OSError
            If `path` cannot be written.
        """
        write_encoded(self._png, path)
