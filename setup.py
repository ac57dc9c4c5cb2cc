"""Builds the C kernels once per instruction set, then the Cython modules."""

import os
import platform
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

if sys.platform == "darwin":
    # A universal Python compiles for both processors at once, but each has kernels of its own.
    os.environ.setdefault("ARCHFLAGS", f"-arch {platform.machine()}")

FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
ABI3 = "0x030B0000"
ROOT = Path(__file__).parent
C_FILES = [str(p.relative_to(ROOT)) for p in sorted((ROOT / "src" / "simd").glob("*.[ch]"))]
HEADERS = [name for name in C_FILES if name.endswith(".h")]

# Instruction set -> its flags for gcc and clang (clang-cl too), and for MSVC.
X86_64 = {
    "avx512": (["-mavx512f", "-mavx2", "-mfma"], ["/arch:AVX512"]),
    "avx2": (["-mavx2", "-mfma"], ["/arch:AVX2"]),
    "baseline": ([], []),
}
ARM64 = {"neon": ([], []), "baseline": ([], [])}
# The same of 8-bit codes, for which some processors have products of their own.
X86_64_CODES = {
    "avx512vnni": (["-mavx512f", "-mavx512bw", "-mavx512vnni", "-mavx2", "-mfma"], ["/arch:AVX512"]),
    "avxvnni": (["-mavxvnni", "-mavx2", "-mfma"], ["/arch:AVX2"]),
    "avx2": (["-mavx2", "-mfma"], ["/arch:AVX2"]),
    "baseline": ([], []),
}
ARM64_CODES = {"dotprod": (["-march=armv8.2-a+dotprod"], []), "neon": ([], []), "baseline": ([], [])}

# No contraction: only the multiply-adds that are written fused are fused, on every machine.
OPTIMISE = (["-O3", "-ffp-contract=off", "-fno-math-errno", "-fvisibility=hidden"], ["/O2", "/fp:precise"])
SMALL = (["-Os"], ["/O1"])  # Cython's own code: nothing waits for it
CLANG_CL = ["/O2", "/clang:-O3", "/clang:-ffp-contract=off", "/clang:-fno-math-errno"]
OPENMP = {
    "unix": (["-fopenmp"], ["-fopenmp"]),
    "darwin": (["-Xpreprocessor", "-fopenmp"], ["-lomp"]),
    "msvc": (["/openmp"], []),
}
# Module -> the C files linked into it, beside the kernels in _runtime.
C_SOURCES = {"_runtime": ["dispatch", "memory", "threads"], "_points": ["source"]}
MODULES = [
    "_runtime",
    "_points",
    "_codes",
    "_engine",
    "_dense",
    "_sparse",
    "_cells",
    "_screen",
    "_auto",
    "_lloyd",
    "_block",
    "_optimal",
]
# Cython's own code for memoryviews, which each module would hold otherwise (60 kB).
SHARED = "_cyutility"


def target() -> str:
    """The processor that is compiled for, as clang calls it; else its own name."""
    wanted = os.environ.get("VSCMD_ARG_TGT_ARCH") or os.environ.get("ARCHFLAGS", "").removeprefix("-arch ")
    machine = (wanted or platform.machine()).lower()
    names = {"amd64": "x86_64", "x64": "x86_64", "arm64": "aarch64"}
    return names.get(machine, machine)


def instruction_sets() -> dict:
    return {"x86_64": X86_64, "aarch64": ARM64}.get(target(), {"baseline": ([], [])})


def code_sets() -> dict:
    return {"x86_64": X86_64_CODES, "aarch64": ARM64_CODES}.get(target(), {"baseline": ([], [])})


