"""The language that a question is written in, and our fixed texts in that language."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from itertools import chain

from kb.lexical import Script, chinese_script, script_share, to_taiwanese

# Words of an English question that quotes a Chinese word; the a of “比较 a.md 和 b.md” is none.
_ENGLISH_WORD = re.compile(
    r"(?<![\w.-])(?:an?|the|is|are|was|do|does|did|of|in|what|which|who|how|why|when|where|can|mean)(?!\w|[.-]\w)", re.I
)


class Language(StrEnum):
    """A language of our fixed texts, by its code in the pages."""

    ENGLISH = "en"  # for questions in any other language, too
    SIMPLIFIED = "zh_CN"
    TRADITIONAL = "zh_TW"

    @property
    def is_chinese(self) -> bool:
        return self is not Language.ENGLISH

    def pick(self, english: str, chinese: str) -> str:
        """The one of two fixed texts that is in this language. `chinese` is in Simplified characters."""
        if self is Language.ENGLISH:
            return english
        return to_taiwanese(chinese) if self is Language.TRADITIONAL else chinese


def is_chinese(text: str) -> bool:
    """Whether a question is Chinese: Japanese has Han characters, too, but also kana.

    Names of files and products in Latin letters do not make it English: “总结 refunds.md” is Chinese.
    """
    han = script_share(text, "han")
    if not han or script_share(text, "kana"):
        return False
    return han >= 0.5 or not _ENGLISH_WORD.search(text)


def language_of(question: str, earlier: Iterable[str] = (), page_language: str = "") -> Language:
    """The language for a text of ours beside `question`.

    Many a short question, such as “你好”, is the same in both Chinese scripts; then the `earlier` ones decide, the
    latest first, and at last the language of the page that it was asked on.
    """
    if not is_chinese(question):
        return Language.ENGLISH
    scripts = (chinese_script(text) for text in chain([question], earlier))
    script = next(filter(None, scripts), None)
    is_traditional = script is Script.TRADITIONAL if script else page_language == Language.TRADITIONAL
    return Language.TRADITIONAL if is_traditional else Language.SIMPLIFIED
