"""Every check of an argument, and every error message about one."""

from __future__ import annotations

import contextlib
import numbers
import operator
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, Protocol

import numpy as np

from ckmeans import _arrays
from ckmeans._engine import EngineEntry
from ckmeans._engines import ENGINES
from ckmeans._places import raise_at, shorten_repr

INITS = ("k-means++", "random")
SEARCHES = ("swap",)
_MAX_COUNT = 1 << 62  # more than anything that compiled code counts
EMPTY = ("drop", "reinit", "farthest", "error")
METRICS = ("euclidean", "cosine")

_MAX_OPTIMAL_POINTS = 2**31 - 1  # positions among the values are int32
_MAX_THREADS = 1024  # as in compiled code; more are not an error


class HasExtrema(Protocol):
    """An array, or points in another form."""

    def min(self) -> Any: ...
    def max(self) -> Any: ...


# ---- numbers and choices ----------------------------------------------------------------------


def integer(name: str, value: object, min_: int, max_: int | None = None, max_name: str = "") -> int:
    """Return `value` as an int between min_ and max_."""
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} must be an integer, found {shorten_repr(value)}") from None
    if number < min_:
        raise ValueError(f"{name} must be at least {min_}, found {number}")
    if max_ is not None and number > max_:
        raise ValueError(f"{name} must be at most {max_}{max_name}, found {number}")
    return number


def clusters(K: object, m: int) -> int:
    """Return the number of clusters for m points."""
    return integer("K", _reject_no_knee("K", K), 1, m, " (the number of points)")


def n_clusters(value: object, m: int) -> int:
    """Return an estimator's number of clusters for m points."""
    number = integer("n_clusters", _reject_no_knee("n_clusters", value), 1)
    if number > m:
        raise ValueError(f"n_samples={m} should be >= n_clusters={number}.")
    return number


def cluster_counts(ks: object, m: int) -> list[int]:
    """Return the numbers of clusters to try for m points, each once, in increasing order."""
    try:
        values = list(ks)  # type: ignore[call-overload]
    except TypeError:
        raise TypeError(
            f"ks must be numbers of clusters such as range(1, 11), found {shorten_repr(ks)}"
        ) from None
    if not values:
        raise ValueError("ks must hold at least one number of clusters, found none")
    name = "each of ks"
    return sorted({integer(name, _reject_no_knee(name, K), 1, m, " (the number of points)") for K in values})


def _reject_no_knee(name: str, value: object) -> object:
    """Raise for None, the knee of an Elbow without one."""
    if value is None:
        raise TypeError(
            f"{name} must be an integer, found None: elbow found no clear elbow; see Elbow.suggestions"
        )
    return value


def cost_of(cost: Any, K: int) -> float:
    """Return the cost of K clusters."""
    if cost is None:
        return 0.0
    name, value = (f"cost({K})", cost(K)) if callable(cost) else ("cost", cost)
    number = _real(name, value)
    if not 0 <= number < float("inf"):
        raise ValueError(f"{name} must be finite and at least 0, found {value}")
    return number if callable(cost) else number * K


def threads(n_threads: object, default: Callable[[], int]) -> int:
    """Return the number of threads; None means `default()`."""
    if n_threads is None:
        return default()
    return min(integer("n_threads", n_threads, 1), _MAX_THREADS)


def tolerance(tol: object) -> float:
    """Return a relative decrease of J."""
    try:
        if isinstance(tol, (bool, np.bool_, str, bytes)):
            raise TypeError
        number = float(tol)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise TypeError(f"tol must be a real number, found {shorten_repr(tol)}") from None
    if not number >= 0:
        raise ValueError(f"tol must be at least 0, found {number}")
    return number


def ratio(name: str, value: object) -> float:
    """Return a real number of at least 0."""
    number = _real(name, value)
    if not number >= 0:
        raise ValueError(f"{name} must be at least 0, found {value}")
    return number


