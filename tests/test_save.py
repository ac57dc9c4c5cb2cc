"""Results saved to a file and loaded again."""

from __future__ import annotations

import io
import json
import pickle
import zipfile

import numpy as np
import pytest
from checks import assert_same

import ckmeans


@pytest.fixture
def result():
    X = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    return ckmeans.kmeans(X, 5, seed=1, n_init=3, keep_path=True)


@pytest.fixture
def saved(result, tmp_path):
    path = tmp_path / "result.npz"
    result.save(path)
    return path


def test_round_trip(result, saved):
    assert_same(ckmeans.load(saved), result)
    assert_same(ckmeans.load(str(saved)), result)


def test_without_a_path(tmp_path):
    result = ckmeans.kmeans(np.arange(12.0).reshape(6, 2), 2, seed=0)
    result.save(tmp_path / "r")
    assert [p.name for p in tmp_path.iterdir()] == ["r"]
    assert_same(ckmeans.load(tmp_path / "r"), result)


def test_path_with_dropped_clusters(tmp_path):
    result = ckmeans.kmeans([[0.0], [1], [5]], 3, init=[[0.0], [5], [99]], keep_path=True)
    assert [len(c) for c in result.path][:: len(result.path) - 1] == [3, 2]
    result.save(tmp_path / "r.npz")
    assert_same(ckmeans.load(tmp_path / "r.npz"), result)


def test_result_rejects_unknown_and_missing_fields(result):
    fields = {name: getattr(result, name) for name in ckmeans.Result.__slots__}
    with pytest.raises(TypeError, match=r"a Result has the fields algorithm, .* found .*, ends"):
        ckmeans.Result(**fields, ends=None)
    del fields["path"]
    with pytest.raises(TypeError, match="a Result has the fields"):
        ckmeans.Result(**fields)


def test_pickle(result):
    assert_same(pickle.loads(pickle.dumps(result)), result)


def test_existing_file_and_missing_folder(result, saved, tmp_path):
    result.save(saved)
    assert_same(ckmeans.load(saved), result)
    with pytest.raises(OSError, match="nowhere"):
        result.save(tmp_path / "nowhere" / "r.npz")


def test_failed_save_keeps_old_file(result, saved, tmp_path, monkeypatch):
    def fail(file, **arrays):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(OSError, match="disk full"):
        result.save(saved)
    assert_same(ckmeans.load(saved), result)
    assert [p.name for p in tmp_path.iterdir()] == ["result.npz"]


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        ckmeans.load(tmp_path / "missing.npz")


def rewritten(saved, **changes):
    """Change some entries of the file; None removes one."""
    with np.load(saved) as archive:
        arrays = dict(archive) | changes
    np.savez(saved, allow_pickle=True, **{k: v for k, v in arrays.items() if v is not None})
    return saved


def about(saved, **changes):
    with np.load(saved) as archive:
        told = json.loads(bytes(archive["about"])) | changes
    return np.frombuffer(json.dumps(told).encode(), np.uint8)


def test_newer_file(saved):
    rewritten(saved, about=about(saved, version=2), labels=None)
    with pytest.raises(ValueError, match=r"written by a newer ckmeans \(format 2, this one reads 1\)"):
        ckmeans.load(saved)


def test_pickled_objects(saved, tmp_path):
    rewritten(saved, labels=np.array([1, "x"], dtype=object))
    with pytest.raises(ValueError, match="pickled objects"):
        ckmeans.load(saved)
    other = tmp_path / "pickle"
    other.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(ValueError, match="pickled objects"):
        ckmeans.load(other)


@pytest.mark.parametrize(
    "change",
    [
        {"labels": None},
        {"about": None},
        {"labels": np.full(200, 5, np.int32)},
        {"labels": np.full(200, -1, np.int32)},
        {"labels": np.zeros(200)},
        {"counts": np.zeros(5, np.int64)},
        {"centroids": np.zeros(5)},
        {"centroids": np.full((5, 3), np.nan)},
        {"history": np.zeros(99)},
        {"path_K": np.array([1])},
        {"about": np.frombuffer(b"{", np.uint8)},
        {"about": np.frombuffer(b"[1]", np.uint8)},
        {"about": np.frombuffer(b"\xff\xfe", np.uint8)},
        {"about": np.frombuffer(b'{"format": "ckmeans.Result", "version": 1}', np.uint8)},
    ],
)
def test_inconsistent_arrays(saved, change):
    with pytest.raises(ValueError, match="not a saved ckmeans result, or it is damaged"):
        ckmeans.load(rewritten(saved, **change))


def test_other_files(tmp_path):
    plain = io.BytesIO()
    np.save(plain, np.arange(3))
    archive = io.BytesIO()
    np.savez(archive, x=np.arange(3))
    for content in (b"", b"x", b"PK\x03\x04 and so on", plain.getvalue(), archive.getvalue()):
        (tmp_path / "f").write_bytes(content)
        with pytest.raises(ValueError, match="is not a saved ckmeans result, or it is damaged"):
            ckmeans.load(tmp_path / "f")


def test_truncated_and_corrupted_files(saved, result):
    content = saved.read_bytes()
    rng = np.random.default_rng(0)
    for length in rng.integers(0, len(content), 40):
        saved.write_bytes(content[:length])
        with pytest.raises(ValueError, match="result"):
            ckmeans.load(saved)
    damaged = 0
    for at in rng.integers(0, len(content), 200):
        flipped = bytearray(content)
        flipped[at] ^= 0xFF
        saved.write_bytes(flipped)
        try:
            assert_same(ckmeans.load(saved), result)  # a byte that is not used
        except ValueError:
            damaged += 1
    assert damaged > 100


def test_file_is_plain_npz(saved):
    assert zipfile.is_zipfile(saved)
    with np.load(saved, allow_pickle=False) as archive:
        assert archive["centroids"].shape == (5, 3)
