"""Print what the package requires, with these extras of its own resolved, as a file of requirements.

python tools/extras.py all test > requirements.txt && pip-audit --requirement requirements.txt
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]


def requirements(extras: list[str]) -> set[str]:
    """Return the requirements of the package and of these extras, none of which is the package itself."""
    found = set(PROJECT["dependencies"])
    for extra in extras:
        for requirement in PROJECT["optional-dependencies"][extra]:
            own = re.fullmatch(rf"{PROJECT['name']}\[([\w,]+)\]", requirement)
            found |= requirements(own[1].split(",")) if own else {requirement}
    return found


if __name__ == "__main__":
    print(*sorted(requirements(sys.argv[1:])), sep="\n")