def _real(name: str, value: object) -> float:
    """Return a real number; a bool is none."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a real number, found {shorten_repr(value)}")
    return float(value)


def choice(name: str, value: object, valid: tuple[str, ...]) -> str:
    """Return one of a few names."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be one of {_listed(valid)}, found {shorten_repr(value)}")
    if value not in valid:
        raise ValueError(f"{name} must be one of {_listed(valid)}, found {shorten_repr(value)}")
    return value


def search(
    value: object, max_swaps: object, kind: str, metric: str = "euclidean"
) -> tuple[str | None, int | None]:
    """Return the search that follows Lloyd's algorithm, and how many swaps it tries at most."""
    if value is None:
        if max_swaps is not None:
            raise ValueError(f"max_swaps needs search='swap', found {shorten_repr(max_swaps)} without it")
        return None, None
    if not isinstance(value, str) or value not in SEARCHES:
        error = ValueError if isinstance(value, str) else TypeError
        raise error(f"search must be one of {_listed(SEARCHES)}, or None, found {shorten_repr(value)}")
    if kind == "chunks":
        raise ValueError(f"search must be None for points in chunks, found {shorten_repr(value)}")
    if metric == "cosine":
        raise ValueError(f"search must be None with metric='cosine', found {shorten_repr(value)}")
    return value, None if max_swaps is None else integer("max_swaps", max_swaps, 1, _MAX_COUNT)


def algorithms(kind: str) -> tuple[str, ...]:
    """Return the names of the engines that accept points of this kind ("array", "sparse" or "chunks")."""
    return tuple(name for name, entry in ENGINES.items() if entry.accepts(kind))


def algorithm(value: object, kind: str, m: int, n: int) -> EngineEntry:
    """Return the engine of this name, if it accepts m points of n features of this kind; the optimum of one
    feature is no engine (`wants_optimum`)."""
    entry = ENGINES.get(value) if isinstance(value, str) else None
    if entry is None or not entry.accepts(kind):
        entry = ENGINES[choice("algorithm", value, fit_algorithms(kind))]
    for limit, number, things in ((entry.max_features, n, "features"), (entry.max_points, m, "points")):
        if limit is not None and number > limit:
            raise ValueError(f'algorithm="{value}" takes at most {limit} {things}, found {number}')
    return entry


def fit_algorithms(kind: str) -> tuple[str, ...]:
    """Return what `algorithm` of a fit of points of this kind may be."""
    return (*algorithms(kind), "optimal") if kind == "array" else algorithms(kind)


def wants_optimum(
    algorithm: object,
    kind: str,
    shape: tuple[int, int],
    *,
    default_init: bool,
    metric: str = "euclidean",
    **options: object,
) -> bool:
    """Return whether a fit is to find the optimum of one feature: if asked for, or "auto" and possible.

    `options` are those that only Lloyd's algorithm has, None or False where they are not in use."""
    if algorithm not in ("auto", "optimal") or not isinstance(algorithm, str):
        return False
    found = None
    if kind != "array":
        found = f"an array, found {kind}" if kind == "chunks" else "an array, found sparse rows"
    elif shape[1] != 1:
        found = f"one feature, found {shape[1]}"
    elif shape[0] >= _MAX_OPTIMAL_POINTS:
        found = f"fewer than {_MAX_OPTIMAL_POINTS} points, found {shape[0]}"
    elif metric != "euclidean":
        found = f'metric="euclidean", found "{metric}"'
    elif not default_init:
        found = 'init="k-means++", the default, as it needs no start, found another one'
    elif used := [name for name, value in options.items() if value not in (None, False)]:
        found = f"no {used[0]}, as there are no iterations"
    if found is not None and algorithm == "optimal":
        raise ValueError(f'algorithm="optimal" takes {found}')
    return found is None


def _listed(valid: tuple[str, ...]) -> str:
    return ", ".join(map(repr, valid))


def function(name: str, value: object) -> Any:
    """Return a callable or None."""
    if value is not None and not callable(value):
        raise TypeError(f"{name} must be callable or None, found {shorten_repr(value)}")
    return value


