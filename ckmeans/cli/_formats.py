"""The format of a file, by its content; by its name only where the content does not tell."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ckmeans._size_limits import check_unpacked, most_unpacked

__all__ = ["HEAD_BYTES", "archive_format", "format_of", "refusal", "unpack"]

HEAD_BYTES = 1 << 12

_MAGIC: dict[bytes, str] = {
    b"PAR1": "Parquet",
    b"ARROW1": "Feather",
    b"FEA1": "Feather",
    b"\x93NUMPY": ".npy",
    b"PK\x03\x04": "zip",
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"7z\xbc\xaf\x27\x1c": "7-Zip",
    b"Rar!": "RAR",
    b"\xd0\xcf\x11\xe0": "old Excel (.xls)",
    b"\x89HDF\r\n\x1a\n": "HDF5",
    b"CDF\x01": "netCDF",
    b"CDF\x02": "netCDF",
    b"SQLite format 3\x00": "SQLite",
    b"ORC": "ORC",
    b"Obj\x01": "Avro",
    b"$FL2": "SPSS",
    b"$FL3": "SPSS",
    b"<stata_dta>": "Stata",
    b"HEADER RECORD*******": "SAS",
    b"RDX2\n": "R data",
    b"RDX3\n": "R data",
    b"MATLAB 5.0 MAT-file": "MATLAB",
    b"%PDF": "PDF",
    b"\x89PNG": "picture",
    b"\xff\xd8\xff": "picture",
    b"GIF8": "picture",
    b"RIFF": "picture",
    b"SIMPLE  =": "FITS",
}
_SUFFIXES = {
    ".parquet": "Parquet", ".pq": "Parquet", ".feather": "Feather", ".arrow": "Feather", ".npy": ".npy",
    ".npz": ".npz", ".xlsx": "Excel", ".xls": "old Excel (.xls)", ".ods": "OpenDocument", ".h5": "HDF5",
    ".hdf5": "HDF5", ".pkl": "pickle", ".pickle": "pickle", ".rds": "R data", ".rdata": "R data",
    ".mat": "MATLAB", ".dta": "Stata", ".sav": "SPSS", ".sas7bdat": "SAS", ".orc": "ORC", ".avro": "Avro",
    ".zst": "Zstandard",
}  # fmt: skip
_ADVICE = {
    "old Excel (.xls)": "save it as .xlsx or CSV",
    "OpenDocument": "save it as .xlsx or CSV",
    "picture": "ckmeans quantize reduces its colours",
    "pickle": "it could run any code; save it as Parquet, .npy or CSV",
    "JSON": "save it as CSV or Parquet, for instance with pandas.read_json",
    "Zstandard": "unpack it first",
    "7-Zip": "unpack it first",
    "RAR": "unpack it first",
}
_OPEN: dict[str, Callable[[io.BytesIO], Any]] = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}
_COPIES = 4  # of a table while it is read
# What is raised for damaged archives; zipfile's NotImplementedError is a RuntimeError.
_DAMAGED = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError)


def format_of(head: bytes, path: Path) -> str:
    """Return the name of the format of a file that begins with `head`; "text" for what can be text."""
    for magic, name in _MAGIC.items():
        if head.startswith(magic):
            return name
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if re.match(rb"\{|\[\s*[\[{\"]", start):
        return "JSON"
    if re.match(rb"<(\?xml|!doctype|html|table)\b", start, re.IGNORECASE):
        return "HTML or XML"
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "pickle"
    if b"\0" in head and not head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return _SUFFIXES.get(path.suffix.lower(), "text")
    return "text"


def archive_format(data: bytes) -> str:
    """Return the format of a zip archive: workbooks and .npz are zip archives.

    Raises ValueError if it is damaged.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            check_unpacked(sum(entry.file_size for entry in archive.infolist()), _COPIES)
            names = archive.namelist()
            if "xl/workbook.xml" in names:
                return "Excel"
            if "xl/workbook.bin" in names:
                return "binary Excel (.xlsb)"
            if "mimetype" in names and archive.read("mimetype").startswith(b"application/vnd.oasis"):
                return "OpenDocument"
            return ".npz" if names and all(name.endswith(".npy") for name in names) else "zip"
    except _DAMAGED as error:
        raise ValueError(f"not a readable zip archive or workbook ({error})") from None


def unpack(data: bytes, name: str) -> bytes:
    """Return the one file that was compressed.

    Raises ValueError if there are several, or if the data are damaged.
    """
    try:
        if name != "zip":
            with _OPEN[name](io.BytesIO(data)) as file:
                unpacked: bytes = file.read(most_unpacked(_COPIES) + 1)
            check_unpacked(len(unpacked), _COPIES)
            return unpacked
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            files = [file for file in archive.namelist() if not file.endswith("/") and "__MACOSX" not in file]
            if len(files) != 1:
                raise ValueError(f"a zip archive of {len(files)} files: unpack it first")
            check_unpacked(archive.getinfo(files[0]).file_size, _COPIES)
            return archive.read(files[0])
    except _DAMAGED as error:
        raise ValueError(f"not a readable {name} file ({error})") from None


def refusal(name: str) -> ValueError:
    """Return the exception for a format that is not read."""
    advice = _ADVICE.get(name, "save it as CSV or Parquet")
    return ValueError(f"the file's format is {name}, which is not read: {advice}")
