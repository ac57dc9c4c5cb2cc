"""Other libraries in the same process: right results, no more threads or processor time than allowed.

Every test runs in a process of its own, since results may depend on what was imported first and on the
environment when the OpenMP runtime was loaded.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

import ckmeans
from ckmeans import _config, _openmp

LINUX = sys.platform == "linux"
OPENMP = bool(ckmeans.show_config()["openmp"])
CPUS = len(os.sched_getaffinity(0)) if LINUX else os.cpu_count()
# The wheel's own copy of the OpenMP runtime; None for a build in place, which uses the system's.
PRIVATE = _openmp.private_runtime()
two_threads = pytest.mark.skipif(not OPENMP or CPUS < 2, reason="needs OpenMP and two processors")
# Code of each peer that runs its own threads, and checks its result.
PEERS = {
    "numpy": """
a = numpy.random.default_rng(0).random((300, 300))
assert abs(a @ a - (a[:, :, None] * a[None, :, :]).sum(1)).max() < 1e-9
""",
    "sklearn": """
import sklearn.cluster
s = sklearn.cluster.KMeans(2, n_init=1).fit(numpy.repeat([[0.0], [1.0]], 5000, 0))
assert sorted(s.cluster_centers_.ravel().round(9)) == [0, 1]
""",
    "faiss": """
index = faiss.IndexFlatL2(4)
index.add(numpy.eye(4, dtype="f"))
assert (index.search(numpy.eye(4, dtype="f"), 1)[1].ravel() == range(4)).all()
""",
    "torch": """
a = torch.rand(300, 300, dtype=torch.float64)
assert torch.allclose(a @ a, (a[:, :, None] * a[None, :, :]).sum(1))
""",
    "cv2": """
a = numpy.repeat(numpy.array([[0], [1]], "f"), 5000, 0)
assert cv2.kmeans(a, 2, None, (1, 9, 0), 3, cv2.KMEANS_PP_CENTERS)[0] == 0
""",
    "scipy": """
import scipy.linalg
assert abs(scipy.linalg.eigvalsh(numpy.diag(numpy.arange(200.0))) - numpy.arange(200)).max() < 1e-9
""",
}
FIT = """
import numpy, ckmeans
X = numpy.random.default_rng(0).random((50000, 8), dtype=numpy.float32)
def fit(n_threads=None):
    r = ckmeans.kmeans(X, 20, seed=0, max_iter=4, tol=0, n_threads=n_threads)
    d = ((X[:50, None].astype(float) - r.centroids) ** 2).sum(2)
    assert (d.argmin(1) == r.labels[:50]).all()
    return r.distortion
"""
THREADS = (
    FIT
    + """
import os
def threads():
    return len(os.listdir("/proc/self/task"))
