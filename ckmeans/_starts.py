"""The starting centroids of every restart: given as arrays, computed by a callable, or drawn."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

from ckmeans import _arrays, _validate
from ckmeans._inputs import Inputs
from ckmeans._points import OutOfRange, PreparedPoints
from ckmeans._unit_length import unit_rows

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

# In quotes, as numpy.random takes longer to import than this package.
Init: TypeAlias = "str | ArrayLike | Callable[[Any, int, np.random.Generator], ArrayLike]"


class Starts(Protocol):
    """Provider of the starts of all restarts, for any computing dtype."""

    given: dict[str, np.ndarray]  # centroids that are known to be far from 0 or near it, by their name

    def resolve(
        self, prepared: PreparedPoints, seed: int, exponent: int
    ) -> np.ndarray | Callable[[int], np.ndarray]:
        """Return an (n_init, K, n) array or a function of the restart, in the dtype of these points, which
        are those of X divided by 2**exponent."""


class StartArray:
    """Starts of all restarts as one (n_init, K, n) array, or (1, < K, n), with which each begins."""

    def __init__(self, arrays: np.ndarray, points: Inputs, name: str = "init") -> None:
        self.arrays, self.points, self.name = arrays, points, name
        self.given = {name: arrays.reshape(-1, arrays.shape[2])}

    def resolve(self, prepared: PreparedPoints, seed: int, exponent: int) -> np.ndarray:
        """Return the starts in the computing dtype."""
        flat = self.given[self.name]
        return _in_dtype(flat, self.points, prepared, exponent, self.name).reshape(self.arrays.shape)


class StartCallable:
    """Starts that the user's ``init(X, K, rng)`` computes."""

    def __init__(self, init: Callable[..., ArrayLike], points: Inputs, K: int, name: str) -> None:
        self.init, self.points, self.K, self.name = init, points, K, f"{name}(X, K, rng)"
        self.given: dict[str, np.ndarray] = {}

    def resolve(self, prepared: PreparedPoints, seed: int, exponent: int) -> Callable[[int], np.ndarray]:
        """Return a function that calls `init` for a restart and checks what it returns."""
        n = self.points.shape[1]

        def start(restart: int) -> np.ndarray:
            rng = np.random.default_rng([seed, restart])
            given = self.init(self.points.original, self.K, rng)
            centroids = _validate.starting_centroids(given, self.K, n, self.name)
            if exponent:
                self.given = {self.name: centroids}
            return _in_dtype(centroids, self.points, prepared, exponent, self.name)

        return start


def read_init(
    init: Init, points: Inputs, K: int, n_init: int, name: str = "init"
) -> tuple[Starts | None, int]:
    """Return (start provider or None, k-means++ trials): without a provider starts are drawn, as random
    examples if trials is 0. With both, k-means++ completes what is given."""
    if isinstance(init, str):
        method = _validate.choice(name, init, _validate.INITS)
        return None, default_trials(K) if method == "k-means++" else 0
    if callable(init):
        return StartCallable(init, points, K, name), 0
    given = _validate.starting_centroids(init, K, points.shape[1], name, complete=False)
    if len(given) < K:
        return StartArray(given[None], points, name), default_trials(K)
    if n_init != 1:
        raise ValueError(f"n_init must be 1 if {name} is an array, found {n_init}")
    return StartArray(given[None], points, name), 0


def is_default(init: Init) -> bool:
    """Return whether `init` is "k-means++", the default."""
    return isinstance(init, str) and init == "k-means++"


def default_trials(K: int) -> int:
    """Return the candidates per centroid of greedy k-means++ (Arthur and Vassilvitskii 2007)."""
    return 2 + int(math.log(K))


def _in_dtype(
    centroids: np.ndarray, points: Inputs, prepared: PreparedPoints, exponent: int, name: str
) -> np.ndarray:
    """Return starting centroids / 2**exponent in the computing dtype, if it can hold their squares.

    If it cannot, and X needs no wider dtype, raise ValueError: the result would be in float64, and its
    labels not those that `assign` computes in float32."""
    if points.is_cosine:
        centroids = unit_rows(centroids, prepared.itemsize, name)
    elif exponent:
        centroids = _arrays.times_power(centroids, -exponent)
    max_abs = float(np.abs(centroids).max())
    if not max_abs <= prepared.largest:
        _validate.require_finite(name, centroids)
        if prepared.itemsize == 4 and points.max_abs <= prepared.largest:
            _validate.raise_start_beyond(prepared.largest, name, max_abs)
        raise OutOfRange(max_abs)
    return np.ascontiguousarray(centroids, np.float32 if prepared.itemsize == 4 else np.float64)
