"""Rules of the repository that no reader should have to remember."""

from __future__ import annotations

import ast
import contextlib
import importlib.metadata
import inspect
import re
import types
from pathlib import Path

import cases
import pytest

import ckmeans
from ckmeans._engines import ENGINES

ROOT = Path(__file__).parents[1]
PYTHON = sorted(ROOT.glob("ckmeans/**/*.py"))
CYTHON = sorted(path for path in ROOT.glob("src/ckmeans/*.p*") if path.suffix in (".pyx", ".pxd", ".pxi"))
SOURCES = [*PYTHON, *CYTHON]
VECTORS = sorted(ROOT.glob("src/simd/vec_*.h"))
SHARED_WORDS = [ROOT / "src/simd/scalar_body.h", ROOT / "src/simd/wide_of_pairs.h"]  # of several vocabularies
BODIES = sorted({*ROOT.glob("src/simd/*_body.h")} - {*SHARED_WORDS, ROOT / "src/simd/source_body.h"})
COMPRESSION = ("compress_store", "compress_store_ids", "equal_ids")  # only of sets with VEC_HAS_COMPRESS

pytestmark = pytest.mark.skipif(not (ROOT / "src").exists(), reason="needs the source tree")


def name_of(path):
    return str(path.relative_to(ROOT))


# ---- the tree ----------------------------------------------------------------------------------------


def tree():
    """{file: its place in CONTRIBUTING's tree, from the bottom}."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    files, folder = [], ""
    for line in text[text.index("## The tree") :].split("```")[1].strip().splitlines():
        word = line.split()[0]
        folder = word if not line.startswith(" ") else folder
        if word != folder:
            files.append(folder + word)
    return {file: place for place, file in enumerate(reversed(files))}


TREE = tree() if (ROOT / "CONTRIBUTING.md").exists() else {}
UNLISTED = {"__init__.py", "__main__.py", "_version.py"}


def place_of(path):
    """Its own; that of a declaration file is its module's."""
    name = name_of(path)
    return TREE.get(name, TREE.get(name.replace(".pxd", ".pyx")))


def module_places():
    """{module, as it is imported: its place}; of a package the highest of its files'."""
    places = {}
    for file, place in TREE.items():
        if file.startswith("src/simd"):
            continue
        module = re.sub(r"^(src/)?ckmeans/|\.p\w+$", "", file).replace("/", ".")
        places[module] = max(place, places.get(module, 0))
        package = module.rpartition(".")[0]
        if package:
            places[package] = max(place, places.get(package, 0))
    return places


def imported(path):
    """Modules of the package that a file imports or cimports, wherever in it."""
    text, places = path.read_text(), module_places()
    found = set(re.findall(r"^\s*from ckmeans\.([\w.]+) c?import", text, re.M))
    lists = re.findall(r"^\s*from ckmeans((?:\.\w+)*) c?import (\([^)]*\)|.+)$", text, re.M)
    for package, names in lists:
        modules = {f"{package}.{name}"[1:] for name in re.findall(r"\w+", names)} & set(places)
        found |= modules
        if modules:  # of a package no more than these
            found.discard(package[1:])
    return found & set(places)


def test_the_tree_is_the_tree():
    listed = {file for file in TREE if not file.startswith("src/simd")}
    there = {name_of(path) for path in SOURCES if path.name not in UNLISTED}
    compiled = {name[:-4] for name in listed if name.endswith(".pyx")}
    assert listed == {name for name in there if not (name.endswith(".pxd") and name[:-4] in compiled)}
    for pattern in (file for file in TREE if file.startswith("src/simd")):
        assert list(ROOT.glob(pattern)), pattern


@pytest.mark.parametrize("path", [p for p in SOURCES if p.name not in UNLISTED], ids=name_of)
def test_imports_come_from_lines_below(path):
    places, own = module_places(), place_of(path)
    for module in imported(path):
        same = f"ckmeans/{module.replace('.', '/')}." in name_of(path)
        assert same or places[module] < own, f"{name_of(path)} imports {module}"


def defined(text):
    """C functions that a Cython file defines."""
    return set(re.findall(r"^cdef (?:inline )?(?:[\w *]+?[ *])(\w+)\(", text, re.M))


@pytest.mark.parametrize("module", [p for p in CYTHON if p.suffix == ".pyx"], ids=name_of)
def test_module_parts_call_lines_below(module):
    names = re.findall(r'^include "(\w+\.pxi)"', module.read_text(), re.M)
    parts = [module, *(module.with_name(name) for name in names)]
    for path in parts:
        words = set(re.findall(r"\w+", re.sub(r'""".*?"""|#[^\n]*', "", path.read_text(), flags=re.S)))
        for other in parts:
            if place_of(other) > place_of(path):
                used = words & defined(other.read_text()) - defined(path.read_text())
                assert not used, f"{path.name} uses {used} of {other.name}"


