"""Translations are complete, keep the placeholders, and contain no unused texts."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from babel.messages import Catalog, Message
from babel.messages.pofile import read_po

from kb.models import VersionState
from pages.ui.i18n import LANGUAGES, LOCALES
from tests.real_services import ROOT

SOURCES = sorted(path for folder in ("kb", "pages", "web") for path in (ROOT / folder).rglob("*.py"))
MARKERS = {"_": 1, "N_": 1, "ngettext": 2}  # function → how many of its first arguments are texts
PLACEHOLDER = re.compile(r"\{(\w*)\}")
TRANSLATED = [code for code in LANGUAGES if code != "en"]
# Words that Taiwan does not use, or uses for something else.
MAINLAND = re.compile(
    "信息|默認|軟件|硬件|硬盤|網絡|程序員|服務器|數據|文本|字符|鼠標|屏幕|全屏|視頻|音頻|"
    "打印|登錄|註冊表|刷新|粘貼|剪切板|剪貼板|鏈接|鏈結|激活|配置|日誌|端口|埠號|線程|進程|"
    "隊列|緩存|內存|接口|支持|訪問|許可權|響應|返回|反饋|識別|掃描件|導出|導入|加載|幻燈片|"
    "文件夾|賬|補丁|超時|型別|重啟|置頂|撤銷|崩潰|當前|列表|短信|質量|優化|用戶|搜索|查找|"
    "地址|關鍵詞|聯網|充值|套餐|壓縮包|閾值|詞元|分塊|召回|大模型|接入|服務商|協議|匹配|獲取|"
    "點擊|高亮|本地|快捷鍵|臺機|釋出|指令碼|引數|您"
)


@dataclass(frozen=True)
class Text:
    """A marked text: the message id, or both of them, and where it stands."""

    ids: tuple[str, ...]
    path: Path
    line: int


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def marked_calls(tree: ast.AST) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in MARKERS:
            yield node


def texts() -> list[Text]:
    """Literals only: what is translated by a variable was marked where it was written."""
    found = []
    for path in SOURCES:
        for call in marked_calls(parsed(path)):
            assert isinstance(call.func, ast.Name)
            arguments = call.args[: MARKERS[call.func.id]]
            ids = [part.value for part in arguments if isinstance(part, ast.Constant) and isinstance(part.value, str)]
            if len(ids) == MARKERS[call.func.id]:
                found.append(Text(tuple(ids), path, call.lineno))
    return found


@pytest.fixture(scope="module", params=TRANSLATED)
def catalogue(request: pytest.FixtureRequest) -> Catalog:
    with (LOCALES / request.param / "LC_MESSAGES" / "zhiwen.po").open("rb") as file:
        return read_po(file, locale=request.param, abort_invalid=True)


def entries(catalogue: Catalog) -> dict[tuple[str, ...], Message]:
    return {as_tuple(message.id): message for message in catalogue}


def strings(message: Message) -> tuple[str, ...]:
    return as_tuple(message.string)


def as_tuple(text: str | Sequence[str] | None) -> tuple[str, ...]:
    """Babel gives a string, or several where a text has a plural."""
    return (text or "",) if isinstance(text, str | None) else tuple(text)


def where(text: Text) -> str:
    return f"{text.path.relative_to(ROOT)}:{text.line}: {text.ids[0]!r}"


def test_texts_are_found() -> None:
    assert len(texts()) > 100


def test_every_text_is_translated(catalogue: Catalog) -> None:
    known = entries(catalogue)
    untranslated = [
        where(text) for text in texts() if text.ids not in known or not all(map(str.strip, strings(known[text.ids])))
    ]
    assert untranslated == []


def test_translations_keep_the_placeholders(catalogue: Catalog) -> None:
    wrong = []
    for ids, message in entries(catalogue).items():
        wanted = {name for text in ids for name in PLACEHOLDER.findall(text)}
        wrong += [text for text in strings(message) if set(PLACEHOLDER.findall(text)) != wanted]
    assert wrong == []


def test_no_unused_translation(catalogue: Catalog) -> None:
    used = {text.ids for text in texts()}
    assert [ids for ids in entries(catalogue) if ids != ("",) and ids not in used] == []
    assert list(catalogue.obsolete) == []


def test_no_fuzzy_translation(catalogue: Catalog) -> None:
    assert [message.id for message in catalogue if message.id and message.fuzzy] == []


def is_simplified(character: str) -> bool:
    """Whether the character is one of mainland China's that Taiwan does not write."""
    return is_encodable(character, "gb2312") and not is_encodable(character, "big5")


def is_encodable(character: str, encoding: str) -> bool:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def test_traditional_texts_are_written_as_in_taiwan() -> None:
    with (LOCALES / "zh_TW" / "LC_MESSAGES" / "zhiwen.po").open("rb") as file:
        found = [text for message in read_po(file, locale="zh_TW") if message.id for text in strings(message)]
    assert [text for text in found if any(map(is_simplified, text))] == []
    assert [text for text in found if re.search("[“”‘’]", text)] == []
    assert [text for text in found if MAINLAND.search(text)] == []


def test_plural_forms_are_complete(catalogue: Catalog) -> None:
    plural = [message for message in catalogue if message.pluralizable]
    assert plural
    assert [message.id for message in plural if len(strings(message)) != catalogue.num_plurals] == []


def test_no_marker_inside_an_f_string() -> None:
    """On Python 3.11 the extractor of translators' tools sees an f-string as one piece, and nothing inside it."""
    inside = [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for path in SOURCES
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.JoinedStr)
        for call in marked_calls(node)
        if isinstance(call.args[0], ast.Constant)
    ]
    assert inside == []


def test_no_marked_text_is_an_f_string() -> None:
    """It would be filled in before it is looked up, so that it is never found."""
    marked = [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for path in SOURCES
        for call in marked_calls(parsed(path))
        if any(isinstance(argument, ast.JoinedStr) for argument in call.args)
    ]
    assert marked == []


def test_every_text_of_a_setup_error_is_marked() -> None:
    """Both are given where it is raised: as marked literals, or by a name that stands for one."""
    unmarked = [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for path in SOURCES
        for call in ast.walk(parsed(path))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "SetupError"
        for text in call.args or [call]
        if not (isinstance(text, ast.Name) or any(text is marked for marked in marked_calls(text)))
    ]
    assert unmarked == []


def test_states_in_messages_are_translated(catalogue: Catalog) -> None:
    """Errors carry a document's state as a value; the page translates values as it does texts."""
    known = entries(catalogue)
    assert [state.value for state in VersionState if (state.value,) not in known] == []
