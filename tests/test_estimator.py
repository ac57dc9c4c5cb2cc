"""KMeans and MiniBatchKMeans with scikit-learn's interface."""

from __future__ import annotations

import pickle
import subprocess
import sys
import warnings

import cases
import numpy as np
import pytest

import ckmeans
from ckmeans import _inputs
from ckmeans.estimators._base import shift_tolerance


@pytest.fixture
def blobs():
    return cases.separated_blobs(5, 4, each=60, seed=3)


def lloyd(X, start, tol, max_iter=300):
    """Run scikit-learn's loop in NumPy; return labels, centres and the number of iterations."""
    centers, before = start.copy(), None
    for i in range(max_iter):  # noqa: B007
        labels = ((X[:, None] - centers) ** 2).sum(2).argmin(1)
        moved = np.array([X[labels == k].mean(0) for k in range(len(centers))])
        shift = ((moved - centers) ** 2).sum()
        centers = moved
        if before is not None and (labels == before).all():
            break
        if shift <= tol * X.var(axis=0).mean():
            break
        before = labels
    return ((X[:, None] - centers) ** 2).sum(2).argmin(1), centers, i + 1


@pytest.mark.parametrize("tol", [0, 1e-4, 1e-2, 0.1, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_stopping_rule_is_sklearns(tol, seed):
    X = np.random.default_rng(seed).normal(size=(400, 3)) * [1, 5, 0.2] + 7
    labels, centers, n_iter = lloyd(X, X[:6], tol)
    model = ckmeans.KMeans(6, init=X[:6], tol=tol).fit(X)
    assert model.n_iter_ == n_iter
    np.testing.assert_array_equal(model.labels_, labels)
    np.testing.assert_allclose(model.cluster_centers_, centers, rtol=1e-12)


@pytest.mark.parametrize("tol", [0, 1e-4, 1e-2])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_same_init_agrees_with_sklearn(blobs, tol, dtype):
    cluster = pytest.importorskip("sklearn.cluster")
    X = blobs.astype(dtype)
    weights = np.random.default_rng(0).uniform(0.5, 2, len(X))
    # The last start is far from all points: its cluster is empty at first.
    start = np.concatenate([X[:7], X[:1] + 1000])
    ours = ckmeans.KMeans(8, init=start, tol=tol).fit(X, sample_weight=weights)
    theirs = cluster.KMeans(8, init=start, tol=tol).fit(X, sample_weight=weights)
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)
    np.testing.assert_allclose(ours.cluster_centers_, theirs.cluster_centers_, rtol=1e-4)
    assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=1e-5)
    assert ours.n_iter_ == theirs.n_iter_
    np.testing.assert_allclose(ours.transform(X), theirs.transform(X), rtol=1e-4, atol=1e-3)
    assert ours.score(X, sample_weight=weights) == pytest.approx(
        theirs.score(X, sample_weight=weights), rel=1e-5
    )


@pytest.mark.parametrize("form", ["float32", "float64", "sparse"])
def test_tolerance_is_relative_to_variance(form):
    X = np.random.default_rng(0).normal(size=(5000, 3)) * [1, 5, 0.2] + 1000
    if form == "sparse":
        X[:, 1] *= X[:, 1] > 1002
        points = _inputs.read(pytest.importorskip("scipy.sparse").csr_array(X))
    else:
        X = X.astype(form)
        points = _inputs.read(X)
    expected = 0.5 * X.astype(np.float64).var(axis=0).mean()
    # Sums of sparse rows are relative to 0, which costs digits.
    assert shift_tolerance(points, 0.5, 1) == pytest.approx(expected, rel=1e-9 if form == "float64" else 1e-5)


def test_attributes_describe_one_state(blobs):
    model = ckmeans.KMeans(5, random_state=0, max_iter=2).fit(blobs)
    np.testing.assert_array_equal(model.labels_, model.predict(blobs))
    distances = np.sqrt(((blobs[:, None] - model.cluster_centers_) ** 2).sum(2))
    np.testing.assert_allclose(model.transform(blobs), distances, rtol=1e-12)
    assert model.inertia_ == pytest.approx((distances.min(1) ** 2).sum())
    assert model.score(blobs) == pytest.approx(-model.inertia_)
    np.testing.assert_array_equal(model.fit_predict(blobs), model.labels_)
    np.testing.assert_array_equal(model.fit_transform(blobs), model.transform(blobs))


