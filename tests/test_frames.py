"""Data frames of any library: bits of the array that their columns make, errors that name the place."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from checks import assert_same

import ckmeans
from ckmeans import _arrays

M = 60
RNG = np.random.default_rng(8)
WHOLE, FLOATS = RNG.integers(0, 9, M), RNG.random(M)
SINGLES, TRUTHS = FLOATS.astype("f4"), FLOATS > 0.4
C = np.zeros((2, 2))

# Every function that accepts points of two features, called with a frame.
CALLS = {
    "kmeans": lambda X: ckmeans.kmeans(X, 2, seed=0),
    "elbow": lambda X: ckmeans.elbow(X, [1, 2], seed=0),
    "compare": lambda X: ckmeans.compare(X, [1, 2], seed=0),
    "prepare": lambda X: ckmeans.kmeans(ckmeans.prepare(X), 2, seed=0),
    "assign": lambda X: ckmeans.assign(X, C),
    "distortion": lambda X: ckmeans.distortion(X, C),
    "update": lambda X: ckmeans.update(X, np.zeros(len(X), int), 1),
    "init_centroids": lambda X: ckmeans.init_centroids(X, 2, seed=0),
    "kmeans_chunks": lambda X: ckmeans.kmeans_chunks(X, 2, seed=0),
    "KMeans": lambda X: ckmeans.KMeans(2, random_state=0).fit(X),
    "MiniBatchKMeans": lambda X: ckmeans.MiniBatchKMeans(2, random_state=0).fit(X),
}


def columns_in_pandas(pandas):
    """{name: (column, the same values in NumPy)}, one of each dtype that holds numbers."""
    objects = [Fraction(i, 7) if i % 3 else np.float32(i) for i in range(M)]
    decimals = [Decimal(i) / 10 for i in range(M)]
    kinds = np.array([1.5, 2, 7])[RNG.integers(0, 3, M)]
    return {
        "int": (WHOLE, WHOLE),
        "float": (FLOATS, FLOATS),
        "float32": (SINGLES, SINGLES),
        "bool": (TRUTHS, TRUTHS),
        "decimal": (pandas.Series(decimals, dtype=object), np.array(decimals, float)),
        "objects": (pandas.Series(objects, dtype=object), np.array(objects, float)),
        "bool objects": (pandas.Series(list(TRUTHS), dtype=object), TRUTHS.astype(float)),
        "category": (pandas.Categorical(kinds), kinds),
        "Int64": (pandas.array(WHOLE, dtype="Int64"), WHOLE),
        "Float32": (pandas.array(SINGLES, dtype="Float32"), SINGLES),
        "boolean": (pandas.array(TRUTHS, dtype="boolean"), TRUTHS),
        "sparse": (pandas.arrays.SparseArray(FLOATS * TRUTHS), FLOATS * TRUTHS),
    }


def arrow_columns_in_pandas(pandas):
    pytest.importorskip("pyarrow")
    decimals = [Decimal(i) / 10 for i in range(M)]
    return {
        "int8[pyarrow]": (pandas.array(WHOLE, dtype="int8[pyarrow]"), WHOLE.astype("i1")),
        "float[pyarrow]": (pandas.array(SINGLES, dtype="float[pyarrow]"), SINGLES),
        "bool[pyarrow]": (pandas.array(TRUTHS, dtype="bool[pyarrow]"), TRUTHS),
        "decimal[pyarrow]": (
            pandas.Series(decimals).convert_dtypes(dtype_backend="pyarrow"),
            np.array(decimals, float),
        ),
    }


@pytest.mark.parametrize("make", [columns_in_pandas, arrow_columns_in_pandas])
def test_every_dtype_of_pandas(make):
    pandas = pytest.importorskip("pandas")
    columns = make(pandas)
    frame = pandas.DataFrame({name: column for name, (column, _) in columns.items()})
    X = np.column_stack([values for _, values in columns.values()])
    assert_same(ckmeans.kmeans(frame, 3, seed=0), ckmeans.kmeans(X, 3, seed=0))
    for name, (_, values) in columns.items():
        alone = ckmeans.kmeans(frame[[name]], 2, seed=0)
        assert_same(alone, ckmeans.kmeans(values[:, None], 2, seed=0))


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_dummies_in_every_function(call):
    """Whole numbers beside booleans are what pandas.get_dummies returns."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"age": WHOLE, "is_new": TRUTHS})
    found, expected = call(frame), call(np.column_stack([WHOLE, TRUTHS]))
    for one, other in zip(values_of(found), values_of(expected), strict=True):
        np.testing.assert_array_equal(one, other)