def seed(seed: object) -> int:
    """Return the 64-bit seed of the whole call; from a Generator it is drawn."""
    # There is no generator before its module, whose import takes longer than a small fit.
    generators = sys.modules.get("numpy.random")
    if generators is not None and isinstance(seed, generators.Generator):
        return int(seed.integers(1 << 63))
    if seed is None:
        return int.from_bytes(os.urandom(8), "little")
    try:
        number = integer("seed", seed, 0)
    except TypeError:
        raise TypeError(
            f"seed must be an integer, a numpy.random.Generator or None, found {shorten_repr(seed)}"
        ) from None
    return number if number < 1 << 63 else int(np.random.SeedSequence(number).generate_state(1, np.uint64)[0])


def seeds(seed_: object, P: int) -> np.ndarray:
    """Return the 64-bit seeds of P calls with this seed: a Generator draws one after the other."""
    if isinstance(seed_, np.random.Generator):
        return np.array([seed(seed_) for _ in range(P)], np.uint64)
    if seed_ is None:
        return np.frombuffer(os.urandom(8 * P), np.uint64) >> 1
    return np.full(P, seed(seed_), np.uint64)


def random_state(value: object) -> np.random.RandomState:
    """Return NumPy's global generator for None, a new one for a number, or the generator given."""
    if value is None:
        global_state: np.random.RandomState = np.random.mtrand._rand
        return global_state
    if isinstance(value, np.random.RandomState):
        return value
    try:
        return np.random.RandomState(integer("random_state", value, 0, 2**32 - 1))
    except TypeError:
        raise TypeError(
            "random_state must be an integer, a numpy.random.RandomState or None, "
            f"found {shorten_repr(value)}"
        ) from None


# ---- many problems ----------------------------------------------------------------------------


def named(name: str, error: ValueError | TypeError) -> ValueError | TypeError:
    """Return the same error with the name of the problem that it is about."""
    return (ValueError if isinstance(error, ValueError) else TypeError)(f"{name}: {error}")


