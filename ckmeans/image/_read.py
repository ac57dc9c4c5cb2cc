"""Read an image from a file, a PIL image or an array as upright pixels of 8 bits a channel.

Pillow is imported inside the functions that need it: ``import ckmeans`` works without it.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ckmeans.image import _arrays, _metadata

if TYPE_CHECKING:
    from PIL import Image

    from ckmeans.image._types import Bytes, ImageInput

__all__ = ["Source", "read", "read_frames"]

# Formats whose further frames are not images of their own: previews of a phone's photo, layers.
_FIRST_FRAME_IS_ALL = {"MPO", "PSD"}
_ANIMATIONS = {"GIF", "PNG", "WEBP", "AVIF"}
_GREY_16_MODES = {"I;16", "I;16B", "I;16L", "I;16N"}
_DEEP_MODES = {"I", "F"}
# In these formats Pillow's 32-bit mode stands for 16 bits.
_GREY_16_FORMATS = {"PNG", "PPM"}
_BITS_TAG, _LARGEST_TAG = 258, 281  # of TIFF


class Source(NamedTuple):
    """The pixels of an image and the facts about its file."""

    name: str  # for error messages
    pixels: Bytes  # (h, w, 3) or (h, w, 4); fully transparent pixels are 0
    n_bytes: int  # of the file, else of the pixels
    info: dict[str, Any]  # what `_metadata.collect` returns
    duration: float | None = None  # of a frame of an animation, in milliseconds
    plays: int = 0  # how often the animation is shown, 0 for ever


def read(image: ImageInput, frame: int | None = None) -> Source:
    """Read any accepted image, upright; drop the alpha channel if every pixel is opaque.

    Without `frame` (from 0) an image of several frames is an error.
    """
    with _opened(image) as (opened, name, n_bytes):
        if isinstance(opened, np.ndarray):
            _check_frame(frame, 1, name)
            return _cleaned(Source(name, _from_array(opened), opened.size, {}))
        with _decoding(name):
            n_frames = getattr(opened, "n_frames", 1)
        if frame is None and n_frames > 1 and opened.format not in _FIRST_FRAME_IS_ALL:
            raise ValueError(
                f"{name} has {n_frames} frames or pages: choose one first (frame=0 or --frame 0 is the "
                "first), or all of them with one palette (ckmeans.image.quantize_frames or --frame all)"
            )
        _check_frame(frame, n_frames, name)
        return _with_size(_read_frame(opened, name, frame), n_bytes)


def read_frames(image: ImageInput) -> list[Source]:
    """Read all frames of an image."""
    with _opened(image) as (opened, name, n_bytes):
        if isinstance(opened, np.ndarray):
            return [_cleaned(Source(name, _from_array(opened), opened.size, {}))]
        with _decoding(name):
            n_frames = 1 if opened.format in _FIRST_FRAME_IS_ALL else getattr(opened, "n_frames", 1)
        if n_frames == 1:
            return [_with_size(_read_frame(opened, name, None), n_bytes)]
        # An animated PNG may begin with an image for programs that show no animations.
        numbers = range(1 if opened.info.get("default_image") else 0, n_frames)
        return [_with_size(_read_frame(opened, name, number), n_bytes) for number in numbers]


def _with_size(source: Source, n_bytes: int | None) -> Source:
    return _cleaned(source if n_bytes is None else source._replace(n_bytes=n_bytes))


def _cleaned(source: Source) -> Source:
    if source.pixels.size == 0:
        raise ValueError(f"image must have at least one pixel, found shape {source.pixels.shape[:2]}")
    return source._replace(pixels=_arrays.without_hidden(source.pixels))


def _check_frame(frame: int | None, n_frames: int, name: str) -> None:
    if frame is not None and frame >= n_frames:
        raise ValueError(f"frame must be less than {n_frames}, the number of frames of {name}, found {frame}")


# ---- opening -------------------------------------------------------------------------------------


@contextmanager
def _opened(image: ImageInput) -> Iterator[tuple[Any, str, int | None]]:
    """Open anything accepted: a PIL image or an array, its name and the bytes of its file."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError('images need Pillow: pip install "ckmeans-simd[image]"') from error
    if isinstance(image, Image.Image):
        place = image.tell()
        try:
            yield image, "image", None
        finally:
            if image.tell() != place:
                image.seek(place)
    elif isinstance(image, str | os.PathLike):
        name = os.fspath(image)
        with _decoding(name):
            opened = Image.open(image)
        with opened:
            yield opened, name, os.path.getsize(image)
    elif isinstance(image, bytes | bytearray | memoryview) or hasattr(image, "read"):
        name, content = _content(image)
        with _decoding(name):
            opened = Image.open(io.BytesIO(content))
        with opened:
            yield opened, name, len(content)
    elif hasattr(image, "__array__"):
        yield np.asarray(image), "image", None
    else:
        raise TypeError(
            "image must be the bytes of a file, an open binary file, a path, a PIL image or a uint8 array, "
            f"found an object of type {type(image).__name__}"
        )


