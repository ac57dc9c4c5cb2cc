"""Pictures: cluster the colours of one and write it as an indexed PNG.

A picture is a set of few distinct colours, each with the number of its pixels: those are the points
and the weights that go to k-means. Pixels themselves are only touched a strip of rows at a time, as
bytes and as colour codes (0xRRGGBB, or 0xRRGGBBAA), so that a picture of any size needs little more
memory than its own bytes.

Pillow is imported inside the functions that need it: ``import ckmeans`` works without it.
"""

from __future__ import annotations

import io
import math
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from ckmeans import _validate
from ckmeans.api import assign, kmeans

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    Bytes: TypeAlias = NDArray[np.uint8]
    Integers: TypeAlias = NDArray[np.int64]
    Picture: TypeAlias = str | os.PathLike[str] | Image.Image | Bytes

__all__ = ["Quantized", "before_after", "check_output", "quantize", "read_pixels", "save_png"]

MAX_COLORS = 256  # an indexed PNG has no room for more
_STRIP = 1 << 20  # pixels looked at together
_TABLE_FROM = 1 << 21  # from so many pixels on, a table of all 2**24 colours beats sorting them

# Formats whose further frames are not the picture: previews of a phone's photo, layers.
_FIRST_FRAME_IS_ALL = {"MPO", "PSD"}
_DEEP_MODES = {"I", "F", "I;16", "I;16B", "I;16L", "I;16N"}


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
        Row of `palette` for each pixel: always the nearest one.
    distortion : float
        J of the written palette: the mean over the pixels of the squared distance between a
        pixel's colour and its palette colour, summed over the channels (3 or 4, as in `palette`;
        grey counts as RGB), in squared steps of 0 to 255.
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
        _write(path, self._png)