def test_transform_is_accurate_in_float32():
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(300, 3)) + 1000).astype(np.float32)
    model = ckmeans.KMeans(130, init=X[:130], max_iter=1, n_threads=3).fit(X)
    wide = np.sqrt(((X[:, None].astype(float) - model.cluster_centers_) ** 2).sum(2))
    found = model.transform(X)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wide, rtol=1e-5, atol=1e-7)


def test_transform_falls_back_to_float64():
    X = np.array([[0.0, 0], [3e30, 4e30]], np.float32)
    model = ckmeans.KMeans(1, init=X[:1], max_iter=1).fit(X)
    np.testing.assert_allclose(model.transform(X), [[2.5e30], [2.5e30]], rtol=1e-6)


def test_relocated_point_leaves_its_old_mean():
    X = np.array([[0.0], [1], [2], [30]])
    model = ckmeans.KMeans(2, init=[[1.0], [100]], max_iter=1).fit(X)
    np.testing.assert_array_equal(model.cluster_centers_, [[1], [30]])


def test_random_state(blobs):
    fit = lambda state: ckmeans.KMeans(5, init="random", n_init=1, max_iter=1, random_state=state).fit(blobs)  # noqa: E731
    np.testing.assert_array_equal(fit(7).cluster_centers_, fit(7).cluster_centers_)
    state = np.random.RandomState(7)
    first, second = fit(state), fit(state)
    np.testing.assert_array_equal(first.cluster_centers_, fit(7).cluster_centers_)
    assert not np.array_equal(first.cluster_centers_, second.cluster_centers_)
    np.random.seed(5)
    first = fit(None)
    np.random.seed(5)
    np.testing.assert_array_equal(first.cluster_centers_, fit(None).cluster_centers_)


def test_callable_start_draws_from_random_state(blobs):
    def start(X, n_clusters, random_state):
        return X[random_state.choice(len(X), n_clusters, replace=False)]

    fit = lambda: ckmeans.KMeans(5, init=start, n_init=3, random_state=1).fit(blobs)  # noqa: E731
    np.testing.assert_array_equal(fit().labels_, fit().labels_)


def test_equal_weights_equal_no_weights(blobs):
    plain = ckmeans.KMeans(5, random_state=0).fit(blobs)
    for weights in (3.0, np.full(len(blobs), 3)):
        weighted = ckmeans.KMeans(5, random_state=0).fit(blobs, sample_weight=weights)
        np.testing.assert_array_equal(plain.cluster_centers_, weighted.cluster_centers_)
        assert weighted.inertia_ == pytest.approx(3 * plain.inertia_)


@pytest.mark.parametrize("engine", ["lloyd", "elkan", "auto", "dense"])
def test_algorithms(blobs, engine):
    model = ckmeans.KMeans(5, init=blobs[::60], algorithm=engine).fit(blobs)
    np.testing.assert_array_equal(model.labels_, np.repeat(np.arange(5), 60))


def test_warnings(blobs):
    with pytest.warns(RuntimeWarning, match="performing only one init in KMeans instead of n_init=4"):
        ckmeans.KMeans(5, init=blobs[:5], n_init=4).fit(blobs)
    with pytest.warns(RuntimeWarning, match="elkan"):
        ckmeans.KMeans(1, algorithm="elkan").fit(blobs)
    with pytest.warns(UserWarning, match=r"distinct clusters \(2\) found smaller than n_clusters \(3\)"):
        model = ckmeans.KMeans(3).fit([[0.0], [0], [1], [1]])
    assert model.cluster_centers_.shape == (3, 1)


def test_drop_leaves_fewer_clusters():
    with pytest.warns(UserWarning, match="distinct clusters"):
        model = ckmeans.KMeans(3, empty="drop").fit([[0.0], [0], [1], [1]])
    assert model.cluster_centers_.shape == (2, 1)
    assert model.transform([[0.0]]).shape == (1, 2)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"n_clusters": 0}, "n_clusters must be at least 1"),
        ({"n_clusters": 2.5}, "n_clusters must be an integer"),
        ({"n_clusters": 1000}, "n_samples=300 should be >= n_clusters=1000"),
        ({"n_init": "many"}, "n_init must be one of 'auto'"),
        ({"n_init": 0}, "n_init must be at least 1"),
        ({"max_iter": 0}, "max_iter must be at least 1"),
        ({"tol": -1}, "tol must be at least 0"),
        ({"init": "kmeans"}, "init must be one of 'k-means\\+\\+', 'random'"),
        ({"init": np.zeros((2, 4))}, "does not match the number of clusters 8"),
        ({"init": np.zeros((8, 3))}, "does not match the number of features of the data 4"),
        ({"algorithm": "full"}, "algorithm must be one of 'lloyd', 'elkan', 'auto'"),
        ({"empty": "keep"}, "empty must be one of"),
        ({"random_state": "x"}, "random_state must be an integer, a numpy.random.RandomState or None"),
        ({"random_state": -1}, "random_state must be at least 0"),
    ],
)
def test_wrong_parameters(blobs, parameters, words):
    with pytest.raises((ValueError, TypeError), match=words):
        ckmeans.KMeans(**parameters).fit(blobs)