class BuildExt(build_ext):
    """Compiles each set's kernels with its own flags into its own folder, as extra objects."""

    def finalize_options(self):
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()

    def build_extensions(self):
        self.msvc = self.compiler.compiler_type == "msvc"
        optimise = OPTIMISE[self.msvc]
        if "-fsanitize" in os.environ.get("CFLAGS", ""):
            optimise = ["-O1", *optimise[1:]]  # gcc takes ten minutes for instrumented kernels at -O3
        compile_openmp, link_openmp = self.openmp_flags()
        sets = {name: flags[self.msvc] for name, flags in instruction_sets().items()}
        sets = {name: flags for name, flags in sets.items() if self.compiles("int x;", flags)}
        codes = {name: flags[self.msvc] for name, flags in code_sets().items()}
        codes = {name: flags for name, flags in codes.items() if self.compiles("int x;", flags)}
        macros = [(f"CKMEANS_BUILT_{name.upper()}", None) for name in sets]
        macros += [(f"CKMEANS_BUILT_CODES_{name.upper()}", None) for name in codes]
        c_flags = optimise + compile_openmp
        kernels = []
        for name, flags in sets.items():
            kernels += self.kernel_objects(f"kernels_{name}", c_flags, flags, instruction_sets()[name][0])
        for name, flags in codes.items():
            kernels += self.kernel_objects(f"codes_{name}", c_flags, flags, code_sets()[name][0])
        for extension in self.extensions:
            module = extension.name.removeprefix("ckmeans.")
            extension.extra_compile_args = c_flags + (SMALL[self.msvc] if module == SHARED else [])
            extension.extra_link_args = link_openmp + ([] if self.msvc else self.strip_flags())
            extension.extra_objects = kernels if module == "_runtime" else []
            for name in C_SOURCES.get(module, []):
                extension.extra_objects = extension.extra_objects + self.c_objects(name, c_flags, macros)
        super().build_extensions()

    def kernel_objects(self, name: str, c_flags: list, flags: list, clang_flags: list) -> list:
        """With clang-cl where there is one: MSVC keeps no array of vectors in registers."""
        clang = self.msvc and shutil.which(os.environ.get("CKMEANS_CLANG_CL", "clang-cl"))
        if not clang:
            return self.c_objects(name, c_flags + flags, [])
        if not self.compiler.initialized:
            self.compiler.initialize()
        clang_cl = [*CLANG_CL, f"--target={target()}-pc-windows-msvc"]  # its own may be another machine's
        msvc, self.compiler.cc = self.compiler.cc, clang
        try:
            return self.c_objects(name, [*clang_cl, *clang_flags], [])
        finally:
            self.compiler.cc = msvc

    def c_objects(self, name: str, flags: list, macros: list) -> list:
        return self.compiler.compile(
            [f"src/simd/{name}.c"],
            output_dir=os.path.join(self.build_temp, name),
            macros=macros,
            include_dirs=["src"],
            depends=HEADERS,
            extra_preargs=[*flags],  # MSVC's class appends to it
            debug=self.debug,
        )

    def openmp_flags(self) -> tuple:
        """Flags with which a parallel program compiles and links; none where none does.

        The environment variable CKMEANS_OPENMP: 0 wants none, 1 wants them or no build at all.
        """
        wanted = os.environ.get("CKMEANS_OPENMP", "")
        if wanted == "0":
            return [], []
        compile_flags, link_flags = OPENMP.get("msvc" if self.msvc else sys.platform, OPENMP["unix"])
        program = "#include <omp.h>\nint threads(void) { return omp_get_max_threads(); }"
        if self.compiles(program, compile_flags, link_flags):
            return compile_flags, link_flags
        if wanted == "1":
            raise SystemExit("ckmeans: this compiler has no OpenMP, and CKMEANS_OPENMP=1 wants it")
        print("ckmeans: this compiler has no OpenMP; building for one thread", file=sys.stderr)
        return [], []

    def compiles(self, program: str, flags: list, link_flags: list | None = None) -> bool:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "probe.c")
            source.write_text(program)
            try:
                objects = self.compiler.compile([str(source)], output_dir=folder, extra_preargs=flags)
                if link_flags is not None:
                    # As a module is linked, with the LDFLAGS of the environment.
                    self.compiler.link_shared_object(objects, f"{folder}/probe", extra_postargs=link_flags)
            except Exception:  # each compiler class has its own
                return False
        return True

    @staticmethod
    def strip_flags() -> list:
        return ["-Wl,-s"] if sys.platform == "linux" and not os.environ.get("CKMEANS_DEBUG") else []


def extensions() -> list:
    macros = [] if FREE_THREADED else [("Py_LIMITED_API", ABI3)]
    macros.append(("CYTHON_COMPRESS_STRINGS", "0"))  # else a module may need zlib, which a Python may lack
    return [
        Extension(
            f"ckmeans.{name}",
            [f"src/ckmeans/{name}.c" if name == SHARED else f"src/ckmeans/{name}.pyx"],
            include_dirs=["src"],
            define_macros=macros,
            depends=C_FILES,  # else an edit of one is compiled, but not linked in
            py_limited_api=not FREE_THREADED,
        )
        for name in [SHARED, *MODULES]
    ]


setup(
    ext_modules=cythonize(
        extensions(),
        include_path=["src"],
        shared_utility_qualified_name=f"ckmeans.{SHARED}",
        compiler_directives={
            "language_level": 3,
            "boundscheck": False,
            "wraparound": False,
            "cdivision": True,
            "initializedcheck": False,
            "freethreading_compatible": True,
            "auto_pickle": False,
            "autotestdict": False,
        },
    ),
    cmdclass={"build_ext": BuildExt},
    options={} if FREE_THREADED else {"bdist_wheel": {"py_limited_api": "cp311"}},
)
