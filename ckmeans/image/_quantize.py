"""Reduce the colours of an image.

An image is a set of distinct colours, each with its number of pixels: these are the points and the
weights that k-means clusters.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from ckmeans import _validate
from ckmeans.image import _colors, _palette
from ckmeans.image._quantized import Quantized
from ckmeans.image._read import Source, read
from ckmeans.image._spaces import SPACES, ColorSpace, on_grounds
from ckmeans.image._with_alpha import squared_error

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from ckmeans.image._types import Bytes, ImageInput, Integers

__all__ = ["quantize", "quantize_sizes"]

MAX_COLORS = 256
_MAX_REASON = " (an indexed PNG holds no more colours)"


def quantize(
    image: ImageInput,
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
    """Reduce an image to at most K colours, chosen by k-means over its pixels.

    Parameters
    ----------
    image : path, PIL.Image.Image, or ndarray of uint8 of shape (h, w), (h, w, 3) or (h, w, 4)
        Any image that Pillow reads with 8 bits per channel, rotated upright according to its EXIF
        data. Transparency is kept: alpha is a fourth feature, unless every pixel is opaque. Images
        with 16-bit, 32-bit or floating-point grey values, animations and files of several pages
        are rejected (Pillow reduces 16-bit colour to 8 bits).
    K : int
        Number of colours, 1 to 256. An image with at most K colours is returned unchanged.
    space : {"rgb", "oklab"}
        The colour space in which distances are measured: RGB bytes, which gives the best PSNR, or
        OKLab [1]_, whose distances match perceived differences.
    dither : bool
        Diffuse the error of each pixel to its neighbours by the method of Floyd and Steinberg [2]_:
        areas keep their mean colour and gradients show no bands, at the cost of noise and a lower
        PSNR. The error is diffused in RGB, whatever `space` is. Not for images with transparency.
    seed, n_init, max_iter, tol, n_threads, progress
        As in `ckmeans.kmeans`, whose points are the distinct colours, weighted by their number of
        pixels.

    Returns
    -------
    Quantized
        The indexed image, its palette and the report.

    Raises
    ------
    ImportError
        If Pillow is not installed.
    OSError
        If the file is missing or cannot be read.
    TypeError, ValueError
        If an argument is invalid, or the image cannot be quantized.

    References
    ----------
    .. [1] Ottosson, B., "A perceptual color space for image processing", 2020.
    .. [2] Floyd, R. W. and Steinberg, L., "An adaptive algorithm for spatial greyscale", Proc. SID 17,
       1976.
    """
    K = _validate.integer("K", K, 1, MAX_COLORS, _MAX_REASON)
    # `kmeans` checks these too, but only after the image is read, and not for an image of few colours.
    options: dict[str, Any] = {
        "n_init": _validate.integer("n_init", n_init, 1),
        "max_iter": _validate.integer("max_iter", max_iter, 1),
        "tol": _validate.tolerance(tol),
        "seed": _validate.seed(seed),
        "n_threads": None if n_threads is None else _validate.integer("n_threads", n_threads, 1),
        "progress": progress,
    }
    space_name = _validate.choice("space", space, tuple(dict.fromkeys(name for name, _ in SPACES)))
    counted = image.counted if isinstance(image, _SharedImage) else _count(image)
    if dither and counted.channels == 4:
        raise ValueError(
            f"{counted.source.name} has transparent pixels, which dithering does not support: put it on a "
            "background first, or leave dithering out"
        )
    color_space = SPACES[space_name, counted.channels]
    palette = _palette.fit_palette(counted.colors, counted.counts, K, color_space, options)
    if dither and len(palette) < len(counted.colors):
        return _build_result(counted, *_map_dithered(counted, palette))
    return _build_result(counted, *_map_nearest(counted, palette, color_space, options["n_threads"]))


def quantize_sizes(image: ImageInput, Ks: Iterable[int], **options: Any) -> list[Quantized]:
    """Reduce an image to each of several numbers of colours; it is read only once.

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
        One for each of `Ks`, in the same order.

    Raises
    ------
    ImportError, OSError, TypeError, ValueError
        As in `quantize`.
    """
    sizes = [_validate.integer("K", K, 1, MAX_COLORS, _MAX_REASON) for K in Ks]
    shared: Any = _SharedImage(image)
    return [quantize(shared, K, **options) for K in sizes]


# ---- counting colours and mapping them to pixels --------------------------------------------------


class _CountedImage(NamedTuple):
    """An image, its distinct colours and the number of pixels of each."""

    source: Source
    codes: Integers
    colors: Bytes
    counts: Integers

    @property
    def channels(self) -> int:
        return int(self.colors.shape[1])


class _SharedImage:
    """An image for several calls of `quantize`, read by the first one that has checked its arguments."""

    def __init__(self, image: ImageInput) -> None:
        self.image = image

    @cached_property
    def counted(self) -> _CountedImage:
        return _count(self.image)


def _count(image: ImageInput) -> _CountedImage:
    source = read(image)
    codes, counts = _colors.count_colors(source.pixels)
    return _CountedImage(source, codes, _colors.decode_colors(codes, source.pixels.shape[2]), counts)


def _map_nearest(
    counted: _CountedImage, palette: Bytes, space: ColorSpace, n_threads: int | None
) -> tuple[Bytes, Bytes, float]:
    """Return the palette in use, the nearest of its rows for each pixel and the sum of the squared errors."""
    labels = _palette.nearest_labels(counted.colors, palette, space, n_threads)
    error = counted.counts @ _seen_error(counted.colors, palette, labels)
    n_pixels = np.bincount(labels, counted.counts, len(palette))
    order = _palette.order_by_count(palette, n_pixels)
    ranks = _ranks(order)[labels]
    return palette[order], _colors.expand_labels(counted.source.pixels, counted.codes, ranks), float(error)


def _map_dithered(counted: _CountedImage, palette: Bytes) -> tuple[Bytes, Bytes, float]:
    """Return the same as `_map_nearest`, but with error diffusion (Pillow's)."""
    from PIL import Image

    pixels = counted.source.pixels
    holder = Image.new("P", (1, 1))
    holder.putpalette(palette.tobytes())
    mapped = Image.fromarray(np.ascontiguousarray(pixels)).quantize(
        palette=holder, dither=Image.Dither.FLOYDSTEINBERG
    )
    order = _palette.order_by_count(palette, np.array(mapped.histogram()[: len(palette)]))
    palette, indices = palette[order], _ranks(order)[np.asarray(mapped)]
    error = 0.0
    for rows in _colors.strips(pixels):
        flat, labels = pixels[rows].reshape(-1, counted.channels), indices[rows].ravel()
        error += _seen_error(flat, palette, labels).sum()
    return palette, indices, error


def _seen_error(colors: Bytes, palette: Bytes, labels: NDArray[Any]) -> NDArray[np.float64]:
    """Return the squared error (u,) of each colour over red, green and blue; with alpha its mean on black
    and white."""
    if colors.shape[1] == 4:
        return squared_error(on_grounds(colors), on_grounds(palette), labels)
    return squared_error(colors, palette, labels)


def _ranks(order: NDArray[np.int64]) -> Bytes:
    """Return the position of each palette row in this order."""
    ranks = np.zeros(MAX_COLORS, dtype=np.uint8)
    ranks[order] = np.arange(len(order), dtype=np.uint8)
    return ranks


def _build_result(counted: _CountedImage, palette: Bytes, indices: Bytes, error: float) -> Quantized:
    source = counted.source
    n_pixels, channels = indices.size, counted.channels
    distortion = error / n_pixels
    color_bits = 8 * channels
    return Quantized(
        image=_indexed_image(indices, palette, source.icc_profile),
        palette=palette,
        indices=indices,
        distortion=distortion,
        psnr=10 * math.log10(255**2 * 3 / distortion) if distortion else math.inf,
        colors_before=len(counted.colors),
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