def test_engines_do_not_know_each_other():
    engines = {f"_{name}" for name, entry in ENGINES.items() if not entry.chooses}
    for path in CYTHON:
        if path.stem in engines:
            assert not imported(path) & engines - {path.stem}, path.name


def test_the_loop_names_no_engine():
    for path in (ROOT / "src/ckmeans").glob("_lloyd.pyx"):
        text = path.read_text()
        assert len(text.splitlines()) < 400
        assert not re.search(rf"\b({'|'.join(ENGINES)})\b", text)


def test_compiled_code_does_not_validate():
    """Kernels and loops never check and never raise on what users pass in."""
    for path in CYTHON:
        assert not re.search(r"raise (ValueError|TypeError)", path.read_text()), path.name


# ---- names and versions ------------------------------------------------------------------------------


def test_one_version_everywhere():
    version = ckmeans.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+|rc\d+)?", version)
    assert ckmeans.show_config()["version"] == version
    assert re.search(r"^## \[?([^\]\s]+)", (ROOT / "CHANGELOG.md").read_text(), re.M)[1] == version
    # A source tree that is not installed has no metadata.
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        assert importlib.metadata.version("ckmeans-simd") == version


def test_public_names_are_in_all():
    assert sorted(ckmeans.__all__) == ckmeans.__all__
    assert set(ckmeans.__all__) <= set(dir(ckmeans))
    for name, value in vars(ckmeans).items():
        if not name.startswith("_") and not isinstance(value, types.ModuleType):
            assert name in ckmeans.__all__ or name in ("annotations", "TYPE_CHECKING", "Any"), name


def test_unknown_name_raises_attribute_error():
    with pytest.raises(AttributeError, match="module 'ckmeans' has no attribute 'kmean'"):
        ckmeans.kmean  # noqa: B018


@pytest.mark.parametrize("name", [name for name in ckmeans.__all__ if not name.startswith("_")])
def test_public_names_are_documented(name):
    value = getattr(ckmeans, name)
    text = inspect.getdoc(value)
    assert isinstance(value, types.ModuleType) or len(text.splitlines()) > 3
    if not inspect.isfunction(value):
        return
    signature = inspect.signature(value)
    assert "\nReturns\n-------\n" in text
    assert signature.return_annotation is not inspect.Signature.empty
    parameters = list(signature.parameters.values())
    if not parameters:
        return
    section = text.split("\nParameters\n----------\n")[1].split("\nReturns\n")[0]
    documented = re.findall(r"^(?:\*\*)?(\w+(?:, \w+)*)(?: :|$)", section, re.M)
    assert [word for line in documented for word in line.split(", ")] == [p.name for p in parameters]
    assert all(p.annotation is not inspect.Parameter.empty for p in parameters)


@pytest.mark.skipif(not (ROOT / "docs").exists(), reason="needs the documentation")
def test_public_names_are_in_the_reference():
    listed = re.findall(r"^\.\. auto\w+:: ([\w.]+)", (ROOT / "docs/api.rst").read_text(), re.M)
    for name in ckmeans.__all__:
        value = getattr(ckmeans, name)
        if isinstance(value, types.ModuleType):
            assert {f"{value.__name__}.{part}" for part in value.__all__} <= set(listed)
        elif not name.startswith("_"):
            assert name in listed


def test_reference_names_exist_at_once():
    """In a fresh process, each by itself: no other name has to be touched before."""
    listed = re.findall(r"^\.\. auto\w+:: ([\w.]+)", (ROOT / "docs/api.rst").read_text(), re.M)
    names = {name.removeprefix("ckmeans.") for name in listed}
    public = {name.split(".")[0] for name in names}
    cases.run_python(f"""
        import operator, sys
        import ckmeans

        assert set({sorted(public)}) <= set(dir(ckmeans))
        lazy = ("ckmeans.image", "ckmeans.plot", "ckmeans._elbow")
        for name in {sorted(names)}:
            kept = set(vars(ckmeans))
            operator.attrgetter(name)(ckmeans)
            for new in set(vars(ckmeans)) - kept:
                delattr(ckmeans, new)
            for module in [m for m in sys.modules if m.startswith(lazy)]:
                del sys.modules[module]
    """)


# ---- what an import costs ----------------------------------------------------------------------------