before = threads()
fit()
print(ckmeans.show_config()["threads"], threads() - before + 1)
"""
)


def run(code, env=None):
    """Start a new Python process with this ckmeans and the environment unchanged."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_", "KMP_"))}
    clean["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    clean.update(env or {})
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=clean, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done


def python(code, env=None):
    """Return what the code prints."""
    return run(code, env).stdout.split()


# ---- peers -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def alone():
    return python(FIT + "print(fit())")


@pytest.mark.parametrize("first", [True, False], ids=["ckmeans first", "peer first"])
@pytest.mark.parametrize("peer", PEERS)
def test_bit_identical_beside_a_peer(peer, first, alone):
    assert python(in_order(first, uses(peer))) == alone * 2


def uses(peer):
    if importlib.util.find_spec(peer) is None:
        pytest.skip(f"no {peer}")
    return f"import numpy, {peer}\n{PEERS[peer]}\n"


def in_order(first, use):
    """Run fits before and after peers, with ckmeans imported first or second."""
    code = FIT + "fit()\n" + use if first else use + FIT
    return code + "print(fit())\n" + use + "print(fit())"


@pytest.mark.parametrize("first", [True, False], ids=["ckmeans first", "peers first"])
def test_bit_identical_beside_all_peers(first, alone):
    """Each peer has its own copy of an OpenMP runtime, or shares one."""
    here = [peer for peer in PEERS if importlib.util.find_spec(peer)]
    assert python(in_order(first, "".join(map(uses, here)))) == alone * 2


# ---- threads -----------------------------------------------------------------------------------


@two_threads
@pytest.mark.skipif(not LINUX, reason="counts the threads in /proc")
class TestThreads:
    def test_one_thread_per_processor(self):
        assert python(THREADS) == [str(CPUS)] * 2

    def test_environment(self):
        assert python(THREADS, {"OMP_NUM_THREADS": "1"}) == ["1", "1"]

    def test_affinity(self):
        cpu = min(os.sched_getaffinity(0))
        assert python(f"import os; os.sched_setaffinity(0, [{cpu}])\n" + THREADS) == ["1", "1"]
        late = f"import os, ckmeans; os.sched_setaffinity(0, [{cpu}])\n"
        assert python(late + THREADS) == ["1", "1"]

    def test_threadpoolctl(self):
        pytest.importorskip("threadpoolctl")
        limit = "import threadpoolctl, ckmeans\nlimit = threadpoolctl.threadpool_limits(1)\n"
        assert python(limit + THREADS) == ["1", "1"]
        lifted = limit + "limit.restore_original_limits()\n"
        assert python(lifted + THREADS) == [str(CPUS)] * 2

    @pytest.mark.parametrize("peer", PEERS)
    def test_threadpoolctl_beside_a_peer(self, peer):
        pytest.importorskip("threadpoolctl")
        limit = "import threadpoolctl, ckmeans\nlimit = threadpoolctl.threadpool_limits(1)\n"
        assert python(uses(peer) + limit + THREADS) == ["1", "1"]

    def test_quota(self):
        with control_group(quota=100_000) as group:
            assert python(f"open('{group}/cgroup.procs', 'w').write('0')\n" + THREADS) == ["1", "1"]


class control_group:
    """Make a control group of this machine with a processor quota; skip if that is not possible."""

    def __init__(self, quota):
        self.quota = quota

    def __enter__(self):
        root = Path("/sys/fs/cgroup")
        version_2 = (root / "cgroup.controllers").exists()
        self.group = (root if version_2 else root / "cpu") / f"ckmeans-{os.getpid()}"
        try:
            self.group.mkdir()
            if (self.group / "cpu.max").exists():
                (self.group / "cpu.max").write_text(f"{self.quota} 100000")
            else:
                (self.group / "cpu.cfs_quota_us").write_text(str(self.quota))
        except OSError as error:
            self.__exit__()
            pytest.skip(f"no control group can be made here: {error}")
        return self.group

    def __exit__(self, *_):
        for _ in range(100):  # a process that has just ended may still be listed
            try:
                if self.group.exists():
                    self.group.rmdir()
                return
            except OSError:
                time.sleep(0.01)


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Write files of an artificial /proc and /sys of a machine with 64 processors."""
    real_open = open

    def place(path):
        return tmp_path / str(path).lstrip("/")

    def write(path, text):
        place(path).parent.mkdir(parents=True, exist_ok=True)
        place(path).write_text(text)

    monkeypatch.setattr(_config, "_quota", None)
    monkeypatch.setattr(_config, "open", lambda path: real_open(place(path)), raising=False)
    monkeypatch.setattr(_config.os.path, "exists", lambda path: place(path).is_file())
    monkeypatch.setattr(_config._runtime, "openmp_max_threads", lambda: 64)
    monkeypatch.setattr(_config.os, "sched_getaffinity", lambda _: set(range(48)), raising=False)
    return write


class TestQuota:
    def test_no_quota(self, machine):
        assert _config.default_threads() == 48

    @pytest.mark.parametrize(
        ("quota", "threads"),
        [("max 100000", 48), ("200000 100000", 2), ("150000 100000", 2), ("20000 100000", 1), ("broken", 48)],
    )
    def test_quota_of_cgroups_version_2(self, machine, quota, threads):
        machine("/proc/self/cgroup", "0::/jobs/mine\n")
        machine("/sys/fs/cgroup/jobs/mine/cpu.max", quota)
        assert _config.default_threads() == threads

    def test_smallest_quota_of_nested_groups(self, machine):
        machine("/proc/self/cgroup", "0::/jobs/mine\n")
        machine("/sys/fs/cgroup/jobs/mine/cpu.max", "800000 100000")
        machine("/sys/fs/cgroup/jobs/cpu.max", "300000 100000")
        assert _config.default_threads() == 3

    @pytest.mark.parametrize(("quota", "threads"), [("-1", 48), ("400000", 4), ("50000", 1)])
    def test_quota_of_cgroups_version_1(self, machine, quota, threads):
        machine("/proc/self/cgroup", "2:cpu,cpuacct:/box\n1:memory:/elsewhere\n0::/\n")
        machine("/sys/fs/cgroup/cpu/box/cpu.cfs_quota_us", quota)
        machine("/sys/fs/cgroup/cpu/box/cpu.cfs_period_us", "100000")
        assert _config.default_threads() == threads

    def test_quota_is_read_once(self, machine):
        machine("/proc/self/cgroup", "0::/\n")
        machine("/sys/fs/cgroup/cpu.max", "200000 100000")
        assert _config.default_threads() == 2
        machine("/sys/fs/cgroup/cpu.max", "300000 100000")
        assert _config.default_threads() == 2


# ---- idle threads ------------------------------------------------------------------------------

BURNT = (
    FIT
    + """
import os, time
def used():
    times = {}
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/schedstat") as file:
            times[task] = int(file.read().split()[0]) / 1e6
    return times
others = set(used())  # the threads of NumPy's linear algebra spin a while after the import
fit(2)
worst = 0.0
for _ in range(10):
    fit(2)
    before = used()
    time.sleep(0.1)
    after = used()
    worst = max([worst] + [after[t] - before[t] for t in set(before) - others])
print(len(set(before) - others), worst)
"""
)


@two_threads
@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="no processor times of threads")
@pytest.mark.parametrize(
    "env", [{}, {"GOMP_SPINCOUNT": "5000", "KMP_BLOCKTIME": "0"}], ids=["default", "set"]
)
def test_idle_workers_spin_5_ms(env):
    """Times are the kernel's counts for each thread, which do not depend on other load."""
    if not env and PRIVATE is None:
        pytest.skip("a runtime that others may share spins as long as the user has it spin")
    threads, milliseconds = python(BURNT, env)
    assert int(threads) >= 1
    assert float(milliseconds) <= 5


@pytest.mark.parametrize(
    ("env", "turns"),
    [
        ({}, "5000" if PRIVATE else "300000"),
        ({"GOMP_SPINCOUNT": "70"}, "70"),
        ({"OMP_WAIT_POLICY": "active"}, "30000000000"),
    ],
    ids=str,
)
def test_spin_time_of_idle_workers(env, turns):
    """GNU's runtime reports the settings it has read. The wheel's own copy spins briefly unless the user
    has set something; a shared one has GNU's default."""
    said = run("import ckmeans", {"OMP_DISPLAY_ENV": "verbose", **env}).stderr
    found = re.search(r"GOMP_SPINCOUNT = '(\w+)'", said)
    if not found:
        pytest.skip("not GNU's OpenMP")
    assert found[1] == turns


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("ckmeans_simd.libs/libgomp-24e2ab19.so.1.0.0", "libgomp"),
        ("ckmeans/.dylibs/libomp.dylib", "libomp"),
        ("ckmeans_simd.libs/vcomp140-12345.dll", None),
        ("other.libs/libgomp-24e2ab19.so.1.0.0", None),
    ],
)
def test_private_runtime_is_found(file, name, tmp_path, monkeypatch):
    for path in (tmp_path / "ckmeans" / "_openmp.py", tmp_path / file):
        path.parent.mkdir(exist_ok=True, parents=True)
        path.touch()
    monkeypatch.setattr(_openmp, "__file__", str(tmp_path / "ckmeans" / "_openmp.py"))
    assert _openmp.private_runtime() == name
