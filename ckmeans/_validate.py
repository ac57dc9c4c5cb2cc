"""Every check of what a user passes in, and every error message about it."""
from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

INITS = ("k-means++", "random")
EMPTY = ("drop", "reinit", "farthest", "error")
ALGORITHMS = ("auto", "dense", "screen")

# dtype, of either byte order -> size of an item of the computing dtype.
_COMPUTED_IN = {
    np.dtype(order + name): 4 if name in ("f2", "f4", "u1", "u2") else 8
    for name in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")
    for order in "<>"
}
_MAX_THREADS = 1024


def found(value: object) -> str:
    """A short form of a value for a message."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


# ---- numbers and choices ----------------------------------------------------------------------


def integer(name: str, value: object, low: int, high: int | None = None, high_name: str = "") -> int:
    """`value` as an int between low and high."""
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} must be an integer, found {found(value)}") from None
    if number < low:
        raise ValueError(f"{name} must be at least {low}, found {number}")
    if high is not None and number > high:
        raise ValueError(f"{name} must be at most {high}{high_name}, found {number}")
    return number


def clusters(K: object, m: int) -> int:
    """The number of clusters for m points."""
    return integer("K", K, 1, m, " (the number of points)")


def threads(n_threads: object, default: Callable[[], int]) -> int:
    """The number of threads; None means `default()`."""
    if n_threads is None:
        return default()
    return min(integer("n_threads", n_threads, 1), _MAX_THREADS)


def tolerance(tol: object) -> float:
    """A relative decrease of J."""
    try:
        if isinstance(tol, (bool, np.bool_, str, bytes)):
            raise TypeError
        number = float(tol)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise TypeError(f"tol must be a real number, found {found(tol)}") from None
    if not number >= 0:
        raise ValueError(f"tol must be at least 0, found {number}")
    return number


def choice(name: str, value: object, valid: tuple[str, ...]) -> str:
    """One of a few names."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be one of {_listed(valid)}, found {found(value)}")
    if value not in valid:
        raise ValueError(f"{name} must be one of {_listed(valid)}, found {found(value)}")
    return value


def _listed(valid: tuple[str, ...]) -> str:
    return ", ".join(map(repr, valid))


def function(name: str, value: object) -> Any:
    """A callable or None."""
    if value is not None and not callable(value):
        raise TypeError(f"{name} must be callable or None, found {found(value)}")
    return value


def seed(seed: object) -> int:
    """64 bits that the whole call draws from; a Generator moves on by one draw."""
    if isinstance(seed, np.random.Generator):
        return int(seed.integers(1 << 63))
    if seed is None:
        return int(np.random.SeedSequence().generate_state(1, np.uint64)[0])
    try:
        number = integer("seed", seed, 0)
    except TypeError:
        raise TypeError(
            f"seed must be an integer, a numpy.random.Generator or None, found {found(seed)}"
        ) from None
    return number if number < 1 << 63 else int(np.random.SeedSequence(number).generate_state(1, np.uint64)[0])


# ---- arrays -----------------------------------------------------------------------------------


def array(name: str, value: object) -> np.ndarray:
    """Real numbers as an array of native or foreign byte order, without a copy where possible."""
    if type(value) is not np.ndarray:
        value = _as_ndarray(name, value)
    assert isinstance(value, np.ndarray)
    if value.dtype not in _COMPUTED_IN:
        if value.dtype.kind == "f":  # longer than float64
            return value.astype(np.float64)
        raise TypeError(f"{name} must hold real numbers, found dtype {value.dtype}")
    return value


def _as_ndarray(name: str, value: object) -> np.ndarray:
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array: fill or drop the masked values first")
    if type(value).__module__.startswith("scipy.sparse"):
        raise TypeError(f"{name} is a sparse matrix: dense data are wanted, for instance {name}.toarray()")
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} must be an array of real numbers: {error}") from None


def points(X: object, name: str = "X") -> np.ndarray:
    """Points as a 2-D array."""
    X = array(name, X)
    if X.ndim != 2:
        hint = f"; {name}.reshape(-1, 1) makes points of one feature" if X.ndim == 1 else ""
        raise ValueError(f"{name} must be 2-dimensional (points, features), found shape {X.shape}{hint}")
    if X.shape[0] == 0:
        raise ValueError(f"{name} must have at least one row, found shape {X.shape}")
    if X.shape[1] == 0:
        raise ValueError(f"{name} must have at least one feature, found shape {X.shape}")
    return X


