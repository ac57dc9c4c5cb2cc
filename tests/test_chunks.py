"""`kmeans_chunks` is bit-identical to `kmeans` in memory, for any cuts of the points."""

import itertools

import numpy as np
import pytest
from checks import assert_same

import ckmeans
from ckmeans import _points

M = 2500


class Restarting:
    """Iterate over slices of an array, and count the passes."""

    def __init__(self, X, cuts):
        self.X, self.cuts, self.passes = X, cuts, 0

    def __iter__(self):
        self.passes += 1
        for a, b in itertools.pairwise([0, *self.cuts, len(self.X)]):
            yield self.X[a:b].copy()


CUTS = {"one": [], "ends": [1, M - 1], "even": range(100, M, 100), "odd": range(37, M, 613)}
CUTS["empty"] = [500, 500, 512]


@pytest.fixture
def points():
    rng = np.random.default_rng(5)
    return (rng.normal(size=(M, 3)) + 8 * rng.integers(0, 4, size=(M, 1))).astype(np.float32)


@pytest.fixture(autouse=True)
def narrow_window():
    """Make windows far smaller than the data, so that they move."""
    before = _points.set_window_bytes(700 * 12)
    yield
    _points.set_window_bytes(before)


@pytest.mark.parametrize("init", ["random", "k-means++"])
@pytest.mark.parametrize("cuts", CUTS.values(), ids=CUTS)
def test_bit_identical_for_any_cuts(points, cuts, init):
    in_memory = ckmeans.kmeans(points, 20, init=init, seed=3, algorithm="dense")
    assert in_memory.n_iter > 2
    for n_threads in (1, 3):
        streamed = ckmeans.kmeans_chunks(Restarting(points, cuts), 20, init=init, seed=3, n_threads=n_threads)
        assert_same(streamed, in_memory)
    assert streamed.algorithm == "dense"


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4", "u1", "i4"])
def test_every_dtype(points, dtype):
    X = np.abs(points).astype(dtype)
    in_memory = ckmeans.kmeans(X, 5, seed=1, algorithm="dense")
    assert_same(ckmeans.kmeans_chunks(Restarting(X, CUTS["odd"]), 5, seed=1), in_memory)


def test_strides_and_restarts_and_weights(points):
    X = np.asfortranarray(points)[::-1]
    weights = np.random.default_rng(0).integers(0, 3, M).astype(float)
    options = {"seed": 2, "n_init": 4, "sample_weight": weights, "tol": 0, "algorithm": "dense"}
    in_memory = ckmeans.kmeans(X, 7, **options)
    assert len(in_memory.distortions) == 4
    pieces = [X[:100], X[100:1700], X[1700:]]
    assert_same(ckmeans.kmeans_chunks(pieces, 7, **options), in_memory)


@pytest.mark.parametrize("empty", ["drop", "reinit", "farthest"])
def test_empty_policies(points, empty):
    start = np.concatenate([points[:6], np.full((3, 3), 1e4, np.float32)])
    in_memory = ckmeans.kmeans(points, 9, init=start, empty=empty, seed=4, algorithm="dense")
    assert len(in_memory.centroids) == (6 if empty == "drop" else 9)
    streamed = ckmeans.kmeans_chunks(Restarting(points, CUTS["odd"]), 9, init=start, empty=empty, seed=4)
    assert_same(streamed, in_memory)


def test_rare_values_are_found():
    X = np.zeros((M, 2))
    X[[3, 1200, 2400]] = [[1, 0], [2, 0], [3, 0]]
    in_memory = ckmeans.kmeans(X, 4, init="random", seed=0, algorithm="dense")
    assert in_memory.distortion == 0
    assert_same(ckmeans.kmeans_chunks(Restarting(X, CUTS["even"]), 4, init="random", seed=0), in_memory)


def test_callable_chunks_and_start(points):
    seen = []

    def pieces():
        return iter([points[:900], points[900:]])

    def init(chunks, K, rng):
        seen.append(chunks)
        return points[rng.choice(M, K, replace=False)]

    in_memory = ckmeans.kmeans(points, 6, init=init, seed=8, algorithm="dense")
    assert_same(ckmeans.kmeans_chunks(pieces, 6, init=init, seed=8), in_memory)
    assert seen[-1] is pieces


def test_a_memory_map_is_one_chunk(points, tmp_path):
    np.save(tmp_path / "X.npy", points)
    X = np.load(tmp_path / "X.npy", mmap_mode="r")
    in_memory = ckmeans.kmeans(points, 6, seed=8, algorithm="dense")
    assert_same(ckmeans.kmeans_chunks(X, 6, seed=8), in_memory)


