"""Read an image from a path, a PIL image or an array as upright pixels of 8 bits a channel.

Pillow is imported inside the functions that need it: ``import ckmeans`` works without it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from ckmeans.image._types import Bytes, ImageInput

__all__ = ["Source", "read"]

# Formats whose further frames are not images of their own: previews of a phone's photo, layers.
_FIRST_FRAME_IS_ALL = {"MPO", "PSD"}
_DEEP_MODES = {"I", "F", "I;16", "I;16B", "I;16L", "I;16N"}


class Source(NamedTuple):
    """The pixels of an image and the facts about its file."""

    name: str  # for error messages
    pixels: Bytes  # (h, w, 3) or (h, w, 4)
    n_bytes: int  # of the file, else of the pixels
    icc_profile: bytes | None


def read(image: ImageInput) -> Source:
    """Read any accepted image, upright; drop the alpha channel if every pixel is opaque."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError('images need Pillow: pip install "ckmeans-simd[image]"') from error
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
    return source._replace(pixels=_clear(pixels) if pixels.shape[2] == 4 else pixels)


def _clear(pixels: Bytes) -> Bytes:
    """Return RGBA pixels without alpha if all are opaque, and without the colours that nobody sees."""
    if pixels[..., 3].min() == 255:
        return pixels[..., :3]
    hidden = (pixels[..., 3] == 0) & pixels[..., :3].any(axis=2)
    if hidden.any():
        pixels = pixels.copy()
        pixels[hidden] = 0
    return pixels


def _as_rgb(pixels: Bytes) -> Bytes:
    """Return a grey (h, w) image with three channels, without a copy."""
    return np.broadcast_to(pixels[..., None], (*pixels.shape, 3)) if pixels.ndim == 2 else pixels


def _read_array(array: NDArray[Any]) -> Source:
    if array.dtype != np.uint8:
        raise TypeError(f"image must be an array of uint8 (0 to 255), found {array.dtype}")
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise ValueError(f"image must have shape (h, w), (h, w, 3) or (h, w, 4), found {array.shape}")
    return Source("image", _as_rgb(array), array.size, None)


def _read_pillow(image: Image.Image, name: str) -> Source:
    """Read an open PIL image, called `name` in error messages."""
    from PIL import ImageOps

    with _decoding(name):
        reason = _refusal_reason(image)
    if reason:
        raise ValueError(f"{name} {reason}")
    with _decoding(name):
        upright = ImageOps.exif_transpose(image)
        mode = "L" if image.mode in ("1", "L") else "RGB"
        if image.has_transparency_data:
            mode = "RGBA"
        pixels: Bytes = np.asarray(upright.convert(mode))
    # The profile describes the original values: keep it only if the conversion did not change them.
    icc_profile = image.info.get("icc_profile") if image.mode in ("RGB", "RGBA", "P") else None
    return Source(name, _as_rgb(pixels), pixels.size, icc_profile)


def _read_file(path: str | os.PathLike[str]) -> Source:
    from PIL import Image

    name = os.fspath(path)
    with _decoding(name):
        image = Image.open(path)
    with image:
        return _read_pillow(image, name)._replace(n_bytes=os.path.getsize(path))


def _refusal_reason(image: Image.Image) -> str | None:
    """Return the reason why an image cannot be quantized as it is, or None."""
    if image.mode in _DEEP_MODES:
        return (
            f"has pixels of more than 8 bits (mode {image.mode}): reduce it first, "
            "for instance to (values / largest * 255).round() as uint8"
        )
    n_frames = getattr(image, "n_frames", 1)
    if n_frames > 1 and image.format not in _FIRST_FRAME_IS_ALL:
        return (
            f"has {n_frames} frames or pages: choose one first, for instance with PIL.Image.open(path).copy()"
        )
    return None


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
