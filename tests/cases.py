"""Provide the data that the tests share, and run Python code in a process of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np

from ckmeans import _validate

# Real data, which are not in the repository; the tests that need them are skipped where they are not there.
DATA = Path(os.environ.get("CKMEANS_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data").resolve()
NO_DATA = "needs the test data (CKMEANS_TEST_DATA)"

# Sizes below, at and above the widths of vectors, tiles, blocks and chunks.
ROWS = (1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65, 127, 129, 511, 512, 513, 1100)
WIDTHS = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33, 64, 100, 257)
CLUSTERS = (1, 2, 3, 5, 6, 7, 10, 11, 12, 13, 23, 24, 25, 60)

KINDS = ("blobs", "uniform", "offset 1e4", "offset 1e6", "outlier", "lattice", "duplicates")


def blobs(m, n, groups=6, spread=4.0, seed=0):
    """Return `m` points of unit variance about the random centres of `groups` groups."""
    rng = np.random.default_rng([seed, m, n])
    return rng.normal(size=(m, n)) + spread * rng.normal(size=(groups, n))[rng.integers(0, groups, m)]


def separated_blobs(K, n=2, each=80, apart=8.0, seed=0):
    """Return K groups of unit variance, one after another, no two centres closer than `apart`."""
    rng = np.random.default_rng(seed)
    while True:
        centers = rng.uniform(0, 2.5 * apart * K ** (1 / n), (K, n))
        if np.linalg.norm(centers[:, None] - centers + 1e9 * np.eye(K)[..., None], axis=2).min() > apart:
            return np.concatenate([rng.normal(c, 1, (each, n)) for c in centers])


def make(kind, m, n, dtype=np.float64, seed=0):
    """Return `m` points of `n` features of one of the KINDS."""
    rng = np.random.default_rng([seed, m, n])
    if kind == "uniform":
        X = rng.random((m, n))
    elif kind == "lattice":
        X = rng.integers(-3, 4, (m, n)).astype(float)
    elif kind == "duplicates":
        X = rng.normal(size=(max(m // 10, 1), n))[rng.integers(0, max(m // 10, 1), m)]
    else:
        X = blobs(m, n, seed=seed)
    if kind.startswith("offset"):
        X += float(kind.split()[1])
    if kind == "outlier":
        X[m // 2] = 1e7
    return X.astype(dtype)


def engines(m, n):
    """Return the names of the engines that accept m points of n features."""
    names = []
    for name in _validate.algorithms("array"):
        with contextlib.suppress(ValueError):
            if not _validate.algorithm(name, "array", m, n).chooses:
                names.append(name)
    return names


def some_rows(X, K, seed=0):
    """Return K rows of X, of distinct indices if there are enough."""
    return X[np.random.default_rng(seed).choice(len(X), K, replace=len(X) < K)]


def run_python(code, *, timeout=60, **environment):
    """Run code in a new Python process and return its standard output.

    Fails if the code fails or exceeds the timeout; no child process is left behind.
    """
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", textwrap.dedent(code)],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        raise
    assert process.returncode == 0, errors
    return output