def test_random_start_takes_few_passes(points):
    chunks = Restarting(points, CUTS["even"])
    r = ckmeans.kmeans_chunks(chunks, 50, init="random", seed=0, max_iter=5)
    # One to count, one for the start (a second one if values repeat), one for each assignment.
    assert chunks.passes <= 4 + r.n_iter + 1


def test_large_float32_is_computed_in_float64(points):
    X = points * np.float32(1e25)
    r = ckmeans.kmeans_chunks(Restarting(X, CUTS["odd"]), 4, seed=0)
    assert r.centroids.dtype == np.float64
    assert_same(r, ckmeans.kmeans(X, 4, seed=0, algorithm="dense"))


def test_memory_is_bounded():
    """The window is bounded whatever m is: a fit holds no copy of the points."""
    resident = pytest.importorskip("resource")
    _points.set_window_bytes(1 << 20)
    chunk = np.random.default_rng(0).normal(size=(2000, 200))  # 3.2 MB

    def pieces(count):
        return lambda: (chunk for _ in range(count))

    ckmeans.kmeans_chunks(pieces(3), 4, init="random", seed=0, max_iter=2)
    before = resident.getrusage(resident.RUSAGE_SELF).ru_maxrss
    ckmeans.kmeans_chunks(pieces(60), 4, init="random", seed=0, max_iter=2)
    assert resident.getrusage(resident.RUSAGE_SELF).ru_maxrss - before < 40_000  # of 192 MB, in KiB


@pytest.mark.parametrize(
    ("chunks", "error", "words"),
    [
        ((x for x in [np.ones((4, 2))]), TypeError, "again and again"),
        (5, TypeError, "again and again"),
        ([], ValueError, "at least one row"),
        ([np.ones((0, 2))], ValueError, "at least one row"),
        ([np.ones((4, 2)), np.ones((4, 3))], ValueError, r"chunks\[1\] must have 2 features"),
        ([np.ones(4)], ValueError, r"chunks\[0\] must be 2-dimensional"),
        (np.ones(4), ValueError, r"chunks\[0\] must be 2-dimensional.*reshape\(1, -1\)"),
        ("X.csv", TypeError, "list of arrays.*found 'X.csv'"),
        ({"a": [1, 2]}, TypeError, "list of arrays.*found {'a'"),
        ([{"a": np.ones((4, 2))}], TypeError, r"chunks\[0\] must be an array of points, found a dict"),
        (lambda: None, TypeError, "list of arrays.*found None"),
        ([np.array([["a", "b"]])], TypeError, r"chunks\[0\] must hold real numbers"),
        ([np.ones((4, 2)), np.array([[1, 2], [3, np.nan]])], ValueError, "found nan at row 5, column 1"),
        ([np.eye(4) * 1e300], ValueError, "X must have values whose squares float64"),
    ],
)
def test_wrong_chunks(chunks, error, words):
    with pytest.raises(error, match=words):
        ckmeans.kmeans_chunks(chunks, 2, seed=0)


# ---- blocks of any form ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtypes", ["i8 f8", "f4 f8", "u1 f4", "i1 u1", "f2 i4", "? f4"])
def test_dtypes_may_vary(points, dtypes):
    """The widest one counts, wherever it comes."""
    one, other = dtypes.split()
    first, second = np.abs(points[:900]).astype(one), np.abs(points[900:]).astype(other)
    in_memory = ckmeans.kmeans(np.concatenate([first, second]), 5, seed=1, algorithm="dense")
    for pieces in ([first, second], [first[:1], second, first[1:]]):
        whole = ckmeans.kmeans(np.concatenate(pieces), 5, seed=1, algorithm="dense")
        assert_same(ckmeans.kmeans_chunks(pieces, 5, seed=1), whole)
    assert_same(ckmeans.kmeans_chunks([first, second], 5, seed=1), in_memory)


def test_csv_in_chunks(tmp_path):
    """Whole numbers first, fractions later."""
    pandas = pytest.importorskip("pandas")
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,1\n2,2\n1.5,1\n9,9\n")
    in_memory = ckmeans.kmeans(pandas.read_csv(path), 2, seed=0, algorithm="dense")
    streamed = ckmeans.kmeans_chunks(lambda: pandas.read_csv(path, chunksize=2), 2, seed=0)
    assert_same(streamed, in_memory)
    with pytest.raises(TypeError, match=r"again and again, found .*TextFileReader.* lambda"):
        ckmeans.kmeans_chunks(pandas.read_csv(path, chunksize=2), 2)
    for text, error, words in (
        ("1,1\n2,2\n,1\n9,9\n", ValueError, "NaN in column 'a', row 2"),
        ("1,1\n2,2\n3,x\n9,9\n", TypeError, r"chunks\[1\] must hold real numbers, found text in column 'b'"),
    ):
        path.write_text("a,b\n" + text)
        with pytest.raises(error, match=words):
            ckmeans.kmeans_chunks(lambda: pandas.read_csv(path, chunksize=2), 2)


