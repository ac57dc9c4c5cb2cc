"""Tensors of other libraries: read where they lie, of any dtype, also bfloat16; released afterwards."""

from __future__ import annotations

import ctypes
import gc
import sys

import cases
import numpy as np
import pytest
from checks import assert_same

import ckmeans
from ckmeans import _arrays
from ckmeans._points import BFLOAT16

SINGLE = ("float32", "float16", "bfloat16", "int8", "uint8")
DTYPES = (*SINGLE, "float64", "int16", "int32", "int64", "bool")
VALUES = np.random.default_rng(0).integers(0, 40, (300, 5)).astype(float)


def bfloat16_of(values):
    """Return values rounded to bfloat16 by truncation, as bits and in float32."""
    bits = (np.ascontiguousarray(values, np.float32).view(np.uint32) >> 16).astype(np.uint16)
    return bits, (bits.astype(np.uint32) << 16).view(np.float32)


def in_memory(tensor):
    """Return the array that is read, and its address."""
    rows, _ = _arrays.read("X", tensor)
    return rows, rows.__array_interface__["data"][0]


def check_every_function(X, plain):
    """Check that results are those of the same values in an array."""
    for algorithm in cases.engines(*plain.shape):
        options = {"seed": 1, "algorithm": algorithm}
        expected = ckmeans.kmeans(plain, 4, **options)
        assert_same(ckmeans.kmeans(X, 4, **options), expected)
        assert_same(ckmeans.kmeans(ckmeans.prepare(X), 4, **options), expected)
    np.testing.assert_array_equal(ckmeans.assign(X, plain[:4]), ckmeans.assign(plain, plain[:4]))
    assert ckmeans.distortion(X, X[:4]) == ckmeans.distortion(plain, plain[:4])
    start = ckmeans.kmeans(plain, 4, init=plain[:4])
    assert_same(ckmeans.kmeans(X, 4, init=X[:4]), start)
    found = ckmeans.KMeans(4, random_state=0).fit(X)
    expected = ckmeans.KMeans(4, random_state=0).fit(plain)
    np.testing.assert_array_equal(found.labels_, expected.labels_)
    np.testing.assert_array_equal(found.transform(X), expected.transform(plain))
    curve, expected = ckmeans.elbow(X, [1, 2, 3], seed=0), ckmeans.elbow(plain, [1, 2, 3], seed=0)
    np.testing.assert_array_equal(curve.distortions, expected.distortions)


# ---- a producer of our own ---------------------------------------------------------------------------


class DLTensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device", ctypes.c_int32 * 2),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class Managed(ctypes.Structure):
    _fields_ = (("tensor", DLTensor), ("context", ctypes.c_void_p), ("deleter", ctypes.c_void_p))


GIVEN = {}  # address of a capsule: its tensor, and memory that it needs


@ctypes.PYFUNCTYPE(None, ctypes.c_void_p)
def destroy(capsule):
    GIVEN.pop(capsule)[0].released += 1


