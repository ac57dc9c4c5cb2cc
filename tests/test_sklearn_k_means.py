"""scikit-learn's own tests of its k-means, run on our classes."""

from __future__ import annotations

import importlib.util
import sys
from unittest import mock

import numpy as np
import pytest

import ckmeans

sklearn = pytest.importorskip("sklearn", "1.9")

OURS = {"KMeans": ckmeans.KMeans, "MiniBatchKMeans": ckmeans.MiniBatchKMeans}
MODULE = "sklearn.cluster.tests.test_k_means"

# Test -> why our classes need not pass it.
EXCLUDED = {
    "test_relocate_empty_clusters": "private helper of theirs",
    "test_sample_weight_init": "private helper of theirs",
    "test_sample_weight_zero": "private helper of theirs",
    "test_euclidean_distance": "private helper of theirs",
    "test_inertia": "private helper of theirs",
    "test_is_same_clustering": "private helper of theirs",
    "test_k_means_function": "their function, not the class",
    "test_kmeans_plusplus_wrong_params": "their function, not the class",
    "test_kmeans_plusplus_output": "their function, not the class",
    "test_kmeans_plusplus_norms": "their function, not the class",
    "test_kmeans_plusplus_dataorder": "their function, not the class",
    "test_kmeans_verbose": "verbose output",
    "test_minibatch_update_consistency": "private helper of theirs",
    "test_minibatch_reassign": "private helper of theirs",
}


def _load():
    """Load scikit-learn's test module with our classes in the place of its own."""
    spec = importlib.util.find_spec(MODULE)
    if spec is None or spec.loader is None:
        pytest.skip("scikit-learn came without its tests", allow_module_level=True)
    import sklearn.cluster

    module = importlib.util.module_from_spec(spec)
    with mock.patch.multiple(sklearn.cluster, **OURS):
        spec.loader.exec_module(module)
    return module


_theirs = _load()
_tests = {name: test for name, test in vars(_theirs).items() if name.startswith("test_")}
globals().update({name: test for name, test in _tests.items() if name not in EXCLUDED})


@pytest.fixture
def global_random_seed():
    return 42


@pytest.fixture(params=[np.float32, np.float64])
def global_dtype(request):
    return request.param


def test_classes_under_test_are_ours():
    assert _theirs.KMeans is ckmeans.KMeans
    assert _theirs.MiniBatchKMeans is ckmeans.MiniBatchKMeans


def test_excluded_tests_exist():
    assert set(EXCLUDED) <= set(_tests)
    assert len(_tests) - len(EXCLUDED) >= 40
    assert MODULE not in sys.modules
