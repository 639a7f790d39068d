"""Words that depend on values: moments, places in documents, sizes."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from kb.errors import MilvusRefused
from pages.ui import i18n


@pytest.fixture(params=["en", "zh_CN"])
def language(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(i18n, "language", lambda: request.param)
    return str(request.param)


@pytest.mark.parametrize(
    ("delta", "english", "chinese"),
    [
        # Each lies in the middle of its unit, so that the time that the test takes changes nothing.
        (timedelta(minutes=-3, seconds=-5), "3 minutes ago", "3 分钟前"),
        (timedelta(hours=-2, minutes=-5), "2 hours ago", "2 小时前"),
        (timedelta(days=-3, hours=-2), "3 days ago", "3 天前"),
    ],
)
def test_ago_reads_as_people_write(delta: timedelta, english: str, chinese: str, language: str) -> None:
    assert i18n.ago(datetime.now(UTC) + delta) == (english if language == "en" else chinese)


def test_seconds_ago_read_as_people_write(language: str) -> None:
    pattern = r"\d+ seconds ago" if language == "en" else r"\d+ 秒前"
    assert re.fullmatch(pattern, i18n.ago(datetime.now(UTC) - timedelta(seconds=20)))


@pytest.mark.parametrize(
    ("name", "heading", "english", "chinese"),
    [
        ("report.pdf", "Costs", "p. 3", "第 3 页"),
        ("talk.PPTX", "Results", "slide 3", "幻灯片 3"),
        ("talk.odp", "Results", "slide 3", "幻灯片 3"),
        ("budget.xlsx", "", "sheet 3", "工作表 3"),
        ("budget.xls", "Costs", "sheet “Costs”", "工作表“Costs”"),
        ("budget.ods", "", "sheet 3", "工作表 3"),
        ("budget.xlsx", "预算 > 2024", "sheet “预算”", "工作表“预算”"),
    ],
)
def test_place_is_named_by_the_kind_of_document(
    name: str, heading: str, english: str, chinese: str, language: str
) -> None:
    assert i18n.place_label(name, 3, heading) == (english if language == "en" else chinese)


def test_document_without_pages_has_no_place(language: str) -> None:
    assert i18n.place_label("notes.md", 0, "Costs") == ""


@pytest.mark.parametrize(
    ("detail", "code", "end"),
    [
        ("HTTP 500: the GPU is on fire", "en", "(HTTP 500: the GPU is on fire)."),
        ("HTTP 500: the GPU is on fire.", "en", "(HTTP 500: the GPU is on fire.)"),
        ("显存不足。", "zh_CN", "（显存不足。）"),
        ("显存不足", "zh_CN", "（显存不足）。"),
        ("it said (HTTP 500: the GPU is on fire.)", "en", "(it said (HTTP 500: the GPU is on fire.))"),
        ("Out of memory!", "en", "(Out of memory!)"),
    ],
)
def test_error_ends_in_one_stop(detail: str, code: str, end: str) -> None:
    message, _ = i18n.error_text(MilvusRefused(detail=detail), code)
    assert message.endswith(end)
