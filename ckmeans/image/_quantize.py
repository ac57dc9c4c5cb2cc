"""Reduce the colours of an image.

An image is a set of distinct colours, each with its number of pixels: these are the points and the
weights that k-means clusters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from ckmeans import _validate
from ckmeans.image import _colors, _palette
from ckmeans.image._animation import Animation
from ckmeans.image._arrays import with_channels
from ckmeans.image._dither import dither as dither_pixels
from ckmeans.image._quantized import Quantized
from ckmeans.image._read import Source, read, read_frames
from ckmeans.image._spaces import SPACES, ColorSpace, on_grounds
from ckmeans.image._with_alpha import squared_error

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from ckmeans.image._types import Bytes, ImageInput, Integers

__all__ = ["quantize", "quantize_frames", "quantize_sizes"]

MAX_COLORS = 256
_MAX_REASON = " (an indexed PNG holds no more colours)"


def quantize(
    image: ImageInput,
    K: int = 16,
    *,
    frame: int | None = None,
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
    image : path, bytes, binary file, PIL.Image.Image, or ndarray
        A file that Pillow reads, or its content, rotated upright according to its EXIF data; or an
        array of uint8, or of floats from 0 to 1, of shape (h, w) or (h, w, c) with c = 1 (grey), 2
        (grey and alpha), 3 or 4. Of 16 bits the upper 8 are used, of a TIFF file that names fewer bits
        the upper 8 of those; grey values of 32 bits are rejected.

        Transparency is kept. Colours with alpha are compared by the mean error on black and on white,
        so the colours of fully transparent pixels weigh nothing, and all of these pixels count as one
        colour. Fully transparent pixels stay so, and so do opaque ones. With K = 1 there is no entry
        for both: the only one is for what is visible, opaque if any pixel is.
    K : int
        Number of colours, 1 to 256. An image with at most K colours is returned unchanged.
    frame : int, optional
        Which frame of an animation or page of a file to take, from 0; needed if there are several.
        `ckmeans.image.quantize_frames` takes all of them.
    space : {"rgb", "oklab"}
        The colour space in which distances are measured: RGB bytes, which gives the best PSNR, or
        OKLab [1]_, whose distances match perceived differences.
    dither : bool
        Diffuse the error of each pixel to its neighbours by the method of Floyd and Steinberg [2]_:
        areas keep their mean colour and gradients show no bands, at the cost of noise and a lower
        PSNR. The error is diffused in RGB, whatever `space` is; that of alpha is not diffused, and
        fully transparent pixels stay as they are.
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
    fit = {"seed": seed, "n_init": n_init, "max_iter": max_iter, "tol": tol, "n_threads": n_threads}
    settings = _checked(K, space=space, dither=dither, progress=progress, **fit)
    frame = None if frame is None else _validate.integer("frame", frame, 0)
    counted = image.counted(frame) if isinstance(image, _SharedImage) else _count([read(image, frame)])
    return _reduce(counted, settings)[0]


def quantize_sizes(image: ImageInput, Ks: Iterable[int], **options: Any) -> list[Quantized]:
    """Reduce an image to each of several numbers of colours; it is read only once.

    Parameters
    ----------
    image : path, bytes, binary file, PIL.Image.Image, or ndarray
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


def quantize_frames(image: ImageInput, K: int = 16, **options: Any) -> Animation:
    """Reduce all frames of an animation, or all pages of a file, to at most K colours that they share.

    Parameters
    ----------
    image : path, bytes, binary file, PIL.Image.Image, or ndarray
        As in `quantize`; an image of one frame is taken, too.
    K : int
        Number of colours of all frames together, 1 to 256.
    **options
        Keyword arguments of `quantize`, without `frame`.

    Returns
    -------
    Animation
        The frames, each as `quantize` returns it, with one palette.

    Raises
    ------
    ImportError, OSError, TypeError, ValueError
        As in `quantize`.
    """
    settings = _checked(K, **options)
    sources = read_frames(image)
    durations = [source.duration for source in sources if source.duration is not None]
    frames = _reduce(_count(sources), settings)
    return Animation(frames, durations if len(durations) == len(frames) else None, sources[0].plays)


# ---- arguments ------------------------------------------------------------------------------------


class _Settings(NamedTuple):
    """The checked arguments of a call, except the image."""

    K: int
    space: str
    dither: bool
    fit: dict[str, Any]  # keyword arguments of `kmeans`


def _checked(K: int, *, space: str = "rgb", dither: bool = False, **fit: Any) -> _Settings:
    """Check the arguments before the image is read; `kmeans` would check its own only after that, and
    not for an image of few colours."""
    defaults = {name: value for name, value in (quantize.__kwdefaults__ or {}).items() if name in _CHECKS}
    unknown = sorted(fit.keys() - defaults.keys())
    if unknown:
        raise TypeError(f"{unknown[0]} is none of the options: space, dither, {', '.join(defaults)}")
    return _Settings(
        _validate.integer("K", K, 1, MAX_COLORS, _MAX_REASON),
        _validate.choice("space", space, tuple(dict.fromkeys(name for name, _ in SPACES))),
        dither,
        {name: _CHECKS[name](value) for name, value in (defaults | fit).items()},
    )