def itemsize(X: np.ndarray) -> int:
    """Size of an item of the dtype in which X is computed."""
    return _COMPUTED_IN[X.dtype]


def centroids(value: object, n: int, name: str = "centroids") -> np.ndarray:
    """Centroids of n features, in their own dtype."""
    array_ = points(value, name)
    if array_.shape[1] != n:
        raise ValueError(f"{name} must have {n} features, as X has, found shape {array_.shape}")
    return array_


def start(value: object, K: int, n: int, name: str = "init") -> np.ndarray:
    """Finite starting centroids: K rows of n features."""
    array_ = centroids(value, n, name)
    if len(array_) != K:
        raise ValueError(f"{name} must have K={K} rows, found shape {array_.shape}")
    finite(name, array_)
    return array_


def labels(value: object, m: int, K: int) -> np.ndarray:
    """Labels of m points between 0 and K - 1, as C-contiguous int32."""
    array_ = array("labels", value)
    if array_.dtype.kind not in "iu":
        raise TypeError(f"labels must be integers, found dtype {array_.dtype}")
    if array_.shape != (m,):
        raise ValueError(f"labels must have shape ({m},), one a row of X, found shape {array_.shape}")
    low, high = array_.min(), array_.max()
    if low < 0 or high >= K:
        raise ValueError(f"labels must lie in 0..{K - 1}, found {low if low < 0 else high}")
    return np.ascontiguousarray(array_, np.int32)


def weights(value: object, m: int) -> np.ndarray | None:
    """Weights of m points, as C-contiguous float64; None means that each weighs 1."""
    if value is None:
        return None
    array_ = array("sample_weight", value)
    if array_.shape != (m,):
        raise ValueError(f"sample_weight must have shape ({m},), one a row of X, found shape {array_.shape}")
    array_ = np.ascontiguousarray(array_, np.float64)
    total = array_.sum()
    if not np.isfinite(total):
        if np.isfinite(array_).all():
            raise ValueError("sample_weight must have a finite sum, found infinity")
        row = np.flatnonzero(~np.isfinite(array_))[0]
        raise ValueError(f"sample_weight must be finite, found {array_[row]} at row {row}")
    if array_.min() < 0:
        row = np.flatnonzero(array_ < 0)[0]
        raise ValueError(f"sample_weight must not be negative, found {array_[row]} at row {row}")
    if total == 0:
        raise ValueError("sample_weight must not be all zero")
    if not 1e-200 < total < 1e200:
        raise ValueError(f"sample_weight must have a sum between 1e-200 and 1e200, found {total}")
    return array_


def output(value: object, m: int) -> np.ndarray:
    """The caller's array for labels."""
    if not isinstance(value, np.ndarray) or value.dtype != np.int32:
        raise TypeError(f"out must be an int32 array, found {_kind_of(value)}")
    if value.shape != (m,) or not value.flags.c_contiguous or not value.flags.writeable:
        raise ValueError(f"out must be a writable contiguous array of shape ({m},), found shape {value.shape}")
    return value


def _kind_of(value: object) -> str:
    return f"dtype {value.dtype}" if isinstance(value, np.ndarray) else found(value)


# ---- what a kernel met ------------------------------------------------------------------------


def finite(name: str, array_: np.ndarray) -> None:
    """Refuse the first NaN or infinity of an array that is small enough to look at whole."""
    bad = ~np.isfinite(array_)
    if bad.any():
        refuse_not_finite(name, array_, *np.argwhere(bad)[0])


def refuse_not_finite(name: str, array_: np.ndarray, row: int, column: int) -> NoReturn:
    """Refuse the NaN or infinity at this place."""
    raise ValueError(f"{name} must be finite, found {array_[row, column]} at row {row}, column {column}")


def refuse_too_large(**arrays: np.ndarray) -> NoReturn:
    """Refuse values whose squares leave float64: those of the array with the largest one."""
    largest = {name: max(abs(float(a.min())), abs(float(a.max()))) for name, a in arrays.items()}
    name = max(largest, key=largest.__getitem__)
    raise ValueError(
        f"{name} must have values whose squares float64 can hold, found {largest[name]:g}: rescale the data"
    )


def empty_cluster(cluster: int, iteration: int) -> str:
    """The message of empty="error"."""
    return f'empty="error": cluster {cluster} has no points after iteration {iteration}'
