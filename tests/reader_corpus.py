"""Files for the readers, good and damaged, and what must hold when one of them is read.

`write_corpus` writes them: seeds of every format that the package reads or refuses, and mutations of each,
drawn from a fixed stream of random numbers, so that the same files come every time. tools/fuzz_readers.py
draws more from the same seeds, for as long as it is told to.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import pickle
import sys
import zipfile
from pathlib import Path

import numpy as np

import ckmeans
from ckmeans.cli import main

MUTATIONS_EACH = 3
_PICTURE_MODES = {
    "png": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "gif": ("P", "L"),
    "bmp": ("1", "L", "P", "RGB", "RGBA"),
    "jpeg": ("L", "RGB", "CMYK"),
    "tiff": ("1", "L", "P", "RGB", "RGBA", "CMYK", "I;16", "F"),
    "webp": ("RGB", "RGBA"),
    "ppm": ("1", "L", "RGB"),
    "ico": ("RGBA",),
    "tga": ("L", "RGB", "RGBA"),
    "sgi": ("L", "RGB"),
    "pcx": ("L", "RGB"),
}


# ---- seeds ------------------------------------------------------------------------------------------


def seeds():
    """Return {name: content}; the folder of a name says which reader it is for."""
    found = {f"table/{name}": content for name, content in (*_texts(), *_archives(), *_frames())}
    found |= {f"result/{name}": content for name, content in _results()}
    return found | {f"picture/{name}": content for name, content in _pictures()}


def _texts():
    rows = [(i, f"name{i % 7}", i * 0.37 - 3, (i * i) % 11, f"2024-01-{i % 28 + 1:02d}") for i in range(40)]
    header = ("id", "name", "width", "height", "day")

    def lines(separator, decimal=".", quote="", end="\n"):
        cells = [[f"{quote}{value}{quote}" for value in row] for row in (header, *rows)]
        return end.join(separator.join(row).replace(".", decimal) for row in cells) + end

    yield "comma.csv", lines(",").encode()
    yield "semicolon.csv", lines(";", ",").encode()
    yield "tab.tsv", lines("\t").encode()
    yield "blank.txt", lines(" ").encode()
    yield "quoted.csv", lines(",", quote='"').encode()
    yield "crlf.csv", lines(",", end="\r\n").encode()
    yield "cr.csv", lines(",", end="\r").encode()
    yield "utf16.csv", lines(",").encode("utf-16")
    yield "bom.csv", lines(",").encode("utf-8-sig")
    yield "latin.csv", lines(",").replace("name1", "Jürgen").encode("latin-1")
    yield "comment.csv", b"# a comment\n# another\n" + lines(",").encode()
    yield "units.csv", lines(",").replace("\n", "\n-,-,cm,cm,-\n", 1).encode()
    yield "missing.csv", lines(",").replace("-1.89", "").replace("0.33", "NA").encode()
    yield "thousands.csv", b'a;b\n"1.234,5";2\n"2.345,5";3\n"9.999,0";1\n'
    yield "titles.csv", b"Report of a day\n\n" + lines(",").encode() + b"\nSum,,12,13,\n"
    yield "ragged.csv", b"a,b\n1,2\n3\n4,5,6\n"
    yield "arff.arff", b"@relation x\n@attribute a numeric\n@attribute b numeric\n@data\n1,2\n3,4\n5,6\n"
    yield "svmlight.txt", b"1 1:0.5 3:2\n0 2:1.5\n1 1:2 2:1\n"
    yield "huge_numbers.csv", b"a,b\n1e400,2\n-1e400,3\n1e-400,4\nnan,inf\n"
    yield "one_column.txt", b"\n".join(str(i * 1.5).encode() for i in range(30))
    yield "json.json", b'[{"a": 1, "b": 2}, {"a": 3, "b": 4}]'
    yield "html.html", b"<html><table><tr><td>1</td></tr></table></html>"


def _archives():
    table = b"a,b\n" + b"".join(b"%d,%d\n" % (i, i * i % 13) for i in range(60))
    yield "packed.csv.gz", gzip.compress(table, mtime=0)
    yield "packed.csv.bz2", bz2.compress(table)
    yield "packed.csv.xz", lzma.compress(table)
    yield "packed.zip", _zip({"packed.csv": table})
    yield "two.zip", _zip({"one.csv": table, "two.csv": table})
    X = np.random.default_rng(0).normal(size=(30, 3))
    for name, array in {
        "points": X, "float32": X.astype("f4"), "swapped": X.astype(">f8"), "integers": X.astype("i8"),
        "fortran": np.asfortranarray(X), "line": X[:, 0], "cube": X.reshape(5, 6, 3), "complex": X + 1j,
        "text": X.astype("U5"), "fields": np.zeros(9, "i4,f8"), "empty": X[:0],
    }.items():  # fmt: skip
        yield f"{name}.npy", _npy(array)
    yield "objects.npy", _npy(np.array([[1, None]], object))
    for name, arrays in {"one": {"X": X}, "three": {"X": X, "y": X[:, 0], "Z": X * 2}}.items():
        file = io.BytesIO()
        np.savez_compressed(file, **arrays)
        yield f"{name}.npz", file.getvalue()
    yield "object.pkl", pickle.dumps({"a": [1, 2, 3]}, protocol=4)


def _frames():
    pd = _optional("pandas")
    if pd is None:
        return
    frame = pd.DataFrame(
        {"a": np.arange(20) * 0.5, "b": np.arange(20) % 3, "c": ["x", "y"] * 10, "d": [True, False] * 10}
    )
    for name, write, needs in (
        ("frame.parquet", "to_parquet", "pyarrow"),
        ("frame.feather", "to_feather", "pyarrow"),
        ("frame.xlsx", "to_excel", "openpyxl"),
    ):
        if _optional(needs) is not None:
            file = io.BytesIO()
            getattr(frame, write)(file)
            yield name, file.getvalue()


def _results():
    X = np.random.default_rng(1).normal(size=(60, 3))
    for name, points, options in (
        ("plain", X, {}),
        ("path", X, {"keep_path": True}),
        ("single", X.astype("f4"), {"n_init": 3}),
        ("optimal", X[:, :1], {}),
        ("one", X[:1], {"K": 1}),
    ):
        file = io.BytesIO()
        result = ckmeans.kmeans(points, options.pop("K", 4), seed=0, **options)
        _save(result, file)
        yield f"{name}.npz", file.getvalue()


def _save(result, file):
    path = Path(_folder(), "result.npz")
    result.save(path)
    file.write(path.read_bytes())
    path.unlink()


def _folder():
    import tempfile

    return tempfile.gettempdir()


def _pictures():
    pillow = _optional("PIL.Image")
    if pillow is None:
        return
    rng = np.random.default_rng(2)
    pixels = (np.add.outer(np.arange(24), np.arange(20))[..., None] * [5, 3, 7] % 256).astype(np.uint8)
    color = pillow.fromarray(pixels)
    for form, modes in _PICTURE_MODES.items():
        for mode in modes:
            if mode == "I;16":
                image = pillow.fromarray(rng.integers(0, 65535, (24, 20)).astype(np.uint16))
            else:
                image = color.convert(mode)
            file = io.BytesIO()
            with contextlib.suppress(OSError, KeyError, ValueError):  # this Pillow cannot write it
                image.save(file, form)
                yield f"{mode.replace(';', '')}.{form}", file.getvalue()
    frames = [color, color.rotate(90, expand=False), color.rotate(180)]
    for form in ("gif", "png", "webp", "tiff"):
        file = io.BytesIO()
        with contextlib.suppress(OSError, KeyError, ValueError):
            frames[0].save(file, form, save_all=True, append_images=frames[1:])
            yield f"frames.{form}", file.getvalue()


def _optional(name):
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def _npy(array):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def _zip(files):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return file.getvalue()


# ---- mutations --------------------------------------------------------------------------------------

_NUMBERS = [
    value.to_bytes(size, order)
    for size in (1, 2, 4, 8)
    for order in ("little", "big")
    for value in (0, 1, 2 ** (8 * size - 1) - 1, 2 ** (8 * size - 1), 2 ** (8 * size) - 1)
]


def mutated(content, rng, others=()):
    """Return a content with one to four changes: bits, numbers, cuts, repetitions, parts of other files."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        if not data:
            break
        at, kind = int(rng.integers(len(data))), int(rng.integers(7))
        length = int(min(rng.integers(1, 33), len(data) - at))
        if kind == 0:
            data[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            number = _NUMBERS[int(rng.integers(len(_NUMBERS)))]
            data[at : at + len(number)] = number
        elif kind == 2:
            del data[at : at + length]
        elif kind == 3:
            data[at:at] = data[at : at + length] * int(rng.integers(1, 9))
        elif kind == 4:
            del data[at:]
        elif kind == 5:
            data[at : at + length] = rng.bytes(length)
        elif others:
            other = others[int(rng.integers(len(others)))]
            start = int(rng.integers(max(len(other), 1)))
            data[at : at + length] = other[start : start + length]
    return bytes(data)


def write_corpus(folder):
    """Write all seeds and mutations; return their paths, whose parents' names are the readers'."""
    paths, files = [], seeds()
    rng = np.random.default_rng(20)
    for name, content in files.items():
        versions = [content] + [mutated(content, rng, list(files.values())) for _ in range(MUTATIONS_EACH)]
        for number, version in enumerate(versions):
            reader, _, own = name.partition("/")
            path = Path(folder, reader, f"{number}-{own}")
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(version)
            paths.append(path)
    return paths


# ---- reading ----------------------------------------------------------------------------------------


def complaint(path):
    """Read a file; return what is wrong with how that ended, None if nothing is."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = _READERS[path.parent.name](path)
        except Exception as error:
            return f"{type(error).__name__} left the reader: {error}"
    said = err.getvalue()
    if status == 0:
        return f"said on stderr: {said}" if said else None
    if status != 2:
        return f"exit status {status}"
    if not said.startswith("ckmeans: ") or said.count("\n") != 1 or "Traceback" in said:
        return f"not one line on stderr: {said}"
    return None


def _load(path):
    try:
        result = ckmeans.load(path)
    except ValueError as error:
        print("ckmeans:", *str(error).split(), file=sys.stderr)
        return 2
    repr(result)
    assert len(result.labels) == result.counts.sum()
    if len(result.centroids):
        ckmeans.assign(result.centroids[:1], result.centroids)
    return 0


def _table(path):
    return main(["cluster", str(path), "-k", "2", "--missing", "drop", "--seed", "0", "--json"])


def _picture(path):
    out = path.with_name("out.png")
    status = main(["quantize", str(path), "-k", "4", "--seed", "0", "-q", "-o", str(out)])
    out.unlink(missing_ok=True)
    return status


_READERS = {"table": _table, "result": _load, "picture": _picture}
