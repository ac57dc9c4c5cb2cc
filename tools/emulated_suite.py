"""Runs tests on an old x86-64 processor, emulated: an instruction that it lacks ends the run.

    python tools/emulated_suite.py [--cpu Nehalem] [pytest's options and tests]

For the environment that this Python belongs to. The Pythons that tests start are emulated too.
Needs qemu-x86_64-static, or qemu-x86_64 (Debian's packages qemu-user-static, qemu-user).
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# The oldest that NumPy's wheels run on. It has SSE4.2, and neither AVX nor FMA.
CPU = "Nehalem"
# What reaches every kernel, on each side of every size that something is cut into.
TESTS = ["simd", "assign", "kmeans", "update", "cells", "screen", "sparse", "seeding", "empty", "threads"]
PYTEST = """
import sys
sys.executable = sys.argv.pop(1)  # what the tests start
import ckmeans, pytest
print(repr(ckmeans.show_config()))
assert ckmeans.show_config()["simd"] == "baseline", "not old enough"
sys.exit(pytest.main(sys.argv[1:]))
"""


def emulator() -> str:
    for name in ("qemu-x86_64-static", "qemu-x86_64"):
        if shutil.which(name):
            return name
    sys.exit("needs qemu-user-static or qemu-user")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cpu", default=CPU, help=f"a processor that qemu knows ({CPU})")
    options, arguments = parser.parse_known_args()
    tests = arguments or ["-q", *(f"tests/test_{name}.py" for name in TESTS)]
    command = [emulator(), "-cpu", options.cpu, sys.executable]
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder, "python")
        python.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
        python.chmod(0o755)
        return subprocess.run([*command, "-c", PYTEST, python, *tests], cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
