"""Which columns of a table are clustered, what becomes of missing values, and what is written."""

from __future__ import annotations

import json

import numpy as np
import pytest
from table_cases import clusters_in, figures, refused, run

import ckmeans

pd = pytest.importorskip("pandas")


@pytest.fixture
def cluster(capsys, tmp_path):
    """Return a function that clusters a table's text with K = 1 and returns the figures."""

    def call(text, *options):
        (tmp_path / "t.csv").write_text(text)
        return figures(capsys, "cluster", tmp_path / "t.csv", "-k", 1, *options)

    return call


# ---- the rule ----------------------------------------------------------------------------------------

IDENTIFIERS = [
    "id", "ID", "CustomerID", "customer_id", "Customer Id", "customerid", "code", "zip code", "order no",
    "account_number", "Kundennummer", "user.id", "ID2", "index",
]  # fmt: skip
MEASUREMENTS = [
    "age", "paid", "humid", "income", "year", "steroid", "number of rooms", "code_lines", "Unit price",
    "phone minutes", "uric acid", "grid", "no",
]  # fmt: skip


@pytest.mark.parametrize("name", IDENTIFIERS)
def test_identifiers_are_left_out(cluster, name):
    found = cluster(f"{name},x\n107,1\n103,2\n110,9\n101,4\n")
    assert (found["columns"], found["left_out"]) == (["x"], [name])
    # Values that repeat are no identifier; that is said.
    found = cluster(f"{name},x\n107,1\n103,2\n107,9\n101,4\n")
    assert found["columns"] == [name, "x"]
    assert found["repeated_ids"] == [name]


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_different_values_are_measurements(cluster, name):
    assert cluster(f"{name},x\n107,1\n103,2\n110,9\n101,4\n")["columns"] == [name, "x"]


def test_index_is_left_out(cluster):
    found = cluster("n,x,y\n5,1,1\n6,2,2\n7,9,4\n8,3,5\n")
    assert (found["columns"], found["left_out_why"]) == (["x", "y"], {"n": "counts up by one"})
    for name in ("", "Unnamed: 0", "...1", "#"):
        found = cluster(f"{name},x\n5,1\n3,2\n9,9\n")
        assert found["columns"] == ["x"]
    # The only column is no index of anything, and two records may count by chance.
    assert cluster("x\n1\n2\n3\n4\n")["columns"] == ["x"]
    assert cluster("a,b\n1,5\n2,7\n")["columns"] == ["a", "b"]


def test_codes_are_text(cluster):
    for codes in (
        "10_1 10_2 11_1",
        "00501 10001 02134",
        "007 008 011",
        "A1 A2 B7",
        "1-2 1-3 2-4",
        "12A 12B 13A",
    ):
        a, b, c = codes.split()
        found = cluster(f"ref,x\n{a},1\n{b},2\n{c},9\n")
        assert (found["columns"], found["left_out"]) == (["x"], ["ref"])
    # An identifier some of which are numbers.
    found = cluster("id,x\n10,1\n11,2\n12,9\n12_3,4\n")
    assert (found["columns"], found["left_out_why"]) == (["x"], {"id": "codes"})


def test_class_codes_are_reported(capsys, tmp_path, cluster):
    text = "x,y,class\n1,2,1\n1.5,2.5,1\n9,9,2\n9.5,8,2\n"
    assert cluster(text)["class_codes"] == ["class"]
    status, out, err = run(capsys, "cluster", tmp_path / "t.csv", "-k", 2)
    assert (status, err) == (0, "")
    assert "class" in next(line for line in out.splitlines() if line.startswith("codes"))
    assert "class" in run(capsys, "cluster", tmp_path / "t.csv", "-k", 2, "-q")[2]
    rows = [f"{i * 7 % 31 / 4},{1 + i % 2}" for i in range(40)]
    found = cluster("\n".join(["x,Channel", *rows]))
    assert (found["columns"], found["class_codes"]) == (["x", "Channel"], ["Channel"])


