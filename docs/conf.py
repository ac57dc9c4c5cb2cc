"""Sphinx configuration: the pages of this folder, and the reference from the docstrings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.utils.math import latex2mathml

from ckmeans import __version__

project = "ckmeans"
author = "The ckmeans developers"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "numpydoc", "sphinx_design", "sphinx_copybutton"]
exclude_patterns = ["data", "figures", "llms.txt"]
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3

# The docstrings are in NumPy style: they contain the types, and `name` links to a name of this package.
numpydoc_show_class_members = False
autodoc_typehints = "none"
autodoc_member_order = "bysource"
default_role = "py:obj"
nitpicky = True
nitpick_ignore = [("py:obj", "numpy.histogram")]  # the only one outside; its inventory needs the network

html_theme = "furo"
pygments_dark_style = "monokai"
html_title = f"ckmeans {version}"
html_baseurl = "https://ckmeans-simd.github.io/ckmeans/"
html_extra_path = ["llms.txt"]
html_static_path = ["static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_show_copyright = False
html_show_sphinx = False
html_theme_options = {
    "source_repository": "https://github.com/ckmeans-simd/ckmeans/",
    "source_branch": "main",
    "source_directory": "docs/",
}
copybutton_exclude = ".linenos, .gp, .go"  # the prompts and the output


def visit_math(self: Any, node: nodes.math | nodes.math_block) -> None:
    """Write a formula as MathML, which browsers show without a script and without the network."""
    as_block = isinstance(node, nodes.math_block)
    self.body.append(latex2mathml.tex2mathml(node.astext(), as_block=as_block))
    raise nodes.SkipNode


# Names that docstrings define for themselves: parameters and attributes.
SOURCES = Path(__file__).parents[1].glob("ckmeans/**/*.py")
OWN_NAMES = {
    name
    for path in SOURCES
    for names in re.findall(r"^ +(\w+(?:, \w+)*) : ", path.read_text(), re.M)
    for name in names.split(", ")
}


def resolve(app: Any, env: Any, node: Any, text: nodes.Element) -> nodes.Element | None:
    """Find a name of the package from its submodules, too; leave a docstring's own names without a link."""
    if node["refdomain"] != "py":
        return None
    node["py:module"] = "ckmeans"
    target, page = node["reftarget"], node["refdoc"]
    found = env.get_domain("py").resolve_xref(env, page, app.builder, "obj", target, node, text)
    return found or (text if target in OWN_NAMES else None)


def setup(app: Any) -> None:
    """Register what this file adds to Sphinx."""
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math, None))
    app.connect("missing-reference", resolve)
