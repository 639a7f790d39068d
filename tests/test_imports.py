"""The direction of imports: webui_st → web → pages → kb and web → workers → kb, nothing back, and no circle."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORBIDDEN = {
    "kb": {"streamlit", "dramatiq", "starlette", "fastapi", "web", "pages", "workers", "webui_st", "tests"},
    "workers": {"streamlit", "starlette", "web", "pages", "webui_st", "tests"},
    "pages": {"dramatiq", "pymilvus", "sqlalchemy", "web", "workers", "webui_st", "tests"},
    "web": {"pymilvus", "sqlalchemy", "webui_st", "tests"},
}
PACKAGES = tuple(FORBIDDEN)
# The families of parsers, each with those that it may import. Modules beside them may import none.
FAMILIES = {
    "tables": set[str](),
    "layout": {"tables"},
    "images": {"layout"},
    "pdf": {"images", "layout"},
    "office": {"tables"},
    "web": {"tables"},
    "mail": {"office", "web"},
    "text": {"office", "tables", "web"},
}
READERS = ("kb/config.py", "kb/environment.py")
# Settings and proxies are read there; these hand the environment on to child processes.
HANDS_ON = ("kb/local/", "kb/parsing/process.py", "kb/cli/worker.py")
LATE = {"mcp", "re2"}  # loaded at first use: they take time or memory, and few processes need them


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def imported_names(tree: ast.AST) -> Iterator[str]:
    """The dotted names of what a module imports, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported(tree: ast.AST) -> Iterator[str]:
    """The top-level packages that a module imports, wherever in it."""
    return (name.partition(".")[0] for name in imported_names(tree))


def environment_reads(tree: ast.AST) -> Iterator[int]:
    """Lines with `os.environ`, `os.getenv` or what was imported by these names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            names = {node.attr}
        else:
            names = {alias.name for alias in node.names} if isinstance(node, ast.ImportFrom) else set()
        if names & {"environ", "getenv"}:
            yield node.lineno  # type: ignore[attr-defined]


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


def test_parsers_import_only_the_families_below() -> None:
    folder = ROOT / "kb/parsing"
    assert {path.parent.name for path in folder.glob("*/__init__.py")} == set(FAMILIES)
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in modules("kb/parsing")
        for own in [path.parent.name if path.parent != folder else ""]
        for name in imported_names(ast.parse(path.read_text(encoding="utf-8")))
        for family in FAMILIES.keys() & {name.removeprefix("kb.parsing.").partition(".")[0]}
        if name.startswith("kb.parsing.") and family not in {own, *FAMILIES.get(own, ())}
    ]
    assert wrong == []
    TopologicalSorter(FAMILIES).prepare()  # raises CycleError, naming the circle


def test_only_one_package_imports_pymilvus() -> None:
    importers = {
        path.relative_to(ROOT).parts[:2]
        for folder in PACKAGES
        for path in modules(folder)
        if "pymilvus" in imported(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert importers == {("kb", "vectors")}


def test_environment_is_read_in_one_place() -> None:
    readers = [
        f"{name}:{line}"
        for folder in PACKAGES
        for path in modules(folder)
        for name in [path.relative_to(ROOT).as_posix()]
        if name not in READERS and not name.startswith(HANDS_ON)
        for line in environment_reads(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert readers == []


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_at_import(path: Path, known: set[str]) -> set[str]:
    """Our own modules that importing `path` loads; imports inside functions and for type checkers do not count."""
    found: set[str] = set()
    nodes: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, (ast.Module, ast.ClassDef, ast.Try, ast.With)) or (
            isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.unparse(node.test)
        ):
            nodes.extend(ast.iter_child_nodes(node))
    name = module_name(path)
    # A package's face imports its own modules, and they may import one another without it.
    return {other for other in found & known if other != name and not name.startswith(f"{other}.")}


def test_no_circular_imports() -> None:
    paths = {module_name(path): path for folder in PACKAGES for path in modules(folder)}
    graph = {name: imports_at_import(path, set(paths)) for name, path in paths.items()}
    TopologicalSorter(graph).prepare()  # raises CycleError, naming the circle


def test_importing_connects_to_nothing_and_reads_no_setting() -> None:
    """In a fresh interpreter, with settings that cannot be read: whoever looks at them fails."""
    names = [module_name(path) for folder in PACKAGES for path in modules(folder) if is_importable(path)]
    program = f"""
import importlib, socket, sys
def refuse(*_values):
    raise AssertionError("connected at import")
socket.socket.connect = refuse
import streamlit
for name in {names!r}:
    importlib.import_module(name)
assert not {LATE!r} & set(sys.modules), "loaded before they are used"
"""
    environment = {**os.environ, "WORKER_THREADS": "not a number", "DATABASE_URL": "nonsense", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_processes_that_read_files_load_neither_sql_nor_settings() -> None:
    """Half of their start, and a third of their memory, would go to what they never use."""
    names = [module_name(path) for path in modules("kb/parsing")]
    names += ["kb.fetching.child", "kb.page_images.child"]
    program = f"""
import importlib, sys
for name in {names!r}:
    importlib.import_module(name)
print(*{{"sqlalchemy", "pydantic"}} & set(sys.modules))
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def is_importable(path: Path) -> bool:
    """Pages run when they are imported, as Streamlit's scripts do; so do programs and migrations.

    What only an extra can import is loaded at first use.
    """
    parts = path.relative_to(ROOT).parts
    is_script = parts[0] == "pages" and parts[1] != "ui" and parts[-1] != "__init__.py"
    needs_extra = parts == ("kb", "tracing", "exporting.py")
    is_program = path.name == "__main__.py" or "migrations" in parts
    return not (is_script or is_program or needs_extra)
