"""The wheel builder's table in pyproject.toml requests exactly the expected wheels."""

from __future__ import annotations

import importlib.resources
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytest.importorskip("cibuildwheel")

ROOT = Path(__file__).parents[1]
BUILDS = ("cp311", "cp314t", "cp315t")
PLATFORMS = {
    "linux": ["manylinux_x86_64", "manylinux_aarch64", "musllinux_x86_64", "musllinux_aarch64"],
    "macos": ["macosx_x86_64", "macosx_arm64"],
    "windows": ["win_amd64", "win_arm64"],
}


@pytest.mark.parametrize("platform", PLATFORMS)
def test_expected_wheels_are_built(platform):
    command = [sys.executable, "-m", "cibuildwheel", "--print-build-identifiers", "--platform", platform]
    printed = subprocess.run([*command, str(ROOT)], capture_output=True, text=True, check=True).stdout
    assert sorted(printed.split()) == sorted(f"{b}-{p}" for b in BUILDS for p in PLATFORMS[platform])


def test_table_fits_the_schema():
    jsonschema = pytest.importorskip("jsonschema")
    schema = importlib.resources.files("cibuildwheel") / "resources" / "cibuildwheel.schema.json"
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["cibuildwheel"]
    jsonschema.validate(table, json.loads(schema.read_text()))


def test_openmp_of_macos_is_as_old():
    """The runtime is built for the system that the wheels are for."""
    macos = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["cibuildwheel"]["macos"]
    assert macos["environment"]["MACOSX_DEPLOYMENT_TARGET"] == "12.0"
    script = macos["before-all"].split()[1].replace("{project}", str(ROOT))
    if Path(script).exists():  # a wheel's tests have no tools
        assert "DCMAKE_OSX_DEPLOYMENT_TARGET" in Path(script).read_text()
