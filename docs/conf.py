"""Sphinx configuration: the pages of this folder, and the reference from the docstrings."""

from ckmeans import __version__

project = "ckmeans"
author = "The ckmeans developers"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "numpydoc"]
exclude_patterns = ["data", "figures"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

# The docstrings are in NumPy style: they contain the types, and `name` links to a name of this package.
numpydoc_show_class_members = False
autodoc_typehints = "none"
autodoc_member_order = "bysource"
default_role = "py:obj"

html_theme = "furo"
html_title = f"ckmeans {version}"
