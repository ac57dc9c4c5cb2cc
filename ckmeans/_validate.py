"""Every check of what a user passes in, and every error message about it."""

from __future__ import annotations

import numbers
import operator
import os
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

INITS = ("k-means++", "random")
EMPTY = ("drop", "reinit", "farthest", "error")
ALGORITHMS = ("auto", "dense", "cells", "screen")
CELLS_FEATURES = 8
CELLS_ROWS = 1 << 30

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


def n_clusters(value: object, m: int) -> int:
    """The number of clusters of an estimator for m points."""
    number = integer("n_clusters", value, 1)
    if number > m:
        raise ValueError(f"n_samples={m} should be >= n_clusters={number}.")
    return number


def cluster_counts(ks: object, m: int) -> list[int]:
    """Numbers of clusters to try for m points, rising, each once."""
    try:
        values = list(ks)  # type: ignore[call-overload]
    except TypeError:
        raise TypeError(f"ks must be numbers of clusters such as range(1, 11), found {found(ks)}") from None
    if not values:
        raise ValueError("ks must hold at least one number of clusters, found none")
    return sorted({integer("each of ks", K, 1, m, " (the number of points)") for K in values})


def cost_of(cost: Any, K: int) -> float:
    """What K clusters cost."""
    if cost is None:
        return 0.0
    name, value = (f"cost({K})", cost(K)) if callable(cost) else ("cost", cost)
    number = _real(name, value)
    if not 0 <= number < float("inf"):
        raise ValueError(f"{name} must be finite and at least 0, found {value}")
    return number if callable(cost) else number * K


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


def ratio(name: str, value: object) -> float:
    """A real number of at least 0."""
    number = _real(name, value)
    if not number >= 0:
        raise ValueError(f"{name} must be at least 0, found {value}")
    return number


def _real(name: str, value: object) -> float:
    """A number, which `True` is not."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a real number, found {found(value)}")
    return float(value)


def choice(name: str, value: object, valid: tuple[str, ...]) -> str:
    """One of a few names."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be one of {_listed(valid)}, found {found(value)}")
    if value not in valid:
        raise ValueError(f"{name} must be one of {_listed(valid)}, found {found(value)}")
    return value


def algorithm(value: object, m: int, n: int) -> str:
    """The name of an engine that takes m points of n features, or "auto"."""
    name = choice("algorithm", value, ALGORITHMS)
    if name == "cells" and n > CELLS_FEATURES:
        raise ValueError(f'algorithm="cells" takes at most {CELLS_FEATURES} features, found {n}')
    if name == "cells" and m > CELLS_ROWS:
        raise ValueError(f'algorithm="cells" takes at most {CELLS_ROWS} points, found {m}')
    return name


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
        return int.from_bytes(os.urandom(8), "little")
    try:
        number = integer("seed", seed, 0)
    except TypeError:
        raise TypeError(
            f"seed must be an integer, a numpy.random.Generator or None, found {found(seed)}"
        ) from None
    return number if number < 1 << 63 else int(np.random.SeedSequence(number).generate_state(1, np.uint64)[0])


def random_state(value: object) -> np.random.RandomState:
    """NumPy's global generator for None, a fresh one for a number, and one that goes on being used."""
    if value is None:
        return np.random.mtrand._rand  # type: ignore[attr-defined,no-any-return]
    if isinstance(value, np.random.RandomState):
        return value
    try:
        return np.random.RandomState(integer("random_state", value, 0, 2**32 - 1))
    except TypeError:
        raise TypeError(
            f"random_state must be an integer, a numpy.random.RandomState or None, found {found(value)}"
        ) from None


# ---- arrays -----------------------------------------------------------------------------------


def array(name: str, value: object) -> np.ndarray:
    """Real numbers as an array of native or foreign byte order, without a copy where possible."""
    found_: Any = value if type(value) is np.ndarray else _as_ndarray(name, value)
    if found_.dtype not in _COMPUTED_IN:
        if found_.dtype.kind == "f":  # longer than float64
            return found_.astype(np.float64)
        raise TypeError(f"{name} must hold real numbers, found dtype {found_.dtype}")
    return found_


def _as_ndarray(name: str, value: object) -> np.ndarray:
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array: fill or drop the masked values first")
    if is_sparse(value):
        raise TypeError(f"{name} is a sparse matrix: dense data are wanted, for instance {name}.toarray()")
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} must be an array of real numbers: {error}") from None


def is_sparse(value: object) -> bool:
    """Whether this is a SciPy sparse matrix or array; by name, so that nobody imports SciPy for it."""
    return type(value).__module__.startswith("scipy.sparse")


def points(X: object, name: str = "X") -> np.ndarray:
    """Points as a 2-D array."""
    X = array(name, X)
    shape = X.shape
    if len(shape) != 2:
        hint = f"; {name}.reshape(-1, 1) makes points of one feature" if len(shape) == 1 else ""
        raise ValueError(f"{name} must be 2-dimensional (points, features), found shape {shape}{hint}")
    if 0 in shape:
        not_without_values(name, shape)
    return X


def not_without_values(name: str, shape: tuple[int, ...]) -> None:
    """Refuse a 2-D shape without rows or without features."""
    for length, what in zip(shape, ("row", "feature"), strict=True):
        if length == 0:
            raise ValueError(f"{name} must have at least one {what}, found shape {shape}")