@pytest.mark.parametrize(
    ("X", "words"),
    [
        (np.zeros(5), "Reshape your data"),
        (np.zeros((3, 0)), r"0 feature\(s\)"),
        (np.zeros((3, 2), complex), "Complex data not supported"),
        ([["a", "b"], ["c", "d"]], "real numbers"),
        (np.array([[1, "a"], [2, "b"]], dtype=object), "could not convert string to float"),
        ([[np.nan, 1], [0, 1]], "found nan at row 0, column 0"),
    ],
)
def test_wrong_data(X, words):
    with pytest.raises((ValueError, TypeError), match=words):
        ckmeans.KMeans(2).fit(X)


@pytest.mark.parametrize("estimator", [ckmeans.KMeans, ckmeans.MiniBatchKMeans])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sparse_equals_dense(estimator, dtype):
    sparse = pytest.importorskip("scipy.sparse")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 20)) * (rng.random((300, 20)) < 0.2)
    X = (X + np.eye(3, 20)[rng.integers(0, 3, 300)] * 9).astype(dtype)
    dense = estimator(3, random_state=0).fit(X)
    found = estimator(3, random_state=0).fit(sparse.csr_array(X))
    np.testing.assert_array_equal(found.labels_, dense.labels_)
    assert found.cluster_centers_.dtype == dtype
    np.testing.assert_allclose(found.cluster_centers_, dense.cluster_centers_, rtol=1e-4, atol=1e-5)
    other = sparse.csc_matrix(X)
    np.testing.assert_array_equal(found.predict(other), dense.labels_)
    np.testing.assert_allclose(found.transform(other), dense.transform(X), rtol=1e-4)
    assert found.score(other) == pytest.approx(dense.score(X), rel=1e-5)


def test_unfitted_and_other_features(blobs):
    model = ckmeans.KMeans(5)
    with pytest.raises(ValueError, match="not fitted yet"):
        model.predict(blobs)
    model.fit(blobs)
    assert model.n_features_in_ == 4
    with pytest.raises(ValueError, match="expecting 4 features"):
        model.predict(blobs[:, :3])


def test_verbose_prints_each_inertia(blobs, capsys):
    model = ckmeans.KMeans(5, init=blobs[:5], verbose=1).fit(blobs)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Iteration 0, inertia ")
    assert float(lines[-1].split()[-1].rstrip(".")) == pytest.approx(model.inertia_)


def test_pickle(blobs):
    model = ckmeans.KMeans(5, random_state=0).fit(blobs)
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.predict(blobs), model.labels_)
    assert copy.get_params() == model.get_params()


# ---- batches ---------------------------------------------------------------------------------


