"""Tables as people have them: separators, decimal signs, headers, comments, units, encodings, formats."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from table_cases import clusters_in, figures, refused, run

from ckmeans.cli._read_options import ReadOptions
from ckmeans.cli._text import read_text

pd = pytest.importorskip("pandas")


def read(capsys, tmp_path, content, *options, name="t.csv"):
    """Return what the report says of a table's content with K = 1: (columns, rows, centroid)."""
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    found = figures(capsys, "cluster", tmp_path / name, "-k", 1, *options)
    return found["columns"], found["rows"], found["centroids"][0]


# ---- headers -----------------------------------------------------------------------------------------

HEADERS = {
    # Numbers that count, above words or numbers.
    "country,1990,2000\nA,1,2\nB,1.5,2.5\nC,9,8\nD,9.5,8.5\n": (["1990", "2000"], 4),
    "country;2001;2005;2010\nA;1500;1800;1900\nB;2100;2500;3000\nC;9000;8000;9900\n": (
        ["2001", "2005", "2010"],
        3,
    ),
    "2020\t2019\t2018\n5\t6\t1\n7\t1\t5\n9\t4\t3\n": (["2020", "2019", "2018"], 3),
    "0,1\n1,2\n2,1\n9,9\n8,9\n": (["0", "1"], 4),
    "0,1,2\n0.5,1.5,-2\n0.1,-1,2\n5,9,1\n": (["0", "1", "2"], 3),
    ",0,1\n0,5,3\n1,2,8\n2,9,1\n": (["0", "1"], 3),
    ",0,1\nx,5,3\ny,2,8\nz,9,1\n": (["0", "1"], 3),
    "1,2,3,4\n0.5,1.5,-2,3\n0.1,-1,2,4\n5,9,1,7\n": (["1", "2", "3", "4"], 3),
    # Numbers far outside what their columns hold.
    "site,100,250\nA,1,2\nB,1.5,2.5\nC,4,3\nD,3,2.75\n": (["100", "250"], 4),
    "1990\n0.5\n1.5\n9.25\n": (["1990"], 3),
    # Only the first line is quoted.
    '"10","35"\n11,36\n9,34\n10,37\n': (["10", "35"], 3),
    # Words above numbers.
    "age,1990,2000\n20,1,2\n61,1.5,2.5\n35,9,8\n": (["age", "1990", "2000"], 3),
    "a,b\n1,2\n3,5\n": (["a", "b"], 2),
    "a\n1\n3\n": (["a"], 2),
    # No header: the first line is like the others.
    "1,2\n1.5,2.5\n9,8\n": (["0", "1"], 3),
    "0,1\n1,0\n1,1\n0,0\n": (["0", "1"], 4),
    "1,2,3\n2,3,4\n9,9,9\n": (["0", "1", "2"], 3),
    "0,5\n1,3\n2,9\n3,1\n": (["1"], 4),
    "2001,2003\n2002,2005\n1999,2001\n2010,2011\n": (["0", "1"], 4),
    "Bach,1685,1750\nMozart,1756,1791\nHaydn,1732,1809\n": (["1", "2"], 3),
    "Tokyo,37400068\nDelhi,28514000\nShanghai,25582000\nLagos,15400000\n": (["1"], 4),
    "A,1,2\nB,1.5,2.5\nC,9,8\n": (["1", "2"], 3),
    "5.1,3.5\n4.9,3.0\n4.7,3.2\n": (["0", "1"], 3),
}


@pytest.mark.parametrize("text", HEADERS)
def test_header_or_record(capsys, tmp_path, text):
    columns, rows, _ = read(capsys, tmp_path, text)
    assert (columns, rows) == HEADERS[text]


def test_header_options_overrule(capsys, tmp_path):
    text = "0,1\n1,2\n2,1\n9,9\n"
    assert read(capsys, tmp_path, text, "--no-header")[1] == 4
    assert read(capsys, tmp_path, "1,2\n1.5,3\n9,8\n", "--header")[:2] == (["1", "2"], 2)
    line = refused(capsys, "cluster", tmp_path / "t.csv", "-k", 1, "--header", "--no-header")
    assert "not allowed with" in line


