"""The screening engine gives the dense engine's labels, bit for bit, and its sums."""

import signal
import threading

import cases
import numpy as np
import pytest
from checks import assert_close

import ckmeans
from ckmeans import _validate

DTYPES = [np.float32, np.float64]


def fit(X, start, algorithm, *, max_iter=5, n_threads=2, **options):
    return ckmeans.kmeans(
        X,
        len(start),
        init=start,
        max_iter=max_iter,
        tol=0,
        algorithm=algorithm,
        n_threads=n_threads,
        **options,
    )


def check_fit(X, start, **options):
    """Check that a whole fit, and so every step of it, equals the dense engine's."""
    dense, screen = fit(X, start, "dense", **options), fit(X, start, "screen", **options)
    assert screen.algorithm == "screen"
    assert_close(screen, dense)
    np.testing.assert_array_equal(screen.labels, ckmeans.assign(X, screen.centroids))
    return screen


def spread(m, n, seed=0):
    """Return points with a falling spectrum, about a few centres."""
    rng = np.random.default_rng(seed)
    scales = 1 / np.arange(1, n + 1)
    centres = 4 * scales * rng.standard_normal((7, n))
    return centres[rng.integers(7, size=m)] + scales * rng.standard_normal((m, n))


def sample(X, K, seed=1):
    return X[np.random.default_rng(seed).choice(len(X), K, replace=False)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("m", "n", "K"),
    [(500, 1, 7), (700, 2, 13), (900, 33, 20), (1500, 200, 65), (700, 784, 40), (41, 129, 41)],
)
@pytest.mark.parametrize("weighted", [False, True])
def test_shapes(m, n, K, dtype, weighted):
    X = spread(m, n).astype(dtype)
    weights = np.random.default_rng(5).integers(0, 3, m).astype(float) if weighted else None
    check_fit(X, sample(X, K), sample_weight=weights)


def adversaries():
    rng = np.random.default_rng(3)
    base = spread(600, 40, 2)
    lattice = rng.integers(0, 2, (600, 12)).astype(float)
    outlier = base.copy()
    outlier[17] = 1e7
    return {
        "all equal": np.full((300, 20), 3.25),
        "two points": np.where(np.arange(300)[:, None] % 2, np.linspace(0, 1, 20), np.linspace(2, 1, 20)),
        "line": np.arange(500.0)[:, None] * np.linspace(1, 2, 30),
        "lattice of ties": lattice,
        "far outlier": outlier,
        "offset 1e4": base + 1e4,
        "offset 1e6": base + 1e6,
        "mixed scales": base * 10.0 ** rng.integers(-6, 7, 40),
        "mixed rows": base * 10.0 ** rng.integers(-4, 5, (600, 1)),
        "zeros but one": np.eye(300, 20),
        "isotropic": rng.standard_normal((600, 64)),
        "tiny": base * 1e-14,
        "huge": base * 1e16,
        "duplicates": np.repeat(base[:60], 10, axis=0),
    }


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", adversaries())
@pytest.mark.parametrize("K", [2, 37])
def test_adversarial(name, K, dtype):
    X = adversaries()[name].astype(dtype)
    check_fit(X, sample(X, K), empty="farthest")
    check_fit(X, sample(X, K, 2), empty="drop")


@pytest.mark.parametrize("dtype", DTYPES)
def test_as_many_centroids_as_points(dtype):
    X = spread(150, 50).astype(dtype)
    r = check_fit(X, X)
    assert r.distortion == 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_far_centroid(dtype):
    X = spread(400, 30).astype(dtype)
    start = sample(X, 12)
    start[4] = 1e6
    check_fit(X, start, empty="reinit", seed=0)


def test_ties_take_the_lowest_index():
    X = spread(300, 50).astype(np.float32)
    start = np.repeat(sample(X, 5), 4, axis=0)
    first = fit(X, start, "screen", max_iter=1, empty="farthest", keep_path=True)
    check_fit(X, start, empty="farthest")
    assert len(first.path[0]) == 20
    labels = ckmeans.assign(X, start)
    assert set(labels) <= {0, 4, 8, 12, 16}
    np.testing.assert_array_equal(stop_at_once(X, start).labels, labels)


def stop_at_once(X, start):
    """Return the state after the first assignment."""
    return ckmeans.kmeans(
        X, len(start), init=start, algorithm="screen", empty="farthest", callback=lambda *_: True
    )


@pytest.mark.parametrize("n_threads", [1, 2, 3, 8])
def test_results_do_not_depend_on_threads(n_threads):
    X = spread(3000, 60).astype(np.float32)
    start = sample(X, 50)
    one, many = fit(X, start, "screen", n_threads=1), fit(X, start, "screen", n_threads=n_threads)
    np.testing.assert_array_equal(one.labels, many.labels)
    assert one.centroids.tobytes() == many.centroids.tobytes()
    assert one.history.tobytes() == many.history.tobytes()
    assert {**one.stats, "bytes": 0} == {**many.stats, "bytes": 0}


def test_restarts_share_the_projection():
    X = spread(1500, 80).astype(np.float32)
    options = {"n_init": 4, "seed": 3, "max_iter": 6, "n_threads": 2}
    dense = ckmeans.kmeans(X, 20, algorithm="dense", **options)
    screen = ckmeans.kmeans(X, 20, algorithm="screen", **options)
    np.testing.assert_array_equal(screen.labels, dense.labels)
    np.testing.assert_allclose(screen.distortions, dense.distortions, rtol=1e-12)


