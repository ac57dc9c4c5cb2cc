"""Data of the workloads: generated from fixed seeds, or read from the data folder."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

SEED = 20240607
CHUNK = 1 << 16  # rows generated at a time: generating in chunks needs no second copy of X


class Source(Protocol):
    """A source of the array X of a workload; equal sources give equal arrays in every process."""

    @property
    def needs(self) -> tuple[str, ...]:
        """The files that must be in the data folder."""

    def load(self, folder: Path, scale: float) -> Array:
        """Return X, or a fraction ``scale`` of its rows."""


@dataclass(frozen=True)
class Uniform:
    """Independent uniform values: [0, 1), or all bytes for uint8."""

    m: int
    n: int
    dtype: str = "float32"
    needs: ClassVar[tuple[str, ...]] = ()

    def load(self, folder: Path, scale: float) -> Array:
        rng = np.random.default_rng(SEED)
        shape = (_scaled(self.m, scale), self.n)
        if self.dtype == "uint8":
            return rng.integers(0, 256, shape, dtype=np.uint8)
        return rng.random(shape, dtype=np.dtype(self.dtype).type)


@dataclass(frozen=True)
class Blobs:
    """A mixture of unit Gaussians around centres drawn from a cube of side 10.

    With dtype uint8 the same values are scaled to the range of a byte, rounded and clipped.
    """

    m: int
    n: int
    components: int
    dtype: str = "float32"
    needs: ClassVar[tuple[str, ...]] = ()

    def load(self, folder: Path, scale: float) -> Array:
        rng = np.random.default_rng(SEED)
        centres = rng.uniform(0, 10, (self.components, self.n)).astype(np.float32)
        X = np.empty((_scaled(self.m, scale), self.n), self.dtype)
        draw = np.float64 if self.dtype == "float64" else np.float32
        for start in range(0, len(X), CHUNK):
            part = X[start : start + CHUNK]
            rows = rng.standard_normal(part.shape, dtype=draw)
            rows += centres[rng.integers(0, self.components, len(part))]
            part[:] = np.clip(rows * 18 + 38, 0, 255).round() if self.dtype == "uint8" else rows
        return X


@dataclass(frozen=True)
class Spectrum:
    """A mixture of Gaussians whose standard deviation in feature l, from 1, is ``l ** -exponent``.

    The centres have that standard deviation, the rows around them 0.7 of it.
    """

    m: int
    n: int
    components: int
    exponent: float
    dtype: str = "float32"
    needs: ClassVar[tuple[str, ...]] = ()

    def load(self, folder: Path, scale: float) -> Array:
        rng = np.random.default_rng(SEED)
        deviations = np.arange(1, self.n + 1) ** -self.exponent
        draw = np.float64 if self.dtype == "float64" else np.float32
        centres = rng.standard_normal((self.components, self.n), dtype=draw)
        X = np.empty((_scaled(self.m, scale), self.n), draw)
        for start in range(0, len(X), CHUNK):
            part = X[start : start + CHUNK]
            rng.standard_normal(out=part, dtype=draw)
            part *= 0.7
            part += centres[rng.integers(0, self.components, len(part))]
            part *= deviations.astype(draw)
        return X


@dataclass(frozen=True)
class NonNegative:
    """A mixture of clipped Gaussians around non-negative centres, as histograms of gradients (SIFT) are."""

    m: int
    n: int
    components: int
    needs: ClassVar[tuple[str, ...]] = ()

    def load(self, folder: Path, scale: float) -> Array:
        rng = np.random.default_rng(SEED)
        centres = np.abs(rng.standard_normal((self.components, self.n), dtype=np.float32))
        X = np.empty((_scaled(self.m, scale), self.n), np.float32)
        for start in range(0, len(X), CHUNK):
            part = X[start : start + CHUNK]
            rng.standard_normal(out=part, dtype=np.float32)
            part *= np.float32(0.7)
            part += centres[rng.integers(0, self.components, len(part))]
            np.maximum(part, 0, out=part)
        return X


@dataclass(frozen=True)
class HeavyTails:
    """Independent values of Student's t distribution: the fewer degrees of freedom, the heavier the tails."""

    m: int
    n: int
    freedom: float
    dtype: str = "float32"
    needs: ClassVar[tuple[str, ...]] = ()

    def load(self, folder: Path, scale: float) -> Array:
        rng = np.random.default_rng(SEED)
        X = np.empty((_scaled(self.m, scale), self.n), self.dtype)
        for start in range(0, len(X), CHUNK):
            part = X[start : start + CHUNK]
            part[:] = rng.standard_t(self.freedom, part.shape)
        return X