def test_names_asked_for_tell_header(capsys, tmp_path):
    """Names that the user gives are found in the header, whatever it looks like."""
    text = "10,35\n11,36\n9,34\n10,37\n"
    assert read(capsys, tmp_path, text)[1] == 4
    assert read(capsys, tmp_path, "x;10,35\n1;2,5\n2;3,5\n", "--columns", '"10,35"')[0] == ["10,35"]


def test_pandas_round_trip_of_arrays(capsys, tmp_path):
    X = np.random.default_rng(0).normal(size=(30, 4)).round(3)
    for index in (False, True):
        pd.DataFrame(X).to_csv(tmp_path / "t.csv", index=index)
        found = figures(capsys, "cluster", tmp_path / "t.csv", "-k", 1)
        assert (found["columns"], found["rows"]) == (["0", "1", "2", "3"], 30)
        np.testing.assert_allclose(found["centroids"][0], X.mean(axis=0))


# ---- titles, units, several header lines ------------------------------------------------------------

LAYOUTS = {
    "a,b\ncm,kg\n1,2\n2,3\n9,9\n": (["a", "b"], 3),
    "a,b\n(m/s),[K]\n1,2\n2,3\n": (["a", "b"], 2),
    "name,h\n,cm\nA,1\nB,2\nC,9\n": (["h"], 3),
    "Report,,\n,,\na,b,c\n1,2,3\n2,3,5\n": (["a", "b", "c"], 2),
    "Sales of 2020\n\na;b\n1;2\n2;4\n": (["a", "b"], 2),
    "Sales, all\nname,b,c\nA,1,2\nB,2,5\n": (["b", "c"], 2),
    "150 4\n5.1 3.5 1.4 0.2\n4.9 3.0 1.4 0.2\n4.7 3.2 1.3 0.2\n": (["0", "1", "2", "3"], 3),
    "3\n5.1 3.5\n4.9 3.0\n4.7 3.2\n": (["0", "1"], 3),
    "12 2\n" + "5.1 3.5\n4.9 3.0\n" * 6: (["0", "1"], 12),
    "x\ty\tkind\nc\tc\td\n\t\tclass\n1\t2\tA\n2\t9\tB\n": (["x", "y"], 2),
    "x\ty\tkind\ncontinuous\tcontinuous\tdiscrete\n\t\tclass\n1\t2\tA\n2\t9\tB\n": (["x", "y"], 2),
    "net,1,1,2\nnode,1,1,1\nhemi,lh,rh,lh\n,,,\n0,5.5,1.5,3\n1,2,7,3.5\n2,4,1,9\n": (
        ["1_1_lh", "1_1_rh", "2_1_lh"],
        3,
    ),
    "@relation r\n\n@attribute a numeric\n@attribute 'b c' real\n@attribute k {x,y}\n@data\n1,2,x\n3,5,y\n": (
        ["a", "b c"],
        2,
    ),
    "sep=;\na;b\n1;2\n3;5\n": (["a", "b"], 2),
}


@pytest.mark.parametrize("text", LAYOUTS)
def test_lines_before_the_records(capsys, tmp_path, text):
    columns, rows, _ = read(capsys, tmp_path, text)
    assert (columns, rows) == LAYOUTS[text]


def test_lines_are_skipped_on_request(capsys, tmp_path):
    text = "made, by, us, all\n1, 2\na,b\nlong,short\n1,2\n3,5\n"
    assert read(capsys, tmp_path, text, "--skip-rows", 2)[:2] == (["a", "b"], 2)
    assert read(capsys, tmp_path, "a,b,name\nlow,high,x\n1,2,y\n3,5,z\n", "--skip-rows", "2-2")[1] == 2
    for wrong in ("x", "3-2", "0-1", "-1"):
        line = refused(capsys, "cluster", tmp_path / "t.csv", "-k", 1, f"--skip-rows={wrong}")
        assert "--skip-rows must be" in line


