"""Pictures as bytes, and as what k-means is given: distinct colours with the number of their pixels.

Pixels are only touched a strip of rows at a time, as bytes and as colour codes (0xRRGGBB, or
0xRRGGBBAA), so that a picture of any size needs little more memory than its own bytes.

Pillow is imported inside the functions that need it: ``import ckmeans`` works without it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    Bytes: TypeAlias = NDArray[np.uint8]
    Integers: TypeAlias = NDArray[np.int64]
    Picture: TypeAlias = str | os.PathLike[str] | Image.Image | Bytes

__all__ = ["Source", "count_colors", "decode", "paint", "read", "strips"]

STRIP = 1 << 20  # pixels looked at together
TABLE_FROM = 1 << 21  # from so many pixels on, a table of all 2**24 colours beats sorting them

# Formats whose further frames are not the picture: previews of a phone's photo, layers.
_FIRST_FRAME_IS_ALL = {"MPO", "PSD"}
_DEEP_MODES = {"I", "F", "I;16", "I;16B", "I;16L", "I;16N"}


class Source(NamedTuple):
    """A picture as it came."""

    name: str  # what messages call it
    pixels: Bytes  # (h, w, 3) or (h, w, 4)
    n_bytes: int  # of the file, else of the pixels
    icc_profile: bytes | None


def read(image: Picture) -> Source:
    """Read any accepted picture, upright; drop an alpha channel that says nothing."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError('pictures need Pillow: pip install "ckmeans-simd[image]"') from error
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


def _read_array(array: NDArray[Any]) -> Source:
    if array.dtype != np.uint8:
        raise TypeError(f"image must be an array of uint8 (0 to 255), found {array.dtype}")
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise ValueError(f"image must have shape (h, w), (h, w, 3) or (h, w, 4), found {array.shape}")
    return Source("image", _as_rgb(array), array.size, None)


def _read_pillow(picture: Image.Image, name: str) -> Source:
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
    return Source(name, _as_rgb(pixels), pixels.size, icc_profile)


def _read_file(path: str | os.PathLike[str]) -> Source:
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


# ---- colours -------------------------------------------------------------------------------------


def strips(pixels: Bytes) -> Iterator[slice]:
    """Yield rows of the picture, a strip at a time."""
    rows = max(1, STRIP // pixels.shape[1])
    for start in range(0, pixels.shape[0], rows):
        yield slice(start, start + rows)


def _codes(pixels: Bytes) -> Integers:
    """The colour code of each pixel."""
    codes = pixels[..., 0].astype(np.int64)
    for channel in range(1, pixels.shape[2]):
        codes <<= 8
        codes |= pixels[..., channel]
    return codes


def _fits_table(pixels: Bytes) -> bool:
    height, width, channels = pixels.shape
    return bool(channels == 3 and height * width >= TABLE_FROM)


def count_colors(pixels: Bytes) -> tuple[Integers, Integers]:
    """Return the distinct colour codes (u,), rising, and how many pixels have each (u,)."""
    if _fits_table(pixels):
        table = np.zeros(1 << 24, dtype=np.int64)
        one = np.int64(1)  # not a Python int: with it add.at is ten times slower
        for rows in strips(pixels):
            np.add.at(table, _codes(pixels[rows]).ravel(), one)
        found = np.flatnonzero(table).astype(np.int64, copy=False)
        return found, table[found]
    parts = [np.unique(_codes(pixels[rows]).astype(np.uint32), return_counts=True) for rows in strips(pixels)]
    found, where = np.unique(np.concatenate([part[0] for part in parts]), return_inverse=True)
    counts = np.zeros(found.size, dtype=np.int64)
    np.add.at(counts, where, np.concatenate([part[1] for part in parts]).astype(np.int64))
    return found.astype(np.int64), counts


def decode(codes: Integers, channels: int) -> Bytes:
    """Return the colours (u, channels) that belong to the codes (u,)."""
    shifts = 8 * np.arange(channels - 1, -1, -1)
    return ((codes[:, None] >> shifts) & 255).astype(np.uint8)


def paint(pixels: Bytes, codes: Integers, labels: Bytes) -> Bytes:
    """Return the label (h, w) of each pixel, from the labels (u,) of the distinct colours."""
    painted = np.empty(pixels.shape[:2], dtype=np.uint8)
    if _fits_table(pixels):
        table = np.zeros(1 << 24, dtype=np.uint8)
        table[codes] = labels
        for rows in strips(pixels):
            painted[rows] = table[_codes(pixels[rows])]
    else:
        for rows in strips(pixels):
            painted[rows] = labels[np.searchsorted(codes, _codes(pixels[rows]))]
    return painted