def test_the_import_brings_no_extra():
    loaded = cases.run_python("import sys, ckmeans; print(*sorted(sys.modules))").split()
    assert "numpy" in loaded
    extras = {
        "PIL",
        "sklearn",
        "matplotlib",
        "tqdm",
        "scipy",
        "pandas",
        "threadpoolctl",
        "Cython",
        "setuptools",
    }
    assert not extras & {module.split(".")[0] for module in loaded}
    assert not {"ckmeans.image", "ckmeans.cli", "numpy.random"} & set(loaded)


# ---- how the code looks ------------------------------------------------------------------------------

MAX_LINES = 60
MAX_PARAMETERS = 8
MAX_FIELDS = 20
# What users call has options of its own; a class is called by its scikit-learn parameters.
PUBLIC = {
    "kmeans",
    "kmeans_many",
    "init_centroids",
    "elbow",
    "compare",
    "quantize",
    "quantize_sizes",
    "__init__",
}


@pytest.mark.parametrize("path", [*SOURCES, *sorted(ROOT.glob("benchmarks/**/*.py"))], ids=name_of)
def test_functions_fit_on_a_screen(path):
    for name, lines, _ in functions(path):
        assert lines <= MAX_LINES, f"{path.name}: {name} has {lines} lines"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_functions_have_few_parameters(path):
    for name, _, parameters in functions(path):
        public = name in PUBLIC and path.suffix == ".py"
        assert public or parameters <= MAX_PARAMETERS, f"{path.name}: {name} has {parameters}"


def functions(path):
    """(Name, lines without the docstring, parameters) of each function."""
    text = path.read_text()
    if path.suffix == ".py":
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                first = node.body[1 if ast.get_docstring(node) and len(node.body) > 1 else 0]
                a = node.args
                names = [p.arg for p in (*a.posonlyargs, *a.args, *a.kwonlyargs)]
                yield node.name, node.end_lineno - first.lineno + 1, len([n for n in names if n != "self"])
        return
    for block in re.split(r"\n(?=\S)|\n(?=    (?:cdef|def) )", text):
        found = re.match(r"\s*(?:cdef|cpdef|def)\b[^=\n(]*?(\w+)\(([^)]*)\)", block)
        if found and not block.startswith("cdef class"):
            parameters = [p for p in found[2].split(",") if p.strip() not in ("", "self")]
            yield found[1], len(block.rstrip().splitlines()), len(parameters)


@pytest.mark.parametrize("path", CYTHON, ids=name_of)
def test_structs_are_small(path):
    for name, body in re.findall(r"^cdef struct (\w+):\n((?:    .*\n|\n(?=    ))*)", path.read_text(), re.M):
        fields = [line for line in body.splitlines() if re.sub("#.*", "", line).strip()]
        assert len(fields) <= MAX_FIELDS, f"{path.name}: {name} has {len(fields)} fields"


def test_nothing_is_left_for_later():
    for path in [*SOURCES, *ROOT.glob("src/simd/*"), *ROOT.glob("tests/*.py")]:
        assert not re.search(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b", path.read_text()), path.name


def included(path):
    """The text of a C file and of the files of its folder that it includes, without comments."""
    text = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.S)
    for name in re.findall(r'^#include "([\w.]+)"', text, re.M):
        text += included(path.parent / name)
    return text


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.name)
def test_instruction_sets_share_one_vocabulary(path):
    """All that the kernels use of it; for float32 and float64."""
    bodies = "".join(included(body) for body in BODIES)
    used = {f"{real}_{name}" for name in re.findall(r"\bV\((\w+)\)", bodies) for real in ("f32", "f64")}
    used |= {
        f"wide_{name}_{real}" for name in re.findall(r"\bWIDE\((\w+)\)", bodies) for real in ("f32", "f64")
    }
    used |= set(re.findall(r"\bwide_\w+", bodies)) - {"wide_stride", "wide_labels"}
    text = included(path)
    if "#define VEC_HAS_COMPRESS" not in text:
        used -= {f"{real}_{name}" for name in COMPRESSION for real in ("f32", "f64")}
    assert {word for word in used if not re.search(rf"\b{word}\b", text)} == set()


@pytest.mark.parametrize("path", [*VECTORS, *BODIES, *SHARED_WORDS], ids=lambda path: path.name)
def test_instruction_set_units_are_static(path):
    """Else the linker may keep one set's copy of a function for all of them."""
    text = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.S)
    for line in re.findall(r"^[A-Za-z_].*$", text, re.M):
        assert re.match(r"(static|typedef|enum|struct F\(|struct \w+;)\b|.*:$|enum \{|struct F\(", line), line


def test_test_names_are_short():
    for path in ROOT.glob("tests/*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                assert len(node.name.split("_")) <= 7, f"{path.name}: {node.name} has more than six words"