def test_choices_overrule_the_rule(capsys, tmp_path, cluster):
    text = "id,zip,x,y\n7,00501,1,2\n3,10001,2,1\n9,02134,9,8\n"
    assert cluster(text)["columns"] == ["x", "y"]
    assert cluster(text, "--columns", "zip,id")["columns"] == ["zip", "id"]
    assert cluster(text, "--columns", "zip")["centroids"] == [[pytest.approx(12636 / 3)]]
    found = cluster(text, "--drop", "y")
    assert (found["columns"], found["left_out"]) == (["x"], ["id", "zip", "y"])
    assert cluster(text, "--id", "x")["columns"] == ["y"]
    assert cluster('"a, b",c\n1,2\n3,5\n', "--columns", '"a, b"')["columns"] == ["a, b"]
    (tmp_path / "t.csv").write_text(text)
    for options, words in {
        ("--columns", "z"): "there is no column 'z': there are id, zip, x, y",
        ("--drop", "z"): "there is no column 'z'",
        ("--id", "z"): "there is no column 'z'",
        ("--columns", "x", "--id", "x"): "cannot be both in --columns and --id",
        ("--columns", "x", "--drop", "x"): "--drop leaves none",
        ("--drop", "x,y"): "left out are id (identifier)",
    }.items():
        assert words in refused(capsys, "cluster", tmp_path / "t.csv", "-k", 1, *options)


def test_other_columns_do_not_matter(capsys, tmp_path, cluster):
    assert cluster("a,b,c\n1,2,x\n2,3,4\n9,9,9\n", "--columns", "a,b")["rows"] == 3
    assert cluster("a,b,c\n1,2,\n2,3,4\n9,9,9\n", "--columns", "a,b")["rows"] == 3
    assert cluster("a,b,c\n1,2,inf\n2,3,4\n9,9,9\n", "--drop", "c")["columns"] == ["a", "b"]
    assert cluster("a,a,b\n1,1,2\n2,2,3\n9,9,9\n", "--columns", "b")["columns"] == ["b"]
    assert cluster("a,a,b\n1,1,2\n2,2,3\n9,9,9\n", "--drop", "a")["columns"] == ["b"]
    for columns in ([], ["--columns", "a"]):
        assert "two columns are named 'a'" in refused(
            capsys, "cluster", tmp_path / "t.csv", "-k", 1, *columns
        )


# ---- numbers as spreadsheets show them --------------------------------------------------------------

WRITTEN = {
    "1,234 2,345 9,999": [1234, 2345, 9999],
    "$1,200 $900 -$3.50": [1200, 900, -3.5],
    "1.5€ 2€ 10€": [1.5, 2, 10],
    "(1,200) 300 (5)": [-1200, 300, -5],
    "45% 50.5% 0": [45, 50.5, 0],
    "5.1cm 6cm 7.25cm": [5.1, 6, 7.25],
    "1'234.5 2'000 10": [1234.5, 2000, 10],
    "12,34,567 1,00,000 5": [1234567, 100000, 5],
    "TRUE FALSE true": [1, 0, 1],
    "1e3 2E-1 .5": [1000, 0.2, 0.5],
}


@pytest.mark.parametrize("written", WRITTEN)
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_numbers_with_signs(cluster, written, separator):
    values = written.split()
    quoted = [f'"{value}"' for value in values] if separator == "," else values
    rows = [f"{name}{separator}{value}" for name, value in zip("ABC", quoted, strict=True)]
    found = cluster("\n".join([f"name{separator}x", *rows]), "--decimal", ".")
    assert found["columns"] == ["x"]
    assert found["centroids"] == [[pytest.approx(np.mean(WRITTEN[written]))]]


def test_units_after_a_blank(cluster):
    assert cluster("name,x\nA,5.1 kg\nB,6 kg\nC,7 kg\n")["centroids"] == [[pytest.approx(18.1 / 3)]]
    assert cluster("name,x\nA,1 day\nB,2 days\nC,6 days\n")["centroids"] == [[3]]
    # Different units are no column of numbers.
    assert cluster("name,x,y\nA,5 kg,1\nB,6 g,2\nC,7 lb,4\n")["columns"] == ["y"]
    assert cluster("name,x,y\nA,2020-01-05,1\nB,12:30,2\nC,10 - 20,4\n")["columns"] == ["y"]


