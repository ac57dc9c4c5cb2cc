"""Real tables written in five dialects are read right, and labels line up with records."""

from __future__ import annotations

import functools

import cases
import numpy as np
import pytest
from table_cases import figures

import ckmeans

pd = pytest.importorskip("pandas")

TABULAR = cases.DATA / "tabular"
NAMES = sorted(path.stem for path in TABULAR.glob("*.npz")) or ["no data"]


@functools.cache
def table(name):
    """Return a table's numbers, and its classes as words."""
    with np.load(TABULAR / f"{name}.npz") as archive:
        X, y = archive["X"].astype(np.float64), archive["y"]
    return X, [f"class {label}" for label in y]


def semicolons(X, words, path):
    frame = pd.DataFrame(X, columns=[f"größe {j}" for j in range(X.shape[1])])
    frame.insert(0, "art", words)
    frame.to_csv(path, sep=";", decimal=",", index=False)


def tabs_and_row_names(X, words, path):
    """As R's write.table writes them: no name above the row names."""
    with open(path, "w") as file:
        print(*(f'"x{j}"' for j in range(X.shape[1])), sep="\t", file=file)
        for i, row in enumerate(X.tolist()):
            print(f'"row {i}"', *row, sep="\t", file=file)


def latin_1(X, words, path):
    frame = pd.DataFrame(X, columns=[f"Länge {j}" for j in range(X.shape[1])])
    frame["Blüte"] = [f"{word} é" for word in words]
    frame.to_csv(path, encoding="latin-1", index=False)


def comments_and_units(X, words, path):
    with open(path, "w") as file:
        print("# measured in 2020, by hand", "# two lines", sep="\n", file=file)
        print("kind", *(f"x{j}" for j in range(X.shape[1])), sep=",", file=file)
        print("", *["cm"] * X.shape[1], sep=",", file=file)
        for i, (word, row) in enumerate(zip(words, X.tolist(), strict=True)):
            if i == len(X) // 2:
                print("# half of it", file=file)
            print(word, f"{row[0]} cm", *row[1:], sep=",", file=file)


def index_and_booleans(X, words, path):
    frame = pd.DataFrame(X).add_prefix("x")
    frame["large"] = X[:, 0] > np.median(X[:, 0])
    frame.to_csv(path)


DIALECTS = [semicolons, tabs_and_row_names, latin_1, comments_and_units, index_and_booleans]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("write", DIALECTS, ids=lambda write: write.__name__)
def test_dialects_of_real_tables(capsys, tmp_path, name, write):
    if not (TABULAR / f"{name}.npz").exists():
        pytest.skip(cases.NO_DATA)
    X, words = table(name)
    X, words = X[:600], words[:600]
    write(X, words, tmp_path / "t.csv")
    found = figures(capsys, "cluster", tmp_path / "t.csv", "-k", 3, "-o", tmp_path / "l.csv", "--labels-only")
    if write is index_and_booleans:
        X = np.column_stack([X, X[:, 0] > np.median(X[:, 0])])
    assert (found["rows"], len(found["columns"]), found["rows_without_label"]) == (*X.shape, 0)
    expected = ckmeans.kmeans(X, 3, n_init=10, seed=0)
    np.testing.assert_array_equal(pd.read_csv(tmp_path / "l.csv")["label"], expected.labels)
    np.testing.assert_array_equal(found["centroids"], expected.centroids)
