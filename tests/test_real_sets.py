"""On every set of the test data, a step of each engine equals the dense engine's."""

import cases
import numpy as np
import pytest

import ckmeans
from ckmeans._engines import ENGINES

SETS = [
    path
    for path in sorted(cases.DATA.glob("*/*"))
    if path.parent.name != "text" and "section" not in path.name
]
pytestmark = pytest.mark.skipif(not SETS, reason=cases.NO_DATA)


def load(path):
    if path.suffix == ".npz":
        return np.load(path)["X"]
    if path.suffix == ".npy":
        return np.load(path)
    image = pytest.importorskip("PIL.Image")
    with image.open(path) as photo:
        return np.asarray(photo.convert("RGB")).reshape(-1, 3)[:: 1 if photo.width < 1000 else 7]


def first_step(X, start, algorithm):
    """Return the labels and J of the start, and the means and counts that follow."""
    seen = []
    r = ckmeans.kmeans(
        X,
        len(start),
        init=start,
        algorithm=algorithm,
        empty="farthest",
        max_iter=1,
        tol=0,
        keep_path=True,
        n_threads=2,
        callback=lambda *state: bool(seen.append(state)),
    )
    at_start = ckmeans.kmeans(
        X,
        len(start),
        init=start,
        algorithm=algorithm,
        empty="farthest",
        n_threads=2,
        callback=lambda *_: True,
    )
    return at_start.labels, at_start.counts, seen[0][1], r.path[1], r.labels


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("K", [2, 16, 100])
@pytest.mark.parametrize("path", SETS, ids=lambda path: path.name)
def test_first_step_equals_dense(path, K, dtype):
    X = load(path)
    X = X if X.dtype == np.uint8 and dtype == "float32" else X.astype(dtype)
    start = X[np.random.default_rng(K).choice(len(X), K, replace=False)].astype(dtype)
    labels, counts, J, means, later = first_step(X, start, "dense")
    np.testing.assert_array_equal(labels, ckmeans.assign(X, start))
    for algorithm in ("cells", "screen"):
        if X.shape[1] > (ENGINES[algorithm].max_features or X.shape[1]):
            continue
        found = first_step(X, start, algorithm)
        np.testing.assert_array_equal(found[0], labels)
        np.testing.assert_array_equal(found[1], counts)
        assert found[2] == pytest.approx(J, rel=1e-12)
        scale = np.abs(X).max()
        np.testing.assert_allclose(
            found[3], means, rtol=0, atol=(2e-7 if dtype == "float32" else 1e-12) * scale
        )
        if np.array_equal(found[3], means):
            np.testing.assert_array_equal(found[4], later)