def test_booleans_with_missing_values(capsys, tmp_path, cluster):
    text = "a,member\n1,TRUE\n2,\n9,FALSE\n4,TRUE\n"
    found = cluster(text, "--missing", "drop")
    assert (found["columns"], found["rows_without_label"]) == (["a", "member"], 1)
    assert found["centroids"] == [[pytest.approx(14 / 3), pytest.approx(2 / 3)]]


def test_large_and_mixed_columns(cluster):
    """Long texts and columns whose first values do not tell are read as a whole."""
    words = [f"w{i}" for i in range(3000)]
    found = cluster("\n".join(["name,x", *(f"{word},{i * 37 % 101}" for i, word in enumerate(words))]))
    assert (found["columns"], found["rows"]) == (["x"], 3000)
    values = [str(i * 37 % 101) for i in range(2999)] + ['"1,000"']
    found = cluster("\n".join(["x", *values]))
    assert found["centroids"] == [[pytest.approx((sum(i * 37 % 101 for i in range(2999)) + 1000) / 3000)]]


def test_mixed_codes_are_text(cluster):
    """Many different words among numbers are no mistakes."""
    tickets = [f"{1000 + 7 * i % 311}" if i % 3 else f"A/{i} {i}" for i in range(60)]
    found = cluster("\n".join(["Ticket,x", *(f"{ticket},{i * 7 % 31}" for i, ticket in enumerate(tickets))]))
    assert (found["columns"], found["left_out"]) == (["x"], ["Ticket"])


# ---- missing values ---------------------------------------------------------------------------------


@pytest.mark.parametrize("mark", ["", "NA", "N/A", "nan", "NULL", "?", " ", "-", "#DIV/0!"])
def test_missing_rules(capsys, tmp_path, cluster, mark):
    text = f"x,y\n1,2\n2,{mark}\n9,9\n5,4\n"
    assert cluster(text, "--missing", "drop")["centroids"] == [[5, 5]]
    assert cluster(text, "--missing", "mean")["centroids"] == [[4.25, 5]]
    found = cluster(text, "--missing", "median")
    assert (found["centroids"], found["values_filled"]) == ([[4.25, 19 / 4]], 1)
    line = refused(capsys, "cluster", tmp_path / "t.csv", "-k", 1)
    assert f"a value is missing in line 3, column 'y' (found '{mark.strip()}')" in line
    assert "--missing drop" in line
    assert "invalid choice" in refused(capsys, "cluster", tmp_path / "t.csv", "-k", 1, "--missing", "zero")


