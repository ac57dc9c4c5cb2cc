"""Compiles tests/kernels_check.c and runs it, for this machine or, emulated, for another.

    python tools/check_kernels.py                 # this machine; fails if a set of its processor was not run
    python tools/check_kernels.py --arch aarch64  # the NEON kernels, under qemu-aarch64-static
    python tools/check_kernels.py --cpu core2duo  # an x86-64 processor before AVX, emulated
    python tools/check_kernels.py --all           # every set of every processor; fails if one was not run
    python tools/check_kernels.py --prove         # that the checks fail without any one of the kernels

Debian's packages: gcc-aarch64-linux-gnu, libc6-dev-arm64-cross, qemu-user-static. For sets that the machine
lacks, --all also takes Intel's SDE, if `sde64` is on the path. All C is compiled with -Wall -Wextra -Werror.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import platform
import re
import shutil
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
# Set -> the flags of /proc/cpuinfo that promise it.
PROMISES = {
    "avx512": {"avx512f", "avx2", "fma"},
    "avx2": {"avx2", "fma"},
    "neon": {"asimd"},
    "baseline": set(),
    "codes avx512vnni": {"avx512_vnni", "avx512bw", "avx512f", "avx2", "fma"},
    "codes avxvnni": {"avx_vnni", "avx2", "fma"},
    "codes avx2": {"avx2", "fma"},
    "codes dotprod": {"asimddp"},
    "codes neon": {"asimd"},
    "codes baseline": set(),
}
# More C files that a processor's check needs.
MORE = {
    "x86_64": {"tests/codes_avxvnni_as_avx512.c": ["-O3", "-mavx2", "-mfma", "-mavx512vl", "-mavx512vnni"]},
    "aarch64": {},
}
FLAGS = ["-ffp-contract=off", "-fno-math-errno", "-Wall", "-Wextra", "-Werror", f"-I{ROOT / 'src'}"]
LINE = re.compile(r"^((?:codes )?[a-z0-9]+)(?: as of avx512)?: ok, (\d+) kernels, (\d+) comparisons$")


def all_sets(arch: str) -> set[str]:
    return set(SETS[arch]) | {f"codes {name}" for name in CODE_SETS[arch]}


def promised_sets() -> set[str]:
    """What this machine's processor has, as the kernel says: not by the dispatch that is to be checked."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    match = re.search(r"^(?:flags|Features)\s*:(.*)$", cpuinfo, re.MULTILINE)
    flags = set(match[1].split()) if match else set()
    return {name for name in all_sets(platform.machine()) if PROMISES[name] <= flags}


def compiler_of(arch: str) -> list[str]:
    if arch == platform.machine():
        return os.environ.get("CC", "gcc").split()
    return [f"{arch}-linux-gnu-gcc"]


def build(arch: str, folder: Path) -> Path:
    """A static program, which an emulator runs without a foreign system's libraries."""
    built = [f"-DCKMEANS_BUILT_{name.upper()}" for name in SETS[arch]]
    built += [f"-DCKMEANS_BUILT_CODES_{name.upper()}" for name in CODE_SETS[arch]]
    sources = {f"src/simd/kernels_{name}.c": ["-O3", *flags] for name, flags in SETS[arch].items()}
    sources |= {f"src/simd/codes_{name}.c": ["-O3", *flags] for name, flags in CODE_SETS[arch].items()}
    sources |= MORE[arch]
    sources |= {"src/simd/dispatch.c": built, "tests/kernels_check.c": ["-O1"]}  # plain loops stay plain
    compiler = compiler_of(arch)

    def compile_one(source: str) -> str:
        compiled = str(folder / (Path(source).stem + ".o"))
        command = [*compiler, *FLAGS, *sources[source], "-c", str(ROOT / source), "-o", compiled]
        subprocess.run(command, check=True)
        return compiled

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compile_one, sources))
    program = folder / f"kernels_check_{arch}"
    subprocess.run([*compiler, "-static", *objects, "-lm", "-o", str(program)], check=True)
    return program


