"""Each error is exported, and so can be found by the code that SQL stores."""

from __future__ import annotations

import ast
from pathlib import Path

import kb.errors
from kb.errors import KbError

MODULES = sorted(Path(kb.errors.__file__).parent.glob("[!_]*.py"))


def test_package_exports_each_error() -> None:
    classes = {
        node.name
        for path in MODULES
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    }
    assert classes == {name for name in kb.errors.__all__ if isinstance(getattr(kb.errors, name), type)}
    assert classes == {each.__name__ for each in KbError.registry.values() if each.__module__.startswith("kb.")} | {
        "KbError"
    }