@contextlib.contextmanager
def naming(name: str) -> Iterator[None]:
    """Let errors begin with the name of the problem that is checked."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise named(name, error) from None


def some_problems(P: int) -> None:
    """Raise if there is no problem."""
    if P == 0:
        raise ValueError("problems must hold at least one problem, found none")


def stack(array: np.ndarray | None, value: object) -> np.ndarray:
    """Return problems of as many points each as an array of shape (P, m, n)."""
    if array is None or array.ndim != 3:
        found = shorten_repr(value) if array is None else f"shape {array.shape}"
        raise ValueError(
            "problems must be an array of shape (P, m, n), a list of arrays of shape (?, n), or points with "
            f"`groups`, found {found}"
        )
    some_problems(len(array))
    require_nonempty("each of problems", array.shape[1:])
    return array


def groups(value: object, m: int) -> np.ndarray:
    """Return the group of each of m points, an integer."""
    array = real_array("groups", value)
    if array.dtype.kind not in "iu":
        raise TypeError(f"groups must be integers, found dtype {array.dtype}")
    if array.shape != (m,):
        raise ValueError(f"groups must have shape ({m},), one a row of X, found shape {array.shape}")
    return array


def clusters_of_each(K: object, lengths: np.ndarray, name_of: Callable[[int], str]) -> np.ndarray:
    """Return the number of clusters of each problem, from one number or as many as there are problems."""
    P = len(lengths)
    if np.ndim(K) == 0:  # type: ignore[arg-type]
        numbers = np.full(P, integer("K", _reject_no_knee("K", K), 1), np.int64)
    else:
        values = list(K)  # type: ignore[call-overload]
        if len(values) != P:
            raise ValueError(f"K must be one number or {P}, one a problem, found {len(values)}")
        numbers = np.array([integer("each of K", number, 1) for number in values], np.int64)
    for i in np.flatnonzero(numbers > lengths)[:1].tolist():
        with naming(name_of(i)):
            clusters(int(numbers[i]), int(lengths[i]))
    return numbers


def weights_of_stack(value: object, P: int, m: int) -> np.ndarray:
    """Return weights of P problems of m points, as C-contiguous float64."""
    array = real_array("sample_weight", value)
    if array.shape != (P, m):
        raise ValueError(
            f"sample_weight must have shape ({P}, {m}), one a point of each problem, "
            f"found shape {array.shape}"
        )
    return np.ascontiguousarray(array, np.float64)


def weights_of_list(value: object, P: int) -> list[Any]:
    """Return what the weights of each of P problems were given as."""
    if value is None:
        return [None] * P
    try:
        values = list(value)  # type: ignore[call-overload]
    except TypeError:
        raise TypeError(
            f"sample_weight must be a list with the weights of each problem, found {shorten_repr(value)}"
        ) from None
    if len(values) != P:
        raise ValueError(f"sample_weight must hold the weights of each of {P} problems, found {len(values)}")
    return values


def starts_of_each(value: object, K: int, n: int, P: int) -> np.ndarray:
    """Return starting centroids of P problems, (1, rows, n) for all or (P, rows, n), of at most K rows."""
    array = real_array("init", value)
    if array.ndim != 3:
        return starting_centroids(array, K, n, "init", complete=False)[None]
    if len(array) != P:
        raise ValueError(f"init must have shape (K, {n}) or ({P}, K, {n}), found shape {array.shape}")
    starting_centroids(array[0], K, n, "each of init", complete=False)
    return array


# ---- arrays -----------------------------------------------------------------------------------


def real_array(name: str, value: object) -> np.ndarray:
    """Return real numbers as an array of either byte order, without a copy where possible; bfloat16, which
    NumPy does not know, in float32."""
    return _arrays.widened(_arrays.read(name, value)[0])


def points(value: object, name: str = "X", n_expected: int | None = None) -> np.ndarray:
    """Return points as a 2-D array; bfloat16 in float32."""
    return two_dimensional(real_array(name, value), name, n_expected)


def two_dimensional(array: np.ndarray, name: str = "X", n_expected: int | None = None) -> np.ndarray:
    """Return an array of real numbers, if it is 2-dimensional and not empty.

    `n_expected` is the number of features that it should have, where that is known."""
    shape = array.shape
    if len(shape) != 2:
        hint = f"; {_reshape_hint(name, shape[0], n_expected)}" if len(shape) == 1 else ""
        raise ValueError(f"{name} must be 2-dimensional (points, features), found shape {shape}{hint}")
    if 0 in shape:
        require_nonempty(name, shape)
    return array


def _reshape_hint(name: str, length: int, n_expected: int | None) -> str:
    """Return what makes points of an array of one dimension: it may be one feature, or one point."""
    if length == n_expected != 1:
        return f"{name}.reshape(1, -1) makes one point"
    one_feature = f"{name}.reshape(-1, 1) makes points of one feature"
    return one_feature if n_expected == 1 else f"{one_feature}, {name}.reshape(1, -1) one point"


def require_nonempty(name: str, shape: tuple[int, ...]) -> None:
    """Raise for a 2-D shape without rows or without features."""
    for length, what in zip(shape, ("row", "feature"), strict=True):
        if length == 0:
            raise ValueError(f"{name} must have at least one {what}, found shape {shape}")


def reject_complex(X: object) -> None:
    """Raise for an estimator's complex points, with scikit-learn's message."""
    dtype = getattr(X, "dtype", None)
    if getattr(dtype, "kind", "") == "c":
        raise ValueError(f"Complex data not supported: X has dtype {dtype}")


def estimator_two_dimensional(
    array: np.ndarray, name: str = "X", n_expected: int | None = None
) -> np.ndarray:
    """Return what `two_dimensional` does; raise with scikit-learn's messages."""
    if array.ndim == 1:
        raise ValueError(
            f"Expected 2D array, got 1D array of shape {array.shape}. Reshape your data: "
            f"{_reshape_hint(name, len(array), n_expected)}"
        )
    if array.ndim == 2 and array.shape[1] == 0:
        raise ValueError(
            f"Found array with 0 feature(s) (shape={array.shape}) while a minimum of 1 is required."
        )
    return two_dimensional(array, name)


