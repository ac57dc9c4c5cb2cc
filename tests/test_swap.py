"""The search by swaps: every state is exact, J never rises, and one call finds what restarts do not."""

from __future__ import annotations

import cases
import numpy as np
import pytest
import scipy.sparse
from checks import assert_same, check_state
from hypothesis import given, settings
from hypothesis import strategies as st

import ckmeans

# name, K and the best known sum of squared distances; one of 20 seeds is a draw that no test is to depend on
KNOWN = [("s1", 15, 8.917616e12), ("a1", 20, 1.214626e10), ("unbalance", 8, 2.144921e11)]


def search(X, K, **options):
    return ckmeans.kmeans(X, K, search="swap", **options)


@given(
    kind=st.sampled_from(cases.KINDS),
    m=st.integers(2, 300),
    n=st.sampled_from([1, 2, 3, 5, 9, 17]),
    dtype=st.sampled_from([np.float32, np.float64, np.uint8]),
    data=st.data(),
)
@settings(deadline=None, max_examples=120)
def test_every_state_is_exact(kind, m, n, dtype, data):
    X = cases.make(kind, m, n, seed=data.draw(st.integers(0, 99)))
    X = np.abs(X).astype(dtype) if dtype is np.uint8 else X.astype(dtype)
    K = data.draw(st.integers(1, min(m, 12)))
    options = {
        "seed": data.draw(st.integers(0, 9)),
        "empty": data.draw(st.sampled_from(["drop", "reinit", "farthest"])),
        "n_init": data.draw(st.sampled_from([1, 3])),
        "algorithm": data.draw(st.sampled_from(cases.engines(m, n))),
        "keep_path": True,
    }
    r = search(X, K, n_threads=1, **options)
    check_state(X, r)
    assert_same(r, search(X, K, n_threads=2, **options))
    plain = ckmeans.kmeans(X, K, n_threads=1, **options)
    assert r.distortions[0] <= plain.distortions[0] * (1 + 1e-12)
    for J, centroids in zip(r.history, r.path, strict=True):
        np.testing.assert_allclose(J, ckmeans.distortion(X, centroids), rtol=1e-9, atol=1e-12 * r.history[0])


@pytest.mark.parametrize("engine", ["dense", "cells", "screen"])
def test_engines_agree(engine):
    X = cases.separated_blobs(12, n=4)
    known = search(X, 12, seed=3, algorithm="dense")
    np.testing.assert_allclose(
        search(X, 12, seed=3, algorithm=engine).distortion, known.distortion, rtol=1e-9
    )


def test_many_points_on_any_threads():
    X = cases.separated_blobs(40, each=2500, apart=4.0)
    runs = [search(X, 40, seed=1, n_threads=threads) for threads in (1, 2, 3)]
    assert runs[0].algorithm == "cells"
    for run in runs:
        check_state(X, run)
        assert_same(run, runs[0])
    assert_same(search(ckmeans.prepare(X), 40, seed=1), runs[0])


def test_sparse_rows_equal_dense():
    dense = np.where(np.random.default_rng(0).random((400, 30)) < 0.2, cases.blobs(400, 30), 0)
    r = search(scipy.sparse.csr_array(dense), 7, seed=2)
    check_state(scipy.sparse.csr_array(dense), r)
    assert r.distortion <= ckmeans.kmeans(dense, 7, seed=2, n_init=5).distortion * (1 + 1e-9)


def test_weights_equal_repeats():
    X = cases.blobs(150, 3)
    counts = np.random.default_rng(1).integers(1, 4, 150)
    start = cases.some_rows(X, 5)
    weighted = search(X, 5, init=start, sample_weight=counts, seed=0)
    check_state(X, weighted, counts)
    repeated = search(np.repeat(X, counts, axis=0), 5, init=start, seed=0)
    np.testing.assert_allclose(weighted.distortion, repeated.distortion, rtol=2e-2)
    kept = counts * (np.arange(150) % 3 > 0)
    check_state(X, search(X, 5, sample_weight=kept, seed=0), kept)


