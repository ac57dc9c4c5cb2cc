"""Compiles tests/kernels_check.c and runs it, for this machine or, emulated, for another.

    python tools/check_kernels.py                 # this machine
    python tools/check_kernels.py --arch aarch64  # the NEON kernels, under qemu-aarch64-static
    python tools/check_kernels.py --cpu core2duo  # an x86-64 processor before AVX, emulated

Debian's packages: gcc-aarch64-linux-gnu, libc6-dev-arm64-cross, qemu-user-static.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Instruction set -> gcc's flags, as in setup.py.
SETS = {
    "x86_64": {"avx512": ["-mavx512f", "-mavx2", "-mfma"], "avx2": ["-mavx2", "-mfma"], "baseline": []},
    "aarch64": {"neon": [], "baseline": []},
}
# The same of 8-bit codes.
CODE_SETS = {
    "x86_64": {
        "avx512vnni": ["-mavx512f", "-mavx512bw", "-mavx512vnni", "-mavx2", "-mfma"],
        "avxvnni": ["-mavxvnni", "-mavx2", "-mfma"],
        "avx2": ["-mavx2", "-mfma"],
        "baseline": [],
    },
    "aarch64": {"dotprod": ["-march=armv8.2-a+dotprod"], "neon": [], "baseline": []},
}
# More C files that a processor's check needs.
MORE = {
    "x86_64": {"tests/codes_avxvnni_as_avx512.c": ["-O3", "-mavx2", "-mfma", "-mavx512vl", "-mavx512vnni"]},
    "aarch64": {},
}
FLAGS = ["-ffp-contract=off", "-fno-math-errno", "-Wall", f"-I{ROOT / 'src'}"]


def build(compiler: str, arch: str, folder: Path) -> Path:
    """A static program, which an emulator runs without a foreign system's libraries."""
    objects = []
    built = [f"-DCKMEANS_BUILT_{name.upper()}" for name in SETS[arch]]
    built += [f"-DCKMEANS_BUILT_CODES_{name.upper()}" for name in CODE_SETS[arch]]
    sources = {f"src/simd/kernels_{name}.c": ["-O3", *flags] for name, flags in SETS[arch].items()}
    sources |= {f"src/simd/codes_{name}.c": ["-O3", *flags] for name, flags in CODE_SETS[arch].items()}
    sources |= MORE[arch]
    sources |= {"src/simd/dispatch.c": built, "tests/kernels_check.c": ["-O1"]}  # plain loops stay plain
    for source, flags in sources.items():
        objects.append(folder / (Path(source).stem + ".o"))
        subprocess.run([compiler, *FLAGS, *flags, "-c", ROOT / source, "-o", objects[-1]], check=True)
    program = folder / "kernels_check"
    subprocess.run([compiler, "-static", *objects, "-lm", "-o", program], check=True)
    return program


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arch", choices=SETS, default=platform.machine())
    parser.add_argument("--cpu", help="a processor that qemu emulates")
    options = parser.parse_args()
    native = options.arch == platform.machine()
    compiler = "gcc" if native else f"{options.arch}-linux-gnu-gcc"
    emulator = [] if native and not options.cpu else [f"qemu-{options.arch}-static"]
    cpu = ["-cpu", options.cpu] if options.cpu else []
    with tempfile.TemporaryDirectory() as folder:
        program = build(compiler, options.arch, Path(folder))
        spare = ["32"] if emulator and options.arch == "x86_64" else []  # see tests/kernels_check_codes.h
        return subprocess.run([*emulator, *cpu, program, *spare]).returncode


if __name__ == "__main__":
    sys.exit(main())