def run_sets(command: list[str], names: set[str]) -> tuple[set[str], int]:
    """Check sets side by side, a process each. Returns those that are good, and how many processes failed."""
    results = []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for name in sorted({name.removeprefix("codes ") for name in names}):
            results.append(
                pool.submit(subprocess.run, [*command, "--set", name], stdout=subprocess.PIPE, text=True)
            )
    done, failed = set(), 0
    for result in (future.result() for future in results):
        print(result.stdout, end="")
        if result.returncode:
            print(f"{' '.join(result.args)}: exit status {result.returncode}")
            failed += 1
        done |= {match[1] for line in result.stdout.splitlines() if (match := LINE.match(line))}
    return done, failed


def emulators(arch: str, wanted: str | None) -> list[list[str]]:
    """Commands before the program: those that run the sets of a processor."""
    if wanted:
        return [[f"qemu-{arch}-static", "-cpu", wanted]]
    if arch != platform.machine():
        return [[f"qemu-{arch}-static"]]
    return [[]]


def check(arch: str, cpu: str | None, folder: Path) -> tuple[set[str], int]:
    program = build(arch, folder)
    done: set[str] = set()
    failed = 0
    for emulator in emulators(arch, cpu):
        spare = ["--spare", "32"] if emulator and arch == "x86_64" else []  # see tests/kernels_check_memory.h
        print(f"== {arch}, {' '.join(emulator) or 'this machine'}")
        found, bad = run_sets([*emulator, str(program), *spare], all_sets(arch))
        done |= found
        failed += bad
    return done, failed


def check_everything(folder: Path) -> tuple[set[str], int]:
    """Every set of both architectures: on this machine, and where it lacks one, under an emulator."""
    missing, failed = set(), 0
    for arch in SETS:
        done, bad = check(arch, None, folder)
        lacking = all_sets(arch) - done
        if lacking and arch == "x86_64" and shutil.which("sde64"):
            print(f"== {arch}, Intel SDE, Sapphire Rapids")
            found, more = run_sets(["sde64", "-spr", "--", str(folder / f"kernels_check_{arch}")], lacking)
            done, bad = done | found, bad + more
        missing |= {f"{arch} {name}" for name in all_sets(arch) - done}
        failed += bad
    found, bad = check("x86_64", "core2duo", folder)
    missing |= {"x86_64 baseline on a processor without AVX"} if "baseline" not in found else set()
    return missing, failed + bad


def prove(folder: Path) -> int:
    """How many kernels nobody would miss. Each is replaced by a function that does nothing."""
    program = build(platform.machine(), folder)
    names = subprocess.run(
        [str(program), "--list"], stdout=subprocess.PIPE, text=True, check=True
    ).stdout.split()
    unseen = 0
    for name in names:
        run = subprocess.run([str(program), "--without", name], capture_output=True, text=True, timeout=60)
        unseen += run.returncode == 0
        how = run.stdout.splitlines()[0] if run.returncode == 1 else f"signal {-run.returncode}"
        print(f"without {name}: {'NOT SEEN' if run.returncode == 0 else how}")
    print(f"{len(names)} kernels left out one by one, {unseen} not seen")
    return unseen


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arch", choices=SETS, default=platform.machine())
    parser.add_argument("--cpu", help="a processor that qemu emulates")
    parser.add_argument("--all", action="store_true", help="every instruction set of every processor")
    parser.add_argument("--prove", action="store_true", help="that each kernel is checked")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.prove:
            return prove(Path(folder)) != 0
        if options.all:
            missing, failed = check_everything(Path(folder))
        else:
            done, failed = check(options.arch, options.cpu, Path(folder))
            emulated = options.cpu or options.arch != platform.machine()
            missing = {"baseline"} - done if emulated else promised_sets() - done
    if missing:
        print(f"not run: {', '.join(sorted(missing))}")
    return bool(failed or missing)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as error:
        sys.exit(f"{' '.join(map(str, error.cmd))}: exit status {error.returncode}")
