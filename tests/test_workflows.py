"""The workflows of the repository: pinned actions, few rights, no run of main cancelled."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / ".github"
WORKFLOWS = sorted(FOLDER.glob("workflows/*.yml"))

pytestmark = pytest.mark.skipif(not WORKFLOWS, reason="needs the repository")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned(path):
    used = re.findall(r"uses: (\S+)(.*)", path.read_text())
    assert used
    for action, version in used:
        assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}", action), action
        assert re.fullmatch(r" # v\d+\.\d+\.\d+", version), action


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_rights_are_read_only_by_default(path):
    text = path.read_text()
    head = text[: text.index("\njobs:")]
    assert "\npermissions:\n  contents: read\n" in head
    assert text.count("persist-credentials: false") == text.count("actions/checkout@")


def test_main_is_never_cancelled():
    text = (FOLDER / "workflows/test.yml").read_text()
    group = re.search(r"group: (.*)", text)[1]
    assert "github.event_name == 'pull_request' && github.ref || github.run_id" in group


def test_release_is_signed_and_attested():
    text = (FOLDER / "workflows/wheels.yml").read_text()
    publish = text[text.index("\n  publish:") :]
    for needed in (
        "id-token: write",
        "attestations: write",
        "attest-build-provenance@",
        "attestations: true",
    ):
        assert needed in publish
    assert publish.index("attest-build-provenance") < publish.index("gh-action-pypi-publish")
    assert "password" not in text