def test_words_by_mistake_stay_errors(capsys, tmp_path):
    """A record is not taken for a line of units, and its place is named."""
    for text, words in {
        "name,x\nA,unknown\nB,2\nC,3\n": "line 2, column 'x': 'unknown' is no finite number",
        "a,b\nx,2\n3,4\n5,6\n": "line 2, column 'a': 'x' is no finite number",
        "name,a,b\nAnn,low,high\nBob,1,2\nCid,4,3\n": "line 2, column 'a': 'low' is no finite number",
    }.items():
        (tmp_path / "t.csv").write_text(text)
        assert words in refused(capsys, "cluster", tmp_path / "t.csv", "-k", 1)


# ---- dialects ----------------------------------------------------------------------------------------

DIALECTS = {
    "a;b\n1.5;2.5\n2.5;3.5\n9.5;8.5\n": [4.5, 29 / 6],
    "a;b\n1,5;2,5\n2,5;3,5\n9,5;8,5\n": [4.5, 29 / 6],
    "a\tb\n1,5\t2,5\n2,5\t3,5\n9,5\t8,5\n": [4.5, 29 / 6],
    "a|b\n1.5|2.5\n2.5|3.5\n9.5|8.5\n": [4.5, 29 / 6],
    'a,b\n"1,5","2,5"\n"2,5","3,5"\n"9,5","8,5"\n': [4.5, 29 / 6],
    "a b\n1,5 2,5\n2,5 3,5\n9,5 8,5\n": [4.5, 29 / 6],
    "1,5 2,5\n2,5 3,5\n9,5 8,5\n": [4.5, 29 / 6],
    "1;2,5\n3;4,5\n8;9,5\n": [4, 5.5],
    '1.5   8.  70 2\t"ford pinto"\n2.5   6.  72 2\t"amc rebel"\n': [2, 7, 71, 2],
    "a;b\n1.234,5;2\n2.345,5;4\n": [1790, 3],
    "1\t2\t\t3\n2\t\t3\t4\n9\t9\t9\n": [4, 14 / 3, 16 / 3],
    "kernel length\twidth\n1.5\t\t2\n2.5\t4\n": [2, 3],
    "  a   b\n 1.5  2\n10.5  4\n": [6, 3],
    "# a b\n1.5 2\n10.5 4\n": [6, 3],
    "# made by X, 2020\na,b\n1.5,2\n# one more\n10.5,4\n": [6, 3],
    "% made by X\n1.5,2\n10.5,4 % the last one\n": [6, 3],
    "'name','x'\n'A, B','1.5'\n'C','10.5'\n": [6],
    'name, x\n"A, B" , 1.5\n"C", 10.5\n': [6],
    'name,x\n"Joe "J" Doe",1.5\nB,10.5\n': [6],
    "a,b,\n1.5,2,\n10.5,4,\n": [6, 3],
    "a,b\r1.5,2\r10.5,4\r": [6, 3],
    "text,x\n" + 140_000 * "x" + ",1.5\ny,10.5\n": [6],
}


@pytest.mark.parametrize("text", DIALECTS, ids=lambda text: repr(text[:30]))
def test_dialects(capsys, tmp_path, text):
    for name in ("t.csv", "t.txt", "t.tsv", "t"):
        np.testing.assert_allclose(read(capsys, tmp_path, text, name=name)[2], DIALECTS[text])


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_encodings(capsys, tmp_path, encoding):
    text = "name;größe\nJosé;1,5\nÄnne;10,5\n"
    assert read(capsys, tmp_path, text.encode(encoding)) == (["größe"], 2, [6])