def values_of(result):
    """Return what a call found, as arrays."""
    if isinstance(result, (np.ndarray, float)):
        return [np.asarray(result)]
    if isinstance(result, tuple):
        return list(result)
    for names in (("labels", "centroids"), ("labels_", "cluster_centers_"), ("distortions",)):
        if all(hasattr(result, name) for name in names):
            return [getattr(result, name) for name in names]
    return [option.centroids for option in result.options]


def test_one_block_of_float32_stays():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(RNG.random((50, 3)).astype("f4"))
    rows, _ = _arrays.read("X", frame)
    assert rows.dtype == np.float32
    assert np.shares_memory(rows, frame[0].to_numpy())


# ---- Arrow, polars and protocols ---------------------------------------------------------------------

NUMBERS = {"i": WHOLE, "f": FLOATS, "single": SINGLES, "b": TRUTHS, "u": WHOLE.astype("u1")}
STACKED = np.column_stack(list(NUMBERS.values()))


def test_arrow_tables():
    pa = pytest.importorskip("pyarrow")
    table = pa.table({**NUMBERS, "codes": pa.array(WHOLE).dictionary_encode(), "d": [Decimal("1.1")] * M})
    X = np.column_stack([STACKED, WHOLE, np.full(M, 1.1)])
    parts = pa.concat_tables([table[:7], table[7:20], table[20:]])
    for form in (table, parts, table.to_batches()[0], pa.concat_batches(table.to_batches())):
        assert_same(ckmeans.kmeans(form, 3, seed=0), ckmeans.kmeans(X, 3, seed=0))
    assert_same(ckmeans.kmeans(parts[5:31], 3, seed=0), ckmeans.kmeans(X[5:31], 3, seed=0))
    weights = pa.chunked_array([FLOATS[:9], FLOATS[9:]])
    weighted = ckmeans.kmeans(X, 3, seed=0, sample_weight=FLOATS)
    assert_same(ckmeans.kmeans(table, 3, seed=0, sample_weight=weights), weighted)
    assert ckmeans.KMeans(3, random_state=0).fit(table).cluster_centers_.shape == (3, 7)


def test_polars_frames():
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({**NUMBERS, "d": [Decimal("1.5")] * M})
    X = np.column_stack([STACKED, np.full(M, 1.5)])
    parts = polars.concat([frame[:7], frame[7:]], rechunk=False)
    for form in (frame, parts):
        assert_same(ckmeans.kmeans(form, 3, seed=0), ckmeans.kmeans(X, 3, seed=0))
    assert_same(ckmeans.kmeans(parts[5:31], 3, seed=0), ckmeans.kmeans(X[5:31], 3, seed=0))
    assert ckmeans.kmeans(frame[["single"]], 2).centroids.dtype == np.float32
    weighted = ckmeans.kmeans(X, 3, seed=0, sample_weight=FLOATS)
    assert_same(ckmeans.kmeans(frame, 3, seed=0, sample_weight=frame["f"]), weighted)
    calls = {**CALLS, "update": lambda X: ckmeans.update(X, [0] * M, 1)}
    for call in calls.values():
        with pytest.raises(TypeError, match=r"LazyFrame.*collect\(\)"):
            call(frame.lazy())


def test_narwhals_frames():
    narwhals, pandas = pytest.importorskip("narwhals"), pytest.importorskip("pandas")
    frame = narwhals.from_native(pandas.DataFrame(NUMBERS))
    assert_same(ckmeans.kmeans(frame, 3, seed=0), ckmeans.kmeans(STACKED, 3, seed=0))


class OnlyInterchange:
    """A data frame of which nothing is known but ``__dataframe__``."""

    def __init__(self, frame):
        self.frame = frame

    def __dataframe__(self, nan_as_null=False, allow_copy=True):
        return self.frame.__dataframe__(nan_as_null, allow_copy)


@pytest.mark.filterwarnings("ignore:The Dataframe Interchange Protocol")
def test_frames_by_the_interchange_protocol():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({**NUMBERS, "c": pandas.Categorical(WHOLE), "B": TRUTHS})
    X = np.column_stack([STACKED, WHOLE, TRUTHS])
    for call in (ckmeans.kmeans, ckmeans.kmeans_chunks):
        options = {"seed": 0, "algorithm": "dense"}
        assert_same(call(OnlyInterchange(frame), 3, **options), ckmeans.kmeans(X, 3, **options))
    pa = pytest.importorskip("pyarrow")
    only = OnlyInterchange(pa.table({"a": [1.0, 2, None], "b": [True, False, True]}))
    with pytest.raises(ValueError, match="NaN in column 'a', row 2"):
        ckmeans.kmeans(only, 2)
    with pytest.raises(TypeError, match="found text in column 'c'"):
        ckmeans.kmeans(OnlyInterchange(frame.assign(c="x")), 2)


