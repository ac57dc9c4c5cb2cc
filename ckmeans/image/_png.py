"""Write encoded images to files and streams."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ckmeans import _atomic_write

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["check_output", "save_png", "write_encoded"]


def check_output(path: str | os.PathLike[str], suffixes: tuple[str, ...] = (".png",)) -> Path:
    """Check that an image can be written, before any work is done for it.

    Parameters
    ----------
    path : str or path-like
        Where to write.
    suffixes : tuple of str
        What its name may end in.

    Returns
    -------
    Path
        The same path with symbolic links resolved.

    Raises
    ------
    ValueError
        If `path` ends in something else.
    OSError
        If `path` is a folder or no regular file, or if its folder is missing or not writable.
    """
    if Path(path).suffix.lower() not in suffixes and not os.path.isdir(path):
        kinds = " or ".join("an indexed PNG" if suffix == ".png" else "a GIF" for suffix in suffixes)
        raise ValueError(
            f"cannot write {os.fspath(path)}: the output is {kinds}, so its name must end in "
            f"{' or '.join(suffixes)}"
        )
    return _atomic_write.check_output(path)


def save_png(image: Image.Image, path: str | os.PathLike[str]) -> None:
    """Write a PIL image as a PNG; on failure an existing file stays as it was.

    Parameters
    ----------
    image : PIL.Image.Image
        The image.
    path : str or path-like
        Where to write; must end in .png.

    Raises
    ------
    ValueError, OSError
        As in `check_output`.
    """
    with _atomic_write.replacing(check_output(path)) as file:
        image.save(file, "PNG")


def write_encoded(
    content: bytes, path: str | os.PathLike[str] | BinaryIO, suffixes: tuple[str, ...] = (".png",)
) -> None:
    """Write an encoded image to a file, or to an open binary one.

    Parameters
    ----------
    content : bytes
        What to write.
    path : str, path-like or binary file
        Where to write.
    suffixes : tuple of str
        What a name may end in.

    Raises
    ------
    TypeError
        If `path` is neither a name nor a binary file.
    ValueError, OSError
        As in `check_output`.
    """
    if isinstance(path, str | os.PathLike):
        with _atomic_write.replacing(check_output(path, suffixes)) as file:
            file.write(content)
    elif hasattr(path, "write") and not isinstance(path, io.TextIOBase):
        path.write(content)
    else:
        raise TypeError(f"path must be a name or a file opened for writing bytes, found {path!r:.100}")