def test_names_in_a_comment(capsys, tmp_path):
    X = np.random.default_rng(0).normal(size=(20, 2))
    np.savetxt(tmp_path / "t.txt", X, header="a b")
    assert figures(capsys, "cluster", tmp_path / "t.txt", "-k", 1)["columns"] == ["a", "b"]
    np.savetxt(tmp_path / "t.csv", X, header="a,b", delimiter=",")
    assert figures(capsys, "cluster", tmp_path / "t.csv", "-k", 1)["columns"] == ["a", "b"]


@pytest.mark.parametrize("separator", [" ", ",", "\t", ";"])
def test_row_names(capsys, tmp_path, separator):
    for names in (["1", "2", "3"], ["r1", "x y", "r3"]):
        rows = [f'"{name}",{values}' for name, values in zip(names, ("1,2", "2,3", "9,9"), strict=True)]
        text = "\n".join(['"a","b"', *rows]).replace(",", separator)
        columns, count, centroid = read(capsys, tmp_path, text)
        assert (columns, count, centroid) == (["a", "b"], 3, [4, pytest.approx(14 / 3)])


def test_options_overrule_guesses(capsys, tmp_path):
    text = "a,b\n1.234,1\n2.345,3\n"
    assert read(capsys, tmp_path, text)[2] == [pytest.approx(1.7895), 2]
    assert read(capsys, tmp_path, text, "--thousands", ".")[2] == [1789.5, 2]
    text = "a;b\n1,234;1\n2,345;3\n"
    assert read(capsys, tmp_path, text)[2] == [pytest.approx(1.7895), 2]
    assert read(capsys, tmp_path, text, "--thousands", ",")[2] == [1789.5, 2]
    assert read(capsys, tmp_path, text, "--decimal", ",", "--sep", ";")[2] == [pytest.approx(1.7895), 2]
    assert read(capsys, tmp_path, "a:b\n1:2\n3:4\n", "--sep", ":")[2] == [2, 3]
    assert read(capsys, tmp_path, "a\tb\n1\t2\n3\t4\n", "--sep", "\\t")[2] == [2, 3]
    assert read(capsys, tmp_path, "a b\n1  2\n3 4\n", "--sep", "space")[2] == [2, 3]
    assert read(capsys, tmp_path, "a,b\n1,2;c\n3,4\n", "--comment", ";")[2] == [2, 3]
    assert read(capsys, tmp_path, "n\xe9,b\n1,2\n".encode("cp437"), "--encoding", "cp437")[0] == [
        "n\xe9",
        "b",
    ]


def test_wrong_reading_options(capsys, tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    for options, words in {
        ("--sep", ",,"): "--sep must be one character",
        ("--decimal", ";"): "--decimal must be . or ,",
        ("--thousands", "5"): "--thousands must be one sign",
        ("--decimal", ",", "--thousands", ","): "--thousands and --decimal must differ",
        ("--encoding", "klingon"): "--encoding must be an encoding",
        ("--encoding", "rot13"): "not text in ROT-13",
        ("--sheet", "S"): "--sheet is for workbooks",
        ("--comment", ""): "--comment must not be empty",
    }.items():
        assert words in refused(capsys, "cluster", tmp_path / "t.csv", "-k", 1, *options)


def test_guesses_are_reported(capsys, tmp_path):
    (tmp_path / "t.csv").write_bytes("näme;x\nA;1,5\nB;2,5\n".encode("latin-1"))
    _, out, _ = run(capsys, "cluster", tmp_path / "t.csv", "-k", 1)
    (line,) = (line for line in out.splitlines() if line.startswith("read as"))
    for words in ("semicolons", "decimal comma", "LATIN-1", "header in line 1"):
        assert words in line
    status, out, err = run(capsys, "cluster", tmp_path / "t.csv", "-k", 1, "-q")
    assert (status, out) == (0, "")
    assert "decimal comma" in err
    about = figures(capsys, "cluster", tmp_path / "t.csv", "-k", 1)["read_as"]
    assert (about["separator"], about["decimal"], about["header"]) == (";", ",", [1])


def test_numbers_are_parsed_once(monkeypatch):
    """pandas parses the whole text in one call, by its C engine, and nothing reads numbers again."""
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.integers(0, 256, (20_000, 3)), rng.integers(1, 3, 20_000)])
    text = "\n".join("\t".join(map(str, row)) for row in X.tolist()).encode()
    calls = []
    read_csv = pd.read_csv

    def recorded(*args, **options):
        frame = read_csv(*args, **options)
        calls.append((len(frame), options.get("engine", "c"), options.get("converters")))
        return frame

    monkeypatch.setattr(pd, "read_csv", recorded)
    read_text(text, ReadOptions())
    assert calls == [(20_000, "c", None)]


