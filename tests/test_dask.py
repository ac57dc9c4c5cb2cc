"""k-means on a Dask cluster, of real worker processes: the same bits wherever the blocks lie, and faults."""

from __future__ import annotations

import os
import signal
import threading
import time

import cases
import checks
import numpy as np
import pytest

import ckmeans

distributed = pytest.importorskip("distributed")
pytest.importorskip("dask.array")
import dask.array as da  # noqa: E402

import ckmeans.dask  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:Sending large graph")

M, N, K, CHUNK = 6000, 12, 9, 1300


def start_cluster(workers, **options):
    """Return a cluster of processes on this machine."""
    return distributed.LocalCluster(
        n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=":0", **options
    )


@pytest.fixture(scope="module")
def client():
    """Return a client of two worker processes."""
    with start_cluster(2) as cluster, distributed.Client(cluster) as client:
        yield client


def points(dtype=np.float64, n=N):
    """Return points of overlapping groups: their labels go on changing."""
    return cases.blobs(M, n, groups=7, spread=1.0).astype(dtype)


def weights():
    """Return weights, some of them 0."""
    return np.maximum(np.random.default_rng(5).normal(1, 1, M), 0)


def problems():
    """Return {name: X, the points in one array, options}."""
    sparse = pytest.importorskip("scipy.sparse")
    pandas = pytest.importorskip("pandas")
    frames = pytest.importorskip("dask.dataframe")
    X, low, single = points(), points(np.float32, 2), points(np.float32)
    rows = sparse.random(M, 40, 0.1, format="csr", random_state=0)
    found = {
        "float32": (da.from_array(single, chunks=(CHUNK, N)), single, {}),
        "float64": (da.from_array(X, chunks=(CHUNK, N)), X, {}),
        "cells": (da.from_array(low, chunks=(CHUNK, 2)), low, {"algorithm": "cells"}),
        "weights": (da.from_array(single, chunks=(CHUNK, N)), single, {"sample_weight": weights()}),
        "bytes": (da.from_array((X * 20).astype(np.int8), chunks=(CHUNK, N)), (X * 20).astype(np.int8), {}),
        "sparse": (
            da.from_array(rows.toarray(), chunks=(CHUNK, 40)).map_blocks(sparse.csr_matrix),
            rows,
            {},
        ),
        "frame": (frames.from_pandas(pandas.DataFrame(X), npartitions=5), X, {}),
    }
    return {name: (*problem, problem[1][: 5 * K : 5]) for name, problem in found.items()}


def fits():
    """Return {name: (result, labels)} of every problem, and of the starts, on the cluster in use."""
    results = {}
    for name, (X, _, options, start) in problems().items():
        start = start.toarray() if hasattr(start, "toarray") else start
        r = ckmeans.dask.kmeans(X, K, init=start, max_iter=12, tol=0, **options)
        results[name] = r, r.labels.compute()
    X = problems()["float32"][0]
    for init in ("random", "k-means||"):
        r = ckmeans.dask.kmeans(X, K, init=init, seed=3, n_init=2, max_iter=5)
        results[init] = r, r.labels.compute()
    return results


def assert_same_bits(one, other):
    """Check that two results are bit-identical."""
    for name in ("centroids", "counts", "history", "distortions"):
        checks.assert_identical(getattr(one[0], name), getattr(other[0], name), name)
    assert (one[0].n_iter, one[0].stop_reason) == (other[0].n_iter, other[0].stop_reason)
    checks.assert_identical(one[1], other[1], "labels")


@pytest.fixture(scope="module")
def everywhere():
    """Return the results on one, two and four workers."""
    found = []
    for workers in (1, 2, 4):
        with start_cluster(workers) as cluster, distributed.Client(cluster):
            found.append(fits())
    return found


def test_workers_do_not_matter(everywhere):
    one, *others = everywhere
    for other in others:
        assert one.keys() == other.keys()
        for name in one:
            assert_same_bits(one[name], other[name])


@pytest.mark.parametrize("name", ["float32", "cells", "weights", "sparse"])
def test_keeping_does_not_matter(client, everywhere, name):
    X, _, options, start = problems()[name]
    start = start.toarray() if hasattr(start, "toarray") else start
    r = ckmeans.dask.kmeans(X, K, init=start, max_iter=12, tol=0, keep=False, **options)
    assert r.stats["kept"] == 0
    assert_same_bits(everywhere[0][name], (r, r.labels.compute()))


