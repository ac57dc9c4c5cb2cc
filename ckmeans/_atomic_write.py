"""Atomic writing of files: a reader sees either the old file or the complete new one."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

__all__ = ["check_output", "replacing"]


def check_output(path: str | os.PathLike[str]) -> Path:
    """Raise if a file cannot be written, before any work is done for it.

    Parameters
    ----------
    path : str or path-like
        Where the file is to go.

    Returns
    -------
    Path
        The same place with symbolic links followed.

    Raises
    ------
    OSError
        If `path` is a folder or no regular file, or if its folder is missing or not writable.
    """
    shown, target = os.fspath(path), Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(f"cannot write {shown}: it is a folder")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"cannot write {shown}: there is no folder {target.parent}")
    if target.exists() and (not target.is_file() or _is_a_stream(target)):
        raise OSError(f"cannot write {shown}: it is not a regular file")
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(f"cannot write {shown}: the file there is read-only")
    # Only writing is reliable: permissions mislead on network disks, for root and on Windows.
    with _rephrased(shown):
        handle, probe = _temporary(target.parent)
        os.close(handle)
        probe.unlink()
    return target


def _is_a_stream(target: Path) -> bool:
    """Return whether stdout or stderr go to this file, as with /dev/stdout: it must not be replaced."""
    for stream in (1, 2):
        with suppress(OSError):
            if os.path.samestat(os.fstat(stream), target.stat()):
                return True
    return False


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a temporary file that replaces `path` when the block ends without an exception.

    Parameters
    ----------
    path : str or path-like
        Where to write; an existing file stays unchanged on failure.

    Yields
    ------
    binary file

    Raises
    ------
    OSError
        As in `check_output`, or if there is no room.
    """
    target = check_output(path)
    with _rephrased(os.fspath(path)):
        handle, temporary = _temporary(target.parent)
        try:
            with open(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(handle)
            if target.exists():
                os.chmod(temporary, target.stat().st_mode & 0o777)
            os.replace(temporary, target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@contextmanager
def _rephrased(shown: str) -> Iterator[None]:
    """Raise an OSError again with the name of the output instead of the temporary one."""
    try:
        yield
    except OSError as error:
        raise type(error)(f"cannot write {shown}: {error.strerror or error}") from error


def _temporary(folder: Path) -> tuple[int, Path]:
    """Open a new file in the folder; unlike `tempfile`'s, its permissions follow the umask."""
    path = folder / f".ckmeans-{secrets.token_hex(8)}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    return os.open(path, flags, 0o666), path