def test_empty_record_keeps_its_place(capsys, tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,2\n2,3\n,\n9,9\n")
    assert "line 4, column 'a'" in refused(capsys, "cluster", tmp_path / "t.csv", "-k", 2)
    found = figures(
        capsys, "cluster", tmp_path / "t.csv", "-k", 2, "--missing", "drop", "-o", tmp_path / "o.csv"
    )
    assert (found["rows"], found["rows_without_label"]) == (4, 1)
    first, second, third, last = clusters_in(tmp_path / "o.csv")
    assert first == second != last
    assert third == ""
    run(
        capsys,
        "cluster",
        tmp_path / "t.csv",
        "-k",
        2,
        "--missing",
        "drop",
        "-o",
        tmp_path / "l.csv",
        "--labels-only",
    )
    labels = pd.read_csv(tmp_path / "l.csv")["label"]
    assert labels.isna().tolist() == [False, False, True, False]
    run(capsys, "cluster", tmp_path / "t.csv", "-k", 2, "--missing", "drop", "-o", tmp_path / "l.npy")
    assert np.load(tmp_path / "l.npy")[2] == -1


def test_missing_values_in_arrays(capsys, tmp_path):
    X = np.array([[1.0, 2], [np.nan, 3], [9, 9], [4, np.inf]])
    np.save(tmp_path / "t.npy", X[:3])
    assert "--missing drop" in refused(capsys, "cluster", tmp_path / "t.npy", "-k", 1)
    assert figures(capsys, "cluster", tmp_path / "t.npy", "-k", 1, "--missing", "drop")["centroids"] == [
        [5, 5.5]
    ]
    np.save(tmp_path / "t.npy", X[2:])
    assert "no finite number" in refused(capsys, "cluster", tmp_path / "t.npy", "-k", 1, "--missing", "drop")


def test_nothing_left(capsys, tmp_path):
    for text, words in {"a,b\n1,\n,2\n": "every record lacks a value", "a,b\n,1\n,2\n": None}.items():
        (tmp_path / "t.csv").write_text(text)
        if words is None:
            found = figures(capsys, "cluster", tmp_path / "t.csv", "-k", 1)
            assert found["left_out_why"] == {"a": "empty"}
            words = "column 'a' holds no values"
            line = refused(
                capsys, "cluster", tmp_path / "t.csv", "-k", 1, "--columns", "a", "--missing", "mean"
            )
        else:
            line = refused(capsys, "cluster", tmp_path / "t.csv", "-k", 1, "--missing", "drop")
        assert words in line


def test_short_lines_with_a_rule(capsys, tmp_path, cluster):
    text = "a,b\n1,2\n3\n4,5\n"
    assert cluster(text, "--missing", "drop")["rows_without_label"] == 1
    assert "line 3 has 1 fields, the first one has 2" in refused(
        capsys, "cluster", tmp_path / "t.csv", "-k", 1
    )


# ---- what is written --------------------------------------------------------------------------------


def test_table_is_written_as_it_was(capsys, tmp_path):
    text = 'CustomerID,name,zip,spent,member\n07,"Smith, J.",00501,"$1,200",TRUE\n03,Ä,10001,$90,FALSE\n'
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    found = figures(capsys, "cluster", tmp_path / "t.csv", "-k", 2, "-o", tmp_path / "o.csv")
    assert found["cluster_column"] == "cluster"
    lines = (tmp_path / "o.csv").read_text(encoding="utf-8").splitlines()
    assert [line.rpartition(",")[0] for line in lines] == text.splitlines()
    assert sorted(clusters_in(tmp_path / "o.csv")) == ["0", "1"]


def test_written_formats(capsys, tmp_path):
    (tmp_path / "t.csv").write_text("name;x;y\nA;1,5;2\nB;2,5;3\nC;9,5;9\n")
    for name in ("o.csv", "o.tsv"):
        run(capsys, "cluster", tmp_path / "t.csv", "-k", 2, "-o", tmp_path / name)
        frame = pd.read_csv(tmp_path / name, sep="\t" if name == "o.tsv" else ",")
        assert frame.columns.tolist() == ["name", "x", "y", "cluster"]
        assert frame["x"].tolist() == [1.5, 2.5, 9.5]
        assert frame["cluster"][0] == frame["cluster"][1] != frame["cluster"][2]
    for name in ("o.xlsx", "o.json"):
        line = refused(capsys, "cluster", tmp_path / "t.csv", "-k", 2, "-o", tmp_path / name)
        assert "must end in .csv, .tsv or .parquet" in line
    pytest.importorskip("pyarrow")
    (tmp_path / "m.csv").write_text("x,x,w\n1,2,a\n,3,7\n5,6,b\n")
    options = ["--missing", "drop", "--drop", "w"]
    (tmp_path / "n.csv").write_text("x,v,w\n1,2,a\n,3,7\n5,6,b\n")
    run(capsys, "cluster", tmp_path / "n.csv", "-k", 2, "-o", tmp_path / "o.parquet", *options)
    frame = pd.read_parquet(tmp_path / "o.parquet")
    assert frame["cluster"].isna().tolist() == [False, True, False]
    assert frame["w"].tolist() == ["a", "7", "b"]


def test_column_of_clusters_exists(capsys, tmp_path):
    (tmp_path / "t.csv").write_text("x,cluster\n1,5\n2.5,7\n9,5\n")
    found = figures(
        capsys, "cluster", tmp_path / "t.csv", "-k", 2, "--drop", "cluster", "-o", tmp_path / "o.csv"
    )
    assert found["cluster_column"] == "cluster_2"
    assert (tmp_path / "o.csv").read_text().splitlines()[0] == "x,cluster,cluster_2"


def test_labels_beside_identifiers(capsys, tmp_path):
    (tmp_path / "t.csv").write_text("who,x\n0104,1\n0099,2\n0007,9\n")
    out = tmp_path / "l.csv"
    run(capsys, "cluster", tmp_path / "t.csv", "-k", 2, "--id", "who", "--labels-only", "-o", out)
    header, *lines = out.read_text().splitlines()
    assert header == "who,label"
    assert [line.partition(",")[0] for line in lines] == ["0104", "0099", "0007"]
    line = refused(capsys, "cluster", tmp_path / "t.csv", "-k", 2, "--labels-only")
    assert "--labels-only says what -o writes" in line


# ---- assign ------------------------------------------------------------------------------------------


@pytest.fixture
def customers(tmp_path):
    """Return a table of customers in two groups, with an identifier, a flag and a missing income."""
    rng = np.random.default_rng(0)
    ages = np.concatenate([rng.normal(25, 2, 20), rng.normal(60, 2, 20)]).round(1)
    incomes = np.concatenate([rng.normal(2e4, 1e3, 20), rng.normal(9e4, 1e3, 20)]).round()
    frame = pd.DataFrame({"CustomerID": 7000 + 13 * np.arange(40), "age": ages, "income": incomes})
    frame["member"] = np.arange(40) % 3 == 0
    frame.loc[4, "income"] = np.nan
    frame.to_csv(tmp_path / "t.csv", index=False)
    return frame


@pytest.mark.parametrize("rule", ["drop", "mean", "median"])
@pytest.mark.parametrize("scale", [[], ["--scale"]])
def test_assign_repeats_the_labels(capsys, tmp_path, customers, rule, scale):
    table, model = tmp_path / "t.csv", tmp_path / "m.npz"
    options = ["--missing", rule, *scale]
    figures(capsys, "cluster", table, "-k", 3, *options, "-o", tmp_path / "a.csv", "--save", model)
    found = figures(capsys, "assign", table, model, "-o", tmp_path / "b.csv")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert found["columns"] == ["age", "income", "member"]
    assert found["rows_without_label"] == (rule == "drop")
    result = ckmeans.load(model)
    assert result.counts.tolist() == found["counts"]


def test_assign_by_name(capsys, tmp_path, customers):
    """The new table has other columns, in another order, in another dialect."""
    table, model = tmp_path / "t.csv", tmp_path / "m.npz"
    run(
        capsys,
        "cluster",
        table,
        "-k",
        2,
        "--scale",
        "--missing",
        "median",
        "--save",
        model,
        "-o",
        tmp_path / "a.csv",
    )
    new = customers[["income", "member", "age"]].iloc[[0, 39, 4]].assign(city=["x", "y", "z"])
    new.to_csv(tmp_path / "new.csv", sep=";", decimal=",", index=False)
    found = figures(capsys, "assign", tmp_path / "new.csv", model, "-o", tmp_path / "b.csv")
    assert (found["rows"], found["values_filled"]) == (3, 1)
    labels = clusters_in(tmp_path / "a.csv")
    assert clusters_in(tmp_path / "b.csv")[:2] == [labels[0], labels[39]]
    # The header is known by the model's names, even for a single record.
    new.iloc[:1].to_csv(tmp_path / "one.csv", index=False)
    assert figures(capsys, "assign", tmp_path / "one.csv", model)["rows"] == 1


def test_assign_refuses(capsys, tmp_path, customers):
    table, model = tmp_path / "t.csv", tmp_path / "m.npz"
    run(capsys, "cluster", table, "-k", 2, "--columns", "age,member", "--save", model)
    customers.drop(columns="age").to_csv(tmp_path / "new.csv", index=False)
    assert "there is no column 'age'" in refused(capsys, "assign", tmp_path / "new.csv", model)
    customers.assign(age="old").to_csv(tmp_path / "new.csv", index=False)
    assert "column 'age' does not hold numbers" in refused(capsys, "assign", tmp_path / "new.csv", model)
    (tmp_path / "new.csv").write_text("age,member\n20,TRUE\n,FALSE\n")
    assert "a value is missing in line 3" in refused(capsys, "assign", tmp_path / "new.csv", model)
    assert (
        figures(capsys, "assign", tmp_path / "new.csv", model, "--missing", "drop")["rows_without_label"] == 1
    )
    ckmeans.kmeans([[0.0], [1.0]], 2).save(tmp_path / "plain.npz")
    assert "holds no columns" in refused(capsys, "assign", table, tmp_path / "plain.npz")
    (tmp_path / "broken.npz").write_bytes(b"nothing")
    assert "not a saved ckmeans result" in refused(capsys, "assign", table, tmp_path / "broken.npz")
    assert "No such file" in refused(capsys, "assign", table, tmp_path / "none.npz")
    assert "would overwrite" in refused(capsys, "assign", table, model, "-o", model)
    assert "a saved result of ckmeans" in refused(capsys, "cluster", model, "-k", 2)


DAMAGE = [
    {"columns": ["age"]}, {"missing": "zero"}, {"fill": [1.0]}, {"scaling": [[1.0], [2.0]]},
    {"columns": [1, 2]}, {"extra": 1},
]  # fmt: skip


@pytest.mark.parametrize("change", DAMAGE)
def test_damaged_recipe(capsys, tmp_path, customers, change):
    model = tmp_path / "m.npz"
    run(capsys, "cluster", tmp_path / "t.csv", "-k", 2, "--columns", "age,member", "--save", model)
    with np.load(model) as archive:
        arrays = dict(archive)
    about = json.loads(bytes(arrays.pop("about")))
    about["table"] |= change
    np.savez(model, about=np.frombuffer(json.dumps(about).encode(), np.uint8), **arrays)
    assert "it is damaged" in refused(capsys, "assign", tmp_path / "t.csv", model)


# ---- elbow ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("has_elbow", [True, False])
def test_elbow_table_is_written(capsys, tmp_path, has_elbow):
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(c, 1, (40, 2)) for c in (0, 9, 18)]) if has_elbow else rng.random((200, 2))
    pd.DataFrame(X, columns=["a", "b"]).to_csv(tmp_path / "t.csv", index=False)
    found = figures(capsys, "elbow", tmp_path / "t.csv", "--ks", "1:6", "-o", tmp_path / "e.csv")
    frame = pd.read_csv(tmp_path / "e.csv")
    assert frame["k"].tolist() == found["ks"] == [1, 2, 3, 4, 5, 6]
    np.testing.assert_allclose(frame["distortion"], found["distortions"])
    assert found["knee"] == (3 if has_elbow else None)
    assert frame["elbow"].tolist() == [found["knee"] == K for K in found["ks"]]
    status, out, err = run(capsys, "elbow", tmp_path / "t.csv", "--ks", "2,4,8")
    assert (status, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()[4:7]] == ["2", "4", "8"]


def test_elbow_options(capsys, tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,2\n3,4\n7,9\n")
    for ks in ("0:3", "3:1", "a", "1,,2", ""):
        assert "--ks must be LOW:HIGH" in refused(capsys, "elbow", tmp_path / "t.csv", f"--ks={ks}")
    assert "at most 3" in refused(capsys, "elbow", tmp_path / "t.csv")
    line = refused(capsys, "elbow", tmp_path / "t.csv", "--ks", "1:3", "-o", tmp_path / "e.npy")
    assert "must end in .csv" in line
    assert "would overwrite the table" in refused(
        capsys, "elbow", tmp_path / "t.csv", "-o", tmp_path / "t.csv"
    )