def test_photo_with_equal_colours():
    X = np.random.default_rng(0).integers(0, 24, (300_000, 3), np.uint8)
    r = search(X, 12, seed=0)
    check_state(X, r)
    assert r.distortion <= ckmeans.kmeans(X, 12, seed=0, n_init=3).distortion


@pytest.mark.parametrize(("name", "K", "known"), KNOWN)
def test_one_call_finds_best_known(name, K, known):
    path = cases.DATA / f"sipu/{name}.npz"
    if not path.exists():
        pytest.skip(cases.NO_DATA)
    X = np.load(path)["X"]
    for seed in range(5):
        assert search(X, K, seed=seed).distortion * len(X) <= 1.001 * known


def test_restarts_search_each():
    X = cases.blobs(500, 2, groups=9)
    one, three = (search(X, 9, seed=4, n_init=n_init, n_threads=2) for n_init in (1, 3))
    assert three.distortions[0] == one.distortion
    assert len(three.distortions) == 3


def test_max_swaps_bounds_the_search():
    X = cases.separated_blobs(30)
    r = search(X, 30, init="random", seed=0, max_swaps=1)
    check_state(X, r)
    assert r.stop_reason == "max_swaps"
    assert not r.converged
    assert search(X, 30, init="random", seed=0).stop_reason == "stable"


def test_callback_sees_kept_states():
    X, seen = cases.separated_blobs(20), []
    r = search(X, 20, init="random", seed=1, callback=lambda i, J, c: seen.append((i, J)))
    assert [i for i, _ in seen] == list(range(r.n_iter + 1))
    np.testing.assert_allclose([J for _, J in seen], r.history, rtol=1e-9)


@pytest.mark.parametrize("last", [0, 3, 12])
def test_callback_ends_the_search(last):
    X = cases.separated_blobs(20)
    r = search(X, 20, init="random", seed=1, callback=lambda i, J, c: i == last)
    check_state(X, r)
    assert (r.n_iter, r.stop_reason) == (last, "callback")


def test_extreme_numbers_of_clusters():
    X = cases.blobs(20, 2)
    np.testing.assert_allclose(search(X, 1, seed=0).distortion, ckmeans.kmeans(X, 1, seed=0).distortion)
    assert search(X, 20, seed=0).distortion == 0
    assert len(search(np.ones((9, 2)), 4, seed=0).centroids) == 1


def test_max_iter_holds_for_each_run():
    X = cases.blobs(2000, 2, groups=20, spread=2)
    r = search(X, 20, max_iter=1, seed=0)
    check_state(X, r)
    assert r.n_iter > 1
    assert r.stop_reason == "stable"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"search": "swaps"}, "search must be one of 'swap', or None, found 'swaps'"),
        ({"search": 1}, "search must be one of 'swap', or None, found 1"),
        ({"search": "swap", "max_swaps": 0}, "max_swaps must be at least 1, found 0"),
        ({"search": "swap", "max_swaps": 1.5}, "max_swaps must be an integer, found 1.5"),
        ({"max_swaps": 3}, "max_swaps needs search='swap', found 3 without it"),
    ],
)
def test_bad_search_is_named(options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        ckmeans.kmeans(cases.blobs(20, 2), 3, **options)


def test_chunks_refuse_search():
    with pytest.raises(ValueError, match="search must be None for points in chunks, found 'swap'"):
        ckmeans.kmeans_chunks([cases.blobs(20, 2)], 3, search="swap")


def test_frozen_centroids_stay():
    X = cases.separated_blobs(12)
    start = np.concatenate([[[0.0, 0.0], [500.0, 500.0]], cases.some_rows(X, 10)])
    frozen = np.arange(12) < 2
    r = search(X, 12, init=start, frozen=frozen, seed=0)
    check_state(X, r)
    np.testing.assert_array_equal(r.centroids[:2], start[:2])
    assert r.distortion <= ckmeans.kmeans(X, 12, init=start, frozen=frozen, seed=0).distortion


def test_cosine_refuses_search():
    with pytest.raises(ValueError, match="search must be None with metric='cosine', found 'swap'"):
        search(cases.blobs(20, 2), 3, metric="cosine")
