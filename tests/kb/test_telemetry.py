"""No package reports to anybody: not onnxruntime, LangChain or Hugging Face's, in no process."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IMPORTER = "kb/environment.py"
# onnxruntime turns its telemetry off by itself where it sees one of these.
SUPPRESSING = {"CI", "GITHUB_ACTIONS", "TF_BUILD", "ORT_RUNNING_UNIT_TESTS", "ORT_DISABLE_TELEMETRY"}


@pytest.mark.parametrize("package", ["onnxruntime", "fastembed", "rapidocr"])
def test_importing_leaves_no_device_id_and_contacts_nobody(package: str, tmp_path: Path) -> None:
    """With telemetry on, the import itself writes a device id and a queue of events into the cache folder."""
    if find_spec("fastembed") is None:
        pytest.skip("FastEmbed is not installed")
    home = tmp_path / "home"
    home.mkdir()
    calls = tmp_path / "calls"
    trace = ["strace", "-f", "-e", "trace=connect,sendto", "-o", str(calls)] if shutil.which("strace") else []
    probe = f"from kb.environment import import_{package} as load; load(); import onnxruntime"
    environment = {name: value for name, value in os.environ.items() if name not in SUPPRESSING}
    environment |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "PYTHONPATH": str(ROOT)}
    subprocess.run([*trace, sys.executable, "-c", probe], env=environment, cwd=tmp_path, check=True, timeout=120)
    assert list(home.iterdir()) == []
    assert not trace or "AF_INET" not in calls.read_text()


def test_children_inherit_the_setting() -> None:
    probe = (
        "import subprocess, sys; from kb.environment import import_onnxruntime; import_onnxruntime()\n"
        "show = 'import os; print(os.environ[\"ORT_DISABLE_TELEMETRY\"])'\n"
        "subprocess.run([sys.executable, '-c', show], check=True)"
    )
    environment = os.environ | {"ORT_DISABLE_TELEMETRY": "0", "PYTHONPATH": str(ROOT)}
    found = subprocess.run([sys.executable, "-c", probe], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "1"


def test_questions_are_not_sent_to_langsmith() -> None:
    """Nor does LangChain refuse to run, whatever other programs of this user have set."""
    probe = (
        "from kb.environment import silence_packages; silence_packages()\n"
        "from langchain_core.callbacks import CallbackManager\n"
        "from langsmith.utils import tracing_is_enabled\n"
        "print(tracing_is_enabled(), CallbackManager.configure().handlers)"
    )
    named = dict.fromkeys(("LANGSMITH_TRACING", "LANGCHAIN_TRACING_V2", "LANGCHAIN_TRACING"), "true")
    environment = os.environ | named | {"LANGSMITH_API_KEY": "key", "PYTHONPATH": str(ROOT)}
    found = subprocess.run([sys.executable, "-c", probe], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False []"


def test_hugging_face_is_told_nothing() -> None:
    pytest.importorskip("huggingface_hub")
    probe = (
        "from kb.environment import silence_packages; silence_packages()\n"
        "from huggingface_hub import constants; print(constants.HF_HUB_DISABLE_TELEMETRY)"
    )
    environment = os.environ | {"HF_HUB_DISABLE_TELEMETRY": "0", "PYTHONPATH": str(ROOT)}
    found = subprocess.run([sys.executable, "-c", probe], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "True"


def test_no_other_module_imports_onnxruntime() -> None:
    """Nor what imports it. FastEmbed's submodules may follow: they need the package, which is imported by then."""
    folders = ("kb", "workers", "pages", "web", "benchmarks", "tests")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")] + [ROOT / "webui_st.py"]
    importers = {path.relative_to(ROOT).as_posix() for path in files if _imports_onnxruntime(path)}
    assert importers == {IMPORTER}


def _imports_onnxruntime(path: Path) -> bool:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return any(name in ("onnxruntime", "fastembed", "rapidocr") or name.startswith("onnxruntime.") for name in names)