def quantize(
    image: Picture,
    K: int = 16,
    *,
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
    """
    K = _validate.integer("K", K, 1, MAX_COLORS, " (an indexed PNG holds no more colours)")
    # Checked here too, since not every picture comes to `kmeans`, and no picture is read in vain.
    options: dict[str, Any] = {
        "n_init": _validate.integer("n_init", n_init, 1),
        "max_iter": _validate.integer("max_iter", max_iter, 1),
        "tol": _validate.tolerance(tol),
        "seed": _validate.seed(seed),
        "progress": progress,
    }
    if n_threads is not None:
        n_threads = _validate.integer("n_threads", n_threads, 1)
    _require_pillow()
    source = _read(image)
    codes, counts = _count_colors(source.pixels)
    colors = _decode(codes, source.pixels.shape[2])
    if len(colors) <= K:
        palette = colors
    else:
        weights = counts.astype(np.float64)
        options |= {"sample_weight": weights, "empty": "farthest", "n_threads": n_threads}
        run = kmeans(colors, K, **options)
        palette = _round_palette(colors, counts, run.centroids, K, n_threads)
    palette, labels = _sort_palette(colors, counts, palette, n_threads)
    return _result(source, codes, colors, counts, palette, labels)


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
    _require_pillow()
    return _read(image).pixels


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
    shown, target = os.fspath(path), Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(f"cannot write {shown}: it is a folder")
    if Path(path).suffix.lower() != ".png":
        raise ValueError(f"cannot write {shown}: the output is an indexed PNG, so its name must end in .png")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"cannot write {shown}: there is no folder {target.parent}")
    if target.exists() and not target.is_file():
        raise OSError(f"cannot write {shown}: it is not a regular file")
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(f"cannot write {shown}: the file there is read-only")
    # Only trying tells for certain: permissions lie on network disks, for root and on Windows.
    with _rephrased(shown):
        handle, probe = _temporary(target.parent)
        os.close(handle)
        probe.unlink()
    return target


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
    encoded = io.BytesIO()
    image.save(encoded, "PNG")
    _write(path, encoded.getvalue())


# ---------------------------------------------------------------- reading


class _Source(NamedTuple):
    """A picture as it came."""

    pixels: Bytes  # (h, w, 3) or (h, w, 4)
    n_bytes: int  # of the file, else of the pixels
    icc_profile: bytes | None


def _require_pillow() -> None:
    try:
        import PIL.Image  # noqa: F401
    except ImportError as error:
        raise ImportError('pictures need Pillow: pip install "ckmeans-simd[image]"') from error


def _read(image: Picture) -> _Source:
    """Read any accepted picture; drop an alpha channel that says nothing."""
    from PIL import Image

    if isinstance(image, np.ndarray):
        source = _read_array(image)
    elif isinstance(image, Image.Image):
        source = _read_pillow(image, name="image")
    elif isinstance(image, str | os.PathLike):
        source = _read_file(image)
    else:
        raise TypeError(
            "image must be a path, a PIL image or a uint8 array, "
            f"found an object of type {type(image).__name__}"
        )
    pixels = source.pixels
    if pixels.size == 0:
        raise ValueError(f"image must have at least one pixel, found shape {pixels.shape[:2]}")
    if pixels.shape[2] == 4 and pixels[..., 3].min() == 255:
        pixels = pixels[..., :3]
    return source._replace(pixels=pixels)


def _as_rgb(pixels: Bytes) -> Bytes:
    """Give a grey (h, w) picture three channels, without a copy."""
    return np.broadcast_to(pixels[..., None], (*pixels.shape, 3)) if pixels.ndim == 2 else pixels


def _read_array(array: NDArray[Any]) -> _Source:
    if array.dtype != np.uint8:
        raise TypeError(f"image must be an array of uint8 (0 to 255), found {array.dtype}")
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise ValueError(f"image must have shape (h, w), (h, w, 3) or (h, w, 4), found {array.shape}")
    return _Source(_as_rgb(array), array.size, None)


def _read_pillow(picture: Image.Image, name: str) -> _Source:
    """Read a PIL image that is open; `name` is what messages call it."""
    from PIL import ImageOps

    with _decoding(name):
        refusal = _why_refused(picture)
    if refusal:
        raise ValueError(f"{name} {refusal}")
    with _decoding(name):
        upright = ImageOps.exif_transpose(picture)
        mode = "L" if picture.mode in ("1", "L") else "RGB"
        if picture.has_transparency_data:
            mode = "RGBA"
        pixels: Bytes = np.asarray(upright.convert(mode))
    # A profile goes with the values it explains: those that conversion left alone.
    icc_profile = picture.info.get("icc_profile") if picture.mode in ("RGB", "RGBA", "P") else None
    return _Source(_as_rgb(pixels), pixels.size, icc_profile)


def _read_file(path: str | os.PathLike[str]) -> _Source:
    from PIL import Image

    name = os.fspath(path)
    with _decoding(name):
        picture = Image.open(path)
    with picture:
        return _read_pillow(picture, name)._replace(n_bytes=os.path.getsize(path))


def _why_refused(picture: Image.Image) -> str | None:
    """Return why a picture cannot be quantised as it is, or None."""
    if picture.mode in _DEEP_MODES:
        return (
            f"has pixels of more than 8 bits (mode {picture.mode}): reduce it first, "
            "for instance to (values / largest * 255).round() as uint8"
        )
    n_frames = getattr(picture, "n_frames", 1)
    if n_frames > 1 and picture.format not in _FIRST_FRAME_IS_ALL:
        return (
            f"has {n_frames} frames or pages: choose one first, for instance with PIL.Image.open(path).copy()"
        )
    return None


@contextmanager
def _decoding(name: str) -> Iterator[None]:
    """Turn whatever a decoder raises on a broken file into one ValueError that names it."""
    from PIL import UnidentifiedImageError

    try:
        yield
    except (MemoryError, KeyboardInterrupt):
        raise
    except UnidentifiedImageError as error:
        raise ValueError(f"{name} is not a picture in a format that Pillow knows") from error
    except Exception as error:  # decoders raise nearly anything: SyntaxError, struct.error, ...
        if isinstance(error, OSError) and error.errno is not None:
            raise  # missing, a folder, not permitted: says so itself
        raise ValueError(f"{name} cannot be read as a picture: {error}") from error


# ---------------------------------------------------------------- colours and pixels


def _strips(pixels: Bytes) -> Iterator[tuple[slice, Integers]]:
    """Yield rows of the picture and the colour codes of their pixels, a strip at a time."""
    rows = max(1, _STRIP // pixels.shape[1])
    for start in range(0, pixels.shape[0], rows):
        where = slice(start, start + rows)
        strip = pixels[where]
        codes = strip[..., 0].astype(np.int64)
        for channel in range(1, pixels.shape[2]):
            codes <<= 8
            codes |= strip[..., channel]
        yield where, codes


def _fits_table(pixels: Bytes) -> bool:
    height, width, channels = pixels.shape
    return bool(channels == 3 and height * width >= _TABLE_FROM)


def _count_colors(pixels: Bytes) -> tuple[Integers, Integers]:
    """Return the distinct colour codes (u,), rising, and how many pixels have each (u,)."""
    if _fits_table(pixels):
        table = np.zeros(1 << 24, dtype=np.int64)
        one = np.int64(1)  # not a Python int: with it add.at is ten times slower
        for _, codes in _strips(pixels):
            np.add.at(table, codes.ravel(), one)
        found = np.flatnonzero(table).astype(np.int64, copy=False)
        return found, table[found]
    parts = [np.unique(codes.astype(np.uint32), return_counts=True) for _, codes in _strips(pixels)]
    found, where = np.unique(np.concatenate([part[0] for part in parts]), return_inverse=True)
    counts = np.zeros(found.size, dtype=np.int64)
    np.add.at(counts, where, np.concatenate([part[1] for part in parts]).astype(np.int64))
    return found.astype(np.int64), counts


def _decode(codes: Integers, channels: int) -> Bytes:
    """Return the colours (u, channels) that belong to the codes (u,)."""
    shifts = 8 * np.arange(channels - 1, -1, -1)
    return ((codes[:, None] >> shifts) & 255).astype(np.uint8)


def _paint(pixels: Bytes, codes: Integers, labels: Bytes) -> Bytes:
    """Return the label (h, w) of each pixel, from the labels (u,) of the distinct colours."""
    painted = np.empty(pixels.shape[:2], dtype=np.uint8)
    if _fits_table(pixels):
        table = np.zeros(1 << 24, dtype=np.uint8)
        table[codes] = labels
        for where, strip in _strips(pixels):
            painted[where] = table[strip]
    else:
        for where, strip in _strips(pixels):
            painted[where] = labels[np.searchsorted(codes, strip)]
    return painted


# ---------------------------------------------------------------- the palette


def _squared_error(colors: Bytes, palette: Bytes, labels: NDArray[np.int32]) -> Integers:
    """Return the squared distance (u,) of each colour to its palette colour, exactly."""
    difference = colors.astype(np.int32)
    difference -= palette[labels]
    squared: Integers = np.einsum("ul,ul->u", difference, difference).astype(np.int64)
    return squared


def _nearest(colors: Bytes, palette: Bytes, n_threads: int | None) -> NDArray[np.int32]:
    labels = np.empty(len(colors), dtype=np.int32)
    assign(colors, palette.astype(np.float32), out=labels, n_threads=n_threads)
    return labels


def _round_palette(
    colors: Bytes,
    counts: Integers,
    centroids: NDArray[np.floating[Any]],
    K: int,
    n_threads: int | None,
) -> Bytes:
    """Return K distinct palette colours (K, c), all in use, from centroids of more than K colours.

    Rounding may merge two centroids or leave one without pixels. Each place that this frees goes to
    the colour with most error so far, which lowers J every time and so comes to an end.
    """
    palette = np.unique(np.rint(centroids).clip(0, 255).astype(np.uint8), axis=0)
    while True:
        labels = _nearest(colors, palette, n_threads)
        palette_counts = np.bincount(labels, minlength=len(palette))
        missing = K - np.count_nonzero(palette_counts)
        if missing == 0:
            return palette
        error = counts * _squared_error(colors, palette, labels)
        worst = np.argpartition(error, -missing)[-missing:]
        palette = np.concatenate([palette[palette_counts > 0], colors[worst[error[worst] > 0]]])


def _sort_palette(
    colors: Bytes, counts: Integers, palette: Bytes, n_threads: int | None
) -> tuple[Bytes, NDArray[np.int32]]:
    """Order distinct palette colours by their pixels, ties by value; label the colours anew."""
    palette = np.unique(palette, axis=0)
    labels = _nearest(colors, palette, n_threads)
    shares = np.zeros(len(palette), dtype=np.int64)
    np.add.at(shares, labels, counts)
    order = np.argsort(-shares, kind="stable")
    rank = np.empty(len(order), dtype=np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    return palette[order], rank[labels]


def _result(
    source: _Source,
    codes: Integers,
    colors: Bytes,
    counts: Integers,
    palette: Bytes,
    labels: NDArray[np.int32],
) -> Quantized:
    """Map the palette back to the pixels and draw up the report."""
    indices = _paint(source.pixels, codes, labels.astype(np.uint8))
    height, width, channels = source.pixels.shape
    n_pixels = height * width
    distortion = int(counts @ _squared_error(colors, palette, labels)) / n_pixels
    psnr = 10 * math.log10(255**2 * channels / distortion) if distortion else math.inf
    color_bits = 8 * channels
    return Quantized(
        image=_indexed_image(indices, palette, source.icc_profile),
        palette=palette,
        indices=indices,
        distortion=distortion,
        psnr=psnr,
        colors_before=len(colors),
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


# ---------------------------------------------------------------- writing


@contextmanager
def _rephrased(shown: str) -> Iterator[None]:
    """Let an OSError say which output could not be written, instead of a temporary name."""
    try:
        yield
    except OSError as error:
        raise type(error)(f"cannot write {shown}: {error.strerror or error}") from error


def _temporary(folder: Path) -> tuple[int, Path]:
    """Open a new file in the folder; its permissions follow the umask, unlike `tempfile`'s."""
    path = folder / f".ckmeans-{secrets.token_hex(8)}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    return os.open(path, flags, 0o666), path


def _write(path: str | os.PathLike[str], content: bytes) -> None:
    """Put the content in place in one step: readers see the old file or the new one, whole."""
    target = check_output(path)
    with _rephrased(os.fspath(path)):
        handle, temporary = _temporary(target.parent)
        try:
            with open(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(handle)
            if target.exists():
                os.chmod(temporary, target.stat().st_mode & 0o777)
            os.replace(temporary, target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
