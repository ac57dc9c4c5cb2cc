"""Points and centroids made against 8-bit codes, and a comparison of the labels that they get."""

from __future__ import annotations

import cases
import numpy as np

import ckmeans


def _normal(rng, m, n):
    return rng.normal(size=(m, n))


def _heavy_tails(rng, m, n):
    return rng.standard_cauchy((m, n))


def _huge_value(rng, m, n):
    """Return rows with one value by which all others have the code 0."""
    X = rng.normal(size=(m, n))
    X[np.arange(m), rng.integers(n, size=m)] *= 10.0 ** rng.integers(2, 8, m)
    return X


def _constant_rows(rng, m, n):
    return np.repeat(rng.normal(size=(m, 1)), n, axis=1)


def _subnormal_rows(rng, m, n):
    """Return subnormal rows of both dtypes between rows that keep the set in range."""
    X = rng.normal(size=(m, n)) * rng.choice([1e-40, 1e-44, 1e-310, 1e-322], (m, 1))
    X[::5] = rng.normal(size=(len(X[::5]), n))
    return X


def _ties(rng, m, n):
    return rng.integers(-1, 2, (m, n)).astype(float)


def _ends_of_the_range(rng, m, n):
    """Return values at the ends of the codes, and half way between two of them."""
    X = rng.choice([-127, -126.5, -63, -62.5, -0.5, 0, 0.5, 62.5, 63, 126.5, 127], (m, n))
    X[:, 0] = rng.choice([-127, 127], m)
    return X


def _scales(rng, m, n):
    """Return rows of very different scales, which lie about the origin."""
    return rng.normal(size=(m, n)) * 10.0 ** rng.uniform(-30, 15, (m, 1))


def _scales_of_float64(rng, m, n):
    return rng.normal(size=(m, n)) * 10.0 ** rng.uniform(-300, 150, (m, 1))


def _sampled(m):
    """Return the rows from which the origin and the unit of the codes are found: 9 groups of 32."""
    count = min(m, 288)
    return np.arange(count) * m // count


def _signs_and_tiny(rng, m, n):
    """Return rows of exact codes; the origin is found from others, whose squares underflow."""
    X, rows = rng.choice([-1.0, 1.0], (m, n)), _sampled(m)
    rows = rows[rows < m - 1]  # one row at least keeps the set in range
    X[rows] = rng.normal(size=(len(rows), n)) * rng.choice([1e-20, 1e-22, 1e-24, 1e-160], (len(rows), 1))
    return X


def _outliers(rng, m, n):
    """Return points far from the others, some beyond the range of codes and of float32."""
    X = rng.normal(size=(m, n))
    X[7::31] *= 10.0 ** rng.uniform(5, 17, (len(X[7::31]), 1))
    if m > 300:
        X[_sampled(m)] = rng.normal(size=(288, n)) * 1e-3
    return X


def _mixed_features(rng, m, n):
    return rng.normal(size=(m, n)) * 10.0 ** rng.integers(-6, 7, n)


def _decaying(rng, m, n):
    return rng.normal(size=(m, n)) / np.arange(1, n + 1)


def _scaled(factor, make=_normal):
    return lambda rng, m, n: make(rng, m, n) * factor


def _moved(offset):
    return lambda rng, m, n: rng.normal(size=(m, n)) + offset


# Name -> (how the points are made, dtypes in which they can be computed)
BOTH, SINGLE, DOUBLE = ("float32", "float64"), ("float32",), ("float64",)
KINDS = {
    "normal": (_normal, BOTH),
    "heavy tails": (_heavy_tails, BOTH),
    "huge value": (_huge_value, BOTH),
    "constant rows": (_constant_rows, BOTH),
    "subnormal rows": (_subnormal_rows, BOTH),
    "ties": (_ties, BOTH),
    "ends of the range": (_ends_of_the_range, BOTH),
    "scales": (_scales, BOTH),
    "scales of float64": (_scales_of_float64, DOUBLE),
    "signs and tiny": (_signs_and_tiny, BOTH),
    "tiny signs": (_scaled(1e-140, _signs_and_tiny), DOUBLE),
    "outliers": (_outliers, BOTH),
    "mixed features": (_mixed_features, BOTH),
    "decaying": (_decaying, BOTH),
    "offset 1e4": (_moved(1e4), BOTH),
    "offset 1e6": (_moved(1e6), BOTH),
    "offset 1e8": (_moved(1e8), BOTH),
    "large": (_scaled(1e15), BOTH),
    "huge": (_scaled(1e150), DOUBLE),
    "small": (_scaled(1e-14), BOTH),
    "tiny": (_scaled(1e-144), DOUBLE),
    "ends of float64": (_scaled(1e132, _outliers), DOUBLE),
}
NAMES = [(kind, dtype) for kind, (_, dtypes) in KINDS.items() for dtype in dtypes]


def problem(kind, dtype, m, n, K, seed=0):
    """Return points and centroids: points, points moved a little, and others of the kind."""
    make, rng = KINDS[kind][0], np.random.default_rng([seed, m, n, K])
    X = make(rng, m, n)
    C = cases.some_rows(X, K, seed) * (1 + 1e-3 * rng.normal(size=(K, n)) * (rng.random((K, 1)) < 0.5))
    C[1::4] = make(rng, K, n)[1::4]
    with np.errstate(under="ignore"):
        return X.astype(dtype), C.astype(dtype)


LAYOUTS = {
    "rows": np.ascontiguousarray,
    "columns": np.asfortranarray,
    "strided": lambda X: np.repeat(np.repeat(X, 2, axis=0), 2, axis=1)[::2, ::2],
    "reversed": lambda X: X[::-1, ::-1].copy()[::-1, ::-1],
    "swapped": lambda X: X.astype(X.dtype.newbyteorder()),
}


def first_labels(X, C, algorithm, **options):
    """Return the labels of the start."""
    r = ckmeans.kmeans(
        X, len(C), init=C, algorithm=algorithm, empty="farthest", callback=lambda *_: True, **options
    )
    return r.labels


def differing_labels(X, C, *, max_iter=4, **options):
    """Count the labels that differ between the engines "screen" and "dense", at the start and at the end."""
    first, last = (
        [first_labels(X, C, algorithm, n_threads=2) for algorithm in ("dense", "screen")],
        [
            ckmeans.kmeans(
                X, len(C), init=C, algorithm=algorithm, max_iter=max_iter, tol=0, n_threads=2, **options
            ).labels
            for algorithm in ("dense", "screen")
        ],
    )
    return int((first[0] != first[1]).sum() + (last[0] != last[1]).sum())
