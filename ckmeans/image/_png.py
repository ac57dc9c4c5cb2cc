"""Write PNG files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ckmeans import _atomic_write

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["check_output", "save_png"]


def check_output(path: str | os.PathLike[str]) -> Path:
    """Check that a PNG can be written, before any work is done for it.

    Parameters
    ----------
    path : str or path-like
        Where to write; must end in .png.

    Returns
    -------
    Path
        The same path with symbolic links resolved.

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