def _optional_threads(value: object) -> int | None:
    return None if value is None else _validate.integer("n_threads", value, 1)


# In the order in which errors are reported.
_CHECKS: dict[str, Callable[[Any], Any]] = {
    "n_init": lambda value: _validate.integer("n_init", value, 1),
    "max_iter": lambda value: _validate.integer("max_iter", value, 1),
    "tol": _validate.tolerance,
    "seed": _validate.seed,
    "n_threads": _optional_threads,
    "progress": bool,
}


# ---- counting colours and mapping them to pixels --------------------------------------------------


class _Counted(NamedTuple):
    """The frames of an image, their distinct colours and the number of pixels of each."""

    sources: list[Source]
    parts: list[tuple[Integers, Integers]]  # of each frame: codes of its colours, numbers of pixels
    codes: Integers  # of all frames
    colors: Bytes
    counts: Integers


class _SharedImage:
    """An image for several calls of `quantize`, read by the first one that has checked its arguments."""

    def __init__(self, image: ImageInput) -> None:
        self.image = image
        self._counted: _Counted | None = None

    def counted(self, frame: int | None) -> _Counted:
        if self._counted is None:
            self._counted = _count([read(self.image, frame)])
        return self._counted


def _count(sources: list[Source]) -> _Counted:
    channels = max(source.pixels.shape[2] for source in sources)
    sources = [source._replace(pixels=with_channels(source.pixels, channels)) for source in sources]
    parts = [_colors.count_colors(source.pixels) for source in sources]
    codes, counts = _colors.merge_counts(parts) if len(parts) > 1 else parts[0]
    return _Counted(sources, parts, codes, _colors.decode_colors(codes, channels), counts)


def _reduce(counted: _Counted, settings: _Settings) -> list[Quantized]:
    """Return the frames in the colours of one palette."""
    space = SPACES[settings.space, counted.colors.shape[1]]
    palette = _palette.fit_palette(counted.colors, counted.counts, settings.K, space, settings.fit)
    if settings.dither and len(palette) < len(counted.colors):
        return _map_dithered(counted, palette)
    return _map_nearest(counted, palette, space, settings.fit["n_threads"])


def _map_nearest(
    counted: _Counted, palette: Bytes, space: ColorSpace, n_threads: int | None
) -> list[Quantized]:
    """Give each pixel the nearest colour of the palette."""
    labels = _palette.nearest_labels(counted.colors, palette, space, n_threads)
    errors = _seen_error(counted.colors, palette, labels)
    order = _palette.order_by_count(palette, np.bincount(labels, counted.counts, len(palette)))
    ranks = _ranks(order)[labels]
    results = []
    for source, (codes, counts) in zip(counted.sources, counted.parts, strict=True):
        error = counts @ errors[np.searchsorted(counted.codes, codes)]
        indices = _colors.expand_labels(source.pixels, counted.codes, ranks)
        results.append(_build_result(source, len(codes), palette[order], indices, float(error)))
    return results


def _map_dithered(counted: _Counted, palette: Bytes) -> list[Quantized]:
    """Do the same as `_map_nearest`, but with error diffusion."""
    mapped = [dither_pixels(source.pixels, palette) for source in counted.sources]
    n_pixels = sum(np.bincount(rows.ravel(), minlength=len(palette)) for rows in mapped)
    order = _palette.order_by_count(palette, np.asarray(n_pixels))
    ranks, palette = _ranks(order), palette[order]
    results = []
    for source, (codes, _), rows in zip(counted.sources, counted.parts, mapped, strict=True):
        indices, error = ranks[rows], 0.0
        for strip in _colors.strips(source.pixels):
            flat = source.pixels[strip].reshape(-1, source.pixels.shape[2])
            error += _seen_error(flat, palette, indices[strip].ravel()).sum()
        results.append(_build_result(source, len(codes), palette, indices, error))
    return results


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


def _build_result(source: Source, n_colors: int, palette: Bytes, indices: Bytes, error: float) -> Quantized:
    n_pixels, color_bits = indices.size, 8 * palette.shape[1]
    distortion = error / n_pixels
    return Quantized(
        image=_indexed_image(indices, palette, source.info),
        palette=palette,
        indices=indices,
        distortion=distortion,
        psnr=10 * math.log10(255**2 * 3 / distortion) if distortion else math.inf,
        colors_before=n_colors,
        colors_after=len(palette),
        bytes_before=source.n_bytes,
        bits_before=n_pixels * color_bits,
        bits_after=len(palette) * color_bits + n_pixels * (len(palette) - 1).bit_length(),
    )


def _indexed_image(indices: Bytes, palette: Bytes, info: dict[str, Any]) -> Image.Image:
    from PIL import Image

    image = Image.fromarray(indices)
    image.putpalette(palette.tobytes(), "RGBA" if palette.shape[1] == 4 else "RGB")
    image.info.update(info)
    return image
