"""The wheel as users install and start it: `pip install`, then `zhiwen run` in any folder."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import Distribution, distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name
from playwright.sync_api import Browser, expect

from tests.e2e.screen import Screen
from tests.e2e.web import Web
from tests.fakes.model_server import ModelServer
from tests.real_services import HOST, ROOT

pytestmark = pytest.mark.xdist_group("wheel")  # the tests share one installed wheel

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
    """An environment with the wheel and what it declares, which shows that it needs nothing else."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    subprocess.run([*PIP, "--python", str(folder / "bin" / "python"), "install", "--no-deps", str(wheel)], check=True)
    (site_packages,) = folder.glob("lib/python3*/site-packages")
    (own,) = distributions(name="zhiwen", path=[str(site_packages)])
    installed = {canonicalize_name(each.name): each for each in distributions()}
    link(required(own, installed).values(), site_packages)
    return folder


def required(
    distribution: Distribution, installed: Mapping[NormalizedName, Distribution]
) -> dict[NormalizedName, Distribution]:
    """The distributions that pip would install with this one, by name, as they are installed where the tests run."""
    found: dict[NormalizedName, Distribution] = {}
    asking = [(distribution, "")]
    for each, extra in asking:
        for requirement in map(Requirement, each.requires or []):
            if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
                continue
            name = canonicalize_name(requirement.name)
            found[name] = installed[name]
            asking += {(found[name], wanted) for wanted in ("", *requirement.extras)} - set(asking)
    return found


def link(wanted: Iterable[Distribution], site_packages: Path) -> None:
    for distribution in wanted:
        record = csv.reader((distribution.read_text("RECORD") or "").splitlines())
        # Beside its folders stand programs (../../bin) and what Python compiled of its modules.
        for name in {path.split("/")[0] for path, *_ in record} - {"..", "__pycache__"}:
            if not (site_packages / name).exists():  # two distributions may share a folder
                (site_packages / name).symlink_to(str(distribution.locate_file(name)))


class InstalledWeb(Web):
    """`zhiwen run` in an empty folder."""

    def __init__(self, folder: Path, environment: Path, **values: str) -> None:
        super().__init__(folder, **values)
        self._program = environment / "bin" / "zhiwen"
        self._environment.pop("PYTHONPATH", None)

    def command(self) -> list[str]:
        return [str(self._program), "run", "--server.headless=true", f"--server.port={self.port}"]


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
    assert installed.listening_addresses() == {(HOST, installed.port)}


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
