"""Between the checks and compiled code: the engine, the computing dtype, the starts, the bar."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ckmeans import _lloyd, _sources, _step, _validate
from ckmeans._config import default_threads
from ckmeans._points import OutOfRange, Points
from ckmeans._store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike

    Init = ArrayLike | Callable[[np.ndarray, int, np.random.Generator], ArrayLike]

# Features -> least m K from which cells were measured to beat dense in 20 iterations of one fit; and the
# rows from which they do wherever at least 4 restarts share the ordering.
_CELLS_FROM = (0, 8e4, 1e5, 6e5)
_SHARED_FROM = 2048
# Of more features least m K^2, for one fit and for restarts that share the ordering of 16,384 points or more.
_MORE_FEATURES = {4: (1.3e9, 2e8), 5: (2e9, 5e8), 6: (6e9, 1.5e9), 7: (1.6e10, 5e9), 8: (2e11, 6e10)}
_SMALL_WORK = 1_000_000  # multiply-adds below which no thread is started, so none need be counted


def fastest(X: Any, K: int, n_init: int) -> str:
    """The engine of "auto", by shapes, dtype and restarts alone: whether ordering or projecting pays."""
    n = X.shape[1]
    if _ordering_pays(X, K, n_init):
        return "cells"
    return "screen" if n >= 48 and screening_may_pay(X, K, least=1024) else "dense"


def screening_may_pay(X: Any, K: int, least: int = 4096) -> bool:
    """Sooner or later, from `least` rows on (of fewer than 4096 the engine looks itself whether they stand in
    groups), and within the memory that "auto" may take."""
    if not isinstance(_sources.inner(X), np.ndarray):
        return False
    m, n = X.shape
    projected = m * (min(n, 128) + 4) * _validate.itemsize(X)
    return (
        n >= 8
        and m >= least
        and K >= 16
        and m * K >= 1e6
        and projected <= max(X.size * X.dtype.itemsize // 2, 256 << 20)
    )


def _ordering_pays(X: Any, K: int, n_init: int) -> bool:
    m, n = X.shape
    if m > _validate.CELLS_ROWS or K == 1:
        return False
    if n >= 3 and m < 8 * K:  # the smallest boxes lie in several clusters
        return False
    if n < len(_CELLS_FROM):
        return m * K >= _CELLS_FROM[n] or (n_init >= 4 and m >= _SHARED_FROM)
    if n not in _MORE_FEATURES:
        return False
    alone, shared = _MORE_FEATURES[n]
    least = shared if n_init >= 4 and m >= 1 << 14 else alone
    return m * max(K, 6) ** 2 >= least  # dense is no faster with fewer centroids than 6


def _boxes_pay(X: Any, K: int) -> bool:
    """Whether to find labels in boxes, that are there already or will serve again: the same labels."""
    return isinstance(X, _sources.Prepared) and X.has_rows and _ordering_pays(X, K, 4)


def threads(n_threads: object, work: int) -> int:
    """How many threads to use for so many multiply-adds."""
    return _validate.threads(n_threads, (lambda: 1) if work < _SMALL_WORK else default_threads)


def in_safe_dtype(
    X: Any, weights: np.ndarray | None, work: Callable[[Store], Any], **others: np.ndarray
) -> Any:
    """Do `work` in the computing dtype of X, or in float64 where squares would leave float32.
    `others` are the small arrays, by name, whose values may be at fault too."""
    itemsize, given = _validate.itemsize(X), _sources.inner(X)
    while True:
        points = _sources.store(X, itemsize, weights)
        try:
            return work(points)
        except OutOfRange as error:
            if not math.isfinite(points.magnitude(error.args[0])):
                if at := getattr(given, "first_not_finite", points.first_not_finite)():
                    _validate.refuse_not_finite("X", *at)
                for name, other in others.items():
                    _validate.finite(name, other)
        if itemsize == 8:
            _validate.refuse_beyond_float64(X=given, **others)
        itemsize = 8


def one_step(
    X: np.ndarray,
    weights: np.ndarray | None,
    centroids: np.ndarray,
    labels: np.ndarray,
    n_threads: int,
    *,
    squared: np.ndarray | None = None,
    score: bool = False,
    add_up: bool = False,
    measure: bool = False,
) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    """One step of an engine: (sum of squared distances, sums of x - c, weights, counts), where `add_up`;
    where `measure` at least the first."""
    centres = Points(centroids, 8)
    in_boxes = score and _boxes_pay(X, len(centroids))

    def work(points: Store) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
        if in_boxes:
            most = _step.assign_in_boxes(points, centres, labels, n_threads)
            if points.out_of_range(most):
                raise OutOfRange(most)
            if squared is None and not measure:
                return 0.0, *3 * (labels[:0],)
        most, *sums = _step.step(
            points, centres, labels, squared, score and not in_boxes, add_up, measure, n_threads
        )
        if points.out_of_range(most):
            raise OutOfRange(most)
        return sums  # type: ignore[return-value]

    return in_safe_dtype(X, weights, work, centroids=centroids)


class Given:
    """Starts of several restarts, made beforehand."""

    def __init__(self, arrays: list[np.ndarray]) -> None:
        self.arrays = arrays


class GivenStarts:
    """The starts of all restarts, (n_init, K, n), for any computing dtype."""

    def __init__(self, given: np.ndarray, X: np.ndarray, name: str) -> None:
        self.given, self.X, self.name = given, X, name

    def rounded(self, points: Points) -> np.ndarray:
        flat = self.given.reshape(-1, self.given.shape[2])
        return _rounded(flat, self.X, points, self.name).reshape(self.given.shape)

    def __call__(self, restart: int, seed: int, points: Points) -> np.ndarray:
        return self.rounded(points)[restart].copy()  # it may be the caller's array


def starts(init: Init, X: np.ndarray, K: int, n_init: int, name: str = "init") -> tuple[Any, int]:
    """(None, the starts given or a function that gives a restart's, trials of k-means++ or 0)."""
    if isinstance(init, str):
        method = _validate.choice(name, init, _validate.INITS)
        return None, 2 + int(math.log(K)) if method == "k-means++" else 0
    if isinstance(init, Given):
        return GivenStarts(np.stack(init.arrays), X, name), 0
    if callable(init):
        return _called_starts(init, X, K, name), 0
    given = _validate.start(init, K, X.shape[1], name)
    if n_init != 1:
        raise ValueError(f"n_init must be 1 where {name} is an array, found {n_init}")
    return GivenStarts(given[None], X, name), 0


def _called_starts(
    init: Callable[..., ArrayLike], X: np.ndarray, K: int, name: str
) -> Callable[..., np.ndarray]:
    def start(restart: int, seed: int, points: Points) -> np.ndarray:
        rng = np.random.default_rng([seed, restart])
        made_by = f"{name}(X, K, rng)"
        given = init(_sources.original(X), K, rng)
        return _rounded(_validate.start(given, K, X.shape[1], made_by), X, points, made_by)

    return start


def _rounded(centroids: np.ndarray, X: np.ndarray, points: Points, name: str) -> np.ndarray:
    """Starting centroids in the computing dtype, if they are finite and it holds their squares."""
    largest = float(np.abs(centroids).max())
    if not largest <= points.largest:
        _validate.finite(name, centroids)
        if points.itemsize == 8:
            _validate.refuse_beyond_float64(**{name: centroids})
        if _validate.magnitude(_sources.inner(X)) <= points.largest:
            _validate.refuse_start_beyond(points.largest, name, largest)
        raise OutOfRange(points.bits(largest))
    return np.ascontiguousarray(centroids, np.float32 if points.itemsize == 4 else np.float64)


def fit(points: Store, start: Any, beat: Any, options: dict[str, Any]) -> dict[str, Any]:
    """All restarts, by the engine that the options name."""

    def called(restart: int) -> np.ndarray:
        return start(restart, options["seed"], points)

    given = start.rounded(points) if isinstance(start, GivenStarts) else None
    caller = called if start is not None and given is None else None
    try:
        return _lloyd.fit(points, given=given, start=caller, beat=beat, **options)
    except _lloyd.EmptyCluster as error:
        raise ValueError(_validate.empty_cluster(*error.args)) from None


class Bar:
    """A progress bar over so many things of a kind."""

    def __init__(self, wanted: bool, total: int, unit: str) -> None:
        self.bar = None
        if wanted:
            try:
                from tqdm.auto import tqdm
            except ImportError:
                raise ImportError('progress=True needs tqdm: pip install "ckmeans-simd[progress]"') from None
            self.bar = tqdm(total=total, unit=unit)

    def __enter__(self) -> Callable[[int], None] | None:
        return None if self.bar is None else self.beat

    def beat(self, done: int) -> None:
        assert self.bar is not None
        self.bar.update(done - self.bar.n)

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.close()
