"""An OpenMP runtime that old Linux systems can load: the one of Debian 11 (glibc 2.17 and newer).

A wheel must carry its OpenMP runtime. A new one asks for the C library of a new system; the
manylinux images have an old one, an ordinary machine has not.
"""

from __future__ import annotations

import hashlib
import io
import platform
import tarfile
import urllib.request
from pathlib import Path

POOL = "http://deb.debian.org/debian/pool/main/g/gcc-10/"
PACKAGES = {
    "x86_64": (
        "libgomp1_10.2.1-6_amd64.deb",
        "4530c95aefa48e33fd8cf4acbe5c4b559dbe7bdf4c56469986c83a203982cef1",
    )
}


def member(archive: bytes, name: bytes) -> bytes:
    """A file out of an `ar` archive, which is what a .deb is."""
    at = 8
    while at < len(archive):
        size = int(archive[at + 48 : at + 58])
        if archive[at : at + 16].strip().rstrip(b"/") == name:
            return archive[at + 60 : at + 60 + size]
        at += 60 + size + size % 2
    raise ValueError(f"no {name!r} in the package")


def old_openmp(folder: Path) -> Path | None:
    """The folder with libgomp.so.1, fetched once; None where it cannot be had."""
    if (folder / "libgomp.so.1").exists():
        return folder
    if platform.machine() not in PACKAGES:
        return None
    name, digest = PACKAGES[platform.machine()]
    try:
        with urllib.request.urlopen(POOL + name, timeout=60) as answer:
            package = answer.read()
    except OSError as error:
        print(f"no old OpenMP runtime ({error}): the wheel will only do for systems like this one")
        return None
    if hashlib.sha256(package).hexdigest() != digest:
        raise ValueError(f"{name} is not the package it was")
    with tarfile.open(fileobj=io.BytesIO(member(package, b"data.tar.xz"))) as data:
        [library] = [entry for entry in data if entry.name.endswith("libgomp.so.1.0.0")]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "libgomp.so.1").write_bytes(data.extractfile(library).read())
    return folder