# ---- formats -----------------------------------------------------------------------------------------


def test_formats_by_content(capsys, tmp_path):
    """The name does not matter where the content tells the format."""
    X = np.random.default_rng(0).normal(size=(20, 2)).round(3)
    np.save(tmp_path / "a.npy", X)
    os.rename(tmp_path / "a.npy", tmp_path / "array.csv")
    np.savetxt(tmp_path / "text.npy", X, delimiter=",")
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress((tmp_path / "text.npy").read_bytes()))
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as archive:
        archive.write(tmp_path / "text.npy", "inner.csv")
    for name in ("array.csv", "text.npy", "t.csv.gz", "t.zip"):
        found = figures(capsys, "cluster", tmp_path / name, "-k", 1)
        np.testing.assert_allclose(found["centroids"][0], X.mean(axis=0))


def test_npz(capsys, tmp_path):
    X = np.random.default_rng(0).normal(size=(20, 2))
    np.savez(tmp_path / "one.npz", points=X)
    np.savez(tmp_path / "labelled.npz", X=X, y=np.zeros(20, int))
    np.savez(tmp_path / "two.npz", A=X, B=X + 1)
    for name in ("one.npz", "labelled.npz"):
        assert figures(capsys, "cluster", tmp_path / name, "-k", 1)["rows"] == 20
    assert "choose one with --sheet" in refused(capsys, "cluster", tmp_path / "two.npz", "-k", 1)
    found = figures(capsys, "cluster", tmp_path / "two.npz", "-k", 1, "--sheet", "B")
    np.testing.assert_allclose(found["centroids"][0], X.mean(axis=0) + 1)
    assert "there is no array 'C'" in refused(
        capsys, "cluster", tmp_path / "two.npz", "-k", 1, "--sheet", "C"
    )
    sparse = pytest.importorskip("scipy.sparse")
    sparse.save_npz(tmp_path / "s.npz", sparse.csr_matrix(X))
    assert "a sparse matrix of SciPy" in refused(capsys, "cluster", tmp_path / "s.npz", "-k", 1)


def test_workbooks(capsys, tmp_path):
    pytest.importorskip("openpyxl")
    frame = pd.DataFrame({"CustomerID": [7, 3, 9], "age": [20, 61.5, 21], "member": [True, False, True]})
    with pd.ExcelWriter(tmp_path / "t.xlsx") as book:
        frame.to_excel(book, sheet_name="customers", index=False)
        rows = [["Report", None, None], [None] * 3, ["a", "b", "c"], [1, 2, 3], [2, 3, 5]]
        pd.DataFrame(rows).to_excel(book, sheet_name="titled", index=False, header=False)
    found = figures(capsys, "cluster", tmp_path / "t.xlsx", "-k", 1)
    assert (found["columns"], found["left_out"]) == (["age", "member"], ["CustomerID"])
    assert found["centroids"] == [[pytest.approx(102.5 / 3), pytest.approx(2 / 3)]]
    for sheet in ("titled", "2"):
        found = figures(capsys, "cluster", tmp_path / "t.xlsx", "-k", 1, "--sheet", sheet)
        assert (found["columns"], found["rows"]) == (["a", "b", "c"], 2)
    assert "there is no sheet 'x': there are customers, titled" in refused(
        capsys, "cluster", tmp_path / "t.xlsx", "-k", 1, "--sheet", "x"
    )
    (tmp_path / "broken.xlsx").write_bytes((tmp_path / "t.xlsx").read_bytes()[:2000])
    refused(capsys, "cluster", tmp_path / "broken.xlsx", "-k", 1)