@pytest.mark.filterwarnings("ignore:The Dataframe Interchange Protocol")
def test_interchanged_frames_elsewhere(monkeypatch):
    """On a device their buffers cannot be read; a frame with a part of the protocol is read as an array."""
    pandas = pytest.importorskip("pandas")
    frame = OnlyInterchange(pandas.DataFrame({"a": WHOLE, "b": FLOATS}))
    buffer = frame.__dataframe__().get_column_by_name("a").get_buffers()["data"][0]
    monkeypatch.setattr(type(buffer), "__dlpack_device__", lambda self: (2, 0))
    with pytest.raises(TypeError, match="X must be in main memory, found it on a device"):
        ckmeans.kmeans(frame, 2)

    class Part(OnlyInterchange):
        def __dataframe__(self, nan_as_null=False, allow_copy=True):
            return object()

        def __array__(self, dtype=None, copy=None):
            return np.asarray(self.frame, dtype)

    assert_same(ckmeans.kmeans(Part(STACKED), 3, seed=0), ckmeans.kmeans(STACKED, 3, seed=0))


# ---- what is refused ---------------------------------------------------------------------------------


def with_missing(pandas):
    """{name: a column whose row 3 is missing}."""
    whole = pandas.Series(WHOLE[:6])
    return {
        "float": whole.astype(float).mask(whole.index == 3),
        "Int64": whole.astype("Int64").mask(whole.index == 3),
        "boolean": (whole > 3).astype("boolean").mask(whole.index == 3),
        "object": pandas.Series([1, 2, 3, None, 5, 6], dtype=object),
        "Decimal": pandas.Series([Decimal(1)] * 3 + [Decimal("NaN")] * 3, dtype=object),
        "NA object": pandas.Series([1, 2, 3, pandas.NA, 5, 6], dtype=object),
        "category": pandas.Series(pandas.Categorical([1, 2, 1, None, 2, 1])),
        "sparse": pandas.Series(pandas.arrays.SparseArray([1.0, 2, 1, np.nan, 2, 1])),
    }


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_missing_values_are_named(call):
    pandas = pytest.importorskip("pandas")
    for name, column in with_missing(pandas).items():
        frame = pandas.DataFrame({"x": range(6), "age": column})
        with pytest.raises(ValueError, match=r"must be finite, found NaN in column 'age', row 3:"):
            call(frame)
        with pytest.raises(ValueError, match=r"found NaN in column 'age', row 'Eve'"):
            call(frame.set_axis(["Al", "Bo", "Cy", "Eve", "Flo", "Gus"])), name


def test_rows_keep_their_labels():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"age": [20.0, 30, np.nan, 50, np.inf]}, index=[2, 3, 5, 8, 13])
    with pytest.raises(ValueError, match="NaN in column 'age', row 5"):
        ckmeans.kmeans(frame, 2)
    with pytest.raises(ValueError, match="found inf in column 'age', row 13"):
        ckmeans.kmeans(frame.drop(5), 2)
    frame.columns = pandas.MultiIndex.from_tuples([("a", "b")])
    with pytest.raises(ValueError, match=r"NaN in column \('a', 'b'\), row 5"):
        ckmeans.kmeans(frame, 2)


def columns_without_numbers(pandas):
    """{what is found: the column}."""
    day = pandas.Timestamp("2020-01-01")
    return {
        "text": ["a", "b", "c"],
        "'b'": pandas.Series([1, "b", 2.0], dtype=object),
        "'1.5'": pandas.Series([1, "1.5", 2.0], dtype=object),
        "text ": pandas.Categorical(["a", "b", "a"]),
        "dates": [day] * 3,
        "dates ": [day.tz_localize("UTC")] * 3,
        "durations": [pandas.Timedelta(1)] * 3,
        "Period": pandas.period_range("2020", periods=3),
        "complex": [1j, 2, 3],
        r"\[1, 2\]": pandas.Series([[1, 2]] * 3),
    }


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_columns_without_numbers_are_named(call):
    pandas = pytest.importorskip("pandas")
    for found, column in columns_without_numbers(pandas).items():
        frame = pandas.DataFrame({"age": [1, 2, 3], "city": column})
        with pytest.raises(
            TypeError, match=rf"must hold real numbers, found {found.strip()}.* in column 'city'"
        ):
            call(frame)


def test_arrow_columns_without_numbers():
    pa = pytest.importorskip("pyarrow")
    for found, column in {
        "text": pa.array(["a", "b"]),
        "text ": pa.array(["a", "b"]).dictionary_encode(),
        "bytes": pa.array([b"a", b"b"]),
        "dates": pa.array([0, 1], pa.timestamp("ns")),
        "values of Arrow's type": pa.array([[1], [2]]),
    }.items():
        with pytest.raises(TypeError, match=f"found {found.strip()}.* in column 'city'"):
            ckmeans.kmeans(pa.table({"x": [1, 2], "city": column}), 2)
    for column in (pa.array([1.0, None]), pa.array([None, None]), pa.array([1, None]).dictionary_encode()):
        row = 0 if column.null_count == 2 else 1
        with pytest.raises(ValueError, match=f"NaN in column 'age', row {row}"):
            ckmeans.kmeans(pa.table({"x": [1, 2], "age": column}), 2)


