"""`ckmeans cluster`: right results, or one line and exit status 2."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ckmeans
from ckmeans.cli import main

TABULAR = Path(__file__).parents[1] / ".." / "shared" / "data" / "tabular"


@pytest.fixture
def X():
    rng = np.random.default_rng(0)
    return np.concatenate([rng.normal(c, 1, (40, 3)) for c in (0, 8, 16)]).round(6)


def write(path, X, header="a,b,c", separator=","):
    header = header.replace(",", separator)
    np.savetxt(path, X, fmt="%.6f", delimiter=separator, header=header, comments="")
    return str(path)


def run(capsys, *arguments):
    """(exit status, what was printed, what was complained of)."""
    status = main(["cluster", *map(str, arguments)])
    said = capsys.readouterr()
    return status, said.out, said.err


def figures(capsys, *arguments):
    status, out, err = run(capsys, *arguments, "--json")
    assert (status, err) == (0, "")
    return json.loads(out)


def refused(capsys, *arguments):
    """The one line that says what is wrong."""
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert err.startswith("ckmeans: ")
    assert err.count("\n") == 1
    return err


@pytest.mark.parametrize("separator", [",", "\t", ";", "|"])
@pytest.mark.parametrize("header", ["a,b,c", ""])
@pytest.mark.parametrize("suffix", ["csv", "tsv", "txt"])
def test_text_tables(capsys, tmp_path, X, separator, header, suffix):
    if {"csv": ",", "tsv": "\t"}.get(suffix, separator) != separator:
        pytest.skip("a wrong separator has its own test")
    path = write(tmp_path / f"t.{suffix}", X, header, separator)
    found = figures(capsys, path, "-k", 3, "--seed", 4)
    result = ckmeans.kmeans(X, 3, n_init=10, seed=4)
    assert found["distortion"] == pytest.approx(result.distortion, rel=1e-12)
    assert found["counts"] == result.counts.tolist()
    np.testing.assert_allclose(found["centroids"], result.centroids)
    assert found["columns"] == (["a", "b", "c"] if header else ["0", "1", "2"])


def test_labels_are_written(capsys, tmp_path, X):
    path = write(tmp_path / "t.csv", X)
    run(capsys, path, "-k", 3, "--out", tmp_path / "labels.csv")
    lines = (tmp_path / "labels.csv").read_text().splitlines()
    assert lines[0] == "label"
    labels = np.array(lines[1:], int)
    assert all(len(set(labels[i : i + 40])) == 1 for i in (0, 40, 80))
    run(capsys, path, "-k", 3, "--out", tmp_path / "labels.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "labels.npy"), labels)


def test_npy(capsys, tmp_path, X):
    np.save(tmp_path / "t.npy", X.astype(np.float32))
    assert figures(capsys, tmp_path / "t.npy", "-k", 3)["counts"] == [40, 40, 40]


def test_parquet(capsys, tmp_path, X):
    pytest.importorskip("pyarrow")
    from pyarrow import parquet, table

    columns = {"a": X[:, 0], "name": ["x"] * 120, "b": X[:, 1].astype(np.float32), "n": np.arange(120) // 40}
    parquet.write_table(table(columns), tmp_path / "t.parquet")
    found = figures(capsys, tmp_path / "t.parquet", "-k", 3)
    assert (found["columns"], found["left_out"]) == (["a", "b", "n"], ["name"])
    assert found["counts"] == [40, 40, 40]
    parquet.write_table(table({"a": [1.0, None]}), tmp_path / "m.parquet")
    assert "a value is missing in row 2, column 'a'" in refused(capsys, tmp_path / "m.parquet", "-k", 1)
    (tmp_path / "b.parquet").write_bytes(b"PAR1 and nonsense")
    assert "not a readable Parquet file" in refused(capsys, tmp_path / "b.parquet", "-k", 1)


def test_columns_without_numbers_are_left_out_and_said(capsys, tmp_path):
    (tmp_path / "t.csv").write_text(
        'name,x,when,y\n"Smith, J.",1,2024-01-01,1\nB,1.5,,2\n"C",9,2024-01-03,8\n'
    )
    status, out, _ = run(capsys, tmp_path / "t.csv", "-k", 2)
    assert status == 0
    assert "3 rows, 2 columns (left out: name, when)" in out
    assert figures(capsys, tmp_path / "t.csv", "-k", 2)["columns"] == ["x", "y"]


def test_chosen_columns(capsys, tmp_path, X):
    path = write(tmp_path / "t.csv", X)
    found = figures(capsys, path, "-k", 2, "--columns", "c,a")
    assert found["columns"] == ["c", "a"]
    assert found["distortion"] == pytest.approx(ckmeans.kmeans(X[:, [2, 0]], 2, n_init=10, seed=0).distortion)
    assert "there is no column 'd': there are a, b, c" in refused(capsys, path, "-k", 2, "--columns", "a,d")


def test_scale(capsys, tmp_path, X):
    wide = X * [1, 1000, 0.001] + [0, 5, 0]
    wide = np.column_stack([wide, np.full(120, 7.0)])
    np.save(tmp_path / "t.npy", wide)
    found = figures(capsys, tmp_path / "t.npy", "-k", 3, "--scale")
    scaled = (wide[:, :3] - wide[:, :3].mean(0)) / wide[:, :3].std(0)
    assert found["distortion"] == pytest.approx(ckmeans.kmeans(scaled, 3, n_init=10, seed=0).distortion)
    # The centroids come back in the table's own units.
    means = sorted(wide[i : i + 40].mean(0).tolist() for i in (0, 40, 80))
    np.testing.assert_allclose(sorted(found["centroids"]), means)


def test_elbow(capsys, tmp_path, X):
    path = write(tmp_path / "t.csv", X)
    found = figures(capsys, path, "--elbow", "1:7")
    assert (found["ks"], found["knee"], found["k"]) == ([1, 2, 3, 4, 5, 6, 7], 3, 3)
    assert found["counts"] == [40, 40, 40]
    assert found["silhouette"][0] is None
    status, out, _ = run(capsys, path, "--elbow", "1:7")
    assert status == 0
    assert "    3" in out
    assert "<- elbow" in out


def test_no_elbow(capsys, tmp_path):
    np.save(tmp_path / "t.npy", np.random.default_rng(0).random((300, 3)))
    status, out, _ = run(capsys, tmp_path / "t.npy", "--elbow", "1:6")
    assert status == 0
    assert "no clear elbow" in out
    line = refused(capsys, tmp_path / "t.npy", "--elbow", "1:6", "--out", tmp_path / "l.csv")
    assert "choose K with -k" in line
    assert figures(capsys, tmp_path / "t.npy", "--elbow", "1:6", "-k", 2)["k"] == 2


def test_plots(capsys, tmp_path, X):
    pytest.importorskip("matplotlib")
    path = write(tmp_path / "t.csv", X)
    for name, arguments in {"clusters.png": ["-k", 3], "elbow.png": ["--elbow", "1:4"]}.items():
        assert run(capsys, path, *arguments, "--plot", tmp_path / name)[0] == 0
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    assert "ckmeans: " in refused(capsys, path, "-k", 3, "--plot", tmp_path / "p.xyz")


TEXT_FAULTS = {
    "": "the file is empty",
    "\n\n": "the file holds no table",
    "a,b\n": "there is a header, but no rows",
    "a,b\n1,2\n3\n4,5\n": "line 3 has 1 fields, the first one has 2",
    "a,b\n1,2\n3,4,5\n": "line 3 has 3 fields, the first one has 2",
    "a,b\n1,2\nnan,4\n": "a value is missing in line 3, column 'a' (found 'nan')",
    "a,b\n1,2\n3,\n": "a value is missing in line 3, column 'b' (found '')",
    "a,b\n1,2\n3,inf\n": "line 3, column 'b': 'inf' is no finite number",
    "a,b\n1,2\n\n3,four\n": "line 4, column 'b': 'four' is no finite number",
    "a,b\nx,y\nz,w\n": "no column holds numbers",
    "once upon a time\nthere was\n": "no column holds numbers",
    "a;b\n1;2\n3;4\n": "no column holds numbers; is its separator another one?",
    "1;2\n3;4\n": "is its separator another one?",
    "a,a\n1,2\n": "two columns are named 'a'",
    'a,b\n1,"2\n': "not a readable table",
}


@pytest.mark.parametrize("text", TEXT_FAULTS)
def test_broken_text(capsys, tmp_path, text):
    (tmp_path / "t.csv").write_text(text)
    line = refused(capsys, tmp_path / "t.csv", "-k", 1)
    assert TEXT_FAULTS[text] in line
    assert "t.csv: " in line


def test_broken_files(capsys, tmp_path):
    assert "missing.csv: No such file" in refused(capsys, tmp_path / "missing.csv", "-k", 1)
    assert "Is a directory" in refused(capsys, tmp_path, "-k", 1)
    for suffix in ("csv", "npy", "parquet"):
        (tmp_path / f"empty.{suffix}").touch()
        assert "the file is empty" in refused(capsys, tmp_path / f"empty.{suffix}", "-k", 1)
        refused(capsys, tmp_path / f"missing.{suffix}", "-k", 1)
    (tmp_path / "bytes.csv").write_bytes(bytes(range(256)))
    assert "not text in UTF-8" in refused(capsys, tmp_path / "bytes.csv", "-k", 1)
    (tmp_path / "junk.npy").write_bytes(b"\x93NUMPY\x01\x00junk")
    assert "not a readable .npy file" in refused(capsys, tmp_path / "junk.npy", "-k", 1)
    np.save(tmp_path / "o.npy", np.array([{}], dtype=object))
    assert "not a readable .npy file" in refused(capsys, tmp_path / "o.npy", "-k", 1)
    np.save(tmp_path / "flat.npy", np.zeros(3))
    assert "must be 2-dimensional" in refused(capsys, tmp_path / "flat.npy", "-k", 1)
    np.save(tmp_path / "text.npy", np.array([["a"]]))
    assert "real numbers" in refused(capsys, tmp_path / "text.npy", "-k", 1)
    np.save(tmp_path / "nan.npy", np.array([[1.0], [np.nan]]))
    assert "found nan at row 1, column 0" in refused(capsys, tmp_path / "nan.npy", "-k", 1)


def test_wrong_arguments(capsys, tmp_path, X):
    path = write(tmp_path / "t.csv", X)
    assert "give -k K for K clusters" in refused(capsys, path)
    assert "K must be at most 120" in refused(capsys, path, "-k", 121)
    assert "K must be at least 1" in refused(capsys, path, "-k", 0)
    assert "invalid int value" in refused(capsys, path, "-k", "three")
    for wrong in ("5", "5:1", "0:3", "a:b", "1:2:3", "-1:4"):
        assert "--elbow" in refused(capsys, path, f"--elbow={wrong}")
    assert "there is no folder" in refused(capsys, path, "-k", 2, "--out", tmp_path / "no" / "l.csv")
    assert "is a folder" in refused(capsys, path, "-k", 2, "--out", tmp_path)
    assert "would overwrite the table" in refused(capsys, path, "-k", 2, "--out", path)


def test_a_byte_order_mark_and_spaces(capsys, tmp_path):
    (tmp_path / "t.csv").write_bytes("\ufeffa, b\r\n 1, 2\r\n3 ,4\r\n".encode())
    found = figures(capsys, tmp_path / "t.csv", "-k", 1)
    assert (found["columns"], found["centroids"]) == (["a", "b"], [[2, 3]])


def test_as_a_process(tmp_path, X):
    path = write(tmp_path / "t.csv", X)
    done = subprocess.run(
        [sys.executable, "-m", "ckmeans", "cluster", path, "-k", "3"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "120 rows, 3 columns" in done.stdout


@pytest.mark.parametrize("name", ["iris", "wine", "digits8x8", "pendigits", "landsat"])
def test_real_tables(capsys, tmp_path, name):
    if not (TABULAR / f"{name}.npz").exists():
        pytest.skip("the shared data are not here")
    X = np.load(TABULAR / f"{name}.npz")["X"]
    np.savetxt(
        tmp_path / "t.csv",
        X,
        delimiter=",",
        fmt="%.17g",
        header=",".join(f"x{i}" for i in range(X.shape[1])),
        comments="",
    )
    found = figures(capsys, tmp_path / "t.csv", "-k", 3, "--n-init", 2)
    assert found["distortion"] == pytest.approx(
        ckmeans.kmeans(X.astype(float), 3, n_init=2, seed=0).distortion
    )
    assert (found["rows"], len(found["columns"])) == X.shape
