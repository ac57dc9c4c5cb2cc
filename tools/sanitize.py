"""Builds ckmeans with a sanitizer, in a folder of its own, and runs tests there. Linux only.

    python tools/sanitize.py address            # AddressSanitizer and UndefinedBehaviorSanitizer: the suite
    python tools/sanitize.py address -k cells   # arguments of pytest: a part of it
    python tools/sanitize.py thread             # ThreadSanitizer: the C harness, then fits from many threads
    python tools/sanitize.py valgrind           # memcheck: each call of tests/fault_cases.py once

address: the block cache is off, and what lies between the arrays of a block is poisoned (src/simd/memory.h).
thread: needs clang, and libomp with archer, which tells ThreadSanitizer what OpenMP's runtime orders
(Debian's clang-14, libomp-14-dev, llvm-14). Another version: CKMEANS_LLVM=/usr/lib/llvm-19.
valgrind: errors count whose stack passes through ckmeans.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LLVM = Path(os.environ.get("CKMEANS_LLVM", "/usr/lib/llvm-14"))
FRAMES = "-g1 -fno-omit-frame-pointer"

# Tests that measure time or memory, start other libraries, or limit the address space, which is taken here.
UNFIT = ["benchmarks", "coexistence", "memory", "process", "stubs", "wheels"]


def files_of_tree() -> list[str]:
    """What git knows, and what it would: the files that are not ignored."""
    command = ["git", "ls-files", "-co", "--exclude-standard"]
    return subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    ).stdout.splitlines()


def copy_tree(name: str) -> Path:
    """A copy of what git knows, where a build for one sanitizer is kept."""
    folder = ROOT / "build" / f"sanitize-{name}"
    for file in files_of_tree():
        source, copy = ROOT / file, folder / file
        if source.is_file() and (not copy.exists() or copy.stat().st_mtime < source.stat().st_mtime):
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, copy)
    return folder


def build(name: str, **environment: str) -> Path:
    folder = copy_tree(name)
    subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--inplace"],
        cwd=folder,
        env={**os.environ, "CKMEANS_DEBUG": "1", "CKMEANS_OPENMP": "1", **environment},
        check=True,
    )
    return folder


def run(folder: Path, command: list[str], **environment: str) -> int:
    """Run Python with the build of this folder."""
    env = {**os.environ, "PYTHONPATH": str(folder), "OPENBLAS_NUM_THREADS": "1", **environment}
    return subprocess.run([sys.executable, *command], cwd=folder, env=env).returncode


def library(compiler: str, name: str) -> str:
    return subprocess.run(
        [compiler, f"-print-file-name={name}"], stdout=subprocess.PIPE, text=True, check=True
    ).stdout.strip()


# ---- memory and undefined behaviour ----------------------------------------------------------------


def address(arguments: list[str]) -> int:
    flags = "-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-wrapv"
    folder = build("address", CC="gcc", CFLAGS=f"{flags} {FRAMES}", LDFLAGS="-fsanitize=address,undefined")
    unfit = [f"--ignore=tests/test_{name}.py" for name in UNFIT]
    status = run(
        folder,
        ["-m", "pytest", "-q", "-p", "no:cacheprovider", *unfit, *arguments],
        LD_PRELOAD=f"{library('gcc', 'libasan.so')} {library('gcc', 'libubsan.so')}",
        ASAN_OPTIONS=f"detect_leaks=0:log_path={folder / 'report'}",
        UBSAN_OPTIONS=f"print_stacktrace=1:log_path={folder / 'report'}",
    )
    for report in sorted(folder.glob("report.*")):  # pytest takes what is printed
        print(report.read_text())
        report.unlink()
    return status


# ---- threads -----------------------------------------------------------------------------------------


def openmp_flags() -> list[str]:
    return [f"-I{include}" for include in LLVM.glob("lib/clang/*/include")] + [
        f"-L{LLVM / 'lib'}",
        "-fopenmp",
    ]


def archer() -> dict[str, str]:
    return {
        "OMP_TOOL_LIBRARIES": str(LLVM / "lib" / "libarcher.so"),
        "LD_LIBRARY_PATH": str(LLVM / "lib"),
        "TSAN_OPTIONS": "ignore_noninstrumented_modules=1:halt_on_error=0:exitcode=66",
    }


def thread_harness() -> int:
    """tests/threads_check.c: the block cache, flags and counters, and the kernels, from many threads."""
    clang = str(LLVM / "bin" / "clang")
    with tempfile.TemporaryDirectory() as folder:
        program = f"{folder}/threads_check"
        sources = ["tests/threads_check.c", *(f"src/simd/{name}.c" for name in ("memory", "threads"))]
        flags = ["-fsanitize=thread", "-O1", *FRAMES.split(), "-Isrc", *openmp_flags()]
        subprocess.run([clang, *flags, *sources, "-lm", "-o", program], cwd=ROOT, check=True)
        return subprocess.run([program], env={**os.environ, **archer()}).returncode


def thread(arguments: list[str]) -> int:
    if thread_harness():
        return 1
    clang = str(LLVM / "bin" / "clang")
    folder = build(
        "thread",
        CC=clang,
        LDSHARED=f"{clang} -shared",
        CFLAGS=f"-fsanitize=thread -shared-libsan {FRAMES}",
        LDFLAGS=f"-fsanitize=thread -shared-libsan -L{LLVM / 'lib'}",
    )
    # gcc's runtime under the name of clang's: that one cannot be loaded into a process linked without it.
    runtime = folder / "tsan" / "libclang_rt.tsan-x86_64.so"
    runtime.parent.mkdir(exist_ok=True)
    runtime.unlink(missing_ok=True)
    runtime.symlink_to(Path(library("gcc", "libtsan.so")).resolve())
    environment = archer()
    environment["LD_LIBRARY_PATH"] = f"{runtime.parent}:{environment['LD_LIBRARY_PATH']}"
    return run(folder, arguments or ["tests/many_threads.py"], LD_PRELOAD=str(runtime), **environment)


# ---- valgrind ----------------------------------------------------------------------------------------


def own_errors(report: Path) -> list[str]:
    """What valgrind found in stacks that pass through ckmeans."""
    found = []
    for error in ElementTree.parse(report).getroot().iter("error"):
        frames = list(error.iter("frame"))
        if not any("/ckmeans/" in (frame.findtext("obj") or "") for frame in frames):
            continue
        what = error.findtext("what") or error.findtext("xwhat/text") or ""
        places = [
            f"{frame.findtext('fn')} {frame.findtext('file')}:{frame.findtext('line')}" for frame in frames
        ]
        found.append("\n    ".join([what, *places[:8]]))
    return found


def valgrind(arguments: list[str]) -> int:
    folder = build("valgrind", CC="gcc", CFLAGS=FRAMES)
    report = folder / "valgrind.xml"
    code = "import fault_cases\nfor name, call in fault_cases.CALLS.items(): call(); print(name, flush=True)"
    command = ["valgrind", "--xml=yes", f"--xml-file={report}", "--leak-check=full", "--num-callers=30"]
    done = subprocess.run(
        [*command, sys.executable, *(arguments or ["-c", code])],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": f"{folder}:{folder / 'tests'}",
            "PYTHONMALLOC": "malloc",
            "CKMEANS_CACHE_BYTES": "0",
            "OPENBLAS_NUM_THREADS": "1",
        },
    )
    errors = own_errors(report)
    print("\n".join(errors))
    print(f"valgrind: {len(errors)} errors in ckmeans")
    return done.returncode or bool(errors)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sanitizer", choices=["address", "thread", "valgrind"])
    options, arguments = parser.parse_known_args()
    return {"address": address, "thread": thread, "valgrind": valgrind}[options.sanitizer](arguments)


if __name__ == "__main__":
    sys.exit(main())
