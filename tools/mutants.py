"""Shows that the tools see: breaks one line of the sources at a time, and runs the tool that is meant for it.

    python tools/mutants.py              # all: each must be reported
    python tools/mutants.py tail free    # those whose names contain one of these words
    python tools/mutants.py --list

Each runs in a copy of the tree, in which the tool passes before the line is broken. Linux only; what they
need stands in tools/sanitize.py and tools/check_kernels.py.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from sanitize import files_of_tree

ROOT = Path(__file__).resolve().parents[1]

# The tools, as arguments of Python.
KERNELS = ["tools/check_kernels.py"]
THREADS = [
    "-c",
    "import sys; sys.path.insert(0, 'tools'); import sanitize; sys.exit(sanitize.thread_harness())",
]
FAULTS = ["-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "tests/test_faults.py"]
ADDRESS = ["tools/sanitize.py", "address", "-x", "tests/test_faults.py", "-k", "restarts or cells"]
BUILD = ["-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "tests/test_build.py"]


# Tool -> what it prints when it sees something; a line that no longer compiles is not seen.
REPORTS = {
    tuple(KERNELS): r"is wrong|were written|exit status -",
    tuple(THREADS): r"ThreadSanitizer: data race",
    tuple(FAULTS): r"FAILED|Segmentation",
    tuple(ADDRESS): r"ERROR: AddressSanitizer",
    tuple(BUILD): r"FAILED",
}


@dataclass
class Mutant:
    """One line of the sources, as it is and as it is broken, and arguments of Python that must fail then."""

    name: str
    path: str
    line: str
    broken: str
    tool: list[str]
    builds: bool = False  # the tool tests the package, built in place


MUTANTS = [
    Mutant(
        "tail of a row left out",
        "src/simd/screen_body.h",
        "        for (; l < n; ++l) sum += (x[l] - c[l]) * (x[l] - c[l]);\n",
        "",
        KERNELS,
    ),
    Mutant(
        "tail of the rows left out",
        "src/simd/pack_body.h",
        "    if (count > 0) F(pack_tail)(rows",
        "    if (count > F(TILE)) F(pack_tail)(rows",
        KERNELS,
    ),
    Mutant(
        "tail of the sparse sums left out",
        "src/simd/sparse_body.h",
        "    for (; x < end; ++x) sum[0] += (double)*x * *x;\n",
        "",
        KERNELS,
    ),
    Mutant(
        "vector read beyond a column",
        "src/simd/kdtree_body.h",
        "    for (; i + V(LANES) <= count; i += V(LANES)) {\n        lo =",
        "    for (; i < count; i += V(LANES)) {\n        lo =",
        KERNELS,
    ),
    Mutant(
        "tie given to the higher index",
        "src/simd/sparse_body.h",
        "lane_id[i + half] < lane_id[i]",
        "lane_id[i + half] > lane_id[i]",
        KERNELS,
    ),
    Mutant(
        "barrier of a store removed",
        "src/simd/threads.h",
        "__atomic_store_n(flag, value, __ATOMIC_RELEASE)",
        "__atomic_store_n(flag, value, __ATOMIC_RELAXED)",
        THREADS,
    ),
    Mutant(
        "barrier of a load removed",
        "src/simd/threads.h",
        "__atomic_load_n(flag, __ATOMIC_ACQUIRE)",
        "__atomic_load_n(flag, __ATOMIC_RELAXED)",
        THREADS,
    ),
    Mutant(
        "barrier of a counter removed",
        "src/simd/threads.h",
        "__atomic_fetch_add(value, addend, __ATOMIC_ACQ_REL)",
        "__atomic_fetch_add(value, addend, __ATOMIC_RELAXED)",
        THREADS,
    ),
    Mutant(
        "cache without its lock",
        "src/simd/memory.c",
        "static int try_lock(void) { return ckmeans_exchange_flag(&locked, 1) == 0; }",
        "static int try_lock(void) { return 1; }",
        THREADS,
    ),
    Mutant(
        "free left out",
        "src/ckmeans/_fit_state.pxi",
        "    swaps_close(f.swaps)\n    release(f)\n",
        "    swaps_close(f.swaps)\n",
        FAULTS,
        builds=True,
    ),
    Mutant(
        "missing memory taken for some",
        "src/ckmeans/_seed.pxi",
        "    if seeding != NULL:\n        release((<SeedingState *>seeding).blocks)\n",
        "    release((<SeedingState *>seeding).blocks)\n",
        FAULTS,
        builds=True,
    ),
    Mutant(
        "instruction set lost in the build",
        "setup.py",
        '    "avx2": (["-mavx2", "-mfma"], ["/arch:AVX2"]),\n    "baseline": ([], []),\n}\nARM64 =',
        '    "baseline": ([], []),\n}\nARM64 =',
        BUILD,
        builds=True,
    ),
    Mutant(
        "array one row too short",
        "src/ckmeans/_fit_state.pxi",
        "    f.previous = <char *>take(memory, &at, (K * n + ROW_PADDING) * item)\n",
        "    f.previous = <char *>take(memory, &at, (K - 1) * n * item)\n",
        ADDRESS,
    ),
    Mutant(
        "memory used after its release",
        "src/ckmeans/_fit_state.pxi",
        "        release(f.restarts[i].history)\n",
        "        release(f.restarts[i].history)\n        f.restarts[i].history[0] = 0\n",
        ADDRESS,
    ),
]


def copy_tree(folder: Path) -> None:
    """What git knows, and what was built, so that a build compiles only what was broken."""
    built = [str(path.relative_to(ROOT)) for path in (ROOT / "ckmeans").glob("*.so")]
    for file in [*files_of_tree(), *built]:
        if (ROOT / file).is_file():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / file, folder / file)
    for kept in ("build/sanitize-address", "build/temp.linux-x86_64-cpython-311"):
        if (ROOT / kept).is_dir():
            shutil.copytree(ROOT / kept, folder / kept, copy_function=shutil.copy2)
    for file in (ROOT / "src" / "ckmeans").glob("*.c"):
        shutil.copy2(file, folder / "src" / "ckmeans" / file.name)


def run_tool(mutant: Mutant, folder: Path) -> tuple[int, str]:
    env = {**os.environ, "PYTHONPATH": str(folder), "CKMEANS_DEBUG": "1"}
    if mutant.builds:
        command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
        built = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
        if built.returncode:
            raise SystemExit(built.stdout + built.stderr)
    run = subprocess.run([sys.executable, *mutant.tool], cwd=folder, env=env, capture_output=True, text=True)
    return run.returncode, run.stdout + run.stderr


def is_seen(mutant: Mutant, folder: Path) -> bool:
    path = folder / mutant.path
    text = path.read_text()
    if text.count(mutant.line) != 1:
        raise SystemExit(f"{mutant.name}: {mutant.path} no longer holds this line once: {mutant.line!r}")
    start = time.monotonic()
    path.write_text(text.replace(mutant.line, mutant.broken))
    try:
        status, output = run_tool(mutant, folder)
    finally:
        path.write_text(text)
    report = re.search(f".*({REPORTS[tuple(mutant.tool)]}).*", output) if status else None
    how = report[0].strip()[:160] if report else f"NOT SEEN {output[-500:] if status else ''}"
    print(f"{mutant.name} ({time.monotonic() - start:.0f} s): {how}", flush=True)
    return report is not None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", help="of names; default: all")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    chosen = [m for m in MUTANTS if not options.words or any(word in m.name for word in options.words)]
    if options.list:
        print("\n".join(f"{m.name}: {m.path}" for m in chosen))
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_tree(folder)
        for tool, builds in {(tuple(m.tool), m.builds) for m in chosen}:
            status, output = run_tool(Mutant("", "", "", "", list(tool), builds), folder)
            if status:
                raise SystemExit(f"{' '.join(tool)} fails on the sources as they are:\n{output[-3000:]}")
        unseen = [m.name for m in chosen if not is_seen(m, folder)]
    print(f"{len(chosen)} lines broken one by one, {len(unseen)} not seen")
    return bool(unseen)


if __name__ == "__main__":
    sys.exit(main())
