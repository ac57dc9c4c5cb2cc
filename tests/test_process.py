"""What a call does to its process: docs/process.md lists it.

Each test runs in a process of its own: limits, the environment at import and forks are what they are about.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import ckmeans

LINUX = sys.platform == "linux"
linux_only = pytest.mark.skipif(not LINUX, reason="reads /proc, or needs limits that only Linux enforces")
needs_openmp = pytest.mark.skipif(not ckmeans.show_config()["openmp"], reason="needs OpenMP")
SOURCES = Path(__file__).parents[1] / "src"

# Calls of every kind that starts threads; what each returns as bytes.
CALLS = """
import os, resource, sys
import numpy as np
import ckmeans

rng = np.random.default_rng(0)
wide, narrow, flat = rng.random((60_000, 16)), rng.random((60_000, 2)), rng.random((3000, 4))
many = rng.random((20_000, 64), dtype=np.float32)
mostly_zero = wide * (wide < 0.1)

def result(r):
    return r.labels.tobytes() + r.centroids.tobytes()

CALLS = {
    "dense": lambda T: result(ckmeans.kmeans(
        wide, 50, init="random", seed=0, max_iter=4, n_threads=T, algorithm="dense")),
    "cells": lambda T: result(ckmeans.kmeans(narrow, 50, seed=0, max_iter=4, n_threads=T, algorithm="cells")),
    "screen": lambda T: result(ckmeans.kmeans(many, 60, seed=0, max_iter=4, n_threads=T, algorithm="screen")),
    "seeding": lambda T: ckmeans.init_centroids(wide, 50, seed=0, n_threads=T).tobytes(),
    "restarts": lambda T: result(ckmeans.kmeans(flat, 10, seed=0, n_init=40, n_threads=T)),
    "assign": lambda T: ckmeans.assign(wide, wide[:100], n_threads=T)[0].tobytes(),
}
try:
    import scipy.sparse
    rows = scipy.sparse.csr_array(mostly_zero)
    CALLS["sparse"] = lambda T: result(ckmeans.kmeans(rows, 20, seed=0, max_iter=4, n_threads=T))
except ImportError:
    pass

def status(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(name + ":"))

def digest(name, T):
    try:
        return str(zlib.crc32(CALLS[name](T)))
    except MemoryError:
        return "MemoryError"
