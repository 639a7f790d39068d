"""The wheel as users install and start it: `pip install`, then `zhiwen` in any folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from kb.local.run_state import HOST
from tests.e2e.screen import Screen
from tests.e2e.web import Web
from tests.fakes.model_server import ModelServer
from tests.real_services import ROOT

# The tests share one installed wheel. In CI, installing takes minutes.
pytestmark = [pytest.mark.xdist_group("wheel"), pytest.mark.timeout(600)]

PACKAGES = ("kb", "pages", "web", "workers", "locales", ".streamlit")
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([*PIP, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT], check=True)
    (wheel,) = folder.glob("zhiwen-*.whl")
    return wheel


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel. In CI it installs the dependencies, too, which shows that none is undeclared.

    Python compiles what the tests import, a small part of all that is installed.
    """
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    install = [*PIP, "--python", str(folder / "bin" / "python"), "install", str(wheel)]
    if os.environ.get("CI"):
        subprocess.run([*install, "--no-compile", "--constraint", str(ROOT / "constraints.txt")], check=True)
        return folder
    subprocess.run([*install, "--no-deps"], check=True)
    (site_packages,) = folder.glob("lib/python3*/site-packages")
    # It borrows the rest from the environment that runs the tests. Python reads no `.pth` file in such a folder, so
    # an editable Zhiwen there stays out.
    borrowed = [path for path in sys.path if path.endswith("-packages")]
    (site_packages / "borrowed.pth").write_text("\n".join(borrowed))
    return folder


class InstalledWeb(Web):
    """`zhiwen`, started in an empty folder."""

    def __init__(self, folder: Path, environment: Path, **values: str) -> None:
        super().__init__(folder, **values)
        self._program = environment / "bin" / "zhiwen"
        self._environment.pop("PYTHONPATH", None)

    def command(self) -> list[str]:
        return [str(self._program), "--server.headless=true", f"--server.port={self.port}"]


@pytest.fixture(scope="module")
def installed(
    tmp_path_factory: pytest.TempPathFactory, environment: Path, models: ModelServer, surroundings: dict[str, str]
) -> Iterator[InstalledWeb]:
    """On an awkward machine, so that nothing but the wheel can help it."""
    web = InstalledWeb(
        tmp_path_factory.mktemp("elsewhere"),
        environment,
        OPENAI_BASE_URL=models.base_url,
        LLM_MODEL="fake",
        EMBEDDING_MODEL="openai:fake-embedding",
        **surroundings,
    )
    web.start()
    yield web
    web.stop()


def test_wheel_contains_every_tracked_file_of_its_packages(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    source = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert packed == source | {"webui_st.py"}


def test_packages_are_imported_from_the_wheel(environment: Path, tmp_path: Path) -> None:
    probe = "import kb, pages, web, workers; print(*(p.__file__ for p in (kb, pages, web, workers)), sep='\\n')"
    command = [str(environment / "bin" / "python"), "-c", probe]
    found = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path, env={}).stdout
    assert [path for path in found.splitlines() if not path.startswith(str(environment))] == []


def test_all_services_start(installed: InstalledWeb) -> None:
    status, health = installed.health()
    assert status == 200
    assert {name for name, service in health["services"].items() if service["ok"]} == {
        "sql",
        "redis",
        "milvus",
        "worker",
    }


def test_settings_of_the_wheel_apply(installed: InstalledWeb) -> None:
    """Streamlit listens on every address by default; the settings in the wheel say otherwise."""
    assert installed.get("/")[0] == 200
    assert installed.listening_addresses() == {HOST}


def test_page_has_its_style_its_language_and_answers(browser: Browser, installed: InstalledWeb) -> None:
    page = browser.new_page(locale="zh-CN")
    screen = Screen(page, installed.url)
    screen.open("/")
    expect(screen.key("new_conversation")).to_contain_text("新对话")
    assert page.evaluate("[...document.querySelectorAll('style')].some(s => s.textContent.includes('.zw-passage'))")
    expect(page.get_by_test_id("stApp")).to_have_css("font-family", re.compile("^system-ui"))
    expect(page.get_by_test_id("stSidebarLogo")).to_be_visible()
    screen.switch_mode("大模型对话")
    screen.ask("你好")
    expect(screen.messages.last).to_contain_text("你问的是：你好")
    page.close()
    assert screen.complaints == []
