"""A parser child that was taken over by a file finds no secrets and no way out."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from kb.config import Settings
from kb.parsing import Limits, ParserProcess, joined
from kb.parsing.isolation import allowed_environment, why_network_is_open
from kb.parsing.media_types import PLAIN

HERE = Path(__file__).parent
SECRETS = ("OPENAI_API_KEY", "DATABASE_URL", "REDIS_URL", "SECRET_KEY", "AWS_SECRET_ACCESS_KEY", "https_proxy")


@pytest.mark.skipif(bool(why_network_is_open()), reason=why_network_is_open() or "-")
def test_child_has_no_secrets_and_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    for name in SECRETS:
        monkeypatch.setenv(name, "secret")
    with ParserProcess(1024, module="unruly_child") as parser:
        answer = joined(parser.parse(HERE / "unruly_child.py", "escape", PLAIN, Limits(30, 30), None, lambda: False))
    found = json.loads(answer.text)
    assert not set(SECRETS) & set(found.pop("environment"))
    assert found == {
        "internet": False,
        "services": False,
        "names": False,
        "parent": False,
        "no_new_privs": "1",
        "oom_score_adj": 800,
    }


def test_no_setting_but_the_home_folder_reaches_a_child() -> None:
    names = {name.upper() for name in Settings.model_fields}
    assert set(allowed_environment(dict.fromkeys(names, "x"))) == {"ZHIWEN_HOME"}


def test_what_python_and_the_libraries_need_is_kept() -> None:
    needed = {"PATH": "/bin", "LC_ALL": "C.UTF-8", "PYTHONUTF8": "1", "OMP_NUM_THREADS": "2", "LD_LIBRARY_PATH": "/lib"}
    assert allowed_environment(needed | {"OPENAI_API_KEY": "k"}) == needed
    assert allowed_environment(os.environ).keys() <= os.environ.keys()