class Tensor:
    """A tensor of bfloat16 (code 4, bits as uint16) or of another dtype; it counts its capsules."""

    def __init__(self, array, code, *, device=(1, 0), with_strides=True):
        self.array, self.code, self.device_numbers, self.with_strides = array, code, device, with_strides
        self.given = self.released = 0

    def __dlpack_device__(self):
        return self.device_numbers

    def __dlpack__(self):
        array, managed, steps = self.array, Managed(), ctypes.c_int64 * self.array.ndim
        shape, strides = steps(*array.shape), steps(*(step // array.itemsize for step in array.strides))
        start, bits = array.__array_interface__["data"][0], 8 * array.itemsize
        managed.tensor = DLTensor(start - 8, self.device_numbers, array.ndim, self.code, bits, 1, shape)
        managed.tensor.byte_offset = 8
        if self.with_strides:
            managed.tensor.strides = strides
        new = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)(
            ("PyCapsule_New", ctypes.pythonapi)
        )
        capsule = new(ctypes.addressof(managed), b"dltensor", ctypes.cast(destroy, ctypes.c_void_p))
        GIVEN[id(capsule)] = self, managed, shape, strides
        self.given += 1
        return capsule


@pytest.mark.parametrize("n", [1, 2, 3, 8, 20, 70])
def test_bfloat16_through_dlpack(n):
    bits, plain = bfloat16_of(np.random.default_rng(n).normal(size=(200, n)))
    expected = ckmeans.kmeans(plain, 4, seed=0)
    assert expected.centroids.dtype == np.float32
    for name, view in {
        "C": bits,
        "Fortran": np.asfortranarray(bits),
        "backwards": bits[::-1].copy()[::-1],
    }.items():
        tensor = Tensor(view, 4, with_strides=name != "C")
        assert_same(ckmeans.kmeans(tensor, 4, seed=0), expected)


@pytest.mark.parametrize(("code", "dtype"), [(0, "i1"), (1, "u2"), (2, "f2"), (2, "f8"), (6, "?"), (0, "i8")])
def test_other_dtypes_through_dlpack(code, dtype):
    array = VALUES.astype(dtype)
    rows, address = in_memory(Tensor(array, code))
    assert rows.dtype == array.dtype
    assert address == array.__array_interface__["data"][0]
    assert_same(ckmeans.kmeans(Tensor(array, code), 2, seed=0), ckmeans.kmeans(array, 2, seed=0))


def test_tensor_lives_as_long_as_needed():
    tensor = Tensor(VALUES, 2)
    prepared = ckmeans.prepare(tensor)
    first = ckmeans.kmeans(prepared, 3, seed=0)
    gc.collect()
    assert (tensor.given, tensor.released) == (1, 0)
    assert_same(ckmeans.kmeans(prepared, 3, seed=0), first)
    del prepared
    gc.collect()
    assert tensor.released == 1
    for call in (ckmeans.kmeans, ckmeans.init_centroids):
        call(tensor, 3)
    with pytest.raises(ValueError, match="at most 300"):
        ckmeans.kmeans(tensor, 1000)
    gc.collect()
    assert tensor.given == tensor.released == 4


def test_tensors_that_are_refused():
    class OnGpu(Tensor):
        device = "cuda:0"

        def cpu(self):
            return self.array

    for tensor, words in (
        (OnGpu(VALUES, 2, device=(2, 0)), r"X must be in main memory, found it on cuda:0: pass X\.cpu\(\)"),
        (Tensor(VALUES, 2, device=(8, 0)), r"DLPack's type 8: pass numpy\.asarray\(X\)"),
        (Tensor(VALUES, 5), "X must hold real numbers, found dtype complex64"),
        (Tensor(VALUES, 3), "X must hold real numbers, found dtype DLPack's type 3 of 64 bits"),
    ):
        for call in (ckmeans.kmeans, lambda X, K: ckmeans.KMeans(K).fit(X)):
            with pytest.raises(TypeError, match=words):
                call(tensor, 2)
    with pytest.raises(ValueError, match="at least one row"):
        ckmeans.kmeans(Tensor(VALUES[:0], 2), 2)
    bits, _ = bfloat16_of(VALUES)
    bits[7, 2] = 0x7FC0
    with pytest.raises(ValueError, match="found nan at row 7, column 2"):
        ckmeans.kmeans(Tensor(bits, 4), 2)


def test_bfloat16_as_weights_and_start():
    bits, plain = bfloat16_of(VALUES)
    weights, plain_weights = bfloat16_of(np.arange(300.0))
    found = ckmeans.kmeans(Tensor(bits, 4), 3, init=Tensor(bits[:3], 4), sample_weight=Tensor(weights, 4))
    assert_same(found, ckmeans.kmeans(plain, 3, init=plain[:3], sample_weight=plain_weights))


def test_bfloat16_out_of_range_of_float32():
    """Large values are computed in float64, starts far beyond X are refused: as float32 is."""
    for sign in (1, -1):
        bits, plain = bfloat16_of(sign * VALUES * 1e30)
        assert_same(ckmeans.kmeans(Tensor(bits, 4), 3, seed=0), ckmeans.kmeans(plain, 3, seed=0))
        assert _arrays.max_abs(bits.view(BFLOAT16)) == np.abs(plain).max()
    bits, _ = bfloat16_of(VALUES)
    with pytest.raises(ValueError, match="init must lie within"):
        ckmeans.kmeans(Tensor(bits, 4), 1, init=[[1e30] * 5])


def test_chunks_of_bfloat16():
    bits, plain = bfloat16_of(VALUES)
    whole = ckmeans.kmeans(plain, 3, seed=0, algorithm="dense")
    tensors = [Tensor(bits[:100], 4), Tensor(bits[100:], 4)]
    assert_same(ckmeans.kmeans_chunks(tensors, 3, seed=0), whole)
    assert_same(ckmeans.kmeans_chunks([tensors[0], plain[100:]], 3, seed=0), whole)


def test_photo_of_int8_is_deduplicated():
    X = np.random.default_rng(0).integers(0, 20, (300_000, 3)).astype(np.int8)
    found, expected = (ckmeans.prepare(X.astype(dtype)) for dtype in (np.int8, np.uint8))
    assert_same(ckmeans.kmeans(found, 5, seed=0), ckmeans.kmeans(expected, 5, seed=0))
    assert "distinct" in repr(found)


# ---- libraries ---------------------------------------------------------------------------------------


def test_ml_dtypes():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    X = VALUES.astype(ml_dtypes.bfloat16)
    check_every_function(X, VALUES.astype("f4"))
    assert np.shares_memory(in_memory(X)[0], X)
    with pytest.raises(TypeError, match="found dtype float8_e4m3fn"):
        ckmeans.kmeans(VALUES.astype(ml_dtypes.float8_e4m3fn), 2)


@pytest.mark.parametrize("dtype", DTYPES)
def test_torch(dtype):
    torch = pytest.importorskip("torch")
    X = torch.tensor(VALUES).to(getattr(torch, dtype))
    plain = X.to(torch.float64).numpy().astype("f4" if dtype in SINGLE else "f8")
    check_every_function(X, plain)
    for view, same in ((X[::2], plain[::2]), (X[3:, 1:], plain[3:, 1:]), (X.T.contiguous().T, plain)):
        assert in_memory(view)[1] == view.data_ptr()
        assert_same(ckmeans.kmeans(view, 2, seed=0), ckmeans.kmeans(same, 2, seed=0))


def test_torch_parameters_and_refusals():
    torch = pytest.importorskip("torch")
    weight = torch.nn.Linear(4, 100).weight
    assert weight.requires_grad
    assert_same(ckmeans.kmeans(weight, 3, seed=0), ckmeans.kmeans(weight.detach().numpy(), 3, seed=0))
    for tensor in (torch.zeros(4, 2, device="meta"), torch.zeros(4, 2).to_sparse()):
        with pytest.raises(TypeError, match="X cannot be read through DLPack"):
            ckmeans.kmeans(tensor, 2)
    with pytest.raises(TypeError, match=r"found dtype torch\.float8_e5m2"):
        ckmeans.kmeans(torch.zeros(4, 2).to(torch.float8_e5m2), 2)
    seen = []
    ckmeans.kmeans(weight.to(torch.bfloat16), 3, init=lambda X, K, rng: seen.append(X) or X[:K])
    assert isinstance(seen[0], torch.Tensor)


def test_torch_data_loaders():
    torch = pytest.importorskip("torch")
    from torch.utils.data import DataLoader, TensorDataset

    X, y = torch.tensor(VALUES), torch.zeros(300)
    whole = ckmeans.kmeans(VALUES, 3, seed=0, algorithm="dense")
    for dataset in (X, TensorDataset(X), TensorDataset(X, y), TensorDataset(X, y[:, None], y)):
        assert_same(ckmeans.kmeans_chunks(DataLoader(dataset, batch_size=70), 3, seed=0), whole)
    with pytest.raises(ValueError, match=r"the same in every pass.*shuffled"):
        ckmeans.kmeans_chunks(DataLoader(X, batch_size=70, shuffle=True), 3, seed=0)
    with pytest.raises(ValueError, match=r"chunks\[0\] must be one array of points, found 2"):
        ckmeans.kmeans_chunks(DataLoader(TensorDataset(X, X), batch_size=70), 3)


@pytest.mark.parametrize("dtype", [dtype for dtype in DTYPES if dtype not in ("float64", "int64")])
def test_jax(dtype):
    jax = pytest.importorskip("jax")
    X = jax.numpy.asarray(VALUES).astype(dtype)
    check_every_function(X, np.asarray(X).astype("f4" if dtype in SINGLE else "f8"))
    assert in_memory(X)[1] == X.unsafe_buffer_pointer()


@pytest.mark.parametrize("dtype", DTYPES)
def test_tensorflow(dtype):
    tensorflow = pytest.importorskip("tensorflow")
    X = tensorflow.cast(tensorflow.constant(VALUES), dtype)
    plain = tensorflow.cast(X, "float64").numpy().astype("f4" if dtype in SINGLE else "f8")
    check_every_function(X, plain)
    dataset = tensorflow.data.Dataset.from_tensor_slices(VALUES).batch(70)
    whole = ckmeans.kmeans(VALUES, 3, seed=0, algorithm="dense")
    assert_same(ckmeans.kmeans_chunks(dataset, 3, seed=0), whole)


# ---- memory ------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's high-water mark")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("library", ["torch", "numpy"])
def test_no_copy_of_a_tensor(library, dtype):
    """A tensor of 256 MB: a fit takes memory for labels and seeding alone."""
    pytest.importorskip(library)
    if (library, dtype) == ("numpy", "bfloat16"):
        pytest.importorskip("ml_dtypes")
    megabytes = cases.run_python(
        f"""
        import numpy as np
        import ckmeans

        def peak():
            with open("/proc/self/status") as file:
                return next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))

        n = 64 if {dtype!r} == "float32" else 128
        rows = (np.arange(1 << 20) % 251).astype(np.float32)
        if {library!r} == "torch":
            import torch
            X = torch.empty(len(rows), n, dtype=torch.{dtype})
            X[:] = torch.tensor(rows)[:, None]
        else:
            if {dtype!r} == "bfloat16":
                import ml_dtypes
            X = np.empty((len(rows), n), {dtype!r})
            X[:] = rows[:, None]
        ckmeans.kmeans(X[:1000], 16, seed=0, max_iter=2)
        ckmeans.KMeans(16, max_iter=2).fit(X[:1000])
        before = peak()
        r = ckmeans.kmeans(X, 16, seed=0, max_iter=2)
        ckmeans.assign(X, r.centroids)
        ckmeans.update(X, r.labels, 16)
        ckmeans.distortion(X, r.centroids, r.labels)
        ckmeans.KMeans(16, max_iter=2, random_state=0).fit(X).predict(X)
        print((peak() - before) / 1024)
        """
    )
    assert float(megabytes) < 60
