"""The page of usage: what it shows, its empty state, and who sees it."""

from __future__ import annotations

import html
import re
from typing import Any
from uuid import uuid4

from kb.access import Principal
from kb.errors import ModelUnreachable, NoText
from kb.models import MessageState, Mode, Step, VersionState
from kb.usage import AnswerEnd, TimeKind, record_answer, record_ingested, record_times
from tests.conftest import add_user
from tests.pages.conftest import Browsers, Installation
from tests.pages.visitor import Visitor


def usage_page(locale: str = "en-US") -> Visitor:
    visitor = Visitor(locale)
    visitor.go_to("usage")
    return visitor


def record(installation: Installation, user: Principal, **values: Any) -> None:
    known: dict[str, Any] = {"mode": Mode.KNOWLEDGE, "state": MessageState.DONE, "model": "qwen", **values}
    with installation.services.database.write() as connection:
        record_answer(connection, AnswerEnd(uuid4(), uuid4(), user.user_id, **known))


def metrics(page: Visitor) -> dict[str, str]:
    return {each.label: str(each.value) for each in page.app.metric}


def tables(page: Visitor) -> str:
    """The words of the tables, a line for each row."""
    found = "".join(each.proto.body for each in page.app.get("html"))
    return html.unescape(re.sub(r"<[^>]+>", " ", found.replace("</tr>", "\n")))


def test_local_user_sees_that_nothing_was_asked(installation: Installation) -> None:
    text = usage_page().text()
    assert "Nothing was asked in this time." in text
    assert "No document was processed in this time." in text
    assert "No step has been measured in this time." in text


def test_page_tells_what_was_asked_failed_and_slow(installation: Installation) -> None:
    record(installation, installation.user, input_tokens=900, output_tokens=100, steps=[Step("dense", 40.0)])
    failed = {"state": MessageState.FAILED, "error": ModelUnreachable.code, "first_token_ms": 2000.0}
    record(installation, installation.user, **failed)
    with installation.services.database.write() as connection:
        record_ingested(connection, [(VersionState.READY, "", 2_000_000), (VersionState.FAILED, NoText.code, 5)])
        record_times(connection, [(TimeKind.INGESTION, "parsing", 5000.0)])
    page = usage_page()
    found = metrics(page)
    assert (found["Questions"], found["Tokens"], found["Failed answers"]) == ("2", "1,000", "1")
    assert found["Of all answers"] == "50 %"
    assert found["95 % begin within"] == "2 s"
    assert (found["Ready"], found["Their size"]) == ("1", "2 MB")
    assert "Active users" not in found  # there is one
    shown = tables(page)
    assert re.search(r"Read the file +documents", shown)
    assert re.search(r"Dense route \(HNSW\) +searches", shown)
    assert re.search(r"Failed: .+ 1 +5 B", shown)
    assert len(page.app.get("vega_lite_chart")) >= 6
    page.choose("usage_weeks", 52)
    assert metrics(page)["Questions"] == "2"


def test_members_are_refused(browsers: Browsers) -> None:
    browsers.sign_up_first()
    ben = add_user(browsers.installation.services.database, "Ben")
    record(browsers.installation, ben, input_tokens=5)
    page = usage_page()
    assert metrics(page)["Active users"] == "1"
    browsers.invite("Eve")
    page = usage_page()
    assert not metrics(page)
    assert "administrator" in page.text()
