"""Text → search terms for BM25, the same for questions and chunks.

Chinese, Japanese and Korean runs become single characters and bigrams, so no dictionary is needed. Other words are
lower-cased and English ones stemmed; identifiers are kept both whole and in parts. Each term is one `\\w+` token, so
that tokenizers that split at white space and at non-word characters see the same terms.
"""

from __future__ import annotations

import re

from kb.lexical.folding import fold, simplify
from kb.lexical.scripts import foreign_share, script_share
from kb.lexical.words import words

__all__ = ["analyze", "foreign_share", "question_terms", "script_share", "simplify", "terms"]

# Words without meaning for a question. English is stemmed; Chinese bigrams with one of the characters are dropped, too.
_ENGLISH = """
a about an and ani are as at be been but by can could did do doe for from give had has have how i if in into is it
its me my of on or our pleas shall should show so tell than that the their them there these they this those to
us was we were what when where which who whom whose whi will with would you your
"""
_STOP_CHARACTERS = frozenset("的了吗呢吧啊么是在和与及或也就都而之其于被把从对这那有请谁")
_STOP_TERMS = frozenset(_ENGLISH.split()) | _STOP_CHARACTERS
_ASKING = re.compile("请问|为什么|什么|怎么样?|怎样|如何|为何|哪[些个里儿]|多少|几个|是否|可不可以|可以|我们|你们|他们")


def analyze(text: str) -> list[str]:
    """The search terms of `text` in the order of its words, including repeats."""
    return words(fold(text))


def terms(*texts: str) -> str:
    """The search terms of all `texts`, joined with spaces: for Milvus to index, and to search for."""
    return " ".join(term for text in texts for term in analyze(text))


def question_terms(text: str) -> tuple[str, ...]:
    """The distinct meaningful terms of a question, in order; used to explain what a passage matched.

    Single Chinese characters occur in nearly every text, so they only count if the question has nothing longer.
    """
    asked = _ASKING.sub(" ", fold(text))
    terms = tuple(term for term in dict.fromkeys(analyze(asked)) if not _is_stop(term))
    return tuple(term for term in terms if len(term) > 1 or term.isascii()) or terms


def _is_stop(term: str) -> bool:
    return term in _STOP_TERMS or (len(term) == 2 and not _STOP_CHARACTERS.isdisjoint(term))
