"""Words that depend on values: moments, places in documents, sizes."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from kb.errors import MilvusRefused
from kb.languages import Language
from kb.notes import Note, NoteKind
from kb.prompts import place_in
from pages.ui import i18n
from pages.ui.notes import note_text


@pytest.fixture(params=i18n.LANGUAGES)
def language(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(i18n, "language", lambda: request.param)
    return str(request.param)


@pytest.mark.parametrize(
    ("delta", "texts"),
    [
        # Each lies in the middle of its unit, so that the time that the test takes changes nothing.
        (timedelta(minutes=-3, seconds=-5), {"en": "3 minutes ago", "zh_CN": "3 分钟前", "zh_TW": "3 分鐘前"}),
        (timedelta(hours=-2, minutes=-5), {"en": "2 hours ago", "zh_CN": "2 小时前", "zh_TW": "2 小時前"}),
        (timedelta(days=-3, hours=-2), {"en": "3 days ago", "zh_CN": "3 天前", "zh_TW": "3 天前"}),
    ],
)
def test_ago_reads_as_people_write(delta: timedelta, texts: dict[str, str], language: str) -> None:
    assert i18n.ago(datetime.now(UTC) + delta) == texts[language]


def test_dates_read_as_people_write(language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(i18n, "time_zone", lambda: UTC)
    then = datetime(2025, 11, 5, 20, 45, tzinfo=UTC)
    texts = {"en": "November 5, 2025", "zh_CN": "2025年11月5日", "zh_TW": "2025年11月5日"}
    assert i18n.day(then) == texts[language]
    times = {"en": "8:45\N{NARROW NO-BREAK SPACE}PM", "zh_CN": "20:45", "zh_TW": "晚上8:45"}
    assert i18n.time_of_day(then) == times[language]
    assert i18n.number(1234567) == "1,234,567"


def test_seconds_ago_read_as_people_write(language: str) -> None:
    pattern = r"\d+ seconds ago" if language == "en" else r"\d+ 秒前"  # alike in both scripts
    assert re.fullmatch(pattern, i18n.ago(datetime.now(UTC) - timedelta(seconds=20)))


@pytest.mark.parametrize(
    ("name", "heading", "english", "simplified", "traditional"),
    [
        ("report.pdf", "Costs", "p. 3", "第 3 页", "第 3 頁"),
        ("talk.PPTX", "Results", "slide 3", "幻灯片 3", "投影片 3"),
        ("talk.odp", "Results", "slide 3", "幻灯片 3", "投影片 3"),
        ("budget.xlsx", "", "sheet 3", "工作表 3", "工作表 3"),
        ("budget.xls", "Costs", "sheet “Costs”", "工作表“Costs”", "工作表「Costs」"),
        ("budget.ods", "", "sheet 3", "工作表 3", "工作表 3"),
        ("budget.xlsx", "预算 > 2024", "sheet “预算”", "工作表“预算”", "工作表「预算」"),
    ],
)
def test_place_is_named_by_the_kind_of_document(
    name: str, heading: str, english: str, simplified: str, traditional: str, language: str
) -> None:
    texts = {"en": english, "zh_CN": simplified, "zh_TW": traditional}
    assert i18n.place_label(name, 3, heading) == texts[language]
    assert place_in(name, 3, heading, Language(language)) == texts[language]  # models read what people see


def test_names_are_joined_and_quoted_as_people_write(language: str) -> None:
    texts = {
        "en": "2 formulas in “A”, “B” have no stored result. Save the file in Excel and upload it again.",
        "zh_CN": "“A”、“B”中有 2 个公式没有保存结果。请用 Excel 保存该文件后重新上传。",
        "zh_TW": "「A」、「B」中有 2 個公式沒有儲存結果。請用 Excel 儲存該檔案後重新上傳。",
    }
    assert note_text(Note(NoteKind.UNSTORED_FORMULAS, 2, (), ("A", "B"))) == texts[language]


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


@pytest.mark.parametrize(
    ("first", "joined"),
    [
        ("Redis is away (refused.)", "Redis is away (refused.) Wait."),
        ("Redis 没有响应。", "Redis 没有响应。Wait."),
        ("Redis 没有响应（refused.）", "Redis 没有响应（refused.）Wait."),
    ],
)
def test_sentences_are_joined_as_their_writing_wants(first: str, joined: str) -> None:
    assert i18n.join_sentences("", first, "Wait.") == joined


@pytest.mark.parametrize(
    ("tags", "code"),
    [
        (("zh-TW", "zh-HK", "zh-MO", "zh-Hant", "zh-Hant-HK", "zh-hant-cn"), "zh_TW"),
        (("zh", "zh-CN", "zh-SG", "zh-Hans", "zh-Hans-SG", "zh-Hans-HK"), "zh_CN"),
        (("en", "en-GB"), "en"),
        (("fr-FR", "", "*"), ""),
    ],
)
def test_language_of_a_browsers_tag(tags: tuple[str, ...], code: str) -> None:
    assert {tag: i18n.language_of_tag(tag) for tag in tags} == dict.fromkeys(tags, code)


def test_first_accepted_language_that_we_have_counts() -> None:
    assert i18n.accepted_language("fr-FR,fr;q=0.9, zh-HK;q=0.8,en;q=0.7") == "zh_TW"
    assert i18n.accepted_language("en-US,zh-TW;q=0.9") == "en"
    assert i18n.accepted_language("fr") == "en"
