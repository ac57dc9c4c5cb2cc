"""Forms of input: dtypes, byte orders and strides, without a converted copy of the whole array."""

from __future__ import annotations

import sys

import cases
import numpy as np
import pytest
import reference
from checks import assert_same

import ckmeans

DTYPES = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?"]


def whole_numbers(m, n, dtype):
    """Return numbers that the dtype can hold, of both signs if it is signed."""
    numbers = np.random.default_rng([m, n]).integers(0, 100, (m, n))
    return (numbers - 50 * (np.dtype(dtype).kind in "if")).astype(dtype)


def same_everywhere(X, plain, K=5):
    """Check that every function gives the same result for X and for its C-ordered copy."""
    weights = np.random.default_rng(0).random(len(X))
    for algorithm in cases.engines(*X.shape):
        for options in ({}, {"sample_weight": weights, "n_threads": 2}):
            options |= {"seed": 1, "algorithm": algorithm}
            assert_same(ckmeans.kmeans(X, K, **options), ckmeans.kmeans(plain, K, **options))
    labels, squared = ckmeans.assign(X, plain[:K], return_squared_distance=True)
    np.testing.assert_array_equal(squared, ckmeans.assign(plain, plain[:K], return_squared_distance=True)[1])
    for found, expected in zip(ckmeans.update(X, labels, K), ckmeans.update(plain, labels, K), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert ckmeans.distortion(X, X[:K], labels) == ckmeans.distortion(plain, plain[:K], labels)
    for method in ("random", "k-means++"):
        np.testing.assert_array_equal(
            ckmeans.init_centroids(X, K, method, seed=2), ckmeans.init_centroids(plain, K, method, seed=2)
        )


# ---- dtypes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("n", [1, 3, 8, 20])
def test_dtypes_and_byte_orders(name, order, n):
    X = whole_numbers(600, n, order + name)
    computing = reference.computing_dtype(X)
    assert ckmeans.kmeans(X, 3).centroids.dtype == computing
    same_everywhere(X, X.astype(computing), 2 if name == "?" else 5)


@pytest.mark.parametrize("name", ["f2", "i1", "u1", "u2"])
def test_short_dtypes_are_computed_in_float32(name):
    assert ckmeans.kmeans(whole_numbers(10, 2, name), 2).centroids.dtype == np.float32


def test_every_float16():
    """All 63,488 finite values, including subnormal numbers and both zeros."""
    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    X = every[np.isfinite(every)].reshape(-1, 2)
    centroids = np.zeros((1, 2))
    _, squared = ckmeans.assign(X, centroids, return_squared_distance=True)
    np.testing.assert_array_equal(squared, (X.astype(float) ** 2).sum(axis=1))
    means, _ = ckmeans.update(X, np.arange(len(X)) % 500, 500)
    np.testing.assert_allclose(means, reference.update(X, np.arange(len(X)) % 500, 500)[0], rtol=2e-7)


@pytest.mark.parametrize("name", ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"])
def test_integer_limits(name):
    low, high = np.iinfo(name).min, np.iinfo(name).max
    X = np.array([[low, high], [high, low], [high, high], [low, low]], name)
    r = ckmeans.kmeans(X, 4, init="random", seed=0)
    assert r.distortion == 0
    np.testing.assert_array_equal(r.centroids[r.labels], X.astype(r.centroids.dtype))


def test_long_doubles_are_computed_in_float64():
    X = cases.make("blobs", 100, 3).astype(np.longdouble)
    assert_same(ckmeans.kmeans(X, 4, seed=0), ckmeans.kmeans(X.astype(float), 4, seed=0))


# ---- strides -----------------------------------------------------------------------------------------


def misaligned(X):
    """Return the same values at an odd address."""
    raw = np.empty(X.nbytes + 1, np.uint8)[1:]
    array = raw.view(X.dtype).reshape(X.shape)
    array[:] = X
    assert X.itemsize == 1 or not array.flags.aligned
    return array


def read_only(X):
    X = X.copy()
    X.flags.writeable = False
    return X


def between(X):
    """Return a view into a larger array full of NaN (99 for integers)."""
    larger = np.full((2 * len(X) + 3, 3 * X.shape[1] + 2), np.nan if X.dtype.kind == "f" else 99, X.dtype)
    inner = larger[3::2, 1:-1:3]
    inner[:] = X
    return inner


def padded(X):
    """Return contiguous rows with NaN between them."""
    larger = np.full((len(X), X.shape[1] + 5), np.nan if X.dtype.kind == "f" else 99, X.dtype)
    larger[:, 2:-3] = X
    return larger[:, 2:-3]


LAYOUTS = {
    "C": np.ascontiguousarray,
    "Fortran": np.asfortranarray,
    "transposed": lambda X: np.ascontiguousarray(X.T).T,
    "rows backwards": lambda X: X[::-1].copy()[::-1],
    "columns backwards": lambda X: X[:, ::-1].copy()[:, ::-1],
    "all backwards": lambda X: X[::-1, ::-1].copy()[::-1, ::-1],
    "between": between,
    "padded": padded,
    "misaligned": misaligned,
    "read-only": read_only,
    "structured": lambda X: np.rec.fromarrays([X[:, 0], *X.T]).view(X.dtype).reshape(len(X), -1)[:, 1:],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["f4", "f8", ">f8", "f2", "u1", "i4"])
@pytest.mark.parametrize("n", [1, 2, 4, 9])
def test_layouts(layout, name, n):
    X = whole_numbers(530, n, name)
    laid_out = LAYOUTS[layout](X)
    np.testing.assert_array_equal(laid_out, X)
    same_everywhere(laid_out, X.astype(reference.computing_dtype(X)))


@pytest.mark.parametrize("name", ["f4", "f8", "u1"])
def test_broadcast_rows_and_columns(name):
    column = np.broadcast_to(whole_numbers(300, 1, name), (300, 6))
    assert column.strides[1] == 0
    same_everywhere(column, column.astype(reference.computing_dtype(column)))
    row = np.broadcast_to(whole_numbers(1, 6, name), (300, 6))
    assert row.strides[0] == 0
    r = ckmeans.kmeans(row, 2)
    assert (r.distortion, len(r.centroids)) == (0, 1)
    np.testing.assert_array_equal(r.centroids[0], row[0])


def test_overlapping_rows(dtype):
    """Rows overlap if their stride is less than a row."""
    series = cases.make("uniform", 800, 1, dtype).ravel()
    windows = np.lib.stride_tricks.sliding_window_view(series, 12)
    same_everywhere(windows, windows.copy())


@pytest.mark.parametrize("name", ["f4", "f8", "u1", ">f4"])
def test_memory_maps(tmp_path, name):
    X = whole_numbers(700, 7, name)
    np.save(tmp_path / "X.npy", X)
    for mode in ("r", "c"):
        mapped = np.load(tmp_path / "X.npy", mmap_mode=mode)
        assert isinstance(mapped, np.memmap)
        same_everywhere(mapped, X.astype(reference.computing_dtype(X)))
    np.testing.assert_array_equal(np.load(tmp_path / "X.npy"), X)


@pytest.mark.skipif(sys.platform != "linux", reason="guards a page with Linux's mprotect")
def test_no_read_outside_the_array():
    """Arrays at the end or the start of mapped memory: reading one byte outside ends the process."""
    cases.run_python("""
        import ctypes, mmap
        import numpy as np
        import ckmeans

        page = mmap.PAGESIZE
        memory = mmap.mmap(-1, 18 * page)
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        libc = ctypes.CDLL(None, use_errno=True)
        for guard in (0, 17):
            assert libc.mprotect(ctypes.c_void_p(address + guard * page), ctypes.c_size_t(page), 0) == 0
        room = np.frombuffer(memory, np.uint8)[page : 17 * page]
        for dtype in ("f4", "f8", "f2", "u1", ">f8"):
            for n in (*range(1, 20), 33, 65, 130):
                for m in (1, 2, 7, 16, 17, 40):
                    size = m * n * np.dtype(dtype).itemsize
                    if size > room.size:
                        continue
                    for part in (room[:size], room[room.size - size :]):
                        X = part.view(dtype).reshape(m, n)
                        X[:] = np.arange(m * n).reshape(m, n) % 50
                        for Y in (X, X[::-1], X[:, ::-1]):
                            r = ckmeans.kmeans(Y, min(m, 3), seed=0, max_iter=2, empty="farthest")
                            _, squared = ckmeans.assign(Y, Y[:2], return_squared_distance=True)
                            ckmeans.update(Y, np.zeros(m, int), 1)
    """)


# ---- array-likes -------------------------------------------------------------------------------------


class Table:
    """Convert to an array on request, as a data frame does."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, dtype)


def test_array_likes():
    values = whole_numbers(40, 3, "f8")
    expected = ckmeans.kmeans(values, 4, seed=0)
    likes = {
        "list": values.tolist(),
        "tuples": tuple(map(tuple, values.tolist())),
        "rows": list(values),
        "table": Table(values),
        "subclass": values.view(type("Subclass", (np.ndarray,), {})),
        "memoryview": memoryview(values),
    }
    for name, X in likes.items():
        r = ckmeans.kmeans(X, 4, seed=0)
        assert_same(r, expected)
        assert type(r.centroids) is np.ndarray, name
        np.testing.assert_array_equal(ckmeans.assign(X, r.centroids.tolist()), r.labels)
        assert ckmeans.distortion(X, Table(r.centroids), r.labels.tolist()) == r.distortion


def test_data_frames():
    pandas = pytest.importorskip("pandas")
    X = whole_numbers(40, 3, "f8")
    frame = pandas.DataFrame(X, columns=list("abc"))
    weights = pandas.Series(np.arange(40.0))
    assert_same(
        ckmeans.kmeans(frame, 4, seed=0, sample_weight=weights),
        ckmeans.kmeans(X, 4, seed=0, sample_weight=np.arange(40.0)),
    )


@pytest.mark.parametrize("weights", ["f2", "f4", ">f8", "i4", "u1", "?", "list", "strided"])
def test_weights_of_any_form(weights):
    X = cases.make("blobs", 200, 3)
    values = np.arange(200) % 2 if weights == "?" else np.arange(200) % 5
    given = {
        "list": values.tolist(),
        "strided": np.repeat(values * 1.0, 3)[::3],
    }.get(weights, values.astype(weights) if weights not in ("list", "strided") else None)
    assert_same(
        ckmeans.kmeans(X, 4, seed=0, sample_weight=given),
        ckmeans.kmeans(X, 4, seed=0, sample_weight=values.astype(float)),
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_centroids_of_any_layout(layout, dtype):
    X, centroids = cases.make("uniform", 100, 4, dtype), cases.make("uniform", 9, 4, dtype, seed=1)
    expected = ckmeans.assign(X, centroids)
    laid_out = LAYOUTS[layout](centroids)
    np.testing.assert_array_equal(ckmeans.assign(X, laid_out), expected)
    assert ckmeans.distortion(X, laid_out) == ckmeans.distortion(X, centroids)
    assert_same(ckmeans.kmeans(X, 9, init=laid_out), ckmeans.kmeans(X, 9, init=centroids))


# ---- memory ------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's high-water mark")
@pytest.mark.parametrize(
    ("make", "megabytes"),
    [
        ("np.zeros((1_000_000, 80), np.uint8)", 24),
        ("np.zeros((80, 500_000), np.float32).T", 16),
        ("np.zeros((500_000, 40), '>f8')[::-1]", 16),
        ("np.lib.format.open_memmap('X.npy', 'w+', np.uint16, (500_000, 80))", 16),
    ],
)
def test_no_copy_of_the_whole_array(tmp_path, make, megabytes):
    """A fit needs memory for labels and seeding, 16 bytes per row independent of n."""
    output = cases.run_python(
        f"""
        import os
        import numpy as np
        import ckmeans

        def peak():
            with open("/proc/self/status") as file:
                return next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))

        os.chdir({str(tmp_path)!r})
        X = {make}
        X[...] = (np.arange(len(X)) % 251)[:, None]
        ckmeans.kmeans(X[:1000], 16, seed=0, max_iter=2)
        before = peak()
        r = ckmeans.kmeans(X, 16, seed=0, max_iter=2)
        ckmeans.assign(X, r.centroids)
        ckmeans.update(X, r.labels, 16)
        ckmeans.distortion(X, r.centroids, r.labels)
        print((peak() - before) / 1024)
        """
    )
    assert float(output) < megabytes