@dataclass(frozen=True)
class Mapped:
    """Another source, saved to a temporary file and opened as a read-only ``numpy.memmap``."""

    inner: Source

    @property
    def needs(self) -> tuple[str, ...]:
        return self.inner.needs

    def load(self, folder: Path, scale: float) -> Array:
        with tempfile.TemporaryDirectory() as place:  # the open map remains valid after the file is unlinked
            path = Path(place) / "X.npy"
            np.save(path, self.inner.load(folder, scale))
            mapped: Array = np.load(path, mmap_mode="r")
        return mapped


@dataclass(frozen=True)
class Table:
    """The array ``X`` of a stored ``.npz`` file."""

    file: str

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.file,)

    def load(self, folder: Path, scale: float) -> Array:
        X: Array = np.load(folder / self.file)["X"]
        return _thinned(X, scale)


@dataclass(frozen=True)
class Photo:
    """The pixels of one photo as rows: uint8 RGB."""

    file: str

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.file,)

    def load(self, folder: Path, scale: float) -> Array:
        return _thinned(_pixels(folder / self.file).reshape(-1, 3), scale)


@dataclass(frozen=True)
class Patches:
    """Square RGB patches at random positions of several photos, as float32."""

    m: int
    side: int
    files: tuple[str, ...] = field(repr=False)

    @property
    def needs(self) -> tuple[str, ...]:
        return self.files

    def load(self, folder: Path, scale: float) -> Array:
        rng = np.random.default_rng(SEED)
        shares = np.array_split(np.arange(_scaled(self.m, scale)), len(self.files))
        offsets = np.arange(self.side)
        parts = []
        for file, share in zip(self.files, shares, strict=True):
            image = _pixels(folder / file)
            top = rng.integers(0, image.shape[0] - self.side + 1, len(share))
            left = rng.integers(0, image.shape[1] - self.side + 1, len(share))
            rows = (top[:, None] + offsets)[:, :, None]
            columns = (left[:, None] + offsets)[:, None, :]
            parts.append(image[rows, columns].reshape(len(share), -1))
        return rng.permutation(np.concatenate(parts)).astype(np.float32)


@dataclass(frozen=True)
class Tiled:
    """Stored rows repeated to ``m`` rows, plus noise in standard deviations of each feature."""

    m: int
    file: str
    noise: float = 0.1

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.file,)

    def load(self, folder: Path, scale: float) -> Array:
        stored = np.load(folder / self.file)
        rows = (stored["X"] if self.file.endswith(".npz") else stored).astype(np.float32)
        rng = np.random.default_rng(SEED)
        X: Array = rows[np.arange(_scaled(self.m, scale)) % len(rows)]
        spread = self.noise * rows.std(axis=0)
        for start in range(0, len(X), CHUNK):
            part = X[start : start + CHUNK]
            part += spread * rng.standard_normal(part.shape, dtype=np.float32)
        return X


@dataclass(frozen=True)
class Text:
    """Stored sparse rows (CSR) repeated to ``m`` rows."""

    m: int
    file: str

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.file,)

    def load(self, folder: Path, scale: float) -> Any:
        from scipy import sparse

        stored = sparse.load_npz(folder / self.file)
        return stored[np.arange(_scaled(self.m, scale)) % stored.shape[0]]


def missing_files(source: Source, folder: Path) -> list[str]:
    """Return the files of a source that are not in the data folder."""
    return [name for name in source.needs if not (folder / name).is_file()]


def distinct_rows(X: Array, K: int, seed: int) -> Array:
    """Return the indices of K random rows of X with distinct values, in random order."""
    rng = np.random.default_rng((SEED, seed))
    drawn = rng.choice(X.shape[0], min(X.shape[0], 16 * K), replace=False)
    values = X[drawn]
    if not isinstance(values, np.ndarray):  # sparse: random projections distinguish rows as well
        values = (values @ rng.random((X.shape[1], 2))).round(6)
    first = np.sort(np.unique(values, axis=0, return_index=True)[1])[:K]
    if len(first) < K:
        raise ValueError(f"found only {len(first)} distinct rows of {K}")
    rows: Array = drawn[first]
    return rows


def _scaled(m: int, scale: float) -> int:
    """Return a fraction of m rows; small data are not scaled below 300 rows."""
    return max(min(m, 300), round(m * scale))


def _thinned(X: Array, scale: float) -> Array:
    """Return a contiguous, evenly spaced subset of the rows of X."""
    return np.ascontiguousarray(X[:: len(X) // _scaled(len(X), scale)])


def _pixels(path: Path) -> NDArray[np.uint8]:
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))
