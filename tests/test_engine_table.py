"""Engines are entries of one table, which states what they can do; nothing else names a new one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ckmeans
from ckmeans._engines import ENGINES

HERE = Path(__file__).parent


def test_entries():
    assert [name for name, entry in ENGINES.items() if entry.name != name] == []
    assert [name for name, entry in ENGINES.items() if entry.accepts("sparse")] == ["auto", "sparse"]
    assert [name for name, entry in ENGINES.items() if entry.chooses] == ["auto"]
    assert ENGINES["cells"].max_features == 8
    assert ENGINES["dense"].max_features is None
    assert [name for name, entry in ENGINES.items() if entry.accepts("chunks")] == ["auto", "dense"]


def test_unregistered_engines_are_refused():
    with pytest.raises(ValueError, match="algorithm must be one of"):
        ckmeans.kmeans(np.eye(4), 2, algorithm="dummy")


def test_a_registered_engine_passes_the_suite(tmp_path):
    """The plugin registers the engine; the tests of all engines then find it in the table."""
    suite = ["test_empty.py", "test_kmeans.py", "test_prepare.py", "test_threads.py", "test_input.py"]
    options = ["-q", "-p", "dummy_engine", "-p", "no:cacheprovider", "-k", "dummy"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *(str(HERE / name) for name in suite)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), *filter(None, sys.path)])},
        cwd=tmp_path,  # not where a source tree without compiled modules may lie
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
