"""Builds the C kernels once per instruction set, then the Cython modules."""
import os
import platform
import sys
import sysconfig
import tempfile
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
ABI3 = "0x030B0000"
ROOT = Path(__file__).parent
HEADERS = [str(p.relative_to(ROOT)) for p in sorted((ROOT / "src" / "simd").glob("*.h"))]

# Instruction set -> its flags for gcc and clang, and for MSVC (clang-cl takes MSVC's).
X86_64 = {
    "avx512": (["-mavx512f", "-mavx2", "-mfma"], ["/arch:AVX512"]),
    "avx2": (["-mavx2", "-mfma"], ["/arch:AVX2"]),
    "baseline": ([], []),
}
ARM64 = {"neon": ([], []), "baseline": ([], [])}

# No contraction: only the multiply-adds that are written fused are fused, on every machine.
OPTIMISE = (["-O3", "-ffp-contract=off", "-fno-math-errno", "-fvisibility=hidden"], ["/O2", "/fp:precise"])
OPENMP = {
    "unix": (["-fopenmp"], ["-fopenmp"]),
    "darwin": (["-Xpreprocessor", "-fopenmp"], ["-lomp"]),
    "msvc": (["/openmp"], []),
}
# Module -> the C files linked into it, beside the kernels in _runtime.
C_SOURCES = {"_runtime": ["dispatch", "threads"], "_points": ["source"]}
MODULES = ["_runtime", "_points", "_sweep", "_dense", "_screen", "_seed", "_lloyd"]


def instruction_sets() -> dict:
    machine = os.environ.get("VSCMD_ARG_TGT_ARCH", platform.machine()).lower()
    if machine in ("x86_64", "amd64", "x64"):
        return X86_64
    return ARM64 if machine in ("aarch64", "arm64") else {"baseline": ([], [])}


class BuildExt(build_ext):
    """Compiles each set's kernels with its own flags into its own folder, as extra objects."""

    def build_extensions(self):
        self.msvc = self.compiler.compiler_type == "msvc"
        optimise = OPTIMISE[self.msvc]
        compile_openmp, link_openmp = self.openmp_flags()
        sets = {name: flags[self.msvc] for name, flags in instruction_sets().items()}
        sets = {name: flags for name, flags in sets.items() if self.compiles("int x;", flags)}
        macros = [(f"CKMEANS_BUILT_{name.upper()}", None) for name in sets]
        c_flags = optimise + compile_openmp
        kernels = []
        for name, flags in sets.items():
            kernels += self.c_objects(f"kernels_{name}", c_flags + flags, [])
        for extension in self.extensions:
            module = extension.name.removeprefix("ckmeans.")
            extension.extra_compile_args = c_flags
            extension.extra_link_args = link_openmp + ([] if self.msvc else self.strip_flags())
            extension.extra_objects = kernels if module == "_runtime" else []
            for name in C_SOURCES.get(module, []):
                extension.extra_objects = extension.extra_objects + self.c_objects(name, c_flags, macros)
        super().build_extensions()

    def c_objects(self, name: str, flags: list, macros: list) -> list:
        return self.compiler.compile(
            [f"src/simd/{name}.c"],
            output_dir=os.path.join(self.build_temp, name),
            macros=macros,
            include_dirs=["src"],
            depends=HEADERS,
            extra_preargs=flags,
            debug=self.debug,
        )

    def openmp_flags(self) -> tuple:
        """Flags with which a parallel program compiles and links; none where none does."""
        if os.environ.get("CKMEANS_OPENMP", "1") == "0":
            return [], []
        compile_flags, link_flags = OPENMP["msvc" if self.msvc else "darwin" if sys.platform == "darwin" else "unix"]
        program = "#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }"
        if self.compiles(program, compile_flags, link_flags):
            return compile_flags, link_flags
        print("ckmeans: this compiler has no OpenMP; building for one thread", file=sys.stderr)
        return [], []

    def compiles(self, program: str, flags: list, link_flags: list | None = None) -> bool:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "probe.c")
            source.write_text(program)
            try:
                objects = self.compiler.compile([str(source)], output_dir=folder, extra_preargs=flags)
                if link_flags is not None:
                    self.compiler.link_executable(objects, "probe", output_dir=folder, extra_postargs=link_flags)
            except Exception:  # each compiler class has its own
                return False
        return True

    @staticmethod
    def strip_flags() -> list:
        return ["-Wl,-s"] if sys.platform == "linux" and not os.environ.get("CKMEANS_DEBUG") else []


def extensions() -> list:
    macros = [] if FREE_THREADED else [("Py_LIMITED_API", ABI3)]
    return [
        Extension(
            f"ckmeans.{name}",
            [f"src/{name}.pyx"],
            include_dirs=["src"],
            define_macros=macros,
            depends=HEADERS,
            py_limited_api=not FREE_THREADED,
        )
        for name in MODULES
    ]


setup(
    ext_modules=cythonize(
        extensions(),
        include_path=["."],
        compiler_directives={
            "language_level": 3,
            "boundscheck": False,
            "wraparound": False,
            "cdivision": True,
            "initializedcheck": False,
            "freethreading_compatible": True,
        },
    ),
    cmdclass={"build_ext": BuildExt},
    options={} if FREE_THREADED else {"bdist_wheel": {"py_limited_api": "cp311"}},
)
