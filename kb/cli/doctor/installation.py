"""Python, the packages, the settings and the home folder: what can be checked while nothing runs."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from difflib import get_close_matches
from importlib import metadata
from pathlib import Path

from dotenv import dotenv_values
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from pydantic import ValidationError

from kb.cli.doctor.finding import Finding, Mark, failed, of_error, ok, warning
from kb.cli.printing import count
from kb.config import SOURCE, Settings, find_env_file, load_settings
from kb.disk import LITTLE_SPACE, NO_SPACE
from kb.errors import SetupError
from kb.home import OTHERS
from kb.local.milvus_server import TESTED_VERSION, lost_without_patches

PACKAGE = "zhiwen"
CONSTRAINTS = SOURCE / "constraints.txt"
SHOWN = 5  # packages, at most
_PINNED = re.compile(r"^([\w.-]+)==([\w.+-]+)", re.MULTILINE)


def check_python() -> Finding:
    wanted = SpecifierSet(metadata.metadata(PACKAGE)["Requires-Python"] or "")
    version = platform.python_version()
    if wanted.contains(version, prereleases=True):
        return ok("Python", f"{version} ({sys.executable})")
    return failed("Python", f"{version}; Zhiwen needs {wanted}.", "Install Zhiwen with one of these versions.")


def check_packages() -> Iterator[Finding]:
    """Against what Zhiwen requires; then, in the source folder, against the versions that its tests ran with."""
    wrong = [
        f"{each.name} {_installed(each.name) or 'is missing'} (needs {each.specifier})"
        for each in _unmet_requirements()
    ]
    if wrong:
        yield failed("packages", "; ".join(wrong), "Install Zhiwen again: pip install . -c constraints.txt")
    tested = _tested_versions()
    other = [
        f"{name} {installed} (tested: {version})"
        for name, version in tested.items()
        if (installed := _installed(name)) and installed != version
    ]
    if other:
        shown = ", ".join(other[:SHOWN]) + (f" and {len(other) - SHOWN} more" if len(other) > SHOWN else "")
        yield warning("packages", f"Other versions than the tested ones: {shown}", "pip install . -c constraints.txt")
    if not wrong and not other:
        yield ok("packages", "the tested versions" if tested else "as required")
    if lost := lost_without_patches(_installed("milvus-lite")):
        detail = f"Zhiwen's patches are for Milvus Lite {TESTED_VERSION}; this one runs without them. {' '.join(lost)}"
        yield warning(
            "Milvus Lite", detail, f"pip install milvus-lite=={TESTED_VERSION}, if you use the embedded Milvus"
        )


def _unmet_requirements() -> Iterator[Requirement]:
    for line in metadata.requires(PACKAGE) or ():
        requirement = Requirement(line)
        is_wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if is_wanted and not requirement.specifier.contains(_installed(requirement.name) or "0", prereleases=True):
            yield requirement


def _tested_versions() -> dict[str, str]:
    try:
        return dict(_PINNED.findall(CONSTRAINTS.read_text(encoding="utf-8")))
    except OSError:
        return {}


def _installed(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


# --- settings --------------------------------------------------------------------------------------------------


def check_settings() -> Iterator[Finding]:
    """Names and values. After a finding that failed, there are no settings to go on with."""
    file = find_env_file()
    written = _written(file)
    yield from _unknown_names(file, written)
    try:
        settings = load_settings()
    except SetupError as error:
        yield from _invalid_values(error)
        return
    if settings.llm_model and not (settings.openai_base_url or settings.openai_api_key.get_secret_value()):
        detail = "LLM_MODEL is set, but neither OPENAI_API_KEY nor OPENAI_BASE_URL is, so it is not used."
        yield warning("settings", detail, f"Set one of the two in {file}.")
    ours = [name for name in written if name in _names()]
    yield ok("settings", f"{count(len(ours), 'setting')} in {file}" if file.is_file() else f"all defaults ({file})")


def _written(file: Path) -> list[str]:
    return [name.upper() for name in dotenv_values(file, interpolate=False)] if file.is_file() else []


def _names() -> set[str]:
    return {name.upper() for name in Settings.model_fields}


def _unknown_names(file: Path, written: list[str]) -> Iterator[Finding]:
    """Names like those of settings. Others may be meant for other programs, which read the same file."""
    for name in written:
        if name in _names() or f"${{{name}:" in _compose_file():
            continue
        if alike := get_close_matches(name, sorted(_names()), 1, 0.8):
            yield warning("settings", f"Unknown setting {name} in {file}.", f"Did you mean {alike[0]}?")


def _compose_file() -> str:
    try:
        return (SOURCE / "docker-compose.yml").read_text(encoding="utf-8")
    except OSError:
        return ""


def _invalid_values(error: SetupError) -> Iterator[Finding]:
    """All of them; the error names the first."""
    if not isinstance(error.__cause__, ValidationError):
        yield of_error("settings", error)
        return
    remedy = of_error("settings", error).remedy
    for each in error.__cause__.errors():
        detail = each["msg"].removeprefix("Value error, ")
        yield failed("settings", f"{str(each['loc'][0]).upper()} is not valid: {detail}.", remedy)


# --- the home folder -------------------------------------------------------------------------------------------


def check_home(settings: Settings) -> Iterator[Finding]:
    home = settings.home
    if not home.is_dir():
        if home.exists():
            yield failed("home", f"{home} is a file.", "Move it away, or set ZHIWEN_HOME to another folder.")
        else:
            yield ok("home", f"{home}, which the first start creates")
        return
    found = home.stat()
    if found.st_uid != os.geteuid():
        detail = f"{home} belongs to another user (id {found.st_uid}); you are {os.geteuid()}."
        yield warning("home", detail, "Run Zhiwen's commands as the user who runs Zhiwen.")
    if found.st_mode & OTHERS:
        detail = f"Others on this machine can open {home} (mode {found.st_mode & 0o777:o})."
        yield warning("home", detail, f"The next start closes it, or: chmod 700 '{home}'")
    if not os.access(home, os.R_OK | os.W_OK | os.X_OK):
        yield failed("home", f"{home} cannot be written.", "Give this user write access, or set ZHIWEN_HOME.")
    yield _check_space(home)


def _check_space(home: Path) -> Finding:
    free = shutil.disk_usage(home).free
    detail = f"{home}, {free / 2**30:,.1f} GB free"
    if free >= LITTLE_SPACE:
        return ok("home", detail)
    mark = Mark.FAILED if free < NO_SPACE else Mark.WARNING
    return Finding("home", mark, detail, "Free some space: a full disk stops uploads and the database.")
