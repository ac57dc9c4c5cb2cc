"""Pictures: cluster the colours of one and write it as an indexed PNG.

A picture is a set of few distinct colours, each with the number of its pixels: those are the points
and the weights that go to k-means.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from ckmeans import _validate, _write
from ckmeans.image import _palette, _pixels

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from ckmeans.image._pixels import Bytes, Integers, Picture

__all__ = [
    "Quantized",
    "before_after",
    "check_output",
    "quantize",
    "quantize_sizes",
    "read_pixels",
    "save_png",
]

MAX_COLORS = 256
_MOST = " (an indexed PNG holds no more colours)"


@dataclass(frozen=True, eq=False)
class Quantized:
    """A picture reduced to a palette, and what that cost.

    Attributes
    ----------
    image : PIL.Image.Image
        The picture in mode P, with the ICC profile of the original where it had one.
    palette : ndarray of uint8, shape (k, 3) or (k, 4)
        The k <= K colours in use, the most common first (ties by value); RGBA if the original has
        a pixel that is not opaque, else RGB.
    indices : ndarray of uint8, shape (h, w)
        Row of `palette` for each pixel: the nearest one in the space of colours that was asked for,
        unless the picture was dithered.
    distortion : float
        J of the written palette: the mean over the pixels of the squared distance between a
        pixel's colour and its palette colour, summed over the channels (3 or 4, as in `palette`;
        grey counts as RGB), in squared steps of 0 to 255, whatever the space.
    psnr : float
        Peak signal-to-noise ratio over the same channels in dB; infinity where nothing was lost.
    colors_before, colors_after : int
        Distinct colours of the original, and k.
    bytes_before : int
        Size of the file that was read; without a file, of the pixels at one byte a channel.
    bits_before, bits_after : int
        Bits by plain arithmetic, nothing compressed: pixels * 24 before (32 with alpha), and
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
        """Bits a pixel of the PNG: 1, 2, 4 or 8, the fewest that hold the palette."""
        return next(bits for bits in (1, 2, 4, 8) if len(self.palette) <= 1 << bits)

    @property
    def bytes_after(self) -> int:
        """Size of the PNG that `save` writes (encoded when first asked for)."""
        return len(self._png)

    @cached_property
    def _png(self) -> bytes:
        encoded = io.BytesIO()
        self.image.save(encoded, "PNG", bits=self.bit_depth)
        return encoded.getvalue()

    def report(self) -> dict[str, int | float | None]:
        """Return the figures as plain numbers, fit for JSON.

        Returns
        -------
        dict
            The figures among the attributes and the picture's width, height and channels;
            ``psnr`` is None where nothing was lost, since JSON has no infinity.
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

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the picture as an indexed PNG; a file that was there stays whole on failure.

        Parameters
        ----------
        path : str or path-like
            Where to write; must end in .png.

        Raises
        ------
        ValueError
            If `path` does not end in .png.
        OSError
            If `path` cannot be written.
        """
        with _write.replacing(check_output(path)) as file:
            file.write(self._png)