def test_missing_value_in_a_workbook(capsys, tmp_path):
    pytest.importorskip("openpyxl")
    pd.DataFrame({"a": [1, None, 3], "b": [1, 2, 4]}).to_excel(tmp_path / "t.xlsx", index=False)
    assert "a value is missing in row 3, column 'a'" in refused(
        capsys, "cluster", tmp_path / "t.xlsx", "-k", 1
    )


def test_index_of_a_frame(capsys, tmp_path):
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"age": [20, 21, 60, 61, 35, 22], "income": [1, 1.2, 9, 9.1, 5, 1.1]})
    for name, part in {
        "filtered": frame[frame.age != 35],
        "named": frame[frame.age != 35].rename_axis("key"),
    }.items():
        part.to_parquet(tmp_path / f"{name}.parquet")
        out = tmp_path / f"{name}.csv"
        found = figures(capsys, "cluster", tmp_path / f"{name}.parquet", "-k", 2, "-o", out)
        assert (found["columns"], found["rows"], found["left_out"]) == (["age", "income"], 5, [])
        assert len(clusters_in(out)) == 5
    frame.to_feather(tmp_path / "t.feather")
    assert figures(capsys, "cluster", tmp_path / "t.feather", "-k", 1)["rows"] == 6


def test_dtypes_of_parquet(capsys, tmp_path):
    pytest.importorskip("pyarrow")
    from decimal import Decimal

    frame = pd.DataFrame(
        {
            "boolean": [True, False, True],
            "nullable": pd.array([1, None, 5], "Int64"),
            "decimal": [Decimal("1.5"), Decimal("2.5"), Decimal("9.5")],
            "category": pd.Categorical([3, 4, 8]),
            "word": pd.Categorical(["a", "b", "a"]),
            "date": pd.to_datetime(["2020-01-01", "2020-02-01", "2021-01-01"]),
            "list": [[1, 2], [3], []],
        }
    )
    frame.to_parquet(tmp_path / "t.parquet")
    found = figures(capsys, "cluster", tmp_path / "t.parquet", "-k", 1, "--missing", "mean")
    assert found["columns"] == ["boolean", "nullable", "decimal", "category"]
    assert found["centroids"] == [[pytest.approx(2 / 3), 3, 4.5, 5]]


REFUSED = {
    b'{"a": [1, 2]}': "JSON",
    b"[[1, 2], [3, 4]]": "JSON",
    b"<!DOCTYPE html><table>": "HTML or XML",
    b"\x80\x04\x95rest": "pickle",
    b"\x89HDF\r\n\x1a\nrest": "HDF5",
    b"SQLite format 3\x00rest": "SQLite",
    b"\xd0\xcf\x11\xe0\xa1\xb1rest": "old Excel",
    b"\x89PNG\r\n\x1a\nrest": "picture",
    b"%PDF-1.7\n": "PDF",
    b"\x28\xb5\x2f\xfdrest": "Zstandard",
}


@pytest.mark.parametrize("content", REFUSED, ids=REFUSED.get)
def test_other_formats_are_named(capsys, tmp_path, content):
    (tmp_path / "t.csv").write_bytes(content)
    assert f"format is {REFUSED[content]}" in refused(capsys, "cluster", tmp_path / "t.csv", "-k", 1)


def test_missing_pandas_message(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['pandas'] = None\n")
    (tmp_path / "t.csv").write_text("a\n1\n")
    paths = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-m", "ckmeans", "cluster", "t.csv", "-k", "1"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == 'ckmeans: tables need pandas: pip install "ckmeans-simd[cli]"\n'
