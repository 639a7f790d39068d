"""Patches apply to the tested version of Milvus Lite only; another one runs without them and says what is lost."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version

import pytest

from kb.local.milvus_server import TESTED_VERSION, lost_without_patches
from tests.real_services import ROOT

# Prints, for each patch, whether it is in place after `patch(version)`.
PROBE = """
import json, sys
from itertools import chain
from kb.local import milvus_bm25, milvus_filtered, milvus_server, milvus_storage
patches = chain(milvus_bm25.patches(), milvus_filtered.patches(), milvus_storage.patches())
targets = {(owner, name): getattr(owner, name) for owner, name, _ in patches}
milvus_server.patch(sys.argv[1])
print(json.dumps([getattr(owner, name) is not original for (owner, name), original in targets.items()]))
"""


def run_patch(installed: str) -> tuple[list[bool], str]:
    """Which patches are in place, and what was logged."""
    command = [sys.executable, "-c", PROBE, installed]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    return json.loads(done.stdout), done.stderr


def test_installed_and_pinned_version_is_the_tested_one() -> None:
    assert version("milvus-lite") == TESTED_VERSION
    assert f"milvus-lite=={TESTED_VERSION}" in (ROOT / "constraints.txt").read_text().splitlines()


def test_tested_version_gets_all_patches() -> None:
    patched, log = run_patch(TESTED_VERSION)
    assert len(patched) == 24
    assert all(patched)
    assert log == ""


@pytest.mark.parametrize("installed", ["3.2.1", "3.2.3", "3.3.0"])
def test_other_version_gets_no_patches_and_logs_what_is_lost(installed: str) -> None:
    patched, log = run_patch(installed)
    assert not any(patched)
    for sentence in (installed, f"pip install milvus-lite=={TESTED_VERSION}", *lost_without_patches(installed)):
        assert sentence in log


def test_versions_as_servers_report_them() -> None:
    assert not lost_without_patches(f"milvus_lite-{TESTED_VERSION}")
    assert lost_without_patches("milvus_lite-3.2.3")


def test_asking_what_is_lost_does_not_import_milvus_lite() -> None:
    probe = "import sys; import kb.local.milvus_server; sys.exit('milvus_lite' in sys.modules)"
    subprocess.run([sys.executable, "-c", probe], cwd=ROOT, check=True, timeout=60)