def quantize(
    image: Picture,
    K: int = 16,
    *,
    space: Literal["rgb", "oklab"] = "rgb",
    dither: bool = False,
    seed: int | np.random.Generator | None = None,
    n_init: int = 1,
    max_iter: int = 300,
    tol: float = 1e-4,
    n_threads: int | None = None,
    progress: bool = False,
) -> Quantized:
    """Reduce a picture to at most K colours, chosen by k-means over its pixels.

    Parameters
    ----------
    image : path, PIL.Image.Image, or ndarray of uint8 of shape (h, w), (h, w, 3) or (h, w, 4)
        Anything Pillow reads with 8 bits a channel, turned upright as its EXIF data says.
        Transparency is kept: alpha is a fourth feature, unless every pixel is opaque. Pictures
        with 16-bit, 32-bit or floating-point grey values, animations and files of several pages
        are refused (16-bit colour arrives here as the 8 bits that Pillow makes of it).
    K : int
        Number of colours, 1 to 256. A picture with no more than K colours comes back unchanged.
    space : {"rgb", "oklab"}
        Where colours are compared: as the bytes they are, which gives the best PSNR, or in OKLab [1]_,
        where equal distances look about equally far apart.
    dither : bool
        Spread the error of each pixel over its neighbours by the method of Floyd and Steinberg [2]_:
        areas keep their mean colour and smooth slopes show no bands, for noise and a lower PSNR.
        The error is spread in RGB, whatever `space` is. Not for pictures with transparency.
    seed, n_init, max_iter, tol, n_threads, progress
        As in `ckmeans.kmeans`, whose points are the distinct colours, weighted by their pixels.

    Returns
    -------
    Quantized
        The picture, its palette and the report.

    Raises
    ------
    ImportError
        If Pillow is not installed.
    OSError
        If the file is missing or may not be read.
    TypeError, ValueError
        If an argument is of the wrong kind or out of range, or the picture cannot be used.

    References
    ----------
    .. [1] Ottosson, B., "A perceptual color space for image processing", 2020.
    .. [2] Floyd, R. W. and Steinberg, L., "An adaptive algorithm for spatial greyscale", Proc. SID 17,
       1976.
    """
    K = _validate.integer("K", K, 1, MAX_COLORS, _MOST)
    # Checked here too, since not every picture comes to `kmeans`, and no picture is read in vain.
    options: dict[str, Any] = {
        "n_init": _validate.integer("n_init", n_init, 1),
        "max_iter": _validate.integer("max_iter", max_iter, 1),
        "tol": _validate.tolerance(tol),
        "seed": _validate.seed(seed),
        "n_threads": None if n_threads is None else _validate.integer("n_threads", n_threads, 1),
        "progress": progress,
    }
    chosen = _palette.SPACES[_validate.choice("space", space, tuple(_palette.SPACES))]
    picture = image.counted if isinstance(image, _Shared) else _count(image)
    if dither and picture.channels == 4:
        raise ValueError(
            f"{picture.source.name} has transparent pixels, which dithering cannot take: put it on a "
            "background first, or leave dithering out"
        )
    palette = _palette.choose(picture.colors, picture.counts, K, chosen, options)
    if dither and len(palette) < len(picture.colors):
        return _result(picture, *_dithered(picture, palette))
    return _result(picture, *_plain(picture, palette, chosen, options["n_threads"]))


def quantize_sizes(image: Picture, Ks: Iterable[int], **options: Any) -> list[Quantized]:
    """Reduce a picture to several numbers of colours; it is read and its colours counted once.

    Parameters
    ----------
    image : path, PIL.Image.Image, or ndarray of uint8
        As in `quantize`.
    Ks : iterable of int
        Numbers of colours, 1 to 256 each.
    **options
        Keyword arguments of `quantize`.

    Returns
    -------
    list of Quantized
        One for each of `Ks`, in their order.

    Raises
    ------
    ImportError, OSError, TypeError, ValueError
        As in `quantize`.
    """
    sizes = [_validate.integer("K", K, 1, MAX_COLORS, _MOST) for K in Ks]
    shared: Any = _Shared(image)
    return [quantize(shared, K, **options) for K in sizes]


def read_pixels(image: Picture) -> Bytes:
    """Return a picture's pixels, upright, as `quantize` sees them.

    Parameters
    ----------
    image : path, PIL.Image.Image, or ndarray of uint8
        As in `quantize`.

    Returns
    -------
    ndarray of uint8, shape (h, w, 3) or (h, w, 4)
        RGB, or RGBA where a pixel is not opaque; possibly a read-only view.

    Raises
    ------
    ImportError, OSError, TypeError, ValueError
        As in `quantize`.
    """
    return _pixels.read(image).pixels


def before_after(image: Picture, result: Quantized) -> Image.Image:
    """Draw a picture beside its quantised self, with the palette as a strip below.

    Parameters
    ----------
    image : path, PIL.Image.Image, or ndarray of uint8
        The original.
    result : Quantized
        What `quantize` made of it.

    Returns
    -------
    PIL.Image.Image
        In mode RGB, on white; each palette colour as wide as every other, the most common first.
    """
    from PIL import Image, ImageDraw

    margin, strip = 12, 40
    before = Image.fromarray(np.ascontiguousarray(read_pixels(image))).convert("RGBA")
    width, height = before.size
    sheet = Image.new("RGB", (2 * width + 3 * margin, height + strip + 3 * margin), "white")
    for place, picture in ((0, before), (1, result.image.convert("RGBA"))):
        sheet.paste(picture, (margin + place * (width + margin), margin), mask=picture)
    draw = ImageDraw.Draw(sheet, "RGBA")
    edges = np.linspace(margin, sheet.width - margin, len(result.palette) + 1).round().astype(int)
    top = height + 2 * margin
    for left, right, color in zip(edges[:-1], edges[1:], result.palette, strict=True):
        corners = (int(left), top, max(int(left), int(right) - 1), top + strip - 1)
        draw.rectangle(corners, fill=tuple(color.tolist()))
    return sheet