def test_labels_are_one_machines(everywhere):
    """But for near-ties, of which there are hardly any."""
    for name, (_, X, options, start) in problems().items():
        r, labels = everywhere[0][name]
        start = start.toarray() if hasattr(start, "toarray") else start
        single = ckmeans.kmeans(X, K, init=start, max_iter=12, tol=0, **options)
        assert (labels != single.labels).sum() <= 2, name
        assert r.n_iter == single.n_iter, name
        np.testing.assert_allclose(r.history, single.history, rtol=1e-7)
        np.testing.assert_array_equal(labels, ckmeans.assign(X, r.centroids))
        J = ckmeans.distortion(X, r.centroids, sample_weight=options.get("sample_weight"))
        assert r.distortion == pytest.approx(J, rel=1e-12)
        np.testing.assert_array_equal(r.counts, np.bincount(labels, minlength=len(r.centroids)))


@pytest.mark.parametrize("kind", ["plain", "weighted", "few distinct"])
def test_random_rows_are_one_machines(client, kind):
    X = points(np.float32)
    if kind == "few distinct":
        X = np.round(X[:, :1] / 3) + np.zeros((1, 3), np.float32)
    w = weights() if kind == "weighted" else None
    for seed in range(3):
        r = ckmeans.dask.kmeans(
            da.from_array(X, chunks=(CHUNK, X.shape[1])),
            K, init="random", seed=seed, max_iter=1, sample_weight=w, keep_path=True, empty="farthest",
        )  # fmt: skip
        start = ckmeans.init_centroids(X, K, "random", seed=seed, sample_weight=w)
        np.testing.assert_array_equal(r.path[0], start)


def test_scalable_start_is_good(client):
    X = cases.blobs(20_000, 8, groups=40, spread=5.0).astype(np.float32)
    D = da.from_array(X, chunks=(3000, 8)).persist()
    ours = [ckmeans.dask.kmeans(D, 40, seed=seed) for seed in range(6)]
    theirs = [ckmeans.kmeans(X, 40, seed=seed).distortion for seed in range(6)]
    assert np.mean([r.distortion for r in ours]) <= 1.02 * np.mean(theirs)
    assert max(r.stats["passes"] - r.n_iter - 1 for r in ours) <= 8
    again = ckmeans.dask.kmeans(D, 40, seed=0)
    assert_same_bits((ours[0], ours[0].labels.compute()), (again, again.labels.compute()))


@pytest.mark.parametrize("empty", ["drop", "farthest", "reinit"])
@pytest.mark.parametrize("keep", [True, False])
def test_empty_clusters(client, empty, keep):
    X = points(np.float32)
    start = np.concatenate([X[:5], np.full((3, N), 50, np.float32) + np.eye(3, N, dtype=np.float32)])
    D = da.from_array(X, chunks=(CHUNK, N))
    r = ckmeans.dask.kmeans(D, 8, init=start, empty=empty, keep=keep, seed=0)
    assert len(r.centroids) == (5 if empty == "drop" else 8)
    assert r.counts.min() > 0
    single = ckmeans.kmeans(X, 8, init=start, empty=empty, seed=0)
    if empty != "reinit":
        checks.assert_close(ckmeans_result(r), single)
    with pytest.raises(ValueError, match=r'empty="error": cluster 5 has no points after iteration 0'):
        ckmeans.dask.kmeans(D, 8, init=start, empty="error", keep=keep)


def ckmeans_result(r):
    """Return the same result with its labels in an array."""
    fields = {name: getattr(r, name) for name in r.__slots__}
    return ckmeans.Result(**{**fields, "labels": r.labels.compute()})


def test_far_and_tiny_values(client):
    """They are computed in float64, as on one machine."""
    for scale in (1e25, 1e-25):
        X = (points(np.float32) * np.float32(scale)).astype(np.float32)
        r = ckmeans.dask.kmeans(da.from_array(X, chunks=(CHUNK, N)), K, init=X[:K], max_iter=4)
        single = ckmeans.kmeans(X, K, init=X[:K], max_iter=4)
        assert r.centroids.dtype == np.float64
        np.testing.assert_array_equal(r.labels.compute(), single.labels)


def test_result_describes_itself(client):
    X = da.from_array(points(), chunks=(CHUNK, N))
    seen = []
    r = ckmeans.dask.kmeans(X, K, seed=0, callback=lambda i, J, c: seen.append((i, J)), keep_path=True)
    assert r.labels.chunks == (X.chunks[0],)
    assert r.labels.dtype == np.int32
    assert seen == list(enumerate(r.history))
    assert len(r.path) == r.n_iter + 1
    assert r.converged
    assert "K=9" in repr(r)
    assert r.stats["kept"] == 1


def test_callback_ends_the_fit(client):
    X = da.from_array(points(), chunks=(CHUNK, N))
    r = ckmeans.dask.kmeans(X, K, init=points()[:K], tol=0, callback=lambda i, J, c: i == 2)
    assert (r.n_iter, r.stop_reason) == (2, "callback")
    np.testing.assert_array_equal(r.labels.compute(), ckmeans.assign(points(), r.centroids))