def test_stats_count_every_pair():
    X = spread(4000, 128).astype(np.float32)
    r = check_fit(X, sample(X, 60), max_iter=4)
    computed, avoided = r.stats["distances_computed"], r.stats["distances_avoided"]
    assert computed + avoided == 4000 * 60 * len(r.history)
    assert computed < 0.5 * avoided
    dense = fit(X, sample(X, 60), "dense", max_iter=4)
    assert dense.stats["distances_avoided"] == 0
    assert dense.stats["distances_computed"] == 4000 * 60 * len(dense.history)


def auto_fit(X, start, **options):
    """Return the fit of "auto", whose labels are those of "dense"."""
    dense, auto = (fit(X, start, algorithm, **options) for algorithm in ("dense", "auto"))
    np.testing.assert_array_equal(auto.labels, dense.labels)
    return auto


def test_auto_screens_where_it_pays():
    """With many features and clusters a pair costs many times as much as the bound that excludes it."""
    X = cases.blobs(8000, 256, groups=500).astype(np.float32)
    auto = auto_fit(X, sample(X, 500), max_iter=4)
    assert auto.algorithm == "screen"
    computed, avoided = auto.stats["distances_computed"], auto.stats["distances_avoided"]
    assert computed < 0.2 * avoided


@pytest.mark.parametrize(("m", "K"), [(20_000, 2), (20_000, 4), (100, 8)])
@pytest.mark.parametrize("n", [128, 200])
def test_auto_leaves_few_clusters(m, K, n):
    """To code the points costs more than all distances to few centroids."""
    X = np.random.default_rng(0).standard_normal((m, n), dtype=np.float32)
    assert auto_fit(X, sample(X, K), max_iter=3).algorithm == "dense"


@pytest.mark.parametrize("n", [128, 200])
def test_auto_labels_equal_dense(n):
    """Whatever it chooses for points with directions and without."""
    X = spread(20_000, n).astype(np.float32)
    noise = np.random.default_rng(0).standard_normal((20_000, n), dtype=np.float32)
    for points, K in (X, 250), (noise, 250), (X[:3000], 40):
        auto_fit(points, sample(points, K), max_iter=3)


def test_auto_with_few_points_each():
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((2000, 200), dtype=np.float32)
    grouped = noise + 4 * rng.standard_normal((32, 200), dtype=np.float32)[rng.integers(32, size=2000)]
    for X in noise, grouped:
        auto_fit(X, X[:1000], max_iter=3)


def test_auto_in_late_steps():
    """On noise bounds that are carried avoid pairs of later steps, if not of the first ones."""
    X = np.random.default_rng(0).random((5000, 64), dtype=np.float32)
    auto = auto_fit(X, X[:256], max_iter=30)
    computed, avoided = auto.stats["distances_computed"], auto.stats["distances_avoided"]
    assert computed + avoided == 5000 * 256 * len(auto.history)
    assert avoided > 0.1 * computed
    auto_fit(X, X[:256], max_iter=1)


def test_no_state_between_fits():
    """A fit that begins where an earlier one ended may get blocks that still hold its labels."""
    X = np.random.default_rng(0).random((20_000, 32), dtype=np.float32)
    start = fit(X, sample(X, 200), "dense", max_iter=8).centroids
    after = []
    for before in start, sample(X, 200):
        fit(X, before, "auto", max_iter=12)
        after.append(fit(X, start, "auto", max_iter=12))
    one, other = after
    assert one.algorithm == other.algorithm
    assert one.stats == other.stats
    np.testing.assert_array_equal(one.history, other.history)


def test_values_out_of_range():
    X = spread(500, 40)
    X[123, 7] = np.nan
    with pytest.raises(ValueError, match="row 123, column 7"):
        fit(X, X[:10], "screen")
    large = spread(500, 40).astype(np.float32)
    large[9, 9] = 1e30
    assert fit(large, large[:10], "screen").centroids.dtype == np.float64


def test_screen_is_registered():
    assert "screen" in _validate.algorithms("array")
    X = spread(60, 12)
    assert fit(X, X[:4], "screen").algorithm == "screen"
    with pytest.raises(ValueError, match=r"algorithm must be one of .*'screen'"):
        fit(X, X[:4], "screens")


@pytest.mark.parametrize("K", [50, 2000])
def test_interrupt(K):
    """A signal interrupts the setup or a step, and the next fit is right."""
    X = np.random.default_rng(0).standard_normal((40_000, 300), dtype=np.float32)
    small = spread(300, 40).astype(np.float32)
    timer = threading.Timer(0.2, signal.raise_signal, [signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        [fit(X, X[:K], "screen", max_iter=50) for _ in range(1000)]
    timer.join()
    check_fit(small, sample(small, 9))


@pytest.mark.skipif(not cases.DATA.exists(), reason=cases.NO_DATA)
@pytest.mark.parametrize("K", [50, 300])
@pytest.mark.parametrize("name", ["fashion", "embeddings"])
def test_real_sets(name, K):
    if name == "fashion":
        X = np.load(cases.DATA / "images_highdim" / "fashion_sample4000.npz")["X"]
    else:
        X = np.load(cases.DATA / "embeddings" / "debian_minilm_384_f16.npy").astype(np.float32)
    check_fit(X, sample(X, K))


@pytest.mark.parametrize("m", [2, 20, 31, 40])
def test_few_points_beyond_float32(m):
    """Bounds on scores may leave float32 where distances do not; the last tile has places without a point."""
    for seed in range(40):
        rng = np.random.default_rng([seed, m])
        X = (rng.standard_normal((m, 33)) * 1e18).astype(np.float32)
        X[seed % m] *= 5
        options = {"init": "random", "seed": seed, "max_iter": 5}
        dense, screen = (
            ckmeans.kmeans(X, (m + 1) // 2, algorithm=name, **options) for name in ("dense", "screen")
        )
        np.testing.assert_array_equal(screen.labels, dense.labels)
