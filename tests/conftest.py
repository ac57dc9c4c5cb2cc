"""Fixtures, and the profiles of hypothesis.

Every test runs on the instruction set in use: CKMEANS_SIMD=baseline pytest runs the suite on another.
HYPOTHESIS_PROFILE=explore searches for new examples, many of them; the default repeats the same ones.
"""

from __future__ import annotations

import functools
import os

import cases
import numpy as np
import pytest
from hypothesis import HealthCheck, settings

import ckmeans

settings.register_profile("suite", deadline=None, max_examples=400, derandomize=True, database=None)
settings.register_profile(
    "explore", deadline=None, max_examples=10_000, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))


def pytest_report_header():
    """Report the build that is tested."""
    return [
        f"ckmeans: {ckmeans.__file__}",
        *(f"  {line}" for line in repr(ckmeans.show_config()).splitlines()),
    ]


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def dtype(request):
    """Return each computing dtype."""
    return np.dtype(request.param)


@pytest.fixture(params=cases.KINDS)
def kind(request):
    """Return each kind of data."""
    return request.param


@pytest.fixture(params=cases.engines(1000, 2))
def algorithm(request):
    """Return the name of each engine; all of them accept points of few features."""
    return request.param


@pytest.fixture
def kmeans(algorithm):
    """Return `ckmeans.kmeans` with each of the engines."""
    return functools.partial(ckmeans.kmeans, algorithm=algorithm)


@pytest.fixture(params=["drop", "reinit", "farthest", "error"])
def empty(request):
    """Return each policy for empty clusters."""
    return request.param
