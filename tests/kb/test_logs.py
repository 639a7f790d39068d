"""Log lines hold what others sent: it must not act on the terminal that shows them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog

from kb.logs import configure_logs
from tests.conftest import MakeSettings

HOSTILE = "/\x1b]0;owned\x07\x1b[2J\x9b2J\r\u202efdp.exe\u2028\x85知问"


@pytest.fixture(autouse=True)
def unchanged_logs() -> Iterator[None]:
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_control_characters_are_escaped(
    log_format: str, make_settings: MakeSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logs(make_settings(log_format=log_format))
    structlog.get_logger().warning("web.refused", path=HOSTILE)
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        structlog.get_logger().exception("web.defect")
    written = capsys.readouterr().err
    assert written.count("知问") == 2
    assert "Traceback" in written
    assert {c for c in written if not c.isprintable()} == {"\n"}
