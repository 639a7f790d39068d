"""What cannot be written to standard error must not end what was being done."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

FULL = Path("/dev/full")  # every write to it fails as on a full disk
SAY = """
import sys, structlog
from kb.config import load_settings
from kb.logs import configure_logs
from kb.stderr import complain
{prepare}
configure_logs(load_settings(_env_file=None))
complain("The disk is full.")
structlog.get_logger().warning("worker.heartbeat_failed", reason="disk_full")
try:
    raise RuntimeError("a defect")
except RuntimeError:
    structlog.get_logger().exception("worker.heartbeat_defect")
print("alive")
"""


def say(stderr: int, prepare: str = "") -> str:
    program = [sys.executable, "-c", SAY.format(prepare=prepare)]
    return subprocess.run(program, stdout=subprocess.PIPE, stderr=stderr, text=True, check=False).stdout


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
def test_full_disk_loses_the_log_and_nothing_else() -> None:
    with FULL.open("wb") as full:
        assert say(full.fileno()) == "alive\n"


@pytest.mark.parametrize("prepare", ["sys.stderr.close()", "import os; os.close(2)"])
def test_closed_terminal_loses_the_log_and_nothing_else(prepare: str) -> None:
    assert say(subprocess.DEVNULL, prepare) == "alive\n"


def test_what_can_be_written_is(capfd: pytest.CaptureFixture[str]) -> None:
    assert say(2) == "alive\n"
    written = capfd.readouterr().err
    assert "The disk is full." in written
    assert "worker.heartbeat_failed" in written


def test_processes_that_stay_use_it() -> None:
    """`print` and `traceback` raise where the disk of the log is full. Commands may: they end with it anyway."""
    root = Path(__file__).parents[2]
    modules = [path for folder in ("kb", "workers", "web", "pages") for path in (root / folder).rglob("*.py")]
    are_commands = root / "kb" / "cli"
    raising = [path for path in modules if path.name not in ("__main__.py", "stderr.py", "logs.py")]
    raising = [path for path in raising if are_commands not in path.parents]
    assert [path.name for path in raising if {"stderr", "print_exc"} & names_in(path)] == []


def names_in(module: Path) -> set[str]:
    """What is read of other modules there: `sys.stderr` is `stderr`."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    return {
        node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
