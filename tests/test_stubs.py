"""The stubs of the compiled modules match the modules."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

import ckmeans

PACKAGE = Path(ckmeans._runtime.__file__).parent
SUFFIXES = tuple(EXTENSION_SUFFIXES)
MODULES = {path.name.split(".")[0] for path in PACKAGE.iterdir() if path.name.endswith(SUFFIXES)}
COMPILED = sorted(MODULES - {"_cyutility"})  # which is Cython's own


def test_every_compiled_module_has_a_stub():
    assert "_runtime" in COMPILED
    assert [path.stem for path in sorted(PACKAGE.glob("*.pyi"))] == COMPILED


def test_typed():
    assert (PACKAGE / "py.typed").exists()


def test_stubs_match_the_modules():
    pytest.importorskip("mypy")
    stubtest = [sys.executable, "-m", "mypy.stubtest", *(f"ckmeans.{name}" for name in COMPILED)]
    allowed = Path(__file__).with_name("stubtest_allowlist.txt")
    # mypy finds installed packages itself, and rejects their folder in MYPYPATH.
    path = {} if PACKAGE.parent.name == "site-packages" else {"MYPYPATH": str(PACKAGE.parent)}
    done = subprocess.run(
        [*stubtest, "--allowlist", str(allowed), "--ignore-unused-allowlist"],
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent), **path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
