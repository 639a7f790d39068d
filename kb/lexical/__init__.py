"""Text → search terms for BM25, the same for questions and chunks.

Chinese, Japanese and Korean runs become single characters and bigrams, so no dictionary is needed. Other words are
lower-cased and English ones stemmed; identifiers are kept both whole and in parts. Each term is one `\\w+` token, so
that tokenizers that split at white space and at non-word characters see the same terms.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from kb.lexical.folding import fold, simplify, to_taiwanese, to_traditional
from kb.lexical.numbers import Number, find_numbers, number_terms, to_arabic
from kb.lexical.quarters import quarter_terms, split_quarters
from kb.lexical.scripts import Script, chinese_script, foreign_share, script_share
from kb.lexical.words import word_forms, word_terms

__all__ = [
    "Script",
    "analyze",
    "chinese_script",
    "foreign_share",
    "held",
    "question_forms",
    "question_terms",
    "script_share",
    "simplify",
    "terms",
    "to_taiwanese",
    "to_traditional",
    "weighted_terms",
]

# Words without meaning for a question. English is stemmed; Chinese bigrams with one of the characters are dropped, too.
_ENGLISH = """
a about an and ani are as at be been but by can could did do doe for from give had has have how i if in into is it
its me my of on or our pleas shall should show so tell than that the their them there these they this those to
us was we were what when where which who whom whose whi will with would you your
"""
_STOP_CHARACTERS = frozenset("的了吗呢吧啊么是在和与及或也就都而之其于被把从对这那有请谁")
_STOP_TERMS = frozenset(_ENGLISH.split()) | _STOP_CHARACTERS
_ASKING = re.compile("请问|为什么|什么|怎么样?|怎样|如何|为何|哪[些个里儿]|多少|几个|是否|可不可以|可以|我们|你们|他们")
_CODE_BEFORE = re.compile(r"[A-Za-z\d][-/.:#@]")
_CODE_AFTER = re.compile(r"[-/.:#@][A-Za-z\d]")

MEANINGFUL_WEIGHT = 3  # of a question's meaningful terms, compared with its other ones


def analyze(text: str) -> list[str]:
    """The search terms of `text`: those of its words in order, then those of its numbers and dates; with repeats."""
    folded = fold(text)
    return word_terms(folded) + number_terms(folded) + quarter_terms(folded)


def terms(*texts: str) -> str:
    """The search terms of all `texts`, joined with spaces: for Milvus to index, and to search for."""
    return " ".join([term for text in texts for term in analyze(text)])


def question_terms(text: str) -> tuple[str, ...]:
    """The distinct meaningful terms of a question, in order; used to explain what a passage matched.

    A code or date is one term, whatever its parts. Single Chinese characters occur in nearly every text, so they only
    count if the question has nothing longer.
    """
    return tuple(dict.fromkeys(forms[0] for forms in question_forms(text)))


def question_forms(text: str) -> tuple[tuple[str, ...], ...]:
    """Each of `question_terms` with its other forms; a text that holds one of them holds what is asked for.

    A form of several words, such as "low temperatur", stands for these terms in a row.
    """
    asked, _ = to_arabic(_ASKING.sub(" ", fold(text)))
    found: list[tuple[str, ...]] = []
    for piece, quarter in split_quarters(asked):
        found += [*_forms(piece), *quarter]
    meant = [forms for forms in dict.fromkeys(found) if not _is_stop(forms[0])]
    return tuple(forms for forms in meant if len(forms[0]) > 1 or forms[0].isascii()) or tuple(meant)


def _forms(text: str) -> Iterator[tuple[str, ...]]:
    end = 0
    for number in find_numbers(text):
        if not _is_within_code(text, number):
            yield from word_forms(text[end : number.start])
            yield number.forms()
            end = number.end
    yield from word_forms(text[end:])


def held(forms: Sequence[Sequence[str]], terms: str) -> list[bool]:
    """Whether a text of these `terms` holds each of a question's `forms`."""
    line, single = f" {terms} ", set(terms.split())
    return [any(form in single or (" " in form and f" {form} " in line) for form in alike) for alike in forms]


def _is_within_code(text: str, number: Number) -> bool:
    return bool(
        _CODE_BEFORE.fullmatch(text[max(0, number.start - 2) : number.start]) or _CODE_AFTER.match(text, number.end)
    )


def weighted_terms(question: str) -> str:
    """A question's distinct terms, joined with spaces, to search for: the meaningful ones three times, all others once.

    BM25 multiplies a term's weight by how often the query names it, on Milvus Lite and on servers alike. Without this,
    the many words of a question that say nothing would count as much as the few that do.
    """
    meaningful = set(question_terms(question))
    distinct = dict.fromkeys(analyze(question))
    return " ".join(term for term in distinct for _ in range(MEANINGFUL_WEIGHT if term in meaningful else 1))


def _is_stop(term: str) -> bool:
    return term in _STOP_TERMS or (len(term) == 2 and not _STOP_CHARACTERS.isdisjoint(term))