def test_empty_frames():
    pandas = pytest.importorskip("pandas")
    with pytest.raises(ValueError, match="at least one row"):
        ckmeans.kmeans(pandas.DataFrame({"a": [], "b": []}), 2)
    with pytest.raises(ValueError, match="at least one feature"):
        ckmeans.kmeans(pandas.DataFrame(index=range(4)), 2)
    with pytest.raises(ValueError, match=r"2-dimensional.*\(60,\)"):
        ckmeans.kmeans(pandas.Series(FLOATS), 2)


# ---- other arguments ---------------------------------------------------------------------------------


def test_series_as_weights_and_labels():
    pandas = pytest.importorskip("pandas")
    X = STACKED
    expected = ckmeans.kmeans(X, 3, seed=0, sample_weight=WHOLE + 1)
    for weights in (
        pandas.Series(WHOLE + 1, dtype="Int64"),
        pandas.Series(WHOLE + 1, dtype=object),
        pandas.Series([Decimal(int(w) + 1) for w in WHOLE]),
        pandas.Index(WHOLE + 1),
    ):
        assert_same(ckmeans.kmeans(X, 3, seed=0, sample_weight=weights), expected)
    missing = pandas.Series(WHOLE, dtype="Int64").mask(WHOLE[4] == WHOLE)
    with pytest.raises(ValueError, match="sample_weight must be finite, found NaN at row"):
        ckmeans.kmeans(X, 3, sample_weight=missing)
    labels = pandas.Series(expected.labels, dtype="Int64")
    np.testing.assert_array_equal(ckmeans.update(X, labels, 3)[1], expected.counts)
    centroids = pandas.DataFrame(expected.centroids)
    np.testing.assert_array_equal(ckmeans.assign(X, centroids), expected.labels)


def test_labels_may_be_read_only():
    labels = np.zeros(M, np.int32)
    labels.flags.writeable = False
    assert ckmeans.update(STACKED, labels, 1)[1] == [M]


def test_arrays_of_objects():
    X = np.array([[Decimal(i), i % 2 == 0, Fraction(i, 3)] for i in range(20)], object)
    for call in (ckmeans.kmeans, lambda X, K, seed: ckmeans.kmeans_chunks([X], K, seed=seed)):
        found = call(X, 3, seed=0)
        np.testing.assert_array_equal(found.labels, ckmeans.kmeans(X.astype(float), 3, seed=0).labels)
    model = ckmeans.KMeans(3, random_state=0)
    np.testing.assert_array_equal(model.fit(X).labels_, model.fit(X.astype(float)).labels_)


def test_unmasked_masked_arrays():
    for mask in (False, np.zeros(STACKED.shape, bool)):
        masked = np.ma.array(STACKED, mask=mask)
        assert_same(ckmeans.kmeans(masked, 3, seed=0), ckmeans.kmeans(STACKED, 3, seed=0))
        ckmeans.KMeans(3).fit(masked)
    masked[4, 1] = np.ma.masked
    for call in (ckmeans.kmeans, lambda X, K: ckmeans.KMeans(K).fit(X)):
        with pytest.raises(TypeError, match="masked array: fill or drop"):
            call(masked, 3)


def test_hint_for_one_point():
    point, centroids = [1.0, 2.0], [[1.0, 2.0], [3.0, 4.0]]
    for call in (ckmeans.assign, ckmeans.distortion):
        with pytest.raises(ValueError, match=r"found shape \(2,\); X.reshape\(1, -1\) makes one point$"):
            call(point, centroids)
        with pytest.raises(ValueError, match=r"reshape\(-1, 1\) makes points of one feature$"):
            call(point, [[1.0], [2.0]])
    with pytest.raises(ValueError, match=r"reshape\(-1, 1\) makes .*, X.reshape\(1, -1\) one point$"):
        ckmeans.kmeans(point, 1)
    with pytest.raises(ValueError, match=r"centroids.reshape\(1, -1\) makes one point"):
        ckmeans.assign([point], [1.0, 2.0])


@pytest.mark.parametrize("call", [CALLS["elbow"], CALLS["MiniBatchKMeans"]], ids=["elbow", "MiniBatchKMeans"])
def test_places_are_not_of_samples(call):
    """These draw rows; an error names the row of X."""
    X = RNG.random((30_000, 2))
    X[29_000, 1] = np.nan
    with pytest.raises(ValueError, match="found nan at row 29000, column 1"):
        call(X)
