"""Scripts that the browser loads once."""

from __future__ import annotations

import re

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from pages.ui.scripts import SCRIPTS, loading
from pages.ui.session_cookie import home_path
from tests.base_path import below
from web.scripts import script_routes


@pytest.fixture
def client() -> TestClient:
    return TestClient(Starlette(routes=script_routes()))


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("base", ["", "zhiwen"])
def test_script_is_found_where_its_component_looks(name: str, base: str) -> None:
    (address,) = re.findall(r'new URL\("([^"]+)", document\.baseURI\)', loading(name))
    with below(base):
        client = TestClient(Starlette(routes=script_routes()), base_url=f"http://localhost:8501{home_path()}")
    reply = client.get(address)
    assert reply.text == SCRIPTS[name].read_text("utf-8")
    assert reply.headers["content-type"].startswith("text/javascript")
    assert "immutable" in reply.headers["cache-control"]


def test_address_changes_with_the_content(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SCRIPTS, "changed.js", SCRIPTS["actions.js"])
    before = loading("changed.js")
    monkeypatch.setitem(SCRIPTS, "changed.js", SCRIPTS["actions.js"].with_name("talks.js"))
    assert loading("changed.js") != before


@pytest.mark.parametrize("name", ["talks.js", "..%2Fscripts.py", "style.css", "actions.js%00"])
def test_nothing_else_is_served(name: str, client: TestClient) -> None:
    assert client.get(f"/api/scripts/{name}").status_code == 404