def centroids(value: object, n: int, name: str = "centroids") -> np.ndarray:
    """Return centroids of n features, in their own dtype."""
    array = points(value, name, n)
    if array.shape[1] != n:
        raise ValueError(f"{name} must have {n} features, as X has, found shape {array.shape}")
    return array


def starting_centroids(
    value: object, K: int, n: int, name: str = "init", complete: bool = True
) -> np.ndarray:
    """Return starting centroids: K rows of n features, or fewer if they need not be `complete`."""
    array = centroids(value, n, name)
    if len(array) > K or (complete and len(array) < K):
        wanted = f"K={K} rows" if complete else f"K={K} rows, or fewer for k-means++ to complete"
        raise ValueError(f"{name} must have {wanted}, found shape {array.shape}")
    return array


def frozen(value: Any, init: object, K: int, name: str = "init") -> np.ndarray | None:
    """Return a flag of uint8 for each of K centroids, set for those that are to stay as `init` has them.

    `value` is a number of leading rows of the array `init`, or a boolean for each of its rows; K booleans
    will do as well, where those that k-means++ draws are False."""
    if value is None:
        return None
    if isinstance(init, str) or callable(init):
        raise ValueError(f"frozen needs {name} to be an array of centroids, found {shorten_repr(init)}")
    given = len(points(init, name))
    flags = np.zeros(K, np.uint8)
    if not isinstance(value, (bool, np.bool_)) and hasattr(value, "__index__") and np.ndim(value) == 0:
        flags[: integer("frozen", value, 0, given, f" (the rows of {name})")] = 1
        return flags
    array = _arrays.as_ndarray("frozen", value)
    if array.dtype != np.bool_:
        wanted = f"a number of rows of {name}, or a boolean for each"
        raise TypeError(f"frozen must be {wanted}, found {shorten_repr(value)}")
    if array.shape not in ((given,), (K,)):
        raise ValueError(f"frozen must have shape ({given},), one a row of {name}, found shape {array.shape}")
    if array[given:].any():
        row = given + int(array[given:].argmax())
        raise ValueError(f"frozen must mark none but the {given} rows of {name}, found True at {row}")
    flags[: len(array)] = array
    return flags


def initial_centers(value: object, n_clusters: int, n_features: int) -> np.ndarray:
    """Return an estimator's starting centroids, checked with scikit-learn's messages."""
    array = points(value, "init")
    does_not_match = f"The shape of the initial centers {array.shape} does not match the number of"
    if len(array) != n_clusters:
        raise ValueError(f"{does_not_match} clusters {n_clusters}.")
    if array.shape[1] != n_features:
        raise ValueError(f"{does_not_match} features of the data {n_features}.")
    require_finite("init", array)
    return array


def labels(value: object, m: int, K: int) -> np.ndarray:
    """Return labels of m points between 0 and K - 1, as C-contiguous int32."""
    array = real_array("labels", value)
    if array.dtype.kind not in "iu":
        raise TypeError(f"labels must be integers, found dtype {array.dtype}")
    if array.shape != (m,):
        raise ValueError(f"labels must have shape ({m},), one a row of X, found shape {array.shape}")
    smallest, largest = array.min(), array.max()
    if smallest < 0 or largest >= K:
        raise ValueError(f"labels must lie in 0..{K - 1}, found {smallest if smallest < 0 else largest}")
    array = np.ascontiguousarray(array, np.int32)
    return array if array.flags.writeable else array.copy()  # compiled code asks for an array it may fill


def label_values(value: object, m: int) -> np.ndarray:
    """Return the labels of m points as they are: numbers, strings or other values that can be sorted."""
    array = _arrays.as_ndarray("labels", value)
    if array.shape != (m,):
        raise ValueError(f"labels must have shape ({m},), one a row of X, found shape {array.shape}")
    if array.dtype.kind not in "biufUSO":
        raise TypeError(f"labels must be integers or strings, found dtype {array.dtype}")
    for row, label in enumerate(array.tolist() if array.dtype.kind in "fO" else ()):
        if label is None or type(label).__name__ == "NAType" or label != label:  # pandas' NA, or NaN
            raise ValueError(f"labels must not be missing, found {label} at row {row}")
    return array


