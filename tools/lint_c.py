"""Lints the C: warnings of the compiler as errors, clang-format, clang-tidy.

    python tools/lint_c.py          # all of it
    python tools/lint_c.py --fix    # format in place

pip install clang-format clang-tidy. The rules stand in .clang-format and .clang-tidy.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import platform
import subprocess
import sys

from check_kernels import CODE_SETS, FLAGS, ROOT, SETS

FOLDERS = (ROOT / "src" / "simd", ROOT / "tests")
FILES = sorted(str(path.relative_to(ROOT)) for folder in FOLDERS for path in folder.glob("*.[ch]"))


def sources() -> dict[str, list[str]]:
    """Each C file of this machine's builds -> its flags."""
    arch = platform.machine()
    found = {f"src/simd/kernels_{name}.c": flags for name, flags in SETS[arch].items()}
    found |= {f"src/simd/codes_{name}.c": flags for name, flags in CODE_SETS[arch].items()}
    built = [f"-DCKMEANS_BUILT_{name.upper()}" for name in SETS[arch]]
    found["src/simd/dispatch.c"] = built + [
        f"-DCKMEANS_BUILT_CODES_{name.upper()}" for name in CODE_SETS[arch]
    ]
    return found | {"src/simd/source.c": [], "src/simd/memory.c": [], "src/simd/threads.c": ["-fopenmp"]}


def run(command: list[str]) -> tuple[int, str]:
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode, done.stdout


def lint(command_of) -> int:
    """Run a command for each source, side by side. Returns how many failed."""
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for status, output in pool.map(run, [command_of(name, flags) for name, flags in sources().items()]):
            failed += status != 0
            print(output if status else "", end="")
    return failed


def compiler(name: str, flags: list[str]) -> list[str]:
    cc = os.environ.get("CC", "gcc").split()
    return [*cc, *FLAGS, "-O1", *flags, "-c", name, "-o", os.devnull]


def tidy(name: str, flags: list[str]) -> list[str]:
    return ["clang-tidy", "--quiet", name, "--", "-Isrc", *[flag for flag in flags if flag != "-fopenmp"]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fix", action="store_true", help="format in place")
    options = parser.parse_args()
    if options.fix:
        return run(["clang-format", "-i", *FILES])[0]
    status, output = run(["clang-format", "--dry-run", "--Werror", *FILES])
    print(output if status else "", end="")
    failed = (status != 0) + lint(compiler) + lint(tidy)
    print("C lint: " + ("FAILED" if failed else "ok"))
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
