"""Points that come in blocks of rows, in every pass anew."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal

import numpy as np

from ckmeans import _arrays, _frames, _validate
from ckmeans._places import Names, shorten_repr


class Chunks:
    """The rows of consecutive 2-D arrays of any lengths, in the dtype that holds the values of all.

    The first pass counts the points and finds the dtype; every later one must bring the same points.
    """

    kind: Literal["chunks"] = "chunks"

    def __init__(self, chunks: Any) -> None:
        self.original = chunks
        self._start_pass = _passes_over(chunks)
        self.shape: tuple[int, int]
        self.dtype: np.dtype
        m, first = 0, None
        for chunk, _ in self._checked():
            if first is None:
                first, self.dtype = chunk[:1].copy(), chunk.dtype
            self.dtype = _arrays.common_dtype(self.dtype, chunk.dtype)
            m += len(chunk)
            self.shape = m, chunk.shape[1]
        if first is None:
            raise ValueError("chunks must have at least one row, found none: yield 2-D arrays of points")
        self._first_row = self._in_common_dtype(first).tobytes()

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def size(self) -> int:
        """Number of values."""
        return self.shape[0] * self.shape[1]

    def __iter__(self) -> Iterator[np.ndarray]:
        rows = 0
        for given, _ in self._checked():
            if _arrays.common_dtype(self.dtype, given.dtype) != self.dtype:
                self._raise_changed(f"dtype {_arrays.name_of(given.dtype)}", _arrays.name_of(self.dtype))
            chunk = self._in_common_dtype(given)
            if rows == 0 and chunk[:1].tobytes() != self._first_row:
                self._raise_changed("another first row (are they shuffled?)", "")
            rows += len(chunk)
            if rows > len(self):
                break
            yield chunk
        if rows != len(self):
            number = f"more than {len(self)}" if rows > len(self) else str(rows)
            self._raise_changed(f"{number} rows", str(len(self)))

    def _raise_changed(self, found: str, before: str) -> None:
        """Raise for a pass that differs from the first one."""
        hint = ": a function must return a new iterator each time" if callable(self.original) else ""
        before = before and f", {before} before"
        raise ValueError(f"chunks must be the same in every pass, found {found}{before}{hint}")

    def _in_common_dtype(self, chunk: np.ndarray) -> np.ndarray:
        return chunk if chunk.dtype == self.dtype else _arrays.widened(chunk).astype(self.dtype)

    def _checked(self) -> Iterator[tuple[np.ndarray, Names | None]]:
        """Yield the chunks that are not empty, as arrays of one number of features, and their names."""
        n, columns = 0, None
        for number, value in enumerate(self._start_pass()):
            name = f"chunks[{number}]"
            chunk, names = _arrays.read(name, _rows_of(name, value), objects=True)
            if chunk.ndim == 2 and len(chunk) == 0:
                continue
            _validate.two_dimensional(chunk, name, n or None)
            n = n or chunk.shape[1]
            if chunk.shape[1] != n:
                raise ValueError(
                    f"{name} must have {n} features, as the chunks before it, found shape {chunk.shape}"
                )
            found = None if names is None else list(names.columns)
            columns = columns or found
            if found is not None and found != columns:
                raise ValueError(
                    f"{name} must have the columns of the chunks before it, found {shorten_repr(found)}"
                )
            yield chunk, names

    def rescaled(self, exponent: int) -> Chunks:
        """Return the rows divided by 2**exponent, in float64."""
        return RescaledChunks(self, exponent)

    def min(self) -> float:
        """Return the smallest value."""
        return min(float(_arrays.widened(chunk).min()) for chunk in self)

    def max(self) -> float:
        """Return the largest value."""
        return max(float(_arrays.widened(chunk).max()) for chunk in self)

    def require_finite(self) -> None:
        """Raise for the first NaN or infinity."""
        rows = 0
        for chunk, names in self._checked():
            values = _arrays.widened(chunk)
            bad = ~np.isfinite(values)
            if bad.any():
                row, column = np.argwhere(bad)[0]
                labelled = names is not None and names.rows is not None
                _validate.raise_at("X", values[row, column], row if labelled else rows + row, column, names)
            rows += len(chunk)


class RescaledChunks(Chunks):
    """The rows of other chunks divided by a power of two, in float64."""

    def __init__(self, chunks: Chunks, exponent: int) -> None:
        self._given, self._exponent = chunks, exponent
        self.original, self.shape, self.dtype = chunks.original, chunks.shape, np.dtype(np.float64)

    def __iter__(self) -> Iterator[np.ndarray]:
        for chunk in self._given:
            yield _arrays.times_power(_arrays.widened(chunk), -self._exponent)

    def require_finite(self) -> None:
        """Raise for the first NaN or infinity."""
        self._given.require_finite()


def _passes_over(chunks: Any) -> Callable[[], Iterable[Any]]:
    """Return a function that starts a pass over the chunks."""
    if callable(chunks):
        return lambda: _blocks_of(chunks())
    if hasattr(chunks, "__next__"):
        raise TypeError(
            f"chunks must be iterable again and again, found {shorten_repr(chunks)}, which ends after one "
            "pass: pass a function that returns a new one each time, such as lambda: ..."
        )
    return lambda: _blocks_of(chunks)


def _blocks_of(chunks: Any) -> Iterable[Any]:
    """Return an iterable over the blocks of rows: the one block that an array or a data frame is."""
    for batches in ("to_batches", "iter_batches"):  # of a dataset, or a file, of Arrow
        if hasattr(chunks, batches):
            blocks: Iterable[Any] = getattr(chunks, batches)()
            return blocks
    if hasattr(chunks, "partitions") and hasattr(chunks, "npartitions"):  # of Dask
        count = chunks.numblocks[0] if hasattr(chunks, "numblocks") else chunks.npartitions
        return (chunks.partitions[i] for i in range(count))
    if hasattr(chunks, "__next__"):
        iterator: Iterable[Any] = chunks
        return iterator
    if _frames.is_frame(chunks) or getattr(chunks, "ndim", 3) < 3:
        return [chunks]
    if not hasattr(chunks, "__iter__") or isinstance(chunks, (str, bytes, os.PathLike, Mapping)):
        raise TypeError(
            "chunks must be a list of arrays, an object that can be iterated over again and again, or a "
            f"function that returns an iterator over arrays, found {shorten_repr(chunks)}"
        )
    return chunks  # type: ignore[no-any-return]


def _rows_of(name: str, value: Any) -> Any:
    """Return the rows of a block: of a batch with its targets, as data loaders yield it, the first part."""
    if isinstance(value, Mapping):
        raise TypeError(
            f"{name} must be an array of points, found a {type(value).__name__}: yield one of its values"
        )
    shape = _shape_of(value[0]) if isinstance(value, (list, tuple)) and value else ()
    if len(shape) != 2:
        return value
    if all(_are_targets(part, shape) for part in value[1:]):
        return value[0]
    raise ValueError(
        f"{name} must be one array of points, found {len(value)}: yield the one that is to be clustered"
    )


def _shape_of(value: Any) -> tuple[int, ...]:
    return tuple(getattr(value, "shape", ()))


def _are_targets(part: Any, shape: tuple[int, ...]) -> bool:
    """Return whether this belongs to the points of this shape, one value a point."""
    if isinstance(part, (list, tuple)):
        return len(part) == shape[0]
    return _shape_of(part) == shape[:1] or _shape_of(part) == (shape[0], 1) != shape
