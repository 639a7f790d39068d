"""Where there is a login."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from kb.config import load_settings
from web.login_mode import needs_login


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "[::1]", "localhost", "127.8.8.8"])
def test_no_login_where_nobody_else_gets_to(address: str) -> None:
    with capture_logs() as logs:
        assert not needs_login(load_settings(), address)
    assert logs == []
    assert needs_login(load_settings(auth="local"), address)


@pytest.mark.parametrize("address", [None, "", "0.0.0.0", "::", "192.168.1.7", "zhiwen.example"])
def test_login_where_others_get_to(address: str | None) -> None:
    with capture_logs() as logs:
        assert needs_login(load_settings(), address)
        assert needs_login(load_settings(auth="local"), address)
    assert [entry["event"] for entry in logs] == ["web.login_mode"]
    with capture_logs() as logs:
        assert not needs_login(load_settings(auth="none"), address)
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("web.no_login", "warning")]


def test_others_get_to_it_through_a_proxy() -> None:
    with capture_logs() as logs:
        assert not needs_login(load_settings(public_urls="http://localhost:9000"), "127.0.0.1")
        assert logs == []
        assert needs_login(load_settings(public_urls="https://zhiwen.example"), "127.0.0.1")
    assert [(entry["event"], entry["address"]) for entry in logs] == [("web.login_mode", "https://zhiwen.example")]
    with capture_logs() as logs:  # the proxy may ask for a login itself
        assert not needs_login(load_settings(auth="none", public_urls="https://zhiwen.example"), "127.0.0.1")
    assert [entry["event"] for entry in logs] == ["web.no_login"]
