"""Runs tests on another processor, emulated: an instruction that it lacks ends the run.

    python tools/emulated_suite.py [--cpu Nehalem] [--simd baseline] [pytest's options and tests]
    python tools/emulated_suite.py --root FOLDER [--simd neon] [pytest's options and tests]

The first runs this Python, with what is installed for it, on an old x86-64 processor; the second the
Python of an arm64 system that lies in a folder (emulation.md says how it gets there). The Pythons
that tests start are emulated too. Needs Debian's package qemu-user-static.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# The oldest that NumPy's wheels run on. It has SSE4.2, and neither AVX nor FMA.
CPU = "Nehalem"
# What reaches every kernel, on each side of every size that something is cut into.
TESTS = ["simd", "assign", "kmeans", "update", "cells", "screen", "sparse", "seeding", "empty"]
PYTEST = """
import sys
sys.executable, wanted = sys.argv.pop(1), sys.argv.pop(1)  # what the tests start
import ckmeans, pytest
assert ckmeans.show_config()["simd"] == wanted, ckmeans.show_config()
sys.exit(pytest.main(sys.argv[1:]))
"""


def emulated(options: argparse.Namespace) -> list[str]:
    """The command that is Python there."""
    if options.root:
        root = options.root.resolve()
        return ["qemu-aarch64-static", "-L", str(root), str(root / "usr" / "bin" / "python3")]
    return ["qemu-x86_64-static", "-cpu", options.cpu, sys.executable]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cpu", default=CPU, help=f"a processor that qemu knows ({CPU})")
    parser.add_argument("--root", type=Path, help="an arm64 system's folder")
    parser.add_argument("--simd", help="the instruction set that has to be chosen there")
    options, arguments = parser.parse_known_args()
    simd = options.simd or ("neon" if options.root else "baseline")
    tests = arguments or ["-q", *(f"tests/test_{name}.py" for name in TESTS)]
    command = emulated(options)
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder, "python")
        python.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
        python.chmod(0o755)
        return subprocess.run([*command, "-c", PYTEST, python, simd, *tests], cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
