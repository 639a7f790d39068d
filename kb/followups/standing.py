"""What a question asks of a conversation: is it one by itself, does it go on from the history, or is it mere talk?

“How long is the warranty?” stands alone; “and in 2024?”, “它呢？” and “Why?” mean nothing without what was said before;
“thanks”, “你是谁” and “用英文再说一遍” ask nothing of any document. Their words tell them, in English and Chinese.
In doubt a question stands alone: then its own words are searched for.
"""

from __future__ import annotations

import re
from enum import Enum

from kb.followups import chinese, english
from kb.followups.talk import is_about_the_answer, without_talk
from kb.lexical import script_share, simplify
from kb.names import clean_text, fold
from kb.retrieval.overview_questions import Asked, read_question

LONGEST_FOLLOW_UP = 120  # characters
LONGEST_TALK = 200


class Standing(Enum):
    """What the documents have to do with a question."""

    ALONE = "alone"  # search for it as it is
    FOLLOW_UP = "follow_up"  # search for what it means with the history
    TALK = "talk"  # do not search


def judge(question: str, has_history: bool) -> Standing:
    """The standing of `question`; only with a history there are follow-ups. Takes linear time."""
    text = simplify(fold(clean_text(question))).strip()
    if not text or len(text) > LONGEST_TALK:
        return Standing.ALONE
    rest = without_talk(text)
    if not rest or is_about_the_answer(rest):
        return Standing.TALK
    if not has_history or len(rest) > LONGEST_FOLLOW_UP:
        return Standing.ALONE
    asked = read_question(rest)
    if asked is not None and not asked.is_exact:
        return Standing.FOLLOW_UP if _means_what_was_said(asked, rest) else Standing.ALONE
    # Japanese has Han characters, too; neither it nor Korean is judged.
    if script_share(rest, "kana") or script_share(rest, "hangul"):
        return Standing.ALONE
    goes_on = chinese.goes_on(rest) if script_share(rest, "han") else english.goes_on(rest)
    return Standing.FOLLOW_UP if goes_on else Standing.ALONE


def _means_what_was_said(asked: Asked, text: str) -> bool:
    """Whether a question about a whole file says “it” for its name: “Summarize it”, “总结一下它”."""
    names_nothing = asked.wants_beginnings and not (asked.phrases or asked.titles)
    return names_nothing and bool(re.search(r"\b(?:it|them|those)\b|[它他她]", text))