def vectors(rows: object, n_subspaces: int, n_expected: int | None = None) -> np.ndarray:
    """Return vectors that can be cut into subspaces of as many features each."""
    if not isinstance(rows, np.ndarray):
        raise TypeError("X must be an array: sparse rows and chunks cannot be cut into subspaces")
    n = rows.shape[1]
    if n_expected is not None and n != n_expected:
        raise ValueError(f"X must have {n_expected} features, as in fit, found shape {rows.shape}")
    if n % n_subspaces:
        raise ValueError(f"n_subspaces must divide the {n} features of X, found {n_subspaces}")
    return rows


def codes(value: object, n_subspaces: int, K: int) -> np.ndarray:
    """Return codes of vectors, (m, n_subspaces), each from 0 to K - 1."""
    array = real_array("codes", value)
    if array.dtype.kind not in "iu":
        raise TypeError(f"codes must be integers, found dtype {array.dtype}")
    if array.ndim != 2 or array.shape[1] != n_subspaces:
        raise ValueError(f"codes must have shape (m, {n_subspaces}), found shape {array.shape}")
    if array.size and (array.min() < 0 or array.max() >= K):
        found = array.min() if array.min() < 0 else array.max()
        raise ValueError(f"codes must lie in 0..{K - 1}, found {found}")
    return array


def in_float32(name: str, array: np.ndarray) -> np.ndarray:
    """Return values in float32, if it can hold them."""
    largest = float(np.abs(array).max())
    if largest > np.finfo(np.float32).max:
        raise ValueError(
            f"{name} must have values that float32 can hold, found {largest:g}: rescale the data"
        )
    return np.ascontiguousarray(array, np.float32)


def fitted(value: np.ndarray | None, name: str) -> np.ndarray:
    """Return what a fit has found, None before it."""
    if value is None:
        raise ValueError(f"this {name} is not fitted: call fit first")
    return value


def label_groups(values: np.ndarray, weights: np.ndarray | None) -> tuple[np.ndarray, int]:
    """Return each point's group from 0 on, as int32, and the number of groups: at least 2, and fewer than
    points, as a silhouette needs them."""
    try:
        distinct, groups = np.unique(values, return_inverse=True)
    except TypeError:
        raise TypeError("labels must be integers or strings, found values of several kinds") from None
    K = len(distinct)
    if K < 2:
        raise ValueError(f"labels must name at least 2 clusters, found {K}")
    total = len(values) if weights is None else weights.sum()
    if total <= K:
        points = "points" if weights is None else f"points by sample_weight ({total:g} in all)"
        raise ValueError(f"labels must name fewer clusters than there are {points}, found {K}")
    return groups.astype(np.int32), K


def weights(value: object, m: int) -> np.ndarray | None:
    """Return weights of m points, as C-contiguous float64; None means that each weighs 1."""
    if value is None:
        return None
    array = block_weights(value, m)
    total_weight(float(array.sum()))
    return array