def test_minibatch_centroids_are_running_means():
    rng = np.random.default_rng(0)
    start = np.array([[0.0, 0], [10, 10]])
    model = ckmeans.MiniBatchKMeans(2, init=start, reassignment_ratio=0)
    given, weights = [[], []], [[], []]
    for _ in range(6):
        batch = rng.normal(size=(30, 2)) + 10 * rng.integers(0, 2, (30, 1))
        weight = rng.uniform(0.5, 2, 30)
        labels = (
            ((batch[:, None] - (start if not given[0] else model.cluster_centers_)) ** 2).sum(2).argmin(1)
        )
        for k in (0, 1):
            given[k] += batch[labels == k].tolist()
            weights[k] += weight[labels == k].tolist()
        model.partial_fit(batch, sample_weight=weight)
    means = [np.average(given[k], axis=0, weights=weights[k]) for k in (0, 1)]
    np.testing.assert_allclose(model.cluster_centers_, means)
    assert model.n_steps_ == 6
    np.testing.assert_array_equal(model.labels_, model.predict(batch))


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_equal_weights_scale_minibatch_inertia(blobs, method):
    fit = lambda weight: getattr(ckmeans.MiniBatchKMeans(5, random_state=0), method)(  # noqa: E731
        blobs, sample_weight=np.full(len(blobs), weight)
    )
    once, twice = fit(1.0), fit(2.0)
    np.testing.assert_allclose(twice.cluster_centers_, once.cluster_centers_)
    assert twice.inertia_ == pytest.approx(2 * once.inertia_)
    assert once.inertia_ == pytest.approx(-once.score(blobs))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_minibatch_is_close_to_kmeans(dtype):
    rng = np.random.default_rng(1)
    X = np.concatenate([rng.normal(c, 4, (3000, 3)) for c in (40, 100, 160, 220)]).clip(0, 255).astype(dtype)
    exact = ckmeans.KMeans(4, n_init=5, random_state=0).fit(X)
    model = ckmeans.MiniBatchKMeans(4, random_state=0, batch_size=256).fit(X)
    assert exact.inertia_ * 0.999999 <= model.inertia_ < exact.inertia_ * 1.05
    assert model.score(X) == pytest.approx(-model.inertia_)
    np.testing.assert_array_equal(model.labels_, model.predict(X))
    quick = ckmeans.MiniBatchKMeans(4, random_state=0, batch_size=256, compute_labels=False).fit(X)
    assert not hasattr(quick, "labels_")
    assert quick.inertia_ == pytest.approx(model.inertia_, rel=0.2)


def test_zero_weight_points_are_never_drawn():
    X = np.concatenate([np.zeros((50, 1)), np.full((50, 1), 1000.0)])
    X += np.random.default_rng(0).random(X.shape)
    weights = np.repeat([1.0, 0.0], 50) * np.arange(100)
    model = ckmeans.MiniBatchKMeans(3, random_state=0, batch_size=20).fit(X, sample_weight=weights)
    assert model.cluster_centers_.max() < 2


def test_centroids_with_small_counts_move():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 2))
    start = np.concatenate([X[:3], [[500.0, 500]]])
    model = ckmeans.MiniBatchKMeans(4, init=start, random_state=0).partial_fit(X)
    assert np.abs(model.cluster_centers_).max() < 10


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"max_no_improvement": -1}, "max_no_improvement must be at least 0"),
        ({"reassignment_ratio": -0.1}, "reassignment_ratio must be at least 0"),
        ({"init_size": 0}, "init_size must be at least 1"),
        ({"n_clusters": 301}, "n_samples=300 should be >= n_clusters=301"),
    ],
)
def test_wrong_parameters_of_batches(blobs, parameters, words):
    for method in ("fit", "partial_fit"):
        with pytest.raises(ValueError, match=words):
            getattr(ckmeans.MiniBatchKMeans(**parameters), method)(blobs)


# ---- data frames -----------------------------------------------------------------------------


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_data_frames(blobs, library):
    frames = pytest.importorskip(library)
    X = frames.DataFrame({name: blobs[:, i] for i, name in enumerate("abcd")})
    model = ckmeans.KMeans(5, random_state=0).fit(X)
    assert model.feature_names_in_.tolist() == list("abcd")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(model.predict(X), model.labels_)
    np.testing.assert_array_equal(model.labels_, ckmeans.KMeans(5, random_state=0).fit(blobs).labels_)


# ---- in scikit-learn -------------------------------------------------------------------------