def test_steps_as_tasks_agree(client, monkeypatch):
    """Long steps are tasks, and large requests are sent once and added up on the workers."""
    from ckmeans.dask import _cluster

    X = da.from_array(points(np.float32), chunks=(CHUNK, N))
    start = points(np.float32)[:K]
    quick = ckmeans.dask.kmeans(X, K, init=start, max_iter=5)
    monkeypatch.setattr(_cluster, "QUICK_WORK", 0)
    tasks = ckmeans.dask.kmeans(X, K, init=start, max_iter=5)
    monkeypatch.setattr(_cluster, "SHARED_VALUES", 0)
    large = ckmeans.dask.kmeans(X, K, init=start, max_iter=5)
    for other in (tasks, large):
        assert_same_bits((quick, quick.labels.compute()), (other, other.labels.compute()))


# ---- faults -------------------------------------------------------------------------------------------


def of_ours(client):
    """Return the keys of ckmeans that hold something, and the tasks that run."""
    held = [key for key, workers in client.who_has().items() if workers]
    running = [key for keys in client.processing().values() for key in keys]
    return [key for key in held + running if "ckmeans" in str(key)]


def kill_later(client, delay):
    """Kill a worker process in a moment."""
    pids = list(client.run(os.getpid).values())

    def kill():
        time.sleep(delay)
        os.kill(pids[0], signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


@pytest.mark.skipif(os.name == "nt", reason="needs kill -9")
@pytest.mark.parametrize("keep", [True, False])
def test_killed_workers_change_nothing(keep):
    X = da.from_array(points(np.float32), chunks=(CHUNK, N))
    options = {"init": points(np.float32)[:K], "max_iter": 10, "tol": 0, "keep": keep}
    with start_cluster(2) as cluster, distributed.Client(cluster) as client:
        client.wait_for_workers(2, timeout=60)
        X = X.persist()
        undisturbed = ckmeans.dask.kmeans(X, K, **options)
        before = undisturbed, undisturbed.labels.compute()
        for delay in (0.0, 0.01, 0.05):
            threads = []

            def callback(i, J, c, threads=threads, delay=delay):
                if i == 3:
                    threads.append(kill_later(client, delay))

            client.wait_for_workers(2, timeout=60)
            r = ckmeans.dask.kmeans(X, K, callback=callback, **options)
            threads[0].join()
            assert_same_bits(before, (r, r.labels.compute()))


@pytest.mark.skipif(os.name == "nt", reason="needs kill -9")
def test_lost_points_are_named():
    with start_cluster(2) as cluster, distributed.Client(cluster) as client:
        client.wait_for_workers(2, timeout=60)
        blocks = client.scatter([points()[i : i + 1000] for i in range(0, M, 1000)])
        X = da.concatenate([da.from_delayed(b, (1000, N), np.float64) for b in blocks])
        ckmeans.dask.kmeans(X, K, max_iter=2, seed=0)

        def callback(i, J, c):
            if i == 2:
                kill_later(client, 0).join()
                time.sleep(0.5)

        with pytest.raises(RuntimeError, match="blocks of X are lost with their worker"):
            ckmeans.dask.kmeans(X, K, seed=0, tol=0, callback=callback)


def test_cancelled_fits_leave_nothing(client):
    X = da.from_array(points(), chunks=(CHUNK, N)).persist()

    def cancel(i, J, c):
        if i == 2:
            futures = [distributed.Future(key, client) for key in of_ours(client)]
            client.cancel(futures, force=True)

    from concurrent.futures import CancelledError

    with pytest.raises(CancelledError, match="was cancelled"):
        ckmeans.dask.kmeans(X, K, seed=0, tol=0, callback=cancel)
    assert of_ours(client) == []
    assert ckmeans.dask.kmeans(X, K, seed=0).converged


@pytest.mark.skipif(os.name == "nt", reason="needs signals")
@pytest.mark.parametrize("keep", [True, False])
def test_interrupted_fits_leave_nothing(client, keep):
    X = da.from_array(points(), chunks=(CHUNK, N)).persist()

    def interrupt(i, J, c):
        if i == 1:
            threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()

    def fit():
        ckmeans.dask.kmeans(X, K, seed=0, tol=0, keep=keep, callback=interrupt, max_iter=100_000)
        time.sleep(1)  # should it end before

    with pytest.raises(KeyboardInterrupt):
        fit()
    assert of_ours(client) == []
    r = ckmeans.dask.kmeans(X, K, seed=0)
    np.testing.assert_array_equal(r.labels.compute(), ckmeans.assign(points(), r.centroids))


def test_callbacks_errors_pass(client):
    X = da.from_array(points(), chunks=(CHUNK, N))

    def callback(i, J, c):
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        ckmeans.dask.kmeans(X, K, seed=0, callback=callback)
    assert of_ours(client) == []


# ---- arguments ------------------------------------------------------------------------------------------


def test_wrong_arguments_are_named(client):
    X = da.from_array(points(), chunks=(CHUNK, N))

    def fails(error, match, *args, **options):
        with pytest.raises(error, match=match):
            ckmeans.dask.kmeans(*args, **options)

    fails(TypeError, "X must be a dask array or a dask DataFrame, found ndarray", points(), 3)
    fails(ValueError, "2-dimensional", X[:, 0], 3)
    fails(ValueError, "K must be at least 1", X, 0)
    fails(ValueError, r"K must be at most 6000 \(the number of points\)", X, M + 1)
    fails(ValueError, "found 'k-means\\+\\+'", X, 3, init="k-means++")
    fails(TypeError, "found a function", X, 3, init=lambda X, K, rng: X[:K])
    fails(ValueError, "init must have K=3 rows", X, 3, init=points()[:2])
    fails(ValueError, "n_init must be 1", X, 3, init=points()[:3], n_init=2)
    fails(ValueError, "algorithm must be one of", X, 3, algorithm="optimal")
    fails(ValueError, "at most 8 features, found 12", X, 3, algorithm="cells")
    fails(ValueError, r"sample_weight must have shape \(6000,\)", X, 3, sample_weight=np.ones(5))
    fails(
        ValueError, "sample_weight must not be negative, found -1.0 at row 0", X, 3, sample_weight=-np.ones(M)
    )
    fails(ValueError, "sample_weight must not be all zero", X, 3, sample_weight=np.zeros(M))
    fails(TypeError, "client must be a distributed.Client", X, 3, client=3)
    bad = points()
    bad[3001, 4] = np.nan
    fails(
        ValueError,
        "X must be finite, found nan at row 3001, column 4",
        da.from_array(bad, chunks=(CHUNK, N)),
        3,
    )
    assert of_ours(client) == []


def test_columns_may_be_chunked(client):
    X = points()
    r = ckmeans.dask.kmeans(da.from_array(X, chunks=(CHUNK, 5)), K, init=X[:K])
    same = ckmeans.dask.kmeans(da.from_array(X, chunks=(CHUNK, N)), K, init=X[:K])
    assert_same_bits((r, r.labels.compute()), (same, same.labels.compute()))


def test_lengths_may_be_unknown(client):
    X = points()
    D = da.from_array(X, chunks=(CHUNK, N))
    some = D[D[:, 0] > 0]
    assert np.isnan(some.shape[0])
    w = da.from_array(weights(), chunks=CHUNK)[D[:, 0] > 0]
    r = ckmeans.dask.kmeans(some, K, init=X[:K], sample_weight=w)
    kept = X[:, 0] > 0
    single = ckmeans.kmeans(X[kept], K, init=X[:K], sample_weight=weights()[kept])
    np.testing.assert_array_equal(r.labels.compute(), single.labels)


def test_needs_a_client():
    cases.run_python("""
        import dask.array, ckmeans.dask
        try:
            ckmeans.dask.kmeans(dask.array.ones((10, 2)), 2)
        except ValueError as error:
            assert "start one with client = distributed.Client()" in str(error)
    """)


# ---- the estimator --------------------------------------------------------------------------------------


def test_estimator_on_blocks(client):
    X, w = points(np.float32), weights()
    D = da.from_array(X, chunks=(CHUNK, N)).persist()
    model = ckmeans.dask.KMeans(K, random_state=0, max_iter=20).fit(D, sample_weight=w)
    centers = model.cluster_centers_
    np.testing.assert_array_equal(model.predict(D).compute(), ckmeans.assign(X, centers))
    np.testing.assert_array_equal(model.labels_.compute(), model.predict(X))
    distances = model.transform(D)
    assert distances.shape == (M, K)
    np.testing.assert_allclose(distances.min(axis=1).compute() ** 2 @ w, model.inertia_, rtol=1e-5)
    assert model.score(D, sample_weight=w) == pytest.approx(-model.inertia_, rel=1e-12)
    assert model.fit_transform(D).chunks == (D.chunks[0], (K,))
    assert model.get_params()["n_clusters"] == K


def test_estimator_on_frames(client):
    pandas = pytest.importorskip("pandas")
    frames = pytest.importorskip("dask.dataframe")
    X = points()
    D = frames.from_pandas(pandas.DataFrame(X), npartitions=4)
    model = ckmeans.dask.KMeans(K, random_state=0).fit(D)
    np.testing.assert_array_equal(model.predict(D).compute(), model.labels_.compute())
    with pytest.raises(ValueError, match="not fitted"):
        ckmeans.dask.KMeans().predict(D)