def block_weights(value: object, m: int) -> np.ndarray:
    """Return weights of m points that are a part of all, as C-contiguous float64."""
    array = real_array("sample_weight", value)
    if array.shape != (m,):
        raise ValueError(f"sample_weight must have shape ({m},), one a row of X, found shape {array.shape}")
    array = np.ascontiguousarray(array, np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        total = array.sum()
    if not np.isfinite(total):
        if np.isfinite(array).all():
            raise ValueError("sample_weight must have a finite sum, found infinity")
        row = np.flatnonzero(~np.isfinite(array))[0]
        raise ValueError(f"sample_weight must be finite, found {array[row]} at row {row}")
    if array.min() < 0:
        row = np.flatnonzero(array < 0)[0]
        raise ValueError(f"sample_weight must not be negative, found {array[row]} at row {row}")
    return array


def total_weight(total: float) -> float:
    """Return the sum of all weights, if a fit can do with it."""
    if total == 0:
        raise ValueError("sample_weight must not be all zero")
    if not 1e-200 < total < 1e200:
        raise ValueError(f"sample_weight must have a sum between 1e-200 and 1e200, found {total}")
    return total


def parts(value: Any, kind: type) -> list[Any]:
    """Return the parts of a step, at least one, as a list."""
    found = [value] if isinstance(value, kind) or not hasattr(value, "__iter__") else list(value)
    if not found:
        raise ValueError("parts must hold at least one result of partial_step, found none")
    for number, part in enumerate(found):
        if not isinstance(part, kind):
            raise TypeError(f"parts[{number}] must be a result of partial_step, found {shorten_repr(part)}")
    return found


def same_origin(number: int, origin: np.ndarray, wanted: np.ndarray) -> None:
    """Raise unless a part of a step is of these centroids, up to the rounding to its dtype."""
    if origin.shape != wanted.shape or not np.array_equal(origin, wanted.astype(origin.dtype)):
        raise ValueError(f"parts must be of the same centroids, found other ones in parts[{number}]")


def reject_sample_weight() -> NoReturn:
    """Raise: prepared points have their weights."""
    raise ValueError("sample_weight must be given to prepare, whose sums it is part of, and not again")


def estimator_weights(value: Any, m: int) -> tuple[np.ndarray | None, float]:
    """Return weights of m points, which may be one number for all, and their sum.

    Equal weights become None, so that the same numbers are drawn as without weights."""
    array = weights(np.full(m, value, np.float64) if isinstance(value, numbers.Real) else value, m)
    if array is None:
        return None, float(m)
    return None if array.min() == array.max() else array, float(array.sum())


def labels_out(value: object, m: int) -> np.ndarray:
    """Return the caller's array for labels."""
    if not isinstance(value, np.ndarray) or value.dtype != np.int32:
        raise TypeError(f"out must be an int32 array, found {_describe(value)}")
    if value.shape != (m,) or not value.flags.c_contiguous or not value.flags.writeable:
        raise ValueError(
            f"out must be a writable contiguous array of shape ({m},), found shape {value.shape}"
        )
    return value


def _describe(value: object) -> str:
    return f"dtype {value.dtype}" if isinstance(value, np.ndarray) else shorten_repr(value)


# ---- values that compiled code rejects --------------------------------------------------------


def require_finite(name: str, array: np.ndarray) -> None:
    """Raise for the first NaN or infinity of a small array."""
    bad = ~np.isfinite(array)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise_at(name, array[row, column], row, column)


def require_no_zero_row(name: str, array: np.ndarray) -> None:
    """Raise for the first row of zeros of a small array, which has no direction."""
    zero = ~array.any(axis=1)
    if zero.any():
        raise_zero_row(name, f"row {int(zero.argmax())}")


def raise_zero_row(name: str, place: str) -> NoReturn:
    """Raise for a row of zeros at this place."""
    raise ValueError(f'{name} must have no row of zeros with metric="cosine", found one at {place}')


def max_abs(array: HasExtrema) -> float:
    """Return the largest magnitude, without a copy; NaN if there is one."""
    if isinstance(array, np.ndarray):
        return _arrays.max_abs(array)
    return max(abs(float(array.min())), abs(float(array.max())))


def raise_start_beyond(limit: float, name: str, found: float) -> NoReturn:
    """Raise for a start whose squares leave the dtype in which X is computed."""
    raise ValueError(f"{name} must lie within +-{limit:.3g}, as X does, found a value of {found:g}")


def raise_beyond_float64(**arrays: HasExtrema) -> NoReturn:
    """Raise for values whose squares leave float64, naming the array with the largest one; X if none is
    large, since then its values are too small."""
    magnitudes = {name: max_abs(array) for name, array in arrays.items()}
    name = max(magnitudes, key=magnitudes.__getitem__)
    if magnitudes[name] < 1e9:
        name = "X"
    raise ValueError(
        f"{name} must have values whose squares float64 can hold, found {magnitudes[name]:g}: "
        "rescale the data"
    )


def empty_cluster_message(cluster: int, iteration: int) -> str:
    """Return the message of empty="error"."""
    return f'empty="error": cluster {cluster} has no points after iteration {iteration}'
