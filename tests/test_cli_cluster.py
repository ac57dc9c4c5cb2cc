"""`ckmeans cluster`: right results, or an error of one line and exit status 2."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cases
import numpy as np
import pytest

import ckmeans
from ckmeans.cli import main

pytest.importorskip("pandas")

TABULAR = cases.DATA / "tabular"


@pytest.fixture
def X():
    rng = np.random.default_rng(0)
    return np.concatenate([rng.normal(c, 1, (40, 3)) for c in (0, 8, 16)]).round(6)


def write(path, X, header="a,b,c", separator=","):
    header = header.replace(",", separator)
    np.savetxt(path, X, fmt="%.6f", delimiter=separator, header=header, comments="")
    return str(path)


def run(capsys, *arguments):
    """Return (exit status, stdout, stderr)."""
    status = main(["cluster", *map(str, arguments)])
    said = capsys.readouterr()
    return status, said.out, said.err


def figures(capsys, *arguments):
    status, out, err = run(capsys, *arguments, "--json")
    assert (status, err) == (0, "")
    return json.loads(out)


def refused(capsys, *arguments):
    """Return the error, which must be one line."""
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert err.startswith("ckmeans: ")
    assert err.count("\n") == 1
    return err


@pytest.mark.parametrize("separator", [",", "\t", ";", "|"])
@pytest.mark.parametrize("header", ["a,b,c", ""])
@pytest.mark.parametrize("suffix", ["csv", "tsv", "txt"])
def test_text_tables(capsys, tmp_path, X, separator, header, suffix):
    path = write(tmp_path / f"t.{suffix}", X, header, separator)
    found = figures(capsys, path, "-k", 3, "--seed", 4)
    result = ckmeans.kmeans(X, 3, n_init=10, seed=4)
    assert found["distortion"] == pytest.approx(result.distortion, rel=1e-12)
    assert found["counts"] == result.counts.tolist()
    np.testing.assert_allclose(found["centroids"], result.centroids)
    assert found["columns"] == (["a", "b", "c"] if header else ["0", "1", "2"])


def test_search_lowers_j(capsys, tmp_path):
    points = cases.separated_blobs(20)
    path = write(tmp_path / "t.csv", points, "a,b")
    found = figures(capsys, path, "-k", 20, "--search", "swap")
    read = np.loadtxt(path, delimiter=",", skiprows=1)
    best = ckmeans.kmeans(read, 20, search="swap", seed=0)
    assert found["distortion"] == pytest.approx(best.distortion, rel=1e-12)
    assert "--search" in refused(capsys, path, "-k", 3, "--search", "swaps")
    refusal = refused(capsys, path, "-k", 3, "--search", "swap", "--metric", "cosine")
    assert "search must be None with metric='cosine'" in refusal


def test_labels_are_written(capsys, tmp_path, X):
    path = write(tmp_path / "t.csv", X)
    run(capsys, path, "-k", 3, "--out", tmp_path / "labels.csv", "--labels-only")
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


def test_text_columns_are_reported(capsys, tmp_path):
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
    # The centroids are in the units of the table.
    means = sorted(wide[i : i + 40].mean(0).tolist() for i in (0, 40, 80))
    np.testing.assert_allclose(sorted(found["centroids"]), means)


@pytest.mark.parametrize("factor", [1e-250, 1e-30, 1.0, 1e160, 1e300])
def test_scale_of_any_size(capsys, tmp_path, X, factor):
    np.save(tmp_path / "t.npy", X)
    expected = figures(capsys, tmp_path / "t.npy", "-k", 3, "--scale")
    np.save(tmp_path / "t.npy", X * factor)
    found = figures(capsys, tmp_path / "t.npy", "-k", 3, "--scale")
    assert found["distortion"] == pytest.approx(expected["distortion"], rel=1e-9)
    centroids = np.array(sorted(found["centroids"])) / factor
    np.testing.assert_allclose(centroids, sorted(expected["centroids"]), rtol=1e-9)


def test_scale_of_small_integers(capsys, tmp_path):
    """The smallest value of an integer dtype has no positive counterpart."""
    np.save(tmp_path / "t.npy", np.array([[-128, 3], [-1, 3], [-128, 3]], np.int8))
    found = figures(capsys, tmp_path / "t.npy", "-k", 2, "--scale")
    np.testing.assert_allclose(sorted(found["centroids"]), [[-128, 3], [-1, 3]])


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
    suggestions = figures(capsys, tmp_path / "t.npy", "--elbow", "1:6")["suggestions"]
    assert suggestions["elbow"] is None
    assert f"suggested K: elbow: none, silhouette: {suggestions['silhouette'] or 'none'}, " in out
    status, out, err = run(capsys, tmp_path / "t.npy", "--elbow", "1:6", "--out", tmp_path / "l.csv")
    assert (status, err.count("\n")) == (0, 1)
    assert "choose K with -k" in err
    assert "silhouette" in out
    assert not (tmp_path / "l.csv").exists()
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
    "\n \r\na,b\n1,2\n\n3\n": "line 6 has 1 fields, the first one has 2",
    "a,b\n1,2\nnan,4\n": "a value is missing in line 3, column 'a' (found 'nan')",
    "a,b\n1,2\n3,\n": "a value is missing in line 3, column 'b' (found '')",
    "a,b\n1,2\n3,inf\n": "line 3, column 'b': 'inf' is no finite number",
    "a,b\n1,2\n\n3,four\n": "line 4, column 'b': 'four' is no finite number",
    "a,b\nx,y\nz,w\n": "no column holds numbers",
    "once upon a time\nthere was\n": "no column holds numbers",
    # Malformed numbers, not a column of text, also in the first row.
    "a,b\nx,2\n3,4\n5,6\n": "line 2, column 'a': 'x' is no finite number",
    "a,b\n1e999,2\n": "line 2, column 'a': '1e999' is no finite number",
    ",a\n0,x\n1,y\n": "no column holds numbers",
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
    assert "K must be at least 1" in refused(capsys, path, "-k", 0, "--elbow", "1:3")
    assert "invalid int value" in refused(capsys, path, "-k", "three")
    for wrong in ("5", "5:1", "0:3", "a:b", "1:2:3", "-1:4"):
        assert "--elbow" in refused(capsys, path, f"--elbow={wrong}")
    assert "there is no folder" in refused(capsys, path, "-k", 2, "--out", tmp_path / "no" / "l.csv")
    assert "is a folder" in refused(capsys, path, "-k", 2, "--out", tmp_path)
    assert "would overwrite the table" in refused(capsys, path, "-k", 2, "--out", path)


def test_options_are_checked_before_reading(capsys, tmp_path):
    missing = tmp_path / "missing.csv"
    assert "K must be at least 1" in refused(capsys, missing, "-k", 0)
    assert "n_threads must be at least 1" in refused(capsys, missing, "-k", 2, "--threads", 0)
    assert "seed must be at least 0" in refused(capsys, missing, "-k", 2, "--seed", -1)
    assert "n_init must be at least 1" in refused(capsys, missing, "--elbow", "1:3", "--n-init", 0)


def test_outputs_are_checked_before_reading(capsys, tmp_path):
    pytest.importorskip("matplotlib")
    broken = tmp_path / "broken.csv"
    broken.touch()
    for option in ("--out", "--plot"):
        words = "no folder" if option == "--out" else "must end in .png, .svg or .pdf"
        where = tmp_path / ("no/l.csv" if option == "--out" else "p.csv")
        assert words in refused(capsys, broken, "-k", 2, option, where)
    both = tmp_path / "p.png"
    line = refused(capsys, broken, "-k", 2, "--out", both, "--plot", both)
    assert "both --out and --plot" in line
    assert list(tmp_path.iterdir()) == [broken]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_special_files_are_not_replaced(capsys, tmp_path, X):
    os.mkfifo(tmp_path / "pipe")
    path = write(tmp_path / "t.csv", X)
    assert "not a regular file" in refused(capsys, path, "-k", 2, "--out", tmp_path / "pipe")
    with open(tmp_path / "own", "w") as own:
        done = run_process(path, "-k", "2", "--out", "/dev/stdout", stdout=own)
    assert done.returncode == 2
    assert "not a regular file" in done.stderr
    assert (tmp_path / "own").read_text() == ""


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs permissions that bind")
def test_missing_permissions(capsys, tmp_path, X):
    path = write(tmp_path / "t.csv", X)
    (tmp_path / "closed").mkdir(mode=0o500)
    line = refused(capsys, path, "-k", 2, "--out", tmp_path / "closed" / "l.csv")
    assert "cannot write" in line
    assert "Permission denied" in line
    os.chmod(path, 0)
    assert "t.csv: Permission denied" in refused(capsys, path, "-k", 2)


def test_npy_suffix_in_any_case(capsys, tmp_path, X):
    path = write(tmp_path / "t.csv", X)
    run(capsys, path, "-k", 3, "--out", tmp_path / "L.NPY")
    assert np.load(tmp_path / "L.NPY").shape == (120,)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["L.NPY", "t.csv"]


def test_dropped_clusters_are_reported(capsys, tmp_path):
    (tmp_path / "t.csv").write_text("a\n1\n1\n5\n")
    status, out, _ = run(capsys, tmp_path / "t.csv", "-k", 3)
    assert status == 0
    assert "2 clusters, since some of 3 had no rows" in out


def test_quiet(capsys, tmp_path, X):
    path = write(tmp_path / "t.csv", X)
    assert run(capsys, path, "-k", 3, "-q", "--out", tmp_path / "l.csv", "--labels-only") == (0, "", "")
    assert len(read_labels(tmp_path / "l.csv")) == 120


def test_unnamed_column_is_ignored(capsys, tmp_path):
    """Row numbers, as pandas, R and spreadsheets write them, are no feature."""
    (tmp_path / "t.csv").write_text(",a,b\n0,1,2\n1,3,4\n")
    found = figures(capsys, tmp_path / "t.csv", "-k", 1)
    assert (found["columns"], found["left_out"]) == (["a", "b"], ["(no name)"])
    assert found["centroids"] == [[2, 3]]


def test_columns_of_blanks(capsys, tmp_path, X):
    np.savetxt(tmp_path / "t.txt", X)
    found = figures(capsys, tmp_path / "t.txt", "-k", 3)
    assert sorted(found["counts"]) == [40, 40, 40]
    assert len(found["columns"]) == 3


def test_a_byte_order_mark_and_spaces(capsys, tmp_path):
    (tmp_path / "t.csv").write_bytes("\ufeffa, b\r\n 1, 2\r\n3 ,4\r\n".encode())
    found = figures(capsys, tmp_path / "t.csv", "-k", 1)
    assert (found["columns"], found["centroids"]) == (["a", "b"], [[2, 3]])


def run_process(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "ckmeans", "cluster", *arguments],
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "timeout": 60, **options},
    )


def test_cluster_in_a_subprocess(tmp_path, X):
    done = run_process(write(tmp_path / "t.csv", X), "-k", "3")
    assert (done.returncode, done.stderr) == (0, "")
    assert "120 rows, 3 columns" in done.stdout


def test_table_from_a_pipe(tmp_path, X):
    path = write(tmp_path / "t.csv", X)
    expected = json.loads(run_process(path, "-k", "3", "--json").stdout)
    done = run_process("-", "-k", "3", "--json", input=Path(path).read_text())
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {**expected, "table": "-"}
    for text, words in {"": "the file holds no table", "a,b\n1\n": "line 2 has 1 fields"}.items():
        done = run_process("-", "-k", "3", input=text)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"ckmeans: -: {words}")
        assert done.stderr.count("\n") == 1


def check_clusters(X, found, labels):
    """Compare the report and the labels file with values recomputed in float64."""
    X = np.asarray(X, np.float64)
    K = found["k"]
    np.testing.assert_array_equal(np.bincount(labels, minlength=K), found["counts"])
    assert found["rows"] == len(labels) == len(X)
    centroids = np.array(found["centroids"])
    distances = ((X[:, None] - centroids) ** 2).sum(axis=2)
    taken = distances[np.arange(len(X)), labels]
    np.testing.assert_allclose(taken, distances.min(axis=1), rtol=1e-9)
    assert found["distortion"] == pytest.approx(taken.mean(), rel=1e-9)
    # The run converged: another update improves J by no more than the tolerance.
    means = np.array([X[labels == k].mean(axis=0) for k in range(K)])
    np.testing.assert_allclose(means, centroids, atol=0.05 * X.std())
    assert found["distortion"] <= 1.001 * ((X - means[labels]) ** 2).sum(axis=1).mean()


def read_labels(path):
    header, *labels = path.read_text().splitlines()
    assert header == "label"
    return np.array(labels, int)


def test_report_matches_recomputed_values(capsys, tmp_path):
    X = np.random.default_rng(3).normal(size=(400, 5)).round(4) * [1, 2, 3, 4, 5]
    np.savetxt(tmp_path / "t.csv", X, delimiter=",", fmt="%.17g")
    found = figures(capsys, tmp_path / "t.csv", "-k", 7, "--out", tmp_path / "l.csv", "--labels-only")
    check_clusters(X, found, read_labels(tmp_path / "l.csv"))


# Number of clusters, and the best sum of squares known; ten restarts come this close.
REAL = {
    "iris": (3, 78.85144142614601, 1.0001),
    "wine": (3, 2370689.686782968, 1.0001),
    "digits8x8": (10, 1165177.722, 1.01),
    "pendigits": (10, 4.930151e7, 1.02),
    "landsat": (6, 16261110.532, 1.001),
}


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("separator", [",", "\t", ";"])
def test_real_tables(capsys, tmp_path, name, separator):
    if not (TABULAR / f"{name}.npz").exists():
        pytest.skip(cases.NO_DATA)
    data = np.load(TABULAR / f"{name}.npz")
    X, kinds = data["X"], data["y"]
    K, best, factor = REAL[name]
    path = tmp_path / {",": "t.csv", "\t": "t.tsv", ";": "t.txt"}[separator]
    with open(path, "w") as file:
        print("row", *(f"x{i}" for i in range(X.shape[1])), sep=separator, file=file)
        for kind, row in zip(kinds, X.tolist(), strict=True):
            print(f"kind {kind}", *row, sep=separator, file=file)
    found = figures(capsys, path, "-k", K, "--out", tmp_path / "l.csv", "--labels-only")
    assert found["left_out"] == ["row"]
    assert found["columns"] == [f"x{i}" for i in range(X.shape[1])]
    check_clusters(X, found, read_labels(tmp_path / "l.csv"))
    assert found["distortion"] * len(X) <= best * factor


@pytest.mark.parametrize("name", REAL)
def test_real_tables_with_one_fault(capsys, tmp_path, name):
    if not (TABULAR / f"{name}.npz").exists():
        pytest.skip(cases.NO_DATA)
    lines = [",".join(map(repr, row)) for row in np.load(TABULAR / f"{name}.npz")["X"][:60].tolist()]
    width = lines[0].count(",") + 1
    first, *others = lines[40].split(",")
    faults = {
        ",".join(others): f"line 41 has {width - 1} fields, the first one has {width}",
        lines[40] + ",0": f"line 41 has {width + 1} fields, the first one has {width}",
        ",".join(["NaN", *others]): "a value is missing in line 41, column '0' (found 'NaN')",
        ",".join(["", *others]): "a value is missing in line 41, column '0' (found '')",
        ",".join(["-inf", *others]): "line 41, column '0': '-inf' is no finite number",
        ",".join([first + "cm", *others]): "is no finite number",
        lines[40].replace(",", ";"): f"line 41 has 1 fields, the first one has {width}",
    }
    for fault, words in faults.items():
        (tmp_path / "t.csv").write_text("\n".join([*lines[:40], fault, *lines[41:]]))
        assert words in refused(capsys, tmp_path / "t.csv", "-k", 3, "--out", tmp_path / "l.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.csv"]