def table(X: object) -> np.ndarray:
    """Points as an estimator takes them: numbers kept as objects too, and faults worded as users of
    scikit-learn know them."""
    array_ = X if type(X) is np.ndarray else _as_ndarray("X", X)
    assert isinstance(array_, np.ndarray)
    if array_.dtype.kind == "c":
        raise ValueError(f"Complex data not supported: X has dtype {array_.dtype}")
    if array_.dtype.kind == "O":
        array_ = array_.astype(np.float64)
    if array_.ndim == 1:
        raise ValueError(
            f"Expected 2D array, got 1D array of shape {array_.shape}. Reshape your data: X.reshape(-1, 1) "
            "makes points of one feature, X.reshape(1, -1) one point"
        )
    if array_.ndim == 2 and array_.shape[1] == 0:
        raise ValueError(
            f"Found array with 0 feature(s) (shape={array_.shape}) while a minimum of 1 is required."
        )
    return points(array_)


def itemsize(X: Any) -> int:
    """Size of an item of the dtype in which X is computed."""
    return _COMPUTED_IN[X.dtype]


def centroids(value: object, n: int, name: str = "centroids") -> np.ndarray:
    """Centroids of n features, in their own dtype."""
    array_ = points(value, name)
    if array_.shape[1] != n:
        raise ValueError(f"{name} must have {n} features, as X has, found shape {array_.shape}")
    return array_


def start(value: object, K: int, n: int, name: str = "init") -> np.ndarray:
    """Starting centroids: K rows of n features."""
    array_ = centroids(value, n, name)
    if len(array_) != K:
        raise ValueError(f"{name} must have K={K} rows, found shape {array_.shape}")
    return array_


def initial_centers(value: object, n_clusters: int, n_features: int) -> np.ndarray:
    """An estimator's start, its faults worded as users of scikit-learn know them."""
    array_ = points(value, "init")
    does_not_match = f"The shape of the initial centers {array_.shape} does not match the number of"
    if len(array_) != n_clusters:
        raise ValueError(f"{does_not_match} clusters {n_clusters}.")
    if array_.shape[1] != n_features:
        raise ValueError(f"{does_not_match} features of the data {n_features}.")
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


def no_other_weights(value: object) -> None:
    """Points that were prepared have their weights in what was made of them."""
    if value is not None:
        raise ValueError("sample_weight must be given to prepare, whose sums it is part of, and not again")


def estimator_weights(value: Any, m: int) -> tuple[np.ndarray | None, float]:
    """Weights of m points, which may be one number for all, and their sum; None where all are equal,
    so that the same numbers are drawn as without weights."""
    array_ = weights(np.full(m, value, np.float64) if isinstance(value, numbers.Real) else value, m)
    if array_ is None:
        return None, float(m)
    return None if array_.min() == array_.max() else array_, float(array_.sum())


def output(value: object, m: int) -> np.ndarray:
    """The caller's array for labels."""
    if not isinstance(value, np.ndarray) or value.dtype != np.int32:
        raise TypeError(f"out must be an int32 array, found {_kind_of(value)}")
    if value.shape != (m,) or not value.flags.c_contiguous or not value.flags.writeable:
        raise ValueError(
            f"out must be a writable contiguous array of shape ({m},), found shape {value.shape}"
        )
    return value


def _kind_of(value: object) -> str:
    return f"dtype {value.dtype}" if isinstance(value, np.ndarray) else found(value)


# ---- what a kernel met ------------------------------------------------------------------------


def finite(name: str, array_: np.ndarray) -> None:
    """Refuse the first NaN or infinity of an array that is small enough to look at whole."""
    bad = ~np.isfinite(array_)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        refuse_not_finite(name, row, column, array_[row, column])


def refuse_not_finite(name: str, row: int, column: int, value: float) -> NoReturn:
    """Refuse the NaN or infinity at this place."""
    raise ValueError(
        f"{name} must be finite, found {value} at row {row}, column {column}: "
        "drop or fill NaN and infinity first"
    )


def magnitude(array_: Any) -> float:
    """The largest magnitude, without a copy; NaN where there is one."""
    return max(abs(float(array_.min())), abs(float(array_.max())))


def refuse_start_beyond(limit: float, name: str, found: float) -> NoReturn:
    """Refuse a start that float32 cannot be computed with, though X is computed in it: its result
    would be in float64, and its labels not those that `assign` finds in float32."""
    raise ValueError(f"{name} must lie within +-{limit:.3g}, as X does, found a value of {found:g}")


def refuse_beyond_float64(**arrays: Any) -> NoReturn:
    """Refuse values whose squares leave float64: those of the array with the largest one, or, where
    none is large, those of X, which are too small."""
    largest = {name: magnitude(array_) for name, array_ in arrays.items()}
    name = max(largest, key=largest.__getitem__)
    if largest[name] < 1e9:
        name = "X"
    raise ValueError(
        f"{name} must have values whose squares float64 can hold, found {largest[name]:g}: rescale the data"
    )


def empty_cluster(cluster: int, iteration: int) -> str:
    """The message of empty="error"."""
    return f'empty="error": cluster {cluster} has no points after iteration {iteration}'
