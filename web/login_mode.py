"""Whether this installation has a login."""

from __future__ import annotations

from ipaddress import ip_address

import structlog

from kb.config import Settings
from web.origins import Origin

log = structlog.get_logger()


def needs_login(settings: Settings, address: str | None) -> bool:
    """AUTH decides; where it is not set, whether others can reach the pages.

    They can at `address` (Streamlit's server.address; None: all), or through a proxy at one of PUBLIC_URLS.
    """
    proxied = [url for url in settings.public_urls.split() if not _is_loopback(Origin.of(url).host)]
    is_open = not _is_loopback(address or "") or bool(proxied)
    if not settings.auth and is_open:
        reached = proxied[0] if proxied else address
        log.warning("web.login_mode", reason="others can reach this address", address=reached, setting="AUTH")
    if settings.auth == "none" and is_open:
        log.warning("web.no_login", remedy="set AUTH=local unless a proxy asks for a login", setting="AUTH")
    return settings.auth == "local" or (not settings.auth and is_open)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
