"""`.streamlit/config.toml` against the installed Streamlit: an option that it does not know is ignored silently."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from streamlit import config
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime.forward_msg_cache import populate_hash_if_needed
from streamlit.web import bootstrap

PATH = Path(__file__).parents[1] / ".streamlit" / "config.toml"
TEXT = PATH.read_text(encoding="utf-8")
TABLES = tomllib.loads(TEXT)


def _options(table: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _options(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


OPTIONS = dict(_options(TABLES))


def _contrast(first: str, second: str) -> float:
    """WCAG 2's contrast ratio of two #rrggbb colours."""
    brighter, darker = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (brighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    channels = (int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("name", OPTIONS)
def test_option_exists_in_the_installed_streamlit(name: str) -> None:
    assert name in config.get_config_options()


def test_garbage_collection_after_each_run_is_off() -> None:
    """A hidden option: without it a streaming answer costs ten times the CPU time."""
    assert OPTIONS["runner.postScriptGC"] is False
    assert config.get_config_options()["runner.postScriptGC"].type is bool


def test_browser_keeps_no_messages() -> None:
    """A hidden option: without it two clicks in quick succession can end a tab with “Connection error”."""
    message = ForwardMsg()
    message.delta.new_element.markdown.body = "x" * 1_000_000
    with patch.object(config, "get_option", OPTIONS.get):
        populate_hash_if_needed(message)
    assert message.hash
    assert not message.metadata.cacheable


def test_private_by_default() -> None:
    assert OPTIONS["server.address"] == "127.0.0.1"
    assert OPTIONS["browser.gatherUsageStats"] is False
    assert OPTIONS["client.showErrorDetails"] == "none"


def test_start_asks_nobody_for_this_machines_address(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    for name in ("get_external_ip", "get_internal_ip"):
        monkeypatch.setattr(f"streamlit.net_util.{name}", partial(asked.append, name))
    options = {**OPTIONS, "server.headless": True}
    get_option = config.get_option
    monkeypatch.setattr(config, "get_option", lambda name: options[name] if name in options else get_option(name))
    monkeypatch.setattr(config, "is_manually_set", lambda _name: False)  # server.address, too
    bootstrap._print_url(is_running_hello=False)
    assert asked == []


def test_no_external_resources() -> None:
    assert not re.search(r"^[^#]*\w+://", TEXT, re.MULTILINE)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_has_enough_contrast(theme: str) -> None:
    """WCAG 2 asks for 4.5. The pages themselves, with Streamlit's colours and ours, are measured in a browser."""
    colours = TABLES["theme"][theme]
    grounds = [colours["backgroundColor"], colours["secondaryBackgroundColor"], *colours["sidebar"].values()]
    for ground in grounds:
        assert _contrast(colours["textColor"], ground) >= 7
        for name in ("linkColor", "blueTextColor", "grayTextColor"):
            assert _contrast(colours[name], ground) >= 4.5, name
    for name in ("blue", "gray"):
        assert _contrast(colours[f"{name}TextColor"], colours[f"{name}BackgroundColor"]) >= 4.5
    assert _contrast(colours["primaryColor"], colours["backgroundColor"]) >= 3  # a line or an icon
    assert _contrast(colours["primaryColor"], "#ffffff") >= 4.5  # a primary button's label
