"""Where the package runs: Pythons without some modules, other users, read-only places, full disks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import cases
import numpy as np
import pytest

import ckmeans

PACKAGE = Path(ckmeans.__file__).parent
NOBODY = 65534
posix_only = pytest.mark.skipif(os.name != "posix", reason="needs users and limits of POSIX")


# ---- import ------------------------------------------------------------------------------------------


def test_python_without_compression(tmp_path):
    """Modules that a Python may be built without, and that Cython and NumPy may use for their strings."""
    code = f"""
    import sys
    for name in ("zlib", "bz2", "lzma", "_bz2", "_lzma", "compression"):
        sys.modules[name] = None
    import numpy as np
    import ckmeans
    X = np.sin(np.arange(1500.0).reshape(500, 3) ** 2)
    result = ckmeans.kmeans(X, 4, seed=0, n_init=2)
    ckmeans.kmeans_chunks([X], 4, seed=0)
    ckmeans.assign(X, ckmeans.init_centroids(X, 3, seed=0))
    ckmeans.distortion(ckmeans.prepare(X), X[:3])
    assert "numpy.random" not in sys.modules
    result.save({str(tmp_path / "result.npz")!r})
    assert ckmeans.load({str(tmp_path / "result.npz")!r}).distortion == result.distortion
    """
    cases.run_python(code, PYTHONPATH=str(PACKAGE.parent))


def test_sub_interpreter_works_or_refuses():
    code = """
    import importlib
    try:
        interpreters = importlib.import_module("_interpreters")
    except ImportError:
        interpreters = importlib.import_module("_xxsubinterpreters")
    own = interpreters.create()
    run = getattr(interpreters, "exec", None) or interpreters.run_string
    try:
        failure = run(own, '''if True:
            import warnings
            warnings.simplefilter("ignore")
            try:
                import ckmeans
            except ImportError as error:
                assert str(error), "no reason"
            else:
                assert len(ckmeans.kmeans([[1.0], [2.0], [9.0]], 2).centroids) == 2
        ''')
        assert failure is None, failure
    finally:
        interpreters.destroy(own)
    """
    cases.run_python(code, PYTHONPATH=str(PACKAGE.parent))


@posix_only
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs to become another user")
def test_other_user_and_read_only_installation(tmp_path):
    installed = tmp_path / "site"
    shutil.copytree(PACKAGE, installed / "ckmeans", ignore=shutil.ignore_patterns("__pycache__", "*.c"))
    libraries = PACKAGE.parent / "ckmeans_simd.libs"
    if libraries.exists():
        shutil.copytree(libraries, installed / libraries.name)
    for path in (installed, *installed.rglob("*")):
        path.chmod(0o555 if path.is_dir() or path.suffix == ".so" else 0o444)
    for folder in (tmp_path, *tmp_path.parents[:-1]):
        if not folder.stat().st_mode & 0o005:
            folder.chmod(folder.stat().st_mode | 0o005)
    loaded = "import sys, numpy.random; a = {*sys.modules}; import ckmeans; print(*{*sys.modules} - a)"
    needed = cases.run_python(loaded, PYTHONPATH=str(PACKAGE.parent)).split()
    # Python's own files may be closed to the other user.
    early = [name for name in needed if name.partition(".")[0] in sys.stdlib_module_names]
    code = f"""
    import importlib, os
    import numpy as np
    import numpy.random
    for name in {early}:
        importlib.import_module(name)
    os.setgid({NOBODY}), os.setuid({NOBODY})
    import ckmeans
    assert ckmeans.__file__.startswith({str(installed)!r})
    assert not os.access(ckmeans.__path__[0], os.W_OK)
    assert len(ckmeans.kmeans(np.random.default_rng(0).random((9999, 8)), 9, seed=0).centroids) == 9
    """
    cases.run_python(code, PYTHONPATH=str(installed), HOME="/nonexistent")
    for folder in (installed, *(path for path in installed.rglob("*") if path.is_dir())):
        folder.chmod(0o755)
    assert not list(installed.rglob("__pycache__"))


# ---- files -------------------------------------------------------------------------------------------


@posix_only
def test_full_disk_leaves_old_files_whole(tmp_path):
    """A limit of the size of files ends a write as a full disk does."""
    pytest.importorskip("pandas")
    pytest.importorskip("PIL")
    rng = np.random.default_rng(0)
    X = rng.random((4000, 3))
    np.save(tmp_path / "X.npy", X)
    from PIL import Image

    Image.fromarray(rng.integers(0, 255, (200, 200, 3), dtype=np.uint8)).save(tmp_path / "photo.png")
    outputs = {name: tmp_path / name for name in ("result.npz", "labels.csv", "model.npz", "photo-16.png")}
    for path in outputs.values():
        path.write_bytes(b"old")
    code = f"""
    import resource
    import numpy as np
    import ckmeans
    from ckmeans.cli import main
    X = np.load({str(tmp_path / "X.npy")!r})
    result = ckmeans.kmeans(X, 4, seed=0)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    try:
        result.save({str(outputs["result.npz"])!r})
        raise SystemExit("saved")
    except OSError as error:
        assert "cannot write" in str(error), error
    table, photo = {str(tmp_path / "X.npy")!r}, {str(tmp_path / "photo.png")!r}
    assert main(["cluster", table, "-k", "3", "-o", {str(outputs["labels.csv"])!r}, "-q"]) == 2
    assert main(["cluster", table, "-k", "3", "--save", {str(outputs["model.npz"])!r}, "-q"]) == 2
    assert main(["quantize", photo, "-k", "16", "-o", {str(outputs["photo-16.png"])!r}, "-q"]) == 2
    """
    before = sorted(path.name for path in tmp_path.iterdir())
    cases.run_python(code, PYTHONPATH=str(PACKAGE.parent))
    assert all(path.read_bytes() == b"old" for path in outputs.values())
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_read_only_file_stays(tmp_path):
    path = tmp_path / "result.npz"
    result = ckmeans.kmeans([[0.0], [1.0], [9.0]], 2)
    path.write_bytes(b"old")
    path.chmod(0o444)
    if os.access(path, os.W_OK):
        pytest.skip("this user may write all files")
    with pytest.raises(PermissionError, match="read-only"):
        result.save(path)
    assert path.read_bytes() == b"old"


@posix_only
def test_memory_map_that_was_cut_short(tmp_path):
    path = tmp_path / "X.npy"
    np.save(path, np.random.default_rng(0).random((5000, 4)))
    X = np.load(path, mmap_mode="r")
    assert len(ckmeans.kmeans(X, 3, seed=0).labels) == 5000
    os.truncate(path, 4096)
    calls = (
        lambda: ckmeans.kmeans(X, 3, seed=0),
        lambda: ckmeans.assign(X[10:], np.zeros((2, 4))),
        lambda: ckmeans.KMeans(3).fit(X),
        lambda: ckmeans.prepare(X),
    )
    for call in calls:
        with pytest.raises(ValueError, match=r"X must be a memory map of a whole file, found \d+ bytes"):
            call()


# ---- functions of the caller ---------------------------------------------------------------------------


class Stop(BaseException):
    """Nothing that anybody else raises or catches."""


@pytest.mark.parametrize("error", [Stop(), KeyError("x"), ValueError("own"), MemoryError("own")], ids=repr)
def test_callers_exceptions_come_back_unchanged(error, algorithm):
    X = cases.make("blobs", 1000, 2)
    after = ckmeans.kmeans(X, 5, seed=0, algorithm=algorithm)

    def fail(*_, **__):
        raise error

    def chunks():
        yield X[:10]
        raise error

    calls = [
        lambda: ckmeans.kmeans(X, 5, seed=0, algorithm=algorithm, callback=fail),
        lambda: ckmeans.kmeans(X, 5, seed=0, algorithm=algorithm, init=fail, n_init=3, n_threads=2),
        lambda: ckmeans.kmeans(X * 1e-200, 5, seed=0, algorithm=algorithm, callback=fail),
        lambda: ckmeans.init_centroids(X, 5, fail),
        lambda: ckmeans.KMeans(5, init=fail).fit(X),
        lambda: ckmeans.MiniBatchKMeans(5, init=fail).fit(X),
        lambda: ckmeans.kmeans_chunks(chunks, 5),
        lambda: ckmeans.compare(X, [2, 3], cost=fail),
    ]
    for call in calls:
        with pytest.raises(type(error)) as caught:
            call()
        assert caught.value is error
    again = ckmeans.kmeans(X, 5, seed=0, algorithm=algorithm)
    assert again.centroids.tobytes() == after.centroids.tobytes()


# ---- the command -----------------------------------------------------------------------------------------


def test_command_runs_without_a_home(tmp_path):
    pytest.importorskip("pandas")
    (tmp_path / "t.csv").write_text("a,b\n1,2\n2,1\n9,9\n8,9\n")
    environment = {key: value for key, value in os.environ.items() if key not in ("HOME", "USER", "LANG")}
    done = subprocess.run(
        [sys.executable, "-m", "ckmeans", "cluster", "t.csv", "-k", "2"],
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