# scikit-learn excludes its own KMeans from both.
EXCUSED_CHECKS = {
    "check_sample_weight_equivalence_on_dense_data": "draws follow the order of the points",
    "check_sample_weight_equivalence_on_sparse_data": "draws follow the order of the points",
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("estimator", [ckmeans.KMeans, ckmeans.MiniBatchKMeans])
def test_check_estimator(estimator):
    pytest.importorskip("sklearn", "1.9")
    checks = pytest.importorskip("sklearn.utils.estimator_checks")
    checks.check_estimator(estimator(), expected_failed_checks=EXCUSED_CHECKS, on_skip=None)


def test_pipeline_and_grid_search(blobs):
    pytest.importorskip("sklearn")
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    pipeline = make_pipeline(StandardScaler(), ckmeans.KMeans(5, random_state=0))
    labels = pipeline.fit_predict(blobs)
    assert all(len(set(labels[i : i + 60])) == 1 for i in range(0, 300, 60))
    search = GridSearchCV(pipeline, {"kmeans__n_clusters": [2, 5]}, n_jobs=2, cv=3).fit(blobs)
    assert search.best_params_ == {"kmeans__n_clusters": 5}


def test_set_output(blobs):
    pytest.importorskip("sklearn")
    pandas = pytest.importorskip("pandas")
    model = ckmeans.KMeans(2, random_state=0).set_output(transform="pandas")
    frame = model.fit_transform(pandas.DataFrame(blobs, columns=list("abcd")))
    assert list(frame.columns) == ["kmeans0", "kmeans1"]
    assert isinstance(model.transform(frame.set_axis(list("ab"), axis=1).assign(c=0, d=0)), pandas.DataFrame)


def test_clone(blobs):
    base = pytest.importorskip("sklearn.base")
    model = ckmeans.KMeans(5, random_state=0, empty="drop", n_threads=1).fit(blobs)
    copy = base.clone(model)
    assert copy.get_params() == model.get_params()
    assert not hasattr(copy, "cluster_centers_")


def test_joblib(blobs, tmp_path):
    joblib = pytest.importorskip("joblib")
    model = ckmeans.KMeans(5, random_state=0)
    fitted = joblib.Parallel(n_jobs=2)(joblib.delayed(model.fit)(blobs) for _ in range(2))
    joblib.dump(fitted[0], tmp_path / "model")
    np.testing.assert_array_equal(joblib.load(tmp_path / "model").labels_, fitted[1].labels_)


def test_metadata_routing(blobs):
    sklearn = pytest.importorskip("sklearn")
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    weights = np.zeros(len(blobs))
    weights[:120] = 1
    with sklearn.config_context(enable_metadata_routing=True):
        model = ckmeans.KMeans(2, random_state=0).set_fit_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        pipeline = make_pipeline(scaler, model).fit(blobs, sample_weight=weights)
    # Only the first two groups have weight.
    expected = StandardScaler().fit_transform(blobs)[:120].reshape(2, 60, 4).mean(axis=1)
    found = pipeline[-1].cluster_centers_
    np.testing.assert_allclose(found[np.argsort(found[:, 0])], expected[np.argsort(expected[:, 0])])


# ---- without scikit-learn --------------------------------------------------------------------

WITHOUT = """
import sys
sys.modules["sklearn"] = None
import numpy as np, pickle, ckmeans
X = np.array([[0.0, 1], [0, 2], [9, 1], [9, 2]])
model = ckmeans.KMeans(n_clusters=2, random_state=0, tol=0).fit(X, sample_weight=[1, 1, 1, 2])
assert sorted(model.predict(X)) == [0, 0, 1, 1] and model.n_features_in_ == 2
assert model.fit_transform(X).shape == (4, 2)
assert list(model.get_feature_names_out()) == ["kmeans0", "kmeans1"]
assert repr(model) == "KMeans(n_clusters=2, tol=0, random_state=0)", repr(model)
assert model.set_params(n_clusters=3).get_params()["n_clusters"] == 3
assert pickle.loads(pickle.dumps(model)).n_clusters == 3
for wrong, words in ((lambda: model.set_params(k=3), "no parameter 'k'"),
                     (lambda: model.predict(X[:, :1]), "expecting 2 features"),
                     (lambda: ckmeans.KMeans().predict(X), "not fitted yet")):
    try:
        wrong()
    except ValueError as error:
        assert words in str(error), error
    else:
        raise AssertionError(words)
"""


def test_works_without_scikit_learn():
    subprocess.run([sys.executable, "-c", WITHOUT], check=True, timeout=60)


def test_importing_the_package_imports_no_extra():
    code = (
        "import sys, ckmeans; ckmeans.kmeans([[0.0], [1]], 1); "
        "print([n for n in ('sklearn', 'scipy', 'pandas', 'matplotlib', 'PIL') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, timeout=60, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]"


def test_search_lowers_inertia():
    X = cases.separated_blobs(25)
    plain = ckmeans.KMeans(25, init="random", n_init=1, random_state=0).fit(X)
    model = ckmeans.KMeans(25, init="random", n_init=1, random_state=0, search="swap").fit(X)
    assert model.inertia_ < plain.inertia_
    np.testing.assert_array_equal(model.predict(X), model.labels_)
    with pytest.raises(ValueError, match="search must be one of 'swap', or None, found 'swaps'"):
        ckmeans.KMeans(3, search="swaps").fit(X)
