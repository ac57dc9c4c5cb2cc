"""The build is what it should be: a set, OpenMP or the right compiler missing would otherwise only be slow.

CKMEANS_TEST_BUILD says what it should be: "openmp" or "serial"; the workflows and the wheel builder set it. A
build from the sdist with an old compiler may lack sets: there it is not set.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from pathlib import Path

import pytest

import ckmeans

CONFIG = ckmeans.show_config()
ARCHITECTURES = {"AMD64": "x86_64", "arm64": "aarch64", "ARM64": "aarch64"}
MACHINE = ARCHITECTURES.get(platform.machine(), platform.machine())
# Instruction sets, and instructions for codes, best first.
BUILT = {
    "x86_64": (["avx512", "avx2", "baseline"], ["avx512vnni", "avxvnni", "avx2", "baseline"]),
    "aarch64": (["neon", "baseline"], ["dotprod", "neon", "baseline"]),
}
COMPILERS = {"linux": "gcc", "darwin": "clang", "win32": "clang"}
# What the kernel of Linux says of a processor -> an instruction set.
PROMISES = {
    "avx512": {"avx512f", "avx2", "fma"},
    "avx2": {"avx2", "fma"},
    "neon": {"asimd"},
    "baseline": set(),
}


@pytest.mark.skipif("CKMEANS_TEST_BUILD" not in os.environ, reason="needs CKMEANS_TEST_BUILD")
def test_build_is_exactly_as_expected():
    sets, codes = BUILT[MACHINE]
    assert CONFIG["simd_built"] == sets
    assert CONFIG["simd_codes_built"] == codes
    assert CONFIG["compiler"].split()[0] == COMPILERS[sys.platform]
    assert bool(CONFIG["openmp"]) == {"openmp": True, "serial": False}[os.environ["CKMEANS_TEST_BUILD"]]


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="reads /proc/cpuinfo")
def test_every_set_of_the_processor_runs():
    """A dispatch that overlooks a set would leave its kernels untested."""
    flags = re.search(r"^(?:flags|Features)\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    has = set(flags[1].split()) if flags else set()
    assert CONFIG["simd_supported"] == [name for name in CONFIG["simd_built"] if has >= PROMISES[name]]


def test_compiler_is_named():
    assert re.fullmatch(r"(gcc|clang|msvc) [\d.]+|unknown", CONFIG["compiler"])
