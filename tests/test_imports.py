"""The direction of imports: the launcher → pages → kb, workers → kb, and nothing back."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORBIDDEN = {
    "kb": {"streamlit", "dramatiq", "pages", "workers", "webui_st", "tests"},
    "workers": {"streamlit", "pages", "webui_st", "tests"},
    "pages": {"dramatiq", "pymilvus", "sqlalchemy", "webui_st", "tests"},
}
# Only kb/config reads settings; these hand the environment on, to child processes or to the broker.
HANDS_ON = (
    "kb/local/",
    "kb/parsing/process.py",
    "kb/embedding/runtime.py",
    "pages/ui/resources.py",
)


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def imported(tree: ast.AST) -> Iterator[str]:
    """The top-level packages that a module imports, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def environment_reads(tree: ast.AST) -> Iterator[int]:
    """Lines with `os.environ`, `os.getenv` or what was imported by these names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            names = {node.attr}
        else:
            names = {alias.name for alias in node.names} if isinstance(node, ast.ImportFrom) else set()
        if names & {"environ", "getenv"}:
            yield node.lineno  # type: ignore[attr-defined]


def test_pages_only_send_messages_to_workers() -> None:
    taken = {
        (node.module, alias.name)
        for path in modules("pages")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "workers"
        for alias in node.names
    }
    assert taken == {("workers", "sending")}


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_imports_go_one_way(folder: str) -> None:
    assert modules(folder)
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in modules(folder)
        for name in imported(ast.parse(path.read_text(encoding="utf-8")))
        if name in FORBIDDEN[folder]
    ]
    assert wrong == []


def test_milvus_is_spoken_to_in_one_place() -> None:
    importers = {
        path.relative_to(ROOT).parts[:2]
        for folder in ("kb", "workers", "pages")
        for path in modules(folder)
        if "pymilvus" in imported(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert importers == {("kb", "vectors")}


def test_the_environment_is_read_in_one_place() -> None:
    readers = [
        f"{name}:{line}"
        for folder in ("kb", "workers", "pages")
        for path in modules(folder)
        for name in [path.relative_to(ROOT).as_posix()]
        if name != "kb/config.py" and not name.startswith(HANDS_ON)
        for line in environment_reads(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert readers == []