def check_output(path: str | os.PathLike[str]) -> Path:
    """Find out whether a PNG can be written, before any work is done for it.

    Parameters
    ----------
    path : str or path-like
        Where the picture is to go.

    Returns
    -------
    Path
        The same place with symbolic links followed.

    Raises
    ------
    ValueError
        If `path` does not end in .png.
    OSError
        If `path` is a folder or no regular file, or if its folder is missing or not writable.
    """
    if Path(path).suffix.lower() != ".png" and not os.path.isdir(path):
        raise ValueError(
            f"cannot write {os.fspath(path)}: the output is an indexed PNG, so its name must end in .png"
        )
    return _write.check_output(path)


def save_png(image: Image.Image, path: str | os.PathLike[str]) -> None:
    """Write any Pillow picture as a PNG; a file that was there stays whole on failure.

    Parameters
    ----------
    image : PIL.Image.Image
        The picture.
    path : str or path-like
        Where to write; must end in .png.

    Raises
    ------
    ValueError, OSError
        As in `check_output`.
    """
    with _write.replacing(check_output(path)) as file:
        image.save(file, "PNG")


# ---- from pixels to indices and back -------------------------------------------------------------


class _Counted(NamedTuple):
    """A picture, its distinct colours and how many pixels have each."""

    source: _pixels.Source
    codes: Integers
    colors: Bytes
    counts: Integers

    @property
    def channels(self) -> int:
        return int(self.colors.shape[1])


class _Shared:
    """A picture for several calls: the first that has checked what else it was given reads it."""

    def __init__(self, image: Picture) -> None:
        self.image = image

    @cached_property
    def counted(self) -> _Counted:
        return _count(self.image)


def _count(image: Picture) -> _Counted:
    source = _pixels.read(image)
    codes, counts = _pixels.count_colors(source.pixels)
    return _Counted(source, codes, _pixels.decode(codes, source.pixels.shape[2]), counts)


def _plain(
    picture: _Counted, palette: Bytes, space: _palette.Space, n_threads: int | None
) -> tuple[Bytes, Bytes, float]:
    """The palette as it is used, the nearest of its rows for each pixel, and the sum of the squared error."""
    labels = _palette.nearest(picture.colors, palette, space, n_threads)
    error = picture.counts @ _palette.squared_error(picture.colors, palette, labels)
    shares = np.bincount(labels, picture.counts, len(palette))
    order = _palette.by_use(palette, shares)
    ranks = _ranks(order)[labels]
    return palette[order], _pixels.paint(picture.source.pixels, picture.codes, ranks), float(error)


def _dithered(picture: _Counted, palette: Bytes) -> tuple[Bytes, Bytes, float]:
    """The same with the error of each pixel spread, which Pillow does well and fast."""
    from PIL import Image

    pixels = picture.source.pixels
    holder = Image.new("P", (1, 1))
    holder.putpalette(palette.tobytes())
    mapped = Image.fromarray(np.ascontiguousarray(pixels)).quantize(
        palette=holder, dither=Image.Dither.FLOYDSTEINBERG
    )
    order = _palette.by_use(palette, np.array(mapped.histogram()[: len(palette)]))
    palette, indices = palette[order], _ranks(order)[np.asarray(mapped)]
    error = 0.0
    for rows in _pixels.strips(pixels):
        flat, labels = pixels[rows].reshape(-1, picture.channels), indices[rows].ravel()
        error += _palette.squared_error(flat, palette, labels).sum()
    return palette, indices, error


def _ranks(order: NDArray[np.int64]) -> Bytes:
    """Where each row of the palette comes in this order."""
    ranks = np.zeros(MAX_COLORS, dtype=np.uint8)
    ranks[order] = np.arange(len(order), dtype=np.uint8)
    return ranks


def _result(picture: _Counted, palette: Bytes, indices: Bytes, error: float) -> Quantized:
    """Draw up the report."""
    source = picture.source
    n_pixels, channels = indices.size, picture.channels
    distortion = error / n_pixels
    color_bits = 8 * channels
    return Quantized(
        image=_indexed_image(indices, palette, source.icc_profile),
        palette=palette,
        indices=indices,
        distortion=distortion,
        psnr=10 * math.log10(255**2 * channels / distortion) if distortion else math.inf,
        colors_before=len(picture.colors),
        colors_after=len(palette),
        bytes_before=source.n_bytes,
        bits_before=n_pixels * color_bits,
        bits_after=len(palette) * color_bits + n_pixels * (len(palette) - 1).bit_length(),
    )


def _indexed_image(indices: Bytes, palette: Bytes, icc_profile: bytes | None) -> Image.Image:
    from PIL import Image

    image = Image.fromarray(indices)
    image.putpalette(palette.tobytes(), "RGBA" if palette.shape[1] == 4 else "RGB")
    if icc_profile:
        image.info["icc_profile"] = icc_profile
    return image
