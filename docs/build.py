"""Build the documentation: python docs/build.py

First, every snippet of README.md and docs/*.md is run. The Python blocks of a page share one namespace,
the output of lines after ``>>>`` is compared with the page, blocks of the ``ckmeans`` command are run in
a shell, and the snippets draw the figures; blocks marked ``py`` need packages that are not installed here,
and are not run. Then Sphinx renders the pages and the reference to build/docs; its warnings are errors, and
so are links that lead nowhere.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import conf
import links
import matplotlib
import numpy as np
from matplotlib import pyplot
from PIL import Image
from sphinx.cmd.build import main as sphinx
from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser

from ckmeans import quantize

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
FIGURE = r"\]\((?:docs/)?figures/(.+?)\)"  # an image link in Markdown
MAX_BYTES = 60_000  # of a figure file
COLORS = 64  # of the palette of a figure, which makes its file three times smaller


def command(example: Example) -> None:
    """Run a shell block of the ``ckmeans`` command; .ci/run runs the others, which install the package."""
    if example.parsed.startswith("ckmeans "):
        subprocess.run(["bash", "-euc", example.parsed], check=True, stdout=subprocess.DEVNULL)


def run(page: Path) -> None:
    """Run the snippets of a page, in order, in the current folder."""
    started = time.perf_counter()
    for example in Sybil([PythonCodeBlockParser(), CodeBlockParser("sh", command)]).parse(page).examples():
        example.evaluate()
    pyplot.close("all")
    print(f"{page.name}: {time.perf_counter() - started:.1f} s", flush=True)


def write_customers(path: Path) -> None:
    """Write a table of customers with an identifier and some missing values."""
    rng = np.random.default_rng(len(path.name))
    lines = ["CUST_ID,balance,purchases,limit"]
    for i, (balance, purchases, limit) in enumerate(rng.gamma(2, 1000, (200, 3)).round(2).tolist()):
        lines.append(f"C{10_001 + i},{balance},{purchases},{'' if i % 50 == 7 else limit}")
    path.write_text("\n".join(lines) + "\n")


def write_pictures(folder: Path) -> None:
    """Write a disc with a soft edge on nothing: an icon, and files of three frames."""
    y, x = np.mgrid[:64, :64]
    frames = []
    for radius in 24, 20, 16:
        alpha = np.clip((radius - np.hypot(x - 31.5, y - 31.5)) * 40 + 128, 0, 255)
        frames.append(Image.fromarray(np.dstack([4 * x, 4 * y, 90 + 0 * x, alpha]).astype(np.uint8)))
    frames[0].save(folder / "icon.png")
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    frames[0].save(folder / "scan.tiff", save_all=True, append_images=frames[1:])


def draw(folder: Path) -> None:
    """Run all pages in a folder with the files they use, and copy the figures they draw to docs/figures."""
    shutil.copytree(DOCS / "data", folder / "data")
    shutil.copy(ROOT / "ckmeans" / "data" / "demo.jpg", folder / "photo.jpg")
    for name in ("customers.csv", "next_month.csv"):
        write_customers(folder / name)
    write_pictures(folder)
    figures = folder / "figures"
    figures.mkdir()
    with contextlib.chdir(folder):
        for page in PAGES:
            run(page)
    shown = {name for page in PAGES for name in re.findall(FIGURE, page.read_text())}
    drawn = {path.name for path in figures.iterdir()}
    if shown != drawn:
        sys.exit(
            f"shown but not drawn: {shown - drawn or 'none'}; drawn but not shown: {drawn - shown or 'none'}"
        )
    for path in figures.glob("*.png"):
        quantize(path, COLORS, seed=0).save(path)
    if large := [path.name for path in figures.iterdir() if path.stat().st_size > MAX_BYTES]:
        sys.exit(f"figures of more than {MAX_BYTES:,} bytes: {', '.join(large)}")
    shutil.rmtree(DOCS / "figures", ignore_errors=True)
    shutil.copytree(figures, DOCS / "figures")


if __name__ == "__main__":
    matplotlib.use("Agg")
    matplotlib.rcParams.update({"figure.figsize": (6, 3.6), "figure.dpi": 90, "font.size": 9})
    with tempfile.TemporaryDirectory() as scratch:
        draw(Path(scratch))
    site = ROOT / "build" / "docs"
    shutil.rmtree(site, ignore_errors=True)
    if status := sphinx(["-W", "--keep-going", "-q", "-E", str(DOCS), str(site)]):
        sys.exit(status)
    if wrong := links.check(site, conf.html_baseurl):
        sys.exit("\n".join(["links that lead nowhere:", *wrong]))
