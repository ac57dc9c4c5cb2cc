"""k-means in plain NumPy and float64: what every engine, dtype and instruction set is tested against.

Nothing here imports the package. Points and centroids are first rounded to the dtype in which the
package computes (`rounded`); from there on everything is done in float64, by differences.

How certain is a label?
-----------------------
The package finds labels by scores, not by differences. With u = eps / 2 the unit roundoff of the
computing dtype and s a shift that is representable in it, it forms

    x' = fl(x - s),  c' = fl(c - s),
    score = fl(|c'|^2), then for each of the n features one fused multiply-add: score += x'_l * (-2 c'_l),

and takes the lowest score. In exact arithmetic the score is S = |x - c|^2 - |x - s|^2, so that the
scores of one point differ exactly as its squared distances do. Write theta_j for any number that is
a product of j factors (1 + delta) or their inverses, |delta| <= u, minus 1; then
|theta_j| <= gamma_j = j u / (1 - j u) and (1 + theta_i)(1 + theta_j) = 1 + theta_(i+j)
(Higham, "Accuracy and Stability of Numerical Algorithms", lemma 3.1). Count the roundings of each term:

    c'_l^2          2 from the shift of c (squared),
                    n + 1 from adding the squares up and rounding the sum (in float64: far fewer
                    where the computing dtype is float32, never more),
                    n from the chain of additions                            ->  1 + theta_(2n+3)
    x'_l * 2 c'_l   1 from the shift of x, 1 from that of c (doubling is exact),
                    at most n from the chain, since term l takes part in n - l + 1 additions,
                    1 for the product where it is not fused (without FMA a step has two
                    roundings instead of one; the baseline has)              ->  1 + theta_(n+3)

so that, by the Cauchy-Schwarz inequality for sum |x_l - s_l| |c_l - s_l|,

    |score - S| <= E(x, c) = gamma_(2n+3) |c - s|^2 + 2 gamma_(n+3) |x - s| |c - s| + (2n + 2) t.

The last term is for underflow: subtractions have none, and each of the n products of the norm, its
rounding, and each of the n multiply-adds loses at most t, the smallest subnormal number.

If the package chooses j where b is best, score_j <= score_b, hence
|x - c_j|^2 - |x - c_b|^2 <= E(x, c_j) + E(x, c_b). A label is therefore certain as soon as

    |x - c_j|^2 - |x - c_b|^2 > E(x, c_j) + E(x, c_b)    for every j other than b,

which is implied by "the two best squared distances differ by more than B = 2 max_k E(x, c_k)" and
says more about a point one of whose centroids lies far away. The distances computed here have
errors of their own: a sum of n squares of differences, in float64, is right to gamma_(n+2) of
itself with float64's u, which is added to E.
"""

from __future__ import annotations

from math import fsum

import numpy as np

SINGLE = {np.dtype(name) for name in ("f2", "f4", "i1", "u1", "u2")}


# ---- the computing dtype -------------------------------------------------------------------------


def computing_dtype(X) -> np.dtype:
    """Return float32 for short floats and short integers (but int16), else float64."""
    native = np.asarray(X).dtype.newbyteorder("=")
    return np.dtype(np.float32 if native in SINGLE else np.float64)


def rounded(values, dtype) -> np.ndarray:
    """Round values to a dtype; return them in float64."""
    return np.asarray(values).astype(dtype).astype(np.float64)


# ---- one step ------------------------------------------------------------------------------------


def squared_distances(X, centroids) -> np.ndarray:
    """Return the (m, K) squared distances, by differences."""
    X, centroids = np.asarray(X, np.float64), np.asarray(centroids, np.float64)
    return np.stack([((X - c) ** 2).sum(axis=1) for c in centroids], axis=1)


def assign(X, centroids) -> np.ndarray:
    """Return the index of the nearest centroid; ties go to the lowest index."""
    return squared_distances(X, centroids).argmin(axis=1)


def update(X, labels, K, weights=None) -> tuple[np.ndarray, np.ndarray]:
    """Return (means, NaN for a cluster of weight 0; weights of the clusters), from exact sums."""
    X = np.asarray(X, np.float64)
    weights = np.ones(len(X)) if weights is None else np.asarray(weights, np.float64)
    means, total = np.full((K, X.shape[1]), np.nan), np.zeros(K)
    for k in range(K):
        own = labels == k
        total[k] = fsum(weights[own])
        if total[k] > 0:
            means[k] = [fsum(column) / total[k] for column in (weights[own, None] * X[own]).T]
    return means, total


def distortion(X, centroids, labels=None, weights=None) -> float:
    """Return the (weighted) mean squared distance to the assigned centroid, by default the nearest one."""
    X, centroids = np.asarray(X, np.float64), np.asarray(centroids, np.float64)
    labels = assign(X, centroids) if labels is None else np.asarray(labels)
    squared = ((X - centroids[labels]) ** 2).sum(axis=1)
    return float(np.average(squared, weights=weights))


def farthest_rows(squared, weights=None) -> np.ndarray:
    """Return the rows of positive weight and distance, by falling squared distance."""
    far = np.flatnonzero((squared > 0) & (True if weights is None else np.asarray(weights) > 0))
    return far[np.argsort(-squared[far], kind="stable")]


# ---- Lloyd's algorithm ---------------------------------------------------------------------------


