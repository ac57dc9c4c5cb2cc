"""Every file of the corpus is read, or refused in one line."""

from __future__ import annotations

import bz2
import gzip
import lzma

import numpy as np
import pytest
import reader_corpus

import ckmeans
from ckmeans import _size_limits
from ckmeans.cli import main

pytest.importorskip("pandas")
pytest.importorskip("PIL")


def test_corpus_is_read_or_refused(tmp_path):
    paths = reader_corpus.write_corpus(tmp_path)
    assert len(paths) >= 200
    found = {path.name: reader_corpus.complaint(path) for path in paths}
    assert not {name: what for name, what in found.items() if what}


def test_corpus_is_the_same_every_time():
    one, other = reader_corpus.seeds(), reader_corpus.seeds()
    assert one.keys() == other.keys()
    same = [name for name in one if one[name] == other[name]]
    assert len(same) >= len(one) - 12  # archives may hold the time


# ---- files that unpack to more than there is memory ---------------------------------------------------


def bombs(folder):
    """Write files that unpack to 64 MB of zeros; yield their paths."""
    zeros = b"0" * (1 << 26)
    files = {
        "table/bomb.csv.gz": gzip.compress(zeros),
        "table/bomb.csv.bz2": bz2.compress(zeros),
        "table/bomb.csv.xz": lzma.compress(zeros),
        "table/bomb.zip": reader_corpus._zip({"bomb.csv": zeros}),
        "table/bomb.xlsx": reader_corpus._zip({"xl/workbook.xml": zeros}),
        "table/bomb.npz": reader_corpus._zip({"X.npy": zeros}),
        "result/bomb.npz": reader_corpus._zip({"about.npy": zeros, "labels.npy": zeros}),
    }
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        yield path


def test_decompression_bombs_give_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(_size_limits, "memory_bytes", lambda: 1 << 25)
    for path in bombs(tmp_path):
        assert reader_corpus.complaint(path) is None
        if path.parent.name == "result":
            with pytest.raises(ValueError, match=r"unpacks to .* GB, more than fits"):
                ckmeans.load(path)
        else:
            assert main(["cluster", str(path), "-k", "2"]) == 2
            assert "unpacks to" in capsys.readouterr().err


def test_picture_bomb_gives_one_line(tmp_path, capsys):
    image = pytest.importorskip("PIL.Image")
    path = tmp_path / "bomb.png"
    image.new("1", (30_000, 30_000)).save(path)
    assert main(["quantize", str(path), "-k", "2"]) == 2
    said = capsys.readouterr().err
    assert "decompression bomb" in said
    assert said.count("\n") == 1


def test_parquet_bomb_gives_one_line(tmp_path, monkeypatch, capsys):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "bomb.parquet"
    parquet.write_table(arrow.table({"a": np.zeros(1 << 20), "b": np.zeros(1 << 20)}), path)
    assert path.stat().st_size < 1 << 17
    monkeypatch.setattr(_size_limits, "memory_bytes", lambda: 1 << 23)
    assert main(["cluster", str(path), "-k", "2"]) == 2
    assert "unpacks to 0.0168 GB" in capsys.readouterr().err


# ---- what fuzzing found -------------------------------------------------------------------------------


def test_infinite_numbers_in_a_column(tmp_path, capsys):
    """Whether they count up was asked with a warning on stderr."""
    path = tmp_path / "infinite.csv"
    path.write_text("a,b\n1,1\n2,2\n3,inf\n4,inf\n5,5\n")
    assert main(["cluster", str(path), "-k", "2"]) == 2
    said = capsys.readouterr().err
    assert "no finite number" in said
    assert said.count("\n") == 1


def test_zip_of_another_version(tmp_path, capsys):
    """zipfile raises NotImplementedError."""
    path = tmp_path / "version.zip"
    data = bytearray(reader_corpus._zip({"a.csv": b"a,b\n1,2\n"}))
    at = data.index(b"PK\x01\x02")
    data[at + 6] = 65  # the version that is needed to unpack it
    path.write_bytes(data)
    assert main(["cluster", str(path), "-k", "2"]) == 2
    assert "not a readable zip archive or workbook (zip file version 6.5)" in capsys.readouterr().err


def test_decoder_says_nothing_itself(tmp_path, capsys):
    """Pillow logged the number of samples, so that there were two lines."""
    image = pytest.importorskip("PIL.Image")
    path = tmp_path / "samples.tiff"
    image.new("RGB", (4, 4)).save(path)
    data = bytearray(path.read_bytes())
    at = data.index((277).to_bytes(2, "little"))  # the tag SamplesPerPixel
    data[at + 8 : at + 10] = (16131).to_bytes(2, "little")
    path.write_bytes(data)
    assert main(["quantize", str(path), "-k", "2"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