def _content(image: Any) -> tuple[str, bytes]:
    """Return the name and the content of a file in memory or an open one."""
    if not hasattr(image, "read"):
        return "image", bytes(image)
    content = image.read()
    name = getattr(image, "name", None)
    name = name if isinstance(name, str) else "image"
    if not isinstance(content, bytes):
        raise TypeError(f"{name} must be opened as a binary file (mode 'rb'), found one of text")
    if not content and getattr(image, "seekable", bool)() and image.tell() > 0:
        raise ValueError(f"{name} must be read from its start, found it at its end: call seek(0) first")
    return name, content


def _from_array(array: Any) -> Bytes:
    return _arrays.with_color(_arrays.without_more_bits(array))


# ---- decoding ------------------------------------------------------------------------------------


def _read_frame(image: Image.Image, name: str, frame: int | None) -> Source:
    """Read a frame of an open PIL image, called `name` in error messages."""
    from PIL import ImageOps

    with _decoding(name):
        if frame is not None:
            image.seek(frame)
        deep = image.mode in _DEEP_MODES and image.format not in _GREY_16_FORMATS
    if deep:
        raise ValueError(
            f"{name} has pixels of more than 8 bits (mode {image.mode}): reduce it first, "
            "for instance to (values / largest * 255).round() as uint8"
        )
    with _decoding(name):
        upright = ImageOps.exif_transpose(image)
        if image.mode in _GREY_16_MODES or image.mode in _DEEP_MODES:
            pixels = _grey_16(upright, _shift(image))
        else:
            mode = "L" if image.mode in ("1", "L") else "RGB"
            pixels = np.asarray(upright.convert("RGBA" if image.has_transparency_data else mode))
        pixels = _arrays.with_color(pixels)
        info = _metadata.collect(image, upright)
    duration = float(image.info.get("duration", 0)) if image.format in _ANIMATIONS else None
    return Source(name, pixels, pixels.size, info, duration, _plays(image))


def _plays(image: Image.Image) -> int:
    """Return how often an animation is shown; a GIF counts only the repetitions, and has none by default."""
    loop = image.info.get("loop")
    if image.format == "GIF":
        return 1 if loop is None else loop + 1 if loop else 0
    return int(loop or 0)


def _shift(image: Image.Image) -> int:
    """Return by how many bits the values of a grey image are to be reduced: to its upper 8 of those that
    its file says it uses."""
    tags = getattr(image, "tag_v2", {})
    bits, largest = (tags.get(tag, (0,))[0] for tag in (_BITS_TAG, _LARGEST_TAG))
    bits = int(largest).bit_length() if 255 < largest < 65536 else bits
    return int(bits) - 8 if 8 < bits <= 16 else 8


def _grey_16(image: Image.Image, shift: int) -> Bytes:
    """Return grey values of more than 8 bits as bytes, with alpha if one value stands for transparent."""
    values = np.asarray(image)
    grey: Bytes = (values >> shift).clip(0, 255).astype(np.uint8)
    transparent = image.info.get("transparency")
    if not isinstance(transparent, int):
        return grey
    return np.stack([grey, np.where(values == transparent, 0, 255).astype(np.uint8)], axis=2)


@contextmanager
def _decoding(name: str) -> Iterator[None]:
    """Turn any exception of a decoder into a ValueError that names the file."""
    from PIL import UnidentifiedImageError

    try:
        yield
    except (MemoryError, KeyboardInterrupt):
        raise
    except UnidentifiedImageError as error:
        raise ValueError(f"{name} is not an image in a format that Pillow can read") from error
    except Exception as error:  # decoders raise exceptions of any type: SyntaxError, struct.error, ...
        if isinstance(error, OSError) and error.errno is not None:
            raise  # missing, a folder, not permitted: its own message says so
        raise ValueError(f"{name} cannot be read as an image: {error}") from error