import zlib
"""


def run(code, *arguments, env=None, prefix=(), check=True):
    """A new Python that runs the code with this test's ckmeans."""
    clean = {
        k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_", "KMP_", "CKMEANS_CACHE"))
    }
    clean["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    clean["OPENBLAS_NUM_THREADS"] = "1"  # NumPy's threads are not the subject
    clean.update(env or {})
    command = [*prefix, sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, env=clean, capture_output=True, text=True, timeout=300)
    if check:
        assert done.returncode == 0, done.stderr
    return done


# ---- what is never done ------------------------------------------------------------------------


def test_import_leaves_the_environment():
    code = "import os; before = dict(os.environ); import ckmeans; print(before == dict(os.environ))"
    for env in ({}, {"GOMP_SPINCOUNT": "7", "KMP_BLOCKTIME": "7"}, {"OMP_WAIT_POLICY": "active"}):
        assert run(code, env=env).stdout.split() == ["True"]


@linux_only
def test_affinity_is_never_set(tmp_path):
    """From the import over ten fits to the exit, and however busy the processors are."""
    strace = shutil.which("strace")
    if strace is None or subprocess.run([strace, "-o", os.devnull, "true"]).returncode:
        pytest.skip("needs strace, and to be allowed to trace")
    code = CALLS + "for i in range(10): CALLS[list(CALLS)[i % len(CALLS)]](4)\nprint('done')"
    trace = tmp_path / "trace"
    done = run(
        code, prefix=[strace, "-f", "-e", "trace=sched_setaffinity,clone,clone3,execve", "-o", str(trace)]
    )
    assert done.stdout.split() == ["done"]
    calls = trace.read_text()
    assert "execve" in calls
    assert "sched_setaffinity" not in calls


# ---- a system that refuses threads or memory ---------------------------------------------------


@pytest.fixture(scope="module")
def expected():
    """What each call returns where nothing is refused."""
    code = CALLS + "for name in CALLS: print(name, digest(name, 4))"
    return dict(line.split() for line in run(code).stdout.splitlines())


@linux_only
@needs_openmp
@pytest.mark.parametrize("granted", [0, 1, 2])
def test_refused_threads_are_done_without(granted, expected):
    """RLIMIT_NPROC counts the threads of a user other than root, so root becomes one after the import."""
    code = CALLS + (
        """
before = status("Threads")
if os.getuid() == 0:
    os.setuid(54321)
    resource.setrlimit(resource.RLIMIT_NPROC, [before + int(sys.argv[1])] * 2)
elif int(sys.argv[1]) == 0:
    resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
for name in CALLS:
    print(name, digest(name, 4), status("Threads") - before)
"""
    )
    if granted > 0 and os.getuid() != 0:
        pytest.skip("another user's processes count, too: how many is known to root only")
    lines = [line.split() for line in run(code, granted).stdout.splitlines()]
    assert {name: found for name, found, _ in lines} == expected
    assert {threads for *_, threads in lines} == {str(granted)}


@linux_only
@pytest.mark.parametrize("megabytes", range(0, 121, 5))
def test_refused_memory_never_ends_the_process(megabytes, expected):
    """Every call returns what it should or raises MemoryError; another one comes first at each limit."""
    code = CALLS + (
        """
limit = (status("VmSize") << 10) + (int(sys.argv[1]) << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
names = list(CALLS)
first = int(sys.argv[1]) // 5 % len(names)
for name in names[first:] + names[:first]:
    print(name, digest(name, 4))
print("end")
"""
    )
    *lines, end = run(code, megabytes).stdout.splitlines()
    assert end == "end"
    for line in lines:
        name, found = line.split()
        assert found in (expected[name], "MemoryError")
    if megabytes == 120:
        assert dict(line.split() for line in lines) == expected


@pytest.mark.skipif(not SOURCES.exists(), reason="needs the sources")
def test_every_region_requests_its_threads():
    """OpenMP ends the process when it is refused a thread, so none is asked for that was not requested."""
    for path in SOURCES.rglob("*.pyx"):
        regions = re.findall(r"\b(?:prange|parallel)\((?:[^()]|\([^()]*\))*\)", path.read_text())
        for region in regions:
            assert "num_threads=request_threads(" in region, (path.name, region)


# ---- forks -------------------------------------------------------------------------------------


@linux_only
@needs_openmp
def test_fork_leaves_teams_of_other_threads():
    """Only the forking thread's team is let go of, and only if it is ours."""
    code = CALLS + (
        """
import threading, time
fitted, done = threading.Event(), threading.Event()
def work():
    CALLS["dense"](4)
    fitted.set()
    done.wait()
worker = threading.Thread(target=work)
worker.start()
fitted.wait()
tasks = set(os.listdir("/proc/self/task"))
pid = os.fork()
if pid == 0:
    os._exit(0 if CALLS["dense"](4) == CALLS["dense"](1) else 1)
print(os.waitpid(pid, 0)[1], set(os.listdir("/proc/self/task")) == tasks, len(tasks) >= 5)
done.set()
worker.join()
"""
    )
    assert run(code).stdout.split() == ["0", "True", "True"]


# ---- the cache of released workspaces ------------------------------------------------------------

FIT = """
import ckmeans, numpy
X = numpy.random.default_rng(0).random((60_000, 16))
ckmeans.kmeans(X, 50, n_init=1)
"""


def test_memory_is_released_once():
    sizes = run(FIT + "print(ckmeans.release_memory(), ckmeans.release_memory())").stdout.split()
    assert int(sizes[0]) > 1 << 20
    assert sizes[1] == "0"


@pytest.mark.parametrize("limit", [0, 1 << 20])
def test_cache_has_a_limit(limit):
    code = FIT * 3 + "print(ckmeans.release_memory())"
    assert int(run(code, env={"CKMEANS_CACHE_BYTES": str(limit)}).stdout) <= limit


@linux_only
def test_released_memory_is_the_systems():
    code = FIT + (
        """
def resident():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith("RssAnon"))
X = numpy.random.default_rng(0).random((60_000, 300), numpy.float32)
ckmeans.kmeans(X, 1000, n_init=1, max_iter=1, init="random", algorithm="dense")
before = resident()
released = ckmeans.release_memory()
print(released, before - resident())
"""
    )
    released, fell = map(int, run(code).stdout.split())
    assert released > 8 << 20
    assert fell > released // 2


@pytest.mark.parametrize("value", ["many", "-1", "1.5", "1e6"])
def test_wrong_limit_is_an_error(value):
    done = run("import ckmeans", env={"CKMEANS_CACHE_BYTES": value}, check=False)
    assert done.returncode == 1
    assert f"ImportError: CKMEANS_CACHE_BYTES='{value}' is not a number of bytes" in done.stderr
