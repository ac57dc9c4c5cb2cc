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
from ckmeans import _lloyd

ROOT = Path(__file__).parents[1]
SOURCES = sorted([*ROOT.glob("ckmeans/*.py"), *ROOT.glob("ckmeans/*.pxd"), *ROOT.glob("src/*.pyx")])
VECTORS = sorted(ROOT.glob("src/simd/vec_*.h"))
SHARED_WORDS = [ROOT / "src/simd/scalar_body.h", ROOT / "src/simd/wide_of_pairs.h"]  # of several vocabularies
BODIES = sorted({*ROOT.glob("src/simd/*_body.h")} - {*SHARED_WORDS, ROOT / "src/simd/source_body.h"})
COMPRESSION = ("compress_store", "compress_store_ids", "equal_ids")  # only of sets with VEC_HAS_COMPRESS

pytestmark = pytest.mark.skipif(not (ROOT / "src").exists(), reason="needs the source tree")


# ---- floors ------------------------------------------------------------------------------------------


def tree():
    """{module: its place in CONTRIBUTING's tree, from the bottom}, {module: its floor}."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    listing = text[text.index("## The tree") :].split("```")[1]
    modules, floors, floor = [], {}, None
    for line in listing.strip().splitlines():
        floor = int(line[0]) if line[0].isdigit() else floor
        for module in re.findall(r"\b(?:ckmeans|src)/(\w+)\.pyx?\b", line):
            modules.append(module)
            floors[module] = floor
    return {module: place for place, module in enumerate(reversed(modules))}, floors


def imported(path):
    """Modules of the package that a file imports or cimports, wherever in it."""
    text = path.read_text()
    found = re.findall(r"^\s*from ckmeans\.(\w+) c?import", text, re.M)
    for line in re.findall(r"^\s*from ckmeans c?import (.+)$", text, re.M):
        found += [name for name in re.findall(r"\w+", line) if name in tree()[0]]
    return set(found)


def test_every_file_is_in_the_tree():
    listed = set(tree()[0])
    modules = {path.stem for path in SOURCES if path.suffix in (".py", ".pyx")}
    assert listed <= modules
    assert modules - listed <= {"__init__", "__main__", "_version"}


@pytest.mark.parametrize(
    "path",
    [path for path in SOURCES if path.stem not in ("__init__", "__main__")],
    ids=lambda path: path.name,
)
def test_a_file_imports_only_from_below_itself(path):
    places, floors = tree()
    # Declarations without a module of their own lie between the floors 1 and 0.
    lowest_of_1 = min(place for module, place in places.items() if floors[module] == 1)
    own = places.get(path.stem, lowest_of_1 - 0.5)
    for module in imported(path) - {path.stem, "_version"}:
        assert places.get(module, lowest_of_1 - 0.5) < own, f"{path.name} imports {module}"


def test_engines_do_not_know_each_other():
    engines = {f"_{name}" for name in _lloyd.ALGORITHMS}
    assert engines <= set(tree()[0])
    for path in SOURCES:
        if path.stem in engines:
            assert imported(path) & engines <= {path.stem}, path.name


def test_compiled_code_does_not_validate():
    """Kernels and loops never check and never raise on what users pass in."""
    for path in ROOT.glob("src/*.pyx"):
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


def test_an_unknown_name_is_an_attribute_error():
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
    assert not {"ckmeans.image", "ckmeans.cli"} & set(loaded)


# ---- how the code looks ------------------------------------------------------------------------------

LONGEST = 60


@pytest.mark.parametrize(
    "path", [*SOURCES, *sorted(ROOT.glob("benchmarks/**/*.py"))], ids=lambda path: path.name
)
def test_functions_fit_on_a_screen(path):
    for name, lines in functions(path):
        assert lines <= LONGEST, f"{path.name}: {name} has {lines} lines"


def functions(path):
    """(Name, lines without the docstring) of each function."""
    text = path.read_text()
    if path.suffix == ".py":
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                first = node.body[1 if ast.get_docstring(node) and len(node.body) > 1 else 0]
                yield node.name, node.end_lineno - first.lineno + 1
        return
    for block in re.split(r"\n(?=\S)", text):
        if re.match(r"(cdef|cpdef|def)\b.*\(", block) and not block.startswith("cdef class"):
            yield block.split("(")[0], len(block.rstrip().splitlines())


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
def test_every_instruction_set_has_the_whole_vocabulary(path):
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
def test_everything_in_an_instruction_sets_unit_is_static(path):
    """Else the linker may keep one set's copy of a function for all of them."""
    text = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.S)
    for line in re.findall(r"^[A-Za-z_].*$", text, re.M):
        assert re.match(r"(static|typedef|enum|struct F\(|struct \w+;)\b|.*:$|enum \{|struct F\(", line), line