def test_parquet_dataset(points, tmp_path):
    pa = pytest.importorskip("pyarrow")
    parquet, dataset = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow.dataset")
    for number, part in enumerate((points[:900], points[900:])):
        table = pa.table({name: part[:, i] for i, name in enumerate("abc")})
        parquet.write_table(table, tmp_path / f"{number}.parquet", row_group_size=100)
    in_memory = ckmeans.kmeans(points, 5, seed=1, algorithm="dense")
    files = dataset.dataset(tmp_path)
    for chunks in (files, files.to_batches, lambda: files.to_batches(batch_size=70), files.to_table()):
        assert_same(ckmeans.kmeans_chunks(chunks, 5, seed=1), in_memory)
    file = parquet.ParquetFile(tmp_path / "0.parquet")
    first = ckmeans.kmeans(points[:900], 5, seed=1, algorithm="dense")
    assert_same(ckmeans.kmeans_chunks(file, 5, seed=1), first)
    with pytest.raises(TypeError, match="again and again"):
        ckmeans.kmeans_chunks(files.to_batches(), 5)


def test_one_frame_is_one_block(points):
    pandas = pytest.importorskip("pandas")
    in_memory = ckmeans.kmeans(points, 5, seed=1, algorithm="dense")
    frame = pandas.DataFrame(points, columns=list("abc"))
    for chunks in (frame, [frame[:70], frame[70:]], lambda: frame, points.reshape(5, -1, 3)):
        assert_same(ckmeans.kmeans_chunks(chunks, 5, seed=1), in_memory)
    with pytest.raises(ValueError, match=r"chunks\[1\] must have the columns of the chunks before it"):
        ckmeans.kmeans_chunks([frame, frame[["b", "a", "c"]]], 5)


def test_dask_is_read_by_partitions(points):
    pandas, arrays = pytest.importorskip("pandas"), pytest.importorskip("dask.array")
    frames = pytest.importorskip("dask.dataframe")
    frame = pandas.DataFrame({"a": np.arange(M), "b": np.arange(M) % 7 > 2})
    for X, lazy in (
        (frame, frames.from_pandas(frame, npartitions=7)),
        (points, arrays.from_array(points, chunks=(700, 2))),
    ):
        in_memory = ckmeans.kmeans(X, 5, seed=1, algorithm="dense")
        assert_same(ckmeans.kmeans_chunks(lazy, 5, seed=1), in_memory)
        assert_same(ckmeans.kmeans(lazy, 5, seed=1, algorithm="dense"), in_memory)


def test_batches_with_targets(points):
    in_memory = ckmeans.kmeans(points, 5, seed=1, algorithm="dense")
    for targets in ((), (np.zeros(M),), (list(range(M)), np.zeros((M, 1)))):
        assert_same(ckmeans.kmeans_chunks([(points, *targets)], 5, seed=1), in_memory)
    for batch in ((points, points), [points[:5], points[5:]], (points[:, :1], points[:, 1:2])):
        with pytest.raises(ValueError, match=r"chunks\[0\] must be one array of points, found 2"):
            ckmeans.kmeans_chunks([batch], 5)


def test_passes_must_bring_the_same(points):
    shuffled, used_up = np.random.default_rng(0), iter([points])
    for chunks, words in (
        (lambda: [points[shuffled.permutation(M)]], "another first row .are they shuffled"),
        (lambda: used_up, "0 rows, 2500 before: a function must return a new iterator"),
    ):
        with pytest.raises(ValueError, match=f"same in every pass, found {words}"):
            ckmeans.kmeans_chunks(chunks, 5)


@pytest.mark.parametrize("later", [1, 3])
def test_row_count_must_not_change(points, later):
    passes = []

    def pieces():
        passes.append(1)
        return iter([points] * (2 if len(passes) < 3 else later))

    with pytest.raises(ValueError, match="same in every pass"):
        ckmeans.kmeans_chunks(pieces, 9, init="random", seed=0)


def test_errors_of_chunks_propagate(points):
    passes = []

    def pieces():
        passes.append(1)
        yield points
        if len(passes) == 4:
            raise OSError("the disk is gone")
        yield points

    with pytest.raises(OSError, match="the disk is gone"):
        ckmeans.kmeans_chunks(pieces, 9, seed=0)