def lloyd(X, start, *, max_iter=300, tol=0.0, weights=None, dtype=np.float64) -> dict:
    """Run Lloyd's algorithm with the policy "drop"; centroids are rounded to `dtype` after each update."""
    X, centroids = rounded(X, dtype), rounded(start, dtype)
    labels = assign(X, centroids)
    history = [distortion(X, centroids, labels, weights)]
    reason = "max_iter"
    for _ in range(max_iter):
        means, total = update(X, labels, len(centroids), weights)
        kept = np.flatnonzero(total > 0)
        renumber = np.full(len(centroids), -1)
        renumber[kept] = np.arange(len(kept))
        before, centroids = renumber[labels], rounded(means[kept], dtype)
        labels = assign(X, centroids)
        history.append(distortion(X, centroids, labels, weights))
        if (labels == before).all():
            reason = "stable"
            break
        if history[-2] - history[-1] <= tol * history[-2]:
            reason = "tolerance"
            break
    return {
        "centroids": centroids,
        "labels": labels,
        "history": np.array(history),
        "n_iter": len(history) - 1,
        "stop_reason": reason,
    }


# ---- spherical k-means ---------------------------------------------------------------------------


def directions(X) -> np.ndarray:
    """Return the rows at unit length."""
    X = np.asarray(X, np.float64)
    X = X / np.abs(X).max(axis=1, keepdims=True)
    return X / np.sqrt((X**2).sum(axis=1, keepdims=True))


def cosine_distortion(X, centroids, labels, weights=None) -> float:
    """Return the (weighted) mean of 1 - cos, as half the squared distances of directions."""
    return distortion(directions(X), directions(centroids), labels, weights) / 2


def mean_directions(X, labels, K, weights=None) -> tuple[np.ndarray, np.ndarray]:
    """Return (directions of the clusters' means of directions, lengths of these means)."""
    means, _ = update(directions(X), labels, K, weights)
    lengths = np.sqrt((means**2).sum(axis=1))
    return means / np.where(lengths > 0, lengths, 1)[:, None], lengths


# ---- how certain a label is ----------------------------------------------------------------------


def shift_of(centroids) -> np.ndarray:
    """Return the shift that packing subtracts: the componentwise lower median of up to nine of the
    centroids, spread evenly over their indices."""
    K = len(centroids)
    count = min(K, 9)
    few = np.asarray(centroids)[[i * (K - 1) // max(count - 1, 1) for i in range(count)]]
    return np.sort(few, axis=0)[(count - 1) // 2].astype(np.float64)


def gamma(j, eps) -> float:
    """Return the largest relative error of j roundings to a precision of eps."""
    return j * eps / 2 / (1 - j * eps / 2)


def score_errors(X, centroids, dtype, about_zero=False) -> np.ndarray:
    """Return E(x, c) of the module's docstring, (m, K), plus the reference's own error.

    `about_zero`: the shift s is 0, as it is for sparse rows, which a shift would fill."""
    X, centroids = rounded(X, dtype), rounded(centroids, dtype)
    n = X.shape[1]
    eps, tiny = float(np.finfo(dtype).eps), float(np.finfo(dtype).smallest_subnormal)
    shift = np.zeros(n) if about_zero else shift_of(centroids)
    x = np.sqrt(((X - shift) ** 2).sum(axis=1))[:, None]
    c = np.sqrt(((centroids - shift) ** 2).sum(axis=1))[None, :]
    own = gamma(n + 2, np.finfo(np.float64).eps) * squared_distances(X, centroids)
    return gamma(2 * n + 3, eps) * c**2 + 2 * gamma(n + 3, eps) * x * c + (2 * n + 2) * tiny + own


def certain_labels(X, centroids, dtype, about_zero=False) -> tuple[np.ndarray, np.ndarray]:
    """Return (labels, whether each of them is certain) for a computation in `dtype`; of sparse rows
    `about_zero`."""
    X, centroids = rounded(X, dtype), rounded(centroids, dtype)
    squared = squared_distances(X, centroids)
    errors = score_errors(X, centroids, dtype, about_zero)
    labels = squared.argmin(axis=1)
    every = np.arange(len(X))
    latest = (squared + errors)[every, labels]
    earliest = squared - errors
    earliest[every, labels] = np.inf
    return labels, earliest.min(axis=1) > latest


def certain_directions(X, centroids, dtype) -> tuple[np.ndarray, np.ndarray]:
    """Return (labels by the largest cosine, whether each of them is certain) for a computation in `dtype`.

    A label has the lowest |x - c|^2 = 2 - 2 cos, of directions that are rounded to the dtype: by eps / 2 for
    the factor of a row and by eps / 2 for each product, so that x moves by eps at most; c moves by 2.5 eps at
    most, as it may have unit length already. Each moves a squared distance by at most 4 times as much."""
    X, centroids = directions(X), directions(centroids)
    eps = float(np.finfo(dtype).eps)
    squared = squared_distances(X, centroids)
    errors = score_errors(X, centroids, dtype) + 4 * (1 + 2.5) * eps
    labels = squared.argmin(axis=1)
    every = np.arange(len(X))
    earliest = squared - errors
    earliest[every, labels] = np.inf
    return labels, earliest.min(axis=1) > (squared + errors)[every, labels]
