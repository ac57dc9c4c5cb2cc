"""Data that the tests share, and how they run a Python of their own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np

from ckmeans import _validate

# Sizes on both sides of every size that something is cut into: vectors, tiles, blocks, chunks.
ROWS = (1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65, 127, 129, 511, 512, 513, 1100)
WIDTHS = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33, 64, 100, 257)
CLUSTERS = (1, 2, 3, 5, 6, 7, 10, 11, 12, 13, 23, 24, 25, 60)

KINDS = ("blobs", "uniform", "offset 1e4", "offset 1e6", "outlier", "lattice", "duplicates")


def make(kind, m, n, dtype=np.float64, seed=0):
    """`m` points of `n` features of one of the KINDS."""
    rng = np.random.default_rng([seed, m, n])
    if kind == "uniform":
        X = rng.random((m, n))
    elif kind == "lattice":
        X = rng.integers(-3, 4, (m, n)).astype(float)
    elif kind == "duplicates":
        X = rng.normal(size=(max(m // 10, 1), n))[rng.integers(0, max(m // 10, 1), m)]
    else:
        X = rng.normal(size=(m, n)) + 4 * rng.normal(size=(6, n))[rng.integers(0, 6, m)]
    if kind.startswith("offset"):
        X += float(kind.split()[1])
    if kind == "outlier":
        X[m // 2] = 1e7
    return X.astype(dtype)


def engines(m, n):
    """Names of the engines that take m points of n features."""
    names = []
    for name in _validate.algorithms("array"):
        with contextlib.suppress(ValueError):
            if not _validate.algorithm(name, "array", m, n).chooses:
                names.append(name)
    return names


def some_rows(X, K, seed=0):
    """K rows of X, distinct indices where there are enough."""
    return X[np.random.default_rng(seed).choice(len(X), K, replace=len(X) < K)]


def run_python(code, *, timeout=60, **environment):
    """Run code in a Python of its own; its standard output. Fails where the code fails or takes too
    long, and leaves no child of it behind."""
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
