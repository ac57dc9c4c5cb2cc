"""Instruction sets: the forced one runs, and all of them agree.

The rest of the suite tests the set in use, whichever that is; CKMEANS_SIMD chooses it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import cases
import numpy as np
import pytest

import ckmeans

CONFIG = ckmeans.show_config()
SETS = CONFIG["simd_supported"]
FUSED = [name for name in SETS if name != "baseline"]


def test_instruction_sets_of_this_build():
    assert SETS[-1] == "baseline"
    assert set(SETS) <= set(CONFIG["simd_built"])
    assert set(CONFIG["simd_built"]) <= {"avx512", "avx2", "neon", "baseline"}
    assert CONFIG["simd"] == (os.environ.get("CKMEANS_SIMD") or SETS[0])


# Instruction set -> the instructions that may multiply 8-bit codes for it, the best of the processor.
CODES = {
    "avx512": {"avx512vnni", "avxvnni", "avx2"},
    "avx2": {"avxvnni", "avx2"},
    "neon": {"dotprod", "neon"},
    "baseline": {"baseline"},
}


@pytest.mark.parametrize("name", SETS)
def test_instructions_of_codes(name):
    code = "import ckmeans; print(ckmeans.show_config()['simd_codes'])"
    assert cases.run_python(code, CKMEANS_SIMD=name).strip() in CODES[name]


@pytest.mark.parametrize("name", SETS)
def test_forced_set_runs(name):
    """The table of kernels in use has the name of the set."""
    code = """
        import ckmeans
        from ckmeans import _runtime

        assert ckmeans.kmeans([[1.0], [2.0]], 2).distortion == 0
        print(ckmeans.show_config()["simd"], _runtime.chosen_instruction_set())
    """
    assert cases.run_python(code, CKMEANS_SIMD=name).split() == [name, name]


def test_empty_name_selects_the_best():
    code = "import ckmeans; print(ckmeans.show_config()['simd'])"
    assert cases.run_python(code, CKMEANS_SIMD="").split() == SETS[:1]


@pytest.mark.parametrize("name", ["sse9", "AVX2", "baseline,avx2", " avx2"])
def test_unknown_name_fails_the_import(name):
    process = subprocess.run(
        [sys.executable, "-P", "-c", "import ckmeans"],
        env={**os.environ, "CKMEANS_SIMD": name},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 1
    last = process.stderr.strip().splitlines()[-1]
    assert last.startswith(f"ImportError: CKMEANS_SIMD={name!r} is not available")
    assert last.endswith(", ".join(SETS))


# One line per case: its name and digests of the results.
BATTERY = """
    import hashlib, json
    import numpy as np
    import ckmeans
    from ckmeans._validate import algorithms

    def digest(*values):
        return hashlib.sha256(b"".join(np.ascontiguousarray(v).tobytes() for v in values)).hexdigest()

    found = {}
    for dtype in ("float32", "float64"):
        for n in (1, 2, 3, 4, 7, 8, 9, 16, 31, 64, 300):
            for m in (1, 15, 33, 130, 1100):
                rng = np.random.default_rng([m, n])
                X = (rng.normal(size=(m, n)) * 3 + 1000).astype(dtype)
                weights = rng.random(m)
                for K in (1, 2, 5, 6, 7, 11, 12, 13, 40):
                    C = (rng.normal(size=(K, n)) * 3 + 1000).astype(dtype)
                    labels, squared = ckmeans.assign(X, C, return_squared_distance=True)
                    found[f"step {dtype} {m}x{n} {K}"] = [
                        digest(labels), digest(squared),
                        digest(*ckmeans.update(X, labels, K, sample_weight=weights)),
                        ckmeans.distortion(X, C), ckmeans.distortion(X, C, sample_weight=weights),
                    ]
                for algorithm in algorithms("array"):
                    if algorithm == "cells" and n > 8:
                        continue
                    for init in ("random", "k-means++"):
                        r = ckmeans.kmeans(
                            X, min(m, 9), init=init, seed=m, n_init=3, sample_weight=weights, max_iter=20,
                            algorithm=algorithm,
                        )
                        found[f"fit {dtype} {m}x{n} {init} {algorithm}"] = [
                            digest(r.labels), digest(r.centroids), digest(r.history), digest(r.distortions),
                        ]
    print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def batteries():
    """Return the results of each instruction set for the same problems."""
    return {name: json.loads(cases.run_python(BATTERY, CKMEANS_SIMD=name, timeout=120)) for name in SETS}


@pytest.mark.skipif(len(FUSED) < 2, reason="this machine has one instruction set with fused operations")
def test_fused_sets_are_bit_identical(batteries):
    first, *others = FUSED
    for other in others:
        for case, expected in batteries[first].items():
            assert batteries[other][case] == expected, (case, first, other)


@pytest.mark.skipif(not FUSED, reason="this machine has the baseline only")
def test_baseline_differs_only_by_rounding(batteries):
    """Without FMA operations round differently: not bit-identical, but with the same distortion."""
    fused, baseline = batteries[FUSED[0]], batteries["baseline"]
    steps = [case for case in fused if case.startswith("step")]
    for case in steps:
        np.testing.assert_allclose(baseline[case][3:], fused[case][3:], rtol=1e-6)
    assert np.mean([baseline[case][0] == fused[case][0] for case in steps]) > 0.9
    assert any(baseline[case][1] != fused[case][1] for case in steps)
