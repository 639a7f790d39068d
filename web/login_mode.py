"""Whether this installation has a login."""

from __future__ import annotations

from ipaddress import ip_address

import structlog

from kb.config import Settings
from web.origins import Origin

log = structlog.get_logger()


def needs_login(settings: Settings, address: str | None) -> bool:
    """AUTH decides; where it is not set, whether others can reach `address` (Streamlit's server.address; None: all)."""
    is_local = _is_loopback(address or "")
    if not settings.auth and not is_local:
        log.warning("web.login_mode", reason="others can reach this address", address=address, setting="AUTH")
    is_open = not is_local or any(not _is_loopback(Origin.of(url).host) for url in settings.public_urls.split())
    has_login = settings.auth == "local" or (not settings.auth and not is_local)
    if is_open and not has_login:
        log.warning("web.no_login", remedy="set AUTH=local unless a proxy asks for a login", setting="AUTH")
    return has_login


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
